"""The files of a simulated machine: cheap, in memory, and what is left of them after a crash.

Each crash with nobody else left alive goes on in a new folder, with copies of what was on the disk
at that moment: as the last commit left it (L2), or with the tail of a commit that nobody was told
of torn, or garbage behind the last one (L3).
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.simulation.streams import chance

FILE: Final = "saga.db"
_IN_MEMORY: Final = Path("/dev/shm")
_NOT_ON_DISK: Final = ("-shm",)
"""Suffixes of files that hold nothing that would survive."""


def scratch() -> Path:
    """Return a new private folder, in memory where the system has such a place."""
    inside = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="trade-saga-simulation-", dir=inside))


class Disk:
    """The files of one seed.

    Args:
        folder: where; emptied at the end of the seed.
        template: the files of a store that was closed in good order, by name.
        stream: what a power loss leaves.
    """

    def __init__(self, folder: Path, template: Mapping[str, bytes], stream: Random) -> None:
        self._root = folder
        self._stream = stream
        self._generation = 0
        self._folder = folder / "0"
        self._folder.mkdir()
        self._judge: sqlite3.Connection | None = None
        for name, content in template.items():
            (self._folder / name).write_bytes(content)

    @property
    def store(self) -> Path:
        """The store's file as it is now."""
        return self._folder / FILE

    def side_files(self) -> dict[str, bytes]:
        """Return what stands beside the store's own file now, by name: its log and its mark."""
        return {
            each.name: each.read_bytes()
            for each in sorted(self._folder.iterdir())
            if each.name != FILE and not each.name.endswith(_NOT_ON_DISK)
        }

    def go_on(self, *, power: bool, before: Mapping[str, bytes] | None) -> str:
        """Go on with what a crash left.

        Args:
            power: the power was lost, not only the process.
            before: the files beside the store before a commit that nobody was told of; None if
                there was no such commit.

        Returns:
            What became of the log, in words.
        """
        self._close_judge()
        old, self._generation = self._folder, self._generation + 1
        self._folder = self._root / str(self._generation)
        self._folder.mkdir()
        for each in sorted(old.iterdir()):
            if each.is_file() and not each.name.endswith(_NOT_ON_DISK):
                shutil.copyfile(each, self._folder / each.name)
        return self._lose_power(before) if power else "the log stays whole"

    def _lose_power(self, before: Mapping[str, bytes] | None) -> str:
        log = self._folder / f"{FILE}-wal"
        after = log.read_bytes() if log.exists() else b""
        if before is not None and before.get(log.name, b"") != after:
            for name, content in before.items():  # the mark is written behind the commit
                (self._folder / name).write_bytes(content)
            earlier = before.get(log.name, b"")
            cut = self._cut(earlier, after)
            log.write_bytes(after[:cut] + earlier[cut:])
            return f"the log is torn at byte {cut} of {len(after)}"
        if after and chance(self._stream, 0.7):
            length = 1 + int(self._stream.random() * 9000)
            log.write_bytes(after + self._stream.randbytes(length))
            return f"{length} bytes of garbage stand behind the log"
        return "the log stays whole"

    def _cut(self, before: bytes, after: bytes) -> int:
        """Draw how many of the bytes that were written last came to the disk."""
        low, high = 0, min(len(before), len(after))
        while low < high:  # the first byte in which they differ: both begin alike
            middle = (low + high + 1) // 2
            if before[low:middle] == after[low:middle]:
                low = middle
            else:
                high = middle - 1
        return low + int(self._stream.random() * (len(after) - low))

    def look(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what a function reads in the file, over a connection that only judges use."""
        if self._judge is None:
            self._judge = sqlite3.connect(
                f"file:{quote(str(self.store))}?mode=ro", uri=True, isolation_level=None
            )
        return function(self._judge, *arguments)

    def _close_judge(self) -> None:
        if self._judge is not None:
            self._judge.close()
            self._judge = None

    def close(self) -> None:
        """Remove everything."""
        self._close_judge()
        shutil.rmtree(self._root / "0", ignore_errors=True)
        for generation in range(1, self._generation + 1):
            shutil.rmtree(self._root / str(generation), ignore_errors=True)
