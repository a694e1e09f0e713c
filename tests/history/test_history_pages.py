"""Pages hold exactly what a plain reading of the rules gives, whichever way they are found.

The rules are written down here a second time, naively: filter a list, sort it, cut it up.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from saga.history import History
from saga.model import ExecutionMode, Priority
from saga.query import BatchQuery, BatchSort
from saga.store import sqlite_history
from saga.store.bridge import InlineBridge
from saga.views import BatchRow, BatchStatus
from tests.history.batch_samples import (
    KEYS,
    NOON,
    STATUS_AND_STATE,
    SYMBOLS,
    Made,
    a_batch,
    batch_id,
    drawn,
    write_store,
)

MADE: Final = drawn(150)
NUMBER: Final = {row.batch_id: number for number, (row, _) in enumerate(MADE, start=1)}
LIFE: Final = ("pending", "running", "success", "partial_success", "failed", "cancelled", "stale")

SORTED_BY: Final[dict[BatchSort, Callable[[BatchRow], tuple[Any, ...]]]] = {
    BatchSort.CREATED: lambda row: (row.created_at, NUMBER[row.batch_id]),
    BatchSort.UPDATED: lambda row: (row.updated_at, NUMBER[row.batch_id]),
    BatchSort.STATUS: lambda row: (
        LIFE.index(row.status),
        row.created_at,
        NUMBER[row.batch_id],
    ),
    BatchSort.SIZE: lambda row: (row.total_trades, NUMBER[row.batch_id]),
}


def within(instant: datetime | None, start: datetime | None, end: datetime | None) -> bool:
    if start is None and end is None:
        return True
    if instant is None:
        return False
    return (start is None or instant >= start) and (end is None or instant < end)


def holds(query: BatchQuery, made: Made) -> bool:
    row, trades = made
    return (
        (not query.statuses or row.status in query.statuses)
        and (not query.states or row.state in query.states)
        and (not query.modes or row.mode in query.modes)
        and (not query.priorities or row.priority in query.priorities)
        and query.exclusion_key in (None, row.exclusion_key)
        and query.parent_id in (None, row.parent_id)
        and (query.symbol is None or any(t.symbol == query.symbol for t in trades))
        and (
            query.directive_id is None or any(t.directive_id == query.directive_id for t in trades)
        )
        and within(row.created_at, query.created_from, query.created_to)
        and within(row.completed_at, query.completed_from, query.completed_to)
        and (
            query.reason_contains is None
            or query.reason_contains.lower() in (row.reason or "").lower()
        )
    )


def expected(query: BatchQuery) -> list[BatchRow]:
    rows = [made[0] for made in MADE if holds(query, made)]
    return sorted(rows, key=SORTED_BY[query.sort], reverse=query.descending)


async def all_pages(history: History, query: BatchQuery) -> list[BatchRow]:
    rows: list[BatchRow] = []
    for _ in range(1_000):
        page = await history.batches(query)
        assert len(page.rows) <= query.limit
        rows += page.rows
        if page.next_cursor is None:
            return rows
        query = replace(query, cursor=page.next_cursor)
    raise AssertionError(f"{query} never comes to its last page")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("pages") / "saga.db", MADE)


@pytest.fixture
async def history(path: Path) -> AsyncIterator[History]:
    async with History(path, bridge=InlineBridge) as history:
        yield history


def drawn_query(random: Random) -> BatchQuery:
    def instant() -> datetime:
        return NOON + timedelta(minutes=random.randrange(160))

    def span(name: str) -> dict[str, datetime]:
        start, end = sorted((instant(), instant()))
        ends = {f"{name}_from": start, f"{name}_to": end}
        return dict(random.sample(sorted(ends.items()), random.randint(1, 2)))

    statuses = sorted({status.value for status, _ in STATUS_AND_STATE})
    states = sorted({state.value for _, state in STATUS_AND_STATE})
    filters: list[dict[str, Any]] = [
        {"statuses": tuple(random.sample(statuses, random.randint(1, 4)))},
        {"states": tuple(random.sample(states, random.randint(1, 3)))},
        {"modes": tuple(random.sample(list(ExecutionMode), random.randint(1, 2)))},
        {"priorities": tuple(random.sample(list(Priority), random.randint(1, 2)))},
        {"exclusion_key": random.choice(KEYS)},
        {"parent_id": batch_id(random.randint(1, 3))},
        {"symbol": random.choice(SYMBOLS)},
        {"directive_id": f"EXE_{random.choice(SYMBOLS)}_{random.randrange(5)}"},
        span("created"),
        span("completed"),
        {"reason_contains": random.choice(("refused", "CANCELLED", "x"))},
    ]
    chosen: dict[str, Any] = {}
    for each in random.sample(filters, random.choice((0, 1, 1, 2, 2, 3))):
        chosen |= each
    return BatchQuery(
        **chosen,
        sort=random.choice(list(BatchSort)),
        descending=random.random() < 0.5,
        limit=random.choice((7, 40, 200)),
    )


@pytest.mark.requirement("B7", "T7", "T8")
@pytest.mark.parametrize("gathered_at_most", [5_000, 30, -1])
@pytest.mark.parametrize("examined_at_most", [10_000, 8])
async def test_all_pages_of_any_query_together_hold_each_batch_once_and_in_order(
    history: History,
    monkeypatch: pytest.MonkeyPatch,
    gathered_at_most: int,
    examined_at_most: int,
) -> None:
    monkeypatch.setattr(sqlite_history, "GATHERED_AT_MOST", gathered_at_most)
    monkeypatch.setattr(sqlite_history, "EXAMINED_AT_MOST", examined_at_most)
    random = Random(11)
    shown = 0
    for _ in range(25):
        query = drawn_query(random)
        rows = await all_pages(history, query)
        assert rows == expected(query), query
        assert await history.count(query) == len(rows), query
        shown += len(rows)
    assert shown > 250


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("sort", list(BatchSort))
async def test_each_order_is_the_other_way_round_when_ascending(
    history: History, sort: BatchSort
) -> None:
    ascending = await all_pages(history, BatchQuery(sort=sort, descending=False, limit=10))
    descending = await all_pages(history, BatchQuery(sort=sort, limit=10))
    assert ascending == descending[::-1] == expected(BatchQuery(sort=sort, descending=False))


@pytest.mark.requirement("T8")
async def test_statuses_are_sorted_in_the_order_of_a_life(history: History) -> None:
    rows = await all_pages(history, BatchQuery(sort=BatchSort.STATUS, descending=False))
    assert tuple(dict.fromkeys(row.status for row in rows)) == LIFE == tuple(BatchStatus)


@pytest.mark.requirement("T8")
async def test_a_span_holds_its_start_and_not_its_end(history: History) -> None:
    one = MADE[70][0]
    rows = await all_pages(history, BatchQuery(created_from=one.created_at))
    assert one in rows
    assert one not in await all_pages(history, BatchQuery(created_to=one.created_at))
    assert (
        await all_pages(history, BatchQuery(created_from=one.created_at, created_to=one.created_at))
        == []
    )


@pytest.mark.requirement("T8")
async def test_a_full_last_page_has_no_cursor(history: History) -> None:
    page = await history.batches(BatchQuery(limit=len(MADE)))
    assert len(page.rows) == len(MADE)
    assert page.next_cursor is None
    before = await history.batches(BatchQuery(limit=len(MADE) - 1))
    assert before.next_cursor is not None
    last = await history.batches(BatchQuery(cursor=before.next_cursor))
    assert len(last.rows) == 1
    assert last.next_cursor is None


@pytest.mark.requirement("T8")
async def test_the_size_of_a_page_may_change_between_pages(history: History) -> None:
    first = await history.batches(BatchQuery(limit=3))
    second = await history.batches(BatchQuery(limit=20, cursor=first.next_cursor))
    assert [*first.rows, *second.rows] == expected(BatchQuery())[:23]


@pytest.mark.requirement("B7")
async def test_the_most_recent_batches_come_latest_first(history: History) -> None:
    assert list(await history.recent(12)) == expected(BatchQuery())[:12]
    assert len(await history.recent(1_000)) == len(MADE)


@pytest.mark.requirement("T8")
async def test_batches_that_arrive_between_pages_neither_repeat_nor_hide_any(
    tmp_path: Path,
) -> None:
    path = write_store(tmp_path / "saga.db", [(a_batch(n), ()) for n in range(1, 11)])
    async with History(path, bridge=InlineBridge) as history:
        first = await history.batches(BatchQuery(limit=5))
        write_store(path, [(a_batch(n), ()) for n in range(11, 15)])
        query = BatchQuery(limit=50, cursor=first.next_cursor)
        second = await history.batches(query)
    ids = [row.batch_id for row in (*first.rows, *second.rows)]
    assert ids == [batch_id(n) for n in range(10, 0, -1)]


async def test_an_empty_store_has_an_empty_page(tmp_path: Path) -> None:
    path = write_store(tmp_path / "saga.db", [])
    async with History(path, bridge=InlineBridge) as history:
        for sort in BatchSort:
            page = await history.batches(BatchQuery(sort=sort, symbol="AAPL"))
            assert page.rows == ()
            assert page.next_cursor is None
        assert await history.count() == 0
        assert await history.active() == ()
