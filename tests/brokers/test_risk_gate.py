"""What the risk gate counts: what is open, what passed lately, and nothing that was never sent."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.orders import Side
from brokers.risk import AccountHoldings, RiskGate, RiskLimits
from brokers.risk import gate as risk_gate
from brokers.risk.gate import IN_FLIGHT_SECONDS
from brokers.venue import OrderState, OrderStatus
from saga.directive import Directive
from saga.gate import PastIntent, Refusal
from saga.ids import Purpose, attempt_key
from saga.model import Batch
from saga.participant import Attempt
from saga.store.sqlite import SqliteStore
from saga.trading import Trading
from tests.engine.trading_desk import batch, buy, sell
from tests.manual_clock import ManualClock


class Account:
    """What a test says that an account holds and has open."""

    def __init__(self, held: int, is_open: int = 0) -> None:
        self.quantity = Decimal(held)
        self.is_open = Decimal(is_open)

    async def held(self, symbol: str) -> Decimal:
        del symbol
        return self.quantity

    async def open_quantity(self, symbol: str, side: Side) -> Decimal:
        del symbol
        return self.is_open if side is Side.SELL else Decimal(0)


def attempt_of(whole: Batch, purpose: Purpose = Purpose.FORWARD) -> Attempt:
    """The first attempt of a batch, as the engine hands it to the gate: anew for each send."""
    key = attempt_key(whole.batch_id, 0, purpose, 1)
    return Attempt(key, whole.batch_id, 0, purpose, 1, whole.directives[0])


async def passes(gate: RiskGate, clock: ManualClock, whole: Batch) -> Refusal | None:
    """Ask the gate as the engine does while trading is ACTIVE; None has passed."""
    return await gate.judge(attempt_of(whole), whole, clock.now())


async def lowers(gate: RiskGate, order: Directive) -> Refusal | None:
    whole = batch(order)
    return await gate.lowers_exposure(attempt_of(whole), whole)


def past(clock: ManualClock, order: Directive, age: float, purpose: Purpose) -> PastIntent:
    at = clock.now() - timedelta(seconds=age)
    key = attempt_key("BAT_20200101_000000_abcdefgh", 0, purpose, 1)
    return PastIntent(at, key, purpose, order)


# --- while REDUCING ------------------------------------------------------------------------------


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13")
async def test_what_rests_at_the_venue_counts_against_what_is_held_however_old_it_is() -> None:
    gate = RiskGate(RiskLimits(), holdings=Account(15, is_open=6), clock=ManualClock())
    refusal = await lowers(gate, sell("AAPL", 10))
    assert refusal is not None
    assert "holds 15 AAPL, with 6 more under way" in refusal.sentence
    assert await lowers(gate, sell("AAPL", 9)) is None


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13")
@pytest.mark.parametrize("purpose", list(Purpose))
async def test_what_passed_while_active_counts_until_the_venue_must_tell_of_it(
    purpose: Purpose,
) -> None:
    clock = ManualClock()
    gate = RiskGate(RiskLimits(), holdings=Account(15), clock=clock)
    whole = batch(sell("AAPL", 10))
    assert await gate.judge(attempt_of(whole, purpose), whole, clock.now()) is None
    assert await lowers(gate, sell("AAPL", 6)) is not None
    assert await lowers(gate, sell("AAPL", 5)) is None
    clock.turn(IN_FLIGHT_SECONDS + 1)
    assert await lowers(gate, sell("AAPL", 15)) is None


@pytest.mark.scenario("H3", "H5")
@pytest.mark.requirement("S13")
@pytest.mark.parametrize("purpose", list(Purpose))
async def test_what_was_sent_right_before_a_restart_counts_after_it(purpose: Purpose) -> None:
    clock = ManualClock()
    gate = RiskGate(RiskLimits(), holdings=Account(15), clock=clock)
    assert gate.memory >= timedelta(seconds=IN_FLIGHT_SECONDS)
    gate.recall(past(clock, sell("AAPL", 15), IN_FLIGHT_SECONDS + 1, purpose))
    gate.recall(past(clock, sell("AAPL", 10), IN_FLIGHT_SECONDS - 1, purpose))
    assert await lowers(gate, sell("AAPL", 6)) is not None
    assert await lowers(gate, sell("AAPL", 5)) is None


@pytest.mark.scenario("H5")
async def test_an_order_that_is_sent_again_does_not_stand_in_its_own_way() -> None:
    clock = ManualClock()
    gate = RiskGate(RiskLimits(), holdings=Account(10), clock=clock)
    whole = batch(sell("AAPL", 10))
    for _ in range(2):
        assert await gate.lowers_exposure(attempt_of(whole), whole) is None
        assert await passes(gate, clock, whole) is None
    assert await lowers(gate, sell("AAPL", 1)) is not None


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13", "L3")
async def test_nothing_passes_while_reducing_where_too_much_is_under_way_to_be_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(risk_gate, "MAX_REMEMBERED", 2)
    clock = ManualClock()
    gate = RiskGate(RiskLimits(), holdings=Account(100), clock=clock)
    for symbol in ("IBM", "MSFT", "KO"):
        assert await passes(gate, clock, batch(buy(symbol))) is None
    assert await lowers(gate, sell("AAPL", 1)) is not None
    clock.turn(IN_FLIGHT_SECONDS + 1)
    assert await lowers(gate, sell("AAPL", 1)) is None


class Ledger:
    """A broker that lists these open orders."""

    def __init__(self, orders: Sequence[OrderState]) -> None:
        self.orders = orders

    async def open_orders(self) -> Sequence[OrderState]:
        return self.orders


async def test_what_an_account_has_open_is_what_its_orders_have_left_on_that_side() -> None:
    def order(symbol: str, side: Side, quantity: int, filled: int) -> OrderState:
        return OrderState(
            *(None, "1", symbol, side, Decimal(quantity), Decimal(filled), OrderStatus.ACCEPTED)
        )

    listed = [
        order("AAPL", Side.SELL, 10, 4),
        order("AAPL", Side.SELL, 5, 0),
        order("AAPL", Side.SELL, 5, 6),
        order("AAPL", Side.BUY, 7, 0),
        order("MSFT", Side.SELL, 9, 0),
    ]
    holdings = AccountHoldings(Ledger(listed))  # type: ignore[arg-type]
    assert await holdings.open_quantity("AAPL", Side.SELL) == 11
    assert await holdings.open_quantity("AAPL", Side.BUY) == 7


# --- what passed, and was not sent ---------------------------------------------------------------


@pytest.mark.requirement("S13")
async def test_what_was_withheld_after_it_had_passed_counts_nowhere() -> None:
    clock = ManualClock()
    limits = RiskLimits(max_orders_per_day=2, duplicate_window_seconds=600.0)
    gate = RiskGate(limits, holdings=Account(10), clock=clock)
    first, second = batch(sell("AAPL", 10)), batch(sell("AAPL", 10))
    for reducing_before in (True, False, True):
        attempt = attempt_of(first)
        if reducing_before:
            assert await gate.lowers_exposure(attempt, first) is None
        assert await gate.judge(attempt, first, clock.now()) is None
        assert await gate.lowers_exposure(attempt, first) is None
        gate.withheld(attempt)
        gate.withheld(attempt)
    assert await gate.lowers_exposure(attempt_of(second), second) is None
    assert await passes(gate, clock, second) is None
    refusal = await passes(gate, clock, batch(sell("AAPL", 10)))
    assert refusal is not None
    assert f"repeats an order of batch {second.batch_id}" in refusal.sentence


@pytest.mark.requirement("S13")
async def test_a_send_before_the_one_that_was_withheld_counts_on() -> None:
    clock = ManualClock()
    limits = RiskLimits(max_orders_per_day=2, duplicate_window_seconds=600.0)
    gate = RiskGate(limits, holdings=Account(10), clock=clock)
    first = batch(sell("AAPL", 10))
    assert await passes(gate, clock, first) is None
    clock.turn(1)
    again = attempt_of(first)
    assert await gate.judge(again, first, clock.now()) is None
    gate.withheld(again)
    gate.withheld(again)
    assert await lowers(gate, sell("AAPL", 1)) is not None
    assert await passes(gate, clock, batch(sell("AAPL", 10))) is not None
    assert await passes(gate, clock, batch(sell("MSFT", 10))) is None
    assert await passes(gate, clock, batch(sell("IBM", 10))) is not None


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("why", ["it is halted", "it lowers nothing"])
async def test_a_send_counts_on_although_sending_it_again_is_refused(
    tmp_path: Path, why: str
) -> None:
    clock = ManualClock()
    account = Account(10)
    gate = RiskGate(RiskLimits(max_orders_per_day=1), holdings=account, clock=clock)
    trading = Trading(
        SqliteStore(tmp_path / "saga.db"),
        clock,
        gate=gate,
        program="a test",
        max_crashes=None,
        on_change=lambda: None,
    )
    whole = batch(sell("AAPL", 10))
    again = attempt_of(whole)
    assert await passes(gate, clock, whole) is None
    if why == "it is halted":
        (tmp_path / "saga.db.halt").touch()
        assert await trading.judge(again, whole) is not None
    else:
        account.is_open = Decimal(10)
        assert await gate.lowers_exposure(again, whole) is not None
        trading.withhold(again)
        account.is_open = Decimal(0)
    assert await lowers(gate, sell("AAPL", 1)) is not None
    assert await passes(gate, clock, batch(sell("MSFT", 10))) is not None


async def test_what_the_gate_itself_refuses_counts_nowhere() -> None:
    clock = ManualClock()
    gate = RiskGate(RiskLimits(max_order_quantity=Decimal(5)), holdings=Account(10), clock=clock)
    assert await passes(gate, clock, batch(sell("AAPL", 10))) is not None
    assert await lowers(gate, sell("AAPL", 10)) is None


# --- budgets and duplicates ----------------------------------------------------------------------


@pytest.mark.scenario("H3", "H6")
@pytest.mark.requirement("S13")
async def test_compensations_before_a_restart_count_in_their_own_budget_and_no_other() -> None:
    clock = ManualClock()
    limits = RiskLimits(max_orders_per_day=1, max_compensations_per_day=1)
    gate = RiskGate(limits, clock=clock)
    gate.recall(past(clock, sell("AAPL", 10), 3600, Purpose.COMPENSATION))
    whole = batch(buy("AAPL"))
    undoing = await gate.judge(attempt_of(whole, Purpose.COMPENSATION), whole, clock.now())
    assert undoing is not None
    assert undoing.limit == "max_compensations_per_day"
    assert await passes(gate, clock, whole) is None


@pytest.mark.scenario("H8")
@pytest.mark.requirement("S13")
async def test_a_batch_may_repeat_an_order_of_its_parent_and_of_nobody_else() -> None:
    clock = ManualClock()
    gate = RiskGate(RiskLimits(duplicate_window_seconds=600.0), clock=clock)
    parent = batch(buy("AAPL"))
    assert await passes(gate, clock, parent) is None
    assert await passes(gate, clock, batch(buy("AAPL"), parent_id=parent.batch_id)) is None
    assert await passes(gate, clock, batch(buy("AAPL"))) is not None


@pytest.mark.scenario("H8")
@pytest.mark.requirement("S13", "L3")
async def test_where_too_many_orders_went_out_to_find_a_duplicate_one_more_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(risk_gate, "MAX_REMEMBERED", 2)
    clock = ManualClock()
    gate = RiskGate(RiskLimits(duplicate_window_seconds=600.0), clock=clock)
    assert await passes(gate, clock, batch(buy("AAPL"))) is None
    assert await passes(gate, clock, batch(buy("MSFT"))) is None
    refusal = await passes(gate, clock, batch(buy("IBM")))
    assert refusal is not None
    assert "2 orders went out within the window" in refusal.sentence
    clock.turn(601)
    assert await passes(gate, clock, batch(buy("IBM"))) is None
