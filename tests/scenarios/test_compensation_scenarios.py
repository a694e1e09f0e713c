"""B. Compensation, one test for each scenario: what was filled is undone, exactly and once."""

from decimal import Decimal
from pathlib import Path

import pytest

from brokers.orders import Side
from brokers.paper import Fault, FaultRule, PaperSettings
from brokers.venue import OrderStatus
from saga.errors import NotAllowed
from saga.events import Abandoned, Adjustment, CompensationStarted, Intended, Resolved, Retried
from saga.ids import Purpose
from saga.policy import RetryPolicy
from tests.grid.cells import Cell
from tests.grid.judge import violations
from tests.grid.points import strikes_at
from tests.grid.theatre import Theatre
from tests.scenarios.stage import Stage, batch, buy, events_of, kinds

COMP = Purpose.COMPENSATION
BY = {"by": "alice", "reason": "it has been open for too long"}


def refuses(step: int, **more: object) -> FaultRule:
    return FaultRule.model_validate({"fault": Fault.REFUSES, "step": step, **more})


def never_undone(step: int, reason: str = "trading is halted") -> FaultRule:
    return refuses(step, purpose=COMP, times=None, reason=reason)


def half(step: int, quantity: int = 4) -> FaultRule:
    return FaultRule(
        fault=Fault.PARTIAL_THEN_SILENCE,
        step=step,
        purpose=Purpose.FORWARD,
        quantity=Decimal(quantity),
    )


@pytest.mark.scenario("B-1")
def test_b1_a_leg_refused_after_another_filled_flattens_that_one(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(refuses(1), half(2))
        # Three at once: the third is open while the second is refused.
        order = batch(buy("KO"), buy("PG"), buy("MSFT"), max_parallel=3)
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "ROLLED_BACK"
        orders = await stage.orders()
        cancelled = next(n for n, call in enumerate(stage.exchange.calls) if call[0] == "cancel")
        first_undo = stage.exchange.calls.index(
            next(c for c in stage.exchange.calls if c[0] == "place" and "C" in c[1])
        )
        assert cancelled < first_undo
        assert all(o.status.is_final for o in orders)
        assert await stage.held() == {}

    stage.play(scenario)


@pytest.mark.scenario("B-2")
def test_b2_what_a_live_leg_had_filled_when_it_was_cancelled_is_undone_exactly(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(half(0), refuses(1))
        order = batch(buy("KO"), buy("PG"), max_parallel=2)
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "ROLLED_BACK"
        (undo,) = await stage.orders(Side.SELL)
        assert (undo.quantity, undo.filled) == (Decimal(4), Decimal(4))
        assert await stage.held() == {}

    stage.play(scenario)


@pytest.mark.scenario("B-3")
def test_b3_a_cancel_that_loses_is_followed_by_the_undo_of_the_larger_fill(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(half(0), FaultRule(fault=Fault.CANCEL_LOSES), refuses(1))
        order = batch(buy("KO"), buy("PG"), max_parallel=2)
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "ROLLED_BACK"
        (undo,) = await stage.orders(Side.SELL)
        assert undo.quantity == 10
        assert await stage.held() == {}

    stage.play(scenario)


@pytest.mark.scenario("B-4")
def test_b4_a_batch_that_fills_whole_while_it_is_cancelled_is_undone_as_was_decided(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(half(1), FaultRule(fault=Fault.CANCEL_LOSES))
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(10)
            await engine.cancel(order.batch_id, **BY)
            row = await engine.wait(order.batch_id)
            story = kinds(await events_of(engine, order))
        assert row.state == "ROLLED_BACK"
        assert story.count("compensation_started") == 1
        assert [o.quantity for o in await stage.orders(Side.SELL)] == [10, 10]
        assert await stage.held() == {}

    stage.play(scenario)


@pytest.mark.scenario("B-5")
def test_b5_an_undo_that_is_refused_is_tried_three_times_and_what_is_left_is_told_exactly(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(refuses(1), never_undone(0, "no shorting, no margin"))
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine() as engine:
            row = await engine.run(order)
            (abandoned,) = [e for e in await events_of(engine, order) if isinstance(e, Abandoned)]
        assert row.state == "STALE"
        assert len(await stage.orders(Side.SELL)) == 3
        (left,) = abandoned.residual
        assert (left.subject, left.low, left.high, left.unproven) == (
            "KO",
            Decimal(10),
            Decimal(10),
            (),
        )
        assert await stage.held() == {"KO": 10}

    stage.play(scenario)


@pytest.mark.scenario("B-6")
def test_b6_an_undo_that_fills_in_part_and_stalls_leaves_what_the_broker_says(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        stalls = FaultRule(
            fault=Fault.PARTIAL_THEN_SILENCE, purpose=COMP, attempt=1, quantity=Decimal(3)
        )
        await stage.exchange.script(stalls, refuses(1), refuses(0, purpose=COMP, after=1, times=9))
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine() as engine:
            row = await engine.run(order)
            (abandoned,) = [e for e in await events_of(engine, order) if isinstance(e, Abandoned)]
        assert row.state == "STALE"
        (left,) = abandoned.residual
        assert (left.subject, left.low, left.high) == ("KO", Decimal(7), Decimal(7))
        assert await stage.held() == {"KO": 7}

    stage.play(scenario)


@pytest.mark.scenario("B-7")
@pytest.mark.parametrize("loss", ["L1", "L2", "L3"])
def test_b7_an_undo_that_was_accepted_unheard_is_adopted_and_never_doubled(
    theatre: Theatre, loss: str
) -> None:
    seen = theatre.play(Cell.parse(f"K16-B6-{loss}-2-ATOMIC"))
    assert violations(seen) == []
    assert seen.books is not None
    sold = [o for o in seen.books.orders if o.side is Side.SELL]
    assert [(o.quantity, o.filled) for o in sold] == [(Decimal(10), Decimal(10))]


@pytest.mark.scenario("B-8")
def test_b8_a_decision_to_compensate_that_was_not_durable_is_taken_again(
    theatre: Theatre,
) -> None:
    seen = theatre.play(Cell.parse("K11-B1-L2-2-ATOMIC"))
    assert violations(seen) == []
    told = [record.event for record in seen.journal]
    assert sum(isinstance(event, CompensationStarted) for event in told) == 1
    assert seen.books is not None
    keys = [o.client_order_id for o in seen.books.orders if o.client_order_id is not None]
    assert len(keys) == len(set(keys)) == 3


@pytest.mark.scenario("B-9")
@pytest.mark.parametrize("crash", [12, 13, 14, 15, 16, 17, 18])
def test_b9_wherever_an_undo_dies_twice_it_ends_and_undoes_no_more_than_was_filled(
    theatre: Theatre, crash: int
) -> None:
    cell = Cell.parse(f"K{crash}-B3-L2-2-ATOMIC")
    seen = theatre.play(cell, lambda of, life: strikes_at(of, 1 if life <= 2 else life))
    wrong = [sentence for sentence in violations(seen) if "crash point" not in sentence]
    assert wrong == []
    assert seen.deaths >= 1
    assert seen.row is not None
    assert seen.row.state == "ROLLED_BACK"


@pytest.mark.scenario("B-10")
def test_b10_an_instrument_that_is_halted_in_between_leaves_a_stale_batch_and_an_alert(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(half(1))
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(10)
            await stage.exchange.halt("KO")
            await engine.cancel(order.batch_id, **BY)
            row = await engine.wait(order.batch_id)
            assert row.state == "STALE"
            (abandoned,) = [e for e in await events_of(engine, order) if isinstance(e, Abandoned)]
            assert "trading in KO is halted" in abandoned.reason
            assert [(e.subject, e.low, e.high) for e in abandoned.residual] == [
                ("KO", Decimal(10), Decimal(10))
            ]
        assert await stage.held() == {"KO": 10}

    stage.play(scenario)


@pytest.mark.scenario("B-11")
def test_b11_what_is_left_below_a_lot_is_recorded_and_never_rounded_away(tmp_path: Path) -> None:
    stage = Stage(tmp_path, PaperSettings(lot=Decimal(5), poll_seconds=5.0))

    async def scenario() -> None:
        # Three shares of a lot of five: such a fill cannot be sold again at this venue.
        odd = FaultRule(fault=Fault.FILLS_WRONGLY, step=0, quantity=Decimal(3))
        await stage.exchange.script(odd)
        order = batch(buy("KO", 5), buy("PG", 5))
        async with stage.engine() as engine:
            row = await engine.run(order)
            assert row.state == "STALE"
            (abandoned,) = [e for e in await events_of(engine, order) if isinstance(e, Abandoned)]
            assert [(e.subject, e.low, e.high) for e in abandoned.residual] == [
                ("KO", Decimal(3), Decimal(3))
            ]
        assert await stage.held() == {"KO": 3}

    stage.play(scenario)


@pytest.mark.scenario("B-13")
def test_b13_a_second_failure_while_undoing_the_first_makes_no_second_plan(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(half(0), refuses(2), never_undone(1))
        order = batch(buy("KO"), buy("PG"), buy("MSFT"), max_parallel=3, timeout_seconds=30)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(1)
            with pytest.raises(NotAllowed):
                await engine.cancel(order.batch_id, **BY)
            row = await engine.wait(order.batch_id)
            story = kinds(await events_of(engine, order))
        assert row.state == "STALE"
        assert story.count("compensation_started") == 1
        assert story.count("abandoned") == 1
        assert await stage.held() == {"PG": 10}

    stage.play(scenario)


@pytest.mark.scenario("B-14")
def test_b14_an_operator_s_hand_is_journalled_and_his_orders_keep_to_the_same_bounds(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(refuses(1), never_undone(0))
        tries = RetryPolicy(backoff_seconds=0.0)
        order = batch(buy("KO", retry=tries), buy("PG", retry=tries))
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "STALE"
            await engine.retry(order.batch_id, by="alice", reason="margin was paid in")
            assert (await engine.wait(order.batch_id)).state == "STALE"
            half_back = FaultRule(
                fault=Fault.FILLS_WRONGLY, purpose=COMP, quantity=Decimal(6), step=0
            )
            await stage.exchange.script(half_back, refuses(0, purpose=COMP, after=1, times=9))
            await engine.retry(order.batch_id, by="bob", reason="the halt is lifted")
            assert (await engine.wait(order.batch_id)).state == "STALE"
            row = await engine.resolve(
                order.batch_id,
                by="carol",
                reason="the rest was sold by telephone",
                action="sold 4 KO",
                evidence="ticket 17",
                adjustments=(Adjustment("KO", Decimal(-4), Decimal(200)),),
            )
            assert row.state == "ROLLED_BACK"
            events = await events_of(engine, order)
        assert [e.by for e in events if isinstance(e, Retried)] == ["alice", "bob"]
        (resolved,) = [e for e in events if isinstance(e, Resolved)]
        assert (resolved.by, resolved.action, resolved.evidence) == (
            *("carol", "sold 4 KO", "ticket 17"),
        )
        before = [e.residual[0].low for e in events if isinstance(e, Abandoned)]
        assert before == [10, 10, 4]
        undos = [e.amount for e in events if isinstance(e, Intended) and e.purpose is COMP]
        assert undos == [10] * 7 + [4] * 2
        sold = [o for o in await stage.orders(Side.SELL) if o.status is OrderStatus.FILLED]
        assert sum(o.filled for o in sold) == 6

    stage.play(scenario)
