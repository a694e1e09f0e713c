"""What a batch has in place at this moment, symbol by symbol, and how far that is known.

Read from the journal alone. A quantity is *known* when no attempt on it is under way or of unknown
fate; else it is an interval, and both ends are told. Money is what the last fill's price makes of
it: a guess as soon as the market moves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from portfolio.transfer import CashTransfer
from saga.exact import ZERO, minus, plain, plus, times, total
from saga.ids import Purpose
from saga.ledger import UNPROVEN, AttemptRecord, AttemptState, Saga, Step
from saga.machine import SagaState
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
        sure: signed change that is in the books already: by fills that are known, and by hand; None
            where nobody said.
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
    return _with_what_was_done_by_hand(found, saga, saga.steps)


def residual(saga: Saga) -> tuple[InPlace, ...]:
    """Return what is left of a saga that is STALE, or was when it was closed by hand.

    What an operator did by hand while it is STALE, when he closed an incident, counts.
    """
    found = {each.subject: InPlace.of(each) for each in saga.residual}
    steps = [step for step in saga.steps if _may_be_left(saga, step)]
    if saga.state is not SagaState.STALE:
        return _told_apart(found.values(), saga, _sure(steps))
    return _with_what_was_done_by_hand(found, saga, steps)


def _may_be_left(saga: Saga, step: Step) -> bool:
    """Tell whether a step counts in what is left: to be undone, or its fate not known."""
    return (saga.undoes and step.rolls_back) or any(
        attempt.state in UNPROVEN for attempt in step.every_attempt
    )


def _with_what_was_done_by_hand(
    found: dict[str, InPlace], saga: Saga, steps: Iterable[Step]
) -> tuple[InPlace, ...]:
    sure = _sure(steps)
    for adjustment in saga.by_hand:
        symbol, change = adjustment.subject, adjustment.quantity
        before = found.get(symbol, InPlace(symbol, ZERO, ZERO, None, ()))
        found[symbol] = replace(
            before, low=plus(before.low, change), high=plus(before.high, change)
        )
        sure[symbol] = plus(sure.get(symbol, ZERO), change)
    changed = (each for each in found.values() if not each.low == each.high == 0)
    return _told_apart(changed, saga, sure)


def _sure(steps: Iterable[Step]) -> dict[str, Decimal]:
    """Return by symbol what is in place of steps as far as fills are known, signed."""
    sure: dict[str, Decimal] = {}
    for step in steps:
        if step.subject is not None:
            change = times(Decimal(step.direction), step.left_to_undo)
            sure[step.subject] = plus(sure.get(step.subject, ZERO), change)
    return sure


def _told_apart(
    found: Iterable[InPlace], saga: Saga, sure: Mapping[str, Decimal]
) -> tuple[InPlace, ...]:
    """Tell the orders that are known to be open from those of unknown fate."""
    attempts: dict[str, AttemptRecord] = {}
    for step in saga.steps:
        attempts |= {a.key: a for a in step.every_attempt if a.state in UNPROVEN}
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
        for attempt in step.every_attempt:
            if attempt.state not in UNPROVEN or not attempt.open_amount:
                continue
            if isinstance(attempt.directive, CashTransfer):
                cash = times(Decimal(attempt.directive.signed), attempt.open_amount)
                low, high = plus(low, min(cash, ZERO)), plus(high, max(cash, ZERO))
                continue
            if step.subject is None or step.direction == 0:
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
    """What the fills of a batch, its undo included, changed; cash that it moved is part of it.

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
        sign = Decimal(-step.direction)
        traded = minus(_value(step.forward), _value(step.undo))
        moved = total(map(_moved, step.every_attempt))
        charged = total(fill.fee for attempt in step.every_attempt for fill in attempt.fills)
        cash = minus(plus(cash, plus(times(sign, traded), moved)), charged)
        fees = plus(fees, charged)
    return CashEffect(cash, fees)


def _moved(attempt: AttemptRecord) -> Decimal:
    """Return the cash that a transfer has moved, signed; zero for everything else."""
    directive = attempt.directive
    if not isinstance(directive, CashTransfer):
        return ZERO
    return times(Decimal(directive.signed), attempt.done)


def _value(attempts: Sequence[AttemptRecord]) -> Decimal:
    return total(times(fill.quantity, fill.price) for attempt in attempts for fill in attempt.fills)
