"""How the views' rows are kept in SQLite's columns, and read back.

Instants are whole microseconds since 1970 in UTC; decimals are text. The columns bear the names of
the rows' fields, but for `BatchRow.batch_id`, which is `batch_uid`: in the tables `batch_id` is the
number by which a trade or a record points to its batch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, get_args, get_type_hints

from saga.errors import StoreUnusable
from saga.exact import plain
from saga.views import BatchRow, TradeRow

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

BATCH_COLUMNS: Final = tuple(
    "batch_uid" if field.name == "batch_id" else field.name for field in fields(BatchRow)
)
"""The columns of `batches` that make up a `BatchRow`, in the order of its fields."""

TRADE_COLUMNS: Final = tuple(field.name for field in fields(TradeRow))
"""The columns of `trades` that make up a `TradeRow`, in the order of its fields."""

Stored = str | int | None


def microseconds(instant: datetime) -> int:
    """Return an instant as it is stored: whole microseconds since 1970, UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(stored: int) -> datetime:
    """Return a stored instant, in UTC.

    Raises:
        StoreUnusable: it is in no year from 1 to 9999, so the program never wrote it.
    """
    try:
        return _EPOCH + stored * _MICROSECOND
    except OverflowError as error:
        raise StoreUnusable(
            f"the store is damaged: {stored} microseconds since 1970 is no instant of the years "
            "1 to 9999; compare the store with a backup"
        ) from error


_WRITTEN: Final[Mapping[type, Callable[[Any], Stored]]] = {
    Decimal: plain,
    datetime: microseconds,
    bool: int,
}
_READ: Final[Mapping[type, Callable[[Any], Any]]] = {
    Decimal: Decimal,
    datetime: instant,
    bool: bool,
}
_TYPES: Final = {"batch_uid": str, **get_type_hints(BatchRow), **get_type_hints(TradeRow)}
"""The type of each column; what both tables have is text or a number in both."""

_Converters = tuple[tuple[int, Callable[[Any], Any]], ...]


def _converters(
    columns: Sequence[str], by_type: Mapping[type, Callable[[Any], Any]]
) -> _Converters:
    """Return the places of the columns that are not stored as they are, and what converts each."""
    return tuple(
        (place, by_type[each])
        for place, column in enumerate(columns)
        for each in (get_args(_TYPES[column]) or (_TYPES[column],))
        if each in by_type
    )


def _converted(values: Iterable[Any], converters: _Converters) -> list[Any]:
    converted = list(values)
    for place, convert in converters:
        if converted[place] is not None:
            converted[place] = convert(converted[place])
    return converted


def values_of(columns: Sequence[str]) -> Callable[[BatchRow | TradeRow], tuple[Stored, ...]]:
    """Return a function that takes the values of these columns from a row, as they are stored."""
    taken = attrgetter(*("batch_id" if column == "batch_uid" else column for column in columns))
    converters = _converters(columns, _WRITTEN)

    def values(row: BatchRow | TradeRow) -> tuple[Stored, ...]:
        return tuple(_converted(taken(row), converters))

    return values


_OF_BATCH: Final = _converters(BATCH_COLUMNS, _READ)
_OF_TRADE: Final = _converters(TRADE_COLUMNS, _READ)


def batch_row(stored: Iterable[Any]) -> BatchRow:
    """Return a batch's row from the values of `BATCH_COLUMNS`."""
    return BatchRow(*_converted(stored, _OF_BATCH))


def trade_row(stored: Iterable[Any]) -> TradeRow:
    """Return a trade's row from the values of `TRADE_COLUMNS`."""
    return TradeRow(*_converted(stored, _OF_TRADE))
