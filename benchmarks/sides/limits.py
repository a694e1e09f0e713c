"""What each thing that a step is made of costs by itself: no step can be faster than their sum."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from benchmarks.sides.disk import rows
from benchmarks.sides.engine import order_of
from benchmarks.sides.store import START, events_of_life
from saga.events import encode
from saga.fold import fold
from saga.machine import StepLife, StepTrigger
from saga.store.bridge import ThreadBridge
from saga.store.chain import digest_of

LEGS = 10
ROW_BYTES = 300


def alone(folder: Path, *, times: int) -> dict[str, float]:
    """Tell what each of them costs, in microseconds."""
    events = list(events_of_life(LEGS))
    records = [(number, START, event) for number, event in enumerate(events, 1)]
    life = StepLife()
    life.fire(StepTrigger.SEND)

    def there_and_back() -> None:
        life.fire(StepTrigger.LOSE)
        life.fire(StepTrigger.SEND_AGAIN)

    def written() -> None:
        digest_of(bytes(32), 1, 1, events[-2].kind, encode(events[-2]))

    return {
        "commit": 1e6 / rows(folder, count=times, a_commit=1, size=ROW_BYTES)["rate"],
        "hop": asyncio.run(_hop(folder / "hop.db", times)),
        "task": asyncio.run(_task(times)),
        "validation": _microseconds(partial(order_of, 1), times),
        "trigger": _microseconds(there_and_back, times) / 2,
        "fold": _microseconds(lambda: fold(records), times) / len(records),
        "record": _microseconds(written, times),
    }


def _microseconds(work: Callable[[], object], times: int) -> float:
    work()
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times * 1e6


async def _waited(work: Callable[[], Awaitable[object]], times: int) -> float:
    await work()
    begun = time.perf_counter()
    for _ in range(times):
        await work()
    return (time.perf_counter() - begun) / times * 1e6


async def _hop(path: Path, times: int) -> float:
    bridge = ThreadBridge()
    await bridge.open(lambda: sqlite3.connect(path, check_same_thread=False))
    try:
        return await _waited(lambda: bridge.run(lambda _: None), times)
    finally:
        await bridge.close()


async def _task(times: int) -> float:
    async def nothing() -> None:
        pass

    loop = asyncio.get_running_loop()
    return await _waited(lambda: loop.create_task(nothing()), times)
