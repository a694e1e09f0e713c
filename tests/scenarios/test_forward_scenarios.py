"""A. A crash on the forward path, one test for each scenario, with its expectation by hand.

Where a scenario is a cell of the fault grid it is played there: a real store, a copy of its files
as a kill leaves them, and a new process on that copy.
"""

from datetime import date

import anyio
import pytest

from brokers.paper import Fault, FaultRule
from brokers.venue import OrderStatus
from saga.ids import Purpose, attempt_key
from saga.limits import Limits
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import Capabilities
from tests.engine.lying_venue import LyingVenue
from tests.grid.cells import Cell
from tests.grid.judge import violations
from tests.grid.plan import BATCH_ID, HELD_BEFORE
from tests.grid.points import Rule
from tests.grid.theatre import Evidence, Theatre
from tests.scenarios.stage import ExecutionMode, Stage, batch, buy, events_of, kinds

_LATER = date(2020, 1, 31)


def played(theatre: Theatre, name: str) -> Evidence:
    """What came of a cell, in which no invariant is broken."""
    seen = theatre.play(Cell.parse(name))
    assert violations(seen) == []
    return seen


def told(seen: Evidence) -> list[str]:
    return [record.event.kind for record in seen.journal]


def orders(seen: Evidence) -> list[str]:
    """The ends of the keys of the orders in the venue's books, refused ones included."""
    assert seen.books is not None
    return [o.client_order_id[-3:] for o in seen.books.orders if o.client_order_id is not None]


def bought(seen: Evidence, symbol: str) -> int:
    assert seen.books is not None
    return int(seen.books.positions[symbol] - HELD_BEFORE)


@pytest.mark.scenario("A1")
def test_a1_a_crash_before_the_batch_is_durable_leaves_no_saga_and_the_retry_makes_one(
    theatre: Theatre,
) -> None:
    seen = played(theatre, "K0-B1-L2-1-ATOMIC")
    assert told(seen) == ["submitted", "started", "intended", "reported", "completed"]
    assert orders(seen) == ["0F1"]


@pytest.mark.scenario("A2")
def test_a2_a_batch_that_was_durable_but_not_answered_is_the_same_saga_when_tried_again(
    theatre: Theatre,
) -> None:
    seen = played(theatre, "K1-B1-L2-1-ATOMIC")
    assert told(seen).count("submitted") == 1
    assert seen.submitted_again == BATCH_ID
    assert seen.records_after == 0
    assert orders(seen) == ["0F1"]


@pytest.mark.scenario("A3")
def test_a3_what_was_acknowledged_and_not_begun_runs_once(theatre: Theatre) -> None:
    seen = played(theatre, "K2-B1-L2-2-ATOMIC")
    assert told(seen).count("started") == 1
    assert orders(seen) == ["0F1", "1F1"]


@pytest.mark.scenario("A4")
def test_a4_a_crash_before_the_intent_sends_nothing_until_the_restart(theatre: Theatre) -> None:
    seen = played(theatre, "K3-B1-L2-1-ATOMIC")
    assert orders(seen) == ["0F1"]
    assert seen.books is not None
    (order,) = [o for o in seen.books.orders if o.client_order_id is not None]
    (intent,) = [r for r in seen.journal if r.event.kind == "intended"]
    assert order.placed_at >= intent.at
    assert "answer_lost" not in told(seen)


@pytest.mark.scenario("A5")
def test_a5_an_intent_that_was_never_sent_is_proven_absent_and_sent_once(
    theatre: Theatre,
) -> None:
    seen = played(theatre, "K4-B1-L2-1-ATOMIC")
    assert told(seen)[2:] == [
        *("intended", "resumed", "not_found", "not_found", "not_found", "sent_again"),
        *("reported", "completed"),
    ]
    asked = [record.at for record in seen.journal if record.event.kind == "not_found"]
    assert (asked[-1] - asked[0]).total_seconds() >= 5  # the venue's declared window
    assert orders(seen) == ["0F1"]


@pytest.mark.scenario("A6")
def test_a6_an_order_that_was_accepted_unheard_is_adopted(theatre: Theatre) -> None:
    seen = played(theatre, "K5-B6-L2-1-ATOMIC")
    assert orders(seen) == ["0F1"]
    assert "sent_again" not in told(seen)
    assert bought(seen, "AAPL") == 10


@pytest.mark.scenario("A7")
def test_a7_an_order_that_never_arrived_is_proven_absent_and_sent_as_the_same_order(
    theatre: Theatre,
) -> None:
    seen = played(theatre, "K5-B5-L2-1-ATOMIC")
    assert told(seen).count("not_found") == 3
    assert told(seen).count("sent_again") == 1
    assert told(seen).count("intended") == 1
    assert orders(seen) == ["0F1"]


@pytest.mark.scenario("A8")
def test_a8_an_order_that_arrives_within_the_window_is_adopted(stage: Stage) -> None:
    async def scenario() -> None:
        late = FaultRule(fault=Fault.ACCEPTS_LATE, delay_seconds=4.0)
        await stage.exchange.script(late)
        async with stage.engine() as engine:
            order = batch(buy("KO"))
            assert (await engine.run(order)).state == "COMPLETED"
            story = kinds(await events_of(engine, order))
        assert story.count("not_found") >= 1  # it was said not to be there, and that proved nothing
        assert "sent_again" not in story
        assert len(await stage.orders()) == 1

    stage.play(scenario)


@pytest.mark.scenario("A9")
def test_a9_a_fill_that_was_read_and_not_kept_is_learnt_again_and_applied_once(
    theatre: Theatre,
) -> None:
    seen = played(theatre, "K6-B1-L2-1-ATOMIC")
    assert told(seen).count("reported") == 1
    assert bought(seen, "AAPL") == 10


@pytest.mark.scenario("A10")
def test_a10_an_execution_that_is_told_again_and_again_is_applied_once(theatre: Theatre) -> None:
    seen = played(theatre, "K7-B8-L2-1-ATOMIC")
    (trade,) = seen.trades
    assert trade.done == 10
    assert bought(seen, "AAPL") == 10


@pytest.mark.scenario("A11")
def test_a11_a_subscriber_that_comes_back_gets_what_it_missed_and_nothing_twice(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        half = FaultRule(fault=Fault.PARTIAL_THEN_FULL, delay_seconds=30.0)
        await stage.exchange.script(half)
        order = batch(buy("KO"), buy("PG"))
        heard: list[int] = []
        async with stage.engine() as engine:
            await engine.submit(order)
            async for record in engine.events(batch_id=order.batch_id):
                heard.append(record.sequence)
                if record.event.kind == "intended":
                    break  # the fill is durable before it could be told
            await stage.sleep(1)
        async with stage.engine() as engine:
            await engine.wait(order.batch_id)
            with anyio.move_on_after(1):
                async for record in engine.events(after=heard[-1], batch_id=order.batch_id):
                    heard.append(record.sequence)
                    if record.event.kind == "completed":
                        break
            journal = await engine.store.journal(order.batch_id)
        assert heard == [record.sequence for record in journal]

    stage.play(scenario)


@pytest.mark.scenario("A12")
def test_a12_the_end_is_derived_from_the_fills_and_nothing_is_sent(theatre: Theatre) -> None:
    seen = played(theatre, "K9-B1-L2-1-ATOMIC")
    assert told(seen)[-3:] == ["resumed", "reported", "completed"]
    assert orders(seen) == ["0F1"]


@pytest.mark.scenario("A13")
def test_a13_an_end_that_was_durable_and_not_told_is_told_as_it_is(theatre: Theatre) -> None:
    seen = played(theatre, "K10-B1-L2-2-ATOMIC")
    assert told(seen).count("completed") == 1
    assert told(seen)[-1] == "completed"  # nothing is written when it is told once more
    assert seen.told == ["COMPLETED"]


@pytest.mark.scenario("A14")
@pytest.mark.parametrize("behaviour", ["B5", "B6"])
def test_a14_three_crashes_in_a_row_behind_the_same_send_leave_one_order(
    theatre: Theatre, behaviour: str
) -> None:
    cell = Cell.parse(f"K5-{behaviour}-L2-1-ATOMIC")
    key = attempt_key(BATCH_ID, 0, Purpose.FORWARD, 1)

    def at_each_send(_: Cell, life: int) -> Rule:
        return lambda place, what: life <= 3 and place in ("placed", "found") and what == key

    seen = theatre.play(cell, at_each_send)
    assert seen.deaths == 3
    assert seen.row is not None
    assert seen.row.state == "COMPLETED"
    assert orders(seen) == ["0F1"]
    assert bought(seen, "AAPL") == 10


@pytest.mark.scenario("A15")
def test_a15_many_sagas_in_flight_are_all_resumed_and_the_broker_is_not_flooded(
    stage: Stage,
) -> None:
    many = 300
    venue = LyingVenue(Capabilities(visibility_seconds=5.0, poll_seconds=5.0))
    asked: list[str] = []

    async def works(_: Attempt) -> Report:
        return Report(False)

    async def is_told(attempt: Attempt) -> Report:
        asked.append(attempt.key)
        return Report(False) if len(asked) <= many else venue.fill(attempt)

    async def scenario() -> None:
        venue.on_send["KO"], venue.on_look_up["KO"] = works, is_told
        batches = [batch(buy("KO"), buy("PG")) for _ in range(many)]
        async with stage.engine(venue) as engine:
            for order in batches:
                await engine.submit(order)
            await stage.until(lambda: len(venue.sent) == many)
        asked.clear()
        async with stage.engine(venue) as engine:
            await stage.sleep(5.5)
            assert len(venue.sent) == many  # each is looked up before anything more is sent
            assert len(asked) == len(set(asked)) == many  # once when taken up, then at its poll
            for order in batches:
                assert (await engine.wait(order.batch_id)).state == "COMPLETED"
        assert len(venue.sent) == len(set(venue.sent)) == 2 * many

    stage.play(scenario)


@pytest.mark.scenario("A16")
def test_a16_while_the_broker_is_down_nothing_is_sent_and_deadlines_go_on(stage: Stage) -> None:
    async def scenario() -> None:
        half = FaultRule(fault=Fault.PARTIAL_THEN_SILENCE)
        await stage.exchange.script(half)
        order = batch(buy("KO"), buy("PG"), timeout_seconds=60)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(2)
        down = FaultRule(fault=Fault.DISCONNECTS, on="find", delay_seconds=300.0)
        await stage.exchange.script(down)
        stage.exchange.calls.clear()
        async with stage.engine() as engine:
            await stage.sleep(20)
            (row,) = engine.active()
            assert row.state == "RUNNING"
            assert "buy 10 KO" in (row.waits_for or "")
            assert "the connection to the exchange broke" in (row.waits_for or "")
            await stage.sleep(100)
            assert "deadline_passed" in kinds(await events_of(engine, order))
            assert stage.exchange.placed() == []
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
        assert await stage.held() == {}

    stage.play(scenario)


@pytest.mark.scenario("A17")
@pytest.mark.parametrize("mode", [ExecutionMode.ATOMIC, ExecutionMode.SEQUENTIAL])
def test_a17_three_days_later_the_expiry_is_adopted_and_no_old_price_is_sent_again(
    stage: Stage, mode: ExecutionMode
) -> None:
    async def scenario() -> None:
        order = batch(
            buy("KO"), buy("PG", limit_price="1"), buy("MSFT"), mode=mode, timeout_seconds=3600
        )
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(10)
        stage.exchange.calls.clear()
        stage.jump(days=3)
        market = stage.exchange.market
        await stage.exchange.advance(market.days_between(await stage.exchange.day(), _LATER)[0])
        async with stage.engine(limits=Limits()) as engine:
            row = await engine.wait(order.batch_id)
            story = kinds(await events_of(engine, order))
        assert "deadline_passed" in story
        assert [key for key in stage.exchange.placed() if "F" in key] == []
        expired = [o for o in await stage.orders() if o.status is OrderStatus.EXPIRED]
        assert [o.symbol for o in expired] == ["PG"]
        if mode is ExecutionMode.ATOMIC:
            assert row.state == "ROLLED_BACK"
            assert await stage.held() == {}
        else:
            assert row.state == "COMPLETED"
            assert await stage.held() == {"KO": 10}

    stage.play(scenario)
