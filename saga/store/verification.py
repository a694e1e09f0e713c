"""Reads a whole SQLite store and says what is wrong with it; changes nothing.

It looks at what can be told from the file alone: pages and indexes, the global sequence, each
saga's chain and its end, and whether each record decodes. Whether a journal obeys the machine, and
whether it agrees with a broker's books, is for those who know them.

That the whole file is an older copy of itself is told by the mark beside it (`mark`).
"""

import os
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from saga.errors import Quarantined, StoreUnusable
from saga.events import Submitted
from saga.quick_dataclass import dataclass
from saga.store import schema
from saga.store.database import UNREADABLE, connect_reader, located
from saga.store.journal import read_journal
from saga.store.logbook import broken_link
from saga.store.mark import Mark, read_mark, rollback_found
from saga.store.migration import pending
from saga.store.transaction import one_read

MAX_PROBLEMS: Final = 1000
"""No more problems than this are listed; a store with so many is beyond listing them."""

_GAPS: Final = """
SELECT previous, sequence FROM (
    SELECT sequence, lag(sequence, 1, 0) OVER (ORDER BY sequence) AS previous FROM journal
) WHERE sequence <> previous + 1
"""

_WRITTEN_AND_THERE: Final = (
    "SELECT (SELECT coalesce(max(sequence), 0) FROM journal), (SELECT count(*) FROM journal)"
)

_LACKING: Final = """
SELECT coalesce(sum(max(0,
    head_number - (SELECT count(*) FROM journal WHERE batch_id = batches.id))), 0) FROM batches
"""

_MISSING_TRADES: Final = """
SELECT batch_uid, total_trades, (SELECT count(*) FROM trades WHERE batch_id = batches.id) AS found
FROM batches WHERE found <> total_trades ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a store.

    Attributes:
        batch_id: the saga that it concerns; None if it concerns the whole store.
        sentence: what is wrong, for a person.
    """

    batch_id: str | None
    sentence: str


def verify(path: str | os.PathLike[str]) -> list[Problem]:
    """Return everything that is wrong with a store, `MAX_PROBLEMS` at most; empty if all is well.

    It may be in use meanwhile.

    Raises:
        StoreUnusable: there is no store to read, or it is newer than the program.
    """
    place = located(path)
    if not place.exists():
        raise StoreUnusable(f"the store {place} does not exist; name the file of a store")
    noted: Mark | StoreUnusable | None
    try:
        noted = read_mark(place)  # First: a living owner only moves the journal further.
    except StoreUnusable as error:
        noted = error
    connection = connect_reader(place)
    try:
        return list(islice(_problems(connection, place, noted), MAX_PROBLEMS))
    finally:
        connection.close()


def refuse_without_all_sagas(connection: sqlite3.Connection) -> None:
    """Make sure that every saga that has records is there.

    A saga that lacks records is set aside when it is read. One that is missing whole, as after
    another file was copied over the store, would be missed by nobody.

    Raises:
        StoreUnusable: some are missing.
    """
    last, records = connection.execute(_WRITTEN_AND_THERE).fetchone()
    if records == last:
        return
    (lacking,) = connection.execute(_LACKING).fetchone()
    if lacking < last - records:
        raise StoreUnusable(
            f"it is damaged: {last} records were written, {records} are there, and no saga is "
            "known that lacks the others, so that whole sagas are missing; restore it from a backup"
        )


def _problems(
    connection: sqlite3.Connection, place: Path, noted: Mark | StoreUnusable | None
) -> Iterator[Problem]:
    missing = pending(connection, schema.COMPONENT, schema.MIGRATIONS)
    if missing:
        version = missing[0].number - 1
        yield Problem(
            None, f"its tables have version {version}; open it with this program to migrate them"
        )
        return
    try:
        yield from _older_copy(connection, place, noted)
        yield from _damaged_pages(connection)
        yield from _gaps(connection)
        yield from _broken_sagas(connection)
        yield from _broken_logbook(connection)
        yield from _missing_trades(connection)
    except UNREADABLE as error:
        yield Problem(None, f"the file cannot be read any further: {error}")


def _older_copy(
    connection: sqlite3.Connection, place: Path, noted: Mark | StoreUnusable | None
) -> Iterator[Problem]:
    if isinstance(noted, StoreUnusable):
        yield Problem(None, str(noted))
        return
    sentence = rollback_found(connection, place, noted)
    if sentence is not None:
        yield Problem(None, sentence)


def _damaged_pages(connection: sqlite3.Connection) -> Iterator[Problem]:
    for (finding,) in connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})"):
        if finding != "ok":
            yield Problem(None, f"the file is damaged: {finding}")
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Problem(None, f"row {row} of {table} points to a row of {parent} that is missing")


def _gaps(connection: sqlite3.Connection) -> Iterator[Problem]:
    for previous, sequence in connection.execute(_GAPS):
        yield Problem(
            None,
            f"the global sequence goes from {previous} to {sequence}: records are missing",
        )


def _broken_sagas(connection: sqlite3.Connection) -> Iterator[Problem]:
    uids = [uid for (uid,) in connection.execute("SELECT batch_uid FROM batches ORDER BY id")]
    for uid in uids:
        try:
            first, *_ = one_read(connection, read_journal, uid)
        except Quarantined as error:
            yield Problem(uid, str(error))
            continue
        if not isinstance(first.event, Submitted) or first.event.batch.batch_id != uid:
            yield Problem(uid, f"the journal of batch {uid} does not begin with its submission")


def _broken_logbook(connection: sqlite3.Connection) -> Iterator[Problem]:
    finding = broken_link(connection)
    if finding is not None:
        yield Problem(None, finding)


def _missing_trades(connection: sqlite3.Connection) -> Iterator[Problem]:
    for uid, total, found in connection.execute(_MISSING_TRADES):
        yield Problem(uid, f"batch {uid} has {total} trades, but {found} rows of them")
