"""Seed 1061: waiting at an engine that had been taken over ate the processor.

Process 2 took the store over from process 1, accepted a batch, and died. A client asked process 1,
which did not know yet that it was fenced, to wait for that batch. Nobody in process 1 drove it, and
it was not at rest: `Orchestrator.wait` went round without letting any time pass (L5). Now it looks
whether it is still the owner, says so if it is not, and else looks again a moment later.
"""

import asyncio
from pathlib import Path

import pytest

from saga.errors import OwnershipLost
from saga.limits import Limits
from saga.outcome import Report
from saga.participant import Attempt
from saga.store import database
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


@pytest.mark.requirement("L5", "S12")
async def test_who_waits_at_an_engine_that_was_fenced_is_told_so(tmp_path: Path) -> None:
    venue = LyingVenue()

    async def hangs(_: Attempt) -> Report:
        await asyncio.Event().wait()
        raise AssertionError

    venue.on_send["AAPL"] = hangs
    async with engine_on(tmp_path, LyingVenue()) as first:
        found = database.file_id(tmp_path / "saga.db")
        assert found is not None
        database.unclaim(found)  # as if the second one were another process
        hasty = Limits(grace_seconds=0.05)
        async with engine_on(tmp_path, venue, take_over=True, limits=hasty) as second:
            batch_id = await second.submit(batch(buy("AAPL")))

            with pytest.raises(OwnershipLost, match="taken over"):
                await first.wait(batch_id, timeout=20)
