"""Our engine, with the settings that are shipped, and a participant that answers at once."""

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final, TypeVar, TypeVarTuple

import anyio

from benchmarks.sides.latencies import lateness_of, spread_of
from brokers import Buy
from saga import Batch, ExecutionMode, Limits, Orchestrator, Priority, SqliteStore
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.policy import Capabilities
from saga.store.bridge import ThreadBridge
from saga.store.marked import commit_appends

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PRICE: Final = Decimal("10.5")
SYMBOLS: Final = ("KO", "PEP", "MSFT", "AAPL", "XOM", "JNJ", "PG", "WMT", "CVX", "MRK")
UNTIL_STOPPING_SECONDS: Final = 0.3
"""So long after it has begun to be left, an engine surely begins nothing new."""


class Instant:
    """A participant that fills every order at once, and waits for nothing."""

    name = "instant"
    kinds = frozenset({"buy", "sell"})
    capabilities = Capabilities()

    def check(self, directive: object) -> None:
        """Take everything."""

    async def send(self, attempt: Attempt) -> Report:
        """Fill it."""
        fill = Fill(attempt.key, attempt.directive.amount, PRICE)
        return Report(final=True, fills=(fill,), reference=attempt.key)

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Never asked."""
        raise NotImplementedError(attempt.key)

    async def withdraw(self, attempt: Attempt) -> None:
        """Never asked."""
        raise NotImplementedError(attempt.key)


class Refusing(Instant):
    """Refuses one leg, and notes when, and when the first order to undo arrives."""

    def __init__(self, leg: int) -> None:
        self._leg = leg
        self.refused_at = 0.0
        self.undone_at: float | None = None

    async def send(self, attempt: Attempt) -> Report:
        """Fill it, unless it is the leg that is refused."""
        if attempt.directive.kind == "sell" and self.undone_at is None:
            self.undone_at = time.perf_counter()
        if attempt.directive.kind == "buy" and attempt.step == self._leg:
            self.refused_at = time.perf_counter()
            return Report(final=True, reason="not today")
        return await super().send(attempt)


class HalfWay(Instant):
    """Answers for the middle leg only once it is let go."""

    capabilities = Capabilities(call_timeout_seconds=3600.0)  # else the first would be asked about

    def __init__(self, leg: int, count: int) -> None:
        self._leg = leg
        self._count = count
        self._let_go = asyncio.Event()
        self._waiting = 0
        self.all_wait = asyncio.Event()

    async def send(self, attempt: Attempt) -> Report:
        """Fill it, but wait before the answer if it is the middle leg."""
        if attempt.step == self._leg:
            self._waiting += 1
            if self._waiting == self._count:
                self.all_wait.set()
            await self._let_go.wait()
        return await super().send(attempt)

    async def let_go_later(self) -> None:
        """Answer for all that wait, once the engine begins nothing new."""
        await asyncio.sleep(UNTIL_STOPPING_SECONDS)
        self.let_go()

    def let_go(self) -> None:
        """Answer for all that wait."""
        self._let_go.set()


def order_of(leg: int) -> Buy:
    """Return one leg."""
    return Buy(directive_id=f"EXE_{leg}", symbol=SYMBOLS[leg % len(SYMBOLS)], quantity=20)


def batch_of(legs: int, mode: ExecutionMode = ExecutionMode.ATOMIC) -> Batch:
    """Return a batch of so many orders."""
    return Batch(directives=tuple(order_of(leg) for leg in range(legs)), execution_mode=mode)


async def at_once(count: int, concurrent: int, one: Callable[[], Awaitable[None]]) -> None:
    """Do it so many times, so many at once."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await one()

    async with anyio.create_task_group() as group:
        for _ in range(concurrent):
            group.start_soon(work)


def steps(
    folder: Path, *, concurrent: int, sagas: int, legs: int, uvloop: bool = False
) -> dict[str, Any]:
    """Run sagas to their end, so many at once, while somebody reads all events."""
    work = partial(_steps, folder, concurrent, sagas, legs)
    return anyio.run(work, backend_options={"use_uvloop": uvloop})


async def _steps(folder: Path, concurrent: int, sagas: int, legs: int) -> dict[str, Any]:
    records = 0
    latencies: list[float] = []
    store = SqliteStore(folder / "saga.db")
    limits = Limits(max_running=max(concurrent, Limits().max_running))
    batches = [batch_of(legs) for _ in range(sagas)]
    async with Orchestrator(store, [Instant()], limits=limits) as engine:

        async def read() -> None:
            nonlocal records
            async for _ in engine.events():
                records += 1

        async def one() -> None:
            begun = time.perf_counter()
            row = await engine.run(batches.pop())
            assert row.state == "COMPLETED", row
            latencies.append(time.perf_counter() - begun)

        engine.beside(read)
        begun = time.perf_counter()
        await at_once(sagas, concurrent, one)
        seconds = time.perf_counter() - begun
    return {
        "rate": sagas * legs / seconds,
        "seconds_a_step": seconds / (sagas * legs),
        **spread_of(latencies),
        "records_read": records,
    }


def undo(folder: Path, *, times: int) -> dict[str, Any]:
    """Tell how long it takes from a refused leg to the first order that undoes."""
    return asyncio.run(_undo(folder, times))


async def _undo(folder: Path, times: int) -> dict[str, Any]:
    waits = []
    for number in range(times):
        venue = Refusing(leg=2)
        async with Orchestrator(SqliteStore(folder / f"{number}.db"), [venue]) as engine:
            row = await engine.run(batch_of(3))
        assert row.state == "ROLLED_BACK", row
        assert venue.undone_at is not None
        waits.append(venue.undone_at - venue.refused_at)
    waits.sort()
    return {"seconds": waits[len(waits) // 2]}


def resume(folder: Path, *, sagas: int, legs: int) -> dict[str, Any]:
    """Take sagas up that were left half-way, and run them to their end."""
    return asyncio.run(_resume(folder, sagas, legs))


async def _resume(folder: Path, sagas: int, legs: int) -> dict[str, Any]:
    path = folder / "saga.db"
    limits = Limits(max_running=sagas, max_queued=sagas, grace_seconds=600.0)
    venue = HalfWay(legs // 2 - 1, sagas)
    async with Orchestrator(SqliteStore(path), [venue], limits=limits) as engine:

        async def submit() -> None:
            await engine.submit(batch_of(legs))

        await at_once(sagas, 64, submit)
        await venue.all_wait.wait()
        later = asyncio.create_task(venue.let_go_later())
    await later
    ended = 0
    all_ended = asyncio.Event()

    async def count(_: object) -> None:
        nonlocal ended
        ended += 1
        if ended == sagas:
            all_ended.set()

    begun = time.perf_counter()
    async with Orchestrator(SqliteStore(path), [Instant()], limits=limits) as engine:
        engine.on_outcome(count)
        open_seconds = time.perf_counter() - begun
        await all_ended.wait()
        seconds = time.perf_counter() - begun
    return {
        "rate": sagas / seconds,
        "seconds": seconds,
        "seconds_a_saga": seconds / sagas,
        "open": open_seconds,
    }


def size(folder: Path, *, sagas: int, legs: int) -> dict[str, Any]:
    """Tell how many bytes on disk a step takes."""
    path = folder / "saga.db"

    async def run() -> None:
        async with Orchestrator(SqliteStore(path), [Instant()]) as engine:

            async def one() -> None:
                await engine.run(batch_of(legs))

            await at_once(1, 1, one)
            before.append(await _pages(engine.store))
            await at_once(sagas, 16, one)
            before.append(await _pages(engine.store))

    before: list[int] = []
    asyncio.run(run())
    first, last = before
    return {"bytes": (last - first) / (sagas * legs)}


async def _pages(store: Any) -> int:
    def ask(connection: Any) -> int:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        (each,) = connection.execute("PRAGMA page_size").fetchone()
        return int(count) * int(each)

    return int(await store.read(ask))


def memory(folder: Path, *, sagas: int) -> dict[str, Any]:
    """Tell how much memory a saga takes while it is in flight, waiting for an answer."""
    return asyncio.run(_memory(folder, sagas))


async def _memory(folder: Path, sagas: int) -> dict[str, Any]:
    venue = HalfWay(0, sagas)
    limits = Limits(max_running=sagas, max_queued=sagas, grace_seconds=600.0)
    async with Orchestrator(SqliteStore(folder / "saga.db"), [venue], limits=limits) as engine:
        gc.collect()
        before = _resident()

        async def submit() -> None:
            await engine.submit(batch_of(1))

        await at_once(sagas, 64, submit)
        await venue.all_wait.wait()
        gc.collect()
        after = _resident()
        later = asyncio.create_task(venue.let_go_later())
    await later
    return {"bytes": (after - before) / sagas}


def _resident() -> int:
    """Return how much of this process lies in memory, in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stall(folder: Path, *, sagas: int, legs: int) -> dict[str, Any]:
    """Tell how late a timer of somebody else rings on the loop while sagas run."""
    return asyncio.run(_stall(folder, sagas, legs))


async def _stall(folder: Path, sagas: int, legs: int) -> dict[str, Any]:
    batches = [batch_of(legs) for _ in range(sagas)]
    async with Orchestrator(SqliteStore(folder / "saga.db"), [Instant()]) as engine:

        async def one() -> None:
            await engine.run(batches.pop())

        return await _late_while(lambda: at_once(sagas, sagas, one))


def taking_in(folder: Path, *, legs: int) -> dict[str, Any]:
    """Tell how late a timer of somebody else rings on the loop while a long batch is taken in."""
    return asyncio.run(_taking_in(folder, legs))


async def _taking_in(folder: Path, legs: int) -> dict[str, Any]:
    batch = batch_of(legs)
    async with Orchestrator(SqliteStore(folder / "saga.db"), [Instant()]) as engine:
        return await _late_while(lambda: engine.submit(batch))


def carrying_out(folder: Path, *, legs: int) -> dict[str, Any]:
    """Tell how late a timer of somebody else rings while all legs of a long batch are under way."""
    return asyncio.run(_carrying_out(folder, legs))


async def _carrying_out(folder: Path, legs: int) -> dict[str, Any]:
    batch = batch_of(legs, mode=ExecutionMode.PARALLEL)
    async with Orchestrator(SqliteStore(folder / "saga.db"), [Instant()]) as engine:
        await engine.submit(batch)
        return await _late_while(lambda: engine.wait(batch.batch_id))


async def _late_while(work: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    late: list[float] = []
    pause = 0.001
    seconds = 0.0

    async def watch() -> None:
        nonlocal seconds
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(pause)
            rang = time.perf_counter()
            late.append(rang - begun - pause)
            seconds += rang - begun

    watching = asyncio.create_task(watch())
    await work()
    await asyncio.sleep(2 * pause)  # what stood still to the end is heard as well
    watching.cancel()
    return lateness_of(late, seconds)


def overtaking(folder: Path, *, low: int) -> dict[str, Any]:
    """Tell behind how many commits a HIGH batch becomes durable while many LOW ones are written."""
    return asyncio.run(_overtaking(folder, low))


class CountingCommits(ThreadBridge):
    """Counts the transactions that write, of all stores."""

    commits = 0

    async def run(self, function: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run one."""
        result = await super().run(function, *arguments)
        CountingCommits.commits += function.__name__ == commit_appends.__name__
        return result


async def _overtaking(folder: Path, low: int) -> dict[str, Any]:
    CountingCommits.commits = 0
    limits = Limits(max_running=low + 1, max_queued=low + 1)
    store = SqliteStore(folder / "saga.db", bridge=CountingCommits)
    async with Orchestrator(store, [Instant()], limits=limits) as engine:
        legs = batch_of(20).directives

        async def one(priority: Priority) -> None:
            batch = Batch(directives=legs, execution_mode=ExecutionMode.ATOMIC, priority=priority)
            await engine.submit(batch)

        async with anyio.create_task_group() as group:
            for _ in range(low):
                group.start_soon(one, Priority.LOW)
            while not CountingCommits.commits:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            before = CountingCommits.commits
            await one(Priority.HIGH)
            waited = CountingCommits.commits - before
            group.cancel_scope.cancel()
    return {"commits": waited}
