"""Attacks on the engine itself: hooks, operators, clocks, locks, keys, leaving in the middle."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict

import anyio
import pytest

from saga.alarms import Alarms
from saga.alerts import Alert
from saga.clock import SystemClock
from saga.errors import InvalidInput, NotAllowed, Quarantined, StoreError
from saga.events import Adjustment
from saga.limits import Limits
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import Capabilities, FailurePolicy
from saga.store import database
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


class _Who(TypedDict):
    by: str
    reason: str


BY: _Who = {"by": "alice", "reason": "because"}


async def refuses(_: Attempt) -> Report:
    return Report(True, reason="no")


async def works(_: Attempt) -> Report:
    return Report(False)


def open_order(venue: LyingVenue, symbol: str = "KO") -> None:
    venue.on_send[symbol] = venue.on_look_up[symbol] = works


async def until_sent(venue: LyingVenue, count: int = 1) -> None:
    with anyio.fail_after(10):
        while len(venue.sent) < count:  # noqa: ASYNC110 - the venue's own books are watched
            await anyio.sleep(0.005)


class StubbornVenue(LyingVenue):
    """Refuses every undo."""

    async def send(self, attempt: Attempt) -> Report:
        if attempt.purpose == "compensation":
            self.sent.append(attempt.key)
            return Report(True, reason="no")
        return await super().send(attempt)


async def stale(engine: Orchestrator, venue: LyingVenue) -> str:
    venue.on_send["KO"] = refuses
    order = batch(buy("AAPL"), buy("KO"))
    assert (await engine.run(order, timeout=10)).state == "STALE"
    return order.batch_id


# --- hooks ---------------------------------------------------------------------------------------


@pytest.mark.requirement("S18")
@pytest.mark.parametrize("whole_task", [False, True])
async def test_a_hook_with_a_cancellation_of_its_own_ends_no_engine(
    tmp_path: Path, *, whole_task: bool
) -> None:
    venue = LyingVenue()
    reached = False

    async def hook(_: BatchRow) -> None:
        task = asyncio.current_task()
        assert task is not None
        if whole_task:
            task.cancel()
            await asyncio.sleep(0)
        raise asyncio.CancelledError("a future of the hook was cancelled")

    async with engine_on(tmp_path, venue) as engine:
        engine.on_outcome(hook)
        await engine.run(batch(buy("AAPL")), timeout=5)
        await anyio.sleep(0.05)
        await engine.run(batch(buy("AAPL")), timeout=5)
        reached = True
    assert reached


@pytest.mark.requirement("S18", "L2")
async def test_an_alert_hook_under_which_its_task_is_cancelled_hears_the_next_alert(
    tmp_path: Path,
) -> None:
    venue = StubbornVenue()
    heard: list[str | None] = []
    both = anyio.Event()

    async def hook(alert: Alert) -> None:
        heard.append(alert.batch_id)
        if len(set(heard)) == 2:
            both.set()
        elif len(heard) == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    async with engine_on(tmp_path, venue) as engine:
        engine.on_alert(hook)
        for _ in range(2):
            await stale(engine, venue)
        with anyio.fail_after(10):
            await both.wait()


async def test_hooks_that_block_for_ever_take_a_bounded_number_of_threads(tmp_path: Path) -> None:
    venue = LyingVenue()
    let_go = threading.Event()
    limits = Limits(hook_seconds=0.02, max_hooks=3, grace_seconds=0.1)

    def hook(_: BatchRow) -> None:
        let_go.wait(20)

    def hook_threads() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "outcome hook"]

    async with engine_on(tmp_path, venue, limits=limits) as engine:
        engine.on_outcome(hook)
        for _ in range(10):
            await engine.run(batch(buy("AAPL")), timeout=5)
        await anyio.sleep(0.1)
        threads = hook_threads()
    assert len(threads) <= 3
    assert all(thread.daemon for thread in threads)  # none keeps the program from ending
    let_go.set()
    for thread in threads:
        thread.join()


async def test_statuses_that_are_no_container_are_refused_when_they_are_given(
    tmp_path: Path,
) -> None:
    async with engine_on(tmp_path, LyingVenue()) as engine:
        with pytest.raises(TypeError):
            engine.on_outcome(print, statuses=5)  # type: ignore[arg-type]


# --- what operators say --------------------------------------------------------------------------


@pytest.mark.requirement("S8")
@pytest.mark.parametrize("by", [42, None, "\ud800", " "])
async def test_a_name_that_the_journal_could_not_keep_is_refused(tmp_path: Path, by: Any) -> None:
    venue = LyingVenue()
    open_order(venue)
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        with pytest.raises(InvalidInput, match="by"):
            await engine.submit(order, by=by)
        await engine.submit(order)
        for verb in (engine.pause, engine.unpause, engine.cancel, engine.retry):
            with pytest.raises(InvalidInput, match="by"):
                await verb(order.batch_id, by=by, reason="x")
            with pytest.raises(InvalidInput, match="reason"):
                await verb(order.batch_id, by="x", reason=by)
        await engine.store.journal(order.batch_id)


@pytest.mark.requirement("S8")
@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("Infinity"), 0.1, Decimal(-1), "ten"])
async def test_an_undo_budget_that_is_no_amount_is_refused(tmp_path: Path, amount: Any) -> None:
    venue = StubbornVenue()
    async with engine_on(tmp_path, venue) as engine:
        batch_id = await stale(engine, venue)
        with pytest.raises(InvalidInput, match="undo_budget"):
            await engine.retry(batch_id, **BY, undo_budget=amount)
        policy = FailurePolicy.model_construct(on_failure=None, undo_budget=amount)
        with pytest.raises(InvalidInput, match="undo_budget"):
            await engine.submit(batch(buy("AAPL")), policy=policy)


@pytest.mark.requirement("S8", "S10")
async def test_adjustments_that_are_not_exact_are_refused(tmp_path: Path) -> None:
    venue = StubbornVenue()
    wrong: tuple[Any, ...] = (
        Adjustment("AAPL", Decimal("NaN"), Decimal(0)),
        Adjustment("AAPL", Decimal(1), 0.1),  # type: ignore[arg-type]
        Adjustment(7, Decimal(1), Decimal(1)),  # type: ignore[arg-type]
    )
    async with engine_on(tmp_path, venue) as engine:
        batch_id = await stale(engine, venue)
        for each in wrong:
            with pytest.raises(InvalidInput, match="adjustments"):
                await engine.resolve(batch_id, **BY, action="x", evidence="x", adjustments=(each,))
        assert (await engine.batch(batch_id)).state == "STALE"


@pytest.mark.requirement("S4")
async def test_a_batch_that_was_closed_by_hand_is_not_sent_again(tmp_path: Path) -> None:
    venue = StubbornVenue()
    async with engine_on(tmp_path, venue) as engine:
        batch_id = await stale(engine, venue)
        await engine.resolve(batch_id, **BY, action="kept the shares", evidence="mail")
        venue.on_send.clear()
        with pytest.raises(NotAllowed, match="by hand"):
            await engine.retry_failed(batch_id, **BY)
    assert venue.held() == {"AAPL": Decimal(10)}


@pytest.mark.requirement("S14")
async def test_a_second_cancel_is_answered_only_when_the_first_is_durable(tmp_path: Path) -> None:
    venue = LyingVenue()
    open_order(venue)
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        await until_sent(venue)
        await anyio.sleep(0.05)
        answered: list[str] = []
        real, gate = engine.store.append, anyio.Event()

        async def slow(append: Append) -> int:
            await gate.wait()
            return await real(append)

        async def cancel(by: str) -> None:
            await engine.cancel(order.batch_id, by=by, reason="x")
            answered.append(by)

        engine.store.append = slow  # type: ignore[method-assign]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel, "alice")
            await anyio.sleep(0.05)
            tasks.start_soon(cancel, "bob")
            await anyio.sleep(0.05)
            assert answered == []
            gate.set()
        assert sorted(answered) == ["alice", "bob"]


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.requirement("T6", "L2")
async def test_a_newcomer_waits_until_everything_unfinished_has_claimed_its_key(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    open_order(venue)
    holder = batch(buy("KO"), exclusion_key="main")
    async with engine_on(tmp_path, venue) as engine:
        for _ in range(20):  # they are read before the holder is
            await engine.submit(batch(buy("KO")))
        await engine.submit(holder)
        await until_sent(venue, 21)
    newcomer = batch(buy("XOM"), exclusion_key="main")
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(newcomer)
        await anyio.sleep(0.3)
        assert (await engine.batch(newcomer.batch_id)).state == "PENDING"
    assert venue.held() == {}


@pytest.mark.requirement("T6", "S18")
async def test_a_saga_that_is_set_aside_with_orders_out_keeps_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = LyingVenue()
    order = batch(buy("KO"), exclusion_key="main")
    other = batch(buy("PG"), exclusion_key="main")
    hurt = anyio.Event()

    async def broken(attempt: Attempt) -> Report:
        venue.fill(attempt)
        hurt.set()
        raise RuntimeError("x")

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    venue.on_send["KO"] = broken
    async with engine_on(tmp_path, venue) as engine:
        monkeypatch.setattr("saga.runner.in_words", bug)
        await engine.submit(order)
        await engine.submit(other)
        await hurt.wait()
        await anyio.sleep(0.1)
        assert list(await engine.store.quarantined()) == [order.batch_id]
        assert (await engine.batch(other.batch_id)).state == "PENDING"


@pytest.mark.requirement("S3", "S18", "D6")
async def test_a_saga_that_was_set_aside_with_an_order_in_the_air_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = LyingVenue(Capabilities(visibility_seconds=0.0, poll_seconds=0.02))

    async def fills_and_is_silent(attempt: Attempt) -> Report:
        venue.fill(attempt)
        await anyio.sleep_forever()
        raise AssertionError

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    venue.on_send["KO"] = fills_and_is_silent
    order = batch(buy("AAPL"), buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        await until_sent(venue, 2)
        waits_for = engine.active()[0].waits_for or ""
        assert waits_for.startswith("the answer to buy 10 KO")
        assert venue.sent[-1] in waits_for
        with monkeypatch.context() as patch:
            patch.setattr("saga.appending.batch_row", bug)
            with pytest.raises(StoreError, match="no longer driven"):
                await engine.pause(order.batch_id, **BY)
        with pytest.raises(Quarantined, match="ZeroDivisionError"):
            await engine.wait(order.batch_id, timeout=5)

        await engine.cancel(order.batch_id, **BY)
        row = await engine.wait(order.batch_id, timeout=5)

        assert await engine.store.quarantined() == {}
    assert (row.state, row.status) == ("ROLLED_BACK", "cancelled")
    assert venue.held() == {}
    assert [key[-4:] for key in venue.sent] == ["-0F1", "-1F1", "-1C1", "-0C1"]


@pytest.mark.requirement("S18")
async def test_a_journal_that_cannot_be_folded_stops_its_saga_and_not_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = LyingVenue()
    open_order(venue)
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        await until_sent(venue)

    def bug(_: Iterable[Any]) -> None:
        raise ArithmeticError("a directive of a plug-in")

    with monkeypatch.context() as patch:
        patch.setattr("saga.supervision.saga_of", bug)
        async with engine_on(tmp_path, venue) as engine:
            await anyio.sleep(0.1)
            assert "plug-in" in (await engine.store.quarantined())[order.batch_id]


# --- leaving -------------------------------------------------------------------------------------


@pytest.mark.requirement("S1", "S16")
async def test_a_submission_that_meets_the_end_is_refused_or_taken_up_later(tmp_path: Path) -> None:
    venue = LyingVenue()
    orders = [batch(buy("AAPL")) for _ in range(40)]
    taken: list[str] = []
    strange: list[Exception] = []

    async def submit(engine: Orchestrator, delay: int) -> None:
        await anyio.sleep(delay / 1000)
        try:
            taken.append(await engine.submit(orders[delay]))
        except NotAllowed:
            pass
        except Exception as error:
            strange.append(error)

    async with anyio.create_task_group() as tasks, engine_on(tmp_path, venue) as engine:
        for delay in range(40):
            tasks.start_soon(submit, engine, delay)
        await anyio.sleep(0.02)
    assert [error for error in strange if "not open" not in str(error)] == []
    assert engine.active() == ()
    async with engine_on(tmp_path, venue) as engine:
        for batch_id in taken:
            assert (await engine.wait(batch_id, timeout=5)).status == "success"
    assert venue.held() == {"AAPL": Decimal(10 * len(taken))}


async def test_a_slow_reader_of_events_ends_when_the_engine_is_left(tmp_path: Path) -> None:
    seen: list[int] = []

    async def read(engine: Orchestrator) -> None:
        async for record in engine.events():
            seen.append(record.sequence)
            await left.wait()

    left = anyio.Event()
    async with anyio.create_task_group() as tasks:
        async with engine_on(tmp_path, LyingVenue()) as engine:
            tasks.start_soon(read, engine)
            await engine.run(batch(buy("AAPL")), timeout=5)
        left.set()
    assert seen[0] == 1


async def test_an_orchestrator_is_entered_once(tmp_path: Path) -> None:
    engine = engine_on(tmp_path, LyingVenue())
    async with engine:
        pass
    with pytest.raises(NotAllowed, match="once"):
        async with engine:
            raise AssertionError("entered twice")


# --- clocks and locks ----------------------------------------------------------------------------


class _Wall(SystemClock):
    """The machine's clock, put forward or back."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


@pytest.mark.requirement("L5")
async def test_a_clock_that_is_put_back_a_day_stops_nothing(tmp_path: Path) -> None:
    wall, venue = _Wall(), LyingVenue()
    open_order(venue)
    order = batch(buy("KO"))

    def engine_by_the_wall() -> Orchestrator:
        store = SqliteStore(tmp_path / "saga.db", clock=wall)
        return Orchestrator(store, [venue], clock=wall)

    async with engine_by_the_wall() as engine:
        await engine.submit(order)
        await until_sent(venue)
        wall.offset = timedelta(days=-1)
        await anyio.sleep(0.1)
    wall.offset = timedelta(days=-2)
    async with engine_by_the_wall() as engine:
        await anyio.sleep(0.05)
        wall.offset = timedelta(days=-3)

        async def ended(_: Attempt) -> Report:
            return Report(True)

        venue.on_look_up["KO"] = ended
        assert (await engine.wait(order.batch_id, timeout=5)).state == "ROLLED_BACK"


class _Sleeper:
    def wake(self) -> None:
        raise AssertionError("nobody sleeps here")


async def test_alarms_that_are_out_of_date_are_not_kept() -> None:
    alarms, sleeper = Alarms(SystemClock()), _Sleeper()
    noon = SystemClock().now() + timedelta(days=1)
    for second in range(10_000, 0, -1):
        alarms.ring(noon + timedelta(seconds=second), sleeper)
    assert len(alarms._heap) < 100
    alarms.forget(sleeper)
    for second in range(100):
        other = _Sleeper()
        alarms.ring(noon + timedelta(seconds=second), other)
        alarms.forget(other)
    assert len(alarms._heap) < 100


@pytest.mark.requirement("S2")
async def test_a_lock_that_another_program_holds_for_long_sets_no_saga_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tuple(
        (name, 20, 20) if name == "busy_timeout" else (name, value, expected)
        for name, value, expected in database._COMMON
    )
    monkeypatch.setattr(database, "_COMMON", short)
    venue = LyingVenue()
    open_order(venue)
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue, limits=Limits(heartbeat_seconds=0.03)) as engine:
        await engine.submit(order)
        await until_sent(venue)
        await anyio.sleep(0.05)
        other = sqlite3.connect(tmp_path / "saga.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.pause(order.batch_id, **BY))
            await anyio.sleep(0.2)
            other.execute("ROLLBACK")
        other.close()
        assert (await engine.batch(order.batch_id)).paused
        assert await engine.store.quarantined() == {}
