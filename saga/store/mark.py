"""The high-water mark: how far the journal had come, kept in a small file beside the store.

SQLite cannot see that a whole file is an older copy of itself, or that its write-ahead log was
taken away: both are sound databases. So after each commit the last sequence number, its digest and
the owner's epoch are noted outside, and the logbook's last entry with them. A journal that ends
before its mark was rolled back.

A note costs one small write and no flush, since a mark that is behind does no harm. It must never
be ahead: it is written only after the commit is durable. There are three slots: the one that is on
the disk for certain is left alone, and the other two are written in turn, so that a power failure
may tear both and a kill one.
"""

import os
import sqlite3
import struct
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from saga.errors import StoreUnusable
from saga.quick_dataclass import dataclass
from saga.store.folder import sync_folder
from saga.store.rows import instant, microseconds
from saga.store.transaction import writing

SUFFIX: Final = ".mark"
"""Appended to the name of the store's file."""

COMPONENT: Final = "mark"
"""Under this name a store's table of migrations says that it has had a mark."""

_MAGIC: Final = b"TSAGMARK"
_CONTENT: Final = struct.Struct(">8sQQq32sQ32s")
_CHECKSUM_BYTES: Final = 32
_SLOT_BYTES: Final = _CONTENT.size + _CHECKSUM_BYTES
SLOTS: Final = (0, 4096, 8192)
"""Where the slots begin: a page apart, so that no sector holds a part of two."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a chain of records ends.

    Attributes:
        number: of the last one; 0 if there is none.
        digest: its digest; zeros if there is none.
    """

    number: int
    digest: bytes


_NOTHING: Final = End(0, bytes(32))


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a store had come.

    Attributes:
        journal: its last durable record, by its global sequence number.
        logbook: its last durable entry.
        epoch: of the owner who wrote it.
        at: when, UTC.
    """

    journal: End
    logbook: End
    epoch: int
    at: datetime


def mark_path(place: Path) -> Path:
    """Return where the mark of a store's file is kept."""
    return place.with_name(place.name + SUFFIX)


def packed(mark: Mark) -> bytes:
    """Return a mark as the bytes of one slot, its checksum with it."""
    journal, logbook = mark.journal, mark.logbook
    content = _CONTENT.pack(
        *(_MAGIC, journal.number, mark.epoch, microseconds(mark.at), journal.digest),
        *(logbook.number, logbook.digest),
    )
    return content + sha256(content).digest()


def _unpacked(slot: bytes) -> Mark | None:
    content, checksum = slot[: _CONTENT.size], slot[_CONTENT.size :]
    if sha256(content).digest() != checksum:
        return None
    magic, sequence, epoch, at, digest, entry, entry_digest = _CONTENT.unpack(content)
    if magic != _MAGIC:
        return None
    return Mark(End(sequence, digest), End(entry, entry_digest), epoch, instant(at))


def read_mark(place: Path) -> Mark | None:
    """Return the mark beside a store's file; None if there is no such file.

    Raises:
        StoreUnusable: there is one, and it cannot be read.
    """
    path = mark_path(place)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnusable(f"the mark {path} of the store cannot be read: {error}") from error
    slots = (_unpacked(content[offset : offset + _SLOT_BYTES]) for offset in SLOTS)
    marks = [mark for mark in slots if mark is not None]
    if not marks:
        raise StoreUnusable(
            f"the mark {path} of the store is damaged, so nobody can tell whether the store is the "
            f"newest copy of itself; {_WHAT_TO_DO}"
        )
    return max(marks, key=lambda mark: (mark.epoch, mark.journal.number, mark.logbook.number))


_WHAT_TO_DO: Final = (
    "put the right copy back, with its -wal and its .mark file; or, if what is missing is really "
    "lost, compare the broker's orders with this copy and accept it: `saga accept-copy`"
)


def refuse_without_store(place: Path, mark: Mark) -> None:
    """Make sure that a store whose file is missing never held a record.

    Raises:
        StoreUnusable: it did.
    """
    if mark.journal.number:
        raise StoreUnusable(
            f"the store {place} is not there, but it held {mark.journal.number} records, as was "
            "noted "
            f"beside it at {mark.at:%Y-%m-%d %H:%M:%S} UTC; {_WHAT_TO_DO}"
        )


def rollback_found(connection: sqlite3.Connection, place: Path, mark: Mark | None) -> str | None:
    """Return what tells that a store is an older copy of itself; None if nothing does.

    Args:
        connection: any connection to the store; it has been opened after the mark was read.
        place: the store's file.
        mark: what stands beside it.
    """
    if mark is None:
        if not _has_had_a_mark(connection):
            return None
        return (
            f"the store {place} has lost its mark {mark_path(place).name}, so nobody can tell "
            f"whether it is the newest copy of itself or its journal was rolled back; {_WHAT_TO_DO}"
        )
    if not mark.journal.number and not _has_had_a_mark(connection):
        return None  # A new store, in the place of one that never held a record.
    what = _rolled_back(connection, mark)
    if what is None:
        return None
    return (
        f"the store {place} was rolled back: {what}, as was noted beside it at "
        f"{mark.at:%Y-%m-%d %H:%M:%S} UTC. Orders may be at the broker of which this copy knows "
        f"nothing; {_WHAT_TO_DO}"
    )


def _rolled_back(connection: sqlite3.Connection, mark: Mark) -> str | None:
    tables = _tables(connection)
    for table, noted in (("journal", mark.journal), ("logbook", mark.logbook)):
        last = _last(connection, table) if table in tables else _NOTHING
        if last == noted:
            continue
        if last.number < noted.number:
            return (
                f"its {table} ends at record {last.number}, but record {noted.number} was durable"
            )
        if noted.number and _digest(connection, table, noted.number) != noted.digest:
            return f"record {noted.number} of its {table} is not the one that was durable"
    epoch = _epoch(connection) if "owner" in tables else 0
    if epoch < mark.epoch:
        return f"its last owner had the epoch {epoch}, but epoch {mark.epoch} was durable"
    return None


_LAST: Final = {
    "journal": "SELECT sequence, digest FROM journal ORDER BY sequence DESC LIMIT 1",
    "logbook": "SELECT number, digest FROM logbook ORDER BY number DESC LIMIT 1",
}
_DIGEST: Final = {
    "journal": "SELECT digest FROM journal WHERE sequence = ?",
    "logbook": "SELECT digest FROM logbook WHERE number = ?",
}


def journal_end(connection: sqlite3.Connection) -> End:
    """Return where the journal ends."""
    return _last(connection, "journal")


def _tables(connection: sqlite3.Connection) -> set[str]:
    # Some may be missing: the store may be of another version, or made a moment ago.
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {name for (name,) in rows}


def _last(connection: sqlite3.Connection, table: str) -> End:
    row = connection.execute(_LAST[table]).fetchone()
    return _NOTHING if row is None else End(*row)


def _digest(connection: sqlite3.Connection, table: str, number: int) -> bytes | None:
    row = connection.execute(_DIGEST[table], (number,)).fetchone()
    return None if row is None else bytes(row[0])


def _epoch(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT epoch FROM owner").fetchone()
    return 0 if row is None else int(row[0])


def _has_had_a_mark(connection: sqlite3.Connection) -> bool:
    return (
        connection.execute("SELECT 1 FROM migrations WHERE component = ?", (COMPONENT,)).fetchone()
        is not None
    )


def _present(connection: sqlite3.Connection, epoch: int, now: datetime) -> Mark:
    return Mark(_last(connection, "journal"), _last(connection, "logbook"), epoch, now)


class MarkFile:
    """The mark of a store, held open by the store's owner.

    It is made anew by each owner, under another name first: an owner that was fenced holds a file
    that nobody reads any more, and whatever an accepted copy had before is gone.

    Args:
        place: the store's file.
    """

    def __init__(self, place: Path) -> None:
        self._path = mark_path(place)
        self._synced, self._newest = 0, 0
        self._handle: int | None = None
        self._noted: Mark | None = None

    def begin(self, connection: sqlite3.Connection, epoch: int, now: datetime) -> None:
        """Make the file, durable, and note in the store that it has one.

        Raises:
            OSError: the disk or the folder does not let it be made.
        """
        self.close()
        self._noted = _present(connection, epoch, now)
        self._handle = self._make(packed(self._noted))
        self._synced, self._newest = 0, 0
        if not _has_had_a_mark(connection):
            with writing(connection):
                connection.execute(
                    "INSERT OR IGNORE INTO migrations (component, number, name, applied_at)"
                    " VALUES (?, 1, 'a high-water mark is kept beside the file', ?)",
                    (COMPONENT, microseconds(now)),
                )

    def _make(self, slot: bytes) -> int:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # All of it is there from the first: a note later needs no room on a full disk.
            os.pwrite(handle, slot.ljust(SLOTS[-1] + _SLOT_BYTES, b"\0"), SLOTS[0])
            os.fsync(handle)
            draft.replace(self._path)
            sync_folder(self._path.parent)
        except BaseException:
            os.close(handle)
            draft.unlink(missing_ok=True)
            raise
        return handle

    def note_journal(self, end: End, now: datetime) -> None:
        """Note where the journal ends; to be called once that is durable.

        Raises:
            OSError: the disk failed.
        """
        if self._noted is not None:
            self._note(replace(self._noted, journal=end, at=now))

    def note_logbook(self, end: End, now: datetime) -> None:
        """Note where the logbook ends; to be called once that is durable.

        Raises:
            OSError: the disk failed.
        """
        if self._noted is not None:
            self._note(replace(self._noted, logbook=end, at=now))

    def _note(self, mark: Mark) -> None:
        if self._handle is None:
            return
        free = next(n for n in range(len(SLOTS)) if n not in (self._synced, self._newest))
        self._put(self._handle, packed(mark), SLOTS[free])
        self._noted, self._newest = mark, free

    def _put(self, handle: int, slot: bytes, offset: int) -> None:
        os.pwrite(handle, slot, offset)

    def sync(self) -> None:
        """Make what was noted durable.

        Raises:
            OSError: the disk failed.
        """
        if self._handle is not None:
            self._flush(self._handle)
            self._synced = self._newest

    def _flush(self, handle: int) -> None:
        os.fsync(handle)

    def close(self) -> None:
        """Let go of the file; harmless when it is not held."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __del__(self) -> None:
        # A simulated crash drops the store without closing it.
        self.close()
