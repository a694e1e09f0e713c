"""What is told of a batch after its end: found, recorded, told to a person, and never dropped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from brokers.paper import Fault, FaultRule, PaperExchange, PaperSettings
from brokers.paper.running import Inline
from brokers.venue import Trade
from brokers.watcher import MAX_LOOKS, TradeWatcher
from saga import aftermath
from saga.alerts import Alert, AlertKind
from saga.errors import NoSuchBatch, NotAllowed
from saga.events import Adjustment, IncidentClosed
from saga.fold import saga_of
from saga.history import History
from saga.ids import Purpose, attempt_key
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Fill, Report
from saga.participant import Attempt, KeyTaken
from saga.policy import Capabilities
from saga.runner import MAX_REQUESTS_AT_ONCE
from saga.store.protocol import Append, JournalRecord
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow
from tests.brokers.samples import new_exchange
from tests.engine.lying_venue import LyingVenue
from tests.engine.trading_desk import batch, buy
from tests.manual_clock import ManualClock

LAG = 30.0
FORWARD = Purpose.FORWARD


@dataclass
class Floor:
    """A store, and an exchange whose time only the test moves."""

    folder: Path
    clock: ManualClock
    exchange: PaperExchange

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Orchestrator]:
        store = SqliteStore(self.folder / "saga.db")
        async with Orchestrator(store, [self.exchange]) as engine:
            yield engine

    async def held(self) -> dict[str, Decimal]:
        return {p.symbol: p.quantity for p in await self.exchange.positions() if p.quantity}


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    clock = ManualClock()
    settings = PaperSettings(poll_seconds=0.02)
    return Floor(tmp_path, clock, new_exchange(tmp_path, clock, settings))


def key_of(row: BatchRow, step: int, purpose: Purpose = FORWARD) -> str:
    return attempt_key(row.batch_id, step, purpose, 1)


async def until_open(engine: Orchestrator, batch_id: str, count: int = 1) -> BatchRow:
    """Return the batch once it has so many open incidents."""
    with anyio.fail_after(20):
        while (row := await engine.batch(batch_id)).incidents < count:  # noqa: ASYNC110
            await anyio.sleep(0.005)
    return row


async def ended_before_its_order_arrived(floor: Floor, engine: Orchestrator) -> BatchRow:
    """A batch whose first order comes to the exchange only after everything was given up."""
    await floor.exchange.script(
        FaultRule(fault=Fault.ACCEPTS_LATE, symbol="AAPL", delay_seconds=LAG),
        FaultRule(fault=Fault.REFUSES, symbol="MSFT", times=None),
    )
    row = await engine.run(batch(buy("AAPL"), buy("MSFT"), max_parallel=2), timeout=20)
    assert row.state == SagaState.ROLLED_BACK
    assert await floor.held() == {}
    return row


# --- found ---------------------------------------------------------------------------------------


class CountedReads(SqliteStore):
    """Counts how often a journal was read, and written."""

    reads = appends = 0

    async def append(self, append: Append) -> int:
        self.appends += 1
        return await super().append(append)

    async def journal(self, batch_id: str) -> tuple[JournalRecord, ...]:
        self.reads += 1
        return await super().journal(batch_id)


async def test_where_nothing_is_new_the_journal_is_read_once_for_all_legs(tmp_path: Path) -> None:
    store = CountedReads(tmp_path / "saga.db")
    async with Orchestrator(store, [LyingVenue()]) as engine:
        row = await engine.run(
            batch(*(buy("AAPL", directive_id=f"EXE_{leg}") for leg in range(30))), timeout=20
        )
        store.reads = 0
        assert await engine.look_again(row.batch_id, by="test") == ()
        assert store.reads == 1


async def test_late_truth_about_many_legs_is_recorded_by_one_driver_in_commits_of_some(
    tmp_path: Path,
) -> None:
    legs = 2 * MAX_REQUESTS_AT_ONCE + 1
    store, venue = CountedReads(tmp_path / "saga.db"), LyingVenue()
    async with Orchestrator(store, [venue]) as engine:
        row = await engine.run(
            batch(*(buy("AAPL", 5, directive_id=f"EXE_{leg}") for leg in range(legs))), timeout=20
        )
        for key, report in venue.told.items():
            more = Fill("more", Decimal(1), Decimal(10))
            venue.told[key] = replace(report, fills=(*report.fills, more))
        store.reads = store.appends = 0
        truths = await engine.look_again(row.batch_id, by="test")
        row = await engine.batch(row.batch_id)
    assert len(truths) == row.incidents == legs
    assert store.reads <= 3, "to ask, to record, and to tell"
    assert store.appends == 3


async def test_what_is_new_does_not_wait_for_those_who_answer_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aftermath, "RECORD_SECONDS", 0.0)
    venue = LyingVenue()
    legs = 3 * aftermath.MAX_ASKED_AT_ONCE
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(
            batch(*(buy("AAPL", 5, directive_id=f"EXE_{leg}") for leg in range(legs))), timeout=20
        )
        hangs = asyncio.Event()

        async def more(attempt: Attempt) -> Report:
            if attempt.step >= aftermath.MAX_ASKED_AT_ONCE:
                hangs.set()
                await anyio.sleep_forever()
            told = venue.told[attempt.key]
            return replace(told, fills=(*told.fills, Fill("more", Decimal(1), Decimal(10))))

        venue.on_look_up["AAPL"] = more
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(engine.look_again, row.batch_id, by="test"))
            await hangs.wait()
            tasks.cancel_scope.cancel()
        assert (await engine.batch(row.batch_id)).incidents == aftermath.MAX_ASKED_AT_ONCE


async def test_what_contradicts_itself_is_no_answer(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(batch(buy("AAPL", 5)), timeout=20)
        (key,) = venue.told
        venue.told[key] = Report(True, (Fill("another", Decimal(5), Decimal(10)),))
        unanswered: set[str] = set()
        assert await engine.look_again(row.batch_id, by="test", unanswered=unanswered) == ()
        assert unanswered == {key}


@pytest.mark.requirement("S6", "S8", "L6")
@pytest.mark.scenario("A8")
async def test_an_order_that_arrives_after_the_end_is_adopted_as_an_incident(floor: Floor) -> None:
    async with floor.engine() as engine:
        ended = await ended_before_its_order_arrived(floor, engine)
        watcher = TradeWatcher(floor.exchange, engine)
        assert await watcher.look() == ()
        floor.clock.turn(LAG)
        (truth,) = await watcher.look()
        assert (truth.step, truth.purpose, truth.by) == (0, FORWARD, "the trade watcher")
        row = await engine.batch(ended.batch_id)
        assert row == replace(ended, incidents=1, updated_at=row.updated_at), (
            "its state, its outcome and everything else are what they were"
        )
        assert await watcher.look() == ()
    saga_says = {"AAPL": Decimal(10)}
    assert await floor.held() == saga_says
    async with History(floor.folder / "saga.db") as history:
        kept = await history.batch(ended.batch_id)
        assert (kept.incidents, kept.status) == (1, "failed")


@pytest.mark.requirement("S6", "S9")
@pytest.mark.scenario("B-12")
async def test_a_bust_after_the_compensation_is_an_incident_and_the_exposure_is_the_brokers(
    floor: Floor,
) -> None:
    await floor.exchange.script(
        FaultRule(fault=Fault.BUSTS, symbol="AAPL", delay_seconds=LAG, purpose=FORWARD),
        FaultRule(fault=Fault.REFUSES, symbol="MSFT", times=None),
    )
    async with floor.engine() as engine:
        row = await engine.run(batch(buy("AAPL"), buy("MSFT")), timeout=20)
        assert row.state == SagaState.ROLLED_BACK
        floor.clock.turn(LAG)
        (truth,) = await engine.look_again(row.batch_id, by="ann")
        assert len(truth.reversed) == 1
        assert await engine.look_again(row.batch_id, by="ann") == ()
        held = sum(
            (t.quantity if t.side == "buy" else -t.quantity)
            for t in await floor.exchange.trades()
            if t.symbol == "AAPL"
        )
        assert held == Decimal(-10)
        async with History(floor.folder / "saga.db") as history:
            saga = saga_of(await history.journal(row.batch_id))
        (exposure,) = saga.late_exposures()
        assert exposure.low == exposure.high == held


@pytest.mark.requirement("S9", "L3")
@pytest.mark.scenario("C1")
async def test_a_fill_on_the_stream_after_the_end_is_adopted_in_the_background_and_once(
    floor: Floor,
) -> None:
    async with floor.engine() as engine:
        ended = await ended_before_its_order_arrived(floor, engine)
        floor.clock.turn(LAG)
        for _ in range(3):
            engine.notify(key_of(ended, 0))
        await until_open(engine, ended.batch_id)
        engine.notify("somebody-else-1F1")
        engine.notify(attempt_key("BAT_20200101_000000_nobody00", 0, FORWARD, 1))
        engine.notify(key_of(ended, 0))
        assert await engine.look_again(ended.batch_id, by="ann") == ()
        assert (await engine.batch(ended.batch_id)).incidents == 1
    assert len((await floor.exchange.books()).orders) == 2, "nothing was sent meanwhile"


@pytest.mark.requirement("S6")
async def test_a_bust_of_one_leg_while_another_still_works_is_heard_once_the_batch_is_over(
    floor: Floor,
) -> None:
    await floor.exchange.script(
        FaultRule(fault=Fault.BUSTS, symbol="AAPL", delay_seconds=LAG),
        FaultRule(fault=Fault.PARTIAL_THEN_FULL, symbol="MSFT", delay_seconds=2 * LAG),
    )
    async with floor.engine() as engine:
        batch_id = await engine.submit(batch(buy("AAPL"), buy("MSFT")))
        with anyio.fail_after(20):
            while "MSFT" not in await floor.held():  # noqa: ASYNC110
                await anyio.sleep(0.005)
        floor.clock.turn(LAG)
        assert await engine.look_again(batch_id, by="ann") == (), "not at rest: later"
        floor.clock.turn(LAG)
        row = await engine.wait(batch_id, timeout=20)
        assert row.outcome == "SUCCESS"
        assert (await until_open(engine, batch_id)).outcome == "SUCCESS"
        assert await floor.held() == {"MSFT": Decimal(10)}


@pytest.mark.requirement("S6", "S9", "L3")
@pytest.mark.parametrize("failures", [1, 3, 100], ids=["once", "some times", "always"])
async def test_news_that_was_heard_is_looked_up_until_it_is_answered_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(aftermath, "FIRST_WAIT", timedelta(milliseconds=1))
    venue, asked = LyingVenue(), 0

    async def refused(attempt: Attempt) -> Report:
        return Report(True, reason="no")

    async def mute_at_first(attempt: Attempt) -> Report:
        nonlocal asked
        asked += 1
        if asked <= failures:
            raise TimeoutError("slow")
        return Report(True, (Fill("f1", Decimal(5), Decimal(10)),))

    venue.on_send["AAPL"], venue.on_look_up["AAPL"] = refused, mute_at_first
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(batch(buy("AAPL", 5)), timeout=20)
        engine.notify(key_of(row, 0))
        if failures < aftermath.MAX_LOOKS:
            await until_open(engine, row.batch_id)
            assert asked == failures + 1
            return
        with anyio.fail_after(20):
            while asked < aftermath.MAX_LOOKS:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        await anyio.wait_all_tasks_blocked()
        assert asked == aftermath.MAX_LOOKS
        failures = 0
        engine.notify(key_of(row, 0))
        await until_open(engine, row.batch_id)


# --- orders that are still open ------------------------------------------------------------------


@pytest.mark.requirement("S6")
async def test_an_order_found_open_after_a_rollback_is_withdrawn(floor: Floor) -> None:
    await floor.exchange.script(
        FaultRule(fault=Fault.ACCEPTS_LATE, symbol="AAPL", delay_seconds=LAG),
        FaultRule(fault=Fault.REFUSES, symbol="MSFT", times=None),
    )
    async with floor.engine() as engine:
        deep = buy("AAPL", limit_price=1, time_in_force="GTC")
        row = await engine.run(batch(deep, buy("MSFT"), max_parallel=2), timeout=20)
        floor.clock.turn(LAG)
        assert await engine.look_again(row.batch_id, by="ann") == (), "it never had an effect"
        assert await floor.exchange.open_orders() == ()
        orders = (await floor.exchange.books()).orders
        assert [order.status for order in orders if order.symbol == "AAPL"] == ["cancelled"]


# --- what is held in doubt -----------------------------------------------------------------------


@asynccontextmanager
async def stale_on(venue: LyingVenue, path: Path) -> AsyncIterator[tuple[Orchestrator, BatchRow]]:
    """An engine with a STALE batch: a call was lost, and its key seems to be somebody else's."""

    async def lost(attempt: Attempt) -> Report:
        venue.fill(attempt)
        raise ConnectionError("gone")

    async def taken(attempt: Attempt) -> Report:
        raise KeyTaken("another order")

    venue.on_send["AAPL"] = lost
    venue.on_look_up["AAPL"] = taken
    async with Orchestrator(SqliteStore(path), [venue]) as engine:
        row = await engine.run(batch(buy("AAPL", 5)), timeout=20)
        assert row.state == SagaState.STALE
        yield engine, row


@pytest.mark.requirement("S6")
async def test_an_answer_at_last_narrows_what_a_stale_batch_may_hold(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with stale_on(venue, tmp_path / "saga.db") as (engine, row):
        assert '"low":"0","high":"5"' in str(row.residual)
        assert await engine.look_again(row.batch_id, by="ann") == (), "no answer is no truth"
        del venue.on_look_up["AAPL"]
        (truth,) = await engine.look_again(row.batch_id, by="ann")
        assert truth.final
        row = await engine.batch(row.batch_id)
        assert (row.state, row.incidents) == (SagaState.STALE, 1)
        assert '"low":"5","high":"5"' in str(row.residual)
        row = await engine.retry(row.batch_id, by="ann", reason="now it is known")
        row = await engine.wait(row.batch_id, timeout=20)
        assert (row.state, row.incidents) == (SagaState.ROLLED_BACK, 1)
        assert sum(quantity for _, _, quantity in venue.books) == 0


@pytest.mark.requirement("S5", "B9", "O7")
async def test_what_was_sold_by_hand_while_a_batch_is_stale_is_not_sold_by_a_retry_as_well(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    async with stale_on(venue, tmp_path / "saga.db") as (engine, row):
        del venue.on_look_up["AAPL"]
        await engine.look_again(row.batch_id, by="ann")
        sold = Adjustment("AAPL", Decimal(-5), Decimal(500), "T-7")
        said = {"by": "ann", "reason": "sold", "action": "sold 5"}
        seen = len(await engine.store.journal(row.batch_id))
        await engine.close_incidents(row.batch_id, **said, adjustments=(sold,), seen=seen)
        journal = await engine.store.journal(row.batch_id)

        with pytest.raises(NotAllowed, match=r"-5 AAPL was booked by hand .* and resolve it"):
            await engine.retry(row.batch_id, by="ann", reason="again")

        assert await engine.store.journal(row.batch_id) == journal
        assert (await engine.batch(row.batch_id)).state == SagaState.STALE
        sent = [attempt for attempt in venue.sent if attempt.endswith("C1")]
        assert sent == []


class WhileItRests(SqliteStore):
    """Something happens while the record is written with which a batch is STALE."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_written = anyio.Event()
        self.absent: set[str] = set()

    async def append(self, append: Append) -> int:
        kinds = [change.event.kind for change in append.changes]
        self.absent |= {
            change.key or "" for change in append.changes if change.event.kind == "proven_absent"
        }
        if "lost_track" in kinds:
            self.is_written.set()
            await anyio.wait_all_tasks_blocked()
        return await super().append(append)


async def _lost(_: Attempt) -> Report:
    raise ConnectionError


def _two_that_are_called_absent(
    store: WhileItRests, answer: Callable[[Attempt], Awaitable[Report | None]]
) -> LyingVenue:
    """Return a venue that knows of neither order, and then that the first key names another.

    Args:
        store: knows which keys were called absent.
        answer: to what is asked about the second then.
    """
    venue = LyingVenue(Capabilities(visibility_seconds=0.0, poll_seconds=0.02, tombstone=True))

    async def taken(attempt: Attempt) -> Report | None:
        if attempt.key in store.absent:
            raise KeyTaken("another order")
        return None

    async def slowly(attempt: Attempt) -> Report | None:
        return await answer(attempt) if attempt.key in store.absent else None

    venue.on_send = {"AAPL": _lost, "MSFT": _lost}
    venue.on_look_up = {"AAPL": taken, "MSFT": slowly}
    return venue


@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.requirement("S6", "S18")
async def test_an_answer_that_comes_while_a_batch_becomes_stale_harms_nothing_and_is_not_lost(
    tmp_path: Path, arrived: bool
) -> None:
    store = WhileItRests(tmp_path / "saga.db")

    async def answer(attempt: Attempt) -> Report | None:
        await store.is_written.wait()
        return venue.told.get(attempt.key) or (venue.fill(attempt) if arrived else None)

    venue = _two_that_are_called_absent(store, answer)
    order = batch(buy("AAPL", 5), buy("MSFT", 5), mode=ExecutionMode.PARALLEL)
    async with Orchestrator(store, [venue]) as engine:
        row = await engine.run(order, timeout=20)
        assert row.state == SagaState.STALE
        if arrived:
            row = await until_open(engine, row.batch_id)
        assert await store.quarantined() == {}


@pytest.mark.requirement("S6")
async def test_who_was_still_being_asked_when_a_batch_became_stale_is_asked_once_more(
    tmp_path: Path,
) -> None:
    store = WhileItRests(tmp_path / "saga.db")

    async def answer(attempt: Attempt) -> Report | None:
        if not rested:
            await anyio.sleep_forever()
        return venue.told.get(attempt.key) or venue.fill(attempt)

    rested: list[BatchRow] = []
    venue = _two_that_are_called_absent(store, answer)
    venue.capabilities = venue.capabilities.model_copy(update={"call_timeout_seconds": 20.0})
    order = batch(buy("AAPL", 5), buy("MSFT", 5), mode=ExecutionMode.PARALLEL)
    async with Orchestrator(store, [venue]) as engine:
        engine.on_outcome(_noted(rested))
        await engine.submit(order)
        row = await until_open(engine, order.batch_id)
        assert row.state == SagaState.STALE


def _noted(rows: list[BatchRow]) -> Callable[[BatchRow], Awaitable[None]]:
    async def note(row: BatchRow) -> None:
        rows.append(row)

    return note


@pytest.mark.requirement("S6")
@pytest.mark.scenario("C5")
async def test_an_overfill_that_is_told_after_the_end_is_recorded_as_it_is(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(batch(buy("AAPL", 5)), timeout=20)
        first = venue.told[key_of(row, 0)]
        more = replace(first, fills=(*first.fills, Fill("more", Decimal(1), Decimal(10))))

        async def told_more(_: Attempt) -> Report:
            return more

        venue.on_look_up["AAPL"] = told_more
        (truth,) = await engine.look_again(row.batch_id, by="ann")
        assert [fill.quantity for fill in truth.fills] == [1]
        (trade,) = await engine.trades(row.batch_id)
        assert (trade.done, trade.status) == (Decimal(6), "success")


@pytest.mark.parametrize(
    "told",
    [
        None,
        "garbage",
        Report(True, (), reversed=("unknown",)),
        Report(True, (Fill("new", Decimal(5), Decimal(10)),)),
        Report(True, (), reversed=5),  # type: ignore[arg-type]
        Report(True, (Fill("new", Decimal("1e-20"), Decimal(10)),)),
    ],
)
@pytest.mark.requirement("S9")
async def test_what_is_no_answer_changes_nothing_however_often_it_is_told(
    tmp_path: Path, told: object
) -> None:
    venue = LyingVenue()
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(batch(buy("AAPL", 5)), timeout=20)

        async def says(_: Attempt) -> Report | None:
            return told  # type: ignore[return-value]

        venue.on_look_up["AAPL"] = says
        assert await engine.look_again(row.batch_id, by="ann") == ()
        assert await engine.batch(row.batch_id) == row


async def test_looking_again_at_nothing_is_an_error_and_at_what_runs_is_not(floor: Floor) -> None:
    async with floor.engine() as engine:
        with pytest.raises(NoSuchBatch):
            await engine.look_again("BAT_20200101_000000_nobody00", by="ann")


# --- a person ------------------------------------------------------------------------------------


async def test_an_operator_closes_the_incidents_that_he_has_seen(floor: Floor) -> None:
    async with floor.engine() as engine:
        ended = await ended_before_its_order_arrived(floor, engine)
        floor.clock.turn(LAG)
        await engine.look_again(ended.batch_id, by="ann")
        records = [r async for r in engine.store.records(batch_id=ended.batch_id)]
        with pytest.raises(NotAllowed, match="no open incident up to record 1 "):
            await engine.close_incidents(ended.batch_id, by="ann", reason="sold", seen=1)
        row = await engine.close_incidents(
            ended.batch_id,
            by="ann",
            reason="sold by phone",
            seen=records[-1].number,
            action="sold 10 AAPL",
            adjustments=(Adjustment("AAPL", Decimal(-10), Decimal(700)),),
        )
        assert (row.incidents, row.state) == (0, SagaState.ROLLED_BACK)
        last = [r async for r in engine.store.records(batch_id=ended.batch_id)][-1]
        assert isinstance(last.event, IncidentClosed)


@pytest.mark.requirement("S8", "S14")
@pytest.mark.requirement("S9")
async def test_nobody_books_by_hand_what_the_journal_has_already(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with stale_on(venue, tmp_path / "saga.db") as (engine, row):
        del venue.on_look_up["AAPL"]
        (truth,) = await engine.look_again(row.batch_id, by="ann")
        named = Adjustment("AAPL", Decimal(5), Decimal(-50), truth.fills[0].fill_id)
        seen = (await engine.store.journal(row.batch_id))[-1].number
        who: dict[str, Any] = {"by": "ann", "reason": "it was filled"}
        with pytest.raises(NotAllowed, match="in the books already; leave it out, or name it"):
            await engine.close_incidents(row.batch_id, **who, seen=seen, adjustments=(named,))
        with pytest.raises(NotAllowed, match="in the books already; leave it out, or name it"):
            await engine.resolve(
                row.batch_id, **who, action="kept", evidence="list", adjustments=(named,), seen=seen
            )
        sold = replace(named, quantity=-Decimal(5), cash=Decimal(50))
        row = await engine.close_incidents(row.batch_id, **who, seen=seen, adjustments=(sold,))
        assert row.incidents == 0


async def test_an_incident_is_told_as_an_alert_and_not_as_another_outcome(floor: Floor) -> None:
    outcomes: list[BatchRow] = []
    alerts: list[Alert] = []
    async with floor.engine() as engine:
        engine.on_outcome(outcomes.append)
        engine.on_alert(alerts.append)
        ended = await ended_before_its_order_arrived(floor, engine)
        floor.clock.turn(LAG)
        await engine.look_again(ended.batch_id, by="ann")
        with anyio.fail_after(20):
            while not alerts:  # noqa: ASYNC110
                await anyio.sleep(0.005)
    (alert,) = alerts
    assert (alert.kind, alert.batch_id) == (AlertKind.INCIDENT, ended.batch_id)
    assert "10 filled at" in alert.sentence
    assert [row.batch_id for row in outcomes] == [ended.batch_id]


# --- the watcher ---------------------------------------------------------------------------------


@pytest.mark.requirement("L6", "L3")
async def test_the_watcher_asks_nothing_about_what_the_journal_knows(floor: Floor) -> None:
    async with floor.engine() as engine:
        row = await engine.run(batch(buy("AAPL"), buy("MSFT")), timeout=20)
        await floor.exchange.script(FaultRule(fault=Fault.GARBAGE, times=None))
        assert await TradeWatcher(floor.exchange, engine).look() == ()
        assert [count.fired for count in await floor.exchange.faults()] == [0]
        assert (await engine.batch(row.batch_id)).incidents == 0


@pytest.mark.requirement("L6")
async def test_the_watcher_goes_on_after_a_failure_and_gives_a_mute_trade_up(
    floor: Floor, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 0

    class Mute(PaperExchange):
        async def look_up(self, attempt: Attempt) -> Report | None:
            return None

        async def trades(self, after: int = 0) -> tuple[Trade, ...]:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise ConnectionError("not now")
            return await super().trades(after)

    async with floor.engine() as engine:
        ended = await ended_before_its_order_arrived(floor, engine)
    floor.clock.turn(LAG)
    mute = Mute(floor.folder / "books.sqlite", clock=floor.clock, runner=Inline(), durable=False)
    async with Orchestrator(SqliteStore(floor.folder / "saga.db"), [mute]) as engine:
        watcher = TradeWatcher(mute, engine)
        for _ in range(MAX_LOOKS + 2):
            assert await watcher.look() == ()
        told = [r for r in caplog.records if "which no journal knows" in r.message]
        assert len(told) == 1
        assert ended.batch_id.removeprefix("BAT_") in told[0].message
