"""The views: one row for each batch and one for each trade, derived from a saga and never a truth.

The six states of the machine are the truth; `outcome` and `status` are what people ask for beside
them, and are worked out here from the state, never stored on their own account.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from operator import attrgetter
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
    Resumed,
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
from saga.quick_dataclass import dataclass


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
    status = _BATCH_STATUS[state] if outcome is None else BatchStatus(outcome.value.lower())
    return BatchRow(
        batch_id=saga.batch_id,
        state=str(state),
        outcome=str(outcome) if outcome else None,
        status=str(status),
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
        incidents=len(saga.open_incidents) if saga.incidents else 0,
    )


def trade_rows(saga: Saga) -> tuple[TradeRow, ...]:
    """Return the trades' views of all steps, in list order."""
    return tuple([trade_row(saga, step) for step in saga.steps])


def trade_row(saga: Saga, step: Step) -> TradeRow:
    """Return the trade's view of one step."""
    directive, state = step.directive, step.state
    return TradeRow(
        position=step.position,
        directive_id=directive.directive_id,
        kind=directive.kind,
        symbol=step.subject,
        direction=step.direction,
        status=str(_status_of_unsent(saga) if state is StepState.PENDING else _TRADE_STATUS[state]),
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
    result = TradeResult(
        fills=tuple(chain.from_iterable(map(_fills_of, step.forward))),
        undo_fills=tuple(chain.from_iterable(map(_fills_of, step.undo))),
        references=tuple(filter(None, map(_reference_of, step.every_attempt))),
    )
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
        elif isinstance(event, Resumed):  # only what is in flight has lost its answer
            positions.update((attempt.step, None) for attempt in saga.live.values())
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
    working: list[AttemptRecord] = []
    for attempt in saga.live.values():
        if attempt.state is AttemptState.UNKNOWN:
            what = attempt.directive.describe()
            told = f"; {attempt.silences} questions without an answer" if attempt.silences else ""
            return f"the fate of {what} ({attempt.key}): {attempt.reason}{told}"
        if attempt.silences:
            what = attempt.directive.describe()
            return f"an answer about {what} ({attempt.key}): {attempt.reason}"
        if attempt.state is AttemptState.WORKING:
            working.append(attempt)
    if saga.paused:
        return "to be unpaused"
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


def _status_of_unsent(saga: Saga) -> TradeStatus:
    over = saga.state in SAGA_AT_REST or saga.state is SagaState.COMPENSATING
    return TradeStatus.NOT_SENT if over else TradeStatus.PENDING


_BATCH_STATUS: Final = {
    SagaState.PENDING: BatchStatus.PENDING,
    SagaState.RUNNING: BatchStatus.RUNNING,
    SagaState.COMPENSATING: BatchStatus.RUNNING,
    SagaState.STALE: BatchStatus.STALE,
}
"""Of a saga that has no outcome."""
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
_fills_of: Final[Callable[[AttemptRecord], list[Fill]]] = attrgetter("fills")
_reference_of: Final[Callable[[AttemptRecord], str | None]] = attrgetter("reference")
_RESIDUAL: Final = TypeAdapter(tuple[Exposure, ...])
_RESULT: Final = TypeAdapter(TradeResult)
