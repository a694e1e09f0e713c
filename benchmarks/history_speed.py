"""How fast the history answers from a large store: `python benchmarks/history_speed.py [BATCHES]`.

Makes a store of so many batches (200,000 unless told) with two trades each in a temporary folder,
asks each question a few times, and prints the median and the slowest in milliseconds.
"""

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from saga.model import ExecutionMode, Priority
from saga.query import MAX_PAGE_ROWS, BatchQuery, BatchSort
from saga.store import database, schema
from saga.store.migration import migrate
from saga.store.rows import microseconds
from saga.store.sqlite_history import active_batches, count_batches, find_batches

BATCHES: Final = 200_000
TIMES: Final = 7
PAGE_DEPTH: Final = 100
START: Final = datetime(2020, 1, 1, tzinfo=UTC)
ENDS: Final = (
    ("success", "COMPLETED"),
    ("partial_success", "COMPLETED"),
    ("failed", "COMPLETED"),
    ("failed", "ROLLED_BACK"),
    ("cancelled", "ROLLED_BACK"),
    ("stale", "STALE"),
)
WEIGHTS: Final = (70, 10, 5, 10, 4, 1)


def fill(connection: sqlite3.Connection, count: int) -> None:
    """Write the batches: an hour apart, of twenty portfolios, the last 100 still active."""
    random = Random(1)  # noqa: S311 - the same store each time
    batches, trades = [], []
    for number in range(1, count + 1):
        status, state = random.choices(ENDS, WEIGHTS)[0]
        if number > count - 100:
            status, state = "running", "RUNNING"
        created = microseconds(START + timedelta(hours=number))
        batches.append(
            (
                *(number, f"BAT_20200101_000000_{number:08d}", state, status),
                *(random.choice(list(ExecutionMode)), random.choice(list(Priority))),
                *(f"portfolio {number % 20}", random.randint(1, 100)),
                *(created, created + random.randrange(10**9), created + 10**6),
                "leg 7 was refused" if number % 5_000 == 0 else None,
            )
        )
        trades += [
            (number, place, f"EXE_{number}_{place}", f"S{min(random.randrange(1_000), 499)}")
            for place in range(2)
        ]
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO batches (id, batch_uid, state, status, mode, priority, exclusion_key,"
        " total_trades, created_at, updated_at, completed_at, reason, processed_trades,"
        " failed_trades, undone_trades, paused, program, head_number, head_digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '0', 1, zeroblob(32))",
        batches,
    )
    connection.executemany(
        "INSERT INTO trades (batch_id, position, directive_id, symbol, kind, direction, status,"
        " state, rollback, amount, done, undone, value, attempts)"
        " VALUES (?, ?, ?, ?, 'buy', 1, 'success', 'DONE', 0, '1', '1', '0', '1', 1)",
        trades,
    )
    connection.execute("COMMIT")


def measure(name: str, ask: Callable[[], Any]) -> None:
    """Print what a question takes."""
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        ask()
        times.append((time.perf_counter() - start) * 1_000)
    print(f"{name:<52} {statistics.median(times):>9.2f} {max(times):>9.2f}")  # noqa: T201


def deep(connection: sqlite3.Connection, query: BatchQuery) -> BatchQuery:
    """Return the query for a page far behind the first."""
    for _ in range(PAGE_DEPTH):
        found = find_batches(connection, replace(query, limit=MAX_PAGE_ROWS))
        if found.more_after is None:
            break
        query = replace(query, cursor=query.cursor_after(found.more_after))
    return query


def questions(count: int) -> dict[str, BatchQuery]:
    """Return what is asked, by name."""
    middle = START + timedelta(hours=count // 2)
    asked: dict[str, BatchQuery] = {f"all, by {sort}": BatchQuery(sort=sort) for sort in BatchSort}
    filters: dict[str, dict[str, Any]] = {
        "failed": {"statuses": ("failed",)},
        "failed, ATOMIC, HIGH": {
            "statuses": ("failed",),
            "modes": ("ATOMIC",),
            "priorities": ("HIGH",),
        },
        "one portfolio": {"exclusion_key": "portfolio 7"},
        "one portfolio, stale": {"exclusion_key": "portfolio 7", "statuses": ("stale",)},
        "a rare symbol": {"symbol": "S7"},
        "the symbol of half of all trades": {"symbol": "S499"},
        "a directive": {"directive_id": "EXE_77_1"},
        "a month of creation": {"created_from": middle, "created_to": middle + timedelta(days=30)},
        "half of all time": {"created_to": middle},
        "a month of completion": {
            "completed_from": middle,
            "completed_to": middle + timedelta(days=30),
        },
        "a frequent symbol, only long ago": {
            "symbol": "S499",
            "completed_to": START + timedelta(days=400),
        },
        "a reason that few have": {"reason_contains": "leg 7"},
    }
    for name, each in filters.items():
        for sort in BatchSort:
            asked[f"{name}, by {sort}"] = BatchQuery(**each, sort=sort)
    return asked


def main() -> None:
    """Make the store, ask, print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else BATCHES
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "history.db"
        database.create_if_missing(place)
        writer = database.connect_writer(place)
        migrate(writer, schema.COMPONENT, schema.MIGRATIONS, now=START)
        fill(writer, count)
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection = database.connect_reader(place)
        size = place.stat().st_size // count
        print(f"{count:,} batches, {2 * count:,} trades, {size} bytes a batch")  # noqa: T201
        print(f"{'milliseconds':<52} {'median':>9} {'slowest':>9}")  # noqa: T201
        measure("active", lambda: active_batches(connection))
        for name, query in questions(count).items():
            measure(name, partial(find_batches, connection, query))
        for sort in BatchSort:
            query = replace(deep(connection, BatchQuery(sort=sort)), limit=50)
            measure(
                f"all, by {sort}, page {PAGE_DEPTH * MAX_PAGE_ROWS // 50:,}",
                partial(find_batches, connection, query),
            )
        measure("count of all", lambda: count_batches(connection, BatchQuery()))
        failed = BatchQuery(statuses=("failed",), symbol="S499")  # type: ignore[arg-type]
        measure("count of failed with a frequent symbol", lambda: count_batches(connection, failed))
        connection.close()
        writer.close()


if __name__ == "__main__":
    main()
