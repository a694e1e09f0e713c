"""What the journal says, worked out from the records alone.

Neither the fold nor the projection is used: this judges what they made, and shares no arithmetic
with them. It believes the records and their order, and nothing else.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from brokers.orders import Order, Side
from portfolio.naming import portfolio_of
from portfolio.transfer import CashTransfer
from saga.by_hand import taken_back
from saga.directive import Directive
from saga.events import (
    Abandoned,
    Adjustment,
    Completed,
    Event,
    GaveUp,
    IncidentClosed,
    Intended,
    LateTruth,
    LostTrack,
    ProvenAbsent,
    Reported,
    Resolved,
    Retried,
    RolledBack,
    SentAgain,
    Submitted,
    Withdrawn,
    Withheld,
)
from saga.exact import ZERO, minus, times
from saga.ids import Purpose, attempt_key
from saga.model import Batch
from saga.outcome import Fill
from saga.wording import counted

_OfAttempt = (Intended, SentAgain, Withheld, Reported, LateTruth, ProvenAbsent, GaveUp)
ENDS = (Completed, RolledBack, Withdrawn, Resolved)


@dataclass(frozen=True, slots=True)
class JournalFill:
    """One fill as the journal has it.

    Attributes:
        quantity: how much, positive.
        shares: signed change of what is held.
        cash: signed change of cash, fee included.
        reversed: the participant has taken it back, so that it changes nothing any more.
    """

    fill_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    shares: Decimal
    cash: Decimal
    at: datetime
    reversed: bool = False


@dataclass(slots=True)
class JournalAttempt:
    """One attempt as the journal has it.

    Attributes:
        amount: how much was asked, positive.
        told: the participant has said what became of it.
        acknowledged: the participant has said that it had it.
        absent: it was proven never to have arrived, or the gate let nothing of it out.
        lost: its fate was given up as unknown.
        final: nothing more was to happen to it.
    """

    key: str
    batch_id: str
    step: int
    purpose: Purpose
    directive: Directive
    amount: Decimal
    since: datetime
    told: bool = False
    acknowledged: bool = False
    absent: bool = False
    lost: bool = False
    final: bool = False
    fills: dict[str, JournalFill] = field(default_factory=dict)

    @property
    def is_order(self) -> bool:
        """A broker has it in its books."""
        return isinstance(self.directive, Order)

    @property
    def symbol(self) -> str | None:
        """What it changes; None if it changes no holding."""
        return self.directive.subject if self.directive.direction else None

    @property
    def side(self) -> Side:
        """Which way the order trades."""
        buys = (self.directive.direction > 0) is (self.purpose is Purpose.FORWARD)
        return Side.BUY if buys else Side.SELL


@dataclass(slots=True)
class JournalSaga:
    """One saga as the journal has it.

    Attributes:
        portfolio: whose books it changes; None if nobody's.
        over: it is completed, rolled back, withdrawn or resolved.
        stale: it waits for a person since then; None if it does not.
        adjustments: what operators booked by hand, and what of it is taken back because the
            journal has the trade itself by now, each with when.
        incidents: late truth that no operator has closed: the record's number, what, and when.
    """

    batch: Batch
    portfolio: str | None
    since: datetime
    over: bool = False
    stale: datetime | None = None
    adjustments: list[tuple[Adjustment, datetime]] = field(default_factory=list)
    incidents: list[tuple[int, str, datetime]] = field(default_factory=list)

    @property
    def batch_id(self) -> str:
        """Its id."""
        return self.batch.batch_id

    @property
    def at_rest(self) -> bool:
        """Nobody asks the broker about it any more."""
        return self.over or self.stale is not None

    def note_trade(self, symbol: str | None, trade_id: str, shares: Decimal, at: datetime) -> None:
        """Take back what operators booked under the id of a trade that the journal has now.

        Args:
            symbol: of the trade; None if it changes no holding.
            trade_id: the broker's id of it.
            shares: signed change of what is held.
            at: when the journal had it.
        """
        back = taken_back((each for each, _ in self.adjustments), symbol, trade_id, shares)
        if back is not None:
            self.adjustments.append((back, at))


@dataclass(slots=True)
class JournalSide:
    """All journals; each record is noted once, each saga's in their order.

    Attributes:
        sagas: by id.
        attempts: by key.
        unreadable: why a saga's journal cannot be read, by id.
    """

    sagas: dict[str, JournalSaga] = field(default_factory=dict)
    attempts: dict[str, JournalAttempt] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def note(self, batch_id: str, number: int, at: datetime, event: Event) -> None:
        """Take in one record."""
        if isinstance(event, Submitted):
            self.sagas[batch_id] = JournalSaga(event.batch, portfolio_of(event.batch), at)
            return
        saga = self.sagas.get(batch_id)
        if saga is None:
            self.unreadable.setdefault(batch_id, "it does not begin with its submission")
        elif isinstance(event, _OfAttempt):
            self._note_attempt(saga, at, event)
            if isinstance(event, LateTruth):
                saga.incidents.append((number, _late_words(event), at))
        elif isinstance(event, (Abandoned, LostTrack)):
            saga.stale = at
        elif isinstance(event, Retried):
            saga.stale = None
        elif isinstance(event, ENDS):
            saga.over, saga.stale = True, None
            if isinstance(event, Resolved):
                saga.adjustments += [(each, at) for each in event.adjustments]
        elif isinstance(event, IncidentClosed):
            saga.incidents = [each for each in saga.incidents if each[0] > event.seen]
            saga.adjustments += [(each, at) for each in event.adjustments]

    def _note_attempt(
        self,
        saga: JournalSaga,
        at: datetime,
        event: Intended | SentAgain | Withheld | Reported | LateTruth | ProvenAbsent | GaveUp,
    ) -> None:
        if not 0 <= event.step < len(saga.batch.directives):
            self.unreadable.setdefault(saga.batch_id, f"it has no step {event.step}")
            return
        key = attempt_key(saga.batch_id, event.step, event.purpose, event.number)
        if isinstance(event, Intended):
            directive = saga.batch.directives[event.step]
            self.attempts[key] = JournalAttempt(
                key, saga.batch_id, event.step, event.purpose, directive, event.amount, at
            )
            return
        attempt = self.attempts.get(key)
        if attempt is None:
            self.unreadable.setdefault(saga.batch_id, f"{key} was told of before it was intended")
        elif isinstance(event, (Reported, LateTruth)):
            attempt.told, attempt.absent = True, False
            attempt.lost = attempt.lost and not event.final
            attempt.final = attempt.final or event.final
            had_it = bool(event.fills or event.reference) or not event.final
            attempt.acknowledged = attempt.acknowledged or had_it
            _note_fills(saga, attempt, at, event)
        elif isinstance(event, SentAgain):
            attempt.absent = attempt.final = False
        elif isinstance(event, (ProvenAbsent, Withheld)):
            attempt.absent = attempt.final = True
        else:
            attempt.lost = True


def _note_fills(
    saga: JournalSaga, attempt: JournalAttempt, at: datetime, event: Reported | LateTruth
) -> None:
    for fill_id in event.reversed if isinstance(event, LateTruth) else ():
        gone = attempt.fills.get(fill_id)
        if gone is not None:
            attempt.fills[fill_id] = replace(gone, shares=ZERO, cash=ZERO, reversed=True)
    for fill in event.fills:
        is_new = fill.fill_id not in attempt.fills
        told = attempt.fills[fill.fill_id] = fill_of(attempt, fill, at)
        if is_new:
            saga.note_trade(attempt.symbol, fill.fill_id, told.shares, at)


def _late_words(event: LateTruth) -> str:
    parts = [f"{counted(len(event.fills), 'fill')} of step {event.step + 1}"] if event.fills else []
    if event.reversed:
        parts.append(f"{counted(len(event.reversed), 'fill')} of step {event.step + 1} taken back")
    return ", ".join(parts) or f"what became of step {event.step + 1}"


def fill_of(attempt: JournalAttempt, fill: Fill, at: datetime) -> JournalFill:
    """Return a fill with what it changes."""
    directive = attempt.directive
    forward = Decimal(1 if attempt.purpose is Purpose.FORWARD else -1)
    if isinstance(directive, CashTransfer):
        shares = ZERO
        value = times(times(forward, Decimal(directive.signed)), fill.quantity)
    else:
        shares = times(times(forward, Decimal(directive.direction)), fill.quantity)
        value = times(minus(ZERO, shares), fill.price)
    return JournalFill(
        fill.fill_id,
        fill.quantity,
        fill.price,
        fill.fee,
        shares,
        minus(value, fill.fee),
        fill.at or at,
    )
