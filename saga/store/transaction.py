"""One transaction, and what it means when SQLite fails in the middle of one that writes.

After a failed write the kernel may have dropped pages that SQLite believes are on disk: trying
again could "succeed" over lost data. So a failure of the disk or of the file poisons the store:
nothing more is written until a restart has read what is really there.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from traceback import clear_frames
from typing import Final, TypeVar, TypeVarTuple

from saga.errors import StoreBusy, StorePoisoned

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BUSY_TIMEOUT_SECONDS: Final = 10.0
"""How long a write waits for another process that holds the file's write lock."""

_REASONS: Final = {
    sqlite3.SQLITE_PERM: "access was denied",
    sqlite3.SQLITE_NOMEM: "memory ran out",
    sqlite3.SQLITE_READONLY: "the file has become read-only",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened any more",
    sqlite3.SQLITE_PROTOCOL: "the locks of the file do not work",
    sqlite3.SQLITE_NOTADB: "the file is not a database any more",
}


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code of an error; SQLITE_ERROR where it bears none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else sqlite3.SQLITE_ERROR


_PASSING: Final = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN),
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_PROTOCOL),
    }
)


def may_pass(error: sqlite3.Error) -> bool:
    """Tell whether what could not be read may be sound: the disk, memory or a lock failed."""
    return primary_code(error) in _PASSING


def is_failure(error: sqlite3.Error) -> bool:
    """Tell whether the disk or the file failed, as opposed to a statement that was refused."""
    return primary_code(error) in _REASONS


def poisoned(error: BaseException) -> StorePoisoned:
    """Return the error that says that nothing more can be written, and why."""
    reason = "the write failed"
    if isinstance(error, sqlite3.Error):
        reason = _REASONS.get(primary_code(error), reason)
    return StorePoisoned(
        f"the checkpoint store could not be written because {reason} ({error}); nothing more is "
        "written, and what is durable is known only after a restart: mend the cause, for example "
        "free space on the disk, and start again"
    )


def one_read(
    connection: sqlite3.Connection,
    function: Callable[[sqlite3.Connection, *Ts], T],
    *arguments: *Ts,
) -> T:
    """Return what the function reads, all of it as of one instant.

    The transaction is ended whatever happens: a query that an error cut short would otherwise hold
    its snapshot, hide every later commit from this connection, and keep the log from shrinking.
    """
    connection.execute("BEGIN")
    try:
        return function(connection, *arguments)
    except BaseException as error:
        # A query that is not read to its end outlives even a ROLLBACK, for as long as a frame of
        # the error's traceback holds its cursor.
        clear_frames(error.__traceback__)
        raise
    finally:
        _undo(connection)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold a write transaction: committed at the end, undone whole when anything is raised.

    Raises:
        StoreBusy: another process holds the write lock; nothing was written.
        StorePoisoned: the disk or the file failed.
    """
    _begin(connection)
    try:
        yield
    except BaseException as error:
        _undo(connection)
        if isinstance(error, sqlite3.Error) and is_failure(error):
            raise poisoned(error) from error
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _undo(connection)
        raise poisoned(error) from error


def _begin(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            raise StoreBusy(
                "another process has held the write lock of the checkpoint store for more than "
                f"{BUSY_TIMEOUT_SECONDS:g} seconds; nothing was written: end that process"
            ) from error
        raise poisoned(error) from error


def _undo(connection: sqlite3.Connection) -> None:
    # After some failures SQLite has rolled back by itself; then there is nothing left to undo.
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
