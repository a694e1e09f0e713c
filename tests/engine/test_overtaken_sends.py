"""A look at the fence may be slow, and be overtaken: what was decided before it is judged anew."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from saga.events import Intended, Withheld
from saga.gate import PastIntent, Refusal
from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.participant import Attempt
from saga.policy import FENCE_CHECK_SECONDS
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow
from tests.engine.lying_venue import LyingVenue, batch, buy
from tests.engine.test_fences_and_timeouts import TurnedClock

PATIENCE = 20.0


class SlowLook(SqliteStore):
    """So much time goes by behind an intent that the fence is looked at; `then` happens then."""

    then: Callable[[], Awaitable[object]] | None = None

    def __init__(self, path: Path, clock: TurnedClock) -> None:
        super().__init__(path, clock=clock)
        self._turned = clock

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        if any(isinstance(change.event, Intended) for change in append.changes):
            self._turned.turn(2 * FENCE_CHECK_SECONDS)
        return sequence

    async def verify_owner(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            await then()
        await super().verify_owner()


class CountingGate:
    """Lets everything pass, and counts what it is asked."""

    limits = "{}"
    memory = timedelta(0)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def recall(self, past: PastIntent) -> None:
        """It remembers nothing."""

    async def judge_batch(self, batch: Batch, now: object) -> Refusal | None:
        return None

    async def judge(self, attempt: Attempt, batch: Batch, now: object) -> Refusal | None:
        self.asked.append("judge")
        return None

    async def lowers_exposure(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        self.asked.append("lowers_exposure")
        return None

    def withheld(self, attempt: Attempt) -> None:
        self.asked.append("withheld")


class Scene:
    """One order whose send is late, and what happens during the look at the fence."""

    def __init__(self, folder: Path, gate: CountingGate | None = None) -> None:
        self.clock = TurnedClock()
        self.venue = LyingVenue()
        self.store = SlowLook(folder / "saga.db", self.clock)
        self.engine = Orchestrator(self.store, [self.venue], clock=self.clock, gate=gate)
        self.order = batch(buy("KO"), timeout_seconds=60)

    async def play(self, then: Callable[[], Awaitable[object]]) -> BatchRow:
        """Run the order to its end."""
        async with self.engine as engine:
            self.store.then = then
            return await engine.run(self.order, timeout=PATIENCE)

    async def withheld(self) -> list[str]:
        """The limits that orders were withheld by."""
        async with SqliteStore(self.store.path) as store:
            journal = await store.journal(self.order.batch_id)
        return [each.event.limit for each in journal if isinstance(each.event, Withheld)]


@pytest.mark.requirement("S13")
async def test_reducing_that_comes_during_the_look_at_the_fence_is_heeded(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    row = await scene.play(lambda: scene.engine.reduce(by="risk", reason="only lower"))
    assert (row.status, scene.venue.sent) == ("failed", [])
    assert await scene.withheld() == ["trading_state"]


@pytest.mark.requirement("S13")
async def test_what_lowers_an_exposure_is_charged_once_though_it_is_judged_again(
    tmp_path: Path,
) -> None:
    gate = CountingGate()
    scene = Scene(tmp_path, gate)
    row = await scene.play(lambda: scene.engine.reduce(by="risk", reason="only lower"))
    assert (row.status, len(scene.venue.sent)) == ("success", 1)
    assert gate.asked == ["judge", "lowers_exposure"]


async def test_a_look_at_the_fence_that_outlasts_the_deadline_sends_nothing(
    tmp_path: Path,
) -> None:
    gate = CountingGate()
    scene = Scene(tmp_path, gate)

    async def too_long() -> None:
        scene.clock.turn(61)

    row = await scene.play(too_long)
    assert (row.status, scene.venue.sent) == ("failed", [])
    assert await scene.withheld() == ["too_late"]
    assert gate.asked == ["judge", "withheld"]


async def test_a_cancel_that_comes_during_the_look_at_the_fence_is_heeded(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    who = {"by": "ann", "reason": "wrong file"}
    row = await scene.play(lambda: scene.engine.cancel(scene.order.batch_id, **who))
    assert (row.status, scene.venue.sent) == ("cancelled", [])
    assert await scene.withheld() == ["too_late"]
