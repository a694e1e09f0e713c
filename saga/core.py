"""The core: what is to be done next. The rest of the engine serves it.

The law
-------
Nothing here waits, looks at a clock, draws a random number, logs, or touches the world. Time comes
in as an argument. The same journal and the same instant always give the same answer.

Theory of operation
-------------------
A saga is a list of events. `fold.apply` adds one more event to what is known. `decide` looks at
what is known and at the time, and answers with the events that are to be recorded next, or with the
questions that are to be asked of the participants. `observe` turns an answer into events. That is
all. The engine's loop is

    decide -> record (durable) -> send what was intended -> observe the answer -> record -> decide

and a crash between any two of these steps loses nothing, because the journal is folded again and
`decide` is asked again.

An `Intended` event is the only licence to send: the process that made it durable sends it, once. A
process that finds one whose call it did not make itself (after a crash) knows nothing about it: the
attempt is *unknown*, and unknown is not failed. It is looked up by its key until it is found, or
proven absent, or given up, and only then is anything else decided about its step.

Undoing begins when every forward attempt is over. What really took effect is undone, newest first,
one step at a time, each at least three times. What cannot be undone or found out is left alone,
written down as residual exposure, and the saga is STALE until a person has dealt with it.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from saga.events import (
    Abandoned,
    CompensationStarted,
    Completed,
    DeadlinePassed,
    Event,
    GaveUp,
    Intended,
    LateTruth,
    LostTrack,
    ProvenAbsent,
    Reported,
    RolledBack,
    SentAgain,
    StepStuck,
    Withdrawn,
)
from saga.exact import plain
from saga.ids import Purpose
from saga.ledger import (
    MAX_ABSENCES,
    MAX_LOST_ANSWERS,
    MAX_SENDS,
    AttemptRecord,
    AttemptState,
    Saga,
    Step,
    absences,
)
from saga.machine import SagaState, StepState
from saga.model import ExecutionMode
from saga.outcome import Fill, Report
from saga.quick_dataclass import dataclass

MIN_LOOK_UPS: Final = 3
"""An attempt is called absent only after at least so many look-ups that did not find it."""
MIN_LOOK_UP_SPACING: Final = timedelta(milliseconds=50)
"""Look-ups that follow on one another are at least so far apart."""
MAX_SILENCES: Final = 120
"""After so many questions in a row without an answer, the engine gives up and calls a person."""
FIRST_SILENCE_WAIT: Final = timedelta(milliseconds=500)
LONGEST_SILENCE_WAIT: Final = timedelta(seconds=30)
MAX_INTENTS_AT_ONCE: Final = 64
"""Most attempts that one decision intends; the next decision goes on from there."""


class Question(StrEnum):
    """What is asked of a participant; neither can make an effect."""

    LOOK_UP = "look_up"
    """What is known of this attempt?"""
    WITHDRAW = "withdraw"
    """Cancel what is still open of this attempt; then look it up."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question about one attempt, not to be asked before an instant."""

    question: Question
    attempt: AttemptRecord
    not_before: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done next.

    Attributes:
        events: to be recorded now; each `Intended` and `SentAgain` among them is then to be sent.
            When there are any, the rest is empty: decide again once they are recorded.
        asks: questions to be asked when they are due, unless one about the attempt is under way.
        wake_at: when to decide again even if nothing happens; None is never.
    """

    events: tuple[Event, ...] = ()
    asks: tuple[Ask, ...] = ()
    wake_at: datetime | None = None


_NOTHING: Final = Decision()


def decide(saga: Saga, now: datetime, *, in_doubt: bool = False) -> Decision:
    """Return what is to be done next.

    Args:
        saga: what is known.
        now: the present instant, UTC.
        in_doubt: the wall clock has jumped, and is not believed yet: no deadline is judged, and
            nothing new is sent; questions are asked all the same.
    """
    held = saga.paused or in_doubt
    deadline = saga.submitted.deadline
    state = saga.state
    if state is SagaState.PENDING or state is SagaState.RUNNING:
        passed = deadline is not None and now >= deadline and not in_doubt
        if passed and not saga.deadline_passed:
            return Decision((DeadlinePassed(),))
        decision = (
            _decide_pending(saga)
            if state is SagaState.PENDING
            else _decide_running(saga, now, held=held)
        )
        if decision.events or saga.deadline_passed or deadline is None or in_doubt:
            return decision
        wake_at = deadline if decision.wake_at is None else min(deadline, decision.wake_at)
        return Decision(asks=decision.asks, wake_at=wake_at)
    if state is SagaState.COMPENSATING:
        return _decide_compensating(saga, now, held=held)
    return _NOTHING


def observe(attempt: AttemptRecord, report: Report) -> tuple[Reported, ...]:
    """Return what a participant's report tells that was not known; empty if nothing.

    A fill that is known already is dropped, however often it is told (S9).

    Raises:
        ValueError: the report contradicts itself; it is to be treated as no answer.
    """
    if attempt.state is AttemptState.LOST:
        return ()  # given up; an operator's retry asks again
    new = _new_fills(attempt, report, gone=())
    was_over = attempt.state is AttemptState.OVER
    if not new and (
        (was_over and not attempt.absent)
        or (attempt.state is AttemptState.WORKING and not report.final and not attempt.silences)
    ):
        return ()
    return (
        Reported(
            step=attempt.step,
            purpose=attempt.purpose,
            number=attempt.number,
            final=report.final,
            fills=new,
            reason=report.reason,
            reference=report.reference,
        ),
    )


def observe_late(attempt: AttemptRecord, report: Report, *, by: str) -> LateTruth | None:
    """Return what a report tells about an attempt of a saga at rest; None if nothing new.

    A fill is taken back only where the report says so. One that is merely missing is a fill that
    the participant has forgotten, and changes nothing.

    Args:
        attempt: what is known of it.
        report: what is told of it.
        by: who looked.

    Raises:
        ValueError: the report contradicts itself, or tells of new fills while it lacks known ones;
            it is to be treated as no answer.
    """
    standing = {fill.fill_id for fill in attempt.fills}
    gone = tuple(sorted(standing & set(report.reversed)))
    told = {fill.fill_id for fill in report.fills}
    forgotten = not standing - set(gone) <= told
    if forgotten and told <= attempt.fill_ids and not gone:
        return None
    new = _new_fills(attempt, report, gone)
    if not new and not gone:
        was_over = attempt.state is AttemptState.OVER
        if was_over and (not attempt.absent or report.final):
            return None  # what is told is what was known, or proven
        if not was_over and attempt.acknowledged and not report.final:
            return None  # it is open, as it was when it was given up
    return LateTruth(
        step=attempt.step,
        purpose=attempt.purpose,
        number=attempt.number,
        final=report.final,
        by=by,
        fills=new,
        reversed=gone,
        reason=report.reason,
        reference=report.reference,
    )


def _new_fills(attempt: AttemptRecord, report: Report, gone: tuple[str, ...]) -> tuple[Fill, ...]:
    """Return the fills that were not known; a known one that does not stand is never new.

    Raises:
        ValueError: a fill that stands is missing or has changed, or a number cannot be one of a
            fill.
    """
    standing = {fill.fill_id: fill for fill in attempt.fills}
    told = {fill.fill_id for fill in report.fills}
    missing = standing.keys() - told - set(gone)
    if missing:
        raise ValueError(f"fill {min(missing)!r}, which was told before, is missing")
    new: dict[str, Fill] = {}
    for fill in report.fills:
        known = standing.get(fill.fill_id, fill)
        if (known.quantity, known.price, known.fee) != (fill.quantity, fill.price, fill.fee):
            raise ValueError(
                f"fill {fill.fill_id!r} was {plain(known.quantity)} at {plain(known.price)} with a "
                f"fee of {plain(known.fee)}, and is told as {fill.quantity} at {fill.price} with "
                f"{fill.fee}; an execution never changes, and a new one has an id of its own"
            )
        if fill.fill_id not in attempt.fill_ids:
            new[fill.fill_id] = fill
    both = told.intersection(report.reversed)
    if both:
        raise ValueError(f"fill {min(both)!r} stands, and is taken back")
    for fill in new.values():
        if not (fill.quantity.is_finite() and fill.quantity > 0):
            raise ValueError(f"fill {fill.fill_id!r} has the quantity {fill.quantity}")
        if not (fill.price.is_finite() and fill.price >= 0 and fill.fee.is_finite()):
            raise ValueError(f"fill {fill.fill_id!r} has the price {fill.price}, fee {fill.fee}")
    return tuple(new.values())


# --- PENDING and RUNNING -------------------------------------------------------------------------


def _decide_pending(saga: Saga) -> Decision:
    stop = _outer_stop(saga)
    return Decision((Withdrawn(stop),)) if stop else Decision()


def _decide_running(saga: Saga, now: datetime, *, held: bool) -> Decision:
    stop = why_stopped(saga)
    if stop and saga.undoes:
        return Decision((CompensationStarted(stop),))
    retry_at: datetime | None = None
    if not stop and not held:
        intents, retry_at = _intents(saga, now)
        if intents:
            return Decision(intents)
    if saga.live:
        return _ask_all(saga, now, withdraw=stop is not None, held=held, wake_at=retry_at)
    if not stop and (saga.retrying or saga.next_unsent < len(saga.steps)):
        return Decision(wake_at=retry_at)  # a backoff, or a pause
    return _finish_running(saga)


def _finish_running(saga: Saga) -> Decision:
    """Every step that will be sent has been, and nothing more is heard of any of them."""
    if saga.undoes and (saga.failed or saga.lost):
        return Decision((CompensationStarted(_failure(saga)),))
    if saga.lost:
        return Decision((LostTrack(_failure(saga), saga.exposures(unproven_only=True)),))
    asks = _confirm_absence(saga)
    if asks:
        return Decision(asks=asks)
    return Decision((Completed(why_stopped(saga) if saga.next_unsent < len(saga.steps) else None),))


def _outer_stop(saga: Saga) -> str | None:
    """Why somebody or something outside the batch stops it; None if nothing does."""
    if saga.cancel is not None:
        return f"cancelled by {saga.cancel.by}: {saga.cancel.reason}"
    if saga.deadline_passed:
        return f"the deadline {saga.submitted.deadline:%Y-%m-%d %H:%M:%S} UTC passed"
    return None


def why_stopped(saga: Saga) -> str | None:
    """Return why nothing more is sent forward; None if the batch goes on."""
    outer = _outer_stop(saga)
    if outer is not None:
        return outer
    if saga.batch.execution_mode is not ExecutionMode.PARALLEL and (saga.failed or saga.lost):
        return _failure(saga)
    return None


def _failure(saga: Saga) -> str:
    """The first failure, in words."""
    step = next(iter(saga.failed.values()), None)
    if step is None:
        step = saga.steps[next(iter(saga.lost.values())).step]
    what = "is unknown" if step.state is StepState.UNKNOWN else step.state.value.lower()
    return f"{step.directive.describe()} {what}: {step.reason}"


def _intents(saga: Saga, now: datetime) -> tuple[tuple[Intended, ...], datetime | None]:
    """Return the forward attempts that are due, and when the next retry is."""
    intents: list[Intended] = []
    retry_at: datetime | None = None
    for position, due in saga.retrying.items():
        longest = timedelta(seconds=saga.steps[position].retry.backoff_max_seconds)
        if now < due <= now + longest:  # further ahead: the clock was put back
            retry_at = due if retry_at is None else min(retry_at, due)
        elif len(intents) < MAX_INTENTS_AT_ONCE:
            step = saga.steps[position]
            intents.append(Intended(position, Purpose.FORWARD, len(step.forward) + 1, step.rest))
    # A step that waits for its next try keeps its place in the width: list order stays list order.
    free = saga.width - len(saga.live) - len(saga.retrying)
    if free > 0:
        free = min(free, MAX_INTENTS_AT_ONCE - len(intents))
        unsent = saga.steps[saga.next_unsent : saga.next_unsent + free]
        intents += [Intended(step.position, Purpose.FORWARD, 1, step.amount) for step in unsent]
    return tuple(intents), retry_at


# --- COMPENSATING --------------------------------------------------------------------------------


def _decide_compensating(saga: Saga, now: datetime, *, held: bool) -> Decision:
    if saga.live:  # rule 4: open orders are cancelled first, and their final quantity awaited
        return _ask_all(saga, now, withdraw=True, held=held, wake_at=None)
    newest = next(reversed(saga.to_undo), None)
    if newest is not None:
        return _undo(saga, saga.steps[newest], now, held=held)
    if saga.stuck or saga.lost:
        return Decision((Abandoned(_residue(saga), saga.exposures()),))
    asks = _confirm_absence(saga)
    return Decision(asks=asks) if asks else Decision((RolledBack(saga.undo_cost),))


def _undo(saga: Saga, step: Step, now: datetime, *, held: bool) -> Decision:
    """Undo what is left of one step, or say why that is not tried (again)."""
    if not step.directive.can_be_undone:
        reason = f"nothing undoes a directive of kind {step.directive.kind!r}"
        return Decision((StepStuck(step.position, reason),))
    if step.left_to_undo < 0:
        over = plain(-step.left_to_undo)
        return Decision((StepStuck(step.position, f"{over} more were undone than took effect"),))
    tries = step.undo_tries()
    spent = tries >= step.retry.compensation_attempts
    if spent or absences(step.undo_round) >= MAX_ABSENCES:
        reason = f"{tries} tries to undo it failed; the last: {step.undo[-1].reason}"
        return Decision((StepStuck(step.position, reason),))
    if saga.undo_budget is not None and saga.undo_cost > saga.undo_budget:
        cost, budget = plain(saga.undo_cost), plain(saga.undo_budget)
        reason = f"the undo has cost {cost}, which is past its budget of {budget}"
        return Decision((Abandoned(reason, saga.exposures()),))
    if held:  # only what sends waits for the operator (or the clock), not what calls for one
        return Decision()
    if tries and not step.undo[-1].absent:
        since, wait = step.undo[-1].since, step.retry.wait_after(tries)
        if since <= now < since + wait:  # a clock that was put back makes nobody wait
            return Decision(wake_at=since + wait)
    number = len(step.undo) + 1
    return Decision((Intended(step.position, Purpose.COMPENSATION, number, step.left_to_undo),))


def _residue(saga: Saga) -> str:
    """Why a rollback could not be finished, in words."""
    steps = [saga.steps[attempt.step] for attempt in saga.lost.values()]
    steps.extend(saga.stuck.values())
    first = steps[0]
    more = f" (and {len(steps) - 1} more)" if len(steps) > 1 else ""
    return f"{first.directive.describe()} could not be undone: {first.reason}{more}"


# --- questions -----------------------------------------------------------------------------------


def _ask_all(
    saga: Saga, now: datetime, *, withdraw: bool, held: bool, wake_at: datetime | None
) -> Decision:
    """Decide about every attempt in flight: what has been proven of it, or what is asked next."""
    asks: list[Ask] = []
    for attempt in saga.live.values():
        if attempt.state is AttemptState.SENDING:
            continue  # its call is under way
        ruling = _rule_on(saga, attempt)
        if isinstance(ruling, SentAgain) and held:
            continue  # proven absent for now: nothing to ask until it may be sent again
        if ruling is not None:
            return Decision((ruling,))
        asks.append(_question(saga, attempt, now, withdraw=withdraw))
    return Decision(asks=tuple(asks), wake_at=wake_at)


def _rule_on(saga: Saga, attempt: AttemptRecord) -> Event | None:
    """Return what follows from all that was (not) heard of an attempt; None if not enough is."""
    capabilities = saga.capabilities(attempt)
    where = (attempt.step, attempt.purpose, attempt.number)
    if not capabilities.look_up:
        return GaveUp(*where, "its participant cannot be asked about it")
    if attempt.silences >= MAX_SILENCES:
        return GaveUp(*where, f"no answer to {attempt.silences} questions: {attempt.reason}")
    asked_at = attempt.asked_at
    visible_from = attempt.since + timedelta(seconds=capabilities.visibility_seconds)
    if attempt.not_found < MIN_LOOK_UPS or asked_at is None or asked_at < visible_from:
        return None
    if attempt.acknowledged:
        return GaveUp(*where, "the participant had it, and no longer knows it")
    if capabilities.tombstone and not attempt.tombstone:
        return None
    # Not found over the whole window, asked directly and often enough: it never arrived.
    no_longer_wanted = attempt.purpose is Purpose.FORWARD and (
        saga.state is SagaState.COMPENSATING or why_stopped(saga) is not None
    )
    if no_longer_wanted or attempt.tombstone:
        return ProvenAbsent(*where)
    if attempt.lost_answers >= MAX_LOST_ANSWERS or attempt.sends >= MAX_SENDS:
        # A participant that takes orders and never shows them would be sent one more each time.
        return GaveUp(*where, f"handed over {attempt.sends} times, and never found")
    return SentAgain(*where)


def _question(saga: Saga, attempt: AttemptRecord, now: datetime, *, withdraw: bool) -> Ask:
    """Return the next question about an attempt that is WORKING or UNKNOWN."""
    capabilities = saga.capabilities(attempt)
    if attempt.state is AttemptState.WORKING:
        if attempt.purpose is Purpose.COMPENSATION:
            patience = saga.steps[attempt.step].retry.undo_patience_seconds
            withdraw = now >= attempt.since + timedelta(seconds=patience)
        wait = timedelta(seconds=capabilities.poll_seconds)
        question = Question.WITHDRAW if withdraw and capabilities.cancel else Question.LOOK_UP
        if question is Question.WITHDRAW:
            wait = timedelta(0)
    else:
        window = timedelta(seconds=capabilities.visibility_seconds)
        wait = max(window / (MIN_LOOK_UPS - 1), MIN_LOOK_UP_SPACING)
        bury = capabilities.tombstone and attempt.not_found >= MIN_LOOK_UPS - 1
        question = Question.WITHDRAW if bury else Question.LOOK_UP
    return Ask(question, attempt, _due(attempt, wait))


def _confirm_absence(saga: Saga) -> tuple[Ask, ...]:
    """Ask once more for every attempt that was proven absent: late truth is still truth.

    Where nobody answers, the proof that there is has to do.
    """
    return tuple(
        Ask(Question.LOOK_UP, attempt, _due(attempt, timedelta(0)))
        for attempt in saga.unconfirmed.values()
        if attempt.silences < MAX_SILENCES
    )


def _due(attempt: AttemptRecord, wait: timedelta) -> datetime:
    """Return when to ask again: after `wait`, or later and later while there is no answer."""
    if attempt.asked_at is None:
        return attempt.since
    if attempt.silences:
        doubled = FIRST_SILENCE_WAIT * 2 ** min(attempt.silences - 1, 10)
        wait = max(wait, min(doubled, LONGEST_SILENCE_WAIT))
    return attempt.asked_at + wait
