"""Writes the logbook's entries, and reads them back: plain functions over a plain connection."""

import sqlite3
from datetime import datetime
from typing import Final

from saga.errors import InvalidInput, StoreUnusable
from saga.logbook import LogEntry, LogRecord, decode_entry, encode_entry
from saga.store.chain import Head, beginning, digest_of
from saga.store.ownership import check_epoch
from saga.store.rows import instant, microseconds
from saga.store.transaction import writing

CHAIN: Final = "the logbook"
"""What the chain of hashes begins from."""

_COLUMNS: Final = "number, at, kind, data, digest"


def note(
    connection: sqlite3.Connection, epoch: int | None, entry: LogEntry, at: datetime
) -> LogRecord:
    """Add one entry; a transaction of its own.

    Raises:
        OwnershipLost: another owner has the store; nothing was written.
        StorePoisoned: the disk or the file failed.
    """
    with writing(connection):
        check_epoch(connection, epoch)
        row = connection.execute(
            "SELECT number, digest FROM logbook ORDER BY number DESC LIMIT 1"
        ).fetchone()
        head = beginning(CHAIN) if row is None else Head(*row)
        number, data, moment = head.number + 1, encode_entry(entry), microseconds(at)
        digest = digest_of(head.digest, number, moment, entry.kind, data)
        connection.execute(
            f"INSERT INTO logbook ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - our names
            (number, moment, entry.kind, data, digest),
        )
    return LogRecord(number, at, entry, digest)


def read_last(
    connection: sqlite3.Connection, kind: str | None, count: int, since: datetime | None = None
) -> tuple[LogRecord, ...]:
    """Return the last entries of a kind (None: of all), newest first.

    Args:
        connection: any connection to the store.
        kind: which.
        count: so many of the last are looked at.
        since: of these, only those noted at this instant or later; None is all.

    Raises:
        StoreUnusable: one does not decode.
    """
    of_kind = "" if kind is None else "WHERE kind = :kind"
    last = f"SELECT {_COLUMNS} FROM logbook {of_kind} ORDER BY number DESC LIMIT :count"  # noqa: S608
    if since is not None:
        # A clock may have been put back, so that what is older need not stand before.
        last = f"SELECT {_COLUMNS} FROM ({last}) WHERE at >= :since ORDER BY number DESC"  # noqa: S608
    rows = connection.execute(
        last,
        {"kind": kind, "count": count, "since": None if since is None else microseconds(since)},
    )
    return tuple(_record(*row) for row in rows)


def broken_link(connection: sqlite3.Connection) -> str | None:
    """Say where the logbook's chain of hashes is broken; None if it is whole."""
    head = beginning(CHAIN)
    for number, at, kind, data, digest in connection.execute(
        f"SELECT {_COLUMNS} FROM logbook ORDER BY number"  # noqa: S608
    ):
        if number != head.number + 1:
            return f"the logbook goes from entry {head.number} to {number}: entries are missing"
        if digest != digest_of(head.digest, number, at, kind, data):
            return f"entry {number} of the logbook was altered"
        head = Head(number, digest)
    return None


def _record(number: int, at: int, kind: str, data: str, digest: bytes) -> LogRecord:
    try:
        return LogRecord(number, instant(at), decode_entry(kind, data), digest)
    except (InvalidInput, StoreUnusable) as error:
        raise StoreUnusable(f"entry {number} of the logbook cannot be read: {error}") from error
