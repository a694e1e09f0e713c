"""The history reads a store beside its owner, from the file alone, and leaves no trace in it."""

# ruff: noqa: ASYNC240 - small files of the test's own, looked at between two questions

import sqlite3
import sys
import threading
from pathlib import Path

import anyio
import pytest

from saga.errors import StoreError, StoreUnusable
from saga.history import History
from saga.store import database, schema
from saga.store.migration import migrate
from saga.store.sqlite import SqliteStore
from tests.history.batch_samples import NOON, a_batch, a_trade, batch_id, write_store

OTHER_PROCESS = """
import sys, anyio
from saga.history import History

async def main():
    async with History(sys.argv[1]) as history:
        print(*[row.batch_id for row in await history.recent()])

anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_store(tmp_path / "saga.db", [(a_batch(n), (a_trade(),)) for n in (1, 2)])


@pytest.mark.requirement("B7", "B11")
async def test_another_process_reads_while_the_owner_has_the_store_open(path: Path) -> None:
    async with SqliteStore(path) as store:
        owner = await store.acquire()
        answer = await anyio.run_process(
            [sys.executable, "-c", OTHER_PROCESS, str(path)], check=False
        )
        assert (answer.returncode, answer.stderr) == (0, b"")
        assert answer.stdout.decode().split() == [batch_id(2), batch_id(1)]
        await store.verify_owner()
        assert await store.owner() == owner


async def test_the_owner_reads_through_its_own_store(path: Path) -> None:
    async with SqliteStore(path) as store:
        rows = await History(store).recent()
        async with History(store) as history:
            assert await history.recent() == rows
        assert [row.batch_id for row in rows] == [batch_id(2), batch_id(1)]
        await store.acquire()  # leaving the history did not close the store


async def test_reading_changes_no_byte_of_the_file_and_the_owner_can_open_it_after(
    path: Path,
) -> None:
    before = path.read_bytes()
    async with History(path) as history:
        await history.recent()
        await history.count()
    assert path.read_bytes() == before
    async with SqliteStore(path) as store:
        await store.acquire()
        assert len(await History(store).recent()) == 2


async def test_the_connection_refuses_to_write(path: Path) -> None:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM trades")

    async with History(path) as history:
        with pytest.raises(StoreError, match="cannot be read: attempt to write a readonly"):
            await history._store.read(write)


async def test_what_the_owner_commits_is_seen_by_the_next_question(path: Path) -> None:
    async with History(path) as history:
        assert len(await history.recent()) == 2
        write_store(path, [(a_batch(3), ())])
        assert len(await history.recent()) == 3


async def test_no_thread_outlives_the_history(path: Path) -> None:
    before = threading.active_count()
    async with History(path) as history:
        await history.recent()
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


async def test_a_missing_store_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"there is no store .*saga\.db; name the file"):
        await History(tmp_path / "saga.db").__aenter__()
    with pytest.raises(StoreUnusable, match=r"there is no store .*saga\.db; .* run a batch first"):
        await History(tmp_path / "no folder" / "saga.db").__aenter__()
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_no_store_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    before = threading.active_count()
    note = tmp_path / "note.txt"
    note.write_text("not a database at all, but long enough to be looked at " * 40)
    with pytest.raises(StoreUnusable, match="cannot be read as a SQLite database"):
        await History(note).__aenter__()
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    content = foreign.read_bytes()
    with pytest.raises(StoreUnusable, match="is a database of another program"):
        await History(foreign).__aenter__()
    assert foreign.read_bytes() == content
    with pytest.raises(StoreUnusable, match="is a directory; name a file in it"):
        await History(tmp_path).__aenter__()
    assert threading.active_count() == before


async def test_an_older_store_is_refused_with_its_version(tmp_path: Path) -> None:
    path = tmp_path / "saga.db"
    database.create_if_missing(path)
    with pytest.raises(StoreUnusable, match="have version 0, but this program reads version"):
        await History(path).__aenter__()
    connection = database.connect_writer(path)
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=3)
    connection.close()
    with pytest.raises(StoreUnusable, match=r"have version 3, .*; let the engine open it once"):
        await History(path).__aenter__()


async def test_a_newer_store_is_refused_with_its_version(path: Path) -> None:
    connection = database.connect_writer(path)
    connection.execute("INSERT INTO migrations VALUES ('engine', 99, 'of tomorrow', 0)")
    connection.close()
    with pytest.raises(StoreUnusable, match=r"saga\.db cannot be read: .* have version 99"):
        await History(path).__aenter__()


async def test_a_store_that_was_replaced_while_open_is_noticed(path: Path) -> None:
    async with History(path) as history:
        path.rename(path.with_name("old.db"))
        with pytest.raises(StoreError, match=r"was moved, removed or replaced .*; open it again"):
            await history.recent()


async def test_a_history_that_is_not_open_says_so(path: Path) -> None:
    history = History(path)
    with pytest.raises(StoreError, match="is not open; use it in its `async with`"):
        await history.recent()
    async with history:
        with pytest.raises(StoreError, match="is open already; use one `async with`"):
            await history.__aenter__()
    async with history:  # and again
        assert len(await history.recent()) == 2
