"""Opens what a power failure left by the store's own start-up path, and says what it found.

The image is written to files of its own and opened with the standard library's sqlite3: the mark is
checked, pages are checked, migrations taken, ownership acquired, and every chain verified.
"""

import sqlite3
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from saga.errors import SagaError, StoreUnusable
from saga.store import schema
from saga.store.bridge import Connect, InlineBridge
from saga.store.process import Process
from saga.store.sqlite import SqliteStore
from saga.store.verification import verify
from tests.manual_clock import ManualClock
from tests.power_loss.disk import Files
from tests.power_loss.workload import STORE, Acknowledged, Recorded

RESTARTED: Final = Process(pid=300, host="here", token="boot/3")

Tables = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found.

    Attributes:
        rolled_back: why the start-up path refused it as an older copy; None if it did not.
        unusable: why it could not be opened in any case; None if it could.
        version: of the engine's schema, before the start-up path migrated it.
        tables: what was there of that version.
        digests: of all records, in order of their sequence.
        epoch: the last that was given out.
        entries: of the logbook.
        problems: what verification says.
    """

    rolled_back: str | None = None
    unusable: str | None = None
    version: int = 0
    tables: Tables = ()
    digests: tuple[bytes, ...] = ()
    epoch: int = 0
    entries: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of one image.

    Attributes:
        lost: what a caller had been told and is not there; empty if nothing.
        corrupt: what is neither as before nor as after; empty if nothing.
        noticed: the start-up path refused the image as rolled back.
        alarm: it did so although nothing is lost that anybody had been told.
    """

    lost: str = ""
    corrupt: str = ""
    noticed: bool = False
    alarm: str = ""


class _Looking(InlineBridge):
    """Notes the schema as it is found, before anything is done about it."""

    found: tuple[int, Tables] | None = None

    async def open(self, connect: Connect) -> None:
        await super().open(connect)
        if _Looking.found is None:
            _Looking.found = await self.run(tables_of)


def tables_of(connection: sqlite3.Connection) -> tuple[int, Tables]:
    """Return the version of the engine's schema, and everything that is in the schema."""
    (version,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM migrations WHERE component = ?", (schema.COMPONENT,)
    ).fetchone()
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    )
    return version, tuple((name, sql) for name, sql in rows)


class _Neighbours:
    """Every other process has died with the power."""

    def current(self) -> Process:
        return RESTARTED

    def is_alive(self, process: Process) -> bool:
        return False


class Opener:
    """Opens images, one after the other.

    Args:
        folder: an empty one, on a fast file system; emptied again after each image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verified: dict[bytes, tuple[str, ...]] = {}
        """What verification said of each content; pages and indexes are checked in each image."""

    async def open(self, image: Files) -> Opened:
        """Write an image to files, and open them."""
        for name, content in image.items():
            (self._folder / name).write_bytes(content)
        try:
            return await self._opened(self._folder / STORE)
        finally:
            for path in tuple(self._folder.iterdir()):
                path.unlink()

    async def _opened(self, path: Path) -> Opened:
        try:
            return await self._start(path, None)
        except StoreUnusable as error:
            rolled_back = str(error)
        try:
            return await self._start(path, rolled_back)
        except SagaError as error:
            return Opened(unusable=str(error))

    async def _start(self, path: Path, rolled_back: str | None) -> Opened:
        _Looking.found = None
        store = SqliteStore(
            path,
            clock=ManualClock(),
            bridge=_Looking,
            processes=_Neighbours(),
            accept_rollback=rolled_back is not None,
        )
        async with store:
            owner = await store.acquire()
            digests = await store.read(_digests)
            entries = await store.log_entries(None, _ENTRIES)
            content = await store.read(_content)
            pages = await store.read(_pages)
        if content not in self._verified:
            self._verified[content] = tuple(problem.sentence for problem in verify(path))
        found: tuple[int, Tables] | None = _Looking.found
        version, tables = found or (0, ())
        return Opened(
            rolled_back=rolled_back,
            version=version,
            tables=tables,
            digests=digests,
            epoch=owner.epoch - 1,
            entries=len(entries),
            problems=(*self._verified[content], *pages),
        )


_ENTRIES: Final = 1000
"""More than any workload writes into the logbook."""


def _digests(connection: sqlite3.Connection) -> tuple[bytes, ...]:
    rows = connection.execute("SELECT digest FROM journal ORDER BY sequence").fetchall()
    return tuple(digest for (digest,) in rows)


def _content(connection: sqlite3.Connection) -> bytes:
    content = sha256()
    for table in ("journal", "batches", "trades", "logbook"):
        for row in connection.execute(f"SELECT * FROM {table}"):
            content.update(repr(row).encode())
    return content.digest()


def _pages(connection: sqlite3.Connection) -> tuple[str, ...]:
    found = connection.execute("PRAGMA integrity_check").fetchall()
    return tuple(text for (text,) in found if text != "ok")


def judge(
    opened: Opened, known: Acknowledged, recorded: Recorded, reference: dict[int, Tables]
) -> Verdict:
    """Return what is thought of an image.

    Args:
        opened: what the start-up path found.
        known: what callers had been told when the power failed.
        recorded: the workload.
        reference: what the schema holds in each of its versions.
    """
    if opened.unusable is not None:
        return Verdict(corrupt=f"cannot be opened: {opened.unusable}")
    noticed = opened.rolled_back is not None
    lost = _lost(opened, known)
    corrupt = _corrupt(opened, recorded, reference)
    alarm = opened.rolled_back if opened.rolled_back is not None and not lost else ""
    return Verdict(lost, corrupt, noticed, alarm)


def _lost(opened: Opened, known: Acknowledged) -> str:
    for what, found, told in (
        ("records", len(opened.digests), known.sequence),
        ("epochs", opened.epoch, known.epoch),
        ("logbook entries", opened.entries, known.entries),
    ):
        if found < told:
            return f"{found} {what} are there, {told} were acknowledged"
    if opened.version not in known.versions:
        return f"the schema has version {opened.version}, not {known.versions}"
    return ""


def _corrupt(opened: Opened, recorded: Recorded, reference: dict[int, Tables]) -> str:
    if opened.problems:
        return f"verification says: {'; '.join(opened.problems)}"
    count = len(opened.digests)
    if tuple(recorded.digests[:count]) != opened.digests:
        return "the records are not those that were written"
    if count not in recorded.boundaries:
        return f"it ends at record {count}, in the middle of a commit"
    if opened.tables and opened.tables != reference[opened.version]:
        return f"the schema is neither version {opened.version} nor any other"
    return ""
