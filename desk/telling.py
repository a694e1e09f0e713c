"""Journal records in words: one short line for each event."""

from saga.events import (
    Abandoned,
    AnswerLost,
    CancelRequested,
    CompensationStarted,
    Event,
    GaveUp,
    Intended,
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
)
from saga.exact import plain
from saga.ids import Purpose


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
        case Retried(by=by, reason=reason):
            return f"rollback tried again by {by}: {reason}"
        case Resolved(by=by, reason=reason, action=action, evidence=evidence):
            return f"resolved by {by}: {reason}; {action} (evidence: {evidence})"
        case CompensationStarted(reason=reason) | Withdrawn(reason=reason):
            return reason
        case Abandoned(reason=reason) | LostTrack(reason=reason):
            return reason
        case RolledBack(cost=cost):
            return f"all undone; it cost {plain(cost)}"
        case StepStuck(step=step, reason=reason):
            return f"step {step + 1}: {reason}"
        case Reported():
            return _reported(event)
        case Intended(amount=amount):
            return f"{_attempt(event)}: {plain(amount)} about to be sent"
        case SentAgain():
            return f"{_attempt(event)}: never arrived; about to be sent again"
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


def _attempt(
    event: Intended
    | SentAgain
    | Reported
    | AnswerLost
    | NotFound
    | NoAnswer
    | ProvenAbsent
    | GaveUp,
) -> str:
    what = "undo " if event.purpose is Purpose.COMPENSATION else ""
    again = f" (try {event.number})" if event.number > 1 else ""
    return f"{what}step {event.step + 1}{again}"


def _reported(event: Reported) -> str:
    parts = [f"{plain(fill.quantity)} filled at {plain(fill.price)}" for fill in event.fills]
    if event.final and not event.fills:
        parts.append("over, without effect")
    elif not event.fills:
        parts.append("accepted, and open")
    if event.reason:
        parts.append(event.reason)
    return f"{_attempt(event)}: {', '.join(parts)}"
