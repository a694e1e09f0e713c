"""One saga's own way through both machines, read from its journal.

The journal is folded record by record with the engine's own fold, and every change of state is
noted with the instant of the record that made it. What the pictures show is what is noted here.
Nothing is decided here, and nothing is guessed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from typing import Final

from saga.errors import InvalidInput
from saga.events import (
    Abandoned,
    AnswerLost,
    CancelRequested,
    DeadlinePassed,
    Event,
    GaveUp,
    IncidentClosed,
    Intended,
    LateTruth,
    Paused,
    ProvenAbsent,
    Reported,
    Resolved,
    Resumed,
    Retried,
    SentAgain,
    Submitted,
    Unpaused,
    Withheld,
)
from saga.exact import plain, times, total
from saga.fold import apply, begin
from saga.ids import Purpose
from saga.ledger import AttemptState, Saga, Step
from saga.machine import SAGA_TRANSITIONS, StepState, Transition
from saga.outcome import Fill
from saga.store.protocol import JournalRecord

MAX_STEPS_SHOWN: Final = 40
"""Most steps whose ways are shown; of a longer batch the first ones are."""
MAX_MOMENTS_SHOWN: Final = 16
"""Most moments shown of one step: its first ones and its last ones."""
MAX_INCIDENTS_SHOWN: Final = 8
"""Most incidents of the whole saga that are shown: its first ones."""
MAX_RESIDUES_SHOWN: Final = 20
"""Most symbols whose residual exposure is shown."""

_LAST_MOMENTS_SHOWN = 3
_PRICE_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PRICE_PLACES = Decimal("0.0001")


class Tone(StrEnum):
    """How a moment is to be understood; each has a mark of its own beside its colour."""

    CALM = "calm"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    UNDO = "undo"


MARKS: Final = {Tone.CALM: "", Tone.GOOD: "✓", Tone.WARN: "?", Tone.BAD: "✗", Tone.UNDO: "←"}

NOTHING: Final = "—"
"""What is shown where there is nothing to show."""

_TONES: Final = {
    StepState.DONE: Tone.GOOD,
    StepState.PARTIAL: Tone.WARN,
    StepState.UNKNOWN: Tone.WARN,
    StepState.REFUSED: Tone.BAD,
    StepState.STUCK: Tone.BAD,
    StepState.COMPENSATING: Tone.UNDO,
    StepState.COMPENSATED: Tone.GOOD,
}

_OVER: Final = (StepState.REFUSED, StepState.PARTIAL, StepState.DONE)


@dataclass(frozen=True, slots=True)
class Passage:
    """An arrow that the saga followed.

    Attributes:
        number: its place among all that were followed, from 1.
        arrow: the arrow.
        at: when, UTC.
    """

    number: int
    arrow: Transition
    at: datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a step.

    Attributes:
        at: when, UTC.
        what: a state's name, or a few words.
        tone: how it is to be understood.
        is_unknown: it begins a time without knowledge, which lasts until the next moment.
    """

    at: datetime
    what: str
    tone: Tone
    is_unknown: bool = False


@dataclass(slots=True)
class StepWay:
    """A step's own way.

    Attributes:
        step: what is known of the step at the end.
        moments: what happened to it, in order.
    """

    step: Step
    moments: list[Moment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Way:
    """A saga's own way.

    Attributes:
        saga: what is known of it at the end.
        records: how many records its journal has.
        passages: the arrows that it followed, in order.
        steps: the ways of its first `MAX_STEPS_SHOWN` steps.
        incidents: what happened to the saga as a whole beside its changes of state: an instant
            and a few words for each.
        incidents_hidden: how many more incidents there were.
    """

    saga: Saga
    records: int
    passages: tuple[Passage, ...]
    steps: tuple[StepWay, ...]
    incidents: tuple[tuple[datetime, str], ...]
    incidents_hidden: int

    @property
    def steps_hidden(self) -> int:
        """How many steps are not shown."""
        return len(self.saga.steps) - len(self.steps)

    def times_of(self) -> dict[Transition, list[Passage]]:
        """Return every arrow that was followed with all its passages, in order."""
        found: dict[Transition, list[Passage]] = {}
        for passage in self.passages:
            found.setdefault(passage.arrow, []).append(passage)
        return found


def way_of(records: Sequence[JournalRecord]) -> Way:
    """Return the way that a journal tells.

    Args:
        records: a saga's records, from the first one on, in order.

    Raises:
        InvalidInput: there are no records, or the first is not the submission.
        NotAllowed: a record may not follow on those before it.
    """
    if not records or not isinstance(records[0].event, Submitted):
        raise InvalidInput(
            f"records must begin with a saga's submission to be drawn; these {len(records)} do "
            "not; hand in the whole journal of one saga"
        )
    saga = begin(records[0].event, records[0].at)
    steps = tuple(StepWay(step) for step in saga.steps[:MAX_STEPS_SHOWN])
    passages: list[Passage] = []
    incidents: list[tuple[datetime, str]] = []
    for record in records[1:]:
        state = saga.state
        touched = list(_touched(steps, record.event))
        before = [way.step.state for way in touched]
        concerned = _concerned(saga, record.event)
        apply(saga, record.number, record.at, record.event)
        if saga.state is not state:
            arrow = _arrow(state.value, saga.state.value)
            passages.append(Passage(len(passages) + 1, arrow, record.at))
        for way, old in zip(touched, before, strict=True):
            if way.step.state is not old or way.step.position in concerned:
                way.moments.extend(_moments(way.step, old, record.at, record.event))
        incident = _incident(record.event)
        if incident is not None:
            incidents.append((record.at, incident))
    hidden = max(0, len(incidents) - MAX_INCIDENTS_SHOWN)
    shown = tuple(incidents[:MAX_INCIDENTS_SHOWN])
    return Way(saga, len(records), tuple(passages), steps, shown, hidden)


def _arrow(source: str, dest: str) -> Transition:
    return next(a for a in SAGA_TRANSITIONS if (a.source, a.dest) == (source, dest))


def _touched(steps: Sequence[StepWay], event: Event) -> Sequence[StepWay]:
    """Return the shown steps whose state an event can change."""
    position = getattr(event, "step", None)
    return steps if position is None else steps[position : position + 1]


def _concerned(saga: Saga, event: Event) -> frozenset[int]:
    """Return the steps that an event, not folded in yet, says something about."""
    if isinstance(event, Resumed):
        sending = (a.step for a in saga.live.values() if a.state is AttemptState.SENDING)
        return frozenset(sending)
    if isinstance(event, Retried):
        return frozenset(attempt.step for attempt in saga.lost.values())
    if isinstance(event, Abandoned):
        return frozenset(saga.to_undo)
    position = getattr(event, "step", None)
    return frozenset() if position is None else frozenset((position,))


def _moments(step: Step, old: StepState, at: datetime, event: Event) -> Iterator[Moment]:
    if step.state is not old:
        name = step.state.value
        if isinstance(event, Intended) and event.number > 1:
            name += f", try {event.number}"
        elif isinstance(event, SentAgain):
            name += " again"
        elif isinstance(event, LateTruth) or (old in _OVER and isinstance(event, Reported)):
            name += ", late truth"
        tone = _TONES.get(step.state, Tone.CALM)
        yield Moment(at, name, tone, step.state is StepState.UNKNOWN)
        return
    what = _beside_states(step, event)
    if what is not None:
        yield Moment(at, what[0], what[1], isinstance(event, AnswerLost | Resumed))


def _beside_states(step: Step, event: Event) -> tuple[str, Tone] | None:
    """Say what an event meant for a step whose state it did not change; None if nothing to show."""
    match event:
        case Abandoned():
            return None if step.state is StepState.STUCK else ("not undone", Tone.BAD)
        case Intended(number=number):
            return f"undo, try {number}", Tone.UNDO
        case SentAgain():
            return "undo sent again", Tone.UNDO
        case AnswerLost(purpose=Purpose.COMPENSATION) | Resumed():
            return "undo unknown", Tone.WARN
        case ProvenAbsent():
            return "undo never arrived", Tone.WARN
        case Withheld():
            return "undo withheld", Tone.WARN
        case GaveUp():
            return "given up", Tone.BAD
        case Retried():
            return "looked up again", Tone.CALM
        case LateTruth(fills=fills, reversed=taken_back):
            what = f"late: {plain(step.done)} done, {plain(step.undone)} undone"
            return what, Tone.WARN if fills or taken_back else Tone.CALM
        case Reported(purpose=Purpose.COMPENSATION, final=final, fills=fills):
            if fills:
                return f"undone {plain(step.undone)} of {plain(step.done)}", Tone.UNDO
            return ("undo refused", Tone.BAD) if final else ("undo accepted", Tone.CALM)
        case Reported(fills=fills) if fills:
            return f"filled {plain(step.done)}", Tone.CALM
        case _:
            return None


def _incident(event: Event) -> str | None:
    match event:
        case Resumed(program=program):
            return f"resumed by {program}"
        case Paused(by=by, reason=reason):
            return f"paused by {by}: {reason}"
        case Unpaused(by=by, reason=reason):
            return f"unpaused by {by}: {reason}"
        case CancelRequested(by=by, reason=reason):
            return f"cancel asked for by {by}: {reason}"
        case DeadlinePassed():
            return "the deadline passed"
        case Retried(by=by, reason=reason):
            return f"rollback tried again by {by}: {reason}"
        case Resolved(by=by, reason=reason, action=action, evidence=evidence):
            return f"resolved by {by}: {reason}; {action} ({evidence})"
        case LateTruth(step=step, by=by):
            return f"late truth about step {step + 1}, found by {by}"
        case IncidentClosed(by=by, reason=reason):
            return f"incidents closed by {by}: {reason}"
        case _:
            return None


def shown_moments(way: StepWay) -> tuple[list[Moment], int, list[Moment]]:
    """Return the moments to show: the first ones, how many are left out, and the last ones."""
    if len(way.moments) <= MAX_MOMENTS_SHOWN:
        return way.moments, 0, []
    first = MAX_MOMENTS_SHOWN - _LAST_MOMENTS_SHOWN
    hidden = len(way.moments) - MAX_MOMENTS_SHOWN
    return way.moments[:first], hidden, way.moments[-_LAST_MOMENTS_SHOWN:]


def filled(step: Step) -> str:
    """Return how much of a step took effect, and at what price, in words."""
    return _at_price([fill for attempt in step.forward for fill in attempt.fills])


def undone(step: Step) -> str:
    """Return how much of a step was undone, and at what price, in words."""
    return _at_price([fill for attempt in step.undo for fill in attempt.fills])


def _at_price(fills: Sequence[Fill]) -> str:
    if not fills:
        return NOTHING
    quantity = total(fill.quantity for fill in fills)
    prices = {fill.price for fill in fills}
    if len(prices) == 1:
        price = prices.pop()
        return f"{plain(quantity)} @ {plain(price)}" if price else plain(quantity)
    value = total(times(fill.quantity, fill.price) for fill in fills)
    # For the eye alone: an average price is seldom exact, and nothing is calculated from it.
    average = _PRICE_CONTEXT.divide(value, quantity).quantize(_PRICE_PLACES, context=_PRICE_CONTEXT)
    return f"{plain(quantity)} @ avg {plain(average)}"
