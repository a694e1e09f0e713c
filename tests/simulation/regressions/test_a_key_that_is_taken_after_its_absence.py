"""Seed 7444: an order that was called absent came all the same, for another quantity.

The venue takes whole lots only, and says nothing: of 39.5 it made 39. The call was later than the
venue's own window, so the key had been proven absent by then. Asked once more before the end, the
broker said that the key names another order. That was counted as silence, 120 times, for an hour
(L1). Now it is what it is: nobody can tell what became of the order, and a person is called.
"""

from pathlib import Path

import anyio
import pytest

from saga.outcome import Report
from saga.participant import Attempt, KeyTaken
from saga.policy import Capabilities
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


@pytest.mark.requirement("L1", "S6")
async def test_a_key_that_turns_out_to_be_taken_calls_a_person_at_once(tmp_path: Path) -> None:
    venue = LyingVenue(
        Capabilities(
            visibility_seconds=0.0, call_timeout_seconds=0.5, poll_seconds=0.02, tombstone=True
        )
    )
    asked: list[str] = []

    async def lost(_: Attempt) -> Report:
        raise TimeoutError

    async def not_found_at_first(attempt: Attempt) -> Report | None:
        asked.append(attempt.key)
        if len(asked) > 3:
            raise KeyTaken("39 of it, and not 39.5")
        return None

    venue.on_send["AAPL"], venue.on_look_up["AAPL"] = lost, not_found_at_first
    order = buy("AAPL", retry={"attempts": 1})
    async with engine_on(tmp_path, venue) as engine:
        batch_id = await engine.submit(batch(order))
        while not asked:  # noqa: ASYNC110 - the venue is no task of ours
            await anyio.sleep(0.005)
        await engine.cancel(batch_id, by="ann", reason="enough")
        row = await engine.wait(batch_id, timeout=20)

    assert row.state == "STALE"
    assert row.reason is not None
    assert "39 of it, and not 39.5" in row.reason
