"""The eighteen ways in which a venue misbehaves, switched on by a script of rules.

A rule says which fault, on which calls, and how often. The rules are kept in the books, each with a
count of the calls that it matched and of those on which it fired, so that a restart neither forgets
nor repeats one. This module decides which rules fire on a call; what they do is done by the floor
and the exchange.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from brokers.orders import Side
from brokers.symbols import Symbol
from saga.amounts import NonNegativeAmount, PositiveAmount
from saga.ids import Purpose
from saga.policy import Seconds

MAX_RULES: Final = 1_000
"""Most rules that a script can have."""


class Fault(StrEnum):
    """A broker's behaviour, by the number under which the reliability rules know it."""

    FILLS_AT_ONCE = "B1"
    """The order is filled in full at once, whatever limit or liquidity say."""
    PARTIAL_THEN_FULL = "B2"
    """A part fills at once, the rest after the delay."""
    PARTIAL_THEN_SILENCE = "B3"
    """A part fills at once, the rest never."""
    REFUSES = "B4"
    """The order is refused."""
    TIMES_OUT_NOT_ACCEPTED = "B5"
    """The call times out, and had no effect."""
    TIMES_OUT_ACCEPTED = "B6"
    """The call times out, and had its effect."""
    ACCEPTS_LATE = "B7"
    """The call times out; the order is accepted after the delay, and not found before."""
    DUPLICATES = "B8"
    """The answer reports each fill (each entry of a list) twice."""
    REORDERS = "B9"
    """The answer is out of order: fills before the acknowledgement, a cancel before its fills."""
    CANCEL_LOSES = "B10"
    """The rest of the order fills before the cancel arrives."""
    BUSTS = "B11"
    """After the delay the exchange takes the order's fills back; with a price, it corrects them."""
    FORGETS_CLOSED = "B12"
    """An order that is over is not found."""
    DEDUPLICATES_OPEN_ONLY = "B13"
    """The client order id of an order that is over is taken again."""
    FILLS_WRONGLY = "B14"
    """The order fills for another quantity than was ordered: by default for one lot more."""
    RATE_LIMITS = "B15"
    """The call is turned away (429); with a delay, every call is, until it is over."""
    DISCONNECTS = "B16"
    """The connection breaks before the call arrives, or after it; with a delay, it stays so."""
    LISTS_ARE_STALE = "B17"
    """Lists show orders that are over as open, and lack those that are; a look-up is right."""
    GARBAGE = "B18"
    """The answer is nonsense."""


class Operation(StrEnum):
    """The venue's calls on which a rule can fire."""

    PLACE = "place"
    CANCEL = "cancel"
    FIND = "find"
    LIST = "list"
    """Open orders, positions, account, trades."""


class Garbage(StrEnum):
    """What sort of nonsense the venue answers."""

    HTML = "html"
    NEGATIVE_QUANTITY = "negative_quantity"
    NOT_A_NUMBER = "not_a_number"
    WRONG_SYMBOL = "wrong_symbol"
    WRONG_ACCOUNT = "wrong_account"
    WRONG_KEY = "wrong_key"
    UNKNOWN_STATUS = "unknown_status"
    WRONG_SUM = "wrong_sum"


_PLACE, _CANCEL, _FIND, _LIST = Operation.PLACE, Operation.CANCEL, Operation.FIND, Operation.LIST

_OPERATIONS: Final[dict[Fault, tuple[Operation, ...]]] = {
    Fault.FILLS_AT_ONCE: (_PLACE,),
    Fault.PARTIAL_THEN_FULL: (_PLACE,),
    Fault.PARTIAL_THEN_SILENCE: (_PLACE,),
    Fault.REFUSES: (_PLACE,),
    Fault.TIMES_OUT_NOT_ACCEPTED: (_PLACE, _CANCEL, _FIND, _LIST),
    Fault.TIMES_OUT_ACCEPTED: (_PLACE, _CANCEL),
    Fault.ACCEPTS_LATE: (_PLACE,),
    Fault.DUPLICATES: (_FIND, _PLACE, _LIST),
    Fault.REORDERS: (_FIND, _PLACE),
    Fault.CANCEL_LOSES: (_CANCEL,),
    Fault.BUSTS: (_PLACE,),
    Fault.FORGETS_CLOSED: (_FIND,),
    Fault.DEDUPLICATES_OPEN_ONLY: (_PLACE,),
    Fault.FILLS_WRONGLY: (_PLACE,),
    Fault.RATE_LIMITS: (_PLACE, _CANCEL, _FIND, _LIST),
    Fault.DISCONNECTS: (_PLACE, _CANCEL, _FIND, _LIST),
    Fault.LISTS_ARE_STALE: (_LIST,),
    Fault.GARBAGE: (_PLACE, _FIND),
}
"""On which calls a fault can fire; the first is the one that a rule means if it names none."""


class FaultRule(BaseModel):
    """One line of the script: which fault, on which calls, how often.

    Attributes:
        fault: what goes wrong.
        on: the call on which it does; by default the fault's own.
        symbol: only for orders in this symbol.
        side: only for orders on this side.
        client_order_id: only for this order.
        purpose: only for forward attempts, or only for compensations, as the key ends.
        step: only for attempts of the step at this place of its batch, from 0.
        attempt: only for attempts with this number.
        after: so many matching calls pass unharmed first.
        times: it fires so often; None for ever.
        delay_seconds: how long until what comes later comes (B2, B7, B11), or how long the outage
            lasts (B15, B16).
        quantity: what fills in fact (B2, B3, B14); by default half of the order, in whole lots, or
            for B14 one lot more.
        price: the price to which fills are corrected (B11); None takes them back.
        accepted: the call arrived before the connection broke (B16).
        cancels: the venue cancels all open orders when the connection breaks (B16).
        garbage: what sort of nonsense (B18).
        reason: the venue's words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: Fault
    on: Operation | None = None
    symbol: Symbol | None = None
    side: Side | None = None
    client_order_id: str | None = None
    purpose: Purpose | None = None
    step: Annotated[int, Field(ge=0)] | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    after: Annotated[int, Field(ge=0)] = 0
    times: Annotated[int, Field(ge=1)] | None = 1
    delay_seconds: Seconds = 0.0
    quantity: NonNegativeAmount | None = None
    price: PositiveAmount | None = None
    accepted: bool = False
    cancels: bool = False
    garbage: Garbage = Garbage.HTML
    reason: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _check_operation(self) -> Self:
        allowed = _OPERATIONS[self.fault]
        if self.on is not None and self.on not in allowed:
            raise PydanticCustomError(
                "fault",
                "on must be one of {allowed} for fault {fault}, not {given}",
                {"allowed": ", ".join(allowed), "fault": self.fault.value, "given": self.on.value},
            )
        return self

    @property
    def operation(self) -> Operation:
        """The call on which it fires."""
        return _OPERATIONS[self.fault][0] if self.on is None else self.on

    def matches(self, call: "Call") -> bool:
        """Tell whether the rule is about this call."""
        parts = _KEY_PARTS.search(call.key or "")
        step, purpose, attempt = parts.groups() if parts else (None, None, None)
        return (
            self.operation is call.operation
            and self.symbol in (None, call.symbol)
            and self.side in (None, call.side)
            and self.client_order_id in (None, call.key)
            and (self.purpose is None or self.purpose.value[0].upper() == purpose)
            and (self.step is None or str(self.step) == step)
            and (self.attempt is None or str(self.attempt) == attempt)
        )


_KEY_PARTS = re.compile(r"-(\d+)([FC])(\d+)$", re.ASCII)
"""The end of an attempt's key: step, purpose, attempt (saga.ids.attempt_key)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the venue, as rules see it; what is not known of it is None."""

    operation: Operation
    key: str | None = None
    symbol: str | None = None
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class FaultCount:
    """A rule of the script, and what has become of it so far.

    Attributes:
        number: its place in the script, from 1.
        rule: the rule.
        seen: how many calls it matched.
        fired: on how many of them it fired.
    """

    number: int
    rule: FaultRule
    seen: int = 0
    fired: int = 0

    @property
    def is_spent(self) -> bool:
        """It will not fire any more."""
        return self.rule.times is not None and self.fired >= self.rule.times

    def after_match(self, *, may_fire: bool) -> "FaultCount":
        """Return the count after one more call that the rule matches."""
        fires = may_fire and self.seen >= self.rule.after and not self.is_spent
        return FaultCount(self.number, self.rule, self.seen + 1, self.fired + fires)


@dataclass(frozen=True, slots=True)
class Firing:
    """What fires on one call: for each fault, the first rule of the script that does."""

    rules: dict[Fault, FaultRule]

    def get(self, fault: Fault) -> FaultRule | None:
        """Return the rule that fires for a fault; None if none does."""
        return self.rules.get(fault)

    def __contains__(self, fault: Fault) -> bool:
        return fault in self.rules


def fire(counts: Iterable[FaultCount], call: Call) -> tuple[Firing, tuple[FaultCount, ...]]:
    """Return what fires on a call, and the counts that it changes."""
    fired: dict[Fault, FaultRule] = {}
    changed = []
    for before in counts:
        if not before.rule.matches(call):
            continue
        after = before.after_match(may_fire=before.rule.fault not in fired)
        changed.append(after)
        if after.fired > before.fired:
            fired[before.rule.fault] = before.rule
    return Firing(fired), tuple(changed)
