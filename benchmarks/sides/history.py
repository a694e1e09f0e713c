"""How fast the history answers from a store that was filled beforehand, question by question."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.sides.latencies import spread_of
from saga.history import History
from saga.model import ExecutionMode, Priority
from saga.query import MAX_PAGE_ROWS, PAGE_ROWS, BatchQuery, BatchSort
from saga.store import database, schema
from saga.store.migration import migrate
from saga.store.rows import microseconds
from saga.store.sqlite_history import active_batches, find_batch, find_batches, find_trades
from saga.views import BatchStatus

PAGE_DEPTH: Final = 20
ACTIVE: Final = 100
"""So many batches, the newest, are still active."""
PORTFOLIOS: Final = 20
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

_INSERT_BATCH: Final = (
    "INSERT INTO batches (id, batch_uid, state, status, mode, priority, exclusion_key,"
    " total_trades, created_at, updated_at, completed_at, reason, processed_trades,"
    " failed_trades, undone_trades, paused, program, head_number, head_digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '0', 1, zeroblob(32))"
)
_INSERT_TRADE: Final = (
    "INSERT INTO trades (batch_id, position, directive_id, symbol, kind, direction, status,"
    " state, rollback, amount, done, undone, value, attempts)"
    " VALUES (?, ?, ?, ?, 'buy', 1, 'success', 'DONE', 0, '1', '1', '0', '1', 1)"
)


def answers(folder: Path, *, batches: int, trades: int, times: int) -> dict[str, Any]:
    """Ask each question so many times of a store of so many batches with so many trades each."""
    place, writer = _filled(folder, batches, trades)
    connection = database.connect_reader(place)
    taken = {
        name: sorted(_seconds(ask) for _ in range(times))
        for name, ask in _questions(connection, batches).items()
    }
    connection.close()
    writer.close()
    return {
        **spread_of(seconds for each in taken.values() for seconds in each),
        "bytes_a_batch": place.stat().st_size / batches,
        "questions": {name: each[len(each) // 2] for name, each in taken.items()},
    }


def shared_answers(folder: Path, *, batches: int, trades: int, times: int) -> dict[str, Any]:
    """Ask, as a user does, what a peer can be asked as well; of the same store."""
    place, writer = _filled(folder, batches, trades)
    writer.close()
    return asyncio.run(_shared_answers(place, batches, times))


async def _shared_answers(place: Path, batches: int, times: int) -> dict[str, Any]:
    random = Random(3)  # noqa: S311 - the same questions each time
    begin, end = month_in_the_middle(batches)
    async with History(place) as history:

        def one() -> str:
            return _uid(random.randrange(1, batches + 1))

        return await asked(
            {
                "all": lambda: history.batches(BatchQuery()),
                "failed": lambda: history.batches(BatchQuery(statuses=(BatchStatus.FAILED,))),
                "a month of creation": lambda: history.batches(
                    BatchQuery(created_from=begin, created_to=end)
                ),
                "one batch": lambda: history.batch(one()),
                "its trades": lambda: history.trades(one()),
            },
            times,
        )


async def asked(
    questions: Mapping[str, Callable[[], Awaitable[object]]], times: int
) -> dict[str, Any]:
    """Ask each question so many times; return how long the answers take."""
    taken: list[float] = []
    for ask in questions.values():
        for _ in range(times):
            begun = time.perf_counter()
            await ask()
            taken.append(time.perf_counter() - begun)
    return spread_of(taken)


def _filled(folder: Path, batches: int, trades: int) -> tuple[Path, sqlite3.Connection]:
    place = folder / "history.db"
    database.create_if_missing(place)
    writer = database.connect_writer(place)
    migrate(writer, schema.COMPONENT, schema.MIGRATIONS, now=START)
    _fill(writer, batches, trades)
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return place, writer


def _seconds(ask: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


def _fill(connection: sqlite3.Connection, batches: int, trades: int) -> None:
    """Write the batches: an hour apart, of a few portfolios, the newest still active."""
    connection.execute("BEGIN")
    connection.executemany(_INSERT_BATCH, _batches(batches, trades))
    connection.executemany(_INSERT_TRADE, _trades(batches, trades))
    connection.execute("COMMIT")


def _batches(batches: int, trades: int) -> Iterator[tuple[Any, ...]]:
    random = Random(1)  # noqa: S311 - the same store each time
    modes, priorities = list(ExecutionMode), list(Priority)
    for number in range(1, batches + 1):
        status, state = random.choices(ENDS, WEIGHTS)[0]
        if number > batches - ACTIVE:
            status, state = "running", "RUNNING"
        created = microseconds(START + timedelta(hours=number))
        yield (
            *(number, _uid(number), state, status),
            *(random.choice(modes), random.choice(priorities)),
            *(f"portfolio {number % PORTFOLIOS}", trades),
            *(created, created + random.randrange(10**9), created + 10**6),
            "leg 7 was refused" if number % 5_000 == 0 else None,
        )


def _trades(batches: int, trades: int) -> Iterator[tuple[Any, ...]]:
    random = Random(2)  # noqa: S311 - the same store each time
    for number in range(1, batches + 1):
        for place in range(trades):
            yield number, place, f"EXE_{place}", f"S{min(random.randrange(1_000), 499)}"


def _uid(number: int) -> str:
    return f"BAT_20200101_000000_{number:08d}"


def month_in_the_middle(count: int) -> tuple[datetime, datetime]:
    """Return the first and the last instant of a month in which batches were made."""
    middle = START + timedelta(hours=count // 2)
    return middle, middle + timedelta(days=30)


def _questions(connection: sqlite3.Connection, count: int) -> dict[str, Callable[[], Any]]:
    random = Random(3)  # noqa: S311 - the same questions each time
    middle, end = month_in_the_middle(count)
    filters: dict[str, dict[str, Any]] = {
        "all": {},
        "failed": {"statuses": ("failed",)},
        "failed, ATOMIC, HIGH": {
            "statuses": ("failed",),
            "modes": ("ATOMIC",),
            "priorities": ("HIGH",),
        },
        "one portfolio": {"exclusion_key": "portfolio 7"},
        "one portfolio, stale": {"exclusion_key": "portfolio 7", "statuses": ("stale",)},
        "a month of creation": {"created_from": middle, "created_to": end},
        "half of all time": {"created_to": middle},
        "a month of completion": {"completed_from": middle, "completed_to": end},
        "the symbol of half of all trades": {"symbol": "S499"},
    }
    asked: dict[str, Callable[[], Any]] = {
        f"page: {name}, by {sort}": partial(find_batches, connection, BatchQuery(**each, sort=sort))
        for name, each in filters.items()
        for sort in BatchSort
    }
    for sort in BatchSort:
        query = replace(_deep(connection, BatchQuery(sort=sort)), limit=PAGE_ROWS)
        asked[f"page {PAGE_DEPTH * MAX_PAGE_ROWS // PAGE_ROWS} of all, by {sort}"] = partial(
            find_batches, connection, query
        )
    asked["active"] = partial(active_batches, connection)
    asked["one batch, its progress"] = lambda: find_batch(
        connection, _uid(random.randrange(1, count + 1))
    )
    asked["one batch, its trades"] = lambda: find_trades(
        connection, _uid(random.randrange(1, count + 1)), 0, MAX_PAGE_ROWS
    )
    return asked


def _deep(connection: sqlite3.Connection, query: BatchQuery) -> BatchQuery:
    """Return the query for a page far behind the first."""
    for _ in range(PAGE_DEPTH):
        found = find_batches(connection, replace(query, limit=MAX_PAGE_ROWS))
        if found.more_after is None:
            break
        query = replace(query, cursor=query.cursor_after(found.more_after))
    return query
