"""A store that is an older copy of itself is refused, and opened only by an explicit act."""

# ruff: noqa: ASYNC240  (nothing else runs on these tests' event loop)

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from saga.errors import StorePoisoned, StoreUnusable
from saga.logbook import TradingState, TradingStateSet
from saga.store.bridge import InlineBridge
from saga.store.mark import SLOTS, End, Mark, MarkFile, mark_path, packed, read_mark
from saga.store.sqlite import SqliteStore
from saga.store.verification import verify
from tests.store.sample_appends import NOON, first, following, intended

SIDE_FILES = ("-wal", "-shm")


def copied(path: Path, folder: str, *, mark: bool = False) -> Path:
    """Copy a store that is open, as `cp` would, its write-ahead log with it."""
    copy = path.parent / folder / path.name
    copy.parent.mkdir()
    for source in (path, *(path.with_name(path.name + suffix) for suffix in SIDE_FILES)):
        if source.exists():
            shutil.copy(source, copy.with_name(source.name))
    if mark:
        shutil.copy(mark_path(path), mark_path(copy))
    return copy


def put_back(copy: Path, path: Path) -> None:
    for suffix in ("", *SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
        source = copy.with_name(copy.name + suffix)
        if source.exists():
            shutil.copy(source, path.with_name(path.name + suffix))


async def refused(path: Path) -> str:
    with pytest.raises(StoreUnusable) as caught:
        async with SqliteStore(path):
            pass
    return str(caught.value)


async def fill(path: Path, numbers: range) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for number in numbers:
            await store.append(first(number))
        await store.release()


@pytest.mark.parametrize("bridge", [None, InlineBridge])
async def test_the_mark_follows_each_commit(path: Path, bridge: type[InlineBridge] | None) -> None:
    store = SqliteStore(path) if bridge is None else SqliteStore(path, bridge=bridge)
    async with store:
        assert not mark_path(path).exists()
        owner = await store.acquire()
        for number in range(1, 6):
            sequence = await store.append(first(number))
            mark = read_mark(path)
            assert mark is not None
            assert (mark.journal.number, mark.epoch) == (sequence, owner.epoch)
            (record,) = [each async for each in store.records(after=sequence - 1)]
            assert mark.journal.digest == record.digest
    assert stat.S_IMODE(mark_path(path).stat().st_mode) == 0o600


@pytest.mark.requirement("S1")
async def test_an_older_copy_put_back_is_refused_with_what_was_found_since_when_and_what_to_do(
    path: Path,
) -> None:
    await fill(path, range(1, 4))
    yesterday = copied(path, "yesterday")
    await fill(path, range(4, 8))
    put_back(yesterday, path)
    content = path.read_bytes()
    for _ in range(2):
        sentence = await refused(path)
        assert "was rolled back: its journal ends at record 3, but record 7 was durable" in sentence
        assert " UTC" in sentence
        assert "put the right copy back" in sentence
        assert "accept" in sentence
    assert path.read_bytes() == content


@pytest.mark.requirement("S1")
async def test_a_store_whose_log_was_taken_away_is_refused_until_it_is_brought_back(
    path: Path,
) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for number in range(1, 40):
            await store.append(first(number))
        crashed = copied(path, "crashed", mark=True)
    log = crashed.with_name(crashed.name + "-wal")
    log.rename(crashed.with_name("log"))
    assert (
        "was rolled back: its journal ends at record 0, but record 39 was durable"
        in await refused(crashed)
    )
    for suffix in SIDE_FILES:
        crashed.with_name(crashed.name + suffix).unlink(missing_ok=True)
    crashed.with_name("log").rename(log)
    async with SqliteStore(crashed) as store:
        assert await store.last_sequence() == 39


@pytest.mark.requirement("S8")
async def test_a_copy_that_went_on_by_itself_is_refused(path: Path) -> None:
    await fill(path, range(1, 4))
    other = copied(path, "other", mark=True)
    await fill(path, range(4, 8))
    async with SqliteStore(other) as store:
        await store.acquire()
        for number in range(101, 121):
            await store.append(first(number))
    put_back(other, path)
    assert "record 7 of its journal is not the one that was durable" in await refused(path)


@pytest.mark.requirement("S12")
async def test_a_copy_from_before_the_last_owner_is_refused_for_its_epoch(path: Path) -> None:
    await fill(path, range(1, 4))
    copy = copied(path, "copy")
    await fill(path, range(0))
    put_back(copy, path)
    assert "its last owner had the epoch 1, but epoch 2 was durable" in await refused(path)


@pytest.mark.requirement("S13")
async def test_a_copy_from_before_a_halt_is_refused(path: Path) -> None:
    copy = path
    async with SqliteStore(path) as store:
        await store.acquire()
        copy = copied(path, "copy")
        await store.note(TradingStateSet(TradingState.HALTED, by="a test", reason="enough"))
    put_back(copy, path)
    assert "its logbook ends at record 0, but record 1 was durable" in await refused(path)


async def test_a_copy_that_is_accepted_is_told_and_goes_on_from_there(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(path, range(1, 4))
    copy = copied(path, "copy")
    await fill(path, range(4, 8))
    put_back(copy, path)
    async with SqliteStore(path, accept_rollback=True) as store:
        assert store.rolled_back is not None
        assert "was rolled back" in store.rolled_back
        assert "was rolled back" in caplog.text
        # No epoch is given out twice, not even one of which this copy knows nothing.
        assert (await store.acquire()).epoch == 3
        assert await store.append(first(101)) == 4
    await fill(path, range(102, 104))


async def test_accepting_a_copy_that_is_not_acquired_changes_nothing(path: Path) -> None:
    await fill(path, range(1, 4))
    copy = copied(path, "copy")
    await fill(path, range(4, 8))
    put_back(copy, path)
    async with SqliteStore(path, accept_rollback=True):
        pass
    assert "was rolled back" in await refused(path)


async def test_a_store_that_never_had_a_mark_gets_one_from_its_first_owner(path: Path) -> None:
    await fill(path, range(1, 4))
    # As a version that knew of no mark has left it.
    mark_path(path).unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM migrations WHERE component = 'mark'")
        connection.commit()
    await fill(path, range(4, 5))
    mark = read_mark(path)
    assert mark is not None
    assert mark.journal.number == 4


async def test_a_store_that_has_lost_its_mark_is_refused(path: Path) -> None:
    await fill(path, range(1, 4))
    mark_path(path).unlink()
    assert "has lost its mark saga.db.mark" in await refused(path)
    async with SqliteStore(path, accept_rollback=True) as store:
        await store.acquire()
    async with SqliteStore(path) as store:
        assert store.rolled_back is None


async def test_a_mark_whose_store_has_gone_refuses_to_begin_anew(path: Path) -> None:
    await fill(path, range(1, 4))
    path.unlink()
    assert "is not there, but it held 3 records" in await refused(path)
    assert not path.exists()
    async with SqliteStore(path, accept_rollback=True) as store:
        assert (await store.acquire()).epoch == 2
        assert await store.append(first(1)) == 1
    await fill(path, range(2, 3))


async def test_a_store_without_records_may_be_begun_anew(path: Path) -> None:
    await fill(path, range(0))
    path.unlink()
    await fill(path, range(1, 2))


def at_record(mark: Mark, number: int) -> Mark:
    return replace(mark, journal=replace(mark.journal, number=number))


@pytest.mark.parametrize("keep", range(0, 137, 8))
@pytest.mark.parametrize("slot", [0, 1])
async def test_a_write_torn_anywhere_leaves_the_mark_before_it(
    path: Path, slot: int, keep: int
) -> None:
    await fill(path, range(1, 4))
    newest = read_mark(path)
    assert newest is not None
    content = bytearray(SLOTS[1] + len(packed(newest)))
    both = [at_record(newest, 2), newest]
    for offset, each in zip(SLOTS, both[:: 1 if slot else -1], strict=False):
        content[offset : offset + len(packed(each))] = packed(each)
    torn = packed(at_record(newest, 77))
    offset = SLOTS[1 - slot]
    content[offset : offset + keep] = torn[:keep]
    mark_path(path).write_bytes(content)
    found = read_mark(path)
    assert found == (newest if keep < len(torn) else at_record(newest, 77))


async def test_what_was_flushed_is_left_alone_until_something_newer_is(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for number in range(1, 8):
            before = mark_path(path).read_bytes()
            await store.heartbeat()
            for each in range(10 * number, 10 * number + 5):
                await store.append(first(each))
            after = mark_path(path).read_bytes()
            same = [before[o : o + 136] == after[o : o + 136] for o in SLOTS]
            assert same.count(True) == 1
            last = await store.last_sequence()
            content = bytearray(after)
            for offset in (o for o, kept in zip(SLOTS, same, strict=True) if not kept):
                content[offset : offset + 136] = bytes(136)
            mark_path(path).write_bytes(content)
            mark = read_mark(path)
            assert mark is not None
            assert mark.journal.number == last - 5
            mark_path(path).write_bytes(after)


@pytest.mark.parametrize("damage", [b"", b"\0" * 5000, b"\xff" * 5000])
async def test_a_mark_that_says_nothing_is_refused(path: Path, damage: bytes) -> None:
    await fill(path, range(1, 4))
    mark_path(path).write_bytes(damage)
    assert "is damaged" in await refused(path)
    async with SqliteStore(path, accept_rollback=True) as store:
        await store.acquire()
    await fill(path, range(4, 5))


async def test_an_owner_that_was_fenced_cannot_move_the_mark_of_the_next(path: Path) -> None:
    await fill(path, range(1, 4))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        fenced, present = MarkFile(path), MarkFile(path)
        fenced.begin(connection, 5, NOON)
        present.begin(connection, 6, NOON)
        for _ in range(3):
            fenced.note_journal(End(9, bytes(32)), NOON)
        mark = read_mark(path)
        fenced.close()
        present.close()
    assert mark is not None
    assert mark.epoch == 6


async def test_a_mark_that_cannot_be_written_poisons_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first(1))
        monkeypatch.setattr(os, "pwrite", broken)
        with pytest.raises(StorePoisoned, match="Input/output error"):
            await store.append(following(1, 2, intended(0)))
        with pytest.raises(StorePoisoned):
            await store.verify_owner()
        monkeypatch.undo()
        # The commit was durable; it is known after a restart.
        assert await store.last_sequence() == 2
    await fill(path, range(2, 3))


async def test_a_store_dropped_without_closing_leaves_no_descriptor(path: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    await fill(path, range(1, 2))
    before = open_files()
    with closing(sqlite3.connect(path)) as connection:
        mark = MarkFile(path)
        mark.begin(connection, 1, NOON)
        assert open_files() > before
        del mark
    assert open_files() == before


async def test_verification_says_that_a_copy_is_an_older_one(path: Path) -> None:
    await fill(path, range(1, 4))
    assert verify(path) == []
    copy = copied(path, "copy")
    await fill(path, range(4, 8))
    put_back(copy, path)
    (problem,) = verify(path)
    assert problem.batch_id is None
    assert "was rolled back" in problem.sentence
