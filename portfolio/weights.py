"""From what is held to what is wanted: a rebalance as whole-lot trades. Pure and exact.

Weights are parts of what is invested, `equity * (1 - cash_buffer)`. A target is its exact value in
whole lots, rounded down; those with the largest remainders get one lot more while the money lasts.
A position within the drift band is left alone; a trade below the minimum notional is not made. Buys
spend at most the cash after the sells, less buffer and fees, at the planned prices, and at most all
of it at worse ones (`Allowance`); where that does not pay for all, they are cut in proportion.
Nothing is rounded but down to whole lots. It knows no broker and no store, and the order in which
symbols are given does not matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import floor

from brokers.orders import Side
from portfolio.errors import CannotPlan
from portfolio.reservation import Allowance
from saga.exact import ONE, ZERO, minus, plain, plus, times, total
from saga.wording import shown

Weight = Decimal | Fraction
"""A part of what is invested, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a rebalance is planned.

    Attributes:
        cash_buffer: part of the equity that stays cash, from 0 to below 1.
        drift_band: a position whose weight in the equity is off by at most this is left alone.
        min_notional: a trade of less value, in the currency, is not made.
        lots: the lot of each symbol; 1 where none is given.
        allowance: fees and worse prices that the cash must bear as well.
    """

    cash_buffer: Decimal = Decimal("0.02")
    drift_band: Decimal = ZERO
    min_notional: Decimal = ZERO
    lots: Mapping[str, Decimal] = field(default_factory=dict)
    allowance: Allowance = field(default_factory=Allowance)

    def __post_init__(self) -> None:
        if not ZERO <= self.cash_buffer < ONE:
            raise CannotPlan(
                f"cash_buffer must be from 0 to below 1, not {self.cash_buffer}; "
                "0.02 is two per cent"
            )
        if not ZERO <= self.drift_band < ONE:
            raise CannotPlan(
                f"drift_band must be from 0 to below 1, not {self.drift_band}; 0.01 is one per cent"
            )
        if not self.min_notional >= ZERO:
            raise CannotPlan(f"min_notional must be 0 or more, not {self.min_notional}")
        for symbol, lot in self.lots.items():
            if not lot > ZERO:
                raise CannotPlan(f"lot of {symbol} must be above 0, not {lot}")

    def lot(self, symbol: str) -> Decimal:
        """Return the lot of a symbol."""
        return self.lots.get(symbol, ONE)


@dataclass(frozen=True, slots=True)
class PlannedTrade:
    """One trade of a plan: whole lots of a symbol, and the price that was planned with."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal

    @property
    def value(self) -> Decimal:
        """What it is worth at the planned price, in the currency."""
        return times(self.quantity, self.price)


@dataclass(frozen=True, slots=True)
class Plan:
    """A rebalance that has not been submitted.

    Attributes:
        equity: cash and holdings at the planned prices.
        trades: sells first, then buys, the largest value first; empty where nothing is to be done.
        cash_after: the cash that is left at the planned prices, before fees.
    """

    equity: Decimal
    trades: tuple[PlannedTrade, ...]
    cash_after: Decimal


@dataclass(frozen=True, slots=True)
class _Buy:
    """A buy that is wanted, in lots.

    Attributes:
        lots: how many are wanted.
        least: how many it must be at least, by the minimum notional; 1 or more.
        cost: of one lot at the planned price, with the fees that grow with it.
        flat: what an order costs beside that.
    """

    symbol: str
    lots: int
    least: int
    cost: Fraction
    flat: Fraction

    @property
    def whole_cost(self) -> Fraction:
        """What all of it costs."""
        return self.lots * self.cost + self.flat

    def affordable(self, budget: Fraction) -> int:
        """Return how many of the wanted lots the budget pays for."""
        return max(0, min(self.lots, floor((budget - self.flat) / self.cost)))


def plan_rebalance(
    holdings: Mapping[str, Decimal],
    cash: Decimal,
    prices: Mapping[str, Decimal],
    weights: Mapping[str, Weight],
    rules: Rules | None = None,
) -> Plan:
    """Return the trades that bring the holdings to the weights.

    Args:
        holdings: quantity by symbol, in shares or contracts.
        cash: what can be spent, in the currency.
        prices: per unit, for every symbol that is held or wanted.
        weights: from 0 to 1 each, at most 1 together; what is not named is sold.
        rules: buffer, band, minimum, lots and fees.

    Raises:
        CannotPlan: weights or prices are wrong or missing, or there is nothing to invest.
    """
    rules = rules or Rules()
    wanted = _checked_weights(weights)
    held = {symbol: quantity for symbol, quantity in holdings.items() if quantity}
    symbols = sorted(wanted.keys() | held.keys())
    for symbol in symbols:
        _check_price(symbol, prices.get(symbol))
    equity = plus(cash, total(times(held[symbol], prices[symbol]) for symbol in sorted(held)))
    if not equity > 0:
        raise CannotPlan(
            f"equity must be above 0, not {plain(equity)}; deposit cash before anything is planned"
        )
    targets = _target_lots(wanted, prices, rules, Fraction(equity))
    changes = {
        symbol: change
        for symbol in symbols
        if (change := _change(symbol, held, prices, wanted, targets, rules, Fraction(equity)))
    }
    sells = [
        PlannedTrade(symbol, Side.SELL, times(Decimal(-lots), rules.lot(symbol)), prices[symbol])
        for symbol, lots in changes.items()
        if lots < 0
    ]
    wanted_buys = [
        _wanted_buy(symbol, lots, prices[symbol], rules)
        for symbol, lots in changes.items()
        if lots > 0
    ]
    bought = _afford(wanted_buys, _budget(cash, equity, sells, rules))
    buys = [
        PlannedTrade(symbol, Side.BUY, times(Decimal(lots), rules.lot(symbol)), prices[symbol])
        for symbol, lots in bought.items()
        if lots
    ]
    trades = (*_largest_first(sells), *_largest_first(buys))
    spent = minus(total(buy.value for buy in buys), total(sell.value for sell in sells))
    return Plan(equity, trades, minus(cash, spent))


def _checked_weights(weights: Mapping[str, Weight]) -> dict[str, Fraction]:
    exact: dict[str, Fraction] = {}
    for symbol, weight in weights.items():
        given: object = weight
        if not isinstance(given, (Decimal, Fraction)) or (
            isinstance(given, Decimal) and not given.is_finite()
        ):
            raise CannotPlan(
                f"weight of {symbol} must be an exact Decimal or Fraction, not {shown(given)}; "
                "write it like Decimal('0.05') or Fraction(1, 20)"
            )
        if given < 0:
            raise CannotPlan(f"weight of {symbol} must be 0 or more, not {given}; 0 sells it")
        exact[symbol] = Fraction(given)
    whole = sum(exact.values(), Fraction(0))
    if whole > 1:
        raise CannotPlan(
            f"weights must add up to at most 1, not {float(whole):.6g}; the rest stays cash"
        )
    return exact


def _check_price(symbol: str, price: Decimal | None) -> None:
    if price is None:
        raise CannotPlan(f"price of {symbol} is missing; every symbol held or wanted needs one")
    if not (price.is_finite() and price > 0):
        raise CannotPlan(f"price of {symbol} must be above 0, not {price}")


def _target_lots(
    weights: Mapping[str, Fraction], prices: Mapping[str, Decimal], rules: Rules, equity: Fraction
) -> dict[str, int]:
    """Return the whole lots of each target, by largest remainder."""
    invested = equity * (1 - Fraction(rules.cash_buffer))
    value = {symbol: Fraction(times(rules.lot(symbol), prices[symbol])) for symbol in weights}
    exact = {symbol: weight * invested / value[symbol] for symbol, weight in weights.items()}
    lots = {symbol: floor(quota) for symbol, quota in exact.items()}
    left = sum(((exact[symbol] - lots[symbol]) * value[symbol] for symbol in lots), Fraction(0))
    by_remainder = sorted(lots, key=lambda symbol: (lots[symbol] - exact[symbol], symbol))
    for symbol in by_remainder:
        if exact[symbol] > lots[symbol] and value[symbol] <= left:
            lots[symbol] += 1
            left -= value[symbol]
    return lots


def _change(
    symbol: str,
    held: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    weights: Mapping[str, Fraction],
    targets: Mapping[str, int],
    rules: Rules,
    equity: Fraction,
) -> int:
    """Return how many whole lots are to be bought, below zero for sold."""
    price, lot = Fraction(prices[symbol]), Fraction(rules.lot(symbol))
    quantity = Fraction(held.get(symbol, ZERO))
    invested = equity * (1 - Fraction(rules.cash_buffer))
    drift = abs(quantity * price - weights.get(symbol, Fraction(0)) * invested) / equity
    if drift <= Fraction(rules.drift_band):
        return 0
    gap = targets.get(symbol, 0) - quantity / lot
    lots = floor(gap) if gap > 0 else -floor(-gap)
    too_small = abs(lots) * lot * price < Fraction(rules.min_notional)
    return 0 if too_small else lots


def _wanted_buy(symbol: str, lots: int, price: Decimal, rules: Rules) -> _Buy:
    lot = rules.lot(symbol)
    flat = Fraction(rules.allowance.fee_per_order)
    least = -floor(-Fraction(rules.min_notional) / Fraction(times(lot, price)))
    fee = minus(rules.allowance.fee(lot, price), rules.allowance.fee_per_order)
    cost = Fraction(plus(times(lot, price), fee))
    return _Buy(symbol, lots, max(1, least), cost, flat)


def _budget(cash: Decimal, equity: Decimal, sells: list[PlannedTrade], rules: Rules) -> Fraction:
    """Return what all buys may cost at the planned prices, their fees included."""
    as_planned = worst = Fraction(cash)
    for sell in sells:
        as_planned += Fraction(minus(sell.value, rules.allowance.fee(sell.quantity, sell.price)))
        worst += Fraction(rules.allowance.selling(sell.quantity, sell.price))
    as_planned -= Fraction(equity) * Fraction(rules.cash_buffer)
    # The buffer is there to bear worse prices; beyond it, less is bought.
    return min(as_planned, worst / Fraction(rules.allowance.worse_factor))


def _afford(buys: list[_Buy], budget: Fraction) -> dict[str, int]:
    """Return how many lots of each buy are made, so that none could be made more of."""
    kept = sorted(buys, key=lambda buy: (-buy.whole_cost, buy.symbol))
    dropped: list[_Buy] = []
    lots: dict[str, int] = {}
    while kept:
        lots = _in_proportion(kept, budget)
        too_few = [buy for buy in kept if lots[buy.symbol] < buy.least]
        if not too_few:
            break
        dropped.extend(too_few)
        kept = [buy for buy in kept if buy not in too_few]
    left = budget - sum((lots[buy.symbol] * buy.cost + buy.flat for buy in kept), Fraction(0))
    result: dict[str, int] = {}
    for buy in kept:
        # What proportion and rounding left over goes to the largest first.
        more = max(0, min(buy.lots - lots[buy.symbol], floor(left / buy.cost)))
        left -= more * buy.cost
        result[buy.symbol] = lots[buy.symbol] + more
    for buy in sorted(dropped, key=lambda buy: (-buy.whole_cost, buy.symbol)):
        affordable = buy.affordable(left)
        if affordable >= buy.least:
            left -= affordable * buy.cost + buy.flat
            result[buy.symbol] = affordable
    return result


def _in_proportion(buys: list[_Buy], budget: Fraction) -> dict[str, int]:
    """Return the lots of each buy: all, or each cut in proportion, by largest remainder."""
    if sum((buy.whole_cost for buy in buys), Fraction(0)) <= budget:
        return {buy.symbol: buy.lots for buy in buys}
    usable = max(Fraction(0), budget - sum((buy.flat for buy in buys), Fraction(0)))
    part = usable / sum((buy.lots * buy.cost for buy in buys), Fraction(0))
    exact = {buy.symbol: buy.lots * part for buy in buys}
    lots = {symbol: floor(quota) for symbol, quota in exact.items()}
    left = usable - sum((lots[buy.symbol] * buy.cost for buy in buys), Fraction(0))
    by_remainder = sorted(buys, key=lambda buy: (lots[buy.symbol] - exact[buy.symbol], buy.symbol))
    for buy in by_remainder:
        if exact[buy.symbol] > lots[buy.symbol] and buy.cost <= left:
            lots[buy.symbol] += 1
            left -= buy.cost
    return lots


def _largest_first(trades: list[PlannedTrade]) -> list[PlannedTrade]:
    return sorted(trades, key=lambda trade: (minus(ZERO, trade.value), trade.symbol))
