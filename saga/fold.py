"""What a journal means: folds events, one after the other, into a `Saga`.

An event that may not follow on what is known is refused with an error, and nothing has changed:
every check stands before the first write. Nothing here decides anything; that is `core`'s work.
Like `core`, this file is pure: no waiting, no clock, no randomness, no logging.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

from saga.by_hand import taken_back
from saga.errors import NotAllowed
from saga.events import (
    Abandoned,
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
    Started,
    StepStuck,
    Submitted,
    Unpaused,
    Withdrawn,
    Withheld,
)
from saga.exact import MAX_DECIMAL_PLACES, MAX_DIGITS, ZERO, exponent_of, minus, plus, times
from saga.ids import Purpose
from saga.ledger import (
    MAX_ABSENCES,
    UNPROVEN,
    AttemptRecord,
    AttemptState,
    Incident,
    Saga,
    Step,
    absences,
)
from saga.machine import (
    SAGA_AT_REST,
    SAGA_UNDER_WAY,
    STEP_IN_FLIGHT,
    STEP_SENT_AND_OVER,
    SagaState,
    SagaTrigger,
    StepState,
    StepTrigger,
)
from saga.outcome import Fill
from saga.policy import FENCE_CHECK_SECONDS

AttemptEvent = (
    Intended
    | SentAgain
    | Withheld
    | Reported
    | LateTruth
    | AnswerLost
    | NotFound
    | NoAnswer
    | ProvenAbsent
    | GaveUp
)
"""The events that concern one attempt."""

StepEvent = AttemptEvent | StepStuck
"""The events that concern one step."""


def begin(event: Submitted, at: datetime) -> Saga:
    """Return the saga that its first record makes."""
    batch = event.batch
    undone = batch.rolled_back_ids()
    return Saga(
        submitted=event,
        submitted_at=at,
        steps=tuple(
            Step(position, directive, directive.directive_id in undone)
            for position, directive in enumerate(batch.directives)
        ),
        undo_budget=event.policy.undo_budget,
    )


def fold(records: Iterable[tuple[int, datetime, Event]]) -> Saga:
    """Return the saga that a whole journal tells: (number, instant, event) for each record.

    Raises:
        NotAllowed: a record may not follow on those before it.
    """
    saga: Saga | None = None
    for number, at, event in records:
        if saga is None:
            if not isinstance(event, Submitted) or number != 1:
                raise NotAllowed(
                    f"a journal begins with record 1, 'submitted', not {number}, {event.kind!r}"
                )
            saga = begin(event, at)
        else:
            apply(saga, number, at, event)
    if saga is None:
        raise NotAllowed("a journal without records tells of no saga")
    return saga


class Recorded(Protocol):
    """A record of a journal, wherever it was read."""

    @property
    def number(self) -> int:
        """Its place in its saga's journal, from 1."""
        ...

    @property
    def at(self) -> datetime:
        """When it was decided, UTC."""
        ...

    @property
    def event(self) -> Event:
        """What happened."""
        ...


def saga_of(records: Iterable[Recorded]) -> Saga:
    """Return the saga that the records of a whole journal tell; see `fold`."""
    return fold((record.number, record.at, record.event) for record in records)


def apply(saga: Saga, number: int, at: datetime, event: Event) -> None:
    """Fold one more event into what is known.

    Args:
        saga: what is known so far; changed in place.
        number: the record's place in the journal; one more than the last.
        at: when it was decided, UTC.
        event: what happened.

    Raises:
        NotAllowed: the event may not follow; nothing has changed.
    """
    if number != saga.number + 1:
        raise NotAllowed(
            f"record {number} does not follow on record {saga.number} of {saga.batch_id}"
        )
    handler = _HANDLERS.get(type(event))
    if handler is None:
        raise NotAllowed(
            f"a record {event.kind!r} may not follow in the journal of {saga.batch_id}"
        )
    if isinstance(event, StepEvent):
        if not 0 <= event.step < len(saga.steps):
            raise NotAllowed(f"{saga.batch_id} has no step {event.step}")
        handler(saga, at, event)
        step = saga.steps[event.step]
        counts = step.tally()
        if counts is not step.counted:
            saga.tally = saga.tally.moved(step.counted, counts)
            step.counted = counts
    else:  # it moves no step from one count of the tally to another
        handler(saga, at, event)
    saga.number = number
    saga.updated_at = at


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise NotAllowed(text)


def _require_under_way(saga: Saga, event: Event) -> None:
    if saga.state not in SAGA_UNDER_WAY:
        raise NotAllowed(f"{event.kind!r} needs a saga under way; {saga.batch_id} is {saga.state}")


def _rest(saga: Saga, at: datetime, trigger: SagaTrigger) -> None:
    saga.fire(trigger)
    saga.rested_at = at
    saga.rested_number = saga.number + 1


# --- requests ----------------------------------------------------------------------------------


def _started(saga: Saga, at: datetime, _: Started) -> None:
    saga.fire(SagaTrigger.START)
    saga.started_at = at


def _paused(saga: Saga, _: datetime, event: Paused) -> None:
    _require(
        saga.state not in SAGA_AT_REST and not saga.paused,
        f"{saga.batch_id} cannot be paused: it is {_standing(saga)}",
    )
    del event
    saga.paused = True


def _unpaused(saga: Saga, _: datetime, event: Unpaused) -> None:
    _require(
        saga.state not in SAGA_AT_REST and saga.paused,
        f"{saga.batch_id} cannot be unpaused: it is {_standing(saga)}",
    )
    del event
    saga.paused = False


def _standing(saga: Saga) -> str:
    return f"{saga.state} and {'paused' if saga.paused else 'not paused'}"


def _cancel_requested(saga: Saga, _: datetime, event: CancelRequested) -> None:
    _require(
        saga.state in (SagaState.PENDING, SagaState.RUNNING) and saga.cancel is None,
        f"{saga.batch_id} cannot be cancelled: it is {saga.state}"
        + (" and being cancelled" if saga.cancel else ""),
    )
    saga.cancel = event


def _require_all_seen(saga: Saga, event: Retried | Resolved) -> None:
    """What is left is not what somebody saw, once the journal has gone on."""
    _require(
        event.seen is None or event.seen == saga.number,
        f"{saga.batch_id} has gone on since record {event.seen} of its journal, which was the last "
        f"that was seen: it is at record {saga.number}; look at it again, and say it anew",
    )


def _retried(saga: Saga, at: datetime, event: Retried) -> None:
    _require_all_seen(saga, event)
    _require(
        saga.undoes,
        f"{saga.batch_id} keeps what it did, and has no rollback to try again; resolve it",
    )
    saga.fire(SagaTrigger.RETRY)
    saga.rested_at = None
    saga.reason = saga.undone_because
    saga.residual_as_told = ()
    saga.undo_budget = event.undo_budget
    for attempt in saga.lost.values():
        attempt.state = AttemptState.UNKNOWN
        attempt.since = at
        attempt.not_found = attempt.silences = 0
        attempt.asked_at = None
        saga.live[attempt.key] = attempt
    saga.lost.clear()
    for step in saga.stuck.values():
        step.fire(StepTrigger.UNSTICK)
    saga.stuck.clear()
    for step in sorted(saga.steps, key=lambda step: step.effect_number):
        step.undo_base = len(step.undo)
        if step.rolls_back and step.left_to_undo != 0:
            saga.to_undo.pop(step.position, None)
            saga.to_undo[step.position] = None


def _resolved(saga: Saga, at: datetime, event: Resolved) -> None:
    _require_all_seen(saga, event)
    saga.residual_as_told = saga.residual  # as it was: what comes later is another matter
    _rest(saga, at, SagaTrigger.RESOLVE)
    saga.resolved = event
    saga.by_hand += event.adjustments


# --- observations ------------------------------------------------------------------------------


def _resumed(saga: Saga, at: datetime, event: Resumed) -> None:
    _require(saga.state not in SAGA_AT_REST, f"{saga.batch_id} is {saga.state}, and not resumed")
    for attempt in saga.live.values():
        if attempt.state is AttemptState.SENDING:
            _lose(saga, attempt, at, "the engine stopped while it was being sent")
            if event.taken_over:  # the last owner may live, and its call arrive as late as this
                attempt.since = at + _longest_call(saga, attempt)


def _longest_call(saga: Saga, attempt: AttemptRecord) -> timedelta:
    """Return by how much a call may outlive the ownership in which it was decided on."""
    return timedelta(seconds=saga.capabilities(attempt).call_timeout_seconds + FENCE_CHECK_SECONDS)


def _answer_lost(saga: Saga, at: datetime, event: AnswerLost) -> None:
    attempt = _attempt_of(saga, event)
    _require(
        attempt.state in (AttemptState.SENDING, AttemptState.WORKING),
        f"attempt {attempt.key} is {attempt.state}, so no answer of it can be lost",
    )
    attempt.lost_answers += 1
    _lose(saga, attempt, at, event.reason)


def _lose(saga: Saga, attempt: AttemptRecord, at: datetime, reason: str) -> None:
    """The fate of an attempt in flight is unknown from here on (rule 3)."""
    step = saga.steps[attempt.step]
    if attempt.purpose is Purpose.FORWARD and step.state in (StepState.SENDING, StepState.WORKING):
        step.fire(StepTrigger.LOSE)
    attempt.state = AttemptState.UNKNOWN
    attempt.since = at
    attempt.not_found = attempt.silences = 0
    attempt.asked_at = None
    attempt.reason = reason


def _not_found(saga: Saga, at: datetime, event: NotFound) -> None:
    attempt = _attempt_of(saga, event)
    if attempt.state is AttemptState.OVER:
        _require(attempt.absent, f"attempt {attempt.key} is over, and was not looked for")
        saga.unconfirmed.pop(attempt.key, None)
        return
    _require(
        attempt.state in (AttemptState.WORKING, AttemptState.UNKNOWN),
        f"attempt {attempt.key} is {attempt.state}, and was not looked for",
    )
    if attempt.state is AttemptState.WORKING:
        _lose(saga, attempt, at, "the participant no longer knows it")
    attempt.not_found += 1
    attempt.silences = 0
    attempt.tombstone = attempt.tombstone or event.tombstone
    attempt.asked_at = at
    # The window may begin ahead, but by no more than a call takes: else the clock was put back.
    attempt.since = min(attempt.since, at + _longest_call(saga, attempt))


def _no_answer(saga: Saga, at: datetime, event: NoAnswer) -> None:
    attempt = _attempt_of(saga, event)
    attempt.silences += 1
    attempt.asked_at = at
    attempt.reason = event.reason


def _reported(saga: Saga, at: datetime, event: Reported) -> None:
    attempt = _attempt_of(saga, event)
    if attempt.state is AttemptState.LOST:
        raise NotAllowed(f"attempt {attempt.key} was given up; retry the saga to look it up again")
    _require_new(attempt, event.fills)
    was_over = attempt.state is AttemptState.OVER
    was_working = attempt.state is AttemptState.WORKING
    attempt.acknowledged = True
    attempt.absent = attempt.absent and not event.fills and event.final
    attempt.silences = attempt.not_found = 0
    attempt.asked_at = at
    attempt.reason = event.reason or (None if event.final else attempt.reason)
    attempt.reference = event.reference or attempt.reference
    attempt.state = AttemptState.OVER if event.final else AttemptState.WORKING
    _add_fills(saga, attempt, event.fills)
    saga.unconfirmed.pop(attempt.key, None)
    if event.final or not was_working:  # its patience begins when it is there, not with its intent
        attempt.since = at
    if event.final:
        saga.live.pop(attempt.key, None)
    else:
        saga.live[attempt.key] = attempt
    step, forward = saga.steps[event.step], event.purpose is Purpose.FORWARD
    if forward:
        _report_forward(saga, at, step, event, was_over=was_over)
    else:
        _take_back(saga, step, event.fills)
    _weigh_undo(saga, step, newest=forward and bool(event.fills))


def _require_new(attempt: AttemptRecord, fills: tuple[Fill, ...]) -> None:
    for fill in fills:
        if fill.fill_id in attempt.fill_ids:  # S9
            raise NotAllowed(f"fill {fill.fill_id!r} of attempt {attempt.key} is already known")
        if not (
            all(map(_can_be_reckoned_with, (fill.quantity, fill.price, fill.fee)))
            and fill.quantity > 0
        ):
            raise NotAllowed(
                f"fill {fill.fill_id!r} of attempt {attempt.key} has a quantity that is not above "
                "zero, or a number that is not finite or too long to be reckoned with exactly"
            )


def _add_fills(saga: Saga, attempt: AttemptRecord, fills: tuple[Fill, ...]) -> None:
    attempt.fills.extend(fills)
    for fill in fills:
        attempt.fill_ids.add(fill.fill_id)
        attempt.done = plus(attempt.done, fill.quantity)
        if saga.by_hand:
            _take_back_by_hand(saga, attempt, fill)


def _take_back_by_hand(saga: Saga, attempt: AttemptRecord, fill: Fill) -> None:
    """Take back what an operator booked under the id of a fill that is told of now (S9)."""
    step = saga.steps[attempt.step]
    forward = attempt.purpose is Purpose.FORWARD
    shares = times(Decimal(step.direction if forward else -step.direction), fill.quantity)
    back = taken_back(saga.by_hand, step.subject, fill.fill_id, shares)
    if back is not None:
        saga.by_hand.append(back)


def _can_be_reckoned_with(number: Decimal) -> bool:
    # Asked before anything is written: a sum or product that is not exact would fail half-way.
    return (
        number.is_finite()
        and exponent_of(number) >= -MAX_DECIMAL_PLACES
        and number.adjusted() < MAX_DIGITS
    )


def _report_forward(
    saga: Saga, at: datetime, step: Step, event: Reported, *, was_over: bool
) -> None:
    if was_over and event.final and not event.fills:
        return  # the participant confirms what was proven: nothing took effect
    for fill in event.fills:
        step.take_effect(fill)
    if event.fills:
        step.effect_number = saga.number + 1
        step.undo_base = len(step.undo)  # what is new gets a full round of tries
    if was_over and step.state in STEP_SENT_AND_OVER:
        step.fire(StepTrigger.ADOPT)
        saga.failed.pop(step.position, None)
        saga.retrying.pop(step.position, None)
    if step.state in STEP_IN_FLIGHT:
        if event.final:
            _end_forward(saga, at, step, event.reason)
        elif step.state is not StepState.WORKING:
            step.fire(StepTrigger.ACCEPT)


def _end_forward(saga: Saga, at: datetime, step: Step, reason: str | None) -> None:
    """A forward attempt is over: what came of the step, and is it tried again?"""
    for attempt in step.forward:
        if attempt.state in UNPROVEN:
            return  # late truth about an earlier attempt, while a later one is in flight or lost
    rest = step.rest
    if rest <= 0:
        step.fire(StepTrigger.FINISH)
    elif step.done > 0:
        step.fire(StepTrigger.FINISH_PARTLY)
    else:
        step.fire(StepTrigger.REFUSE)
    if rest == 0:
        step.reason = None
        return
    step.reason = reason or f"ended with {step.done} done"
    tries = step.charged_attempts()
    never_through = absences(step.forward)
    if saga.state is not SagaState.RUNNING:
        return
    if rest > 0 and tries < saga.max_attempts(step) and never_through < MAX_ABSENCES:
        wait = timedelta(0) if never_through else step.retry.wait_after(tries)
        saga.retrying[step.position] = at + wait
    elif saga.is_atomic or step.state is StepState.REFUSED:
        saga.failed[step.position] = step


def _take_back(saga: Saga, step: Step, fills: tuple[Fill, ...]) -> None:
    before = step.undo_cost
    for fill in fills:
        step.take_back(fill)
    saga.undo_cost = plus(saga.undo_cost, minus(step.undo_cost, before))


def _weigh_undo(saga: Saga, step: Step, *, newest: bool) -> None:
    """Something was told of a step: is its undo finished, or is there (again) something to undo?

    Args:
        saga: the step's saga.
        step: the step.
        newest: the step took new effect, which is the first to be undone and tried afresh.
    """
    if not step.rolls_back or (saga.lost and step.has_lost):
        return
    left = step.left_to_undo
    if step.state is StepState.STUCK and (newest or left == 0):
        step.fire(StepTrigger.UNSTICK)
        del saga.stuck[step.position]
    if step.state is StepState.COMPENSATED and (left != 0 or step.undo_in_flight):
        step.fire(StepTrigger.REOPEN)
    if step.state is StepState.COMPENSATING and left == 0 and not step.undo_in_flight:
        step.fire(StepTrigger.CONFIRM)
        saga.to_undo.pop(step.position, None)
    elif left != 0 and step.state is not StepState.STUCK:
        if newest:
            saga.to_undo.pop(step.position, None)
        saga.to_undo[step.position] = None


# --- late truth --------------------------------------------------------------------------------


def _late_truth(saga: Saga, at: datetime, event: LateTruth) -> None:
    """Bring an attempt of a saga at rest up to date; the saga's state and outcome stay (S8)."""
    _require(
        saga.state in SAGA_AT_REST,
        f"{event.kind!r} needs a saga at rest; {saga.batch_id} is {saga.state}",
    )
    attempt = _intended_before(saga, event)
    _require_new(attempt, event.fills)
    gone = [fill for fill in attempt.fills if fill.fill_id in event.reversed]
    _require(
        len(gone) == len(event.reversed),
        f"attempt {attempt.key} has no fills {event.reversed} that stand, to be reversed",
    )
    step = saga.steps[event.step]
    done, left = step.done, step.left_to_undo
    _reverse(saga, step, attempt, gone)
    _add_fills(saga, attempt, event.fills)
    if attempt.purpose is Purpose.FORWARD:
        for fill in event.fills:
            step.take_effect(fill)
        if event.fills:
            step.effect_number = saga.number + 1
    else:
        _take_back(saga, step, event.fills)
    attempt.acknowledged = True
    attempt.absent = attempt.absent and not event.fills and event.final
    attempt.asked_at = at
    attempt.reason = event.reason or (None if event.final else attempt.reason)
    attempt.reference = event.reference or attempt.reference
    if event.final:
        attempt.state = AttemptState.OVER
        attempt.since = at
        saga.lost.pop(attempt.key, None)
    else:  # nobody waits for it any more, so what more will come of it is not known
        attempt.state = AttemptState.LOST
        saga.lost[attempt.key] = attempt
    saga.unconfirmed.pop(attempt.key, None)
    change = ZERO
    if saga.state is SagaState.STALE:
        _follow(saga, at, step, event)
        saga.residual_as_told = None
    else:
        step.late_done = plus(step.late_done, minus(step.done, done))
        change = minus(step.left_to_undo, left)
    saga.incidents.append(Incident(saga.number + 1, at, event, change))


def _reverse(saga: Saga, step: Step, attempt: AttemptRecord, gone: list[Fill]) -> None:
    """Take out what the participant says it has taken back; its ids stay known (S9)."""
    for fill in gone:
        attempt.fills.remove(fill)
        attempt.done = minus(attempt.done, fill.quantity)
        if attempt.purpose is Purpose.FORWARD:
            step.lose_effect(fill)
    if gone:
        cost = step.undo_cost
        step.match_undo_again()
        saga.undo_cost = plus(saga.undo_cost, minus(step.undo_cost, cost))


def _follow(saga: Saga, at: datetime, step: Step, event: LateTruth) -> None:
    """Move a step of a STALE saga to where the truth is: a retry goes on from there."""
    if step.state in STEP_SENT_AND_OVER:
        step.fire(StepTrigger.ADOPT)
        saga.failed.pop(step.position, None)
    if step.state is StepState.UNKNOWN:
        _end_forward(saga, at, step, event.reason)
    _weigh_undo(saga, step, newest=False)
    if step.left_to_undo == 0:
        saga.to_undo.pop(step.position, None)
    elif step.state is StepState.COMPENSATING:
        _stick(saga, step, "late truth changed what is left of it, and nobody undoes it by itself")


def _incident_closed(saga: Saga, _: datetime, event: IncidentClosed) -> None:
    dealt_with = [each for each in saga.open_incidents if each.number <= event.seen]
    _require(
        bool(dealt_with),
        f"{saga.batch_id} has no open incident up to record {event.seen} of its journal",
    )
    for each in dealt_with:
        each.closed = event
    saga.by_hand += event.adjustments


# --- decisions ---------------------------------------------------------------------------------


def _deadline_passed(saga: Saga, _: datetime, event: DeadlinePassed) -> None:
    _require(
        saga.state not in SAGA_AT_REST and not saga.deadline_passed,
        f"the deadline of {saga.batch_id} cannot pass: it is {saga.state}",
    )
    del event
    saga.deadline_passed = True


def _intended(saga: Saga, at: datetime, event: Intended) -> None:
    step = saga.steps[event.step]
    attempts = step.attempts(event.purpose)
    forward = event.purpose is Purpose.FORWARD
    key = saga.key(event.step, event.purpose, event.number)
    if saga.state is not (SagaState.RUNNING if forward else SagaState.COMPENSATING):
        raise NotAllowed(f"attempt {key} cannot be intended while {saga.batch_id} is {saga.state}")
    if event.number != len(attempts) + 1:
        raise NotAllowed(f"attempt {key} is out of order")
    for before in (*step.forward, *step.undo):
        # S4: attempt k+1 exists only if attempt k is proven to be over
        if before.state is not AttemptState.OVER:
            raise NotAllowed(f"attempt {key} cannot be intended: one before it is not over")
    left = step.rest if forward else step.left_to_undo
    if not event.amount == left > 0:  # S4 and S5: never more than what is left
        raise NotAllowed(f"attempt {key} is for {event.amount}, but {left} is left")
    directive = step.directive_for(event.purpose, event.amount)
    if forward:
        first = step.state is StepState.PENDING
        step.fire(StepTrigger.SEND if first else StepTrigger.SEND_AGAIN)
        saga.next_unsent = max(saga.next_unsent, event.step + 1)
        saga.retrying.pop(event.step, None)
    else:
        saga.undo_began = True
        if step.state is not StepState.COMPENSATING:
            step.fire(StepTrigger.COMPENSATE)
    attempt = AttemptRecord(
        key=key,
        step=event.step,
        purpose=event.purpose,
        number=event.number,
        directive=directive,
        amount=event.amount,
        since=at,
    )
    attempts.append(attempt)
    saga.live[key] = attempt


def _sent_again(saga: Saga, at: datetime, event: SentAgain) -> None:
    attempt = _attempt_of(saga, event)
    _require(
        attempt.state is AttemptState.UNKNOWN and not attempt.acknowledged,
        f"attempt {attempt.key} is {attempt.state}, and may not be sent again",
    )
    if attempt.purpose is Purpose.FORWARD:
        saga.steps[attempt.step].fire(StepTrigger.SEND_AGAIN)
    attempt.state = AttemptState.SENDING
    attempt.sends += 1
    attempt.since = at
    attempt.not_found = 0


def _withheld(saga: Saga, at: datetime, event: Withheld) -> None:
    attempt = _attempt_of(saga, event)
    _require(
        attempt.state is AttemptState.SENDING,
        f"attempt {attempt.key} is {attempt.state}, and was not withheld",
    )
    _end_unsent(saga, at, attempt, absent=attempt.sends > 1, reason=event.reason)


def _proven_absent(saga: Saga, at: datetime, event: ProvenAbsent) -> None:
    attempt = _attempt_of(saga, event)
    _require(
        attempt.state is AttemptState.UNKNOWN and not attempt.acknowledged,
        f"attempt {attempt.key} is {attempt.state}, and may not be called absent",
    )
    _end_unsent(saga, at, attempt, absent=True, reason="it never reached the participant")


def _end_unsent(
    saga: Saga, at: datetime, attempt: AttemptRecord, *, absent: bool, reason: str
) -> None:
    """An attempt is over without effect, as far as anybody can tell.

    Args:
        saga: the attempt's saga.
        at: when that was found out.
        attempt: the attempt.
        absent: it was handed over once, and proven not to have arrived, so late truth may come.
        reason: why it had no effect.
    """
    attempt.state = AttemptState.OVER
    attempt.absent = absent
    attempt.since = at
    attempt.reason = reason
    saga.live.pop(attempt.key)
    if absent:
        saga.unconfirmed[attempt.key] = attempt
    step = saga.steps[attempt.step]
    if attempt.purpose is Purpose.FORWARD:
        _end_forward(saga, at, step, attempt.reason)
    _weigh_undo(saga, step, newest=False)


def _gave_up(saga: Saga, at: datetime, event: GaveUp) -> None:
    attempt = _attempt_of(saga, event)
    _require(
        attempt.key in saga.live or attempt.key in saga.unconfirmed,
        f"attempt {attempt.key} is {attempt.state}, and neither in flight nor called absent",
    )
    step = saga.steps[attempt.step]
    if attempt.key in saga.unconfirmed:
        _doubt_absence(saga, step, attempt, at)
    elif attempt.state is not AttemptState.UNKNOWN:
        _lose(saga, attempt, at, event.reason)
    if attempt.purpose is Purpose.COMPENSATION and step.state is StepState.COMPENSATING:
        _stick(saga, step, event.reason)
    attempt.state = AttemptState.LOST
    attempt.reason = step.reason = event.reason
    saga.live.pop(attempt.key, None)
    saga.lost[attempt.key] = attempt
    saga.to_undo.pop(step.position, None)


def _doubt_absence(saga: Saga, step: Step, attempt: AttemptRecord, at: datetime) -> None:
    """What was proven absent is there after all, and nobody can read what became of it."""
    del saga.unconfirmed[attempt.key]
    attempt.absent = False
    attempt.since = at
    if attempt.purpose is Purpose.COMPENSATION:
        if step.state is StepState.COMPENSATED:
            step.fire(StepTrigger.REOPEN)
    elif step.state in STEP_SENT_AND_OVER:
        step.fire(StepTrigger.ADOPT)
        saga.failed.pop(step.position, None)
        saga.retrying.pop(step.position, None)


def _step_stuck(saga: Saga, _: datetime, event: StepStuck) -> None:
    _require(
        saga.state is SagaState.COMPENSATING,
        f"step {event.step} cannot be stuck while {saga.batch_id} is {saga.state}",
    )
    step = saga.steps[event.step]
    if step.state is not StepState.COMPENSATING:
        step.fire(StepTrigger.COMPENSATE)
    _stick(saga, step, event.reason)


def _stick(saga: Saga, step: Step, reason: str) -> None:
    step.fire(StepTrigger.STICK)
    step.reason = reason
    saga.to_undo.pop(step.position, None)
    saga.stuck[step.position] = step


def _completed(saga: Saga, at: datetime, event: Completed) -> None:
    _require(not saga.live and not saga.lost, f"{saga.batch_id} has attempts that are not over")
    _rest(saga, at, SagaTrigger.COMPLETE)
    saga.reason = event.reason


def _withdrawn(saga: Saga, at: datetime, event: Withdrawn) -> None:
    _rest(saga, at, SagaTrigger.WITHDRAW)
    saga.reason = event.reason


def _compensation_started(saga: Saga, _: datetime, event: CompensationStarted) -> None:
    saga.fire(SagaTrigger.COMPENSATE)
    saga.reason = saga.undone_because = event.reason
    saga.retrying.clear()


def _rolled_back(saga: Saga, at: datetime, _: RolledBack) -> None:
    _require(
        not (saga.live or saga.lost or saga.stuck or saga.to_undo),
        f"{saga.batch_id} is not undone, and cannot be called rolled back",
    )
    _rest(saga, at, SagaTrigger.ROLL_BACK)


def _abandoned(saga: Saga, at: datetime, event: Abandoned) -> None:
    _rest(saga, at, SagaTrigger.ABANDON)
    saga.reason = event.reason
    saga.residual_as_told = event.residual


def _lost_track(saga: Saga, at: datetime, event: LostTrack) -> None:
    _rest(saga, at, SagaTrigger.LOSE_TRACK)
    saga.reason = event.reason
    saga.residual_as_told = event.residual


def _attempt_of(saga: Saga, event: AttemptEvent) -> AttemptRecord:
    _require_under_way(saga, event)
    return _intended_before(saga, event)


def _intended_before(saga: Saga, event: AttemptEvent) -> AttemptRecord:
    attempts = saga.steps[event.step].attempts(event.purpose)
    if not 1 <= event.number <= len(attempts):
        key = saga.key(event.step, event.purpose, event.number)
        raise NotAllowed(f"attempt {key} was never intended")
    return attempts[event.number - 1]


_Handler = Callable[[Saga, datetime, Any], None]

_HANDLERS: Final[dict[type[Event], _Handler]] = {
    Started: _started,
    Resumed: _resumed,
    Paused: _paused,
    Unpaused: _unpaused,
    CancelRequested: _cancel_requested,
    DeadlinePassed: _deadline_passed,
    Intended: _intended,
    SentAgain: _sent_again,
    Withheld: _withheld,
    Reported: _reported,
    AnswerLost: _answer_lost,
    NotFound: _not_found,
    NoAnswer: _no_answer,
    ProvenAbsent: _proven_absent,
    GaveUp: _gave_up,
    StepStuck: _step_stuck,
    Completed: _completed,
    Withdrawn: _withdrawn,
    CompensationStarted: _compensation_started,
    RolledBack: _rolled_back,
    Abandoned: _abandoned,
    LostTrack: _lost_track,
    Retried: _retried,
    Resolved: _resolved,
    LateTruth: _late_truth,
    IncidentClosed: _incident_closed,
}
