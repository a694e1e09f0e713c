"""What is known of an effect in the outside world.

A participant answers with a `Report`: everything it knows about one attempt, so far. The engine
keeps what it has learnt as an `Outcome`. Both are made of fills, because an effect comes in pieces.
For a participant whose work is indivisible (a quote refreshed, an order cancelled) the whole
effect is one fill of quantity 1.
"""

from datetime import datetime
from decimal import Decimal

from saga.exact import ZERO, total
from saga.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Fill:
    """One indivisible piece of an effect, as the outside world recorded it.

    Attributes:
        fill_id: the outside world's own id of it; one id is applied once.
        quantity: how much, positive, in the directive's own unit (shares, contracts, 1).
        price: per unit, in the account's currency; zero where nothing is paid.
        fee: what it cost beside the price, in the account's currency; negative is a rebate.
        at: when it happened, by the outside world's clock; None where it does not say.
    """

    fill_id: str
    quantity: Decimal
    price: Decimal = ZERO
    fee: Decimal = ZERO
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that a participant knows about one attempt at this moment.

    Attributes:
        final: nothing more will happen to it, good or bad.
        fills: every fill that stands, not only the new ones.
        reason: why it ended without (all of) its effect, in the participant's words.
        reference: the outside world's own id of the order; an attribute, never an identity.
        reversed: ids of fills that it has taken back, which do not stand among `fills`. A fill that
            is merely not told of any more is no such fill.
    """

    final: bool
    fills: tuple[Fill, ...] = ()
    reason: str | None = None
    reference: str | None = None
    reversed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What took effect: the input from which a directive derives its inverse.

    Attributes:
        fills: the fills that make up the effect (or, for a retried inverse, what is left of them).
    """

    fills: tuple[Fill, ...]

    @property
    def done(self) -> Decimal:
        """How much took effect, in the directive's own unit."""
        return total(fill.quantity for fill in self.fills)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a saga may have left behind on one subject: an interval, a point where it is known.

    Attributes:
        subject: the symbol.
        low: least signed quantity that may be left, in the directive's unit.
        high: most signed quantity that may be left.
        price: the last price seen for it, in the account's currency; None if none was ever seen.
        unproven: keys of the attempts whose fate is not known; empty when `low == high`.
    """

    subject: str
    low: Decimal
    high: Decimal
    price: Decimal | None = None
    unproven: tuple[str, ...] = ()
