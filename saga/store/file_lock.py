"""The kernel's lock on a store's own file: held by its owner, and let go at its death.

It is seen through any wall between processes, and by whatever name the file is opened. It only ever
refuses; the fence in the tables is what keeps a process that lost its place from writing.

It is taken on the very descriptor by which SQLite has the file open for writing. One of our own
would do harm when it is closed: POSIX drops with it all locks that SQLite has on the file in this
process. On a local file system of Linux SQLite's locks and this one (`flock`) are apart; anywhere
else they may be one, so nothing is locked there.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from saga.store.database import FileId
from saga.store.file_system import unfit

_DESCRIPTORS: Final = Path("/proc/self/fd")


class FileLock:
    """The lock on one store's file, through the connection that writes.

    Args:
        place: the file's path.
        file: what file it is; the one connection of this process that writes to it is open.
    """

    def __init__(self, place: Path, file: FileId) -> None:
        fits = sys.platform == "linux" and unfit(place.parent) is None
        self._descriptor = _opened_for_writing(file) if fits else None
        self._pid = os.getpid()

    def take(self) -> bool | None:
        """Return whether this process has the lock now; None where it cannot be told.

        Harmless when it has it already.
        """
        if self._descriptor is None:
            return None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without such locks
            return None
        return True

    def let_go(self) -> None:
        """Let the lock go; harmless when it is not held, and in a fork, which shares it."""
        if self._descriptor is not None and os.getpid() == self._pid:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _opened_for_writing(file: FileId) -> int | None:
    """Return the descriptor by which this process has a file open to write; None if untold."""
    try:
        names = [each.name for each in _DESCRIPTORS.iterdir()]
    except OSError:
        return None
    for descriptor in map(int, names):
        with suppress(OSError):  # it was closed meanwhile, as the one that listed them is
            found = os.fstat(descriptor)
            mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
            if (found.st_dev, found.st_ino) == file and mode == os.O_RDWR:
                return descriptor
    return None
