"""The views: one row for each batch and one for each trade, derived from a saga and never a truth.

The six states of the machine are the truth; `outcome` and `status` are what people ask for beside
them, and are worked out here from the state, never stored on their own account.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class SagaOutcome(StrEnum):
    """How a finished saga came out."""

    SUCCESS = "SUCCESS"
    PARTIAL_SUCCESS = "PARTIAL_SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class BatchStatus(StrEnum):
    """A batch's status as people see it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STALE = "stale"


class TradeStatus(StrEnum):
    """A trade's status as people see it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    ERROR = "error"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """What the table `batches` shows of one saga.

    Attributes:
        batch_id: the batch's id (`batch_uid` in the table).
        state: the saga's state.
        outcome: how it came out; None while it is not over.
        status: what people see.
        mode: the execution mode.
        priority: the priority.
        exclusion_key: the key it runs alone on, such as a portfolio.
        parent_id: the batch whose failed trades it tries again.
        total_trades: how many steps it has.
        processed_trades: how many of them have a final forward outcome.
        failed_trades: how many of those did not take their whole effect.
        undone_trades: how many have been undone.
        created_at: when it was accepted.
        started_at: when it began to run; None before.
        updated_at: when it last changed.
        completed_at: when it came to rest; None before.
        deadline: when it must be over; None is no bound.
        paused: nothing new is sent.
        program: the version of the program that accepted it.
        reason: why it stopped, was rolled back or is stale; None if it did not.
        waits_for: what it waits for; None if it does not.
        undo_cost: what its undo has cost, in the account's currency; None if it undid nothing.
        residual: the residual exposure as JSON; None if there is none.
    """

    batch_id: str
    state: str
    outcome: str | None
    status: str
    mode: str
    priority: str
    exclusion_key: str | None
    parent_id: str | None
    total_trades: int
    processed_trades: int
    failed_trades: int
    undone_trades: int
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None
    deadline: datetime | None
    paused: bool
    program: str
    reason: str | None
    waits_for: str | None
    undo_cost: Decimal | None
    residual: str | None


@dataclass(frozen=True, slots=True)
class TradeRow:
    """What the table `trades` shows of one step.

    Attributes:
        position: the step's place in the batch, from 0.
        directive_id: the directive's id.
        kind: the directive's kind.
        symbol: what it acts on; None if nothing can be named.
        direction: +1 adds to what is held of the symbol, -1 takes away, else 0.
        status: what people see.
        state: the step's state.
        rollback: an attempt to undo it has been made.
        amount: how much was asked.
        done: how much took effect.
        undone: how much of that was undone.
        value: sum of price times quantity of what took effect, in the account's currency.
        attempts: how many attempts were made, forward and compensating.
        result: fills and references as JSON; None if nothing took effect.
        error: why it failed, is unknown or stuck; None if it is not.
    """

    position: int
    directive_id: str
    kind: str
    symbol: str | None
    direction: int
    status: str
    state: str
    rollback: bool
    amount: Decimal
    done: Decimal
    undone: Decimal
    value: Decimal
    attempts: int
    result: str | None
    error: str | None
