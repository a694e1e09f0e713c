"""What becomes of the store, scenario by scenario: each ends in a truth, or in no order at all.

The engine, its store and its file are real; the venue keeps books of its own, which are the judge.
Power loss at every operation (D1, and D14 with it) has a harness of its own: tests/power_loss.
"""

# ruff: noqa: ASYNC240  (nothing else runs on these tests' event loop)

import gzip
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from random import Random
from typing import Final

import anyio
import pytest

from saga.errors import (
    SagaError,
    StoreBusy,
    StoreError,
    StoreHeld,
    StorePoisoned,
    StoreUnusable,
)
from saga.events import Intended
from saga.fold import saga_of
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.store import database, file_system, schema, sqlite
from saga.store.bridge import InlineBridge, ThreadBridge
from saga.store.migration import migrate
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from saga.store.verification import verify
from saga.views import batch_row, trade_row
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on, sell
from tests.engine.test_fences_and_timeouts import TurnedClock
from tests.store.other_process import running_beside
from tests.store.sample_appends import NOON, first

GOLDEN: Final = Path(__file__).parent / "golden"
PATIENCE: Final = 20.0
FLIPS: Final = 40
SMALL_LOG: Final = 400_000
FINISHED: Final = 20_000
STEPS_COUNTED: Final = 1000


class FaultyDisk(InlineBridge):
    """A disk on which the nth commit fails, once or for ever.

    Attributes:
        fails_at: which commit, counted from 1 over all connections; None is none.
        for_ever: all later ones fail as well.
        code: SQLite's result code.
        after: the commit reaches the disk all the same, as where only a sync failed.
    """

    fails_at: int | None = None
    for_ever: bool = False
    code: int = sqlite3.SQLITE_IOERR
    after: bool = False
    commits: int = 0
    failed: int = 0

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        await super().open(connect)
        assert self._connection is not None
        self._connection = _Faulty(self._connection)  # type: ignore[assignment]

    @classmethod
    def begin(cls, fails_at: int | None, **how: object) -> None:
        cls.fails_at, cls.commits, cls.failed = fails_at, 0, 0
        cls.for_ever = bool(how.get("for_ever", False))
        cls.after = bool(how.get("after", False))
        cls.code = int(str(how.get("code", sqlite3.SQLITE_IOERR)))


class _Faulty:
    """A connection whose commits can fail."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            FaultyDisk.commits += 1
            at, now = FaultyDisk.fails_at, FaultyDisk.commits
            if at is not None and (now == at or (FaultyDisk.for_ever and now > at)):
                FaultyDisk.failed += 1
                if FaultyDisk.after:
                    self._connection.execute("COMMIT")
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = FaultyDisk.code
                raise error
        return self._connection.execute(sql, parameters)  # type: ignore[arg-type]


class Witness(LyingVenue):
    """A venue that notes whether anything is sent once the disk has failed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_after_failure = 0
        self.intents_missing: list[str] = []
        self.path: Path | None = None

    async def send(self, attempt: Attempt) -> Report:
        self.sent_after_failure += FaultyDisk.failed > 0
        if self.path is not None and not durable_intent(self.path, attempt):
            self.intents_missing.append(attempt.key)
        return await super().send(attempt)


def durable_intent(path: Path, attempt: Attempt) -> bool:
    """Look into the file itself, from outside, for the intent of an attempt."""
    with closing(sqlite3.connect(path)) as file:
        found = file.execute(
            "SELECT 1 FROM journal j JOIN batches b ON b.id = j.batch_id WHERE b.batch_uid = ?"
            " AND j.kind = 'intended' AND json_extract(j.data, '$.step') = ?"
            " AND json_extract(j.data, '$.number') = ?",
            (attempt.batch_id, attempt.step, attempt.number),
        )
        return found.fetchone() is not None


async def run_one(store: SqliteStore, venue: LyingVenue) -> str:
    """Run a batch of two orders on a store, and return its state."""
    async with Orchestrator(store, [venue]) as engine:
        try:
            return (await engine.run(batch(buy("KO"), sell("PEP")), timeout=PATIENCE)).state
        except StorePoisoned:
            # Nor is anything else written or sent, even if the disk is well again.
            with pytest.raises(StorePoisoned):
                await store.verify_owner()
            raise


async def run_until_the_disk_fails(path: Path, venue: LyingVenue) -> None:
    """Run a batch on a faulty disk, and leave as a process does that cannot go on."""
    try:
        await run_one(SqliteStore(path, bridge=FaultyDisk), venue)
    except SagaError:
        return
    except BaseExceptionGroup as group:
        _, others = group.split(SagaError)
        if others is not None:
            raise


async def recover(folder: Path, venue: LyingVenue) -> set[str]:
    """Start again on a sound disk, let everything end, and return the states of all batches."""
    async with engine_on(folder, venue) as engine:
        store = engine.store
        assert isinstance(store, SqliteStore)
        uids = await store.read(
            lambda file: [uid for (uid,) in file.execute("SELECT batch_uid FROM batches")]
        )
        states = {(await engine.wait(uid, timeout=PATIENCE)).state for uid in uids}
    assert verify(folder / "saga.db") == []
    return states


def once_each(venue: LyingVenue) -> bool:
    """Tell whether no key was filled twice, nor any order given a second key."""
    keys = [key for key, _, _ in venue.books]
    symbols = [symbol for _, symbol, _ in venue.books]
    return len(keys) == len(set(keys)) and len(symbols) == len(set(symbols))


async def refused(path: Path) -> str:
    """Return why no engine starts on a store; nothing is sent."""
    venue = LyingVenue()
    with pytest.raises(StoreUnusable) as caught:
        async with engine_on(path.parent, venue):
            pass
    assert venue.sent == []
    return str(caught.value)


def copied(path: Path, folder: Path) -> Path:
    """Copy a store as a power failure or a kill would leave it: log and mark with it."""
    folder.mkdir()
    for name in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", ".mark"))):
        if name.exists():
            shutil.copy(name, folder / name.name)
    return folder / path.name


class Snapshots(LyingVenue):
    """Copies the store's files whenever something is sent: the intent is durable, no answer is.

    Attributes:
        copies: where the files went.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.copies: list[Path] = []

    async def send(self, attempt: Attempt) -> Report:
        report = await super().send(attempt)
        self.copies.append(
            copied(self._path, self._path.parent / f"at send {len(self.copies) + 1}")
        )
        return report


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saga.db"


@pytest.fixture
async def commits(tmp_path: Path) -> int:
    """Return how many commits the life of one batch takes, opening and leaving included."""
    (tmp_path / "counted").mkdir()
    FaultyDisk.begin(None)
    state = await run_one(
        SqliteStore(tmp_path / "counted" / "saga.db", bridge=FaultyDisk), LyingVenue()
    )
    assert state == "COMPLETED"
    return FaultyDisk.commits


async def fails_at_each_commit(folder: Path, commits: int, **how: object) -> None:
    """Let each commit fail in turn; nothing is sent after it, and a restart recovers."""
    reached = 0
    for number in range(1, commits + 1):
        path = folder / f"commit {number}" / "saga.db"
        path.parent.mkdir()
        venue = Witness()
        FaultyDisk.begin(number, **how)
        await run_until_the_disk_fails(path, venue)
        reached += FaultyDisk.failed > 0
        assert venue.sent_after_failure == 0, f"after commit {number}"
        FaultyDisk.begin(None)
        states = await recover(path.parent, venue)
        assert states <= {"COMPLETED"}
        assert once_each(venue)
        assert len(venue.books) == (2 if states else 0)
    assert reached == commits


@pytest.mark.scenario("D2")
@pytest.mark.requirement("S1", "S2", "S3")
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
async def test_d2_a_disk_that_fails_at_any_write_stops_all_sending_and_a_restart_recovers(
    tmp_path: Path, commits: int, for_ever: bool
) -> None:
    await fails_at_each_commit(tmp_path, commits, for_ever=for_ever)


@pytest.mark.scenario("D3")
@pytest.mark.requirement("S1", "S3")
async def test_d3_a_sync_that_fails_once_is_not_tried_again(tmp_path: Path, commits: int) -> None:
    await fails_at_each_commit(tmp_path, commits, after=True)
    (tmp_path / "counting").mkdir()
    middle = commits // 2
    FaultyDisk.begin(middle, after=True)
    await run_until_the_disk_fails(tmp_path / "counting" / "saga.db", LyingVenue())
    assert FaultyDisk.commits == middle


@pytest.mark.scenario("D4")
@pytest.mark.requirement("S2", "S9")
async def test_d4_a_full_disk_sends_nothing_without_an_intent_and_learns_a_fill_later(
    tmp_path: Path, commits: int
) -> None:
    await fails_at_each_commit(tmp_path, commits, code=sqlite3.SQLITE_FULL, for_ever=True)


_FULL_IN_CHECKPOINT: Final = """
import asyncio, resource, signal, sys
from saga.errors import StorePoisoned
from saga.store.bridge import InlineBridge
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import first

class OftenWrittenBack(InlineBridge):
    async def open(self, connect):
        await super().open(connect)
        self._connection.execute("PRAGMA wal_autocheckpoint = 20").fetchall()

async def main():
    async with SqliteStore(sys.argv[1], bridge=OftenWrittenBack) as store:
        await store.acquire()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        number = 0
        try:
            while True:
                number = await store.append(first(number + 1))
                print(number, flush=True)
        except StorePoisoned as error:
            sys.exit(3)

asyncio.run(main())
"""


@pytest.mark.scenario("D4")
@pytest.mark.requirement("S1")
async def test_d4_a_disk_that_fills_up_in_a_checkpoint_loses_nothing(path: Path) -> None:
    child = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", _FULL_IN_CHECKPOINT, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 3, child.stderr
    acknowledged = len(child.stdout.split())
    # The file itself could not grow any more, long before the log came to its end.
    assert path.stat().st_size > 450_000
    async with SqliteStore(path) as store:
        await store.acquire(take_over=True)
        assert await store.last_sequence() >= acknowledged > 50
    assert verify(path) == []


@pytest.mark.scenario("D5")
@pytest.mark.requirement("S1", "S8")
@pytest.mark.parametrize(
    ("fate", "sentence"),
    [
        ("log removed", "was rolled back"),
        ("older copy", "was rolled back"),
        ("empty file", "is an empty file"),
        ("no database", "cannot be read as a SQLite database"),
        ("wrong database", "a database of another program"),
        ("removed", "is not there, but it held"),
    ],
)
async def test_d5_a_store_that_is_not_what_it_was_is_refused(
    path: Path, fate: str, sentence: str
) -> None:
    venue = Snapshots(path)
    assert await run_one(SqliteStore(path), venue) == "COMPLETED"
    found, older = venue.copies[1], venue.copies[0]
    match fate:
        case "log removed":
            found.with_name("saga.db-wal").unlink()
        case "older copy":
            for name in ("saga.db", "saga.db-wal"):
                shutil.copy(older.with_name(name), found.with_name(name))
        case "empty file":
            found.write_bytes(b"")
        case "no database":
            found.with_name("saga.db-wal").unlink()  # from which it would be whole again
            found.write_bytes(b"symbol,quantity\nAAPL,10\n" * 100)
        case "wrong database":
            found.unlink()
            with closing(sqlite3.connect(found)) as file:
                file.execute("CREATE TABLE mine (a)")
        case _:
            found.unlink()
    assert sentence in await refused(found)


@pytest.mark.scenario("D6")
@pytest.mark.requirement("S2", "S8", "S18")
@pytest.mark.parametrize("where", ["saga.db", "saga.db-wal"])
async def test_d6_a_flipped_bit_is_found_or_harmless_and_never_a_wrong_order(
    path: Path, where: str
) -> None:
    venue = Snapshots(path)
    await run_one(SqliteStore(path), venue)
    sent = set(venue.sent)
    crashed = venue.copies[0]
    if where == "saga.db":  # with everything written back
        with closing(sqlite3.connect(crashed)) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = crashed.with_name(where).read_bytes()
    stream, found = Random(6), 0
    for _ in range(FLIPS):
        flipped = bytearray(content)
        flipped[stream.randrange(len(content))] ^= 1 << stream.randrange(8)
        folder = path.parent / "flipped"
        copy = copied(crashed, folder)
        copy.with_name(where).write_bytes(flipped)
        restarted = LyingVenue()
        restarted.told, restarted.books = dict(venue.told), []
        try:
            await recover(folder, restarted)
        except (SagaError, AssertionError):
            found += 1
        # What goes out is what would have gone out: the key names batch, step and attempt.
        assert set(restarted.sent) <= sent
        assert all(
            (key, symbol, quantity) in venue.books for key, symbol, quantity in restarted.books
        )
        shutil.rmtree(folder)
    assert found > 0


@pytest.mark.scenario("D7")
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_d7_what_cannot_be_written_is_refused_before_anything_is_accepted(
    path: Path, what: str
) -> None:
    await run_one(SqliteStore(path), LyingVenue())
    place = path if what == "file" else path.parent
    place.chmod(0o400 if what == "file" else 0o500)
    try:
        sentence = await refused(path)
    finally:
        place.chmod(0o700)
    assert "is read-only" in sentence or "is not writable" in sentence


class Impatient(ThreadBridge):
    """Waits a quarter of a second for a lock, and not ten."""

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        await super().open(connect)
        await self.run(lambda file: file.execute("PRAGMA busy_timeout = 250").fetchall())


_HOLDS_THE_LOCK: Final = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
file.execute("ROLLBACK")
"""


def lock_held(path: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """Hold the write lock in another process until it is given a line."""
    return running_beside(_HOLDS_THE_LOCK, path, until="held")


@pytest.mark.scenario("D8")
@pytest.mark.requirement("S2")
async def test_d8_a_lock_held_for_a_while_is_waited_for_and_one_held_for_ever_is_refused(
    path: Path,
) -> None:
    venue = LyingVenue()
    store = SqliteStore(path, bridge=Impatient)
    async with Orchestrator(store, [venue]) as engine:
        with lock_held(path), pytest.raises(StoreBusy, match="end that process"):
            await engine.run(batch(buy("KO")), timeout=PATIENCE)
        assert venue.sent == []
    assert verify(path) == []
    async with engine_on(path.parent, venue) as engine:
        with lock_held(path) as child:
            done: list[str] = []

            async def run() -> None:
                done.append((await engine.run(batch(buy("KO")), timeout=PATIENCE)).state)

            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await anyio.sleep(0.3)  # the other process is real
                assert (done, venue.sent) == ([], [])
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
        assert done == ["COMPLETED"]


_OWNS: Final = """
import asyncio, sys
from saga.errors import OwnershipLost
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import first

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        await store.acquire()
        await store.append(first(1))
        print("owner", flush=True)
        sys.stdin.readline()
        for late in (store.verify_owner(), store.append(first(2))):
            try:
                await late
            except OwnershipLost as error:
                print("fenced", flush=True)
        await store.__aexit__(None, None, None)

asyncio.run(main())
"""


def owning_process(path: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a process that owns the store, and writes late once it is given a line."""
    return running_beside(_OWNS, path, until="owner")


@pytest.mark.scenario("D9")
@pytest.mark.requirement("S12")
async def test_d9_a_second_engine_is_refused_with_the_pid_and_host_of_the_first(
    path: Path,
) -> None:
    venue = LyingVenue()
    with (
        owning_process(path) as child,
        pytest.raises(StoreHeld, match=f"process {child.pid} on {os.uname().nodename}"),
    ):
        async with engine_on(path.parent, venue):
            pass
    assert venue.sent == []


@pytest.mark.scenario("D10")
@pytest.mark.requirement("S12")
async def test_d10_a_frozen_owner_that_thaws_after_a_take_over_neither_sends_nor_writes(
    path: Path,
) -> None:
    with owning_process(path) as child:
        os.kill(child.pid, signal.SIGSTOP)
        async with SqliteStore(path) as store:
            await store.acquire(take_over=True)
            await store.append(first(3))
            os.kill(child.pid, signal.SIGCONT)
            told, _ = child.communicate("go on\n", timeout=60)
            # Once where it looks before a send, and once where it appends.
            assert told == "fenced\nfenced\n"
            await store.append(first(4))
            assert await store.last_sequence() == 3
    assert verify(path) == []
    async with SqliteStore(path) as store:
        assert store.rolled_back is None


class SmallLog(InlineBridge):
    """A log that is cut back to a small size."""

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        await super().open(connect)
        assert self._connection is not None
        self._connection.execute(f"PRAGMA journal_size_limit = {SMALL_LOG}").fetchall()
        self._connection.execute("PRAGMA wal_autocheckpoint = 50").fetchall()


@pytest.mark.scenario("D11")
async def test_d11_a_long_reading_is_alarmed_and_the_log_is_cut_back_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "WAL_LIMIT_BYTES", SMALL_LOG)
    async with SqliteStore(path, bridge=SmallLog) as store:
        await store.acquire()
        await store.append(first(1))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM journal").fetchone()
            await store.heartbeat()
            assert "has been reading the store for long" not in caplog.text
            for number in range(2, 60):
                await store.append(first(number))
            for _ in range(2):
                await store.heartbeat()
            assert caplog.text.count("has been reading the store for long") == 1
            assert database.log_bytes(path) > SMALL_LOG
        for number in range(60, 80):
            await store.append(first(number))
        assert database.log_bytes(path) <= SMALL_LOG
        await store.heartbeat()
    assert caplog.text.count("has been reading the store for long") == 1


@pytest.mark.scenario("D12")
@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "ext4"])
async def test_d12_a_network_file_system_is_warned_of_where_it_can_be_told(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = path.with_name("mounts")
    mounts.write_text(f"/dev/root / ext4 rw 0 0\nserver:/x {path.parent} {kind} rw 0 0\n")
    monkeypatch.setattr(file_system, "_MOUNTS", mounts)
    async with engine_on(path.parent, LyingVenue()):
        pass
    assert ("put it on a local disk" in caplog.text) == (kind != "ext4")


@pytest.mark.scenario("D13")
@pytest.mark.requirement("S2")
@pytest.mark.parametrize("fate", ["renamed", "unlinked", "replaced"])
async def test_d13_a_store_whose_file_goes_away_sends_nothing_more(path: Path, fate: str) -> None:
    venue = LyingVenue()
    async with engine_on(path.parent, venue) as engine:
        await engine.run(batch(buy("KO")), timeout=PATIENCE)
        older = copied(path, path.parent / "older")
        await engine.run(batch(buy("XOM")), timeout=PATIENCE)
        sent = len(venue.sent)
        match fate:
            case "renamed":
                path.rename(path.with_name("moved"))
            case "unlinked":
                path.unlink()
            case _:
                shutil.copy(older, path.with_name("new"))
                path.with_name("new").replace(path)
        with pytest.raises(StorePoisoned):
            await engine.run(batch(buy("PEP")), timeout=PATIENCE)
        assert len(venue.sent) == sent


@pytest.mark.scenario("D13")
@pytest.mark.requirement("S1", "S8")
@pytest.mark.parametrize("more", [0, 1, 5])
async def test_d13_an_older_copy_written_into_the_live_file_is_found_at_the_next_start(
    path: Path, more: int
) -> None:
    # `cp` keeps the file and changes what is in it, so that the owner cannot see it at once.
    venue = LyingVenue()

    async def run(count: int) -> None:
        async with engine_on(path.parent, venue) as engine:
            for _ in range(count):
                await engine.run(batch(buy("KO"), sell("PEP")), timeout=PATIENCE)

    await run(3)
    older = copied(path, path.parent / "older")
    await run(30)
    try:
        async with engine_on(path.parent, venue) as engine:
            shutil.copyfile(older, path)
            for _ in range(more):
                await engine.run(batch(buy("KO"), sell("PEP")), timeout=PATIENCE)
    except SagaError:
        pass  # found at once, all the better
    await refused(path)


@pytest.mark.scenario("D14")
@pytest.mark.requirement("T2", "S8")
@pytest.mark.parametrize("number", range(1, len(schema.MIGRATIONS) + 1))
async def test_d14_a_crash_inside_a_migration_leaves_it_untaken_and_a_newer_store_is_refused(
    path: Path, number: int
) -> None:
    steps = len(schema.MIGRATIONS[number - 1].up) + 2
    database.create_if_missing(path)
    with closing(database.connect_writer(path)) as file:
        migrate(file, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=number - 1)
        before = tables(file)
    for step in range(1, steps):
        with closing(database.connect_writer(path)) as file, pytest.raises(MemoryError):
            migrate(
                Crashing(file, after=step),  # type: ignore[arg-type]
                *(schema.COMPONENT, schema.MIGRATIONS),
                now=NOON,
                to=number,
            )
        with closing(database.connect_writer(path)) as file:
            assert tables(file) == before
    with closing(database.connect_writer(path)) as file:
        migrate(file, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
        file.execute(
            "INSERT INTO migrations VALUES (?, ?, 'of a later version', 0)",
            (schema.COMPONENT, len(schema.MIGRATIONS) + 1),
        )
    assert "use the newer program that wrote them" in await refused(path)


class Crashing:
    """A connection that dies after so many statements of a transaction."""

    def __init__(self, connection: sqlite3.Connection, *, after: int) -> None:
        self._connection, self._left = connection, after

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        if sql.lstrip().startswith(("CREATE", "DROP", "ALTER", "INSERT", "UPDATE", "DELETE")):
            self._left -= 1
            if self._left < 0:
                raise MemoryError
        if sql == "COMMIT" and self._left == 0:
            raise MemoryError
        return self._connection.execute(sql, parameters)  # type: ignore[arg-type]


def tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    return found + connection.execute("SELECT component, number FROM migrations").fetchall()


@pytest.mark.scenario("D15")
@pytest.mark.requirement("S11")
@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
async def test_d15_the_journal_of_each_past_version_replays_equal(
    golden: Path, tmp_path: Path
) -> None:
    path = tmp_path / "saga.db"
    path.write_bytes(gzip.decompress(golden.with_name(f"{golden.stem}.db.gz").read_bytes()))
    expected = json.loads(golden.read_text(encoding="utf-8"))
    assert len(expected) >= 3
    assert await told_by(path) == expected
    assert verify(path) == []


async def told_by(path: Path) -> list[dict[str, object]]:
    """Return what the journals of a store say, folded anew."""
    told: list[dict[str, object]] = []
    async with SqliteStore(path, accept_rollback=True) as store:
        await store.acquire()
        uids = await store.read(
            lambda file: [u for (u,) in file.execute("SELECT batch_uid FROM batches ORDER BY id")]
        )
        for uid in uids:
            records = await store.journal(uid)
            saga = saga_of(records)
            row, trades = batch_row(saga), [trade_row(saga, step) for step in saga.steps]
            told.append(
                {
                    "batch_id": uid,
                    "records": [(each.event.kind, each.digest.hex()) for each in records],
                    "state": row.state,
                    "status": row.status,
                    "outcome": row.outcome,
                    "residual": row.residual,
                    "undo_cost": None if row.undo_cost is None else str(row.undo_cost),
                    "trades": [
                        [t.directive_id, t.state, t.status, str(t.done), str(t.undone), t.attempts]
                        for t in trades
                    ],
                }
            )
    plain: list[dict[str, object]] = json.loads(json.dumps(told))
    return plain


@pytest.mark.scenario("D16")
async def test_d16_a_fork_of_the_process_does_not_use_the_handle(path: Path) -> None:
    async with SqliteStore(path, bridge=InlineBridge) as store:  # with no thread to fork over
        await store.acquire()
        child = os.fork()
        if child == 0:  # nothing of pytest may run on here
            said = 1
            try:
                store._usable()
            except StoreError as error:
                said = 0 if "open a store after forking" in str(error) else 2
            finally:
                os._exit(said)
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222
        assert os.waitstatus_to_exitcode(status) == 0
        await store.append(first(1))


class Counted(InlineBridge):
    """Counts what SQLite does, in thousands of steps of its machine."""

    steps = 0

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        await super().open(connect)
        assert self._connection is not None
        self._connection.set_progress_handler(self._count, STEPS_COUNTED)

    def _count(self) -> int:
        Counted.steps += 1
        return 0


@pytest.mark.scenario("D17")
@pytest.mark.requirement("B11", "L2")
async def test_d17_a_start_takes_no_longer_for_many_finished_sagas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every page is looked at on purpose; everything else must go by an index.
    monkeypatch.setattr(database, "check_pages", lambda *_: None)
    monkeypatch.setattr(sqlite, "refuse_without_all_sagas", lambda *_: None)
    took = {}
    for count in (100, FINISHED):
        path = tmp_path / str(count) / "saga.db"
        path.parent.mkdir()
        await run_one(SqliteStore(path), LyingVenue())
        multiply_finished(path, count)
        Counted.steps = 0
        async with Orchestrator(SqliteStore(path, bridge=Counted), [LyingVenue()]):
            pass
        took[count] = Counted.steps
    assert took[FINISHED] <= took[100] + 20


def multiply_finished(path: Path, count: int) -> None:
    """Copy the finished saga of a store so many times, journal and trades with it."""
    with closing(sqlite3.connect(path)) as file:
        (records,) = file.execute("SELECT max(sequence) FROM journal").fetchone()
        numbers = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count})"
        for table, replaced in (
            ("batches", {"id": "1 + i", "batch_uid": "printf('BAT_20261120_120000_%08d', i)"}),
            ("trades", {"id": "10 + i * 10 + id", "batch_id": "1 + i"}),
            ("journal", {"sequence": f"i * {records} + sequence", "batch_id": "1 + i"}),
        ):
            columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(replaced.get(column, column) for column in columns)
            file.execute(f"{numbers} INSERT INTO {table} SELECT {values} FROM {table}, n")
        file.commit()


@pytest.mark.scenario("D18")
@pytest.mark.requirement("S8", "S17")
async def test_d18_a_backup_under_load_is_whole_and_restorable_by_an_explicit_act(
    path: Path,
) -> None:
    venue = LyingVenue()
    copy = path.parent / "backups" / "saga.db"
    copy.parent.mkdir()
    async with engine_on(path.parent, venue) as engine:
        store = engine.store
        assert isinstance(store, SqliteStore)

        async def trade(number: int) -> None:
            await engine.run(batch(buy("KO"), sell("PEP")), timeout=PATIENCE)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(trade, number)
            await store.append(first(1))
            assert await store.backup(copy) == copy
        with pytest.raises(StoreUnusable, match="is there already"):
            await store.backup(copy)
        last = await store.last_sequence()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(each.name for each in copy.parent.iterdir()) == ["saga.db"]
    assert "has lost its mark" in await refused(copy)
    async with SqliteStore(copy, accept_rollback=True) as restored:
        await restored.acquire(take_over=True)
        assert 0 < await restored.last_sequence() <= last
    assert verify(copy) == []


class SlowCommits(SqliteStore):
    """Every commit takes five seconds of the engine's clock; what is sent meanwhile is noted."""

    def __init__(self, path: Path, clock: TurnedClock, venue: LyingVenue) -> None:
        super().__init__(path, clock=clock)
        self._turned, self._venue = clock, venue
        self.sent_meanwhile = 0

    async def append(self, append: Append) -> int:
        before = len(self._venue.sent)
        self._turned.turn(5)
        await anyio.sleep(0.01)  # everything else may run
        is_intent = any(isinstance(change.event, Intended) for change in append.changes)
        self.sent_meanwhile += len(self._venue.sent) - before if is_intent else 0
        return await super().append(append)


@pytest.mark.scenario("D19")
@pytest.mark.requirement("S2")
async def test_d19_slow_commits_are_counted_by_the_deadline_and_nothing_is_sent_before_them(
    path: Path,
) -> None:
    venue, clock = Witness(), TurnedClock()
    venue.path = path
    store = SlowCommits(path, clock, venue)
    async with Orchestrator(store, [venue], clock=clock) as engine:
        late = batch(buy("KO"), buy("PEP"), buy("XOM"), timeout_seconds=12)
        row = await engine.run(late, timeout=PATIENCE)
        kinds = [record.event.kind for record in await store.journal(late.batch_id)]
    assert "deadline_passed" in kinds
    assert row.state == "ROLLED_BACK"
    assert venue.held() == {}
    assert venue.intents_missing == []
    assert store.sent_meanwhile == 0
