"""Writes records and views, and reads records back: plain functions over a plain connection.

The same SQL runs on aiosqlite's thread in the product and in the caller in a simulation. Who calls
a writing function here is inside a transaction already, but for `commit_appends`, which is one.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from saga.errors import BatchConflict, Quarantined, StoreError
from saga.events import encode
from saga.quick_dataclass import dataclass
from saga.store.chain import Head, StoredRecord, beginning, digest_of, verified
from saga.store.mark import End, journal_end
from saga.store.ownership import check_epoch
from saga.store.protocol import Append, JournalRecord, Projection
from saga.store.rows import BATCH_COLUMNS, TRADE_COLUMNS, Stored, microseconds, values_of
from saga.store.transaction import is_failure, may_pass, poisoned, writing
from saga.views import BatchRow, TradeRow

RECORDS_PER_PAGE: Final = 500
"""Records that are read at once; a reader never holds a snapshot longer than one page takes."""

# Every statement below is put together from column names of this package, never from values.
# ruff: noqa: S608

# What never changes after the first record is not written again, which spares its indexes.
_FIXED_OF_BATCH: Final = frozenset(
    (
        *("batch_uid", "mode", "priority", "exclusion_key", "parent_id"),
        *("total_trades", "created_at", "program"),
    )
)
_FIXED_OF_TRADE: Final = frozenset(
    ("position", "directive_id", "kind", "symbol", "direction", "amount")
)


def _but(columns: Iterable[str], left_out: Iterable[str]) -> tuple[str, ...]:
    return tuple(column for column in columns if column not in left_out)


def _assignments(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = ?" for column in columns)


def _insertion(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"


_HEAD: Final = ("head_number", "head_digest")

_INSERT_BATCH: Final = _insertion("batches", (*BATCH_COLUMNS, *_HEAD, "id"))
_ALL_OF_BATCH: Final = values_of(BATCH_COLUMNS)

# What moves with nearly each record. The rest of what may move is where a batch stands: nearly all
# indexes begin with it, and the tables check its words, so it is left alone while it stays.
_MOVING: Final = (
    *("processed_trades", "failed_trades", "undone_trades"),
    *("updated_at", "waits_for"),
)
_STANDING: Final = _but(BATCH_COLUMNS, {*_FIXED_OF_BATCH, *_MOVING})
_MOVED_OF_BATCH: Final = values_of(_MOVING)
_STANDING_OF_BATCH: Final = values_of(_STANDING)
_UPDATE_BATCH: Final = (
    f"UPDATE batches SET {_assignments((*_STANDING, *_MOVING, *_HEAD))} WHERE id = ?"
)
_UPDATE_WHERE_IT_STANDS: Final = (
    f"UPDATE batches SET {_assignments((*_MOVING, *_HEAD))} WHERE id = ?"
)
_FIND_BATCHES: Final = (
    f"SELECT batch_uid, batches.id, {', '.join((*_HEAD, *_STANDING))}"
    " FROM json_each(?) CROSS JOIN batches ON batch_uid = value"
)
_LAST_BATCH: Final = "SELECT coalesce(max(id), 0) FROM batches"

_INSERT_TRADE: Final = _insertion("trades", (*TRADE_COLUMNS, "batch_id"))
_ALL_OF_TRADE: Final = values_of(TRADE_COLUMNS)

_MOVING_OF_TRADE: Final = _but(TRADE_COLUMNS, _FIXED_OF_TRADE)
_UPDATE_TRADE: Final = (
    f"UPDATE trades SET {_assignments(_MOVING_OF_TRADE)} WHERE position = ? AND batch_id = ?"
)
_MOVED_OF_TRADE: Final = values_of((*_MOVING_OF_TRADE, "position"))

_REPLACE_TRADE: Final = (
    f"{_INSERT_TRADE} ON CONFLICT (batch_id, position) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in TRADE_COLUMNS)
)
_INSERT_RECORD: Final = (
    "INSERT INTO journal (sequence, number, at, kind, data, digest, batch_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
# Named, because SQLite would rather walk the whole table in its order than sort a few rows.
_UNFINISHED: Final = (
    "SELECT batch_uid, exclusion_key FROM batches INDEXED BY batches_unfinished"
    " WHERE state NOT IN ('COMPLETED', 'ROLLED_BACK') ORDER BY id"
)

_ALARMING: Final = (
    "SELECT batch_uid FROM ("
    "SELECT id, batch_uid FROM batches INDEXED BY batches_unfinished"
    " WHERE state NOT IN ('COMPLETED', 'ROLLED_BACK') AND state = 'STALE'"
    " UNION SELECT id, batch_uid FROM batches INDEXED BY batches_with_incidents"
    " WHERE incidents > 0) ORDER BY id"
)


def last_sequence(connection: sqlite3.Connection) -> int:
    """Return the global sequence number of the last record; 0 if there is none."""
    (sequence,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()
    return int(sequence)


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction has written.

    Attributes:
        outcomes: of each append: its last sequence number, or the error that refused it.
        records: those of all appends that were not refused, in their order.
        end: where the journal ends now.
    """

    outcomes: list[int | Exception]
    records: list[JournalRecord]
    end: End


class _Refused(Exception):
    """Some of the appends are refused; what was written for them is still to be undone."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


_Write = Callable[[sqlite3.Connection, Sequence[Append], Sequence[Projection], End], Committed]


def commit_appends(
    connection: sqlite3.Connection,
    epoch: int | None,
    appends: Sequence[Append],
    projections: Sequence[Projection],
) -> Committed:
    """Write several appends in one transaction, and return what became of each.

    A refused append is undone alone; its place holds the error, and not a sequence number. The rows
    of all are written together, table by table, and nobody learns there which of them was refused:
    then nothing is kept, and each is written by itself, in a savepoint. Within one SQLite copies
    every page before it changes, so there is none until it is needed.

    Raises:
        OwnershipLost: another owner has the store; nothing was written.
        StorePoisoned: the disk or the file failed.
    """
    with suppress(_Refused):
        return _commit(connection, epoch, appends, projections, _together)
    return _commit(connection, epoch, appends, projections, _each_alone)


def _commit(
    connection: sqlite3.Connection,
    epoch: int | None,
    appends: Sequence[Append],
    projections: Sequence[Projection],
    write: _Write,
) -> Committed:
    with writing(connection):
        check_epoch(connection, epoch)
        end = journal_end(connection)
        return write(connection, appends, projections, end)


def _each_alone(
    connection: sqlite3.Connection,
    appends: Sequence[Append],
    projections: Sequence[Projection],
    end: End,
) -> Committed:
    outcomes: list[int | Exception] = []
    records: list[JournalRecord] = []
    for append in appends:
        connection.execute("SAVEPOINT append")
        try:
            written = _together(connection, [append], projections, end)
        except _Refused as refused:
            connection.execute("ROLLBACK TO append")
            outcomes.append(_refusal(append, refused.error))
        else:
            outcomes += written.outcomes
            records += written.records
            end = written.end
        connection.execute("RELEASE append")
    return Committed(outcomes, records, end)


def _together(
    connection: sqlite3.Connection,
    appends: Sequence[Append],
    projections: Sequence[Projection],
    end: End,
) -> Committed:
    try:
        written = _write(connection, appends, end)
        for append in appends:
            for change in append.changes:
                for projection in projections:
                    projection.project(connection, append.batch, change)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and is_failure(error):
            raise
        if not connection.in_transaction:  # a projection has ended it, and nothing can be undone
            raise poisoned(error) from error
        raise _Refused(error) from error
    return written


def _refusal(append: Append, error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    refusal = StoreError(
        f"the tables refuse what was to be written for batch {append.batch.batch_id}: {error}; "
        "nothing was written for it"
    )
    refusal.__cause__ = error
    return refusal


@dataclass(slots=True)
class _Batch:
    """A batch of which something is appended.

    Attributes:
        number: of its row, by which its trades and records point to it.
        head: where its journal ends.
        stood: where it stands in the table; None if it is not there yet.
        row: what its row is to be.
    """

    number: int
    head: Head
    stood: tuple[Stored, ...] | None
    row: BatchRow


def _write(connection: sqlite3.Connection, appends: Sequence[Append], end: End) -> Committed:
    """Write the records behind the journal's end, and the views."""
    batches = _find_batches(connection, appends)
    stored: list[tuple[int, int, int, str, str, bytes, int]] = []
    records: list[JournalRecord] = []
    outcomes: list[int | Exception] = []
    sequence = end.number
    for append in appends:
        uid = append.batch.batch_id
        batch = batches[uid]
        _check_numbers(append, batch.head)
        for change in append.changes:
            sequence += 1
            event, at = change.event, microseconds(change.at)
            kind, data = event.kind, encode(event)
            digest = digest_of(batch.head.digest, change.number, at, kind, data)
            stored.append((sequence, change.number, at, kind, data, digest, batch.number))
            records.append(JournalRecord(sequence, uid, change.number, change.at, event, digest))
            batch.head = Head(change.number, digest)
        batch.row = append.batch_row
        outcomes.append(sequence)
    _write_batches(connection, batches.values())
    _write_trades(connection, [(batches[each.batch.batch_id].number, each) for each in appends])
    connection.executemany(_INSERT_RECORD, stored)
    return Committed(outcomes, records, End(sequence, records[-1].digest))


def _find_batches(connection: sqlite3.Connection, appends: Sequence[Append]) -> dict[str, _Batch]:
    """Return the batch of each append, by id; those that are new get the numbers that follow."""
    rows = {append.batch.batch_id: append.batch_row for append in appends}
    found = {
        uid: _Batch(number, Head(head, digest), tuple(stood), rows[uid])
        for uid, number, head, digest, *stood in connection.execute(
            _FIND_BATCHES, (json.dumps([*rows]),)
        )
    }
    new = [uid for uid in rows if uid not in found]
    if new:
        (last,) = connection.execute(_LAST_BATCH).fetchone()
        for number, uid in enumerate(new, start=last + 1):
            found[uid] = _Batch(number, beginning(uid), None, rows[uid])
    return found


def _check_numbers(append: Append, head: Head) -> None:
    uid = append.batch.batch_id
    numbers = [change.number for change in append.changes]
    if not numbers:
        raise StoreError(f"an append for batch {uid} holds no record; nothing was written")
    if append.batch_row.batch_id != uid:
        raise StoreError(f"an append for batch {uid} holds the row of {append.batch_row.batch_id}")
    if head.number and numbers[0] == 1:
        raise BatchConflict(
            f"batch_id {uid!r} is taken: a batch with this id was accepted before; "
            "give the new batch another id"
        )
    if numbers != list(range(head.number + 1, head.number + 1 + len(numbers))):
        raise StoreError(
            f"the records of batch {uid} must follow on record {head.number} without a gap, "
            f"but are numbered {numbers[0]} to {numbers[-1]}; nothing was written"
        )


def _write_batches(connection: sqlite3.Connection, batches: Iterable[_Batch]) -> None:
    new, moved, stayed = [], [], []
    for batch in batches:
        row, end = batch.row, (*batch.head, batch.number)
        stands = _STANDING_OF_BATCH(row)
        if batch.stood is None:
            new.append((*_ALL_OF_BATCH(row), *end))
        elif batch.stood == stands:
            stayed.append((*_MOVED_OF_BATCH(row), *end))
        else:
            moved.append((*stands, *_MOVED_OF_BATCH(row), *end))
    connection.executemany(_INSERT_BATCH, new)
    connection.executemany(_UPDATE_BATCH, moved)
    connection.executemany(_UPDATE_WHERE_IT_STANDS, stayed)


def _write_trades(connection: sqlite3.Connection, appends: Iterable[tuple[int, Append]]) -> None:
    new: list[tuple[Stored, ...]] = []
    known: list[tuple[int, TradeRow]] = []
    for number, append in appends:
        if append.changes[0].number == 1:
            new += [(*_ALL_OF_TRADE(row), number) for row in append.trade_rows]
        else:
            known += [(number, row) for row in append.trade_rows]
    connection.executemany(_INSERT_TRADE, new)
    moved = connection.executemany(
        _UPDATE_TRADE, [(*_MOVED_OF_TRADE(row), number) for number, row in known]
    )
    if moved.rowcount < len(known):  # a view that is lost can be made anew
        _replace_trades(connection, known)


def _replace_trades(connection: sqlite3.Connection, rows: Iterable[tuple[int, TradeRow]]) -> None:
    connection.executemany(_REPLACE_TRADE, [(*_ALL_OF_TRADE(row), number) for number, row in rows])


def read_journal(connection: sqlite3.Connection, batch_uid: str) -> tuple[JournalRecord, ...]:
    """Return a saga's whole journal, verified; empty if there is none.

    To be called in one read transaction, because the head has to fit the records.

    Raises:
        Quarantined: a record is missing, altered, or does not decode.
        sqlite3.Error: the disk, memory or a lock failed, which says nothing of the records.
    """
    try:
        row = connection.execute(
            "SELECT id, head_number, head_digest FROM batches WHERE batch_uid = ?", (batch_uid,)
        ).fetchone()
        if row is None:
            return ()
        stored = connection.execute(
            "SELECT sequence, number, at, kind, data, digest FROM journal"
            " WHERE batch_id = ? ORDER BY number",
            (row[0],),
        ).fetchall()
    except sqlite3.DatabaseError as error:
        if may_pass(error):
            raise
        raise Quarantined(
            f"the journal of batch {batch_uid} cannot be read: {error}; "
            "compare the store with a backup"
        ) from error
    return verified(batch_uid, Head(row[1], row[2]), map(StoredRecord._make, stored))


def read_journals(
    connection: sqlite3.Connection, batch_uids: Sequence[str]
) -> list[tuple[JournalRecord, ...] | Exception]:
    """Return the journals of the first of these sagas, verified, up to a page of records in all.

    It is the first one's at least. In the place of one that cannot be read is the error that
    `read_journal` raises of it. To be called in one read transaction, as that.
    """
    journals: list[tuple[JournalRecord, ...] | Exception] = []
    left = RECORDS_PER_PAGE
    for batch_uid in batch_uids:
        try:
            records = read_journal(connection, batch_uid)
        except sqlite3.Error:
            raise
        except Exception as error:  # S18: whatever is wrong with one is not allowed to touch others
            journals.append(error)
        else:
            journals.append(records)
            left -= len(records)
        if left <= 0:
            break
    return journals


def read_page(
    connection: sqlite3.Connection, after: int, batch_uid: str | None
) -> list[tuple[str, StoredRecord]]:
    """Return the next records behind a global sequence number, each with its batch's id."""
    if batch_uid is None:
        which, order = "j.sequence > :after", "j.sequence"
    else:
        # Within one saga the numbers rise with the sequence, and are indexed.
        which = (
            "j.batch_id = (SELECT id FROM batches WHERE batch_uid = :uid) AND j.sequence > :after"
        )
        order = "j.number"
    rows = connection.execute(
        "SELECT b.batch_uid, j.sequence, j.number, j.at, j.kind, j.data, j.digest"
        f" FROM journal j JOIN batches b ON b.id = j.batch_id WHERE {which}"
        f" ORDER BY {order} LIMIT :limit",
        {"after": after, "uid": batch_uid, "limit": RECORDS_PER_PAGE},
    )
    return [(uid, StoredRecord(*record)) for uid, *record in rows]


def read_alerting(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the batches that are STALE or have open incidents, oldest submission first."""
    rows = connection.execute(_ALARMING)
    return tuple(batch_uid for (batch_uid,) in rows)


def read_unfinished(connection: sqlite3.Connection) -> dict[str, str | None]:
    """Return the exclusion key of each saga not over, by id, oldest submission first."""
    return dict(connection.execute(_UNFINISHED).fetchall())
