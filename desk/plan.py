"""The dry run: what a batch would do, how each leg is undone, and what a death in between costs.

For a death after leg k it says, of legs 1 to k: the exposure, which is known, because it is what
the file asks for; and the worst cost of undoing them, which is an estimate: each leg is taken to
fill at its limit, or (a market order) `reserve.price_basis_points` worse than the price seen, and
to be undone `reserve.undo_basis_points` worse than that price, with the exchange's fees both ways.
A gap in the market can be worse than any such cushion. Pure; nothing is stored or sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.orders import Order
from portfolio import Allowance
from portfolio.reservation import Need, need_of, order_leg
from saga.directive import Directive
from saga.exact import ZERO, minus, plus, times
from saga.model import Batch
from saga.outcome import Fill, Outcome
from saga.policy import OnFailure


@dataclass(frozen=True, slots=True)
class PlannedLeg:
    """One leg, and what a death right after it would leave.

    Attributes:
        number: its place, from 1.
        what: the directive, in words.
        inverse: what undoes it if it fills whole; None if nothing does, or it is kept.
        price: the price it is reckoned with; None where nothing is traded.
        price_is_limit: that price is its limit, which cannot be passed.
        value: signed cash at that price, without fees: below zero is paid.
        exposure: signed quantity by symbol over all legs up to this one.
        exposure_value: what that is worth at the prices seen: what is held at risk.
        undo_cost: worst cost of undoing all legs up to this one, fees both ways included.
    """

    number: int
    what: str
    inverse: str | None
    price: Decimal | None
    price_is_limit: bool
    value: Decimal
    exposure: dict[str, Decimal]
    exposure_value: Decimal
    undo_cost: Decimal


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch would do.

    Attributes:
        legs: in list order.
        need: cash and shares that are reserved for it, its undo included.
        undoes: what took effect is undone when it fails.
    """

    legs: tuple[PlannedLeg, ...]
    need: Need
    undoes: bool

    @property
    def worst_undo(self) -> Decimal:
        """The dearest undo of all points at which it could stop."""
        return max((leg.undo_cost for leg in self.legs), default=ZERO)


def plan_batch(batch: Batch, on_failure: OnFailure, allowance: Allowance) -> BatchPlan:
    """Return what a batch would do; its orders bear reference prices.

    Raises:
        CannotReserve: an order bears no price.
    """
    undone = frozenset() if on_failure is OnFailure.KEEP else batch.rolled_back_ids()
    exposure: dict[str, Decimal] = {}
    seen: dict[str, Decimal] = {}
    cost = ZERO
    legs = []
    for number, directive in enumerate(batch.directives, start=1):
        is_undone = directive.directive_id in undone
        price, value = _price_of(directive), ZERO
        if isinstance(directive, Order) and price is not None:
            symbol, signed = directive.symbol, _signed(directive)
            exposure[symbol] = plus(exposure.get(symbol, ZERO), signed)
            seen[symbol] = directive.reference_price or price
            value = minus(ZERO, times(signed, price))
            base = directive.reference_price or price
            leg = order_leg(directive, allowance, base, is_undone=is_undone)
            if is_undone:
                cost = minus(cost, leg.net)
        legs.append(
            PlannedLeg(
                number=number,
                what=directive.describe(),
                inverse=_inverse(directive, price) if is_undone else None,
                price=price,
                price_is_limit=getattr(directive, "limit_price", None) is not None,
                value=value,
                exposure={symbol: each for symbol, each in exposure.items() if each},
                exposure_value=_value(exposure, seen),
                undo_cost=cost,
            )
        )
    need = need_of(batch, on_failure, allowance, lambda _: None)
    return BatchPlan(tuple(legs), need, on_failure is not OnFailure.KEEP)


def _price_of(directive: Directive) -> Decimal | None:
    if not isinstance(directive, Order):
        return None
    return directive.limit_price or directive.reference_price


def _signed(order: Order) -> Decimal:
    return times(Decimal(order.direction), order.quantity)


def _value(exposure: dict[str, Decimal], seen: dict[str, Decimal]) -> Decimal:
    gross = ZERO
    for symbol, quantity in exposure.items():
        gross = plus(gross, times(quantity.copy_abs(), seen[symbol]))
    return gross


def _inverse(directive: Directive, price: Decimal | None) -> str | None:
    if not directive.can_be_undone:
        return None
    filled = Outcome((Fill("-", directive.amount, price or ZERO),))
    return directive.inverse(filled).describe()


def totals(legs: Sequence[PlannedLeg]) -> tuple[Decimal, Decimal]:
    """Return what is paid and what is received at the prices reckoned with, both positive."""
    paid = received = ZERO
    for leg in legs:
        if leg.value < 0:
            paid = minus(paid, leg.value)
        else:
            received = plus(received, leg.value)
    return paid, received
