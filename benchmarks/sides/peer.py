"""DBOS on its own SQLite file, with the settings that its documentation recommends.

Of the same work: a workflow is a batch, a step an order, and each returns what a fill says.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from dbos import DBOS, WorkflowHandleAsync

from benchmarks.sides.latencies import spread_of

Workflow = Callable[[int], Coroutine[Any, Any, None]]


def configured(folder: Path) -> Path:
    """Configure it, and return where its file is."""
    place = folder / "peer.sqlite"
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": f"sqlite:///{place}",
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    return place


def batch_of(on_step: Callable[[int], Awaitable[None]]) -> Workflow:
    """Return the workflow; its names are what a recovering process knows it by."""

    @DBOS.step(name="place")
    async def place(number: int) -> dict[str, str]:
        await on_step(number)
        return {"fill_id": f"fill {number}", "quantity": "20", "price": "10.5"}

    @DBOS.workflow(name="batch")
    async def batch(count: int) -> None:
        for number in range(count):
            await place(number)

    return batch


async def at_once(_: int) -> None:
    """Answer without waiting."""


def steps(folder: Path, *, concurrent: int, sagas: int, legs: int) -> dict[str, Any]:
    """Run workflows to their end, so many at once."""
    return asyncio.run(_steps(folder, concurrent, sagas, legs))


async def _steps(folder: Path, concurrent: int, sagas: int, legs: int) -> dict[str, Any]:
    configured(folder)
    batch = batch_of(at_once)
    DBOS.launch()
    latencies: list[float] = []
    left = iter(range(sagas))

    async def work() -> None:
        for _ in left:
            begun = time.perf_counter()
            handle: WorkflowHandleAsync[None] = await DBOS.start_workflow_async(batch, legs)
            await handle.get_result()
            latencies.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrent)))
    seconds = time.perf_counter() - begun
    DBOS.destroy()
    return {
        "rate": sagas * legs / seconds,
        "seconds_a_step": seconds / (sagas * legs),
        **spread_of(latencies),
    }


def resume(folder: Path, *, sagas: int, legs: int) -> dict[str, Any]:
    """Recover workflows that a process which is gone left half-way, and run them to their end."""
    child = os.fork()
    if child == 0:
        asyncio.run(_leave_half_way(folder, sagas, legs))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    return asyncio.run(_resume(folder, sagas, legs))


async def _leave_half_way(folder: Path, sagas: int, legs: int) -> None:
    configured(folder)
    waiting = 0
    all_wait, for_ever = asyncio.Event(), asyncio.Event()

    async def wait_half_way(number: int) -> None:
        nonlocal waiting
        if number == legs // 2:
            waiting += 1
            if waiting == sagas:
                all_wait.set()
            await for_ever.wait()

    batch = batch_of(wait_half_way)
    DBOS.launch()
    for _ in range(sagas):
        await DBOS.start_workflow_async(batch, legs)
    await all_wait.wait()
    os._exit(0)


async def _resume(folder: Path, sagas: int, legs: int) -> dict[str, Any]:
    configured(folder)
    steps = ended = 0
    all_ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def count_ends(number: int) -> None:  # recovery may run on a loop of its own
        nonlocal steps, ended
        steps += 1
        if number == legs - 1:
            ended += 1
            if ended == sagas:
                loop.call_soon_threadsafe(all_ended.set)

    batch_of(count_ends)
    begun = time.perf_counter()
    DBOS.launch()
    await all_ended.wait()
    seconds = time.perf_counter() - begun
    DBOS.destroy()
    return {
        "rate": sagas / seconds,
        "seconds": seconds,
        "seconds_a_saga": seconds / sagas,
        "steps": steps,
    }
