"""What was sent to the broker for a batch, or withheld, order by order, with its ids.

Read from the journal alone. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import Any, Final

from desk.output import Column, Value
from saga.directive import Directive
from saga.events import Intended, Withheld
from saga.exact import plain, times, total
from saga.ids import Purpose
from saga.ledger import AttemptRecord, AttemptState, Saga, Step
from saga.outcome import Fill
from saga.store.protocol import JournalRecord

ORDER_COLUMNS = (
    Column("client_order_id", "client order id"),
    Column("broker_order_id", "broker's id"),
    Column("purpose", "what for"),
    Column("order", "order"),
    Column("filled", "filled", right=True),
    Column("average_price", "average", right=True, spare=2),
    Column("status", "state"),
    Column("sent_at", "sent", spare=1),
)

_Place = tuple[int, Purpose, int]
"""Which attempt: its step, what for, and its number."""
_PRICE_DIGITS: Final = 28

STATES: Final = {
    AttemptState.SENDING: "being sent",
    AttemptState.WORKING: "open",
    AttemptState.UNKNOWN: "not known",
    AttemptState.LOST: "not known, given up",
}
HELD: Final = "held back by the pause, or just being sent"
"""Of an order that was about to be sent when its batch was paused: soon it is the former."""


@dataclass(frozen=True, slots=True)
class ToldOrder:
    """One attempt as the broker would know it.

    Attributes:
        side: buy, sell, or the directive's kind.
        words: what was asked, in words.
        number: the try's number for its purpose, from 1.
        average_price: exact; None if there is no fill, or it has no end.
        sent_at: when its intent was made durable, right before it was sent first; None if our own
            gate withheld it, so that it never was.
    """

    client_order_id: str
    broker_order_id: str | None
    step: int
    purpose: Purpose
    number: int
    side: str
    symbol: str | None
    words: str
    asked: Decimal
    filled: Decimal
    average_price: Decimal | None
    fill_ids: tuple[str, ...]
    status: str
    reason: str | None
    sent_at: datetime | None

    @property
    def what_for(self) -> str:
        """What it was sent for, and which try it was."""
        return f"{'undo' if self.purpose is Purpose.COMPENSATION else 'forward'}, try {self.number}"

    def line(self) -> dict[str, Value]:
        """Return it as a table shows it."""
        return {
            "client_order_id": self.client_order_id,
            "broker_order_id": self.broker_order_id,
            "purpose": self.what_for,
            "order": self.words,
            "filled": self.filled,
            "average_price": self.average_price,
            "status": self.status,
            "sent_at": self.sent_at,
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "client_order_id": self.client_order_id,
            "broker_order_id": self.broker_order_id,
            "position": self.step,
            "purpose": self.purpose.value,
            "try": self.number,
            "side": self.side,
            "words": self.words,
            "symbol": self.symbol,
            "asked": self.asked,
            "filled": self.filled,
            "average_price": self.average_price,
            "fill_ids": list(self.fill_ids),
            "status": self.status,
            "reason": self.reason,
            "sent_at": self.sent_at,
        }


def orders_of(
    saga: Saga,
    records: Iterable[JournalRecord],
    stopped: Mapping[str, str],
    *,
    is_carried_on: bool | None = None,
) -> tuple[ToldOrder, ...]:
    """Return every order of a batch, refused ones and those of its undo included, as sent.

    Args:
        saga: what its journal tells.
        records: the journal.
        stopped: by client order id, why the saga itself had cancelled the order.
        is_carried_on: a saga process has it; None if nobody looked.
    """
    states = dict(STATES)
    if is_carried_on is False:
        states[AttemptState.SENDING] = "not known, its process is gone"
    elif is_carried_on and saga.paused:
        states[AttemptState.SENDING] = HELD
    sent: dict[_Place, datetime] = {}
    withheld: dict[_Place, str] = {}
    for record in records:
        event = record.event
        if isinstance(event, Intended):
            sent[event.step, event.purpose, event.number] = record.at
        elif isinstance(event, Withheld):
            withheld[event.step, event.purpose, event.number] = event.limit
    orders = {
        (step.position, attempt.purpose, attempt.number): _told(
            step, attempt, sent, withheld, stopped, states
        )
        for step in saga.steps
        for attempt in step.every_attempt
    }
    return tuple(orders[place] for place in sent if place in orders)


def average_price(fills: Sequence[Fill]) -> Decimal | None:
    """Return the exact average price; None if there is no fill, or it has no end."""
    if not fills:
        return None
    value = total(times(fill.quantity, fill.price) for fill in fills)
    exactly = Context(prec=_PRICE_DIGITS, traps=[Inexact])
    try:
        return exactly.divide(value, total(fill.quantity for fill in fills))
    except Inexact:
        return None


def side_of(directive: Directive, purpose: Purpose) -> str:
    """Return which way an attempt trades; a directive that trades nothing names its kind."""
    direction = directive.direction
    if direction == 0:
        return directive.kind
    return "buy" if (direction > 0) is (purpose is Purpose.FORWARD) else "sell"


def _told(
    step: Step,
    attempt: AttemptRecord,
    sent: Mapping[_Place, datetime],
    withheld: Mapping[_Place, str],
    stopped: Mapping[str, str],
    states: Mapping[AttemptState, str],
) -> ToldOrder:
    place = (step.position, attempt.purpose, attempt.number)
    # What was sent before, and withheld when it was to be sent again, did leave once.
    limit = withheld.get(place) if attempt.sends == 1 else None
    return ToldOrder(
        client_order_id=attempt.key,
        broker_order_id=attempt.reference,
        step=step.position,
        purpose=attempt.purpose,
        number=attempt.number,
        side=side_of(step.directive, attempt.purpose),
        symbol=step.directive.subject,
        words=_words(step, attempt),
        asked=attempt.amount,
        filled=attempt.done,
        average_price=average_price(attempt.fills),
        fill_ids=tuple(fill.fill_id for fill in attempt.fills),
        status=_status(attempt, states) if limit is None else f"{withheld_by(limit)}; never sent",
        reason=stopped.get(attempt.key, attempt.reason),
        sent_at=sent.get(place) if limit is None else None,
    )


def _words(step: Step, attempt: AttemptRecord) -> str:
    if step.direction == 0:  # its kind alone does not say which way
        return attempt.directive.describe()
    side = side_of(step.directive, attempt.purpose)
    return f"{side} {plain(attempt.amount)} {step.subject or ''}".rstrip()


def withheld_by(limit: str) -> str:
    """Return in a few words what held an order back, by the name that its journal has for that."""
    return f"withheld {_NO_LIMITS.get(limit, 'by your own limit')}"


_NO_LIMITS: Final = {
    "trading_state": "by the trading state",
    "gate": "as the gate could not judge it",
    "kind": "as the gate cannot judge its kind",
    "too_late": "as it came too late",
    "fence": "as the store did not confirm its owner in time",
    "engine_left": "as its process ended before its turn came",
}
"""What holds orders back beside the limits that are set."""


def _status(attempt: AttemptRecord, states: Mapping[AttemptState, str]) -> str:
    if attempt.state is not AttemptState.OVER:
        return states[attempt.state]
    if attempt.absent:
        return "never arrived"
    if attempt.done == attempt.amount:
        return "filled"
    if attempt.done > attempt.amount:
        return "filled, for more than was asked"
    if len(attempt.fill_ids) > len(attempt.fills):
        return "part taken back" if attempt.done else "filled, and taken back"
    how = _how_it_ended(attempt)
    return f"{how}, part filled" if attempt.done else how


def _how_it_ended(attempt: AttemptRecord) -> str:
    """Return how an order ended that did not fill whole: in the broker's word, if it has one."""
    word = (attempt.reason or "").partition(":")[0].strip()
    if word in _ENDINGS:
        return _ENDINGS[word]
    if attempt.done:
        return "over"
    # The broker gives an order a number when it accepts it; one that it refuses has none.
    return "refused" if attempt.reference is None else "cancelled"


_ENDINGS: Final = {"cancelled": "cancelled", "expired": "expired", "rejected": "refused"}
"""The words that a broker's report on the end of an order begins with, and what people read."""
