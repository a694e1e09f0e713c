"""What a batch needs at worst, its undo included: the reservation rule. Pure and exact.

Each leg has a worst price forward and a worst price for its undo (`Allowance`). With `f` the change
of cash by a leg and `u` that of its undo, both at their worst and fees included, and `n = f + u`:

- ATOMIC, one leg at a time: legs take effect in list order and are undone newest first. The
  reservation is the lowest cash on any such way: `max over k of -(f1+...+fk) - (n(k+1)+...+nN)`,
  and at least 0. What earlier legs sell pays for later ones, as these are only sent after it.
- Any other batch: legs may take effect in any order, and some not at all, so that nothing that is
  sold pays for anything: the sum over all legs of the worst of `0`, `-f` and, where the leg is
  undone on failure, `-n`.

Shares of a symbol follow the same rule with `f` the signed quantity and `n = 0`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.orders import Order, Side
from portfolio.errors import CannotReserve
from portfolio.transfer import CashTransfer
from saga.directive import Directive
from saga.exact import ONE, ZERO, minus, plus, times, total
from saga.model import Batch, ExecutionMode
from saga.policy import OnFailure

_BASIS_POINT: Final = Decimal("0.0001")
_MAX_BASIS_POINTS: Final = Decimal(10_000)

PriceOf = Callable[[str], Decimal | None]
"""The last price known for a symbol; None if there is none."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much worse than planned prices may be, and what fees may be.

    Attributes:
        price_basis_points: how much worse than its reference price a market order may fill.
        undo_basis_points: how much worse than its reference price the undo of a leg may fill.
        fee_basis_points: fee of an execution, in basis points of its value.
        fee_per_unit: fee for each share or contract, in the currency.
        fee_per_order: fee for each order, in the currency.
    """

    price_basis_points: Decimal = Decimal(50)
    undo_basis_points: Decimal = Decimal(50)
    fee_basis_points: Decimal = ZERO
    fee_per_unit: Decimal = ZERO
    fee_per_order: Decimal = ZERO

    def __post_init__(self) -> None:
        for name in ("price_basis_points", "undo_basis_points", "fee_basis_points"):
            if not ZERO <= getattr(self, name) < _MAX_BASIS_POINTS:
                raise CannotReserve(
                    f"{name} must be from 0 to below {_MAX_BASIS_POINTS}, not "
                    f"{getattr(self, name)}; 100 basis points are one per cent"
                )
        for name in ("fee_per_unit", "fee_per_order"):
            if not getattr(self, name) >= ZERO:
                raise CannotReserve(f"{name} must be 0 or more, not {getattr(self, name)}")

    def fee(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the fee allowed for one order, in the currency."""
        value = times(quantity, price)
        by_value = times(value, times(self.fee_basis_points, _BASIS_POINT))
        return plus(plus(by_value, times(quantity, self.fee_per_unit)), self.fee_per_order)

    @property
    def worse_factor(self) -> Decimal:
        """What a planned price is multiplied with to be the worst that a market buy may pay."""
        return plus(ONE, times(self.price_basis_points, _BASIS_POINT))

    def selling(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the least that a market sell near `price` brings, fee deducted."""
        worst = _worse(price, _negative(self.price_basis_points))
        return minus(times(quantity, worst), self.fee(quantity, price))


NO_ALLOWANCE: Final = Allowance(price_basis_points=ZERO, undo_basis_points=ZERO)
"""Prices as planned, and no fees."""


@dataclass(frozen=True, slots=True)
class Leg:
    """What one directive changes at worst.

    Attributes:
        symbol: what is traded; None where only cash moves.
        quantity: signed change of what is held.
        forward: signed change of cash when it is carried out.
        undo: signed change of cash when all of it is undone.
        is_undone: it is undone when the batch rolls back.
    """

    symbol: str | None
    quantity: Decimal
    forward: Decimal
    undo: Decimal
    is_undone: bool

    @property
    def net(self) -> Decimal:
        """What carrying it out and undoing it change together; zero or less."""
        return plus(self.forward, self.undo)


@dataclass(frozen=True, slots=True)
class Need:
    """What a batch needs at worst.

    Attributes:
        cash: in the portfolio's currency, zero or more.
        shares: for each symbol of which any are needed, how many.
    """

    cash: Decimal
    shares: dict[str, Decimal]


def need_of(batch: Batch, on_failure: OnFailure, allowance: Allowance, price_of: PriceOf) -> Need:
    """Return what the batch needs at worst.

    Args:
        batch: the batch.
        on_failure: what it does when it fails.
        allowance: how much worse than planned it may get.
        price_of: the last known prices, for orders that bear none.

    Raises:
        CannotReserve: an order bears no price and none is known, or a directive that changes
            what is held is no order.
    """
    undone = frozenset() if on_failure is OnFailure.KEEP else batch.rolled_back_ids()
    legs = [
        leg
        for directive in batch.directives
        if (leg := _leg(directive, allowance, price_of, is_undone=directive.directive_id in undone))
    ]
    # Only here is a leg sent after the whole effect of those before it, or not at all.
    if batch.execution_mode is ExecutionMode.ATOMIC and batch.width == 1:
        return Need(_cash_in_order(legs), _shares_in_order(legs))
    return Need(_cash_in_any_order(legs), _shares_in_any_order(legs))


def _leg(
    directive: Directive, allowance: Allowance, price_of: PriceOf, *, is_undone: bool
) -> Leg | None:
    if isinstance(directive, CashTransfer):
        moved = times(Decimal(directive.signed), directive.cash)
        return Leg(None, ZERO, moved, _negative(moved), is_undone)
    if isinstance(directive, Order):
        return order_leg(
            directive, allowance, _base_price(directive, price_of), is_undone=is_undone
        )
    if directive.direction:
        raise CannotReserve(
            f"directive {directive.directive_id}: kind {directive.kind!r} changes what is held of "
            f"{directive.subject}, but is no order, so that nothing can be reserved for it; "
            "submit it without a portfolio"
        )
    return None


def _base_price(order: Order, price_of: PriceOf) -> Decimal:
    price = order.reference_price or price_of(order.symbol) or order.limit_price
    if price is None:
        raise CannotReserve(
            f"directive {order.directive_id}: {order.describe()} has neither reference_price nor "
            "limit_price, and no price is known; give it a reference_price"
        )
    return price


def order_leg(order: Order, allowance: Allowance, base: Decimal, *, is_undone: bool) -> Leg:
    """Return what one order changes at worst, near the price `base` that was seen for it."""
    quantity, limit = order.quantity, order.limit_price
    if order.side is Side.BUY:
        paid = limit or _worse(base, allowance.price_basis_points)
        cost = plus(times(quantity, paid), allowance.fee(quantity, paid))
        back_at = _worse(min(base, limit or base), _negative(allowance.undo_basis_points))
        back = minus(times(quantity, back_at), allowance.fee(quantity, paid))
        return Leg(order.symbol, quantity, _negative(cost), back, is_undone)
    got = limit or _worse(base, _negative(allowance.price_basis_points))
    highest = max(base, got)
    proceeds = minus(times(quantity, got), allowance.fee(quantity, highest))
    back_at = _worse(highest, allowance.undo_basis_points)
    cost = plus(times(quantity, back_at), allowance.fee(quantity, back_at))
    return Leg(order.symbol, _negative(quantity), proceeds, _negative(cost), is_undone)


def _worse(price: Decimal, basis_points: Decimal) -> Decimal:
    return times(price, plus(ONE, times(basis_points, _BASIS_POINT)))


def _negative(amount: Decimal) -> Decimal:
    # The operator `-` rounds by the default context.
    return minus(ZERO, amount)


def _cash_in_order(legs: Iterable[Leg]) -> Decimal:
    # lowest = min over k of (f1+...+fk) - (n1+...+nk); adding the whole loss gives the rule.
    spent = lost = lowest = ZERO
    for leg in legs:
        spent = plus(spent, leg.forward)
        lost = plus(lost, leg.net)
        lowest = min(lowest, minus(spent, lost))
    return max(ZERO, _negative(plus(lowest, lost)))


def _cash_in_any_order(legs: Iterable[Leg]) -> Decimal:
    return total(
        max(ZERO, _negative(leg.forward), _negative(leg.net) if leg.is_undone else ZERO)
        for leg in legs
    )


def _shares_in_order(legs: Iterable[Leg]) -> dict[str, Decimal]:
    held: dict[str, Decimal] = {}
    lowest: dict[str, Decimal] = {}
    for leg in legs:
        if leg.symbol is not None:
            held[leg.symbol] = plus(held.get(leg.symbol, ZERO), leg.quantity)
            lowest[leg.symbol] = min(lowest.get(leg.symbol, ZERO), held[leg.symbol])
    return {symbol: _negative(least) for symbol, least in lowest.items() if least < 0}


def _shares_in_any_order(legs: Iterable[Leg]) -> dict[str, Decimal]:
    sold: dict[str, Decimal] = {}
    for leg in legs:
        if leg.symbol is not None and leg.quantity < 0:
            sold[leg.symbol] = minus(sold.get(leg.symbol, ZERO), leg.quantity)
    return sold
