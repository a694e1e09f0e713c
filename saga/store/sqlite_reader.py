"""A SQLite store, opened only to read it: beside its owner, in another process, or at rest.

It makes no file, takes no migration and no ownership, and never writes a page; its one connection
can only read. What is asked of it runs as whole functions on a thread of its own.
"""

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, TypeVarTuple

from saga.errors import StoreError, StoreUnusable
from saga.quick_dataclass import dataclass
from saga.store import database, schema
from saga.store.bridge import Bridge, ThreadBridge
from saga.store.migration import pending
from saga.store.transaction import one_read

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_VERSION: Final = len(schema.MIGRATIONS)


@dataclass(frozen=True, slots=True)
class _Opened:
    place: Path
    file: database.FileId | None
    pid: int
    bridge: Bridge


class SqliteReader:
    """A store's file, open for reading alone.

    Args:
        path: the store's file.
        bridge: makes the place where the reading runs: a thread, or (in a simulation) the caller.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, bridge: Callable[[], Bridge] = ThreadBridge
    ) -> None:
        self._path = path
        self._bridge = bridge
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            StoreUnusable: there is none, it is no store, or one of another version; the sentence
                says which and what to do.
        """
        if self._opened is not None:
            raise StoreError(f"the store {self._path} is open already; use one `async with`")
        # A folder that is not there either is no case of its own: nothing is made here.
        place = Path(self._path)
        if not place.parent.exists() or not (place := database.located(place)).exists():
            raise StoreUnusable(
                f"there is no store {place}; name the file of one, or run a batch first"
            )
        bridge = self._bridge()
        try:
            await bridge.open(partial(database.connect_reader, place))
            await bridge.run(_check_version, place)
        except BaseException:
            await bridge.close()
            raise
        self._opened = _Opened(place, database.file_id(place), os.getpid(), bridge)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; no thread outlives this."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.bridge.close()

    async def read(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run a function on the connection.

        Raises:
            StoreError: the store is not open, cannot be read, or is another file by now.
        """
        opened = self._opened
        if opened is None:
            raise StoreError(f"the store {self._path} is not open; use it in its `async with`")
        if os.getpid() != opened.pid:
            raise StoreError(
                f"the store {opened.place} was opened by process {opened.pid}, and process "
                f"{os.getpid()} is a fork of it; open a store after forking, never before"
            )
        if database.file_id(opened.place) != opened.file:
            raise StoreError(
                f"the store {opened.place} was moved, removed or replaced while it was open; "
                "open it again"
            )
        try:
            return await opened.bridge.run(one_read, function, *arguments)
        except database.UNREADABLE as error:
            raise StoreError(f"the store {opened.place} cannot be read: {error}") from error


def _check_version(connection: sqlite3.Connection, place: Path) -> None:
    try:
        missing = pending(connection, schema.COMPONENT, schema.MIGRATIONS)
    except database.UNREADABLE as error:
        raise StoreUnusable(
            f"the store {place} does not say its version: {error}; restore it from a backup"
        ) from error
    except StoreUnusable as error:
        raise StoreUnusable(f"the store {place} cannot be read: {error}") from error
    if missing:
        raise StoreUnusable(
            f"the tables of the store {place} have version {_VERSION - len(missing)}, but this "
            f"program reads version {_VERSION}; let the engine open it once, which migrates it: "
            "`saga run` without a file does, and carries on what is unfinished"
        )
