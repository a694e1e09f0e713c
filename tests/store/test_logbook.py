"""What is asked of the logbook: the last entries, of one kind, of late."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from saga.errors import StoreUnusable
from saga.logbook import AlertTold, EngineStarted
from saga.store.sqlite import SqliteStore
from tests.manual_clock import NOON, ManualClock


@pytest.mark.parametrize(
    ("kind", "count", "since", "numbers"),
    [
        (None, 100, None, [6, 5, 4, 3, 2, 1]),
        (AlertTold.kind, 100, None, [6, 4, 3, 2, 1]),
        (AlertTold.kind, 2, None, [6, 4]),
        (AlertTold.kind, 100, timedelta(minutes=2), [6, 4, 3]),
        (AlertTold.kind, 100, timedelta(minutes=2, microseconds=1), [6, 4]),
        # Only so many of the last are looked at, and of these only what is not older.
        (AlertTold.kind, 3, timedelta(minutes=1), [6, 4, 3]),
        (None, 100, timedelta(minutes=4), [5]),
        (None, 1, timedelta(minutes=4), []),
    ],
)
async def test_the_last_entries_are_told_newest_first(
    path: Path, kind: str | None, count: int, since: timedelta | None, numbers: list[int]
) -> None:
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        await store.acquire()
        for minute in (0, 1, 2, 3):
            clock.instant = NOON + timedelta(minutes=minute)
            await store.note(AlertTold(f"alert {minute}"))
        clock.instant = NOON + timedelta(minutes=4)
        await store.note(EngineStarted("this program", 1, 1, "here", clean=True))
        clock.instant = NOON + timedelta(minutes=3)  # the clock was put back
        await store.note(AlertTold("the last"))
        told = await store.log_entries(kind, count, since=None if since is None else NOON + since)
    assert [record.number for record in told] == numbers


@pytest.mark.requirement("S8")
async def test_an_entry_of_no_instant_that_there_is_is_a_damaged_store(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.note(AlertTold("an alert"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER logbook_is_never_changed")
        connection.execute(f"UPDATE logbook SET at = {2**63 - 1}")
    async with SqliteStore(path) as store:
        with pytest.raises(StoreUnusable, match="entry 1 of the logbook cannot be read"):
            await store.log_entries(None, 10)
