"""The views: one row for each batch and one for each trade, derived from a saga and never a truth.

The six states of the machine are the truth; `outcome` and `status` are what people ask for beside
them, and are worked out here from the state, never stored on their own account.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter

from saga.core import why_stopped
from saga.events import (
    Abandoned,
    CancelRequested,
    CompensationStarted,
    Completed,
    DeadlinePassed,
    Event,
    IncidentClosed,
    LostTrack,
    Paused,
    Resolved,
    RolledBack,
    Started,
    Unpaused,
    Withdrawn,
)
from saga.fold import StepEvent
from saga.ids import Purpose
from saga.ledger import AttemptRecord, AttemptState, Saga, Step
from saga.machine import SAGA_AT_REST, SAGA_ENDS, SagaState, StepState
from saga.outcome import Exposure, Fill
from saga.quick_dataclass import quickly_made


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


@quickly_made
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
        incidents: how many times late truth was told that no operator has dealt with.
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
    incidents: int = 0


@quickly_made
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


@quickly_made
@dataclass(frozen=True, slots=True)
class TradeResult:
    """What the column `result` of a trade holds, as JSON.

    Attributes:
        fills: what took effect.
        undo_fills: what undid it.
        references: the participant's own ids of the attempts.
    """

    fills: tuple[Fill, ...]
    undo_fills: tuple[Fill, ...] = ()
    references: tuple[str, ...] = ()


def batch_row(saga: Saga) -> BatchRow:
    """Return the batch's view of a saga."""
    batch, submitted, tally, state = saga.batch, saga.submitted, saga.tally, saga.state
    outcome = saga_outcome(saga)
    return BatchRow(
        batch_id=saga.batch_id,
        state=str(state),
        outcome=str(outcome) if outcome else None,
        status=str(_status(saga, outcome)),
        mode=str(batch.execution_mode),
        priority=str(batch.priority),
        exclusion_key=batch.exclusion_key,
        parent_id=batch.parent_id,
        total_trades=len(saga.steps),
        processed_trades=tally.processed,
        failed_trades=tally.failed,
        undone_trades=tally.undone,
        created_at=saga.submitted_at,
        started_at=saga.started_at,
        updated_at=saga.updated_at,
        completed_at=saga.rested_at,
        deadline=submitted.deadline,
        paused=saga.paused,
        program=submitted.program,
        reason=saga.reason,
        waits_for=None if state in SAGA_AT_REST else waits_for(saga),
        undo_cost=saga.undo_cost if saga.undo_began else None,
        residual=_RESIDUAL.dump_json(saga.residual).decode() if saga.residual else None,
        incidents=len(saga.open_incidents),
    )


def trade_row(saga: Saga, step: Step) -> TradeRow:
    """Return the trade's view of one step."""
    directive, state = step.directive, step.state
    return TradeRow(
        position=step.position,
        directive_id=directive.directive_id,
        kind=directive.kind,
        symbol=directive.subject,
        direction=directive.direction,
        status=str(_trade_status(saga, state)),
        state=str(state),
        rollback=bool(step.undo),
        amount=step.amount,
        done=step.done,
        undone=step.undone,
        value=step.value,
        attempts=len(step.forward) + len(step.undo),
        result=_result(step),
        error=step.reason,
    )


def _result(step: Step) -> str | None:
    if not step.effects:
        return None
    fills = tuple(fill for attempt in step.forward for fill in attempt.fills)
    undo_fills = tuple(fill for attempt in step.undo for fill in attempt.fills)
    references = tuple(a.reference for a in step.every_attempt if a.reference)
    result = TradeResult(fills, undo_fills, references)
    return _RESULT.serializer.to_json(result, exclude_defaults=True).decode()


def changed_steps(saga: Saga, events: Iterable[Event]) -> Iterable[Step]:
    """Return the steps whose view may differ after these events were applied."""
    positions: dict[int, None] = {}
    for event in events:
        if isinstance(event, StepEvent):
            positions[event.step] = None
        elif isinstance(event, _ENDS_SENDING):
            unsent = (step for step in saga.steps if step.state is StepState.PENDING)
            positions.update((step.position, None) for step in unsent)
        elif not isinstance(event, _LEAVES_STEPS_ALONE):
            return saga.steps
    return [saga.steps[position] for position in positions]


def saga_outcome(saga: Saga) -> SagaOutcome | None:
    """Return how a finished saga came out; None while it is not over."""
    state = saga.state
    if state not in SAGA_ENDS:
        return None
    if state is SagaState.ROLLED_BACK:
        return SagaOutcome.CANCELLED if saga.cancel else SagaOutcome.FAILED
    if all(step.was_whole for step in saga.steps):
        return SagaOutcome.SUCCESS
    if any(step.done_in_time for step in saga.steps):
        return SagaOutcome.PARTIAL_SUCCESS
    return SagaOutcome.CANCELLED if saga.cancel else SagaOutcome.FAILED


def waits_for(saga: Saga) -> str | None:
    """Return, in words, what keeps a saga from going on; None if it goes on by itself."""
    if saga.state is SagaState.PENDING:
        return "to be unpaused" if saga.paused else "admission"
    for attempt in saga.live.values():
        what = attempt.directive.describe()
        if attempt.state is AttemptState.UNKNOWN:
            told = f"; {attempt.silences} questions without an answer" if attempt.silences else ""
            return f"the fate of {what} ({attempt.key}): {attempt.reason}{told}"
        if attempt.silences:
            return f"an answer about {what} ({attempt.key}): {attempt.reason}"
    if saga.paused:
        return "to be unpaused"
    working = [a for a in saga.live.values() if a.state is AttemptState.WORKING]
    if working:
        first = working[0].directive.describe()
        more = f" and {len(working) - 1} more" if len(working) > 1 else ""
        end = "be cancelled" if _is_withdrawn(saga, working[0]) else "fill"
        return f"{first} to {end} ({working[0].key}){more}"
    if saga.live:
        sending = next(iter(saga.live.values()))
        return f"the answer to {sending.directive.describe()} ({sending.key})"
    if saga.unconfirmed:
        return "the confirmation that nothing arrived late"
    return None


def _is_withdrawn(saga: Saga, working: AttemptRecord) -> bool:
    """Tell whether an open order is being cancelled, because its batch goes no further."""
    return working.purpose is Purpose.FORWARD and (
        saga.state is SagaState.COMPENSATING or why_stopped(saga) is not None
    )


def _status(saga: Saga, outcome: SagaOutcome | None) -> BatchStatus:
    if outcome is not None:
        return BatchStatus(outcome.value.lower())
    if saga.state is SagaState.STALE:
        return BatchStatus.STALE
    return BatchStatus.PENDING if saga.state is SagaState.PENDING else BatchStatus.RUNNING


def _trade_status(saga: Saga, state: StepState) -> TradeStatus:
    if state is StepState.PENDING:
        over = saga.state in SAGA_AT_REST or saga.state is SagaState.COMPENSATING
        return TradeStatus.NOT_SENT if over else TradeStatus.PENDING
    return _TRADE_STATUS[state]


_TRADE_STATUS: Final = {
    StepState.SENDING: TradeStatus.RUNNING,
    StepState.WORKING: TradeStatus.RUNNING,
    StepState.DONE: TradeStatus.SUCCESS,
    StepState.PARTIAL: TradeStatus.PARTIAL,
    StepState.REFUSED: TradeStatus.ERROR,
    StepState.UNKNOWN: TradeStatus.UNKNOWN,
    StepState.COMPENSATING: TradeStatus.UNDOING,
    StepState.COMPENSATED: TradeStatus.UNDONE,
    StepState.STUCK: TradeStatus.STUCK,
}
_ENDS_SENDING: Final = (Withdrawn, CompensationStarted, Completed, LostTrack)
"""Of the steps they touch only those that were never sent, which will not be any more."""
_LEAVES_STEPS_ALONE: Final = (
    *(Started, Paused, Unpaused, CancelRequested, DeadlinePassed),
    *(RolledBack, Abandoned, Resolved, IncidentClosed),
)
_RESIDUAL: Final = TypeAdapter(tuple[Exposure, ...])
_RESULT: Final = TypeAdapter(TradeResult)
