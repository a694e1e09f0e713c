"""The store's file: who may read it, which settings it has, and what is refused at the door."""

# ruff: noqa: ASYNC240  (nothing else runs on these tests' event loop)

import os
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from saga.errors import StoreError, StoreHeld, StorePoisoned, StoreUnusable
from saga.store import database, journal, schema
from saga.store.sqlite import SqliteStore
from saga.store.sqlite_reader import SqliteReader
from tests.store.sample_appends import batch_id, first


def one(connection: sqlite3.Connection, sql: str) -> object:
    return connection.execute(sql).fetchone()[0]


@pytest.mark.requirement("S17")
async def test_the_files_belong_to_their_user_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o022)
    try:
        async with SqliteStore(path) as store:
            await store.acquire()
            await store.append(first())
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    finally:
        os.umask(before)
    names = ("saga.db", "saga.db-wal", "saga.db-shm", "saga.db.mark")
    assert modes == dict.fromkeys(names, 0o600)


async def test_the_folder_is_left_without_side_files(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first())
    assert sorted(p.name for p in path.parent.iterdir()) == ["saga.db", "saga.db.mark"]


def test_the_writer_has_the_settings_that_make_a_commit_durable(path: Path) -> None:
    database.create_if_missing(path)
    connection = database.connect_writer(path)
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
        "mmap_size": 0,
        "busy_timeout": 10_000,
        "journal_size_limit": database.WAL_LIMIT_BYTES,
        "application_id": schema.APPLICATION_ID,
    }
    assert {name: one(connection, f"PRAGMA {name}") for name in expected} == expected
    connection.close()


@pytest.mark.parametrize("name", ["journal_mode", "synchronous"])
def test_a_setting_that_is_not_taken_refuses_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    database.create_if_missing(path)
    # A value that is answered with another one, as WAL is on a disk that cannot hold it.
    untaken = tuple((n, "DELETE" if n == name else v, e) for n, v, e in database._WRITER)
    untaken = tuple((n, "OFF" if n == "synchronous" == name else v, e) for n, v, e in untaken)
    monkeypatch.setattr(database, "_WRITER", untaken)
    with pytest.raises(StoreUnusable, match=f"does not take the setting {name}"):
        database.connect_writer(path)


def test_a_reader_can_write_nothing_and_checkpoint_nothing(path: Path) -> None:
    database.create_if_missing(path)
    writer, reader = database.connect_writer(path), database.connect_reader(path)
    writer.execute("CREATE TABLE something_to_checkpoint (a)")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM migrations")
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("PRAGMA wal_checkpoint").fetchall()
    reader.close()
    writer.close()


async def test_a_path_with_characters_of_a_uri_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory&b#c%20 d é"
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first())
    assert path.stat().st_size > 0


async def test_a_relative_path_and_a_link_lead_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link.db").symlink_to("real.db")
    async with SqliteStore("link.db") as store:
        await store.acquire()
        await store.append(first())
    async with SqliteStore("real.db") as store:
        assert await store.last_sequence() == 1


async def refused(path: Path | str) -> str:
    with pytest.raises(StoreUnusable) as caught:
        async with SqliteStore(path):
            pass
    return str(caught.value)


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "is a directory; name a file in it" in await refused(tmp_path)


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist; create it first" in await refused(tmp_path / "no" / "saga.db")


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert "is not writable" in await refused(folder / "saga.db")


async def test_a_read_only_file_is_refused(path: Path) -> None:
    async with SqliteStore(path):
        pass
    path.chmod(0o400)
    assert "is read-only; allow writing" in await refused(path)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    content = b"symbol,quantity\nAAPL,10\n" * 100
    path.write_bytes(content)
    assert "cannot be read as a SQLite database" in await refused(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


async def test_an_empty_file_is_refused(path: Path) -> None:
    path.touch()
    assert "is an empty file" in await refused(path)


async def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    content = path.read_bytes()
    assert "another program" in await refused(path)
    assert path.read_bytes() == content


async def test_what_is_no_regular_file_is_refused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "not a regular file" in await refused(path)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300])
async def test_an_impossible_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be used" in await refused(f"{tmp_path}/{name}")


async def test_links_that_go_round_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot be used" in await refused(tmp_path / "a")


async def test_an_sqlite_that_is_too_old_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    assert "needs 3.37.0 or newer" in await refused(path)


class SqliteWithoutFunctions(sqlite3.Connection):
    """Every function is missing."""

    def __init__(self) -> None:
        super().__init__(":memory:")

    def execute(self, *_: object) -> sqlite3.Cursor:
        return super().execute("SELECT json_that_is_missing('[]')")


async def test_an_sqlite_without_json_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(":memory:")) as ours, closing(SqliteWithoutFunctions()) as theirs:
        assert database.has_json(ours)
        assert not database.has_json(theirs)
    monkeypatch.setattr(database, "has_json", lambda _: False)
    assert "built without its JSON functions" in await refused(path)


async def test_a_damaged_page_is_seen_at_the_door(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for number in range(1, 40):
            await store.append(first(number))
    content = bytearray(path.read_bytes())
    for page in range(5, len(content) // 4096):
        content[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(content)
    assert "damaged" in await refused(path)


async def test_words_that_are_no_text_any_more_are_a_damaged_store_for_every_reader(
    path: Path,
) -> None:
    async with SqliteStore(path) as store, SqliteReader(path) as reader:
        await store.acquire()
        await store.append(first(1))
        with closing(sqlite3.connect(path)) as hand:
            hand.execute("PRAGMA writable_schema = ON")
            hand.execute(
                "UPDATE sqlite_master SET sql = CAST(X'435245415445FF' AS TEXT) "
                "WHERE name = 'journal'"
            )
            hand.execute("PRAGMA schema_version = 10000")
            hand.commit()
        for asked in (store, reader):
            with pytest.raises(StoreError, match="cannot be read"):
                await asked.read(lambda connection: connection.execute("SELECT 1 FROM batches"))


@pytest.mark.requirement("S12")
async def test_the_same_store_is_not_opened_twice_in_one_process(path: Path) -> None:
    other_name = path.with_name("other.db")
    async with SqliteStore(path) as store:
        for opened in (path, other_name):  # it is the file that counts, whatever its name
            path.rename(opened)
            with pytest.raises(
                StoreHeld, match=rf"already open in this process \(pid {os.getpid()}\)"
            ):
                await SqliteStore(opened).__aenter__()
            opened.rename(path)
        with pytest.raises(StoreError, match="open already"):
            await store.__aenter__()
        assert await store.last_sequence() == 0
    async with SqliteStore(path):
        pass


@pytest.mark.requirement("S1", "S12")
async def test_a_store_with_a_second_name_is_opened_by_neither(path: Path) -> None:
    other_name = path.with_name("other.db")
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first(1))
        other_name.hardlink_to(path)
        assert "has another name as well (a hard link)" in await refused(other_name)
        assert not other_name.with_name("other.db-wal").exists()
        await store.append(first(2))
    assert f"the store {path} has another name" in await refused(path)
    other_name.unlink()
    async with SqliteStore(path) as store:
        assert await store.last_sequence() == 2


async def test_a_name_that_a_store_was_made_under_is_no_second_one(path: Path) -> None:
    async with SqliteStore(path):
        pass
    path.with_name(f".{path.name}.k3v9x.new").hardlink_to(path)  # killed while it was made
    async with SqliteStore(path) as store:
        assert await store.last_sequence() == 0
    path.with_name("other.db").hardlink_to(path)
    assert "has another name as well" in await refused(path)


@pytest.mark.parametrize("fate", ["moved", "removed", "replaced"])
async def test_a_store_whose_file_goes_away_writes_nothing_more(path: Path, fate: str) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first(1))
        if fate == "removed":
            path.unlink()
        else:
            path.rename(path.with_name("elsewhere.db"))
        if fate == "replaced":
            path.touch()
        with pytest.raises(StorePoisoned, match="moved, removed or replaced"):
            await store.append(first(2))
        with pytest.raises(StorePoisoned):
            await store.verify_owner()


async def test_a_fork_does_not_use_the_store_of_its_parent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: 1)
            with pytest.raises(StoreError, match="after forking"):
                await store.append(first(1))
            with pytest.raises(StoreError, match="after forking"):
                await store.journal(batch_id(1))


async def test_two_that_create_a_store_at_once_make_one(path: Path) -> None:
    draft = path.with_name("draft")
    database.create_if_missing(path)
    before = database.file_id(path)
    draft.touch()
    database._name_for_good(draft, path)
    assert database.file_id(path) == before


async def test_a_store_without_its_tables_is_refused(path: Path) -> None:
    async with SqliteStore(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE migrations")
    assert "are not as this program left them" in await refused(path)


@pytest.mark.requirement("B11")
async def test_what_is_unfinished_is_found_without_reading_what_is_over(path: Path) -> None:
    def plan(connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {journal._UNFINISHED}")
        return [detail for *_, detail in rows]

    async with SqliteStore(path) as store:
        steps = await store.read(plan)
    assert "USING INDEX batches_unfinished" in steps[0]


async def test_a_log_that_is_too_long_is_told_of_once_each_time_that_it_becomes_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    async with SqliteStore(path) as store:
        await store.acquire()
        for limit in (0, 0, database.WAL_LIMIT_BYTES, 0, 0):
            monkeypatch.setattr(database, "WAL_LIMIT_BYTES", limit)
            await store.heartbeat()
            told.append(caplog.text.count("keeps it from being written back"))
    assert told == [1, 1, 1, 2, 2]
