"""An append leaves alone what has not moved, and most of all the indexes of it."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from saga.store import journal
from saga.store.sqlite import SqliteStore
from saga.store.sqlite_history import find_batch
from tests.store.sample_appends import NOON, batch_id, following, reported, whole_life


def written_by(connection: sqlite3.Connection, statement: str) -> set[str]:
    """Return the tables and indexes that a statement opens for writing."""
    named = dict(connection.execute("SELECT rootpage, name FROM sqlite_schema"))
    plan = connection.execute(f"EXPLAIN {statement}", (None,) * statement.count("?"))
    return {named[root] for _, opcode, _, root, *_ in plan if opcode == "OpenWrite"}


async def test_a_batch_that_stays_where_it_stands_moves_only_in_the_order_of_changes(
    path: Path,
) -> None:
    async with SqliteStore(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        moved = written_by(connection, journal._UPDATE_BATCH)
        stayed = written_by(connection, journal._UPDATE_WHERE_IT_STANDS)
    assert stayed == {
        "batches",
        "batches_sorted_by_updated_at",
        "batches_of_key_sorted_by_updated_at",
    }
    assert moved > {*stayed, "batches_by_status", "batches_unfinished", "batches_with_incidents"}


SORTED = tuple(
    f"batches_{of_key}sorted_by_{column}"
    for of_key in ("", "of_key_")
    for column in ("created_at", "updated_at", "total_trades")
)


@pytest.mark.parametrize("index", SORTED)
async def test_a_batch_in_flight_is_in_no_sorted_index(path: Path, index: str) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for append in whole_life():
            await store.append(append)
    keyed = "exclusion_key IS NOT NULL AND " if "of_key" in index else ""
    with closing(sqlite3.connect(path)) as connection:
        rows = f"SELECT count(*) FROM batches INDEXED BY {index} WHERE {keyed}"
        at_rest = "state <> 'PENDING' AND state <> 'RUNNING' AND state <> 'COMPENSATING'"
        assert connection.execute(rows + at_rest).fetchone() == (1,)
        # SQLite takes a partial index only for a question that the index surely can answer.
        with pytest.raises(sqlite3.OperationalError, match="no query solution"):
            connection.execute(rows + "state IN ('RUNNING', 'COMPLETED')")


@pytest.mark.parametrize(
    "changes",
    [
        {"waits_for": "nothing"},
        {"state": "COMPENSATING"},
        {"status": "stale", "state": "STALE"},
        {"incidents": 1, "processed_trades": 1},
        {"completed_at": NOON},
        {"outcome": "FAILED"},
        {"started_at": NOON + timedelta(seconds=1)},
        {"deadline": None},
        {"paused": True},
        {"reason": "a leg was refused", "failed_trades": 0},
        {"undo_cost": Decimal("-0.5"), "undone_trades": 1},
        {"residual": "[]"},
    ],
)
async def test_what_moves_is_written_whether_the_batch_stays_or_not(
    path: Path, changes: dict[str, object]
) -> None:
    accepted, begun, *_ = whole_life()
    later = following(1, 4, reported(0))
    row = replace(later.batch_row, **changes)  # type: ignore[arg-type]
    async with SqliteStore(path) as store:
        await store.acquire()
        for append in (accepted, begun, replace(later, batch_row=row)):
            await store.append(append)
        assert await store.read(find_batch, batch_id(1)) == row
