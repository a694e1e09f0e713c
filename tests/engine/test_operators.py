"""What operators do to a batch, with a real store and a real exchange."""

from datetime import date
from decimal import Decimal
from typing import TypedDict

import anyio
import pytest

from brokers.paper import Fault, FaultRule
from saga.errors import InvalidInput, NoSuchBatch, NotAllowed
from saga.events import Adjustment, Resolved
from saga.ids import Purpose
from saga.model import ExecutionMode
from saga.orchestrator import Orchestrator
from saga.policy import FailurePolicy
from tests.engine.trading_desk import Desk, batch, buy


class _Who(TypedDict):
    by: str
    reason: str


BY: _Who = {"by": "alice", "reason": "because"}
STUCK = (
    FaultRule(fault=Fault.REFUSES, symbol="MSFT", purpose=Purpose.FORWARD, times=None),
    FaultRule(fault=Fault.REFUSES, symbol="AAPL", purpose=Purpose.COMPENSATION, times=3),
)


async def stale_batch(desk: Desk, engine: Orchestrator) -> str:
    """A batch whose undo of AAPL was refused three times."""
    await desk.exchange.script(*STUCK)
    order = batch(buy("AAPL"), buy("KO"), buy("MSFT"), exclusion_key="portfolio:main")
    row = await engine.run(order)
    assert row.state == "STALE"
    return order.batch_id


@pytest.mark.requirement("B9", "T14")
async def test_cancelling_a_running_atomic_batch_undoes_it(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)
        await engine.cancel(order.batch_id, **BY)
        again = await engine.cancel(order.batch_id, by="bob", reason="me too")
        row = await engine.wait(order.batch_id)
        assert again.batch_id == order.batch_id
        with pytest.raises(NotAllowed, match="ROLLED_BACK"):
            await engine.pause(order.batch_id, **BY)
    assert (row.state, row.status) == ("ROLLED_BACK", "cancelled")
    assert row.reason == "cancelled by alice: because"
    assert await desk.held() == {}


async def test_cancelling_a_batch_that_keeps_leaves_what_was_filled(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"), mode=ExecutionMode.PARALLEL)
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)
        await engine.cancel(order.batch_id, **BY)
        row = await engine.wait(order.batch_id)
    assert (row.state, row.status) == ("COMPLETED", "partial_success")
    assert await desk.held() == {"AAPL": Decimal(10)}


async def test_a_waiting_batch_that_is_cancelled_sends_nothing(desk: Desk) -> None:
    first = batch(buy("KO", limit_price="1"), exclusion_key="main")
    second = batch(buy("AAPL"), exclusion_key="main")
    async with desk.engine() as engine:
        await engine.submit(first)
        await engine.submit(second)
        await desk.until_sent(1)
        await engine.cancel(second.batch_id, **BY)
        row = await engine.wait(second.batch_id)
        assert (row.state, row.status, row.started_at) == ("ROLLED_BACK", "cancelled", None)
        await engine.cancel(first.batch_id, **BY)
        await engine.wait(first.batch_id)
    assert len(await desk.sent_keys()) == 1


async def test_a_paused_batch_sends_nothing_new_until_it_is_unpaused(desk: Desk) -> None:
    order = batch(
        buy("KO", limit_price="1"), buy("AAPL"), mode=ExecutionMode.PARALLEL, max_parallel=1
    )
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(1)
        assert (await engine.pause(order.batch_id, **BY)).paused
        with pytest.raises(NotAllowed, match="cannot be paused"):
            await engine.pause(order.batch_id, **BY)
        (key,) = await desk.sent_keys()
        await desk.exchange.cancel_order(key or "")  # the open order stays watched
        async for record in engine.events(batch_id=order.batch_id):
            if record.event.kind == "reported" and record.event.final:  # type: ignore[union-attr]
                break
        assert await desk.sent_keys() == [key]
        assert engine.active()[0].waits_for == "to be unpaused"
        await engine.unpause(order.batch_id, **BY)
        row = await engine.wait(order.batch_id)
    assert row.status == "partial_success"
    assert await desk.held() == {"AAPL": Decimal(10)}


async def test_pausing_a_waiting_batch_holds_it_back(desk: Desk) -> None:
    blocker = batch(buy("KO", limit_price="1"), exclusion_key="main")
    order = batch(buy("AAPL"), exclusion_key="main")
    async with desk.engine() as engine:
        await engine.submit(blocker)
        await engine.submit(order)
        await desk.until_sent(1)
        await engine.pause(order.batch_id, **BY)
        await engine.cancel(blocker.batch_id, **BY)
        await engine.wait(blocker.batch_id)
        assert (await engine.batch(order.batch_id)).state == "PENDING"
        await engine.unpause(order.batch_id, **BY)
        assert (await engine.wait(order.batch_id)).status == "success"


@pytest.mark.requirement("O7", "O10", "B9")
async def test_a_rollback_that_fails_three_times_is_stale_and_says_what_is_left(
    desk: Desk,
) -> None:
    async with desk.engine() as engine:
        batch_id = await stale_batch(desk, engine)
        row = await engine.batch(batch_id)
        trades = await engine.trades(batch_id)
    assert row.residual is not None
    assert '"subject":"AAPL","low":"10","high":"10"' in row.residual
    assert [trade.status for trade in trades] == ["stuck", "undone", "error"]
    assert trades[0].attempts == 4  # one forward, three compensations
    assert await desk.held() == {"AAPL": Decimal(10)}


@pytest.mark.requirement("B9")
async def test_retrying_a_stale_batch_tries_the_rollback_again(desk: Desk) -> None:
    async with desk.engine() as engine:
        batch_id = await stale_batch(desk, engine)
        await engine.retry(batch_id, **BY)
        row = await engine.wait(batch_id)
    assert (row.state, row.status) == ("ROLLED_BACK", "failed")
    assert await desk.held() == {}


@pytest.mark.requirement("B9", "B11")
async def test_an_operator_resolves_a_stale_batch_after_a_restart(desk: Desk) -> None:
    async with desk.engine() as engine:
        batch_id = await stale_batch(desk, engine)
    sold = Adjustment("AAPL", Decimal(-10), Decimal("700.5"), "TICKET-7")
    async with desk.engine() as engine:
        with pytest.raises(InvalidInput, match="evidence"):
            await engine.resolve(batch_id, **BY, action="sold by hand", evidence=" ")
        row = await engine.resolve(
            batch_id, **BY, action="sold by hand", evidence="TICKET-7", adjustments=(sold,)
        )
        assert row.state == "ROLLED_BACK"
        assert (await engine.wait(batch_id)).status == "failed"
        last = (await engine.store.journal(batch_id))[-1].event
        with pytest.raises(NotAllowed, match="ROLLED_BACK"):
            await engine.resolve(batch_id, **BY, action="again", evidence="again")
    assert isinstance(last, Resolved)
    assert (last.by, last.adjustments) == ("alice", (sold,))


@pytest.mark.requirement("B9", "S6")
async def test_what_is_left_is_not_closed_or_tried_again_by_who_saw_less(desk: Desk) -> None:
    async with desk.engine() as engine:
        batch_id = await stale_batch(desk, engine)
        seen = (await engine.store.journal(batch_id))[-1].number
        await desk.exchange.script(STUCK[1])
        await engine.retry(batch_id, **BY, seen=seen)
        assert (await engine.wait(batch_id)).state == "STALE"
        journal = await engine.store.journal(batch_id)
        with pytest.raises(NotAllowed, match=f"since record {seen} .* look at it again"):
            await engine.resolve(batch_id, **BY, action="sold", evidence="T-7", seen=seen)
        with pytest.raises(NotAllowed, match=f"since record {seen} .* look at it again"):
            await engine.retry(batch_id, **BY, seen=seen)
        assert await engine.store.journal(batch_id) == journal
        seen = journal[-1].number
        row = await engine.resolve(batch_id, **BY, action="sold", evidence="T-7", seen=seen)
    assert row.state == "ROLLED_BACK"


async def test_a_stale_batch_keeps_its_key_over_a_restart_until_it_is_resolved(
    desk: Desk,
) -> None:
    async with desk.engine() as engine:
        batch_id = await stale_batch(desk, engine)
    later = batch(buy("PG"), exclusion_key="portfolio:main")
    other = batch(buy("XOM"), exclusion_key="portfolio:other")
    async with desk.engine() as engine:
        await engine.submit(later)
        await engine.run(other)
        assert (await engine.batch(later.batch_id)).state == "PENDING"
        await engine.resolve(batch_id, **BY, action="kept", evidence="mail of 2 May")
        assert (await engine.wait(later.batch_id)).status == "success"


@pytest.mark.requirement("B9", "T14")
async def test_failed_trades_are_tried_again_as_one_batch_that_names_its_parent(
    desk: Desk,
) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="KO"))
    order = batch(buy("AAPL"), buy("KO"), mode=ExecutionMode.PARALLEL)
    async with desk.engine() as engine:
        await engine.run(order)
        child = await engine.retry_failed(order.batch_id, **BY)
        assert await engine.retry_failed(order.batch_id, **BY) == child  # a double click
        row = await engine.wait(child)
        assert (row.parent_id, row.status, row.total_trades) == (order.batch_id, "success", 1)
        with pytest.raises(NotAllowed, match="carried everything out"):
            await engine.retry_failed(child, **BY)
        with pytest.raises(NoSuchBatch):
            await engine.retry_failed("BAT_20200101_000000_nobody", **BY)
    assert await desk.held() == {"AAPL": Decimal(10), "KO": Decimal(10)}


async def test_a_spent_undo_budget_stops_the_undo_until_a_higher_one_is_given(
    desk: Desk,
) -> None:
    order = batch(buy("AAPL", 1), buy("KO", 1000), buy("MSFT", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(order, policy=FailurePolicy(undo_budget=Decimal(1)))
        await desk.until_sent(3)
        await desk.exchange.advance(await _fallen_day(desk))
        await engine.cancel(order.batch_id, **BY)
        row = await engine.wait(order.batch_id)
        assert row.state == "STALE"
        assert "budget" in (row.reason or "")
        with pytest.raises(NotAllowed, match="undo_budget"):
            await engine.retry(order.batch_id, **BY)
        await engine.retry(order.batch_id, **BY, undo_budget=None)
        assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
    assert await desk.held() == {}


async def _fallen_day(desk: Desk) -> date:
    today = await desk.exchange.day()
    market = desk.exchange.market
    return next(
        d for d in market.days if d > today and market.close("KO", d) < market.close("KO", today)
    )


async def test_a_cancelled_caller_still_leaves_a_durable_cancel(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await engine.cancel(order.batch_id, **BY)
        assert (await engine.wait(order.batch_id)).status == "cancelled"
