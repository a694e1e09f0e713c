"""How much work a step is, counted and not timed: calls, statements, commits, bytes, memory.

Everything runs in one thread, so that the counts are the same on any machine, but
for the version of Python and of the libraries.
"""

import asyncio
import gc
import sqlite3
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from benchmarks.sides.engine import HalfWay, Instant, batch_of
from saga import Orchestrator, SqliteStore
from saga.store.bridge import Connect, InlineBridge

SAGAS = 8
LEGS = 25
WAITING = 200


@dataclass(frozen=True, slots=True)
class Work:
    """What a step takes.

    Attributes:
        calls: of functions in Python.
        statements: that SQLite was given, on all connections.
        commits: of the connection that writes.
        bytes: by which the file has grown.
        blocks: of memory that a saga of one leg holds while its answer is awaited.
    """

    calls: float
    statements: float
    commits: float
    bytes: float
    blocks: float

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


async def count(folder: Path) -> Work:
    """Run sagas at once, and return what a step took; submitting a batch is part of it."""
    return Work(**await _of_a_step(folder / "steps.db"), blocks=await _held(folder / "held.db"))


async def _of_a_step(path: Path) -> dict[str, float]:
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
    return {
        "calls": calls / steps,
        "statements": statements / steps,
        "commits": commits / steps,
        "bytes": (after - before) / steps,
    }


async def _held(path: Path) -> float:
    venue = HalfWay(0, WAITING)
    async with Orchestrator(SqliteStore(path, bridge=InlineBridge), [venue]) as engine:
        for _ in range(WAITING // 2):  # what is made once is made by now
            await engine.submit(batch_of(1))
        before = _blocks()
        for _ in range(WAITING - WAITING // 2):
            await engine.submit(batch_of(1))
        await venue.all_wait.wait()
        held = _blocks() - before
        venue.let_go()
    return held / (WAITING - WAITING // 2)


def _blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def _size(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (each,) = connection.execute("PRAGMA page_size").fetchone()
    return (int(pages) - int(free)) * int(each)
