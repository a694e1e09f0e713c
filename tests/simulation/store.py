"""The store's place to run transactions in: inline, slow when drawn so, and full of crash points.

Every transaction of the connection that writes passes through here, in the order in which it was
handed in, and is outcome first and cancellation afterwards, as the thread's bridge promises.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

from saga.errors import StoreBusy
from saga.held import outcome_of
from saga.store.bridge import InlineBridge
from tests.simulation.life import Life

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StoreWatch(Protocol):
    """What the world does to transactions."""

    def before_write(self, life: Life, name: str) -> None:
        """Be about to run a transaction; may raise, and may end the process."""
        ...

    def behind_write(self, life: Life, name: str) -> None:
        """Have run a transaction, of which nobody knows yet; may raise, may end the process."""
        ...

    def slowness(self) -> float:
        """Return how many seconds the disk takes now; 0 is at once."""
        ...


class Busy(Exception):
    """The drawn fault is that somebody else holds the lock."""


class _SimulatedBridge(InlineBridge):
    """A bridge whose connection can be closed without a loop."""

    def let_go(self) -> None:
        """Close the connection, if it is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class WritingBridge(_SimulatedBridge):
    """Where the connection that writes runs."""

    def __init__(self, life: Life, watch: StoreWatch) -> None:
        super().__init__()
        self._life = life
        self._watch = watch
        self._last: asyncio.Future[None] | None = None

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run a transaction."""
        self._life.require_alive()
        wait = self._watch.slowness()
        if not wait and self._last is None:
            return await self._run_now(function, *arguments)
        loop = asyncio.get_running_loop()
        before, turn = self._last, loop.create_future()
        self._last = turn
        try:
            if before is not None:
                await outcome_of(before)
            await _pass(wait / 2)
            result = await self._run_now(function, *arguments)
        finally:
            turn.set_result(None)
            if self._last is turn:
                self._last = None
        await _pass(wait / 2)
        self._life.require_alive()
        return result

    async def _run_now(
        self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts
    ) -> T:
        life, name = self._life, _name_of(function)
        life.require_alive()
        try:
            self._watch.before_write(life, name)
        except Busy:
            raise StoreBusy("somebody else holds the lock (drawn)") from None
        result = await super().run(function, *arguments)
        life.proof_at = asyncio.get_running_loop().time()
        self._watch.behind_write(life, name)
        return result


class ReadingBridge(_SimulatedBridge):
    """Where the connection that reads runs."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Read."""
        self._life.require_alive()
        return await super().run(function, *arguments)


def _name_of(function: object) -> str:
    named: object = getattr(function, "func", function)
    return str(getattr(named, "__name__", "transaction"))


async def _pass(seconds: float) -> None:
    """Let time pass, whoever is cancelled meanwhile."""
    if seconds > 0:
        loop = asyncio.get_running_loop()
        rung: asyncio.Future[None] = loop.create_future()
        loop.call_later(seconds, _ring, rung)
        await outcome_of(rung)


def _ring(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
