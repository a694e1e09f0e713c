"""Journal records in words: one short line for each event, with the order that it concerns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from desk.orders_told import side_of, withheld_by
from desk.output import money
from saga.directive import Directive
from saga.events import (
    Abandoned,
    Adjustment,
    AnswerLost,
    CancelRequested,
    CompensationStarted,
    Completed,
    DeadlinePassed,
    Event,
    GaveUp,
    IncidentClosed,
    Intended,
    LateTruth,
    LostTrack,
    NoAnswer,
    NotFound,
    Paused,
    ProvenAbsent,
    Reported,
    Resolved,
    Resumed,
    Retried,
    RolledBack,
    SentAgain,
    StepStuck,
    Submitted,
    Unpaused,
    Withdrawn,
    Withheld,
)
from saga.exact import plain
from saga.fold import AttemptEvent
from saga.ids import Purpose, attempt_key
from saga.policy import RetryPolicy
from saga.store.protocol import JournalRecord

BY_CUSTOMER: Final = "cancelled by the customer"
"""The broker's word for an order that whoever sent it has cancelled: mostly the saga itself."""


@dataclass(frozen=True, slots=True)
class Concerned:
    """The order that an event is about, as the broker would know it.

    Attributes:
        side: buy, sell, or the directive's kind.
        broker_order_id: None while the broker has not told it.
        fill_ids: of the fills that the event tells.
    """

    side: str
    symbol: str | None
    client_order_id: str
    broker_order_id: str | None
    fill_ids: tuple[str, ...]

    @property
    def words(self) -> str:
        """It in words."""
        parts = [f"{self.side} {self.symbol or ''}".rstrip(), self.client_order_id]
        if self.broker_order_id:
            parts.append(f"broker's id {self.broker_order_id}")
        if self.fill_ids:
            parts.append(f"fill {', '.join(self.fill_ids)}")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "side": self.side,
            "symbol": self.symbol,
            "client_order_id": self.client_order_id,
            "broker_order_id": self.broker_order_id,
            "fill_ids": list(self.fill_ids),
        }


class Teller:
    """Tells one batch's journal, record by record; it has to see all of them, in order.

    Attributes:
        stopped: by client order id, why the saga itself had cancelled the order.
    """

    def __init__(self) -> None:
        self.stopped: dict[str, str] = {}
        self._directives: tuple[Directive, ...] = ()
        self._batch_id = ""
        self._references: dict[str, str] = {}
        self._stop: str | None = None
        self._filled: set[str] = set()

    def tell(self, record: JournalRecord) -> tuple[str, Concerned | None]:
        """Return what happened, in a few words, and the order that it concerns."""
        event = record.event
        if isinstance(event, Submitted):
            self._directives, self._batch_id = event.batch.directives, event.batch.batch_id
        elif isinstance(event, CancelRequested):
            self._stop = f"cancelled by {event.by}: {event.reason}"
        elif isinstance(event, DeadlinePassed):
            self._stop = self._stop or "its deadline passed"
        elif isinstance(event, CompensationStarted):
            self._stop = self._stop or event.reason
        words, concerned = told(event), None
        if isinstance(event, AttemptEvent):
            concerned = self._concerned(event)
            if isinstance(event, Reported | LateTruth):
                if concerned.client_order_id in self._filled:
                    words = words.replace(_NO_EFFECT, _NO_MORE)
                elif event.fills:
                    self._filled.add(concerned.client_order_id)
            if isinstance(event, Reported) and event.final and event.reason:
                stop = self._why_stopped(event)
                if BY_CUSTOMER in event.reason and stop is not None:
                    why = f"cancelled by this saga: {stop}"
                    self.stopped[concerned.client_order_id] = why
                    words = by_this_saga(words, why)
            words = f"{words} [{concerned.words}]"
        return words, concerned

    def _why_stopped(self, event: Reported) -> str | None:
        """Return why the saga itself cancels an order; None if nothing is known to make it."""
        if event.purpose is Purpose.FORWARD:
            return self._stop
        # An undo goes on whatever stops the batch; only its own patience ends it.
        retry = self._directives[event.step].retry or RetryPolicy()
        return (
            f"the undo was not filled after {retry.undo_patience_seconds:g} seconds; the rest is "
            "tried again while there are tries left"
        )

    def _concerned(self, event: AttemptEvent) -> Concerned:
        directive = self._directives[event.step]
        key = attempt_key(self._batch_id, event.step, event.purpose, event.number)
        if isinstance(event, Reported | LateTruth) and event.reference:
            self._references[key] = event.reference
        fills = event.fills if isinstance(event, Reported | LateTruth) else ()
        return Concerned(
            side=side_of(directive, event.purpose),
            symbol=directive.subject,
            client_order_id=key,
            broker_order_id=self._references.get(key),
            fill_ids=tuple(fill.fill_id for fill in fills),
        )


_NO_EFFECT: Final = "over, without effect"
_NO_MORE: Final = "over, without more"
"""Of an order that ends behind a fill that was told of before."""


def by_this_saga(words: str, why: str) -> str:
    """Return words in which `why` stands in the place of the broker's own."""
    return words.replace(f"cancelled: {BY_CUSTOMER}", why).replace(BY_CUSTOMER, why)


def told(event: Event) -> str:
    """Return what happened, in a few words."""
    match event:
        case Submitted(batch=batch, by=by):
            return f"accepted from {by}: {batch.execution_mode}, {len(batch.directives)} to do"
        case Resumed(program=program):
            return f"taken up again by {program}"
        case Paused(by=by, reason=reason) | Unpaused(by=by, reason=reason):
            return f"{event.kind} by {by}: {reason}"
        case CancelRequested(by=by, reason=reason):
            return f"cancel asked for by {by}: {reason}"
        case Retried(by=by, reason=reason, undo_budget=budget):
            bound = "" if budget is None else f"; undo budget {money(budget)}"
            return f"rollback tried again by {by}: {reason}{bound}"
        case Resolved(by=by, reason=reason, action=action, evidence=evidence):
            booked = _booked(event.adjustments)
            return f"resolved by {by}: {reason}; {action} (evidence: {evidence}){booked}"
        case CompensationStarted(reason=reason) | Withdrawn(reason=reason):
            return reason
        case Completed(reason=reason):
            return reason or ""
        case Abandoned(reason=reason) | LostTrack(reason=reason):
            return reason
        case RolledBack(cost=cost):
            return f"all undone; it cost {plain(cost)}"
        case StepStuck(step=step, reason=reason):
            return f"step {step + 1}: {reason}"
        case Reported():
            return _reported(event)
        case LateTruth():
            return _late(event)
        case IncidentClosed(by=by, reason=reason, action=action):
            done = f"; {action}" if action else ""
            return f"incidents closed by {by}: {reason}{done}{_booked(event.adjustments)}"
        case Intended(amount=amount):
            return f"{_attempt(event)}: {plain(amount)} about to be sent"
        case SentAgain():
            return f"{_attempt(event)}: never arrived; about to be sent again"
        case Withheld(limit=limit, reason=reason):
            return f"{_attempt(event)}: not sent, {withheld_by(limit)}: {reason}"
        case ProvenAbsent():
            return f"{_attempt(event)}: proven never to have arrived"
        case NotFound():
            return f"{_attempt(event)}: not found, which proves nothing as yet"
        case AnswerLost(reason=reason):
            return f"{_attempt(event)}: outcome unknown: {reason}"
        case NoAnswer(reason=reason):
            return f"{_attempt(event)}: no answer: {reason}"
        case GaveUp(reason=reason):
            return f"{_attempt(event)}: given up, unknown: {reason}"
        case _:
            return ""


def _booked(adjustments: Sequence[Adjustment]) -> str:
    """Return what an operator booked by hand, behind what he said of it."""
    booked = [
        f"{each.subject} {'+' if each.quantity > 0 else ''}{plain(each.quantity)} for "
        f"{money(each.cash)} cash{f' ({each.reference})' if each.reference else ''}"
        for each in adjustments
    ]
    return f"; booked by hand: {', '.join(booked)}" if booked else ""


def _attempt(event: AttemptEvent) -> str:
    what = "undo " if event.purpose is Purpose.COMPENSATION else ""
    again = f" (try {event.number})" if event.number > 1 else ""
    return f"{what}step {event.step + 1}{again}"


def _reported(event: Reported) -> str:
    parts = [f"{plain(fill.quantity)} filled at {plain(fill.price)}" for fill in event.fills]
    if event.final and not event.fills:
        parts.append(_NO_EFFECT)
    elif not event.fills:
        parts.append("accepted, and open")
    if event.reason:
        parts.append(event.reason)
    return f"{_attempt(event)}: {', '.join(parts)}"


def _late(event: LateTruth) -> str:
    parts = [f"{plain(fill.quantity)} filled at {plain(fill.price)}" for fill in event.fills]
    parts += [f"fill {fill_id} taken back" for fill_id in event.reversed]
    if not event.fills and not event.reversed:
        parts.append("over, without more" if event.final else "still open")
    if event.reason:
        parts.append(event.reason)
    return f"LATE, found by {event.by}: {_attempt(event)}: {', '.join(parts)}"
