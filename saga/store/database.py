"""The file of a SQLite store: made, checked and opened with settings that are read back.

One connection writes and checkpoints; SQLite before 3.51.3 can damage a file in WAL mode when two
do. All other connections are read-only.

The file belongs to the user alone from its first byte, and it appears whole or not at all: it is
made under another name, and given its own only once it is a store.
"""

import glob
import os
import shlex
import sqlite3
import stat
import sys
import tempfile
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import quote

from saga.errors import StoreHeld, StoreUnusable
from saga.store import schema
from saga.store.folder import sync_folder
from saga.store.migration import lay_foundation
from saga.store.transaction import BUSY_TIMEOUT_SECONDS

OLDEST_SQLITE: Final = (3, 37, 0)
"""The first version with STRICT tables."""

WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""The write-ahead log is cut back to this size after a checkpoint."""

CACHED_STATEMENTS: Final = 256
"""Prepared statements that a connection keeps."""

_BUSY_MILLISECONDS: Final = round(BUSY_TIMEOUT_SECONDS * 1000)
_FULL: Final = 2
_COMMON: Final[tuple[tuple[str, str | int, str | int], ...]] = (
    ("trusted_schema", "OFF", 0),
    ("cell_size_check", "ON", 1),
    ("mmap_size", 0, 0),
    ("busy_timeout", _BUSY_MILLISECONDS, _BUSY_MILLISECONDS),
)
_WRITER: Final[tuple[tuple[str, str | int, str | int], ...]] = (
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", _FULL),
    ("foreign_keys", "ON", 1),
    ("journal_size_limit", WAL_LIMIT_BYTES, WAL_LIMIT_BYTES),
)
_MACOS: Final[tuple[tuple[str, str | int, str | int], ...]] = (
    # A plain fsync there leaves the data in the drive's own cache.
    ("fullfsync", "ON", 1),
    ("checkpoint_fullfsync", "ON", 1),
)
_READER: Final[tuple[tuple[str, str | int, str | int], ...]] = (("query_only", "ON", 1),)

UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; its words, too, may be damaged, and no text any more."""

FileId = tuple[int, int]
"""Device and inode: what a file is, whatever its name."""

_open_files: set[FileId] = set()
_open_files_lock = Lock()


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a store's file, symbolic links followed, whatever is there.

    Raises:
        StoreUnusable: it is no path.
    """
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise _no_place(path, error) from error


def located(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a store's file, symbolic links followed.

    Raises:
        StoreUnusable: no store can be there; the sentence says why.
    """
    place = resolved(path)
    try:
        _check_place(place)
    except (OSError, ValueError) as error:
        raise _no_place(path, error) from error
    return place


def _no_place(path: str | os.PathLike[str], error: Exception) -> StoreUnusable:
    return StoreUnusable(f"the store path {os.fspath(path)!r} cannot be used: {error}")


def _check_place(place: Path) -> None:
    folder = place.parent
    file, around = _status(place), _status(folder)
    if file is not None and stat.S_ISDIR(file.st_mode):
        raise StoreUnusable(f"the store {place} is a directory; name a file in it")
    if around is None or not stat.S_ISDIR(around.st_mode):
        raise StoreUnusable(f"the folder {folder} of the store does not exist; create it first")
    # The write-ahead log stands beside the file, so the folder has to be writable as well.
    if not _is_writable(folder, around):
        raise StoreUnusable(
            f"the folder {folder} of the store is not writable; allow writing to it"
        )
    if file is None:
        return
    if not stat.S_ISREG(file.st_mode):
        raise StoreUnusable(f"the store {place} is not a regular file; name another one")
    if not _is_writable(place, file):
        raise StoreUnusable(f"the store {place} is read-only; allow writing to it")
    if file.st_size == 0:
        raise StoreUnusable(
            f"the store {place} is an empty file, so whatever it held is lost; restore it from a "
            "backup, or delete it if no store was ever there"
        )
    if file.st_nlink > 1 and _has_another_name(place):
        raise StoreUnusable(
            f"the store {place} has another name as well (a hard link), and whoever opens it by "
            "that one keeps a log, a mark and a halt file of his own beside it, of which this one "
            f"knows nothing; look for it (`find / -xdev -samefile {shlex.quote(str(place))}`) and "
            "remove one of the names while nobody has the store open; to have a copy, `saga backup`"
        )


def _has_another_name(place: Path) -> bool:
    """Tell whether a file bears more names than its own and those it was made under."""
    made_under = sum(
        file_id(draft) == file_id(place)
        for draft in place.parent.glob(f".{glob.escape(place.name)}.*.new")
    )
    # Asked again: a store that another process makes at this moment loses such a name.
    return place.stat().st_nlink - made_under > 1


def _status(path: Path) -> os.stat_result | None:
    """Return what is at a path; None if nothing is."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_writable(path: Path, status: os.stat_result) -> bool:
    # Root may write anything, yet a file without any write bit is meant to be left alone.
    anybody = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    return os.access(path, os.W_OK) and bool(status.st_mode & anybody)


def create_if_missing(place: Path) -> None:
    """Make a new store without tables, readable by the user alone, unless there is a file already.

    Raises:
        StoreUnusable: the disk or the file system does not let it be made.
    """
    if place.exists():
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".new", dir=place.parent)
        os.close(handle)  # Before SQLite opens it: closing later would drop SQLite's locks.
        draft = Path(name)
        try:
            _found(draft)
            _name_for_good(draft, place)
        finally:
            draft.unlink()
        sync_folder(place.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"the store {place} cannot be created: {error}") from error


def _found(draft: Path) -> None:
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        lay_foundation(connection)
    finally:
        connection.close()


def _name_for_good(draft: Path, place: Path) -> None:
    # A link, unlike a rename, never takes the place of a store that another process made meanwhile.
    try:
        os.link(draft, place)
    except FileExistsError:
        return


def file_id(place: Path) -> FileId | None:
    """Return what file is at a path; None if there is none."""
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def log_bytes(place: Path) -> int:
    """Return how long the write-ahead log beside a store's file is; 0 if there is none."""
    try:
        return place.with_name(f"{place.name}-wal").stat().st_size
    except OSError:
        return 0


def claim(place: Path) -> FileId:
    """Note that this process has the store open.

    Raises:
        StoreHeld: it has already.
    """
    found = file_id(place)
    if found is None:
        raise StoreUnusable(f"the store {place} disappeared while it was being opened; try again")
    with _open_files_lock:
        if found in _open_files:
            raise StoreHeld(
                f"the store {place} is already open in this process (pid {os.getpid()}); "
                "use the store that is open, or close it first"
            )
        _open_files.add(found)
    return found


def unclaim(found: FileId) -> None:
    """Note that this process has closed the store."""
    with _open_files_lock:
        _open_files.discard(found)


def has_json(connection: sqlite3.Connection) -> bool:
    """Tell whether this SQLite has the JSON functions; before 3.38.0 a build may leave them out."""
    try:
        connection.execute("SELECT json('[]')")
    except sqlite3.OperationalError:
        return False
    return True


def connect_writer(place: Path) -> sqlite3.Connection:
    """Open the one connection that writes and checkpoints.

    Raises:
        StoreUnusable: the file is no store, is damaged, or does not take a setting.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StoreUnusable(
            f"SQLite {sqlite3.sqlite_version} is too old; the store needs {oldest} or newer"
        )
    more = _WRITER + (_MACOS if sys.platform == "darwin" else ())
    connection = _connect(place, "rw", _COMMON + more)
    if not has_json(connection):
        connection.close()
        raise StoreUnusable(
            f"SQLite {sqlite3.sqlite_version} was built without its JSON functions, which the "
            "store needs; they are in every build from 3.38.0 on"
        )
    return connection


def connect_reader(place: Path) -> sqlite3.Connection:
    """Open a connection that can only read.

    Raises:
        StoreUnusable: the file is no store, or is damaged.
    """
    connection = _connect(place, "ro", _COMMON + _READER)
    # Text that is no UTF-8 any more is shown by its digest; it must not end the reading.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _connect(
    place: Path, mode: str, settings: tuple[tuple[str, str | int, str | int], ...]
) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(place))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_SECONDS,
            cached_statements=CACHED_STATEMENTS,
            check_same_thread=False,  # A bridge keeps to one thread; a simulation may move.
        )
    except sqlite3.Error as error:
        raise StoreUnusable(f"the store {place} cannot be opened: {error}") from error
    try:
        _check_kind(connection, place)  # First: a setting would change a file that is not ours.
        for name, value, expected in settings:
            _set(connection, place, name, value, expected)
    except UNREADABLE as error:
        connection.close()
        raise StoreUnusable(
            f"the store {place} cannot be read as a SQLite database: {error}; "
            "name another file, or restore it from a backup"
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check_kind(connection: sqlite3.Connection, place: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != schema.APPLICATION_ID:
        raise StoreUnusable(
            f"the file {place} is a database of another program (application_id "
            f"{application_id:#x}, not {schema.APPLICATION_ID:#x}); name another file"
        )


def _set(
    connection: sqlite3.Connection, place: Path, name: str, value: str | int, expected: str | int
) -> None:
    # Some answer with what they are from then on; the others have to be asked.
    found = connection.execute(f"PRAGMA {name} = {value}").fetchall()
    if not found:
        found = connection.execute(f"PRAGMA {name}").fetchall()
    if found == [] and name in _MAY_BE_SILENT:
        return
    if found != [(expected,)]:
        got = found[0][0] if found else "nothing"
        raise StoreUnusable(
            f"the store {place} does not take the setting {name} = {value} (it says {got}), "
            "without which it is not safe; put it on a local disk"
        )


_MAY_BE_SILENT: Final = frozenset({"mmap_size"})
"""A build of SQLite without memory mapping says nothing about it."""


def check_pages(connection: sqlite3.Connection, place: Path) -> None:
    """Let SQLite check every page of the file.

    Raises:
        StoreUnusable: some are damaged.
    """
    try:
        findings = [text for (text,) in connection.execute("PRAGMA quick_check(1)")]
    except UNREADABLE as error:
        findings = [str(error)]
    if findings != ["ok"]:
        raise StoreUnusable(
            f"the store {place} is damaged ({'; '.join(findings)}); restore it from a backup"
        )
