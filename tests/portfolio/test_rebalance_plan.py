"""From holdings to weights: whole lots, exact, and never more than there is."""

from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.orders import Side
from portfolio.errors import CannotPlan
from portfolio.reservation import NO_ALLOWANCE, Allowance
from portfolio.weights import Plan, PlannedTrade, Rules, plan_rebalance

SYMBOLS = ("AAPL", "GE", "KO", "PG", "WMT", "XOM")
LOTS = (Decimal(1), Decimal(10), Decimal("0.5"), Decimal("0.001"))


class Case:
    """Something to rebalance."""

    def __init__(self, random: Random, rules: Rules) -> None:
        symbols = random.sample(SYMBOLS, random.randint(1, len(SYMBOLS)))
        parts = {symbol: random.choice((0, 0, 1, 2, 3, 7)) for symbol in symbols}
        whole = sum(parts.values()) + random.choice((0, 0, 1, 5)) or 1
        self.lots = {symbol: random.choice(LOTS) for symbol in SYMBOLS}
        self.rules = Rules(
            rules.cash_buffer, rules.drift_band, rules.min_notional, self.lots, rules.allowance
        )
        self.weights = {symbol: Fraction(part, whole) for symbol, part in parts.items()}
        self.prices = {symbol: Decimal(random.randint(1, 900_000)).scaleb(-3) for symbol in SYMBOLS}
        self.holdings = {
            symbol: self.lots[symbol] * random.randint(0, 200)
            for symbol in random.sample(SYMBOLS, random.randint(0, len(SYMBOLS)))
        }
        self.cash = Decimal(random.randint(1, 10_000_000)).scaleb(-2)

    def plan(self) -> Plan:
        return plan_rebalance(self.holdings, self.cash, self.prices, self.weights, self.rules)

    def trade(self, plan: Plan) -> None:
        """Carry the plan out at its prices, without fees."""
        for trade in plan.trades:
            sign = 1 if trade.side is Side.BUY else -1
            held = self.holdings.get(trade.symbol, Decimal(0))
            self.holdings[trade.symbol] = held + sign * trade.quantity
            self.cash -= sign * trade.value


randoms = st.integers(0, 2**32).map(Random)
buffers = st.sampled_from([Decimal(0), Decimal("0.02"), Decimal("0.3")])
bands = st.sampled_from([Decimal(0), Decimal("0.01"), Decimal("0.2")])
minima = st.sampled_from([Decimal(0), Decimal(100), Decimal(5000)])
allowances = st.builds(
    Allowance,
    price_basis_points=st.integers(0, 300).map(Decimal),
    fee_basis_points=st.integers(0, 50).map(Decimal),
    fee_per_unit=st.sampled_from([Decimal(0), Decimal("0.005")]),
    fee_per_order=st.sampled_from([Decimal(0), Decimal(1)]),
)
all_rules = st.builds(
    Rules,
    cash_buffer=buffers,
    drift_band=bands,
    min_notional=minima,
    allowance=allowances | st.just(NO_ALLOWANCE),
)


@pytest.mark.requirement("O9")
@given(randoms, all_rules)
def test_a_plan_never_spends_more_than_there_is(random: Random, rules: Rules) -> None:
    case = Case(random, rules)
    plan = case.plan()
    as_planned = worst = Fraction(case.cash)
    up = Fraction(rules.allowance.price_basis_points) / 10_000
    has_bought = False
    for trade in plan.trades:
        sign = 1 if trade.side is Side.BUY else -1
        has_bought = has_bought or sign > 0
        fee = Fraction(rules.allowance.fee(trade.quantity, trade.price))
        as_planned -= sign * Fraction(trade.value) + fee
        worst -= sign * Fraction(trade.value) * (1 + sign * up)
        worst -= fee * (1 + up if sign > 0 else 1)
    if has_bought:
        assert as_planned >= Fraction(plan.equity) * Fraction(rules.cash_buffer)
        assert worst >= 0


@given(randoms, buffers)
def test_without_bands_and_fees_every_position_ends_within_one_lot_of_its_target(
    random: Random, buffer: Decimal
) -> None:
    case = Case(random, Rules(cash_buffer=buffer, allowance=NO_ALLOWANCE))
    plan = case.plan()
    case.trade(plan)
    invested = Fraction(plan.equity) * (1 - Fraction(buffer))
    for symbol in SYMBOLS:
        target = case.weights.get(symbol, 0) * invested
        value = Fraction(case.holdings.get(symbol, Decimal(0))) * Fraction(case.prices[symbol])
        lot = Fraction(case.lots[symbol]) * Fraction(case.prices[symbol])
        assert abs(value - target) < lot
    assert case.cash == plan.cash_after


@given(randoms, buffers, bands, minima)
def test_rebalancing_right_after_a_rebalance_gives_nothing(
    random: Random, buffer: Decimal, band: Decimal, minimum: Decimal
) -> None:
    case = Case(random, Rules(buffer, band, minimum, allowance=NO_ALLOWANCE))
    first = case.plan()
    case.trade(first)
    assert case.plan().trades == ()


@given(randoms, all_rules)
def test_the_order_of_symbols_does_not_matter(random: Random, rules: Rules) -> None:
    case = Case(random, rules)
    plan = case.plan()
    for mapping in (case.weights, case.prices, case.holdings, case.lots):
        entries = list(mapping.items())
        random.shuffle(entries)
        mapping.clear()
        mapping.update(entries)  # type: ignore[arg-type]
    assert case.plan() == plan


@given(randoms, all_rules)
def test_every_trade_is_whole_lots_worth_while_and_no_more_than_is_held(
    random: Random, rules: Rules
) -> None:
    case = Case(random, rules)
    plan = case.plan()
    sides = [trade.side for trade in plan.trades]
    assert sides == sorted(sides, key=[Side.SELL, Side.BUY].index)
    for side in Side:
        values = [trade.value for trade in plan.trades if trade.side is side]
        assert values == sorted(values, reverse=True)
    for trade in plan.trades:
        assert trade.quantity > 0
        assert floor(trade.quantity / case.lots[trade.symbol]) == (
            trade.quantity / case.lots[trade.symbol]
        )
        assert trade.value >= rules.min_notional
        if trade.side is Side.SELL:
            assert trade.quantity <= case.holdings[trade.symbol]
    assert len({trade.symbol for trade in plan.trades}) == len(plan.trades)


@given(randoms, bands)
def test_a_position_within_the_band_is_left_alone(random: Random, band: Decimal) -> None:
    case = Case(random, Rules(Decimal(0), band, allowance=NO_ALLOWANCE))
    plan = case.plan()
    traded = {trade.symbol for trade in plan.trades}
    equity = Fraction(plan.equity)
    for symbol in SYMBOLS:
        value = Fraction(case.holdings.get(symbol, Decimal(0))) * Fraction(case.prices[symbol])
        if abs(value / equity - case.weights.get(symbol, 0)) <= Fraction(band):
            assert symbol not in traded


def plain_rules(**fields: Decimal) -> Rules:
    return Rules(**{"cash_buffer": Decimal(0), "allowance": NO_ALLOWANCE, **fields})  # type: ignore[arg-type]


def test_the_largest_remainders_get_the_odd_lots() -> None:
    thirds = {symbol: Fraction(1, 3) for symbol in ("AAPL", "KO", "PG")}
    prices = dict.fromkeys(thirds, Decimal(10))
    plan = plan_rebalance({}, Decimal(110), prices, thirds, plain_rules())
    # 3.67 lots each: the money of the remainders pays for two more.
    assert {trade.symbol: trade.quantity for trade in plan.trades} == {"AAPL": 4, "KO": 4, "PG": 3}
    assert plan.cash_after == 0


def test_a_rebalance_sells_first_the_largest_first() -> None:
    held = {"AAPL": Decimal(10), "KO": Decimal(30), "PG": Decimal(5)}
    prices = dict.fromkeys((*held, "XOM"), Decimal(10))
    plan = plan_rebalance(held, Decimal(0), prices, {"XOM": Decimal(1)}, plain_rules())
    assert plan.trades == (
        PlannedTrade("KO", Side.SELL, Decimal(30), Decimal(10)),
        PlannedTrade("AAPL", Side.SELL, Decimal(10), Decimal(10)),
        PlannedTrade("PG", Side.SELL, Decimal(5), Decimal(10)),
        PlannedTrade("XOM", Side.BUY, Decimal(45), Decimal(10)),
    )


def test_where_fees_leave_too_little_all_buys_are_cut_in_proportion() -> None:
    rules = plain_rules(allowance=Allowance(price_basis_points=Decimal(0), fee_per_unit=Decimal(1)))  # type: ignore[arg-type]
    weights = {"KO": Fraction(1, 4), "PG": Fraction(3, 4)}
    prices = dict.fromkeys(weights, Decimal(9))
    plan = plan_rebalance({}, Decimal(3600), prices, weights, rules)
    assert {trade.symbol: trade.quantity for trade in plan.trades} == {"KO": 90, "PG": 270}


def fees(basis_points: int) -> Allowance:
    return Allowance(price_basis_points=Decimal(0), fee_basis_points=Decimal(basis_points))


def test_what_cutting_left_over_buys_what_it_can() -> None:
    weights = {"KO": Fraction(1, 2), "PG": Fraction(1, 2)}
    prices = {"KO": Decimal(1), "PG": Decimal(100)}
    rules = Rules(cash_buffer=Decimal(0), allowance=fees(1000))
    plan = plan_rebalance({}, Decimal(1000), prices, weights, rules)
    # In proportion 454 KO and 4 PG; no fifth PG can be paid, but all of KO can.
    assert {trade.symbol: trade.quantity for trade in plan.trades} == {"KO": 500, "PG": 4}


def test_a_buy_dropped_as_too_small_is_made_after_all_if_others_leave_enough() -> None:
    weights = {symbol: Fraction(1, 3) for symbol in ("AAPL", "KO", "PG")}
    prices = dict.fromkeys(weights, Decimal(100))
    rules = Rules(cash_buffer=Decimal(0), min_notional=Decimal(400), allowance=fees(5000))
    plan = plan_rebalance({}, Decimal(1500), prices, weights, rules)
    # Five lots each are wanted, and three each can be paid, which is too small for any.
    assert {trade.symbol: trade.quantity for trade in plan.trades} == {"AAPL": 5, "KO": 5}


def test_what_is_below_the_minimum_notional_is_left_and_its_money_goes_to_others() -> None:
    weights = {"KO": Fraction(1, 100), "PG": Fraction(99, 100)}
    prices = dict.fromkeys(weights, Decimal(10))
    plan = plan_rebalance({}, Decimal(1000), prices, weights, plain_rules(min_notional=Decimal(50)))
    assert [trade.symbol for trade in plan.trades] == ["PG"]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"KO": 0.5}, "must be an exact Decimal or Fraction, not 0.5"),
        ({"KO": Decimal("NaN")}, "must be an exact Decimal or Fraction, not NaN"),
        ({"KO": Decimal("-0.1")}, "must be 0 or more, not -0.1"),
        ({"KO": Decimal("0.6"), "PG": Decimal("0.5")}, "must add up to at most 1, not 1.1"),
        ({"XOM": Decimal("0.6")}, "price of XOM is missing"),
        ({"GE": Decimal("0.6")}, "price of GE must be above 0, not 0"),
    ],
)
def test_wrong_weights_and_prices_are_refused(weights: dict[str, Decimal], said: str) -> None:
    prices = {"KO": Decimal(10), "PG": Decimal(10), "GE": Decimal(0)}
    with pytest.raises(CannotPlan, match=said):
        plan_rebalance({}, Decimal(1000), prices, weights, plain_rules())


def test_nothing_is_planned_without_equity() -> None:
    with pytest.raises(CannotPlan, match="equity must be above 0"):
        plan_rebalance({}, Decimal(0), {"KO": Decimal(1)}, {"KO": Decimal(1)})


@pytest.mark.parametrize(
    "field", [{"cash_buffer": Decimal(1)}, {"drift_band": Decimal(-1)}, {"min_notional": -1}]
)
def test_wrong_rules_are_refused(field: dict[str, Decimal]) -> None:
    with pytest.raises(CannotPlan, match=next(iter(field))):
        Rules(**field)  # type: ignore[arg-type]
