"""At which price, and how much of it, an order fills. Pure and exact.

The market has one price a day, the close. A market order fills at it, worsened by the slippage and
rounded to the tick against the customer. A limit order fills when the close has reached the limit,
and never at a worse price. What one order fills in a day is bounded by the liquidity.
"""

from decimal import Decimal

from brokers.orders import Side
from saga.exact import floor_to_step, minus, plus, times

_BASIS_POINT = Decimal("0.0001")
_ONE_IN_BASIS_POINTS = Decimal(10_000)


def market_price(close: Decimal, side: Side, slippage: Decimal, tick: Decimal) -> Decimal:
    """Return what a market order pays or gets per unit.

    Args:
        close: the day's close, positive.
        side: a buy pays more than the close, a sell gets less.
        slippage: how much more or less, in basis points.
        tick: the price is a whole number of these, rounded against the customer, at least one.
    """
    signed = slippage if side is Side.BUY else -slippage
    exact = times(close, times(plus(_ONE_IN_BASIS_POINTS, signed), _BASIS_POINT))
    below = floor_to_step(exact, tick) if exact > 0 else tick
    rounded = plus(below, tick) if side is Side.BUY and below < exact else below
    return max(rounded, tick)


def fill_price(
    close: Decimal, side: Side, limit: Decimal | None, slippage: Decimal, tick: Decimal
) -> Decimal | None:
    """Return the price at which the order fills today; None if its limit is not reached."""
    price = market_price(close, side, slippage, tick)
    if limit is None:
        return price
    if side is Side.BUY:
        return min(price, limit) if close <= limit else None
    return max(price, limit) if close >= limit else None


def fill_quantity(remaining: Decimal, liquidity: Decimal | None, lot: Decimal) -> Decimal:
    """Return how much of what remains fills in one day.

    Args:
        remaining: what is open of the order.
        liquidity: most that one order fills in a day; None is no bound.
        lot: a bounded fill is a whole number of lots.
    """
    if liquidity is None or remaining <= liquidity:
        return remaining
    return floor_to_step(liquidity, lot)


def fee_of(quantity: Decimal, per_unit: Decimal, minimum: Decimal) -> Decimal:
    """Return the fee of one execution, in the account's currency."""
    return max(times(quantity, per_unit), minimum)


def cash_change(side: Side, quantity: Decimal, price: Decimal, fee: Decimal) -> Decimal:
    """Return how one execution changes the cash: negative for a buy."""
    value = times(quantity, price)
    return minus(value if side is Side.SELL else -value, fee)


def position_change(side: Side, quantity: Decimal) -> Decimal:
    """Return how one execution changes what is held: negative for a sell."""
    return quantity if side is Side.BUY else -quantity
