"""The gate and the fence may be slow, and be overtaken: what was decided before is judged anew."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
import pytest

from saga.clock import SystemClock
from saga.events import Intended, Withheld
from saga.gate import PastIntent, Refusal
from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.outcome import Report
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


class Queue(CountingGate):
    """A gate that lets the first order wait for its turn, in which `then` happens."""

    then: Callable[[], Awaitable[object]] | None = None

    async def judge(self, attempt: Attempt, batch: Batch, now: object) -> Refusal | None:
        refusal = await super().judge(attempt, batch, now)
        then, self.then = self.then, None
        if then is not None:
            await then()
        return refusal


class JumpingClock(SystemClock):
    """A wall that is put forward."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


class AtTheGate:
    """One order that waits at the gate, and what happens meanwhile."""

    who: Final[Mapping[str, str]] = {"by": "ann", "reason": "wrong file"}

    def __init__(self, folder: Path) -> None:
        self.venue, self.gate, self.clock = LyingVenue(), Queue(), JumpingClock()
        self.path = folder / "saga.db"
        self.order = batch(buy("KO"))

    def opened(self) -> Orchestrator:
        """An engine with this gate."""
        store = SqliteStore(self.path, clock=self.clock)
        return Orchestrator(store, [self.venue], gate=self.gate, clock=self.clock)

    @asynccontextmanager
    async def engine(
        self, then: Callable[[Orchestrator], Awaitable[object]]
    ) -> AsyncIterator[Orchestrator]:
        """An engine in which the order is under way, from behind what happens at the gate."""
        done = anyio.Event()
        async with self.opened() as engine:

            async def happen() -> None:
                await then(engine)
                done.set()

            self.gate.then = happen
            await engine.submit(self.order)
            with anyio.fail_after(PATIENCE):
                await done.wait()
            await anyio.wait_all_tasks_blocked()
            yield engine


@pytest.mark.requirement("B9")
async def test_a_cancel_that_is_answered_while_an_order_waits_at_the_gate_keeps_it_in(
    tmp_path: Path,
) -> None:
    scene = AtTheGate(tmp_path)
    async with scene.engine(lambda e: e.cancel(scene.order.batch_id, **scene.who)) as engine:
        row = await engine.wait(scene.order.batch_id, timeout=PATIENCE)
    assert (row.status, scene.venue.sent) == ("cancelled", [])
    assert scene.gate.asked == ["judge", "withheld"]


@pytest.mark.requirement("B9")
async def test_an_order_that_waits_at_the_gate_when_its_batch_is_paused_is_judged_anew_behind_it(
    tmp_path: Path,
) -> None:
    scene = AtTheGate(tmp_path)
    uid = scene.order.batch_id
    async with scene.engine(lambda e: e.pause(uid, **scene.who)) as engine:
        assert scene.venue.sent == []
        assert scene.gate.asked == ["judge", "withheld"]
        row = await engine.batch(uid)
        assert (row.paused, row.waits_for) == (True, "to be unpaused")
        await engine.unpause(uid, **scene.who)
        row = await engine.wait(uid, timeout=PATIENCE)
    assert (row.status, len(scene.venue.sent)) == ("success", 1)
    assert scene.gate.asked == ["judge", "withheld", "judge"]


@pytest.mark.requirement("B9")
async def test_an_order_that_waits_for_its_operator_is_kept_in_by_a_cancel(tmp_path: Path) -> None:
    scene = AtTheGate(tmp_path)
    uid = scene.order.batch_id
    async with scene.engine(lambda e: e.pause(uid, **scene.who)) as engine:
        await engine.cancel(uid, **scene.who)
        row = await engine.wait(uid, timeout=PATIENCE)
    assert (row.status, scene.venue.sent) == ("cancelled", [])


@pytest.mark.requirement("B9")
async def test_an_undo_that_waits_at_the_gate_when_its_batch_is_paused_waits_for_the_operator(
    tmp_path: Path,
) -> None:
    scene = AtTheGate(tmp_path)

    async def refuse(attempt: Attempt) -> Report:
        scene.gate.then = pause_at_the_undo
        return Report(True, (), "no")

    async def pause_at_the_undo() -> None:
        await engine.pause(scene.order.batch_id, **scene.who)
        paused.set()

    paused = anyio.Event()
    scene.venue.on_send["PEP"] = refuse
    scene.order = batch(buy("KO"), buy("PEP"))
    engine = scene.opened()
    async with engine:
        await engine.submit(scene.order)
        with anyio.fail_after(PATIENCE):
            await paused.wait()
        await anyio.wait_all_tasks_blocked()
        assert len(scene.venue.sent) == 2
        await engine.unpause(scene.order.batch_id, **scene.who)
        row = await engine.wait(scene.order.batch_id, timeout=PATIENCE)
    assert (row.state, scene.venue.held()) == ("ROLLED_BACK", {})
    assert len(scene.venue.sent) == 3


@pytest.mark.requirement("S3", "L1")
async def test_an_engine_is_left_though_an_order_waits_for_its_operator_and_the_next_sends_it_once(
    tmp_path: Path,
) -> None:
    scene = AtTheGate(tmp_path)
    uid = scene.order.batch_id
    async with scene.engine(lambda e: e.pause(uid, **scene.who)):
        pass
    assert scene.venue.sent == []
    async with scene.opened() as engine:
        await engine.unpause(uid, **scene.who)
        row = await engine.wait(uid, timeout=PATIENCE)
    assert (row.status, len(scene.venue.sent)) == ("success", 1)


async def test_what_was_kept_in_when_the_engine_was_left_is_no_doubt_where_nobody_can_be_asked(
    tmp_path: Path,
) -> None:
    scene = AtTheGate(tmp_path)
    scene.venue.capabilities = scene.venue.capabilities.model_copy(update={"look_up": False})
    uid = scene.order.batch_id
    async with scene.engine(lambda e: e.pause(uid, **scene.who)):
        pass
    async with scene.opened() as engine:
        row = await engine.wait(uid, timeout=PATIENCE)
    assert (row.state, scene.venue.sent) == ("ROLLED_BACK", [])
    assert "the engine was left" in str(row.reason)


@pytest.mark.scenario("E1")
async def test_an_order_that_waits_at_the_gate_when_the_wall_jumps_waits_until_it_is_put_right(
    tmp_path: Path,
) -> None:
    scene = AtTheGate(tmp_path)
    scene.order = batch(buy("KO"), timeout_seconds=600)

    async def jump(_: Orchestrator) -> None:
        scene.clock.ahead = timedelta(hours=1)

    async with scene.engine(jump) as engine:
        assert scene.venue.sent == []
        scene.clock.ahead = timedelta(0)
        await engine.pause(scene.order.batch_id, **scene.who)  # somebody looks at it
        await engine.unpause(scene.order.batch_id, **scene.who)
        row = await engine.wait(scene.order.batch_id, timeout=PATIENCE)
    assert (row.status, len(scene.venue.sent)) == ("success", 1)
