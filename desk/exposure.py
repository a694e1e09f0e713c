"""What a batch has in place at this moment, symbol by symbol, and how far that is known.

Read from the journal alone. A quantity is *known* when no attempt on it is under way or of unknown
fate; else it is an interval, and both ends are told. Money is what the last fill's price makes of
it: a guess as soon as the market moves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from saga.exact import ZERO, minus, plain, plus, times, total
from saga.ids import Purpose
from saga.ledger import UNPROVEN, AttemptRecord, AttemptState, Saga, Step
from saga.outcome import Exposure
from saga.wording import counted


@dataclass(frozen=True, slots=True)
class InPlace:
    """What is in place of one symbol.

    Attributes:
        low: least signed change of what is held.
        high: most signed change.
        price: of the last fill, or the one that was planned with; None if there is none.
        unproven: keys of the attempts that may still change it.
        open: of those, what the broker is known to have and may still fill.
        sure: signed change that has taken effect already and can be seen; None where nobody said.
        silent_since: when the first of the others had its last answer, or was sent; None if there
            is no other.
        as_of: when the journal last told of the batch; None where nobody said.
    """

    symbol: str
    low: Decimal
    high: Decimal
    price: Decimal | None
    unproven: tuple[str, ...]
    open: tuple[str, ...] = ()
    sure: Decimal | None = None
    silent_since: datetime | None = None
    as_of: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Both ends are the same."""
        return self.low == self.high

    @property
    def certainty(self) -> str:
        """How far it is known, in a few words."""
        if not self.unproven:
            return "known"
        parts = []
        if self.open:
            width = minus(self.high, self.low)
            at = f" as of {self.as_of:%H:%M:%S}Z" if self.as_of else ""
            if len(self.open) == len(self.unproven) and self.sure is not None:
                parts.append(f"{plain(self.sure)} known, {plain(width)} still open{at}")
            else:
                parts.append(f"{counted(len(self.open), 'order')} still open{at}")
        if len(self.open) < len(self.unproven):
            since = f" since {self.silent_since:%H:%M:%S}Z" if self.silent_since else ""
            parts.append(f"not known: no answer{since}")
        return "; ".join(parts)

    @classmethod
    def of(cls, exposure: Exposure) -> "InPlace":
        """Return a residual exposure in these terms."""
        return cls(exposure.subject, exposure.low, exposure.high, exposure.price, exposure.unproven)

    def value(self, end: Decimal) -> Decimal | None:
        """Return what one end is worth at `price`; None if there is no price."""
        return None if self.price is None else times(end, self.price)


def in_place(saga: Saga) -> tuple[InPlace, ...]:
    """Return what a saga has, or may have, changed of what is held; nothing where it is zero.

    What an operator did by hand, when he resolved it or closed an incident, counts as much as what
    the saga did itself.
    """
    found: dict[str, InPlace] = {}
    for step in saga.steps:
        symbol = step.directive.subject
        if symbol is None or step.directive.direction == 0:
            continue
        low, high = step.possible_change()
        if low == high == 0:
            continue
        keys = tuple(a.key for a in step.every_attempt if a.state in UNPROVEN)
        planned: Decimal | None = getattr(step.directive, "reference_price", None)
        price = step.last_price if step.last_price is not None else planned
        before = found.get(symbol, InPlace(symbol, ZERO, ZERO, None, ()))
        found[symbol] = InPlace(
            symbol,
            plus(before.low, low),
            plus(before.high, high),
            price if price is not None else before.price,
            before.unproven + keys,
        )
    for adjustment in saga.by_hand:
        symbol, change = adjustment.subject, adjustment.quantity
        before = found.get(symbol, InPlace(symbol, ZERO, ZERO, None, ()))
        found[symbol] = replace(
            before, low=plus(before.low, change), high=plus(before.high, change)
        )
    return _told_apart((each for each in found.values() if not each.low == each.high == 0), saga)


def residual(saga: Saga) -> tuple[InPlace, ...]:
    """Return what was left when a saga became STALE."""
    return _told_apart(map(InPlace.of, saga.residual), saga)


def _told_apart(found: Iterable[InPlace], saga: Saga) -> tuple[InPlace, ...]:
    """Tell the orders that are known to be open from those of unknown fate."""
    attempts: dict[str, AttemptRecord] = {}
    sure: dict[str, Decimal] = {}
    for step in saga.steps:
        attempts |= {a.key: a for a in step.every_attempt if a.state in UNPROVEN}
        symbol = step.directive.subject
        if symbol is not None:
            change = times(Decimal(step.directive.direction), step.left_to_undo)
            sure[symbol] = plus(sure.get(symbol, ZERO), change)
    told = []
    for each in found:
        mine = [attempts[key] for key in each.unproven if key in attempts]
        silent = [a.since for a in mine if a.state is not AttemptState.WORKING]
        told.append(
            replace(
                each,
                open=tuple(a.key for a in mine if a.state is AttemptState.WORKING),
                sure=sure.get(each.symbol),
                silent_since=min(silent, default=None),
                as_of=saga.updated_at,
            )
        )
    return tuple(told)


def may_move_cash(saga: Saga) -> tuple[Decimal, Decimal] | None:
    """Return by how much orders in the air may still change the cash, least and most, both signed.

    Reckoned without fees, at an order's limit or else the price that was seen last: a guess as soon
    as the market moves. None if there is no such price.
    """
    low = high = ZERO
    for step in saga.steps:
        if step.directive.subject is None or step.directive.direction == 0:
            continue
        for attempt in step.every_attempt:
            if attempt.state not in UNPROVEN or not attempt.open_amount:
                continue
            price = _price_of(step, attempt)
            if price is None:
                return None
            value = times(attempt.open_amount, price)
            is_forward = attempt.purpose is Purpose.FORWARD
            if (step.directive.direction > 0) is is_forward:
                low = minus(low, value)
            else:
                high = plus(high, value)
    return low, high


def _price_of(step: Step, attempt: AttemptRecord) -> Decimal | None:
    limit: Decimal | None = getattr(attempt.directive, "limit_price", None)
    planned: Decimal | None = getattr(step.directive, "reference_price", None)
    return limit or step.last_price or planned


@dataclass(frozen=True, slots=True)
class CashEffect:
    """What the fills of a batch, its undo included, changed.

    Attributes:
        cash: signed, fees included.
        fees: positive.
    """

    cash: Decimal
    fees: Decimal


def cash_effect(saga: Saga) -> CashEffect:
    """Return the effect of a saga's fills on cash, exactly."""
    cash = fees = ZERO
    for step in saga.steps:
        if step.direction == 0:
            continue
        sign = Decimal(-step.direction)
        traded = minus(_value(step.forward), _value(step.undo))
        charged = total(fill.fee for attempt in step.every_attempt for fill in attempt.fills)
        cash = minus(plus(cash, times(sign, traded)), charged)
        fees = plus(fees, charged)
    return CashEffect(cash, fees)


def _value(attempts: Sequence[AttemptRecord]) -> Decimal:
    return total(times(fill.quantity, fill.price) for attempt in attempts for fill in attempt.fills)
