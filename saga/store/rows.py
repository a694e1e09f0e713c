"""How the views' rows are kept in SQLite's columns, and read back.

Instants are whole microseconds since 1970 in UTC; decimals are text. The columns bear the names of
the rows' fields, but for `BatchRow.batch_id`, which is `batch_uid`: in the tables `batch_id` is the
number by which a trade or a record points to its batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from saga.exact import plain
from saga.views import BatchRow, TradeRow

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_BATCH_FIELDS: Final = tuple(field.name for field in fields(BatchRow))

BATCH_COLUMNS: Final = tuple("batch_uid" if n == "batch_id" else n for n in _BATCH_FIELDS)
"""The columns of `batches` that make up a `BatchRow`, in the order of its fields."""

TRADE_COLUMNS: Final = tuple(field.name for field in fields(TradeRow))
"""The columns of `trades` that make up a `TradeRow`, in the order of its fields."""

Stored = str | int | None


def microseconds(instant: datetime) -> int:
    """Return an instant as it is stored: whole microseconds since 1970, UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(stored: int) -> datetime:
    """Return a stored instant, in UTC."""
    return _EPOCH + stored * _MICROSECOND


def values_of(columns: Sequence[str]) -> Callable[[BatchRow | TradeRow], tuple[Stored, ...]]:
    """Return a function that takes the values of these columns from a row, as they are stored."""
    taken = attrgetter(*("batch_id" if column == "batch_uid" else column for column in columns))

    def values(row: BatchRow | TradeRow) -> tuple[Stored, ...]:
        return tuple(map(_stored, taken(row)))

    return values


def batch_row(stored: tuple[Any, ...]) -> BatchRow:
    """Return a batch's row from the values of `BATCH_COLUMNS`."""
    values = dict(zip(_BATCH_FIELDS, stored, strict=True))
    for name in ("created_at", "started_at", "updated_at", "completed_at", "deadline"):
        if values[name] is not None:
            values[name] = instant(values[name])
    if values["undo_cost"] is not None:
        values["undo_cost"] = Decimal(values["undo_cost"])
    values["paused"] = bool(values["paused"])
    return BatchRow(**values)


def trade_row(stored: tuple[Any, ...]) -> TradeRow:
    """Return a trade's row from the values of `TRADE_COLUMNS`."""
    values = dict(zip(TRADE_COLUMNS, stored, strict=True))
    for name in ("amount", "done", "undone", "value"):
        values[name] = Decimal(values[name])
    values["rollback"] = bool(values["rollback"])
    return TradeRow(**values)


def _stored(value: object) -> Stored:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return int(value)  # of a bool as well
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return microseconds(value)
    raise TypeError(f"a view cannot hold a {type(value).__name__}")
