"""What a batch needs at worst: the rule against a naive model, and against random histories."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.orders import Buy, CancelOrder, Order, Sell, Side
from portfolio.errors import CannotReserve
from portfolio.reservation import NO_ALLOWANCE, Allowance, Need, need_of
from portfolio.transfer import CashTransfer, Way
from saga.model import Batch, ExecutionMode
from saga.policy import OnFailure

MAX_LEGS = 5
SYMBOLS = ("AAPL", "KO", "PG")


def no_price(_: str) -> Decimal | None:
    return None


def make_order(
    side: Side, symbol: str, quantity: Decimal, reference: Decimal, limit: Decimal | None
) -> Callable[[int], Order]:
    kind = Buy if side is Side.BUY else Sell

    def numbered(number: int) -> Order:
        return kind(
            directive_id=f"EXE_{number}",
            symbol=symbol,
            quantity=quantity,
            reference_price=reference,
            limit_price=limit,
        )

    return numbered


cents = st.decimals("0.01", "500", places=2)
orders = st.builds(
    make_order,
    st.sampled_from(Side),
    st.sampled_from(SYMBOLS),
    st.integers(1, 1000).map(Decimal),
    cents,
    st.none() | cents,
)
order_lists = st.lists(orders, min_size=1, max_size=MAX_LEGS).map(
    lambda makers: tuple(make(number) for number, make in enumerate(makers))
)
allowances = st.builds(
    Allowance,
    price_basis_points=st.integers(0, 500).map(Decimal),
    undo_basis_points=st.integers(0, 500).map(Decimal),
    fee_basis_points=st.integers(0, 100).map(Decimal),
    fee_per_unit=st.decimals("0", "0.1", places=3),
    fee_per_order=st.decimals("0", "5", places=2),
)


class NaiveLeg:
    """The prices of one order at worst, written down a second time, in fractions."""

    def __init__(self, order: Order, allowance: Allowance) -> None:
        self.order = order
        self.quantity = Fraction(order.quantity)
        self.allowance = allowance
        assert order.reference_price is not None
        base = Fraction(order.reference_price)
        limit = None if order.limit_price is None else Fraction(order.limit_price)
        up = 1 + Fraction(allowance.price_basis_points) / 10_000
        down = 1 - Fraction(allowance.price_basis_points) / 10_000
        undo = Fraction(allowance.undo_basis_points) / 10_000
        if order.side is Side.BUY:
            self.price = limit or base * up
            self.best = self.price
            self.undo_price = min(base, limit or base) * (1 - undo)
        else:
            self.price = limit or base * down
            self.best = max(base, self.price)
            self.undo_price = self.best * (1 + undo)

    def fee(self, quantity: Fraction, price: Fraction) -> Fraction:
        return (
            quantity * price * Fraction(self.allowance.fee_basis_points) / 10_000
            + quantity * Fraction(self.allowance.fee_per_unit)
            + Fraction(self.allowance.fee_per_order)
        )

    @property
    def sign(self) -> int:
        return 1 if self.order.side is Side.BUY else -1

    def forward(self, part: Fraction = Fraction(1)) -> Fraction:
        quantity = self.quantity * part
        return -self.sign * quantity * self.price - self.fee(quantity, self.best)

    def undo(self, part: Fraction = Fraction(1)) -> Fraction:
        quantity = self.quantity * part
        charged_at = self.best if self.sign > 0 else self.undo_price
        return self.sign * quantity * self.undo_price - self.fee(quantity, charged_at)


def naive_in_order(legs: list[NaiveLeg]) -> Fraction:
    """Walk every way there is: forward to each leg, then back, newest first."""
    lowest = Fraction(0)
    for reached in range(len(legs) + 1):
        cash = Fraction(0)
        for leg in legs[:reached]:
            cash += leg.forward()
            lowest = min(lowest, cash)
        for leg in reversed(legs[:reached]):
            cash += leg.undo()
            lowest = min(lowest, cash)
    return -lowest


def naive_in_any_order(legs: list[NaiveLeg], *, undoes: bool) -> Fraction:
    """Every subset done, every subset of that undone."""
    lowest = Fraction(0)
    for states in product((0, 1, 2 if undoes else 1), repeat=len(legs)):
        cash = Fraction(0)
        for leg, state in zip(legs, states, strict=True):
            cash += leg.forward() if state else 0
            cash += leg.undo() if state == 2 else 0
        lowest = min(lowest, cash)
    return -lowest


def atomic(orders: tuple[Order, ...], **fields: object) -> Batch:
    return Batch.model_validate(
        {"directives": orders, "execution_mode": ExecutionMode.ATOMIC, **fields}
    )


def parallel(orders: tuple[Order, ...], **fields: object) -> Batch:
    return Batch.model_validate(
        {"directives": orders, "execution_mode": ExecutionMode.PARALLEL, **fields}
    )


def need(batch: Batch, allowance: Allowance, on_failure: OnFailure = OnFailure.UNDO) -> Need:
    return need_of(batch, on_failure, allowance, no_price)


@pytest.mark.requirement("S10")
@given(order_lists, allowances)
def test_an_atomic_batch_needs_the_lowest_cash_of_every_way_there_and_back(
    orders: tuple[Order, ...], allowance: Allowance
) -> None:
    legs = [NaiveLeg(order, allowance) for order in orders]
    assert Fraction(need(atomic(orders), allowance).cash) == naive_in_order(legs)


@given(order_lists, allowances, st.booleans())
def test_other_batches_need_the_worst_subset(
    orders: tuple[Order, ...], allowance: Allowance, undoes: bool
) -> None:
    legs = [NaiveLeg(order, allowance) for order in orders]
    on_failure = OnFailure.UNDO if undoes else OnFailure.KEEP
    batch = parallel(orders, rollback_on_failure=undoes)
    naive = naive_in_any_order(legs, undoes=undoes)
    assert Fraction(need(batch, allowance, on_failure).cash) == naive


@given(order_lists, allowances, st.integers(0, 2**32).map(Random))
def test_no_history_within_the_allowance_takes_more_than_was_reserved(
    orders: tuple[Order, ...], allowance: Allowance, random: Random
) -> None:
    """A leg fills in part, the batch fails, and everything is undone, newest first."""
    legs = [NaiveLeg(order, allowance) for order in orders]
    reserved = Fraction(need(atomic(orders), allowance).cash)
    reached = random.randrange(len(legs))
    done = [(leg, Fraction(1)) for leg in legs[:reached]]
    done.append((legs[reached], Fraction(random.randrange(1, 101), 100)))
    cash = Fraction(0)
    for leg, part in done:
        cash += leg.forward(part)
        assert cash >= -reserved
    for leg, part in reversed(done):
        cash += leg.undo(part)
        assert cash >= -reserved


@given(order_lists)
def test_shares_are_needed_for_the_deepest_sale_of_each_symbol(orders: tuple[Order, ...]) -> None:
    held = dict.fromkeys(SYMBOLS, Decimal(0))
    lowest = dict.fromkeys(SYMBOLS, Decimal(0))
    sold = dict.fromkeys(SYMBOLS, Decimal(0))
    for order in orders:
        held[order.symbol] += order.direction * order.quantity
        lowest[order.symbol] = min(lowest[order.symbol], held[order.symbol])
        sold[order.symbol] += order.quantity if order.side is Side.SELL else 0
    in_order = {symbol: -least for symbol, least in lowest.items() if least}
    assert need(atomic(orders), NO_ALLOWANCE).shares == in_order
    assert need(parallel(orders), NO_ALLOWANCE).shares == {s: q for s, q in sold.items() if q}


def sell_then_buy() -> tuple[Order, Order]:
    return (
        Sell(directive_id="EXE_1", symbol="KO", quantity=10, reference_price=50),
        Buy(directive_id="EXE_2", symbol="PG", quantity=4, reference_price=100),
    )


def test_what_is_sold_pays_for_what_is_bought_only_where_it_must_come_first() -> None:
    assert need(atomic(sell_then_buy()), NO_ALLOWANCE).cash == 0
    assert need(atomic(sell_then_buy(), max_parallel=2), NO_ALLOWANCE).cash == 400
    assert need(parallel(sell_then_buy()), NO_ALLOWANCE).cash == 400
    # A partly filled sale does not stop a SEQUENTIAL batch, so that it may not pay for the buy.
    sequential = atomic(sell_then_buy(), execution_mode=ExecutionMode.SEQUENTIAL)
    assert need(sequential, NO_ALLOWANCE).cash == 400


def test_selling_reserves_what_buying_back_may_cost_more() -> None:
    sell = Sell(directive_id="EXE_1", symbol="KO", quantity=10, reference_price=50)
    allowance = Allowance(
        price_basis_points=Decimal(100),
        undo_basis_points=Decimal(200),
        fee_per_order=Decimal(1),
    )
    # Sold at 49.50 less 1, bought back at 51.00 and 1: ten times 1.50, and two fees.
    assert need(atomic((sell,)), allowance).cash == 17
    assert need(parallel((sell,)), allowance, OnFailure.KEEP).cash == 0


def test_only_the_legs_that_are_undone_reserve_for_their_undo() -> None:
    sells = (
        Sell(directive_id="EXE_1", symbol="KO", quantity=10, reference_price=50),
        Sell(directive_id="EXE_2", symbol="PG", quantity=10, reference_price=100),
    )
    allowance = Allowance(price_basis_points=Decimal(0), undo_basis_points=Decimal(100))
    batch = parallel(sells, rollback_on_failure=True, rollback_only=("EXE_2",))
    assert need(batch, allowance).cash == 10


def test_a_limit_is_the_worst_price_of_a_buy() -> None:
    buy = Buy(
        directive_id="EXE_1", symbol="KO", quantity=10, limit_price="49.5", reference_price=50
    )
    allowance = Allowance(price_basis_points=Decimal(5000), undo_basis_points=Decimal(0))
    assert need(atomic((buy,)), allowance).cash == 495


def test_an_order_without_any_price_takes_the_last_known_one_or_is_refused() -> None:
    buy = Buy(directive_id="EXE_1", symbol="KO", quantity=10)
    known = need_of(atomic((buy,)), OnFailure.UNDO, NO_ALLOWANCE, lambda _: Decimal(50))
    assert known.cash == 500
    with pytest.raises(CannotReserve, match=r"buy 10 KO .* give it a reference_price"):
        need(atomic((buy,)), NO_ALLOWANCE)


def test_cancelling_an_order_needs_nothing_and_a_withdrawal_its_amount() -> None:
    cancel = CancelOrder(directive_id="EXE_1", client_order_id="20261121_093000_k3v9x-0F1")
    assert need(parallel((cancel,)), NO_ALLOWANCE) == Need(Decimal(0), {})  # type: ignore[arg-type]
    for way, cash in ((Way.WITHDRAWAL, 70), (Way.DEPOSIT, 0)):
        transfer = CashTransfer(directive_id="EXE_1", portfolio="main", way=way, cash=70)
        batch = Batch(directives=(transfer,), execution_mode=ExecutionMode.SEQUENTIAL)
        assert need(batch, NO_ALLOWANCE, OnFailure.KEEP).cash == cash


def test_sums_beyond_the_digits_of_the_default_context_stay_exact() -> None:
    quantity, price = Decimal("9999999999999999.123456789012"), Decimal("1.000000000001")
    buy = Buy(
        directive_id="EXE_1",
        symbol="KO",
        quantity=quantity,
        lot="0.000000000001",
        limit_price=price,
    )
    exact = Fraction(quantity) * Fraction(price)
    assert Fraction(need(atomic((buy,)), NO_ALLOWANCE).cash) == exact


@pytest.mark.parametrize(
    "field", ["price_basis_points", "undo_basis_points", "fee_basis_points", "fee_per_unit"]
)
def test_a_negative_allowance_is_refused(field: str) -> None:
    with pytest.raises(CannotReserve, match=field):
        Allowance(**{field: Decimal(-1)})
