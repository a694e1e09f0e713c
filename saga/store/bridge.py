"""Runs plain functions over a `sqlite3.Connection`: on a thread of its own, or in the caller.

Each function is a whole transaction, so that no half of one can ever be left behind. Whoever waits
for it is shielded from cancellation: a cancelled `COMMIT` commits all the same, and a caller that
had gone would not know it. The outcome is handed over first, and the cancellation after it.

This is the only file that knows aiosqlite, and the only one that touches its private parts.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar, TypeVarTuple

import aiosqlite

from saga.held import outcome_of

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Connect = Callable[[], sqlite3.Connection]

_CHUNK = 64  # Asked for by aiosqlite; only its own cursors, which are not used here, look at it.


class Bridge(Protocol):
    """A place where functions over one connection run, one after the other."""

    async def open(self, connect: Connect) -> None:
        """Make the connection with `connect`; what that raises comes out here; nothing leaks."""
        ...

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run the function with the connection and return what it returns, cancelled or not."""
        ...

    async def close(self) -> None:
        """Close the connection; harmless when it is not open. No thread outlives this."""
        ...


class InlineBridge:
    """Runs each function at once in the caller: for a simulation, which must be deterministic."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    async def open(self, connect: Connect) -> None:
        """Make the connection."""
        self._connection = connect()

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run the function and return what it returns."""
        if self._connection is None:
            raise ValueError("the connection is closed")
        return function(self._connection, *arguments)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ThreadBridge:
    """Runs each function on aiosqlite's thread, in the order in which they were handed in."""

    def __init__(self) -> None:
        self._thread: _DatabaseThread | None = None

    async def open(self, connect: Connect) -> None:
        """Start the thread and make the connection on it."""
        thread = _DatabaseThread(connect)
        try:
            await outcome_of(asyncio.ensure_future(thread.start()))
        except BaseException:
            thread.join()
            raise
        self._thread = thread

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run the function on the thread and return what it returns."""
        if self._thread is None:
            raise ValueError("the connection is closed")
        return await outcome_of(self._thread.queue(function, *arguments))

    async def close(self) -> None:
        """Close the connection once everything handed in has run, and end the thread."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            try:
                await outcome_of(asyncio.ensure_future(thread.close()))
            finally:
                thread.join()


class _DatabaseThread(aiosqlite.Connection):
    """aiosqlite's connection, with a call that runs a whole function on its thread.

    It hands the function over as `_execute` does, but waits on a bare future: a task around
    `_execute` would be cancelled by a loop that shuts down, and the outcome lost with it.
    """

    def __init__(self, connect: Connect) -> None:
        super().__init__(connect, iter_chunk_size=_CHUNK)
        # A program that leaves without closing must not hang in the interpreter's exit.
        self._thread.daemon = True

    async def start(self) -> None:
        """Start the thread and make the connection; the thread ends again where that fails."""
        await self

    def queue(
        self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts
    ) -> asyncio.Future[T]:
        """Hand a function to the thread."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(function, self._conn, *arguments)))
        return future

    def join(self) -> None:
        """Wait for the thread, which has been told to end and has nothing left to do."""
        self._thread.join()
