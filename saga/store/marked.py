"""The writes after which the high-water mark moves: each a plain function over a connection.

A commit is noted once it is durable, and never before: the mark may be behind the journal, but
must not be ahead of it. What was noted is made durable at each heartbeat and on leaving.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from saga.logbook import LogEntry, LogRecord
from saga.store import journal, logbook, ownership
from saga.store.file_lock import FileLock
from saga.store.mark import End, MarkFile
from saga.store.process import Processes
from saga.store.protocol import Append, Owner, Projection


def acquire(
    connection: sqlite3.Connection,
    mark: MarkFile,
    processes: Processes,
    now: datetime,
    take_over: bool,
    beyond: int,
    lock: FileLock | None = None,
) -> Owner:
    """Become the owner, and begin the owner's mark; see `ownership.acquire`."""
    owner = ownership.acquire(
        connection, processes, now, take_over=take_over, beyond=beyond, lock=lock
    )
    mark.begin(connection, owner.epoch, now)
    return owner


def heartbeat(
    connection: sqlite3.Connection,
    mark: MarkFile,
    epoch: int | None,
    now: datetime,
    lock: FileLock | None = None,
) -> None:
    """Say that the owner lives, and make durable what was noted; see `ownership.heartbeat`."""
    ownership.heartbeat(connection, epoch, now, lock)
    mark.sync()


def release(
    connection: sqlite3.Connection, mark: MarkFile, epoch: int, lock: FileLock | None = None
) -> None:
    """Give the store up, and make durable what was noted; see `ownership.release`."""
    ownership.release(connection, epoch, lock)
    mark.sync()


def commit_appends(
    connection: sqlite3.Connection,
    mark: MarkFile,
    epoch: int | None,
    appends: Sequence[Append],
    projections: Sequence[Projection],
    now: datetime,
) -> journal.Committed:
    """Write several appends in one transaction, and note it; see `journal.commit_appends`."""
    committed = journal.commit_appends(connection, epoch, appends, projections)
    mark.note_journal(committed.end, now)
    return committed


def note_entry(
    connection: sqlite3.Connection,
    mark: MarkFile,
    epoch: int | None,
    entry: LogEntry,
    now: datetime,
) -> LogRecord:
    """Add an entry to the logbook, and note it; see `logbook.note`."""
    record = logbook.note(connection, epoch, entry, now)
    mark.note_logbook(End(record.number, record.digest), now)
    return record
