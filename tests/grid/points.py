"""The places where a process dies, and how it dies there.

A *place* is a spot in the program that a wrapper of the store or of the venue passes: before a
commit, inside its transaction, behind it, behind a call. A *reaper* stands at the place that the
cell's crash point means, and strikes there once (or, inside recovery, again and again).

Killed is: what is on disk is copied as it lies there, the copy is what the next process finds, and
nothing that the dead one still does reaches anybody. Power lost is: the same, and beside it the
log's tail is torn, and what was not synced is older. Cancelled is: the host's task is cancelled at
that place, and everything goes on from there as it likes.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from brokers.paper import PaperExchange
from brokers.venue import OrderRequest, OrderState
from saga.events import (
    Abandoned,
    CompensationStarted,
    Completed,
    Event,
    Intended,
    LostTrack,
    Reported,
    Resumed,
    RolledBack,
    Submitted,
)
from saga.ids import Purpose, attempt_key
from saga.model import Batch
from saga.outcome import Report
from saga.participant import Attempt
from saga.store.protocol import Append, Change, JournalRecord, Migration
from saga.store.sqlite import SqliteStore
from tests.grid.cells import Cell, Story
from tests.grid.plan import BATCH_ID

STORE: Final = "saga.db"
_TORN: Final = b"\x37\x7f\x06\x82" * 700
"""Part of a frame that was never finished: less than a page, and no checksum is right."""
_ENDS: Final = (Completed, RolledBack, Abandoned, LostTrack)


Rule = Callable[[str, object], bool]
"""Tells whether a process dies at a place, and about what it is passed."""


class Died(BaseException):
    """The process is dead; whatever raises this is a shadow of it."""


class Reaper:
    """Strikes at one place of one life, and tells whether it did.

    Args:
        cell: which place, and which kind of loss.
        folder: what is on disk.
        next_folder: where what is left after a kill is put.
        life: which process this is, from 1.
        cancel: cancels the host.
        rules: where a process of a cell and of a life dies.
    """

    def __init__(
        self,
        cell: Cell,
        folder: Path,
        next_folder: Path,
        life: int,
        cancel: Callable[[], object],
        rules: Callable[[Cell, int], Rule],
    ) -> None:
        self.cell = cell
        self.folder = folder
        self.next_folder = next_folder
        self.life = life
        self.died = anyio.Event()
        self.struck = False
        self.leave = anyio.Event()
        """Set when the host is to leave the engine in good order."""
        self._cancel = cancel
        self._strikes = rules(cell, life)
        self._loss = 2 if cell.crash in (21, 25) and life == 1 else cell.loss

    @property
    def is_dead(self) -> bool:
        """Nothing that this process does reaches anybody any more."""
        return self.died.is_set()

    def passing(self, place: str, what: object = None) -> None:
        """Pass a place.

        Raises:
            Died: the process was killed here, or before.
        """
        if self.is_dead or self._strike(place, what):
            raise Died

    def _strike(self, place: str, what: object) -> bool:
        """Return whether the process is dead now."""
        if place == "placed" and self.cell.crash == 24 and what == self._key(Purpose.FORWARD):
            self.leave.set()
        if self.struck or not self._strikes(place, what):
            return False
        self.struck = True
        if self._loss == 1:
            self._cancel()
            return False
        self._copy()
        self.died.set()
        return True

    def passing_checkpoint(self, half: bytes, log: bytes) -> None:
        """Die in a checkpoint: the file is half written, the log is whole."""
        if self._strike("checkpoint", None):
            (self.next_folder / STORE).write_bytes(half)
            (self.next_folder / f"{STORE}-wal").write_bytes(
                log + (_TORN if self._loss == 3 else b"")
            )
            raise Died

    def _key(self, purpose: Purpose) -> str:
        return attempt_key(BATCH_ID, self.cell.target, purpose, 1)

    def _copy(self) -> None:
        self.next_folder.mkdir()
        torn = self._loss == 3
        for file in sorted(self.folder.iterdir()):
            if file.name.endswith("-shm"):
                continue  # it is memory, and goes with the machine; a kill leaves nobody using it
            shutil.copyfile(file, self.next_folder / file.name)
        if torn:
            with (self.next_folder / f"{STORE}-wal").open("ab") as log:
                log.write(_TORN)
            synced = self.folder.parent / f"synced-{self.life}"
            if synced.exists():  # the mark is not synced with every commit: it may be older
                shutil.copyfile(synced, self.next_folder / f"{STORE}.mark")


def strikes_at(cell: Cell, life: int) -> Rule:
    """Return the rule that says at which place a process of this life dies."""
    if cell.crash == 21:
        return _inside_recovery(cell, life)
    if cell.crash == 25 and life == 2:
        forward = attempt_key(BATCH_ID, cell.target, Purpose.FORWARD, 1)
        return lambda place, what: place == "found" and what == forward
    if cell.crash == 23 and life == 2:
        return lambda place, _: place == "migrating"
    if life > 1:
        return lambda _place, _what: False
    return _first_death(cell)


def _inside_recovery(cell: Cell, life: int) -> Rule:
    match life:
        case 1:
            return _first_death(Cell(5, cell.behaviour, cell.loss, cell.legs, cell.mode))
        case 2:
            return lambda place, _: place == "journal read"
        case 3:
            return lambda place, what: place == "inside" and isinstance(what, Resumed)
        case 4:
            return lambda place, what: place == "committed" and _has(what, Resumed)
        case _:
            return lambda _place, _what: False


def _has(what: object, *kinds: type[Event]) -> bool:
    assert isinstance(what, tuple)
    return any(isinstance(event, kinds) for event in what)


def _first_death(cell: Cell) -> Rule:
    target = cell.target
    forward = attempt_key(BATCH_ID, target, Purpose.FORWARD, 1)
    undo = attempt_key(BATCH_ID, target, Purpose.COMPENSATION, 1)

    def intends(what: object, purpose: Purpose) -> bool:
        return isinstance(what, Intended) and (what.step, what.purpose) == (target, purpose)

    def fill(what: object, purpose: Purpose) -> bool:
        return (
            isinstance(what, Reported)
            and bool(what.fills)
            and what.purpose is purpose
            and (what.step == target or (purpose is Purpose.FORWARD and _never_filled(cell)))
        )

    def committed(rule: Callable[[object], bool]) -> Rule:
        def strikes(place: str, what: object) -> bool:
            return place == "committed" and any(map(rule, what))  # type: ignore[call-overload]

        return strikes

    def inside(rule: Callable[[object], bool]) -> Rule:
        return lambda place, what: place == "inside" and rule(what)

    match cell.crash:
        case 0:
            return inside(lambda what: isinstance(what, Submitted))
        case 1:
            return committed(lambda what: isinstance(what, Submitted))
        case 2:
            return lambda place, _: place == "acknowledged"
        case 3:
            return inside(lambda what: intends(what, Purpose.FORWARD))
        case 4:
            return committed(lambda what: intends(what, Purpose.FORWARD))
        case 5 | 23 | 25:
            return lambda place, what: place == "placed" and what == forward
        case 6:
            return lambda place, what: place == "replied" and what == forward
        case 7:
            return inside(lambda what: fill(what, Purpose.FORWARD))
        case 8 | 22:
            if cell.crash == 22:
                return lambda place, _: place == "checkpoint"
            return committed(lambda what: fill(what, Purpose.FORWARD))
        case 9:
            return inside(lambda what: isinstance(what, _ENDS))
        case 10:
            return committed(lambda what: isinstance(what, _ENDS))
        case 11:
            return inside(lambda what: isinstance(what, CompensationStarted))
        case 12:
            return committed(lambda what: isinstance(what, CompensationStarted))
        case 13:
            return lambda place, what: place == "cancelled" and what == forward
        case 14:
            return inside(lambda what: intends(what, Purpose.COMPENSATION))
        case 15:
            return committed(lambda what: intends(what, Purpose.COMPENSATION))
        case 16:
            return lambda place, what: place == "placed" and what == undo
        case 17:
            return committed(lambda what: fill(what, Purpose.COMPENSATION))
        case 18:
            return inside(lambda what: isinstance(what, RolledBack))
        case 19:
            return inside(lambda what: isinstance(what, (Abandoned, LostTrack)))
        case 20:
            return committed(lambda what: isinstance(what, (Abandoned, LostTrack)))
        case 24:
            return lambda place, _: place == "releasing"
        case _:
            raise AssertionError(f"{cell} has no first death")


def _never_filled(cell: Cell) -> bool:
    refused = cell.behaviour == 4 or (cell.behaviour == 16 and cell.cancels_on_disconnect)
    return cell.story is Story.FORWARD and refused


class MortalStore(SqliteStore):
    """A store that passes places around its commits."""

    reaper: Reaper

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        events = tuple(change.event for change in append.changes)
        if self.reaper.cell.crash == 22:
            await self._checkpoint(events)
        self.reaper.passing("committed", events)
        return sequence

    async def _checkpoint(self, events: Sequence[Event]) -> None:
        """Die in the middle of a checkpoint: half of its pages are in the file, the log is whole.

        A checkpoint writes committed pages from the log into the file, and touches the log only
        once all of them are synced.
        """
        reaper, place = self.reaper, Path(self._path)
        if reaper.struck or reaper.is_dead or reaper.life > 1 or not _has(events, Reported):
            return
        assert self._opened is not None
        half, log = await self._opened.writer.run(_checkpointed, place)
        reaper.passing_checkpoint(half, log)

    async def release(self) -> None:
        self.reaper.passing("releasing")
        await super().release()

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        journals = await super().journals(batch_ids)
        self.reaper.passing("journal read")
        return journals


def _checkpointed(connection: sqlite3.Connection, place: Path) -> tuple[bytes, bytes]:
    """Checkpoint; return the file as it is half-way, and the log, which is whole until the end."""
    before, log = place.read_bytes(), place.with_name(place.name + "-wal").read_bytes()
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return _half_written(before, place.read_bytes()), log


def _half_written(before: bytes, after: bytes, page: int = 4096) -> bytes:
    """Every second page that the checkpoint changed is new, the others are as they were."""
    pages = []
    for number, start in enumerate(range(0, len(after), page)):
        new, old = after[start : start + page], before[start : start + page]
        pages.append(new if number % 2 or not old else old)
    return b"".join(pages)


class Inside:
    """A projection that passes a place inside each transaction, before its commit."""

    name = "inside"
    migrations: Sequence[Migration] = ()

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        self._reaper.passing("inside", change.event)


class _Statements(tuple[str, ...]):
    """Statements of a migration, with a place to die at between the two."""

    reaper: Reaper

    def __iter__(self) -> Iterator[str]:
        yield self[0]
        self.reaper.passing("migrating")
        yield self[1]


class NewTables:
    """A projection of a newer version of the program: its tables are to be made."""

    name = "newer"

    def __init__(self, reaper: Reaper) -> None:
        statements = _Statements(
            ("CREATE TABLE newer_one (id INTEGER) STRICT", "CREATE TABLE newer_two (id INTEGER)")
        )
        statements.reaper = reaper
        down = ("DROP TABLE newer_two", "DROP TABLE newer_one")
        self.migrations: Sequence[Migration] = (Migration(1, "two tables", statements, down),)

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        """Keep nothing."""


class MortalExchange(PaperExchange):
    """The venue as one process sees it: a dead process reaches it no more."""

    reaper: Reaper
    calls = 0

    async def send(self, attempt: Attempt) -> Report:
        try:
            return await super().send(attempt)
        finally:
            self.reaper.passing("replied", attempt.key)

    async def place_order(self, request: OrderRequest) -> OrderState:
        await self._reach()
        try:
            return await super().place_order(request)
        finally:
            self.reaper.passing("placed", request.client_order_id)

    async def cancel_order(self, client_order_id: str) -> None:
        await self._reach()
        try:
            await super().cancel_order(client_order_id)
        finally:
            self.reaper.passing("cancelled", client_order_id)

    async def find_order(self, client_order_id: str) -> OrderState | None:
        await self._reach()
        try:
            return await super().find_order(client_order_id)
        finally:
            self.reaper.passing("found", client_order_id)

    async def _reach(self) -> None:
        if self.reaper.is_dead:
            raise Died
        self.calls += 1
