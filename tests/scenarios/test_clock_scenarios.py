"""E. Clock: what a wall that jumps, a machine that sleeps, and a calendar may never do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokers.paper import Fault, FaultRule
from saga.clock import SystemClock
from saga.events import DeadlinePassed, Intended
from saga.fold import saga_of
from saga.machine import SagaState
from saga.steady_clock import DOUBT_SECONDS, SteadyClock
from tests.scenarios.stage import SETTINGS, ExecutionMode, Stage, batch, buy, events_of, kinds

OPEN = {"limit_price": "1"}
SHORT = 300.0


@pytest.mark.scenario("E1")
@pytest.mark.parametrize("days", [1, -1])
def test_e1_a_jump_of_a_day_that_is_put_right_expires_nothing(tmp_path: Path, days: int) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        orders = [batch(buy("KO", **OPEN), timeout_seconds=SHORT) for _ in range(3)]
        async with stage.engine() as engine:
            for order in orders:
                await engine.submit(order)
            await stage.sleep(10)
            stage.jump(days=days)
            await stage.sleep(DOUBT_SECONDS / 2)
            stage.jump(days=-days)
            await stage.sleep(DOUBT_SECONDS * 2)
            rows = [await engine.batch(order.batch_id) for order in orders]
            assert {row.state for row in rows} == {"RUNNING"}
            await stage.sleep(SHORT)  # its real deadline passes all the same, and once
            for order in orders:
                assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
                told = kinds(await events_of(engine, order))
                assert told.count("deadline_passed") == 1

    stage.play(scenario)


@pytest.mark.scenario("E1")
def test_e1_a_jump_that_lasts_is_believed_after_a_while_and_judged_by_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        order = batch(buy("KO", **OPEN), timeout_seconds=SHORT)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(10)
            stage.jump(days=1)
            await stage.sleep(DOUBT_SECONDS / 2)
            assert (await engine.batch(order.batch_id)).state == "RUNNING"
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
            assert DOUBT_SECONDS < stage.loop.time() - 10 < 2 * DOUBT_SECONDS
            assert kinds(await events_of(engine, order)).count("deadline_passed") == 1

    stage.play(scenario)


@pytest.mark.scenario("E1")
def test_e1_what_waits_for_nothing_but_a_doubted_wall_goes_on_when_the_doubt_ends(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        async with stage.engine() as engine:
            await stage.sleep(10)
            stage.jump(hours=1)
            order = batch(buy("KO"))
            await engine.submit(order)
            await stage.sleep(DOUBT_SECONDS / 2)
            assert stage.exchange.placed() == []
            row = await engine.wait(order.batch_id, timeout=DOUBT_SECONDS)
            assert row.state == "COMPLETED"

    stage.play(scenario)


@pytest.mark.scenario("E1")
def test_e1_an_order_is_looked_up_on_although_the_wall_stays_put_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        half = FaultRule(fault=Fault.PARTIAL_THEN_FULL, delay_seconds=10 * DOUBT_SECONDS)
        await stage.exchange.script(half)
        async with stage.engine() as engine:
            order = batch(buy("KO"))
            await engine.submit(order)
            await stage.sleep(2 * SETTINGS.poll_seconds)  # the last answer told nothing new
            stage.jump(days=-1)
            row = await engine.wait(order.batch_id, timeout=20 * DOUBT_SECONDS)
            assert row.state == "COMPLETED"

    stage.play(scenario)


@pytest.mark.scenario("E1")
def test_e1_no_proof_of_absence_is_cut_short_by_a_jump(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        late = FaultRule(fault=Fault.ACCEPTS_LATE, delay_seconds=4.0)
        await stage.exchange.script(late)
        async with stage.engine() as engine:
            order = batch(buy("KO"))
            await engine.submit(order)
            await stage.sleep(1)
            stage.jump(days=1)
            assert (await engine.wait(order.batch_id)).state == "COMPLETED"
        assert stage.exchange.placed() == ["0F1"]
        assert len(await stage.orders()) == 1

    stage.play(scenario)


@pytest.mark.scenario("E2")
@pytest.mark.parametrize(("hours", "state"), [(-24, "COMPLETED"), (72, "ROLLED_BACK")])
def test_e2_a_jump_while_nobody_ran_is_the_time_at_recovery_and_the_order_is_the_journal_s(
    tmp_path: Path, hours: int, state: str
) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        half = FaultRule(fault=Fault.PARTIAL_THEN_FULL, delay_seconds=20.0)
        await stage.exchange.script(half)
        order = batch(buy("KO"), buy("PG"), timeout_seconds=SHORT)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(2)
        stage.jump(hours=hours)
        async with stage.engine() as engine:
            assert (await engine.wait(order.batch_id)).state == state
            records = await engine.store.journal(order.batch_id)
        assert [record.number for record in records] == list(range(1, len(records) + 1))
        instants = [record.at for record in records]
        assert (instants == sorted(instants)) is (hours > 0)
        assert saga_of(records).state == SagaState(state)

    stage.play(scenario)


@pytest.mark.scenario("E3")
@pytest.mark.parametrize(
    "begins",
    [
        datetime(2026, 10, 25, 0, 58, tzinfo=UTC),  # the hour that Europe has twice
        datetime(2026, 3, 8, 6, 58, tzinfo=UTC),  # the hour that New York does not have
        datetime(2028, 2, 29, 23, 58, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 58, tzinfo=UTC),
    ],
    ids=["autumn", "spring", "leap day", "year end"],
)
def test_e3_a_deadline_across_an_edge_of_the_calendar_comes_once_and_in_time(
    tmp_path: Path, begins: datetime
) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        stage.clock.jump(begins - stage.clock.now())
        order = batch(buy("KO", **OPEN), timeout_seconds=SHORT)
        async with stage.engine() as engine:
            await engine.submit(order)
            await engine.wait(order.batch_id)
            passed = [
                record.at
                for record in await engine.store.journal(order.batch_id)
                if isinstance(record.event, DeadlinePassed)
            ]
        assert len(passed) == 1
        assert timedelta() <= passed[0] - begins - timedelta(seconds=SHORT) < timedelta(seconds=1)

    stage.play(scenario)


@pytest.mark.scenario("E4")
def test_e4_a_laptop_that_slept_looks_up_what_was_open_before_it_sends_anything(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        half = FaultRule(fault=Fault.PARTIAL_THEN_FULL, delay_seconds=600.0)
        await stage.exchange.script(half)
        order = batch(buy("KO"), buy("PG"), mode=ExecutionMode.SEQUENTIAL)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(7)
            stage.exchange.calls.clear()
            stage.jump(hours=8)  # the monotonic clock sleeps with the machine
            woke = stage.loop.time()
            await stage.until(lambda: bool(stage.exchange.placed()))
            assert stage.exchange.calls[0][:2] == ("find", "0F1")
            assert stage.loop.time() - woke > DOUBT_SECONDS - 5
            assert (await engine.wait(order.batch_id)).state == "COMPLETED"

    stage.play(scenario)


@pytest.mark.scenario("E5")
def test_e5_events_of_the_same_microsecond_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        async with stage.engine() as engine:
            order = batch(buy("KO"), buy("PG"))
            await engine.run(order)
            records = await engine.store.journal(order.batch_id)
        assert len({record.at for record in records}) < len(records)
        sequences = [record.sequence for record in records]
        assert sequences == sorted(set(sequences))
        assert kinds([record.event for record in records]) == [
            *("submitted", "started", "intended", "reported", "intended", "reported", "completed")
        ]

    stage.play(scenario)


@pytest.mark.scenario("E6")
def test_e6_a_broker_whose_clock_is_ahead_is_told_of_and_not_stormed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def scenario() -> None:
        words = "timestamp is 90 s behind, outside of the window"
        ahead = FaultRule(fault=Fault.RATE_LIMITS, delay_seconds=600.0, reason=words)
        await stage.exchange.script(ahead)
        async with stage.engine() as engine:
            order = batch(buy("KO"))
            await engine.submit(order)
            await stage.sleep(590)
            (row,) = engine.active()
            assert words in (row.waits_for or "")
            assert len(stage.exchange.calls) < 40
            assert (await engine.wait(order.batch_id)).state == "COMPLETED"
            sent = [e for e in await events_of(engine, order) if isinstance(e, Intended)]
        assert len(sent) == len(await stage.orders()) == 1

    stage.play(scenario)


class _Jumpy(SystemClock):
    """A wall and a monotonic clock that the test turns."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 11, 21, tzinfo=UTC)
        self.steps = 0.0

    def now(self) -> datetime:
        return self.wall

    def elapsed(self) -> float:
        return self.steps

    def pass_by(self, seconds: float) -> None:
        self.steps += seconds
        self.wall += timedelta(seconds=seconds)


def test_a_wall_that_is_put_right_by_seconds_is_followed() -> None:
    inner = _Jumpy()
    clock = SteadyClock(inner)
    for _ in range(10):
        inner.pass_by(100)
        inner.wall += timedelta(seconds=4)
        assert clock.now() == inner.wall
        assert clock.in_doubt_until is None


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=-6)])
def test_a_wall_that_is_put_forward_or_back_is_doubted(jump: timedelta) -> None:
    inner = _Jumpy()
    clock = SteadyClock(inner)
    inner.pass_by(100)
    before = clock.now()
    inner.wall += jump
    inner.pass_by(1)
    assert clock.now() == before + timedelta(seconds=1)
    assert clock.in_doubt_until is not None


def test_a_second_jump_while_in_doubt_begins_the_doubt_anew() -> None:
    inner = _Jumpy()
    clock = SteadyClock(inner, doubt_seconds=60)
    inner.wall += timedelta(hours=1)
    before = clock.now()
    assert clock.in_doubt_until == before + timedelta(seconds=60)
    inner.pass_by(50)
    inner.wall += timedelta(hours=1)
    assert clock.now() == before + timedelta(seconds=50)
    assert clock.in_doubt_until == before + timedelta(seconds=110)
    inner.pass_by(59)
    assert clock.now() != inner.wall
    inner.pass_by(1)
    assert clock.now() == inner.wall
    assert clock.in_doubt_until is None
