"""Who reads as fast as is written gets what was written, and not what was read back."""

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from saga.events import Started
from saga.history import History
from saga.store import recent
from saga.store.protocol import JournalRecord
from saga.store.recent import Recent
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import NOON, batch_id, first, whole_life

_WRITES = """
import asyncio, sys
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import first

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await store.acquire()
        await store.append(first(3))
        await store.release()

asyncio.run(main())
"""


async def another_process_writes(path: Path) -> None:
    """Let another process own the store, accept one batch, and give the store up."""
    await anyio.run_process([sys.executable, "-c", _WRITES, str(path)])


async def records_of(
    store: SqliteStore, after: int = 0, batch: str | None = None
) -> list[JournalRecord]:
    return [record async for record in store.records(after=after, batch_id=batch)]


@pytest.fixture
async def written(path: Path) -> AsyncIterator[SqliteStore]:
    """A store whose first records are older than what is remembered."""
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first(9))
        await store.release()
        await store.acquire()
        for number in (1, 2):
            for append in whole_life(number):
                await store.append(append)
        yield store


@pytest.mark.requirement("S8")
async def test_what_is_remembered_is_what_the_file_holds(written: SqliteStore, path: Path) -> None:
    remembered = await records_of(written, after=1)
    async with History(path) as history:
        read_back = list(await history.records(after=1))
    assert remembered == read_back
    assert [record.sequence for record in remembered] == list(range(2, len(remembered) + 2))


async def test_one_batch_is_picked_out_of_what_is_remembered(written: SqliteStore) -> None:
    found = await records_of(written, after=1, batch=batch_id(2))
    assert {record.batch_id for record in found} == {batch_id(2)}
    assert [record.number for record in found] == list(range(1, len(found) + 1))
    assert await records_of(written, after=found[-1].sequence, batch=batch_id(2)) == []


async def test_what_is_older_than_what_is_remembered_is_read_from_the_file(
    written: SqliteStore,
) -> None:
    everything = await records_of(written)
    assert everything[0].batch_id == batch_id(9)
    assert everything[1:] == await records_of(written, after=1)


async def test_the_file_is_not_read_for_what_is_remembered(
    written: SqliteStore, path: Path
) -> None:
    before = await records_of(written, after=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TRIGGER journal_is_never_changed")
        other.execute("UPDATE journal SET data = 'x' WHERE sequence > 1")
    assert await records_of(written, after=1) == before


@pytest.mark.requirement("S8")
async def test_whoever_does_not_own_the_store_reads_the_file(
    written: SqliteStore, path: Path
) -> None:
    await written.release()
    known = await written.last_sequence()
    await another_process_writes(path)
    behind = await records_of(written, after=known)
    assert [(record.sequence, record.batch_id) for record in behind] == [(known + 1, batch_id(3))]


@pytest.mark.requirement("S8")
async def test_who_owns_the_store_again_remembers_nothing_from_before_the_other_owner(
    written: SqliteStore, path: Path
) -> None:
    await written.release()
    await another_process_writes(path)
    await written.acquire()
    last = await written.append(first(4))
    found = await records_of(written, after=1)
    assert [record.sequence for record in found] == list(range(2, last + 1))
    assert [record.batch_id for record in found[-2:]] == [batch_id(3), batch_id(4)]


def test_no_more_is_remembered_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_RECENT", 4)
    remembered = Recent()
    assert remembered.behind(0, None) is None
    for sequence in range(1, 10):
        remembered.add([JournalRecord(sequence, batch_id(1), sequence, NOON, Started(), b"")])
    assert remembered.behind(4, None) is None
    assert [each.sequence for each in remembered.behind(5, None) or ()] == [6, 7, 8, 9]
    assert remembered.behind(9, None) == []
