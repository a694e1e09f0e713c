"""The kit's own parts: time that jumps, deaths that last, waits that fail, harnesses that lack."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from examples.own_broker import CornerBroker, CornerHarness
from saga.clock import Clock, SystemClock
from saga.directive import Directive
from saga.errors import StorePoisoned
from saga.machine import SagaState
from saga.participant import Participant
from saga.testing import (
    ONE_LEG,
    ROLLED_BACK,
    TWO_LEGS,
    WITHDRAWN,
    Cell,
    CrashMatrix,
    Disturbance,
    Harness,
    How,
    ParticipantContract,
    VenueOrder,
)
from saga.testing.fate import Fate, Stepped
from saga.testing.mortal_store import MortalStore
from saga.testing.virtual_time import EPOCH, run
from saga.testing.wire import SEND
from tests.testing_kit.test_broken_adapters import BY_NAME, story_of

# --- virtual time ---------------------------------------------------------------------------------


def test_an_hour_of_virtual_time_passes_at_once() -> None:
    async def main(clock: Clock) -> float:
        await clock.sleep_until(EPOCH + timedelta(hours=1))
        return clock.elapsed()

    began = time.monotonic()
    assert run(main, virtual=True) == pytest.approx(3600)
    assert time.monotonic() - began < 60


def test_timeouts_and_the_clock_agree_on_virtual_time() -> None:
    async def main(clock: Clock) -> float:
        with anyio.move_on_after(7):
            await anyio.sleep_forever()
        return (clock.now() - EPOCH).total_seconds()

    assert run(main, virtual=True) == pytest.approx(7)


def test_a_wait_that_nothing_will_end_is_an_error_and_no_hanging_test() -> None:
    async def main(clock: Clock) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="set virtual_time = False"):
        run(main, virtual=True)


# --- fate and waits -------------------------------------------------------------------------------


async def test_a_moment_that_comes_again_has_a_number() -> None:
    fate = Fate("before it (time 2)", lambda _: None)

    assert [fate.reach("before it"), fate.reach("after it")] == [False, False]
    assert fate.reach("before it")
    assert fate.moments == ["before it", "after it", "before it (time 2)"]


async def test_the_dead_live_through_nothing_more() -> None:
    told: list[str] = []
    fate = Fate("the end", told.append)

    fate.reach("the end")

    assert fate.reach("something later")
    assert fate.moments == ["the end"]
    assert told == ["THE PROCESS DIES the end"]


async def _three_waits(seen: list[int]) -> str:
    for number in (1, 2, 3):
        await asyncio.sleep(0)
        seen.append(number)
    return "done"


async def test_a_stepped_call_returns_what_it_would_have_returned() -> None:
    waits: list[int] = []

    def at_wait(number: int) -> bool:
        waits.append(number)
        return False

    async def call() -> str:
        return await Stepped(_three_waits([]), at_wait=at_wait)

    assert await call() == "done"
    assert waits == [1, 2, 3]


async def test_an_error_takes_the_place_of_what_was_waited_for() -> None:
    seen: list[int] = []

    async def call() -> str:
        fails = {2: TimeoutError("lost")}
        return await Stepped(_three_waits(seen), after_wait=fails.get)

    with pytest.raises(TimeoutError, match="lost"):
        await call()
    assert seen == [1]


async def test_a_call_whose_process_is_dead_goes_no_further_than_the_wait_it_died_at() -> None:
    seen: list[int] = []

    async def call() -> str:
        return await Stepped(_three_waits(seen), at_wait=lambda n: n == 2)

    task = asyncio.create_task(call())
    await asyncio.wait((task,))
    assert task.cancelled()
    assert seen == [1]


async def test_a_dead_process_writes_nothing_more(tmp_path: Path) -> None:
    fate = Fate("the end", lambda _: None)
    async with MortalStore(tmp_path / "saga.db", SystemClock(), fate) as store:
        await store.acquire()
        fate.reach("the end")
        with pytest.raises(StorePoisoned, match="dead"):
            await store.heartbeat()
        await store.release()

    async with MortalStore(tmp_path / "saga.db", SystemClock(), Fate(None, print)) as store:
        owner = await store.owner()
    assert owner is not None
    assert not owner.released


# --- cells ----------------------------------------------------------------------------------------


def _matrix(folder: Path, clock: Clock) -> CrashMatrix:
    return CrashMatrix(lambda *_: CornerHarness(), folder, clock, patience_seconds=30)


def test_the_rehearsal_meets_every_record_and_every_call_and_every_wait(tmp_path: Path) -> None:
    async def main(clock: Clock) -> list[str]:
        return (await _matrix(tmp_path, clock).run(Cell(ONE_LEG))).moments

    intended = "started, intended (step 0, forward 1)"
    reported = "reported (step 0, forward 1), completed"
    assert run(main, virtual=True) == [
        "before the record of submitted is durable",
        "after the record of submitted is durable",
        f"before the record of {intended} is durable",
        f"after the record of {intended} is durable",
        "before the send of step 0, forward 1",
        "during the send of step 0, forward 1, at its wait 1",
        "during the send of step 0, forward 1, at its wait 2",
        "after the send of step 0, forward 1 is answered",
        f"before the record of {reported} is durable",
        f"after the record of {reported} is durable",
    ]


def test_every_chosen_death_is_met(tmp_path: Path) -> None:
    async def main(clock: Clock) -> tuple[int, int]:
        matrix = _matrix(tmp_path, clock)
        await matrix.kill_everywhere(ROLLED_BACK)
        return matrix.tally.cells, matrix.tally.deaths

    cells, deaths = run(main, virtual=True)
    assert deaths == cells - 1  # all but the rehearsal
    assert deaths > 20


@pytest.mark.requirement("L2")
def test_a_process_that_dies_twice_is_taken_up_twice(tmp_path: Path) -> None:
    async def main(clock: Clock) -> tuple[int, SagaState, int]:
        first = "during the send of step 0, forward 1, at its wait 2"
        second = "before the look_up of step 0, forward 1"
        course = await _matrix(tmp_path, clock).run(Cell(ONE_LEG, None, (first, second)))
        assert course.saga is not None
        return course.died, course.saga.state, len(course.books)

    assert run(main, virtual=True) == (2, SagaState.COMPLETED, 1)


@pytest.mark.parametrize("how", [how for how in How if "VENUE" not in how.name])
def test_each_disturbance_really_disturbs(how: How, tmp_path: Path) -> None:
    async def main(clock: Clock) -> tuple[list[str], list[str]]:
        matrix = _matrix(tmp_path, clock)
        calm = await matrix.run(Cell(ROLLED_BACK))
        disturbed = await matrix.run(Cell(ROLLED_BACK, Disturbance(how, SEND, "step 1, forward 1")))
        assert disturbed.saga is not None
        assert disturbed.saga.state is SagaState.ROLLED_BACK
        return calm.chronicle.lines, disturbed.chronicle.lines

    calm, disturbed = run(main, virtual=True)
    assert any(how in line for line in disturbed)
    assert not any(how in line for line in calm)


def test_orders_that_were_there_before_are_nobody_s_business(tmp_path: Path) -> None:
    class Shared(CornerHarness):
        """Every cell of the test trades at one venue."""

        def __init__(self) -> None:
            self.venue = venue

    venue = CornerHarness().venue

    async def main(clock: Clock) -> int:
        matrix = CrashMatrix(lambda *_: Shared(), tmp_path, clock, patience_seconds=30)
        await matrix.kill_everywhere(TWO_LEGS)
        return matrix.tally.cells

    cells = run(main, virtual=True)
    assert cells > 10
    assert len(venue.tickets) == 2 * cells


# --- harnesses that lack something ----------------------------------------------------------------


class _Plain(ParticipantContract):
    virtual_time = True


def test_a_class_without_a_harness_is_told_what_to_write(tmp_path: Path) -> None:
    told = story_of(
        lambda: _Plain().test_it_keeps_its_promise(BY_NAME["it_says_who_it_is"], tmp_path)
    )

    assert told.startswith("The harness, not the adapter, is to be mended: _Plain has no harness")
    assert "def harness(self, folder: Path, clock: Clock) -> Harness" in told


def test_a_harness_without_books_is_told_which_method_is_missing(tmp_path: Path) -> None:
    class Half(Harness):
        async def connect(self) -> Participant:
            raise NotImplementedError

        def will_fill(self, leg: int) -> Directive:
            raise NotImplementedError

        def will_be_refused(self) -> Directive:
            raise NotImplementedError

    contract = _Plain()
    contract.harness = lambda folder, clock: Half()  # type: ignore[method-assign,abstract]

    told = story_of(lambda: contract.test_killed_at_every_moment(ONE_LEG, tmp_path))

    assert "abstract method" in told
    assert "books" in told


def test_something_that_is_no_harness_is_named(tmp_path: Path) -> None:
    contract = _Plain()
    contract.harness = lambda folder, clock: CornerBroker  # type: ignore[method-assign,assignment,return-value]

    told = story_of(lambda: contract.test_killed_at_every_moment(ONE_LEG, tmp_path))

    assert "_Plain.harness returned a type; return a saga.testing.Harness" in told


def test_a_directive_that_is_none_is_named(tmp_path: Path) -> None:
    class Words(CornerHarness):
        def will_fill(self, leg: int) -> Directive:
            return "buy 10 KO"  # type: ignore[return-value]

    contract = _Plain()
    contract.harness = lambda folder, clock: Words()  # type: ignore[method-assign]

    told = story_of(lambda: contract.test_killed_at_every_moment(ONE_LEG, tmp_path))

    assert "a harness must give directives, not str" in told


def test_without_an_order_that_rests_withdrawals_are_skipped_and_said_to_be(
    tmp_path: Path,
) -> None:
    class Restless(CornerHarness):
        def will_rest(self) -> Directive | None:  # type: ignore[override]
            return None

    contract = _Plain()
    contract.harness = lambda folder, clock: Restless()  # type: ignore[method-assign]

    with pytest.raises(pytest.skip.Exception, match="nothing can be withdrawn"):
        contract.test_killed_at_every_moment(WITHDRAWN, tmp_path)


def test_an_adapter_in_real_time_is_tried_as_well(tmp_path: Path) -> None:
    class Real(ParticipantContract):
        patience_seconds = 20.0

        def harness(self, folder: Path, clock: Clock) -> Harness:
            return CornerHarness()

    Real().test_killed_at_every_moment(ONE_LEG, tmp_path)


def test_a_look_into_books_that_fails_is_the_harness_s_own_error(tmp_path: Path) -> None:
    class Locked(CornerHarness):
        async def books(self) -> Sequence[VenueOrder]:
            raise PermissionError("the books are locked")

    contract = _Plain()
    contract.harness = lambda folder, clock: Locked()  # type: ignore[method-assign]

    with pytest.raises(PermissionError, match="locked"):
        contract.test_it_keeps_its_promise(BY_NAME["a_fill_is_told_as_it_is"], tmp_path)
