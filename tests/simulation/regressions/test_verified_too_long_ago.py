"""Seed 27709, once more: the answer that this process is the owner was older than the look allows.

The disk was slow. A send that came late after its intent asked who owns the store, and the answer
was read at once; but the process was frozen before it heard it, for longer than the look at the
fence may be old. Another process took the store over meanwhile, and after the thaw the order went
out (S12). Now an answer that took too long is asked for again.
"""

from pathlib import Path

import pytest

from saga.errors import OwnershipLost
from saga.events import Intended
from saga.orchestrator import Orchestrator
from saga.policy import FENCE_CHECK_SECONDS
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy
from tests.engine.test_fences_and_timeouts import TurnedClock, usurp


class SlowDisk(SqliteStore):
    """The intent's commit takes too long, and so does each answer about who owns the store."""

    def __init__(self, path: Path, clock: TurnedClock) -> None:
        super().__init__(path, clock=clock)
        self._turned = clock
        self.looks = 0

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        if any(isinstance(change.event, Intended) for change in append.changes):
            self._turned.turn(2 * FENCE_CHECK_SECONDS)
        return sequence

    async def verify_owner(self) -> None:
        await super().verify_owner()
        self.looks += 1
        self._turned.turn(2 * FENCE_CHECK_SECONDS)


class FrozenBehindTheLook(SlowDisk):
    """Another process takes the store over before the first answer is heard."""

    async def verify_owner(self) -> None:
        await super().verify_owner()
        if self.looks == 1:
            usurp(self.path)


@pytest.mark.requirement("S12", "S4")
async def test_an_owner_that_was_frozen_behind_its_look_at_the_fence_sends_nothing(
    tmp_path: Path,
) -> None:
    venue, clock = LyingVenue(), TurnedClock()
    store = FrozenBehindTheLook(tmp_path / "saga.db", clock)
    with pytest.raises(OwnershipLost):
        async with Orchestrator(store, [venue], clock=clock) as engine:
            await engine.run(batch(buy("KO")))
    assert venue.sent == []


@pytest.mark.requirement("S12", "L3")
async def test_where_every_answer_takes_too_long_the_order_is_withheld_and_says_why(
    tmp_path: Path,
) -> None:
    venue, clock = LyingVenue(), TurnedClock()
    async with Orchestrator(SlowDisk(tmp_path / "saga.db", clock), [venue], clock=clock) as engine:
        row = await engine.run(batch(buy("KO")))
        (trade,) = await engine.trades(row.batch_id)
    assert venue.sent == []
    assert row.state == "ROLLED_BACK"
    assert "still owns it" in str(trade.error)
