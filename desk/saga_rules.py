"""The invariants that one saga's own record must keep, as far as they can be seen at rest.

Pure: from the fold of a journal to sentences. The names (S4 ...) are those of the requirements.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from saga.exact import ZERO, plain, plus, total
from saga.ledger import UNPROVEN, AttemptRecord, AttemptState, Saga, Step
from saga.machine import SAGA_ENDS, SagaState

Finding = tuple[str, str]
"""The rule, and a sentence."""


def broken_rules(saga: Saga) -> Iterator[Finding]:
    """Yield every rule that a saga's record breaks."""
    for step in saga.steps:
        yield from _bounds(step)
    yield from _fills_once(saga)
    if saga.state in SAGA_ENDS:
        yield from _nothing_open(saga)
    # Late truth changes what a saga did behind its end: an incident, and told as such.
    if saga.state is SagaState.COMPLETED and not saga.incidents:
        yield from _completed(saga)
    elif saga.state is SagaState.ROLLED_BACK and saga.resolved is None and not saga.incidents:
        yield from _rolled_back(saga)
    elif saga.state is SagaState.STALE:
        yield from _stale(saga)


def _name(step: Step) -> str:
    return f"step {step.position + 1} ({step.directive.describe()})"


def _bounds(step: Step) -> Iterator[Finding]:
    """S4 and S5: never more sent than asked, never more undone than done."""
    sent = plus(step.done, total(_may_come(each) for each in step.forward))
    if sent > step.directive.amount:
        yield (
            "S4",
            f"{_name(step)}: {plain(sent)} took effect or may yet, of "
            f"{plain(step.directive.amount)} asked",
        )
    undone = plus(step.undone, total(_may_come(each) for each in step.undo))
    if undone > step.done:
        yield (
            "S5",
            f"{_name(step)}: {plain(undone)} was undone or may yet be, of {plain(step.done)} done",
        )
    for attempts in (step.forward, step.undo):
        for earlier in attempts[:-1]:
            # One that was given up was called absent before: that it is there came to light later.
            if earlier.state in UNPROVEN and earlier.state is not AttemptState.LOST:
                yield "S4", f"{_name(step)}: tried again while {earlier.key} was not over"


def _may_come(attempt: AttemptRecord) -> Decimal:
    return attempt.open_amount if attempt.state in UNPROVEN else ZERO


def _fills_once(saga: Saga) -> Iterator[Finding]:
    """S9: one execution is applied once."""
    ids = Counter(
        (attempt.key, fill.fill_id)
        for step in saga.steps
        for attempt in step.every_attempt
        for fill in attempt.fills
    )
    for (key, fill_id), count in ids.items():
        if count > 1:
            yield "S9", f"fill {fill_id} of {key} was applied {count} times"


def _nothing_open(saga: Saga) -> Iterator[Finding]:
    """S6: a saga that is over has nothing in flight, unless a person closed it."""
    if saga.resolved is not None:
        return
    late = {
        saga.key(each.truth.step, each.truth.purpose, each.truth.number) for each in saga.incidents
    }
    for attempt in (*saga.live.values(), *saga.lost.values()):
        if attempt.key not in late:
            yield "S6", f"it is {saga.state}, but {attempt.key} is {attempt.state}"


def _completed(saga: Saga) -> Iterator[Finding]:
    for step in saga.steps:
        if step.is_whole:
            continue
        if saga.is_atomic:
            yield (
                "S6",
                f"it is ATOMIC and COMPLETED, but {plain(step.done)} of {_name(step)} was done",
            )
        elif step.forward and not step.reason:
            yield "S7", f"{_name(step)} was not done whole, and no reason is kept"


def _rolled_back(saga: Saga) -> Iterator[Finding]:
    for step in saga.steps:
        if step.rolls_back and step.left_to_undo:
            yield (
                "S6",
                f"it is ROLLED_BACK, but {plain(step.left_to_undo)} of {_name(step)} is left",
            )


def _stale(saga: Saga) -> Iterator[Finding]:
    """S6: what it says is left is what its own record says is left."""
    unproven_only = not saga.undoes
    expected = {each.subject: each for each in saga.exposures(unproven_only=unproven_only)}
    for each in saga.residual:
        now = expected.pop(each.subject, None)
        if now is not None and (now.low, now.high) != (each.low, each.high):
            yield (
                "S6",
                f"it says {plain(each.low)} to {plain(each.high)} {each.subject} is left, its "
                f"journal says {plain(now.low)} to {plain(now.high)}",
            )
    for subject in expected:
        yield "S6", f"its journal says {subject} is left, which its residual does not name"
