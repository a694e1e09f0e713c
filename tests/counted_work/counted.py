"""How much work a step is, counted and not timed: calls, statements, commits, bytes.

Everything runs in one thread, so that the counts are the same on any machine, but
for the version of Python and of the libraries.
"""

import asyncio
import sqlite3
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from benchmarks.sides.engine import Instant, batch_of
from saga import Orchestrator, SqliteStore
from saga.store.bridge import Connect, InlineBridge

SAGAS = 8
LEGS = 25


@dataclass(frozen=True, slots=True)
class Work:
    """What a step takes.

    Attributes:
        calls: of functions in Python.
        statements: that SQLite was given, on all connections.
        commits: of the connection that writes.
        bytes: by which the file has grown.
    """

    calls: float
    statements: float
    commits: float
    bytes: float

    def as_json(self) -> dict[str, float]:
        """Return it as JSON."""
        return {name: round(count, 4) for name, count in asdict(self).items()}


class _Counting(InlineBridge):
    """Counts the statements of every connection, and the commits."""

    statements = 0
    commits = 0

    async def open(self, connect: Connect) -> None:
        """Make the connection, and listen to it."""
        await super().open(connect)
        assert self._connection is not None
        self._connection.set_trace_callback(self._hear)

    @classmethod
    def _hear(cls, statement: str) -> None:
        cls.statements += 1
        cls.commits += statement == "COMMIT"


async def count(path: Path) -> Work:
    """Run sagas at once, and return what a step took; submitting a batch is part of it."""
    calls = 0

    def called(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    store = SqliteStore(path, bridge=_Counting)
    async with Orchestrator(store, [Instant()]) as engine:
        await engine.run(batch_of(LEGS))  # what is made once is made by now
        batches = [batch_of(LEGS) for _ in range(SAGAS)]
        before = await store.read(_size)
        _Counting.statements = _Counting.commits = 0
        sys.setprofile(called)
        try:
            await asyncio.gather(*(engine.run(batch) for batch in batches))
        finally:
            sys.setprofile(None)
        statements, commits = _Counting.statements, _Counting.commits
        after = await store.read(_size)
    steps = SAGAS * LEGS
    return Work(calls / steps, statements / steps, commits / steps, (after - before) / steps)


def _size(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (each,) = connection.execute("PRAGMA page_size").fetchone()
    return (int(pages) - int(free)) * int(each)
