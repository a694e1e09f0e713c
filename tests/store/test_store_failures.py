"""When the disk or the file fails, nothing more is written, and a sentence says so."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import pytest

from saga.errors import InvalidInput, StoreError, StorePoisoned
from saga.store import database, transaction
from saga.store.bridge import InlineBridge
from saga.store.sqlite import SqliteStore
from saga.store.transaction import is_failure, writing
from tests.store.sample_appends import batch_id, first, following, intended

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NearlyFullDisk(InlineBridge):
    """A connection whose file may not grow by more than a few pages."""

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        return await super().run(self._bound, function, *arguments)

    def _bound(
        self,
        connection: sqlite3.Connection,
        function: Callable[[sqlite3.Connection, *Ts], T],
        *arguments: *Ts,
    ) -> T:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages > 20 and not connection.in_transaction:
            connection.execute(f"PRAGMA max_page_count = {max(pages, 30)}")
        return function(connection, *arguments)


@pytest.mark.requirement("S1")
async def test_a_full_disk_poisons_the_store_and_loses_nothing_that_was_acknowledged(
    path: Path,
) -> None:
    acknowledged = 0
    async with SqliteStore(path, bridge=NearlyFullDisk) as store:
        await store.acquire()

        async def write_on_and_on() -> None:
            nonlocal acknowledged
            for number in range(1, 1000):
                acknowledged = await store.append(first(number))

        with pytest.raises(StorePoisoned, match="because the disk is full") as caught:
            await write_on_and_on()
        assert acknowledged > 0
        assert str(path) in str(caught.value)
        assert "free space" in str(caught.value)
        for write in (
            store.append(first(1001)),
            store.heartbeat(),
            store.verify_owner(),
            store.quarantine(batch_id(1), "why"),
            store.acquire(take_over=True),
        ):
            with pytest.raises(StorePoisoned, match="the disk is full"):
                await write
        await store.release()
        assert await store.last_sequence() == acknowledged
        assert len(await store.journal(batch_id(1))) == 1
    async with SqliteStore(path) as store:
        await store.acquire()
        assert await store.append(first(1001)) == acknowledged + 1


async def test_all_who_share_a_commit_that_fails_learn_of_it(path: Path) -> None:
    poisoned: list[int] = []
    async with SqliteStore(path, bridge=NearlyFullDisk) as store:
        await store.acquire()

        async def write(number: int) -> None:
            try:
                await store.append(first(number))
            except StorePoisoned:
                poisoned.append(number)

        async with anyio.create_task_group() as group:
            for number in range(1, 101):
                group.start_soon(write, number)
        assert sorted(poisoned) == list(range(1, 101))
        assert await store.last_sequence() == 0


_FILLS_ITS_DISK = """
import asyncio, resource, signal, sys
from saga.errors import StorePoisoned
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import first

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await store.acquire()
        # As on a full disk, the write-ahead log cannot grow any more.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        number = 0
        try:
            while True:
                number = await store.append(first(number + 1))
                print(number, flush=True)
        except StorePoisoned as error:
            print(error, file=sys.stderr)
            sys.exit(3)

asyncio.run(main())
"""


@pytest.mark.requirement("S1")
def test_a_disk_that_refuses_to_write_is_a_sentence_and_not_a_traceback(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FILLS_ITS_DISK, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert "could not be written because the disk failed (disk I/O error)" in done.stderr
    assert "Traceback" not in done.stderr
    acknowledged = len(done.stdout.split())
    assert acknowledged > 10
    with closing(sqlite3.connect(path)) as connection:
        (kept,) = connection.execute("SELECT max(sequence) FROM journal").fetchone()
    assert kept >= acknowledged


class _FailingCommit(sqlite3.Connection):
    """A connection whose next commits fail, as after a failed fsync."""

    code = sqlite3.SQLITE_IOERR

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_ERROR])
def test_a_commit_that_fails_in_any_way_poisons_and_is_not_tried_again(
    path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_FailingCommit, "code", code)
    with closing(sqlite3.connect(path, isolation_level=None, factory=_FailingCommit)) as connection:
        with pytest.raises(StorePoisoned), writing(connection):
            connection.execute("CREATE TABLE t (a)")
        assert not connection.in_transaction
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)


def test_another_process_that_holds_the_lock_for_ever_is_named_as_the_cause(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.create_if_missing(path)
    monkeypatch.setattr(transaction, "BUSY_TIMEOUT_SECONDS", 0.01)
    with (
        closing(database.connect_writer(path)) as holder,
        closing(database.connect_writer(path)) as waiter,
    ):
        waiter.execute("PRAGMA busy_timeout = 10")
        holder.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(StoreError, match=r"held the write lock .* end that process") as caught,
            writing(waiter),
        ):
            pass
        assert not isinstance(caught.value, StorePoisoned)
        holder.execute("ROLLBACK")
        with writing(waiter):
            pass


def test_a_refused_statement_is_no_failure_of_the_disk() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in ("SELECT 1 FROM nothing", "CREATE TABLE t (a CHECK (a)) STRICT"):
            with pytest.raises(sqlite3.Error) as caught:
                connection.execute(statement)
            assert not is_failure(caught.value)


async def test_what_was_not_foreseen_fails_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("not foreseen")

    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first(1))
        with monkeypatch.context() as patch:
            patch.setattr("saga.store.journal.check_epoch", broken)
            with pytest.raises(StorePoisoned, match="not foreseen"):
                await store.append(following(1, 2, intended(0)))
        with pytest.raises(StorePoisoned):
            await store.append(following(1, 2, intended(0)))
        assert await store.last_sequence() == 1


class _Committer:
    """A projection that ends the store's transaction, which it must not, and then refuses."""

    name = "committer"
    migrations = ()

    def project(self, connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("COMMIT")
        raise InvalidInput("too late")


async def test_a_refusal_that_cannot_be_undone_poisons(path: Path) -> None:
    async with SqliteStore(path, projections=[_Committer()]) as store:
        await store.acquire()
        with pytest.raises(StorePoisoned, match="too late"):
            await store.append(first(1))
        with pytest.raises(StorePoisoned):
            await store.append(first(2))
