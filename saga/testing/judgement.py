"""Judges what became of a cell by the venue's own books, and by nothing that the adapter says."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from saga.exact import ZERO, minus, plain, plus, times
from saga.ledger import AttemptRecord, Saga
from saga.machine import SAGA_AT_REST, SagaState
from saga.testing.chronicle import Breach
from saga.testing.drill import Course
from saga.testing.harness import VenueOrder, net

_ONCE: Final = "an order reaches the venue once, whatever becomes of the answers"
_OWNED: Final = "every order at the venue belongs to a saga, by the key that the engine gave it"
_CLOSED: Final = "a saga that is over leaves nothing open at the venue"
_TRUE: Final = "a saga that is over nets to its target or to zero, or says exactly what it left"
_RESTS: Final = "a saga comes to rest once the venue answers"
_EXPECTED: Final = "after one mishap the venue can be asked what became of an order"

_RESENDS: Final = (
    "The adapter (or its HTTP library) sends an order again by itself after a timeout, often with "
    "a new id. It must not: let `send` raise, and the engine looks the attempt up by its key."
)
_NEW_ID: Final = (
    "The adapter makes ids of its own, cuts the key, or retries under a new one. Hand "
    "`attempt.key` to the venue unchanged, once for each call of `send`."
)
_REFUSAL_UNPROVEN: Final = (
    "The adapter returns a final report without fills where the venue has not said no: a timeout, "
    "a lost connection, a 5xx. Only a reply that proves the refusal may be told as one; anything "
    "else must be raised."
)
_WITHDRAWS_NOTHING: Final = (
    "`withdraw` cancels by an id that was lost with the last process, or `look_up` calls an order "
    "final while its cancel is only on the way. Cancel by the key, and tell what the venue says."
)
_SILENT: Final = (
    "`look_up` raises, waits for ever, or answers from the memory of a process that is dead. Ask "
    "the venue directly, by the key, on any connection."
)


def judge(course: Course) -> list[Breach]:
    """Return every promise that broke in a cell, the gravest first."""
    saga = course.saga
    if saga is None:
        return [_no_saga(course)]
    breaches = [*_sent_twice(course), *_orphans(course, saga)]
    if saga.state not in SAGA_AT_REST:
        why = course.unrest or f"it is {saga.state}"
        return [*breaches, Breach(_RESTS, f"the saga {saga.batch_id} hangs: {why}", _SILENT)]
    breaches += [*_left_open(course, saga), *_untrue(course, saga)]
    if saga.state is not course.cell.plot.ends_as:
        breaches += _unexpected(course, saga)
    return breaches


def _no_saga(course: Course) -> Breach:
    what = course.unrest or "the engine has no record of the batch"
    return Breach(_RESTS, what, _SILENT)


def _attempts(saga: Saga) -> Iterator[tuple[int, AttemptRecord]]:
    for step in saga.steps:
        for attempt in step.every_attempt:
            yield step.position, attempt


def _sent_twice(course: Course) -> Iterator[Breach]:
    times_accepted = Counter(order.key for order in course.books if order.key is not None)
    for key, count in times_accepted.items():
        if count > 1:
            ids = frozenset(order.order_id for order in course.books if order.key == key)
            what = f"the venue accepted {count} orders with the one key {key}"
            yield Breach(_ONCE, what, _RESENDS, ids)


def _orphans(course: Course, saga: Saga) -> Iterator[Breach]:
    keys = {attempt.key for _, attempt in _attempts(saga)}
    for order in course.books:
        if order.key not in keys:
            state = "is open" if order.is_open else f"filled {plain(order.filled)}"
            what = (
                f"order {order.order_id} with the key {order.key or '(none)'} {state}, and no saga "
                "owns it: nobody intended it, nobody will ask for it, and nobody will undo it"
            )
            yield Breach(_OWNED, what, _NEW_ID, frozenset({order.order_id}))


def _left_open(course: Course, saga: Saga) -> Iterator[Breach]:
    if saga.state is SagaState.STALE:
        return
    for order in course.books:
        if order.is_open:
            what = (
                f"the saga is {saga.state}, and order {order.order_id} ({order.key}) still has "
                f"{plain(order.open_quantity)} {order.subject} open"
            )
            yield Breach(_CLOSED, what, _WITHDRAWS_NOTHING, frozenset({order.order_id}))


def _untrue(course: Course, saga: Saga) -> Iterator[Breach]:
    step_of = {attempt.key: step for step, attempt in _attempts(saga)}
    by_step: dict[int, list[VenueOrder]] = defaultdict(list)
    for order in course.books:
        if order.key in step_of:
            by_step[step_of[order.key]].append(order)
    if saga.state is SagaState.STALE:
        yield from _stale_untrue(saga, by_step)
        return
    for step in saga.steps:
        orders = by_step[step.position]
        held, ids = net(orders), frozenset(order.order_id for order in orders)
        direction = Decimal(step.directive.direction)
        if saga.state is SagaState.COMPLETED:
            wanted = times(direction, step.directive.amount)
        else:
            wanted = ZERO
        if held != wanted:
            what = (
                f"the saga is {saga.state}, which says that step {step.position} "
                f"({step.directive.describe()}) holds {plain(wanted)}; in the venue's books it "
                f"holds {plain(held)}"
            )
            yield Breach(_TRUE, what, _REFUSAL_UNPROVEN, ids)


def _stale_untrue(saga: Saga, by_step: dict[int, list[VenueOrder]]) -> Iterator[Breach]:
    held: dict[str, Decimal] = {}
    ids: dict[str, set[str]] = defaultdict(set)
    for step in saga.steps:
        subject = step.exposed_as
        held[subject] = plus(held.get(subject, ZERO), net(by_step[step.position]))
        ids[subject] |= {order.order_id for order in by_step[step.position]}
    told = {left.subject: left for left in saga.residual}
    for subject, really in held.items():
        left = told.get(subject)
        low, high = (ZERO, ZERO) if left is None else (left.low, left.high)
        if not low <= really <= high:
            what = (
                f"the saga is STALE and says that between {plain(low)} and {plain(high)} {subject} "
                f"may be left; in the venue's books {plain(really)} is left, "
                f"{plain(max(minus(low, really), minus(really, high)))} outside of that"
            )
            yield Breach(_TRUE, what, _REFUSAL_UNPROVEN, frozenset(ids[subject]))


def _unexpected(course: Course, saga: Saga) -> Iterator[Breach]:
    """A true end, but not the one that a venue that can be asked allows."""
    look_up = all(each.look_up for each in saga.submitted.capabilities.values())
    if saga.state is SagaState.STALE and not look_up:
        return  # it cannot be asked, and says so
    if saga.state is not SagaState.STALE and course.cell.disturbance is not None:
        return  # a mishap may end a batch by its rollback, as long as that is true
    what = (
        f"the saga ends as {saga.state} where {course.cell.plot.ends_as} was to come: "
        f"{saga.reason or 'no reason is given'}"
    )
    yield Breach(_EXPECTED, what, _SILENT)
