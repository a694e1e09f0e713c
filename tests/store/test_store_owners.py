"""One owner: real processes that live, die, and are taken for one another."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread

from saga.errors import OwnershipLost, StoreHeld, StoreUnusable
from saga.store import process
from saga.store.process import Process, SystemProcesses
from saga.store.sqlite import SqliteStore
from saga.store.verification import verify
from tests.manual_clock import ManualClock
from tests.store.other_process import running_beside
from tests.store.sample_appends import batch_id, first, following, intended

_OWNS = """
import asyncio, sys
from saga.store.sqlite import SqliteStore
from tests.store.other_process import running_beside
from tests.store.sample_appends import first, following, intended
from saga.errors import OwnershipLost

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await store.acquire()
        await store.append(first(1))
        print("owner", flush=True)
        sys.stdin.readline()
        try:
            await store.append(following(1, 2, intended(0)))
        except OwnershipLost as error:
            print(error, flush=True)

asyncio.run(main())
"""


_TRIES_BY_ANOTHER_NAME = """
import asyncio, subprocess, sys
from pathlib import Path
from saga.errors import StoreHeld
from saga.store.sqlite import SqliteStore

async def main():
    path, other = Path(sys.argv[1]), Path(sys.argv[1]).parent / "elsewhere" / "saga.db"
    other.parent.mkdir()
    other.touch()
    subprocess.run(["mount", "--bind", path, other], check=True)
    print("mounted", flush=True)
    try:
        async with SqliteStore(other, accept_rollback=True) as store:
            await store.acquire()
    except StoreHeld as error:
        print(error, flush=True)

asyncio.run(main())
"""

APART = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")
"""Runs a command in a PID namespace of its own, as a container does."""
MOUNTING = ("unshare", "--map-root-user", "--mount")
"""Runs a command that may mount what nobody else sees."""


def owning_process(
    path: Path, inside: Sequence[str] = ()
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a process that owns the store, has appended once, and waits for a line."""
    return running_beside(_OWNS, path, until="owner", inside=inside)


def skip_unless(inside: Sequence[str]) -> None:
    """Skip the test where this machine does not let a command be run so."""
    if shutil.which(inside[0]) is None or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip(f"this machine does not let `{' '.join(inside)}` be run")


def locked(path: Path) -> bool:
    """Return whether the owner says that it holds the kernel's lock."""
    with closing(sqlite3.connect(path)) as connection:
        (said,) = connection.execute("SELECT locked FROM owner").fetchone()
    return bool(said)


def wait_for_death(pid: int, *, reap: bool) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | (0 if reap else os.WNOWAIT))


@pytest.mark.requirement("S12")
async def test_a_second_process_is_refused_with_the_name_of_the_first(path: Path) -> None:
    with owning_process(path) as child:
        async with SqliteStore(path) as store:
            with pytest.raises(StoreHeld, match=f"process {child.pid} on {os.uname().nodename}"):
                await store.acquire()
            assert await store.unfinished() == {batch_id(1): "main"}


@pytest.mark.requirement("S12", "D6", "T15")
@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "still a zombie"])
async def test_a_killed_owner_is_replaced_without_asking(path: Path, reaped: bool) -> None:
    with owning_process(path) as child:
        os.kill(child.pid, signal.SIGKILL)
        wait_for_death(child.pid, reap=reaped)
        async with SqliteStore(path) as store:
            assert (await store.acquire()).epoch == 2
            assert len(await store.journal(batch_id(1))) == 1
            await store.append(following(1, 2, intended(0)))


@pytest.mark.requirement("S12")
async def test_a_frozen_owner_that_thaws_after_a_takeover_writes_nothing(path: Path) -> None:
    with owning_process(path) as child:
        os.kill(child.pid, signal.SIGSTOP)
        async with SqliteStore(path) as store:
            with pytest.raises(StoreHeld):
                await store.acquire()
            await store.acquire(take_over=True)
            await store.append(first(2))
            os.kill(child.pid, signal.SIGCONT)
            told, _ = child.communicate("go on\n", timeout=60)
            assert f"taken over by process {os.getpid()}" in told
            assert "can write and send nothing more" in told
            assert len(await store.journal(batch_id(1))) == 1
            await store.append(first(3))
            await store.verify_owner()


@pytest.mark.requirement("S12", "S3")
async def test_a_living_owner_in_another_pid_namespace_is_not_taken_for_dead(path: Path) -> None:
    skip_unless(APART)
    with owning_process(path, APART):
        async with SqliteStore(path) as store:
            with pytest.raises(StoreHeld, match=rf"process 1 on {os.uname().nodename}"):
                await store.acquire()


@pytest.mark.requirement("S12", "S3")
async def test_one_that_cannot_be_seen_is_held_by_the_files_lock_however_long_it_is_silent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_namespace", lambda: 1)
    clock = ManualClock()
    with owning_process(path) as child:
        os.kill(child.pid, signal.SIGSTOP)
        clock.instant = datetime.now(UTC) + timedelta(days=1)
        async with SqliteStore(path, clock=clock) as store:
            for _ in range(2):
                with pytest.raises(StoreHeld, match=f"process {child.pid} on"):
                    await store.acquire()
            assert (await store.acquire(take_over=True)).last_may_live
            assert not locked(path)
            os.kill(child.pid, signal.SIGKILL)
            wait_for_death(child.pid, reap=True)
            await store.heartbeat()
            assert locked(path)


@pytest.mark.requirement("S12", "D6", "T15")
async def test_one_that_cannot_be_seen_and_is_killed_is_replaced_without_waiting_for_its_lease(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_namespace", lambda: 1)
    with owning_process(path) as child:
        os.kill(child.pid, signal.SIGKILL)
        wait_for_death(child.pid, reap=True)
        async with SqliteStore(path) as store:
            owner = await store.acquire()
    assert (owner.epoch, owner.last_may_live) == (2, False)


@pytest.mark.requirement("S12")
async def test_where_nothing_can_be_locked_one_that_cannot_be_seen_keeps_its_lease(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.store.file_lock.unfit", lambda _: "nfs")
    monkeypatch.setattr(process, "_namespace", lambda: 1)
    with owning_process(path) as child:
        os.kill(child.pid, signal.SIGKILL)
        wait_for_death(child.pid, reap=True)
        async with SqliteStore(path) as store:
            with pytest.raises(StoreHeld, match=f"process {child.pid} on"):
                await store.acquire()


@pytest.mark.requirement("S1", "S12")
async def test_a_file_that_is_owned_under_another_name_is_not_owned_twice(path: Path) -> None:
    skip_unless(MOUNTING)
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first(1))
        with running_beside(
            _TRIES_BY_ANOTHER_NAME, path, until="mounted", inside=MOUNTING
        ) as child:
            told, _ = await to_thread.run_sync(partial(child.communicate, timeout=60))
        assert "held by process" in told or "the same file open under another name" in told
        await store.append(first(2))
    assert verify(path) == []


@pytest.mark.requirement("S12")
async def test_the_lock_goes_with_ownership_and_not_with_the_open_file(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        assert locked(path)
        await store.release()
        with owning_process(path) as child:
            assert locked(path)
            with pytest.raises(StoreHeld, match=f"process {child.pid} on"):
                await store.acquire()


@pytest.mark.requirement("S12")
async def test_a_process_id_that_was_given_out_again_is_not_the_owner(path: Path) -> None:
    with owning_process(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE owner SET pid = ?", (os.getppid(),))
    async with SqliteStore(path) as store:
        assert (await store.acquire()).epoch == 2


@pytest.mark.requirement("S12")
@pytest.mark.parametrize("column", ["acquired_at", "heartbeat_at"])
@pytest.mark.parametrize("instant", [2**63 - 1, -(2**63)])
async def test_an_owner_of_no_instant_that_there_is_is_a_damaged_store(
    path: Path, column: str, instant: int
) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE owner SET {column} = {instant}")
    async with SqliteStore(path) as store:
        for asked in (store.acquire(), store.owner()):
            with pytest.raises(StoreUnusable, match=f"damaged: {instant} microseconds"):
                await asked


def test_a_living_process_is_alive_and_a_dead_one_is_not() -> None:
    processes = SystemProcesses()
    me = processes.current()
    assert me.pid == os.getpid()
    assert processes.is_alive(me)
    assert processes.is_alive(Process(os.getppid(), me.host, None))
    assert not processes.is_alive(Process(me.pid, me.host, "another boot/1"))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not processes.is_alive(Process(child.pid, me.host, None))


async def test_a_store_that_was_not_acquired_can_be_read_by_others(path: Path) -> None:
    async with SqliteStore(path) as store:
        with pytest.raises(OwnershipLost):
            await store.append(first(1))
        assert await store.unfinished() == {}
