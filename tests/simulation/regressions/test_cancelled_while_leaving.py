"""Seed 781: an engine that was cancelled while it was being left went on without its owner.

Somebody asked process 2 to leave; one of its calls was under way, so it waited for that. Before the
call was over the task was cancelled, as a second Ctrl-C does (F11). `Orchestrator.__aexit__` ended
there and then: the store stayed open and owned, and the heartbeat, the alarms and the runners went
on in tasks that nobody held (L5). Now whatever cancels the wait, everything is ended and given up.
"""

import asyncio
from pathlib import Path

import pytest

from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy


@pytest.mark.requirement("L5")
async def test_an_engine_that_is_cancelled_while_it_is_left_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    under_way = asyncio.Event()

    async def hangs(_: Attempt) -> Report:
        under_way.set()
        await asyncio.Event().wait()
        raise AssertionError

    venue.on_send["AAPL"] = hangs
    store = SqliteStore(tmp_path / "saga.db")
    leave = asyncio.Event()
    before = asyncio.all_tasks()

    async def live() -> None:
        async with Orchestrator(store, [venue]) as engine:
            await engine.submit(batch(buy("AAPL")))
            await under_way.wait()
            leave.set()

    life = asyncio.ensure_future(live())
    await leave.wait()
    await asyncio.sleep(0)  # it waits for the call now
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life

    assert asyncio.all_tasks() <= before
    async with SqliteStore(tmp_path / "saga.db") as again:
        owner = await again.owner()
        assert owner is not None
        assert owner.released
