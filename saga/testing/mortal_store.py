"""The engine's real store, in a process that can die before or after each of its commits."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from saga.clock import Clock
from saga.errors import StorePoisoned
from saga.events import Intended, SentAgain
from saga.fold import AttemptEvent
from saga.ids import Purpose
from saga.store.bridge import InlineBridge
from saga.store.protocol import Append, Change
from saga.store.sqlite import SqliteStore
from saga.testing.fate import Fate

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _MortalBridge(InlineBridge):
    """Runs in the caller, and waits for no disk: what dies here is a process, never the power."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run the function, unless the process is dead.

        Raises:
            StorePoisoned: it is; whoever hears this is dead as well.
        """
        if self._fate.dead:
            raise StorePoisoned("the process is dead, and writes nothing more")
        return await super().run(function, *arguments)

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Make the connection."""
        await super().open(connect)
        await self.run(lambda connection: connection.execute("PRAGMA synchronous = OFF"))


class MortalStore(SqliteStore):
    """A `SqliteStore` whose process has a fate."""

    def __init__(self, path: Path, clock: Clock, fate: Fate) -> None:
        super().__init__(path, clock=clock, bridge=lambda: _MortalBridge(fate))
        self._fate = fate

    async def append(self, append: Append) -> int:
        """Write the records, unless the process is dead by then."""
        what = ", ".join(_named(change) for change in append.changes)
        await self._fate.survive(f"before the record of {what} is durable")
        sequence = await super().append(append)
        await self._fate.survive(f"after the record of {what} is durable")
        return sequence

    async def release(self) -> None:
        """Give the store up; the dead do not."""
        if not self._fate.dead:
            await super().release()


def of_attempt(step: int, purpose: Purpose, number: int) -> str:
    """Return how an attempt is called in a story."""
    return f"step {step}, {purpose.value} {number}"


def _named(change: Change) -> str:
    event = change.event
    if isinstance(event, AttemptEvent | Intended | SentAgain):
        return f"{event.kind} ({of_attempt(event.step, event.purpose, event.number)})"
    return event.kind
