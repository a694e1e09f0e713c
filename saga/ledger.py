"""What is known of one saga: its steps, its attempts, and what each of them did.

A `Saga` is the fold of its journal. Only `fold.apply` writes to it; everybody else reads. All facts
that decisions need often (what is in flight, what failed, what is still to be undone) are kept as
small indexes beside the steps, so that neither folding an event nor deciding the next command
takes longer in a long batch.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from saga.directive import Directive
from saga.events import (
    Adjustment,
    CancelRequested,
    IncidentClosed,
    LateTruth,
    Resolved,
    Submitted,
)
from saga.exact import ZERO, minus, plus, times
from saga.ids import Purpose, attempt_key
from saga.machine import SAGA_ENDS, STEP_IN_FLIGHT, SagaLife, StepLife, StepState
from saga.model import Batch, ExecutionMode
from saga.outcome import Exposure, Fill, Outcome
from saga.participant import Attempt
from saga.policy import MAX_ATTEMPTS, Capabilities, OnFailure, RetryPolicy
from saga.quick_dataclass import dataclass

MAX_SENDS = 3
"""One key is handed over at most so often, each time after proof that it had not arrived."""
MAX_LOST_ANSWERS = 2
"""A key whose answer was lost so often, and that is never found, is not handed over again."""
MAX_ABSENCES = 3
"""A step whose attempts were proven absent so often is refused: it never gets through."""


class AttemptState(StrEnum):
    """What is known of one attempt."""

    SENDING = "SENDING"
    """Its intent is durable; the call may be under way."""
    WORKING = "WORKING"
    """The participant has it, and it is not over."""
    UNKNOWN = "UNKNOWN"
    """What became of it is being looked up."""
    OVER = "OVER"
    """Its final effect is known."""
    LOST = "LOST"
    """What became of it cannot be found out without an operator."""


UNPROVEN = frozenset(AttemptState) - {AttemptState.OVER}
"""More may have taken effect than is known."""


@dataclass(slots=True, eq=False)
class AttemptRecord:
    """What is known of one attempt.

    Attributes:
        directive: what is to be carried out, for exactly `amount`: the step's own, or its inverse.
        amount: how much was asked, in the directive's unit.
        done: how much of it took effect so far, and stands.
        fills: what took effect and stands.
        fill_ids: of every fill that was ever told of, reversed ones too; none is applied again.
        sends: how often it was handed over; more than once only after proof of absence.
        lost_answers: how often what became of a call was not known; a crash is not counted.
        acknowledged: the participant has told of it at least once.
        absent: proven never to have been accepted.
        tombstone: its key was withdrawn, and can never be accepted any more.
        not_found: how many look-ups in a row did not find it.
        silences: how many questions in a row got no usable answer.
        since: when it was intended, was found to be there, became unknown, or ended: the last of
            these.
        asked_at: when the last look-up was answered, or failed.
    """

    key: str
    step: int
    purpose: Purpose
    number: int
    directive: Directive
    amount: Decimal
    since: datetime
    state: AttemptState = AttemptState.SENDING
    done: Decimal = ZERO
    fills: list[Fill] = field(default_factory=list)
    fill_ids: set[str] = field(default_factory=set)
    sends: int = 1
    lost_answers: int = 0
    acknowledged: bool = False
    absent: bool = False
    tombstone: bool = False
    not_found: int = 0
    silences: int = 0
    asked_at: datetime | None = None
    reason: str | None = None
    reference: str | None = None

    @property
    def open_amount(self) -> Decimal:
        """How much of what was asked has not (yet) taken effect; never below zero."""
        return max(ZERO, minus(self.amount, self.done))


@dataclass(slots=True, eq=False)
class Incident:
    """Late truth about a saga at rest, and what became of it.

    Attributes:
        number: the journal record that told of it.
        at: when that was.
        truth: what was told.
        change: how much more (or less) of the step is in place than the saga's end says; zero for
            a STALE saga, whose residual says it.
        closed: how an operator closed it; None while it is open.
    """

    number: int
    at: datetime
    truth: LateTruth
    change: Decimal
    closed: IncidentClosed | None = None


def absences(attempts: Sequence[AttemptRecord]) -> int:
    """Return how many attempts in a row, the last one included, never arrived."""
    count = 0
    for attempt in reversed(attempts):
        if not attempt.absent:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Tally:
    """How many steps of a saga are how far.

    Attributes:
        processed: they have a final forward outcome.
        failed: of those, they did not take exactly their whole effect.
        undone: they have been undone.
    """

    processed: int = 0
    failed: int = 0
    undone: int = 0

    def moved(self, before: "Tally", after: "Tally") -> "Tally":
        """Return the tally once one step has gone from `before` to `after`."""
        return Tally(
            self.processed - before.processed + after.processed,
            self.failed - before.failed + after.failed,
            self.undone - before.undone + after.undone,
        )


_NOT_PROCESSED: Final = STEP_IN_FLIGHT | {StepState.PENDING}
_DEFAULT_RETRY: Final = RetryPolicy()
_UNPROCESSED: Final = Tally()
_PROCESSED: Final = {
    (failed, undone): Tally(1, int(failed), int(undone))
    for failed in (False, True)
    for undone in (False, True)
}
"""What one step adds once it is processed, by whether it failed and whether it was undone."""


@dataclass(slots=True, eq=False)
class Step(StepLife):
    """One directive inside a saga.

    Attributes:
        amount: how much is asked, as the directive says once and for all.
        subject: what the directive acts on.
        direction: which way it does.
        counted: what the step adds to its saga's tally as it stands there.
        done: how much took effect, over all forward attempts.
        undone: how much was undone, over all compensations.
        undo_cost: what undoing has cost so far: the difference in price, and the fees both ways.
        effects: the fills of all forward attempts that stand, in the order in which they became
            known.
        taken_back: those that the outside world has reversed since.
        late_done: how `done` has changed since the saga ended, by late truth.
        undo_base: how many compensations were made before the present round of tries.
        value: sum of price times quantity of what took effect.
        effect_number: the journal record that told of its last effect; 0 if none did.
    """

    position: int
    directive: Directive
    rolls_back: bool
    amount: Decimal = field(init=False)
    subject: str | None = field(init=False)
    direction: int = field(init=False)
    counted: Tally = _UNPROCESSED
    forward: list[AttemptRecord] = field(default_factory=list)
    undo: list[AttemptRecord] = field(default_factory=list)
    done: Decimal = ZERO
    undone: Decimal = ZERO
    value: Decimal = ZERO
    undo_cost: Decimal = ZERO
    undo_base: int = 0
    effect_number: int = 0
    last_price: Decimal | None = None
    reason: str | None = None
    effects: list[Fill] = field(default_factory=list)
    taken_back: list[Fill] = field(default_factory=list)
    late_done: Decimal = ZERO

    def __post_init__(self) -> None:
        directive = self.directive
        self.amount = directive.amount
        self.subject = directive.subject
        self.direction = directive.direction

    @property
    def retry(self) -> RetryPolicy:
        """How often it is tried."""
        return self.directive.retry or _DEFAULT_RETRY

    @property
    def exposed_as(self) -> str:
        """Whose exposure its effect is: of what is held more or less of by it, else its own."""
        return (self.subject if self.direction else None) or self.directive.directive_id

    @property
    def rest(self) -> Decimal:
        """How much of the directive has not taken effect; below zero if more did than was asked."""
        return minus(self.amount, self.done)

    @property
    def left_to_undo(self) -> Decimal:
        """How much took effect and is not undone; below zero if too much was undone."""
        return minus(self.done, self.undone)

    @property
    def is_whole(self) -> bool:
        """Exactly what was asked took effect."""
        return self.done == self.amount

    @property
    def done_in_time(self) -> Decimal:
        """How much took effect as far as was known when the saga ended; its outcome rests on it."""
        return minus(self.done, self.late_done)

    @property
    def was_whole(self) -> bool:
        """Exactly what was asked took effect, as far as was known when the saga ended."""
        return self.done_in_time == self.amount

    def tally(self) -> Tally:
        """Return what this one step adds to its saga's tally."""
        if self.state in _NOT_PROCESSED:
            return _UNPROCESSED
        return _PROCESSED[not self.was_whole, self.state is StepState.COMPENSATED]

    def attempts(self, purpose: Purpose) -> list[AttemptRecord]:
        """Return the attempts made for a purpose, oldest first."""
        return self.forward if purpose is Purpose.FORWARD else self.undo

    @property
    def every_attempt(self) -> tuple[AttemptRecord, ...]:
        """The attempts of both purposes: forward first, each oldest first."""
        return (*self.forward, *self.undo)

    def charged_attempts(self) -> int:
        """Return how many forward attempts count against the retry policy."""
        return sum(not attempt.absent for attempt in self.forward)

    @property
    def undo_round(self) -> list[AttemptRecord]:
        """The compensations of the present round of tries."""
        return self.undo[self.undo_base :]

    @property
    def undo_in_flight(self) -> bool:
        """One of its compensations is not over."""
        return any(attempt.state is not AttemptState.OVER for attempt in self.undo)

    @property
    def has_lost(self) -> bool:
        """The fate of one of its attempts cannot be found out."""
        return any(attempt.state is AttemptState.LOST for attempt in self.every_attempt)

    def undo_tries(self) -> int:
        """Return how many compensations of this round count against the retry policy."""
        return sum(not attempt.absent for attempt in self.undo_round)

    def directive_for(self, purpose: Purpose, amount: Decimal) -> Directive:
        """Return what the next attempt carries out: the directive, or the inverse of its effect."""
        if purpose is Purpose.FORWARD:
            return self.directive.for_amount(amount)
        return self.directive.inverse(Outcome(_slice(self._matched, self.undone, amount)))

    @property
    def _matched(self) -> list[Fill]:
        """The forward fills in the order in which undoing is matched against them.

        What was taken back stands last, and goes on standing there: an attempt that was to undo it
        may yet do so.
        """
        return [*self.effects, *self.taken_back]

    def take_effect(self, fill: Fill) -> None:
        """Add a fill of a forward attempt."""
        self.effects.append(fill)
        self.done = plus(self.done, fill.quantity)
        self.value = plus(self.value, times(fill.quantity, fill.price))
        self.last_price = fill.price

    def take_back(self, fill: Fill) -> None:
        """Add a fill of a compensation, matched against the forward fills, oldest first.

        Matching fill by fill keeps the cost exact: no average price, hence no division. A forward
        fill's fee is charged whole as soon as its first part is undone.
        """
        direction = Decimal(self.direction)
        cost = fill.fee
        for effect in _slice(self._matched, self.undone, fill.quantity):
            loss = times(direction, minus(effect.price, fill.price))
            cost = plus(cost, plus(times(effect.quantity, loss), effect.fee))
        self.undo_cost = plus(self.undo_cost, cost)
        self.undone = plus(self.undone, fill.quantity)
        self.last_price = fill.price

    def lose_effect(self, fill: Fill) -> None:
        """Take a forward fill out that the outside world has reversed."""
        self.effects.remove(fill)
        self.taken_back.append(fill)
        self.done = minus(self.done, fill.quantity)
        self.value = minus(self.value, times(fill.quantity, fill.price))

    def match_undo_again(self) -> None:
        """Work out anew how much was undone, and at what cost, from the fills that stand."""
        self.undone = self.undo_cost = ZERO
        last_price = self.last_price
        for attempt in self.undo:
            for fill in attempt.fills:
                self.take_back(fill)
        self.last_price = last_price

    def possible_rest(self) -> tuple[Decimal, Decimal]:
        """Return least and most of the effect that may be in place, in the directive's unit."""
        low = high = self.left_to_undo
        for attempt in self.forward:
            if attempt.state in UNPROVEN:
                high = plus(high, attempt.open_amount)
        for attempt in self.undo:
            if attempt.state in UNPROVEN:
                low = minus(low, attempt.open_amount)
        return low, high

    def possible_change(self) -> tuple[Decimal, Decimal]:
        """Return least and most that what is held may be changed by it, signed."""
        return _signed(self.direction, *self.possible_rest())


def _signed(direction: int, low: Decimal, high: Decimal) -> tuple[Decimal, Decimal]:
    """Return the ends of an effect as those of a change of what is held."""
    return (minus(ZERO, high), minus(ZERO, low)) if direction < 0 else (low, high)


def _slice(fills: list[Fill], skip: Decimal, length: Decimal) -> tuple[Fill, ...]:
    """Return the stretch of fills that begins behind `skip` units and is at most `length` long.

    A fill that is cut keeps its fee only in the part that holds its beginning.
    """
    stretch = []
    for fill in fills:
        if length <= 0:
            break
        if skip >= fill.quantity:
            skip = minus(skip, fill.quantity)
            continue
        taken = min(minus(fill.quantity, skip), length)
        if taken != fill.quantity:
            fill = replace(fill, quantity=taken, fee=ZERO if skip else fill.fee)
        stretch.append(fill)
        skip, length = ZERO, minus(length, taken)
    return tuple(stretch)


@dataclass(slots=True, eq=False)
class Saga(SagaLife):
    """The life of one batch, as far as its journal tells.

    Attributes:
        batch: what is to be done.
        batch_id: the batch's id, which is the saga's id.
        width: most directives in the air at once.
        number: how many records of the journal are folded in.
        undo_budget: the bound on the undo's cost; None is no bound.
        rested_number: the journal record that brought it to rest last; 0 if none did.
        next_unsent: position of the first step that was never sent.
        live: attempts in flight, by key.
        lost: attempts whose fate cannot be found out, by key.
        retrying: steps that wait for another forward attempt, and when it is due.
        failed: steps whose forward attempts are spent without the whole effect, where that counts
            as a failure.
        to_undo: steps with an effect that is not undone, in the order of their last effect.
        stuck: steps whose undo has failed for good.
        unconfirmed: attempts proven absent that are to be asked for once more before the end.
        undone_because: why what took effect began to be undone; None if it did not.
        undo_began: at least one compensation was intended.
        tally: how many steps are how far.
        residual_as_told: what was left when the saga became STALE; None where more is known now.
        incidents: late truth, in the order in which it was told.
        by_hand: what operators booked when they resolved it or closed incidents, and what of that
            was taken back because the fill that it names was told of.
    """

    submitted: Submitted
    submitted_at: datetime
    steps: tuple[Step, ...]
    undo_budget: Decimal | None
    batch: Batch = field(init=False)
    batch_id: str = field(init=False)
    width: int = field(init=False)
    number: int = 1
    updated_at: datetime = field(init=False)
    started_at: datetime | None = None
    rested_at: datetime | None = None
    rested_number: int = 0
    paused: bool = False
    deadline_passed: bool = False
    cancel: CancelRequested | None = None
    resolved: Resolved | None = None
    reason: str | None = None
    undone_because: str | None = None
    next_unsent: int = 0
    live: dict[str, AttemptRecord] = field(default_factory=dict)
    lost: dict[str, AttemptRecord] = field(default_factory=dict)
    retrying: dict[int, datetime] = field(default_factory=dict)
    failed: dict[int, Step] = field(default_factory=dict)
    to_undo: dict[int, None] = field(default_factory=dict)
    unconfirmed: dict[str, AttemptRecord] = field(default_factory=dict)
    stuck: dict[int, Step] = field(default_factory=dict)
    undo_began: bool = False
    undo_cost: Decimal = ZERO
    tally: Tally = Tally()
    residual_as_told: tuple[Exposure, ...] | None = ()
    incidents: list[Incident] = field(default_factory=list)
    by_hand: list[Adjustment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batch = self.submitted.batch
        self.batch_id = self.batch.batch_id
        self.width = self.batch.width
        self.updated_at = self.submitted_at

    @property
    def residual(self) -> tuple[Exposure, ...]:
        """What was left when the saga became STALE, as far as is known now; else empty."""
        if self.residual_as_told is None:  # not for each of many truths, but when it is asked for
            self.residual_as_told = self.exposures(unproven_only=not self.undoes)
        return self.residual_as_told

    @property
    def undoes(self) -> bool:
        """Tell whether what took effect is undone when the batch fails."""
        return self.submitted.policy.on_failure is not OnFailure.KEEP

    @property
    def completes_forward(self) -> bool:
        """Tell whether refused steps are sent again until the deadline."""
        return self.submitted.policy.on_failure is OnFailure.COMPLETE_FORWARD

    @property
    def is_atomic(self) -> bool:
        """Tell whether nothing short of the whole batch counts as done."""
        return self.batch.execution_mode is ExecutionMode.ATOMIC

    @property
    def open_incidents(self) -> list[Incident]:
        """Late truth that no operator has dealt with."""
        return [each for each in self.incidents if each.closed is None]

    def max_attempts(self, step: Step) -> int:
        """Return how many forward attempts the step may have."""
        if step.directive.retry is None and self.completes_forward:
            return MAX_ATTEMPTS
        return step.retry.attempts

    def capabilities(self, attempt: AttemptRecord) -> Capabilities:
        """Return what the participant of an attempt can do; of an inverse it may be another one."""
        known = self.submitted.capabilities
        capabilities = known.get(attempt.directive.kind)
        return capabilities or known[self.steps[attempt.step].directive.kind]

    def key(self, step: int, purpose: Purpose, number: int) -> str:
        """Return the key of an attempt."""
        return attempt_key(self.batch_id, step, purpose, number)

    def attempt(self, record: AttemptRecord) -> Attempt:
        """Return what is handed to the participant for an attempt that is in flight."""
        return Attempt(
            record.key, self.batch_id, record.step, record.purpose, record.number, record.directive
        )

    def exposures(self, *, unproven_only: bool = False) -> tuple[Exposure, ...]:
        """Return what is or may be left of the steps that were to be undone, by subject.

        Args:
            unproven_only: count only steps whose fate is not known; for a saga that keeps what
                it did, where a known effect is no exposure but what was wanted.
        """
        low: dict[str, Decimal] = {}
        high: dict[str, Decimal] = {}
        price: dict[str, Decimal | None] = {}
        unproven: dict[str, list[str]] = {}
        for step in self.steps:
            keys = [a.key for a in step.every_attempt if a.state in UNPROVEN]
            if not keys and (unproven_only or not step.rolls_back):
                continue
            least, most = step.possible_change()
            if least == most == 0:
                continue
            subject = step.exposed_as
            low[subject] = plus(low.get(subject, ZERO), least)
            high[subject] = plus(high.get(subject, ZERO), most)
            price[subject] = step.last_price if step.last_price is not None else price.get(subject)
            unproven.setdefault(subject, []).extend(keys)
        return tuple(
            Exposure(subject, low[subject], high[subject], price[subject], tuple(unproven[subject]))
            for subject in low
        )

    def late_exposures(self) -> tuple[Exposure, ...]:
        """Return what is or may be held otherwise than the end of the saga says, by subject.

        Empty for a saga that has not ended: the residual of a STALE one says all. What an operator
        has dealt with by closing its incident does not count any more.
        """
        if self.state not in SAGA_ENDS:
            return ()
        found: dict[str, Exposure] = {}
        changes: dict[int, Decimal] = {}
        for each in self.open_incidents:
            changes[each.truth.step] = plus(changes.get(each.truth.step, ZERO), each.change)
        for step in self.steps:
            least = most = changes.get(step.position, ZERO)
            lost = [a for a in step.every_attempt if a.state in UNPROVEN]
            for attempt in lost:
                if attempt.purpose is Purpose.FORWARD:
                    most = plus(most, attempt.open_amount)
                else:
                    least = minus(least, attempt.open_amount)
            if least == most == 0:
                continue
            least, most = _signed(step.direction, least, most)
            subject = step.exposed_as
            before = found.get(subject, Exposure(subject, ZERO, ZERO))
            found[subject] = Exposure(
                subject,
                plus(before.low, least),
                plus(before.high, most),
                step.last_price if step.last_price is not None else before.price,
                before.unproven + tuple(a.key for a in lost),
            )
        return tuple(found.values())
