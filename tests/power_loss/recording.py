"""SQLite on a disk that notes every operation: apsw's copy of SQLite, with a VFS over the real one.

apsw and the standard library's sqlite3 never open the same file here: what is recorded lies in a
folder of its own, and the images of it are files of theirs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from saga.store.mark import MarkFile
from tests.power_loss.disk import Created, Cut, Operation, Placed, Removed, Synced, Written

VFS: Final = "recording"


class Recorder:
    """Holds the operations, in order."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def note(self, operation: Operation) -> None:
        self.operations.append(operation)


class _File(apsw.VFSFile):
    """A database's file, or the log beside it."""

    def __init__(self, name: str, flags: list[int], recorder: Recorder) -> None:
        super().__init__("", name, flags)
        self._name = Path(name).name
        self._recorder = recorder

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._recorder.note(Written(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._recorder.note(Cut(self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._recorder.note(Synced(self._name))


class _Vfs(apsw.VFS):
    """The operating system's file system, watched."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__(VFS, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:
            return apsw.VFSFile("", None, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        is_new = not Path(path).exists()
        file = _File(path, flags, self._recorder)
        if is_new:
            self._recorder.note(Created(Path(path).name))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self._recorder.note(Removed(Path(filename).name, synced=bool(syncdir)))


class Cursor:
    """As much of `sqlite3.Cursor` as the store's functions need; made once its statement has run.

    Attributes:
        rowcount: rows that it changed.
        lastrowid: the row that was inserted last.
    """

    def __init__(self, cursor: apsw.Cursor, changed_before: int) -> None:
        self._cursor = cursor
        self.rowcount = cursor.connection.total_changes() - changed_before
        self.lastrowid = cursor.connection.last_insert_rowid()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()


class Connection:
    """As much of `sqlite3.Connection` as the store's functions need, over apsw."""

    def __init__(self, path: Path) -> None:
        self._apsw = apsw.Connection(str(path), vfs=VFS)

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        changed_before = self._apsw.total_changes()
        return Cursor(self._apsw.execute(sql, parameters or None), changed_before)

    def executemany(self, sql: str, parameters: Any) -> Cursor:
        changed_before = self._apsw.total_changes()
        return Cursor(self._apsw.executemany(sql, parameters), changed_before)

    @property
    def in_transaction(self) -> bool:
        return bool(self._apsw.in_transaction)

    def close(self) -> None:
        self._apsw.close()


class RecordedMark(MarkFile):
    """The store's own mark, its writes noted among those of SQLite."""

    def __init__(self, place: Path, recorder: Recorder) -> None:
        super().__init__(place)
        self._recorder = recorder

    def _make(self, slot: bytes) -> int:
        handle = super()._make(slot)
        self._recorder.note(Placed(self._path.name, self._path.read_bytes()))
        return handle

    def _put(self, handle: int, slot: bytes, offset: int) -> None:
        super()._put(handle, slot, offset)
        self._recorder.note(Written(self._path.name, offset, slot))

    def _flush(self, handle: int) -> None:
        super()._flush(handle)
        self._recorder.note(Synced(self._path.name))


@contextmanager
def recording() -> Iterator[Recorder]:
    """Hold the VFS that notes what is done."""
    recorder = Recorder()
    vfs = _Vfs(recorder)
    try:
        yield recorder
    finally:
        vfs.unregister()


def place_draft(recorder: Recorder, draft: Path, place: Path) -> None:
    """Give a store that was made under another name its own, as `create_if_missing` does."""
    os.link(draft, place)
    draft.unlink()
    recorder.note(Placed(place.name, place.read_bytes()))
    recorder.note(Removed(draft.name, synced=True))
