"""The eighteen faults: what each does to calls and books, and what the broker makes of it."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from brokers import (
    CancelOrder,
    Idempotency,
    OrderRefused,
    OrderStatus,
    OutcomeUnknown,
    Side,
    TimeInForce,
)
from brokers.paper import (
    Fault,
    FaultRule,
    Garbage,
    Operation,
    PaperExchange,
    PaperSettings,
    conservation_errors,
)
from brokers.paper.faults import MAX_RULES
from brokers.paper.running import Inline
from saga.errors import InvalidInput
from saga.ids import Purpose
from saga.outcome import Fill, Report
from saga.participant import Attempt, KeyTaken
from tests.brokers.samples import attempt, buy, limited, new_exchange, request, sell
from tests.manual_clock import ManualClock

LAG_SECONDS = 30.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def exchange(tmp_path: Path, clock: ManualClock) -> PaperExchange:
    return new_exchange(tmp_path, clock)


def _quantities(fills: Sequence[Fill]) -> list[Decimal | int]:
    return [fill.quantity for fill in fills]


async def _found(exchange: PaperExchange, of: Attempt) -> Report:
    report = await exchange.look_up(of)
    assert report is not None
    return report


async def _is_conserved(exchange: PaperExchange) -> bool:
    return conservation_errors(await exchange.books()) == ()


async def test_b1_fills_at_once_whatever_the_limit_says(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.FILLS_AT_ONCE))

    report = await exchange.send(attempt(limited(buy(), "1.00")))

    assert report.final
    assert [(fill.quantity, fill.price) for fill in report.fills] == [(Decimal(100), Decimal(1))]


async def test_b2_fills_a_part_and_later_the_rest(
    exchange: PaperExchange, clock: ManualClock
) -> None:
    await exchange.script(
        FaultRule(fault=Fault.PARTIAL_THEN_FULL, quantity=Decimal(37), delay_seconds=LAG_SECONDS)
    )

    first = await exchange.send(attempt(buy()))
    meanwhile = await _found(exchange, attempt(buy()))
    clock.turn(LAG_SECONDS)
    last = await _found(exchange, attempt(buy()))

    assert (first.final, _quantities(first.fills)) == (False, [37])
    assert meanwhile == first
    assert (last.final, _quantities(last.fills)) == (True, [37, 63])
    assert last.fills[0] == first.fills[0]


async def test_b3_fills_a_part_and_falls_silent_until_it_is_cancelled(
    exchange: PaperExchange, clock: ManualClock
) -> None:
    await exchange.script(FaultRule(fault=Fault.PARTIAL_THEN_SILENCE))

    await exchange.send(attempt(buy()))
    clock.turn(86_400)
    open_report = await _found(exchange, attempt(buy()))
    await exchange.withdraw(attempt(buy()))
    final = await _found(exchange, attempt(buy()))

    assert (open_report.final, _quantities(open_report.fills)) == (False, [50])
    assert (final.final, _quantities(final.fills)) == (True, [50])
    assert final.reason is not None


async def test_b3_stays_silent_however_many_days_pass(exchange: PaperExchange) -> None:
    lasting = attempt(buy().model_copy(update={"time_in_force": TimeInForce.GTC}))
    await exchange.script(FaultRule(fault=Fault.PARTIAL_THEN_SILENCE))
    await exchange.send(lasting)

    await exchange.advance(exchange.market.days[-1])

    report = await _found(exchange, lasting)
    assert (report.final, _quantities(report.fills)) == (False, [50])


async def test_b4_refuses_with_a_reason_and_changes_nothing(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.REFUSES, reason="trading is halted"))

    report = await exchange.send(attempt(buy()))

    assert report == Report(final=True, reason="trading is halted")
    assert (await _found(exchange, attempt(buy()))).fills == ()
    assert await exchange.trades() == ()


async def test_b5_times_out_and_did_not_accept(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.TIMES_OUT_NOT_ACCEPTED))

    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))

    assert await exchange.look_up(attempt(buy())) is None
    assert (await exchange.books()).orders == ()


async def test_b6_times_out_and_accepted(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.TIMES_OUT_ACCEPTED))

    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))

    assert _quantities((await _found(exchange, attempt(buy()))).fills) == [100]


async def test_b6_loses_the_answer_to_a_refusal_as_well(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.TIMES_OUT_ACCEPTED))

    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(sell()))

    found = await _found(exchange, attempt(sell()))
    assert (found.final, found.fills) == (True, ())


async def test_b7_accepts_late_after_answering_not_found(
    exchange: PaperExchange, clock: ManualClock
) -> None:
    await exchange.script(FaultRule(fault=Fault.ACCEPTS_LATE, delay_seconds=LAG_SECONDS))

    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))
    early = await exchange.look_up(attempt(buy()))
    clock.turn(LAG_SECONDS)
    late = await _found(exchange, attempt(buy()))

    assert early is None
    assert _quantities(late.fills) == [100]


async def test_b7_a_resend_before_the_late_order_arrives_makes_no_second_order(
    exchange: PaperExchange, clock: ManualClock
) -> None:
    await exchange.script(FaultRule(fault=Fault.ACCEPTS_LATE, delay_seconds=LAG_SECONDS))
    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))

    await exchange.send(attempt(buy()))
    clock.turn(LAG_SECONDS)
    await exchange.look_up(attempt(buy()))

    assert len((await exchange.books()).orders) == 1


async def test_b7_a_tombstone_keeps_the_late_order_out(tmp_path: Path, clock: ManualClock) -> None:
    exchange = new_exchange(tmp_path, clock, PaperSettings(tombstones=True))
    await exchange.script(FaultRule(fault=Fault.ACCEPTS_LATE, delay_seconds=LAG_SECONDS))
    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))

    await exchange.withdraw(attempt(buy()))
    clock.turn(LAG_SECONDS)

    assert exchange.capabilities.tombstone
    assert (await _found(exchange, attempt(buy()))).fills == ()
    assert await exchange.positions() == ()


async def test_b8_reports_each_fill_twice_and_it_counts_once(exchange: PaperExchange) -> None:
    await exchange.script(
        FaultRule(fault=Fault.DUPLICATES, times=2),
        FaultRule(fault=Fault.DUPLICATES, on=Operation.LIST),
    )
    await exchange.send(attempt(buy()))

    told = await exchange.find_order(attempt(buy()).key)
    believed = await _found(exchange, attempt(buy()))
    listed = await exchange.trades()

    assert told is not None
    assert _quantities(told.fills) == [100, 100]
    assert _quantities(believed.fills) == [100]
    assert [trade.sequence for trade in listed] == [1, 1]


async def test_b9_reports_the_fill_before_the_acknowledgement(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.REORDERS, on=Operation.PLACE))

    early = await exchange.send(attempt(buy()))
    later = await _found(exchange, attempt(buy()))

    assert (early.final, _quantities(early.fills)) == (False, [100])
    assert (later.final, _quantities(later.fills)) == (True, [100])


async def test_b9_a_cancel_before_its_fills_is_not_believed(exchange: PaperExchange) -> None:
    await exchange.script(
        FaultRule(fault=Fault.PARTIAL_THEN_SILENCE), FaultRule(fault=Fault.REORDERS)
    )
    await exchange.send(attempt(buy()))
    await exchange.withdraw(attempt(buy()))

    with pytest.raises(OutcomeUnknown, match="add up to 0"):
        await exchange.look_up(attempt(buy()))

    assert _quantities((await _found(exchange, attempt(buy()))).fills) == [50]


async def test_b10_the_cancel_loses_to_the_fill(exchange: PaperExchange) -> None:
    await exchange.script(
        FaultRule(fault=Fault.PARTIAL_THEN_SILENCE), FaultRule(fault=Fault.CANCEL_LOSES)
    )
    await exchange.send(attempt(buy()))

    await exchange.withdraw(attempt(buy()))

    found = await _found(exchange, attempt(buy()))
    assert (found.final, _quantities(found.fills), found.reason) == (True, [50, 50], None)


async def test_b11_busts_a_trade_after_the_end(exchange: PaperExchange, clock: ManualClock) -> None:
    cash_before = (await exchange.account()).cash
    await exchange.script(FaultRule(fault=Fault.BUSTS, delay_seconds=LAG_SECONDS))

    sent = await exchange.send(attempt(buy()))
    clock.turn(LAG_SECONDS)
    trade, reversal = await exchange.trades()

    assert sent.final
    assert reversal.reverses == trade.fill_id == sent.fills[0].fill_id
    assert (await _found(exchange, attempt(buy()))).fills == ()
    assert await exchange.positions() == ()
    assert (await exchange.account()).cash == cash_before
    assert await _is_conserved(exchange)


async def test_b11_a_bust_gives_the_fee_back(tmp_path: Path, clock: ManualClock) -> None:
    exchange = new_exchange(tmp_path, clock, PaperSettings(fee_minimum=Decimal("1.5")))
    before = await exchange.account()
    await exchange.script(FaultRule(fault=Fault.BUSTS, delay_seconds=LAG_SECONDS))

    await exchange.send(attempt(buy()))
    paid = await exchange.account()
    clock.turn(LAG_SECONDS)

    assert paid.cash < before.cash
    assert await exchange.account() == before


async def test_b11_corrects_a_price_after_the_end(
    exchange: PaperExchange, clock: ManualClock
) -> None:
    await exchange.script(
        FaultRule(fault=Fault.BUSTS, delay_seconds=LAG_SECONDS, price=Decimal("99.5"))
    )

    await exchange.send(attempt(buy()))
    clock.turn(LAG_SECONDS)
    trade, reversal, corrected = await exchange.trades()

    assert reversal.reverses == trade.fill_id
    assert (corrected.quantity, corrected.price) == (trade.quantity, Decimal("99.5"))
    assert await _is_conserved(exchange)


async def test_b12_forgets_orders_that_are_over_and_no_others(exchange: PaperExchange) -> None:
    resting = attempt(limited(buy(), "0.01"), step=1)
    await exchange.script(FaultRule(fault=Fault.FORGETS_CLOSED, times=None))
    await exchange.send(attempt(buy()))
    await exchange.send(resting)

    assert await exchange.find_order(attempt(buy()).key) is None
    assert await exchange.find_order(resting.key) is not None
    assert len((await exchange.books()).orders) == 2


async def test_b12_a_forgotten_order_that_filled_is_known_by_its_trades(
    exchange: PaperExchange,
) -> None:
    await exchange.script(
        FaultRule(fault=Fault.FORGETS_CLOSED, times=None),
        FaultRule(fault=Fault.DUPLICATES, on=Operation.LIST),
    )
    sent = await exchange.send(attempt(buy()))
    await exchange.send(attempt(buy(5), step=1))

    found = await _found(exchange, attempt(buy()))

    assert (found.final, found.fills) == (True, sent.fills)
    with pytest.raises(KeyTaken):
        await exchange.look_up(attempt(buy(symbol="MSFT")))


async def test_b12_a_forgotten_order_that_filled_in_part_is_not_called_absent(
    exchange: PaperExchange,
) -> None:
    await exchange.script(
        FaultRule(fault=Fault.PARTIAL_THEN_SILENCE),
        FaultRule(fault=Fault.FORGETS_CLOSED, times=None),
    )
    await exchange.send(attempt(buy()))
    await exchange.withdraw(attempt(buy()))

    with pytest.raises(OutcomeUnknown, match="50 of 100 has traded"):
        await exchange.look_up(attempt(buy()))


async def test_b12_a_forgotten_order_that_never_filled_is_not_found(
    exchange: PaperExchange,
) -> None:
    await exchange.script(FaultRule(fault=Fault.FORGETS_CLOSED, times=None))
    await exchange.send(attempt(limited(buy(), "0.01")))
    await exchange.withdraw(attempt(buy()))

    assert await exchange.look_up(attempt(limited(buy(), "0.01"))) is None


async def test_b12_a_cancelled_order_that_is_forgotten_was_cancelled(
    exchange: PaperExchange,
) -> None:
    resting = attempt(limited(buy(), "0.01"))
    cancel = attempt(CancelOrder(directive_id="EXE_2", client_order_id=resting.key), step=1)
    await exchange.send(resting)
    await exchange.script(FaultRule(fault=Fault.FORGETS_CLOSED, times=None))

    report = await exchange.send(cancel)

    assert (report.final, _quantities(report.fills)) == (True, [1])


async def test_b10_a_cancel_directive_that_loses_says_so(exchange: PaperExchange) -> None:
    resting = attempt(limited(buy(), "0.01"))
    cancel = attempt(CancelOrder(directive_id="EXE_2", client_order_id=resting.key), step=1)
    await exchange.send(resting)
    await exchange.script(FaultRule(fault=Fault.CANCEL_LOSES))

    report = await exchange.send(cancel)

    assert (report.final, report.fills) == (True, ())
    assert report.reason == f"order {resting.key} is filled and cannot be cancelled"


async def test_b13_takes_the_key_of_a_filled_order_again(exchange: PaperExchange) -> None:
    await exchange.send(attempt(buy()))
    same = await exchange.send(attempt(buy()))
    await exchange.script(FaultRule(fault=Fault.DEDUPLICATES_OPEN_ONLY))

    second = await exchange.send(attempt(buy()))

    assert same.fills != second.fills
    assert len((await exchange.books()).orders) == 2
    assert (await exchange.positions())[0].quantity == 200


async def test_b13_as_a_setting_is_declared(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(idempotent=Idempotency.OPEN_ONLY))
    resting = attempt(limited(buy(), "0.01"), step=1)

    for order in (attempt(buy()), attempt(buy()), resting, resting):
        await exchange.send(order)

    assert exchange.venue.idempotent is Idempotency.OPEN_ONLY
    assert [order.client_order_id for order in (await exchange.books()).orders] == [
        *(attempt(buy()).key, attempt(buy()).key, resting.key)
    ]


@pytest.mark.parametrize(("wrong", "filled"), [(None, 101), (Decimal(90), 90), (Decimal(150), 150)])
async def test_b14_overfills_or_rounds_and_the_truth_is_told(
    exchange: PaperExchange, wrong: Decimal | None, filled: int
) -> None:
    await exchange.script(FaultRule(fault=Fault.FILLS_WRONGLY, quantity=wrong))

    report = await exchange.send(attempt(buy()))

    assert (report.final, _quantities(report.fills)) == (True, [filled])
    assert (await exchange.positions())[0].quantity == filled
    assert await _is_conserved(exchange)


async def test_b15_turns_a_call_away_and_then_bans(
    exchange: PaperExchange, clock: ManualClock
) -> None:
    await exchange.script(
        FaultRule(fault=Fault.RATE_LIMITS),
        FaultRule(fault=Fault.RATE_LIMITS, after=1, delay_seconds=LAG_SECONDS),
    )

    with pytest.raises(OutcomeUnknown, match="429"):
        await exchange.send(attempt(buy()))
    assert await exchange.look_up(attempt(buy())) is None
    with pytest.raises(OutcomeUnknown, match="429"):
        await exchange.send(attempt(buy()))
    with pytest.raises(OutcomeUnknown, match="banned"):
        await exchange.look_up(attempt(buy()))
    with pytest.raises(OutcomeUnknown, match="banned"):
        await exchange.account()
    clock.turn(LAG_SECONDS)

    assert await exchange.look_up(attempt(buy())) is None


@pytest.mark.parametrize("accepted", [True, False])
async def test_b16_disconnects_before_or_after_the_order_arrived(
    exchange: PaperExchange, clock: ManualClock, accepted: bool
) -> None:
    await exchange.script(
        FaultRule(fault=Fault.DISCONNECTS, accepted=accepted, delay_seconds=LAG_SECONDS)
    )

    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))
    with pytest.raises(OutcomeUnknown, match="cannot be reached"):
        await exchange.open_orders()
    clock.turn(LAG_SECONDS)

    assert (await exchange.look_up(attempt(buy())) is not None) is accepted


@pytest.mark.parametrize("cancels", [True, False])
async def test_b16_cancels_open_orders_on_disconnect_or_not(
    exchange: PaperExchange, cancels: bool
) -> None:
    resting = attempt(limited(buy(), "0.01", TimeInForce.GTC))
    await exchange.send(resting)
    await exchange.script(FaultRule(fault=Fault.DISCONNECTS, on=Operation.FIND, cancels=cancels))

    with pytest.raises(OutcomeUnknown):
        await exchange.look_up(resting)

    assert (await _found(exchange, resting)).final is cancels


async def test_b17_lists_are_stale_while_a_look_up_is_right(exchange: PaperExchange) -> None:
    resting = attempt(limited(buy(), "0.01"), step=1)
    await exchange.send(attempt(buy()))
    await exchange.send(resting)
    await exchange.script(FaultRule(fault=Fault.LISTS_ARE_STALE))

    stale = await exchange.open_orders()

    assert [state.client_order_id for state in stale] == [attempt(buy()).key]
    assert (await _found(exchange, attempt(buy()))).final
    assert not (await _found(exchange, resting)).final
    assert [state.client_order_id for state in await exchange.open_orders()] == [resting.key]


@pytest.mark.scenario("C20")
@pytest.mark.parametrize("garbage", list(Garbage))
@pytest.mark.parametrize("on", [Operation.PLACE, Operation.FIND])
async def test_b18_garbage_is_never_believed_and_the_truth_is_found_later(
    exchange: PaperExchange, garbage: Garbage, on: Operation
) -> None:
    await exchange.script(FaultRule(fault=Fault.GARBAGE, on=on, garbage=garbage))

    with pytest.raises((OutcomeUnknown, KeyTaken)):  # noqa: PT012 - either call may be the one
        await exchange.send(attempt(buy()))
        await exchange.look_up(attempt(buy()))

    assert _quantities((await _found(exchange, attempt(buy()))).fills) == [100]


async def test_a_rule_fires_only_where_it_matches(exchange: PaperExchange) -> None:
    await exchange.script(
        FaultRule(
            fault=Fault.REFUSES,
            symbol="AAPL",
            side=Side.SELL,
            purpose=Purpose.COMPENSATION,
            step=3,
            attempt=2,
            times=None,
        )
    )
    await exchange.send(attempt(buy(), step=0))
    sold = sell(1)

    passed = [
        await exchange.send(attempt(sold, 3, 2, Purpose.FORWARD)),
        await exchange.send(attempt(sold, 3, 1, Purpose.COMPENSATION)),
        await exchange.send(attempt(sold, 4, 2, Purpose.COMPENSATION)),
    ]
    refused = await exchange.send(attempt(sold, 3, 2, Purpose.COMPENSATION))

    assert all(report.fills for report in passed)
    assert refused.reason == "refused by the exchange"
    (count,) = await exchange.faults()
    assert (count.seen, count.fired) == (1, 1)


async def test_a_rule_lets_calls_pass_first_and_then_fires_so_often(
    exchange: PaperExchange,
) -> None:
    await exchange.script(FaultRule(fault=Fault.REFUSES, after=1, times=2))

    outcomes = [bool((await exchange.send(attempt(buy(1), step=step))).fills) for step in range(5)]

    assert outcomes == [True, False, False, True, True]
    (count,) = await exchange.faults()
    assert (count.seen, count.fired, count.is_spent) == (5, 2, True)


async def test_a_script_and_its_counts_survive_a_restart(
    exchange: PaperExchange, tmp_path: Path, clock: ManualClock
) -> None:
    await exchange.script(FaultRule(fault=Fault.REFUSES, times=2))
    await exchange.send(attempt(buy(1)))

    again = PaperExchange(tmp_path / "books.sqlite", clock=clock, runner=Inline())
    refused = await again.send(attempt(buy(1), step=1))
    passed = await again.send(attempt(buy(1), step=2))

    assert refused.fills == ()
    assert passed.fills
    assert (await again.faults())[0].fired == 2


async def test_faults_combine_on_one_call(exchange: PaperExchange) -> None:
    await exchange.script(
        FaultRule(fault=Fault.PARTIAL_THEN_SILENCE), FaultRule(fault=Fault.TIMES_OUT_ACCEPTED)
    )

    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))

    found = await _found(exchange, attempt(buy()))
    assert (found.final, _quantities(found.fills)) == (False, [50])


async def test_a_timed_out_cancel_may_have_worked_or_not(exchange: PaperExchange) -> None:
    for step, fault in enumerate((Fault.TIMES_OUT_NOT_ACCEPTED, Fault.TIMES_OUT_ACCEPTED)):
        resting = attempt(limited(buy(1), "0.01"), step=step)
        await exchange.send(resting)
        await exchange.script(FaultRule(fault=fault, on=Operation.CANCEL))

        with pytest.raises(OutcomeUnknown):
            await exchange.withdraw(resting)

        assert (await _found(exchange, resting)).final is (fault is Fault.TIMES_OUT_ACCEPTED)


async def test_without_faults_a_refused_key_stays_refused(exchange: PaperExchange) -> None:
    for _ in range(2):
        with pytest.raises(OrderRefused):
            await exchange.place_order(request("short", Side.SELL))
    (order,) = (await exchange.books()).orders
    assert order.status is OrderStatus.REJECTED


async def test_a_script_has_a_bound(exchange: PaperExchange) -> None:
    rules = [FaultRule(fault=Fault.REFUSES)] * (MAX_RULES + 1)

    with pytest.raises(InvalidInput, match="at most 1000 rules, not 1001"):
        await exchange.script(*rules)

    assert await exchange.faults() == ()


async def test_a_new_script_ends_an_outage(exchange: PaperExchange) -> None:
    await exchange.script(FaultRule(fault=Fault.DISCONNECTS, delay_seconds=LAG_SECONDS))
    with pytest.raises(OutcomeUnknown):
        await exchange.send(attempt(buy()))

    await exchange.script()

    assert (await exchange.send(attempt(buy()))).final


def test_a_rule_for_a_call_on_which_its_fault_cannot_fire_is_refused() -> None:
    with pytest.raises(ValueError, match="on must be one of place for fault B4, not find"):
        FaultRule(fault=Fault.REFUSES, on=Operation.FIND)
