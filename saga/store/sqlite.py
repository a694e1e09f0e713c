"""The checkpoint store in one SQLite file: the default.

One connection writes and checkpoints, on a thread of its own; a second one reads, and can do
nothing else. Appends that wait at the same time share one commit: the first of them leads, writes
for all who wait, and hands the lead to the next.

What is written, and how, is said in `journal` and `ownership`; here is only who waits for whom.
"""

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, TypeVarTuple

import anyio.lowlevel

from saga.clock import Clock, SystemClock
from saga.complaints import Complaints
from saga.errors import SagaError, StoreError, StorePoisoned, StoreUnusable
from saga.gate import PastIntent
from saga.logbook import LogEntry, LogRecord
from saga.store import database, journal, logbook, marked, ownership, past_intents, schema
from saga.store.backup import back_up
from saga.store.bridge import Bridge, ThreadBridge
from saga.store.chain import as_record
from saga.store.file_lock import FileLock
from saga.store.file_system import unfit
from saga.store.halt_file import HaltFile
from saga.store.mark import Mark, MarkFile, read_mark, refuse_without_store, rollback_found
from saga.store.migration import migrate, pending
from saga.store.process import Processes, SystemProcesses
from saga.store.protocol import Append, JournalRecord, Migration, Owner, Projection
from saga.store.recent import Recent
from saga.store.rows import microseconds
from saga.store.transaction import one_read, poisoned, writing
from saga.store.verification import refuse_without_all_sagas
from saga.store.waiting import Ticket, Waiting
from saga.turns import on_a_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_LOG = Complaints("saga.store")

ROUNDS_AT_FIRST: Final = 1
"""So many rounds of the loop the first who comes waits for others before it is written."""
ROUNDS_BETWEEN: Final = 4
"""So many rounds are between two commits where somebody waits.

Whoever has just been told what became of its append is back within them with the next one, unless
it has to wait for the outside.
"""
TOLD_AT_ONCE: Final = 4
"""So many of those who share a commit learn in one round of the loop what became of them."""


@dataclass(slots=True)
class _Opened:
    """What is held only while the store is open."""

    place: Path
    file: database.FileId
    pid: int
    writer: Bridge
    reader: Bridge
    mark: MarkFile
    lock: FileLock | None
    waiting: Waiting = field(default_factory=Waiting)
    recent: Recent = field(default_factory=Recent)
    led: bool = False
    alarmed: bool = False
    """It was said that the write-ahead log is too long, and it still is."""


class SqliteStore:
    """A `CheckpointStore` in one file on a local disk.

    Args:
        path: the file; made, for its user alone, if it is not there.
        clock: tells the times of ownership and of quarantine.
        projections: tables of other packages that are kept in step with the journal.
        bridge: makes the place where transactions run: a thread, or (in a simulation) the caller.
        processes: tells whether another owner lives; the kernel, unless a simulation has its own.
        accept_rollback: open the store even if it is an older copy of itself, or its mark is gone.
            Orders may be at the broker of which such a copy knows nothing: compare them first.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        projections: Sequence[Projection] = (),
        bridge: Callable[[], Bridge] = ThreadBridge,
        processes: Processes | None = None,
        accept_rollback: bool = False,
    ) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._projections = tuple(projections)
        self._bridge = bridge
        self._processes = processes or SystemProcesses()
        self._locks = processes is None
        self._accept_rollback = accept_rollback
        self._rolled_back: str | None = None
        self._epoch_of_mark = 0
        self._opened: _Opened | None = None
        self._opening = False
        self._epoch: int | None = None
        self._poison: str | None = None

    @property
    def path(self) -> Path:
        """The store's file."""
        return Path(self._path)

    @property
    def halt_file(self) -> HaltFile:
        """The file that halts whoever owns the store."""
        return HaltFile(database.resolved(self._path))

    async def __aenter__(self) -> Self:
        """Open the file, making or migrating it where that is needed.

        Raises:
            StoreUnusable: it cannot be opened safely, or its journal was rolled back; the sentence
                says why and what to do.
            StoreHeld: this process has it open already, or it is to be migrated under a living
                owner.
        """
        if self._opened is not None or self._opening:
            raise StoreError(f"the store {self._path} is open already; use one `async with`")
        self._opening = True
        try:
            place = database.located(self._path)
            # Before anything else: what is read of the journal later cannot be behind it.
            noted = self._read_mark(place)
            if (kind := unfit(place.parent)) is not None:
                _LOG.warning(
                    "the store %s lies on %s, where SQLite's locks cannot be relied on; put it on "
                    "a local disk",
                    *(place, kind),
                )
            database.create_if_missing(place)
            file = database.claim(place)
            try:
                self._opened = await self._connect(place, file, noted)
            except BaseException:
                database.unclaim(file)
                raise
        finally:
            self._opening = False
        self._epoch, self._poison = None, None
        return self

    @property
    def rolled_back(self) -> str | None:
        """What told that the copy that was accepted is an older one; None if nothing did."""
        return self._rolled_back

    def _read_mark(self, place: Path) -> Mark | None:
        self._rolled_back, noted = None, None
        try:
            noted = read_mark(place)
            if noted is not None and not place.exists():
                refuse_without_store(place, noted)
        except StoreUnusable as error:
            self._accept_or_refuse(str(error))
        return noted

    def _accept_or_refuse(self, sentence: str) -> None:
        if not self._accept_rollback:
            raise StoreUnusable(sentence)
        self._rolled_back = sentence
        _LOG.warning("accepted as it is: %s", sentence)

    async def _connect(self, place: Path, file: database.FileId, noted: Mark | None) -> _Opened:
        writer, reader = self._bridge(), self._bridge()
        try:
            await writer.open(partial(database.connect_writer, place))
            lock = FileLock(place, file) if self._locks else None
            await writer.run(self._prepare, place, noted, lock)
            await reader.open(partial(database.connect_reader, place))
        except BaseException:
            await reader.close()
            await writer.close()
            raise
        return _Opened(place, file, os.getpid(), writer, reader, MarkFile(place), lock)

    def _prepare(
        self,
        connection: sqlite3.Connection,
        place: Path,
        noted: Mark | None,
        lock: FileLock | None,
    ) -> None:
        database.check_pages(connection, place)
        self._check_mark(connection, place, noted)
        components: dict[str, Sequence[Migration]] = {schema.COMPONENT: schema.MIGRATIONS}
        components |= {each.name: each.migrations for each in self._projections}
        try:
            # All are looked at before any is taken: a newer one refuses the store as it is.
            to_take = [pending(connection, *each) for each in components.items()]
            if any(to_take):
                with _held_meanwhile(connection, lock, self._processes, self._clock):
                    for name, migrations in components.items():
                        migrate(connection, name, migrations, now=self._clock.now())
            refuse_without_all_sagas(connection)
        except StorePoisoned as error:
            raise StoreUnusable(f"the store {place} cannot be migrated: {error}") from error
        except SagaError as error:
            raise type(error)(f"the store {place} cannot be opened: {error}") from error
        except database.UNREADABLE as error:
            raise _without_tables(place, error) from error

    def _check_mark(self, connection: sqlite3.Connection, place: Path, noted: Mark | None) -> None:
        self._epoch_of_mark = 0 if noted is None else noted.epoch
        if self._rolled_back is not None:
            return
        try:
            sentence = rollback_found(connection, place, noted)
        except database.UNREADABLE as error:
            raise _without_tables(place, error) from error
        if sentence is not None:
            self._accept_or_refuse(sentence)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file. Ownership that was not released is left as after a crash."""
        if self._opened is None:
            return
        opened, self._opened = self._opened, None
        try:
            # The writer last: the last connection to leave checkpoints, and may only be this one.
            await opened.reader.close()
        finally:
            opened.mark.close()
            if opened.lock is not None:
                opened.lock.let_go()  # SQLite may keep the file open for others of this process
            try:
                await opened.writer.close()
            finally:
                database.unclaim(opened.file)

    async def acquire(self, *, take_over: bool = False) -> Owner:
        """Become the owner, with a new epoch.

        Raises:
            StoreHeld: another owner lives, and `take_over` is not set.
        """
        processes, now, beyond = self._processes, self._clock.now(), self._epoch_of_mark
        opened = self._usable()
        mark, lock = opened.mark, opened.lock
        owner = await self._write(marked.acquire, mark, processes, now, take_over, beyond, lock)
        self._epoch, self._held_open().recent = owner.epoch, Recent()
        return owner

    async def heartbeat(self) -> None:
        """Say that the owner lives.

        Raises:
            OwnershipLost: another owner has taken the store over.
        """
        opened = self._usable()
        now = self._clock.now()
        await self._write(marked.heartbeat, opened.mark, self._epoch, now, opened.lock)
        self._watch_log(self._held_open())

    def _watch_log(self, opened: _Opened) -> None:
        """Say once when the write-ahead log outgrows its limit, which only a reader can make it."""
        size = database.log_bytes(opened.place)
        if size > database.WAL_LIMIT_BYTES and not opened.alarmed:
            _LOG.warning(
                "the write-ahead log of the store %s has %d bytes, more than its limit of %d: "
                "something has been reading the store for long, and keeps it from being written "
                "back; end that reading, and the log is cut to its limit",
                *(opened.place, size, database.WAL_LIMIT_BYTES),
            )
        opened.alarmed = size > database.WAL_LIMIT_BYTES

    async def backup(self, target: str | os.PathLike[str]) -> Path:
        """Copy the store as of one instant to a file that is not there yet; return where it is.

        Raises:
            StoreUnusable: the copy cannot be written.
        """
        opened = self._held_open()
        return await on_a_thread(back_up, opened.place, target)

    async def verify_owner(self) -> None:
        """Make sure, by reading, that this process is still the owner.

        Raises:
            OwnershipLost: another owner has taken the store over.
            StorePoisoned: nothing can be written any more, so nothing may be sent.
        """
        await self._write(ownership.check_epoch, self._epoch)

    async def release(self) -> None:
        """Give the store up in good order; harmless when it is not held or cannot be written."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None and self._poison is None:
            opened = self._usable()
            await self._write(marked.release, opened.mark, epoch, opened.lock)

    async def owner(self) -> Owner | None:
        """Return who owns the store, or owned it last; None if nobody ever did."""
        return await self.read(ownership.read_owner)

    async def append(self, append: Append) -> int:
        """Write the records and views of one saga, and return the last global sequence number.

        Raises:
            OwnershipLost: another owner has taken the store over.
            BatchConflict: the first record of a saga whose id is taken.
            StoreError: the numbers do not follow on what is stored.
            StorePoisoned: the disk or the database failed; nothing more can be written.
            SagaError: a projection refused the change.
        """
        opened = self._held_open()
        if self._poison is not None:
            raise StorePoisoned(self._poison)
        ticket = Ticket(append)
        opened.waiting.add(ticket)
        if not opened.led:
            opened.led = True
            _hand_on(ticket, ROUNDS_AT_FIRST)
        await ticket.turn.rung()
        if ticket.outcome is None:
            await self._lead(opened, ticket)
        return ticket.result()

    async def _lead(self, opened: _Opened, leader: Ticket) -> None:
        """Write for everybody who waits, oneself first, then hand the lead on."""
        tickets = opened.waiting.take(leader)
        appends = [ticket.append for ticket in tickets]
        try:
            self._require_open_since(opened)
            mark, now = opened.mark, self._clock.now()
            committed = await self._write(
                marked.commit_appends, mark, self._epoch, appends, self._projections, now
            )
        except BaseException as error:
            outcomes: Sequence[int | BaseException] = [_own_copy(error) for _ in tickets]
        else:
            outcomes = committed.outcomes
            opened.recent.add(committed.records)
        _tell(opened, deque(zip(tickets, outcomes, strict=True)))

    def _require_open_since(self, opened: _Opened) -> None:
        """Make sure that the store was not closed meanwhile: it may have another owner by now."""
        if self._opened is not opened:
            raise StoreError(
                f"the store {opened.place} was closed before the turn of this append came; nothing "
                "was written for it"
            )

    async def quarantine(self, batch_id: str, reason: str) -> None:
        """Set a saga aside: it is not resumed, and is listed with this reason."""
        await self._write(
            _set_aside, self._epoch, batch_id, reason, microseconds(self._clock.now())
        )

    async def lift_quarantine(self, batch_id: str) -> None:
        """Take a saga back that was set aside; harmless if it was not."""
        await self._write(_take_back, self._epoch, batch_id)

    async def quarantined(self) -> dict[str, str]:
        """Return the reason for each saga that is set aside."""
        return await self.read(_read_quarantined)

    async def alerting(self) -> tuple[str, ...]:
        """See `CheckpointStore.alerting`."""
        return await self.read(journal.read_alerting)

    async def unfinished(self) -> dict[str, str | None]:
        """Return the exclusion key of each saga not over, by id, oldest submission first."""
        return await self.read(journal.read_unfinished)

    async def journal(self, batch_id: str) -> tuple[JournalRecord, ...]:
        """Return a saga's whole journal, in order; empty if there is none.

        Raises:
            Quarantined: a record is missing, altered, or does not decode.
        """
        return await self.read(journal.read_journal, batch_id)

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        """See `CheckpointStore.journals`."""
        return await self.read(journal.read_journals, batch_ids)

    async def records(
        self, *, after: int = 0, batch_id: str | None = None
    ) -> AsyncIterator[JournalRecord]:
        """Yield the durable records behind a global sequence number, in order, then end.

        Raises:
            Quarantined: a record does not decode.
        """
        while True:
            # Nobody but the owner writes: what it wrote last need not be read back.
            recent = None if self._epoch is None else self._held_open().recent
            if recent is not None and (known := recent.behind(after, batch_id)) is not None:
                for record in known:
                    yield record
                return
            page = await self.read(journal.read_page, after, batch_id)
            if not page:
                return
            for uid, stored in page:
                yield as_record(uid, stored)
                after = stored.sequence

    async def intents(self, *, since: datetime) -> AsyncIterator[PastIntent]:
        """Yield what was handed over since an instant, oldest first, then end."""
        for past in await self.read(past_intents.read_since, since):
            yield past

    async def note(self, entry: LogEntry) -> LogRecord:
        """Add an entry to the logbook; durable when this returns.

        Raises:
            OwnershipLost: another owner has taken the store over.
            StorePoisoned: the disk or the database failed.
        """
        mark, now = self._usable().mark, self._clock.now()
        return await self._write(marked.note_entry, mark, self._epoch, entry, now)

    async def log_entries(
        self, kind: str | None, count: int, *, since: datetime | None = None
    ) -> tuple[LogRecord, ...]:
        """See `CheckpointStore.log_entries`."""
        return await self.read(logbook.read_last, kind, count, since)

    async def last_sequence(self) -> int:
        """Return the global sequence number of the last durable record; 0 if there is none."""
        return await self.read(journal.last_sequence)

    async def read(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run a function on the connection that can only read.

        Raises:
            StoreError: the store is not open, or cannot be read.
        """
        # A write waits for its outcome even when cancelled; a read has nothing to lose.
        await anyio.lowlevel.checkpoint()
        opened = self._held_open()
        try:
            return await opened.reader.run(one_read, function, *arguments)
        except database.UNREADABLE as error:
            raise StoreError(f"the store {opened.place} cannot be read: {error}") from error

    async def _write(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run one transaction on the connection that writes; a failure poisons the store."""
        opened = self._usable()
        try:
            return await opened.writer.run(function, *arguments)
        except StorePoisoned as error:
            raise self._poisoned(opened, error) from error
        except SagaError:
            raise
        except Exception as error:
            # What was not foreseen has been rolled back, yet nobody knows what it means.
            raise self._poisoned(opened, poisoned(error)) from error

    def _poisoned(self, opened: _Opened, error: StorePoisoned) -> StorePoisoned:
        self._poison = f"{opened.place}: {error}"
        return StorePoisoned(self._poison)

    def _held_open(self) -> _Opened:
        opened = self._opened
        if opened is None:
            raise StoreError(f"the store {self._path} is not open; use it in its `async with`")
        if os.getpid() != opened.pid:
            raise StoreError(
                f"the store {opened.place} was opened by process {opened.pid}, and process "
                f"{os.getpid()} is a fork of it; open a store after forking, never before"
            )
        return opened

    def _usable(self) -> _Opened:
        opened = self._held_open()
        if self._poison is None and database.file_id(opened.place) != opened.file:
            self._poison = (
                f"the store {opened.place} was moved, removed or replaced while it was open; "
                "nothing more is written: put the file back and start again"
            )
        if self._poison is not None:
            raise StorePoisoned(self._poison)
        return opened


def _tell(opened: _Opened, told: deque[tuple[Ticket, int | BaseException]]) -> None:
    """Tell a few in each round of the loop what became of them, then hand the lead on.

    Each goes on to decide what comes next: all in one round would keep the loop from everybody.
    """
    for _ in range(min(TOLD_AT_ONCE, len(told))):
        ticket, outcome = told.popleft()
        ticket.settle(outcome)
    if told:
        asyncio.get_running_loop().call_soon(_tell, opened, told)
        return
    next_leader = opened.waiting.first()
    if next_leader is None:
        opened.led = False
    else:
        _hand_on(next_leader, ROUNDS_BETWEEN)


def _hand_on(leader: Ticket, rounds: int) -> None:
    """Let it lead after some rounds of the loop: what is appended until then shares its commit."""
    if rounds:
        asyncio.get_running_loop().call_soon(_hand_on, leader, rounds - 1)
    else:
        leader.turn.ring()


def _own_copy(error: BaseException) -> BaseException:
    """Return an error that one caller can raise without sharing its traceback with the others."""
    if not isinstance(error, SagaError):
        return error
    copy = type(error)(*error.args)
    copy.__cause__ = error
    return copy


@contextmanager
def _held_meanwhile(
    connection: sqlite3.Connection, lock: FileLock | None, processes: Processes, clock: Clock
) -> Iterator[None]:
    """Make sure that the store has no other owner, and none that locks it gets it meanwhile."""
    locked = None if lock is None else lock.take()
    try:
        tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'owner'").fetchone()
        if tables is not None:
            ownership.refuse_while_held(connection, processes, clock.now(), locked)
        yield
    finally:
        if lock is not None:
            lock.let_go()


def _without_tables(place: Path, error: Exception) -> StoreUnusable:
    return StoreUnusable(
        f"the tables of the store {place} are not as this program left them ({error}); "
        "restore it from a backup"
    )


def _set_aside(
    connection: sqlite3.Connection, epoch: int | None, batch_uid: str, reason: str, at: int
) -> None:
    with writing(connection):
        ownership.check_epoch(connection, epoch)
        connection.execute(
            "INSERT INTO quarantine (batch_uid, reason, at) VALUES (?, ?, ?)"
            " ON CONFLICT (batch_uid) DO UPDATE SET reason = excluded.reason, at = excluded.at",
            (batch_uid, reason, at),
        )


def _take_back(connection: sqlite3.Connection, epoch: int | None, batch_uid: str) -> None:
    with writing(connection):
        ownership.check_epoch(connection, epoch)
        connection.execute("DELETE FROM quarantine WHERE batch_uid = ?", (batch_uid,))


def _read_quarantined(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT batch_uid, reason FROM quarantine ORDER BY at, batch_uid")
    return dict(rows.fetchall())
