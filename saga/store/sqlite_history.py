"""Answers the history's questions from a SQLite store, and never by reading a whole table.

Two ways lead to a page. *Merging*: status, state, mode and priority have few values each, so the
batches fall into at most `MAX_GROUPS` groups, and within each an index holds every order. A page is
merged from one ordered walk for each group that is asked for, and reads just the rows that it
shows. *Gathering*: what may be rare (a symbol, a directive, a parent, a span of time) is found
through an index of its own and sorted here, where it is no more than `GATHERED_AT_MOST` rows.

The indexes that hold the orders hold what is at rest alone: what is in flight would move in them
with each of its records. It is no more than admission lets in, is gathered, and merged with the
walks.

What is too frequent to be gathered is left out by the walks, and there about `EXAMINED_AT_MOST`
rows bound the work: the page then ends early, and its cursor goes on from there. SQLite itself
passes over what is left out, and tells of one row in many: these *milestones* say how far it is.
The indexes hold the instants that spans of time ask for, so that nothing is read beside them.

Who calls a function here is inside a transaction, so that all its statements see one instant.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from heapq import merge
from typing import Any, Final

from saga.errors import NoSuchBatch
from saga.machine import SagaState
from saga.model import ExecutionMode, Priority
from saga.query import BatchQuery, BatchSort, Key
from saga.quick_dataclass import dataclass
from saga.store.rows import (
    BATCH_COLUMNS,
    TRADE_COLUMNS,
    Stored,
    batch_row,
    microseconds,
    trade_row,
)
from saga.views import BatchRow, BatchStatus, TradeRow
from saga.wording import shown

GATHERED_AT_MOST: Final = 5_000
"""Rows of a rare kind that are read whole, to be sorted and cut to a page."""

EXAMINED_AT_MOST: Final = 10_000
"""About so many rows one page looks at; what is behind them is left to the next page."""

MILESTONE_EVERY: Final = 64
"""Of rows that are left out one in so many, on average, is told of."""

_SCATTERED: Final = 65_536
_SCATTERING: Final = 40_503  # its golden section: ids at equal distances meet milestones

MAX_GROUPS: Final = len(BatchStatus) * len(SagaState) * len(ExecutionMode) * len(Priority)
"""Most groups of batches; there are some forty in practice, for most statuses have one state."""

# Every statement below is put together from names of this package, never from values.
# ruff: noqa: S608

_LEAST: Final = -(2**63)
_GREATEST: Final = 2**63 - 1
_GROUP: Final = ("status", "state", "mode", "priority")
_RANK: Final = {status.value: rank for rank, status in enumerate(BatchStatus)}
_SORTED_BY: Final = {
    BatchSort.CREATED: "created_at",
    BatchSort.UPDATED: "updated_at",
    BatchSort.STATUS: "created_at",  # behind the status, by which the walks are told apart
    BatchSort.SIZE: "total_trades",
}
_BATCH: Final = f"SELECT {', '.join(BATCH_COLUMNS)} FROM batches"
_AT_REST: Final = "state <> 'PENDING' AND state <> 'RUNNING' AND state <> 'COMPENSATING'"
"""As the indexes that hold the orders have it, word for word; without it SQLite leaves them be."""
_TRADES: Final = f"SELECT {', '.join(TRADE_COLUMNS)} FROM trades WHERE batch_id = ?"

Group = tuple[str, ...]
"""Values of `_GROUP`."""

_Entry = tuple[Key, bool]
"""A key, and whether it is to be shown; else it is a milestone."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of batches.

    Attributes:
        rows: in the order that was asked for.
        more_after: the key behind which there may be more; None if there is no more.
    """

    rows: tuple[BatchRow, ...]
    more_after: Key | None


@dataclass(frozen=True, slots=True)
class _Condition:
    """A piece of SQL that holds for a row of `batches` or not, and its values."""

    sql: str
    values: tuple[Stored, ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """A kind of batch that may be rare, and the index through which it is found.

    Attributes:
        counted: selects an entry for each; an upper bound of the batches, for a trade is one.
        table: where the batches come from, with the index that must be used.
        condition: picks them out.
    """

    counted: str
    table: str
    condition: _Condition


# --- batches -----------------------------------------------------------------------------------


def find_batches(connection: sqlite3.Connection, query: BatchQuery) -> Found:
    """Return the page of batches that a query asks for."""
    source = _rarest(connection, _sources(query))
    keys, more_after = (
        _merged(connection, query) if source is None else _gathered(connection, query, source)
    )
    return Found(tuple(_batch_at(connection, key[-1]) for key in keys), more_after)


def count_batches(connection: sqlite3.Connection, query: BatchQuery) -> int:
    """Return how many batches a query would show on all its pages; reads an entry for each."""
    sources = _sources(query)
    if sources:
        source = _rarest(connection, sources) or sources[0]
        conditions = [source.condition, *_group_conditions(query), *_other_conditions(query)]
        return _count(connection, source.table, conditions)
    least, greatest = _span(query.created_from, query.created_to)
    by_created = BatchSort.CREATED
    table = f"batches INDEXED BY {_index(by_created, keyed=query.exclusion_key is not None)}"
    in_flight = [
        _IN_FLIGHT.condition,
        *_group_conditions(query),
        *_other_conditions(query),
    ]
    return _count(connection, _IN_FLIGHT.table, in_flight) + sum(
        _count(
            connection,
            table,
            [
                _group_condition(query, group),
                _Condition("created_at >= ? AND created_at < ?", (least, greatest)),
                *_left_to_look_at(query, by_created),
            ],
        )
        for group in _groups(connection, query)
    )


def active_batches(connection: sqlite3.Connection) -> tuple[BatchRow, ...]:
    """Return the batches that are neither at rest nor set aside, in the order of acceptance."""
    rows = connection.execute(
        f"{_BATCH} INDEXED BY batches_by_status WHERE status IN ('pending', 'running')"
        " AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.batch_uid = batches.batch_uid)"
        " ORDER BY id"
    )
    return tuple(batch_row(row) for row in rows)


def find_batch(connection: sqlite3.Connection, batch_uid: str) -> BatchRow:
    """Return one batch.

    Raises:
        NoSuchBatch: there is none with this id.
    """
    row = connection.execute(f"{_BATCH} WHERE batch_uid = ?", (batch_uid,)).fetchone()
    if row is None:
        raise _no_such_batch(batch_uid)
    return batch_row(row)


def _merged(connection: sqlite3.Connection, query: BatchQuery) -> tuple[list[Key], Key | None]:
    shown_keys: list[Key] = []
    last: Key | None = None
    with ExitStack() as cursors:
        walks = [_walk(connection, query, group, cursors) for group in _groups(connection, query)]
        walks.append((key, True) for key in _ordered(connection, query, _IN_FLIGHT))
        examined = 0
        for key, matches in merge(*walks, key=_key_of, reverse=query.descending):
            if examined >= EXAMINED_AT_MOST:
                return shown_keys, last
            if matches and len(shown_keys) == query.limit:
                return shown_keys, shown_keys[-1]
            if matches:
                shown_keys.append(key)
            examined += 1 if matches else MILESTONE_EVERY
            last = key
    return shown_keys, None


def _key_of(entry: _Entry) -> Key:
    return entry[0]


def _walk(
    connection: sqlite3.Connection, query: BatchQuery, group: Group, cursors: ExitStack
) -> Iterator[_Entry]:
    """Yield the keys of one group in order: of what is to be shown, and milestones."""
    prefix: Key = ()
    position = query.position()
    if query.sort is BatchSort.STATUS:
        prefix = (_RANK[group[0]],)
        if position is not None:
            if _is_past(position[:1], prefix, descending=query.descending):
                return
            position = position[1:] if position[:1] == prefix else None
    column = _SORTED_BY[query.sort]
    least, greatest = (
        _span(query.created_from, query.created_to) if column == "created_at" else _span()
    )
    left = _all_of(_left_to_look_at(query, query.sort))
    told = _Condition(f"({left.sql} OR {_milestone()})", left.values) if left.values else left
    picked = _all_of([_group_condition(query, group), told])
    order = "DESC" if query.descending else "ASC"

    def along(part: str, *bounds: int) -> Iterator[_Entry]:
        cursor = connection.execute(
            f"SELECT {column}, id, {left.sql}"
            f" FROM batches INDEXED BY {_index(query.sort, keyed=query.exclusion_key is not None)}"
            f" WHERE {picked.sql} AND {part} ORDER BY {column} {order}, id {order}",
            (*left.values, *picked.values, *bounds),
        )
        cursors.enter_context(closing(cursor))
        for value, number, matches in cursor:
            yield (*prefix, value, number), bool(matches)

    # First what is alike, then what is beyond: from `(column, id) > (?, ?)` SQLite would use the
    # column alone, and read everything that is alike again for each page.
    if position is not None:
        value, _ = position
        if least <= value < greatest:
            yield from along(f"{column} = ? AND id {'<' if query.descending else '>'} ?", *position)
        if query.descending:
            greatest = min(greatest, value)
        else:
            least = max(least, value + 1)
    yield from along(f"{column} >= ? AND {column} < ?", least, greatest)


def _milestone() -> str:
    """Return the SQL that picks out milestones, scattered so that no regular ids are without."""
    scattered = f"id % {_SCATTERED} * {_SCATTERING} % {_SCATTERED}"
    return f"{scattered} < {_SCATTERED // MILESTONE_EVERY}"


def _is_past(position: Key, prefix: Key, *, descending: bool) -> bool:
    return position < prefix if descending else position > prefix


def _groups(connection: sqlite3.Connection, query: BatchQuery) -> list[Group]:
    """Return the groups at rest that are asked for and not empty, by skipping through an index."""
    keyed = query.exclusion_key is not None
    names = ", ".join(_GROUP)
    # With the greatest instant behind it a group's values lead beyond all of its batches. Without
    # one SQLite would go to the first of them and read on from there.
    statement = (
        f"SELECT {names} FROM batches INDEXED BY {_index(BatchSort.CREATED, keyed=keyed)}"
        f" WHERE {'exclusion_key = ? AND ' if keyed else ''}({names}, created_at) > (?, ?, ?, ?, ?)"
        f" AND {_AT_REST}"
        f" ORDER BY {names} LIMIT 1"
    )
    allowed = (query.statuses, query.states, query.modes, query.priorities)
    key = (query.exclusion_key,) if keyed else ()
    found: list[Group] = []
    last: Group = ("",) * len(_GROUP)
    for _ in range(MAX_GROUPS + 1):
        group: Group | None = connection.execute(statement, (*key, *last, _GREATEST)).fetchone()
        if group is None:
            return found
        if all(not any_of or value in any_of for value, any_of in zip(group, allowed, strict=True)):
            found.append(group)
        last = group
    raise AssertionError(f"the tables allow {MAX_GROUPS} groups of batches, and hold more")


def _gathered(
    connection: sqlite3.Connection, query: BatchQuery, source: _Source
) -> tuple[list[Key], Key | None]:
    ordered = _ordered(connection, query, source)
    page = ordered[: query.limit]
    return page, page[-1] if len(ordered) > len(page) else None


def _ordered(connection: sqlite3.Connection, query: BatchQuery, source: _Source) -> list[Key]:
    """Return the keys of all batches of a source that are to be shown yet, in order."""
    picked = _all_of([source.condition, *_group_conditions(query), *_other_conditions(query)])
    column = _SORTED_BY[query.sort]
    rows = connection.execute(
        f"SELECT status, {column}, id FROM {source.table} WHERE {picked.sql}", picked.values
    )
    keys: Iterable[Key] = (
        (_RANK[status], value, number) if query.sort is BatchSort.STATUS else (value, number)
        for status, value, number in rows
    )
    position = query.position()
    if position is not None:
        keys = (key for key in keys if (key < position) is query.descending and key != position)
    return sorted(keys, reverse=query.descending)


def _batch_at(connection: sqlite3.Connection, number: int) -> BatchRow:
    return batch_row(connection.execute(f"{_BATCH} WHERE id = ?", (number,)).fetchone())


def _count(connection: sqlite3.Connection, table: str, conditions: Sequence[_Condition]) -> int:
    picked = _all_of(conditions)
    ((number,),) = connection.execute(
        f"SELECT count(*) FROM {table} WHERE {picked.sql}", picked.values
    ).fetchall()
    return int(number)


# --- what a query filters by -------------------------------------------------------------------


def _index(sort: BatchSort, *, keyed: bool) -> str:
    return f"batches_{'of_key_' if keyed else ''}sorted_by_{_SORTED_BY[sort]}"


def _group_condition(query: BatchQuery, group: Group) -> _Condition:
    conditions = [
        _Condition(f"{name} = ?", (value,)) for name, value in zip(_GROUP, group, strict=True)
    ]
    conditions.append(_Condition(_AT_REST))
    if query.exclusion_key is not None:
        conditions.insert(0, _Condition("exclusion_key = ?", (query.exclusion_key,)))
    return _all_of(conditions)


def _group_conditions(query: BatchQuery) -> Iterator[_Condition]:
    chosen = (query.statuses, query.states, query.modes, query.priorities)
    for name, values in zip(_GROUP, chosen, strict=True):
        if values:
            marks = ", ".join("?" for _ in values)
            yield _Condition(f"{name} IN ({marks})", tuple(value.value for value in values))
    if query.exclusion_key is not None:
        yield _Condition("exclusion_key = ?", (query.exclusion_key,))


def _left_to_look_at(query: BatchQuery, sort: BatchSort) -> list[_Condition]:
    """Return what the walks of an order do not already hold to."""
    return list(_other_conditions(query, but_created=_SORTED_BY[sort] == "created_at"))


def _other_conditions(query: BatchQuery, *, but_created: bool = False) -> Iterator[_Condition]:
    if query.parent_id is not None:
        yield _Condition("parent_id = ?", (query.parent_id,))
    for column, value in (("symbol", query.symbol), ("directive_id", query.directive_id)):
        if value is not None:
            yield _Condition(
                f"EXISTS (SELECT 1 FROM trades INDEXED BY {_TRADES_BY[column]}"
                f" WHERE {column} = ? AND batch_id = batches.id)",
                (value,),
            )
    for name, start, end in _spans(query):
        if not (but_created and name == "created_at"):
            yield _Condition(f"({name} >= ? AND {name} < ?)", _span(start, end))
    if query.reason_contains is not None:
        yield _Condition("instr(lower(reason), lower(?)) > 0", (query.reason_contains,))


_TRADES_BY: Final = {"symbol": "trades_by_symbol", "directive_id": "trades_by_directive"}


def _sources(query: BatchQuery) -> list[_Source]:
    """Return the filters of a query that may pick out few batches, the likeliest first."""
    sources = []
    if query.parent_id is not None:
        condition = _Condition("parent_id = ?", (query.parent_id,))
        sources.append(_source_in_batches("batches_by_parent", condition))
    for column, value in (("directive_id", query.directive_id), ("symbol", query.symbol)):
        if value is not None:
            trades = f"FROM trades INDEXED BY {_TRADES_BY[column]} WHERE {column} = ?"
            condition = _Condition(f"id IN (SELECT batch_id {trades})", (value,))
            # NOT INDEXED leaves but the primary key: the batches are taken one by one.
            sources.append(_Source(f"SELECT 1 {trades}", "batches NOT INDEXED", condition))
    for name, start, end in _spans(query):
        if name != _SORTED_BY[query.sort]:  # The walks of that order begin and end there.
            condition = _Condition(f"{name} >= ? AND {name} < ?", _span(start, end))
            sources.append(_source_in_batches(f"batches_by_{name}", condition))
    return sources


def _source_in_batches(index: str, condition: _Condition) -> _Source:
    table = f"batches INDEXED BY {index}"
    return _Source(f"SELECT 1 FROM {table} WHERE {condition.sql}", table, condition)


_IN_FLIGHT: Final = _source_in_batches(
    "batches_unfinished",
    _Condition(
        "state NOT IN ('COMPLETED', 'ROLLED_BACK')"
        " AND state IN ('PENDING', 'RUNNING', 'COMPENSATING')"
    ),
)


def _rarest(connection: sqlite3.Connection, sources: Sequence[_Source]) -> _Source | None:
    """Return the source with the fewest entries; None if there is none that is worth gathering."""
    best: _Source | None = None
    fewest = GATHERED_AT_MOST + 1
    for source in sources:
        ((number,),) = connection.execute(
            f"SELECT count(*) FROM ({source.counted} LIMIT ?)", (*source.condition.values, fewest)
        ).fetchall()
        if number < fewest:
            best, fewest = source, number
    return best


def _spans(query: BatchQuery) -> Iterator[tuple[str, datetime | None, datetime | None]]:
    if query.created_from is not None or query.created_to is not None:
        yield "created_at", query.created_from, query.created_to
    if query.completed_from is not None or query.completed_to is not None:
        yield "completed_at", query.completed_from, query.completed_to


def _span(start: datetime | None = None, end: datetime | None = None) -> tuple[int, int]:
    return (
        _LEAST if start is None else microseconds(start),
        _GREATEST if end is None else microseconds(end),
    )


def _all_of(conditions: Sequence[_Condition]) -> _Condition:
    return _Condition(
        " AND ".join(condition.sql for condition in conditions) or "TRUE",
        tuple(value for condition in conditions for value in condition.values),
    )


# --- the trades of one batch -------------------------------------------------------------------


def find_trades(
    connection: sqlite3.Connection, batch_uid: str, after: int, limit: int
) -> tuple[TradeRow, ...]:
    """Return a batch's trades behind a position, in order; a negative limit is none.

    Raises:
        NoSuchBatch: there is no batch with this id.
    """
    return _select_trades(connection, batch_uid, "", after, limit)


def trades_with_results(connection: sqlite3.Connection, batch_uid: str) -> tuple[TradeRow, ...]:
    """Return those of a batch's trades that took effect.

    Raises:
        NoSuchBatch: there is no batch with this id.
    """
    return _select_trades(connection, batch_uid, " AND result IS NOT NULL")


def trades_with_errors(connection: sqlite3.Connection, batch_uid: str) -> tuple[TradeRow, ...]:
    """Return those of a batch's trades that failed, are unknown or stuck.

    Raises:
        NoSuchBatch: there is no batch with this id.
    """
    return _select_trades(connection, batch_uid, " AND error IS NOT NULL")


def _select_trades(
    connection: sqlite3.Connection,
    batch_uid: str,
    restriction: str,
    after: int = -1,
    limit: int = -1,
) -> tuple[TradeRow, ...]:
    number = _number_of(connection, batch_uid)
    rows: Iterable[tuple[Any, ...]] = connection.execute(
        f"{_TRADES} AND position > ?{restriction} ORDER BY position LIMIT ?",
        (number, after, limit),
    )
    return tuple(trade_row(row) for row in rows)


def _number_of(connection: sqlite3.Connection, batch_uid: str) -> int:
    row = connection.execute("SELECT id FROM batches WHERE batch_uid = ?", (batch_uid,)).fetchone()
    if row is None:
        raise _no_such_batch(batch_uid)
    return int(row[0])


def read_quarantined(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the reason for each saga that is set aside, the earliest first."""
    rows = connection.execute("SELECT batch_uid, reason FROM quarantine ORDER BY at, batch_uid")
    return dict(rows.fetchall())


def _no_such_batch(batch_uid: str) -> NoSuchBatch:
    return NoSuchBatch(
        f"batch_id {shown(batch_uid)} is not in the store; choose one that the history lists"
    )
