"""The gate: the last judgement on an order, between its durable intent and its send.

The engine asks a gate about every attempt, and sends nothing that it does not let pass: one that
fails, or takes too long, lets nothing pass. What limits there are is the gate's business; which
trading state the engine is in is the engine's own (`saga.trading`).
"""

from datetime import datetime, timedelta
from typing import Protocol

from saga.directive import Directive
from saga.ids import Purpose
from saga.model import Batch
from saga.participant import Attempt
from saga.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not let through.

    Attributes:
        limit: the name of the limit that it would break.
        sentence: the limit, the value, and who may change it.
    """

    limit: str
    sentence: str


@dataclass(frozen=True, slots=True)
class PastIntent:
    """An order that was handed over before this process began, as the journal tells it.

    Attributes:
        at: when it was intended, UTC.
        key: its client order id.
        purpose: forward or compensation.
        directive: what was sent; None where its saga's journal cannot be read.
    """

    at: datetime
    key: str
    purpose: Purpose
    directive: Directive | None


class Gate(Protocol):
    """Judges orders by limits.

    Each limit is looked at when it is needed, so limits that are changed hold for the next intent.
    """

    @property
    def limits(self) -> str:
        """The limits in force, as JSON text; noted in the logbook whenever they differ."""
        ...

    @property
    def memory(self) -> timedelta:
        """How far back the gate has to know what was sent; zero if not at all."""
        ...

    def recall(self, past: PastIntent) -> None:
        """Learn of an order of the time before this process; called oldest first."""
        ...

    async def judge_batch(self, batch: Batch, now: datetime) -> Refusal | None:
        """Judge a whole batch at the door, before anything of it is stored."""
        ...

    async def judge(self, attempt: Attempt, batch: Batch, now: datetime) -> Refusal | None:
        """Judge one attempt, forward or compensation; one that passes counts as sent."""
        ...

    async def lowers_exposure(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        """Judge whether a forward attempt makes an exposure smaller; asked while REDUCING."""
        ...

    def withheld(self, attempt: Attempt) -> None:
        """Learn that nothing is sent of an attempt that was judged, so that it does not count.

        It is the very object that was handed over to be judged; where that never happened, or the
        gate has refused it, there is nothing to be done. It was refused elsewhere, or too late:
        trading was halted meanwhile, the judgement took too long, or the store had another owner
        by then. An earlier send under the same key counts on.
        """
        ...
