"""Each judge of a saga's own record is shown a record that breaks its rule, and sees it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from desk.saga_rules import broken_rules
from saga.events import LateTruth, NotFound, ProvenAbsent, Resumed
from saga.ledger import AttemptState, Saga
from saga.model import ExecutionMode
from saga.policy import RetryPolicy
from tests.core.telling import FORWARD, UNDO, Telling, batch_of, fill, started

MANY = Decimal(99)


def completed() -> Saga:
    return started(batch_of(5, 5)).filled(5, 0).filled(5, 1).saga


def best_effort() -> Saga:
    told = started(batch_of(5, 5, mode=ExecutionMode.PARALLEL)).filled(5, 0).refused(1)
    return told.saga


def rolled_back() -> Saga:
    return started(batch_of(5, 5)).filled(5, 0).refused(1).filled(5, 0, UNDO).saga


def stale() -> Saga:
    telling: Telling = started(batch_of(5, 5)).filled(5, 0).refused(1)
    for _ in range(3):
        telling.refused(0, UNDO).later(100).go_on()
    return telling.saga


def retried() -> Saga:
    """It sent its leg again after a refusal, and that one is still open."""
    retry = RetryPolicy(attempts=2, backoff_seconds=0.0)
    telling = started(batch_of(5, mode=ExecutionMode.PARALLEL, retry=retry)).refused(0)
    telling.later(1).go_on()
    assert len(telling.step().forward) == 2
    return telling.saga


def too_much(saga: Saga) -> None:
    saga.steps[0].done = MANY


def undone_too_much(saga: Saga) -> None:
    saga.steps[0].undone = MANY


def again_while_open(saga: Saga) -> None:
    saga.steps[0].forward[0].state = AttemptState.UNKNOWN


def applied_twice(saga: Saga) -> None:
    attempt = saga.steps[0].forward[0]
    attempt.fills.append(attempt.fills[0])


def still_open(saga: Saga) -> None:
    attempt = saga.steps[0].forward[0]
    attempt.state = AttemptState.WORKING
    saga.live[attempt.key] = attempt


def not_whole(saga: Saga) -> None:
    saga.steps[0].done = Decimal(4)


def no_reason(saga: Saga) -> None:
    saga.steps[1].reason = None


def left_over(saga: Saga) -> None:
    saga.steps[0].undone = Decimal(4)


def another_residual(saga: Saga) -> None:
    (left,) = saga.residual
    saga.residual_as_told = (replace(left, high=MANY),)


def no_residual(saga: Saga) -> None:
    saga.residual_as_told = ()


@pytest.mark.requirement("S4", "S5", "S6", "S7", "S9")
@pytest.mark.parametrize(
    ("make", "spoil", "rule", "words"),
    [
        (completed, too_much, "S4", "99 took effect or may yet, of 5 asked"),
        (rolled_back, undone_too_much, "S5", "99 was undone or may yet be, of 5 done"),
        (retried, again_while_open, "S4", "tried again while"),
        (completed, applied_twice, "S9", "was applied 2 times"),
        (completed, still_open, "S6", "it is COMPLETED, but"),
        (completed, not_whole, "S6", "it is ATOMIC and COMPLETED, but 4 of step 1"),
        (best_effort, no_reason, "S7", "no reason is kept"),
        (rolled_back, left_over, "S6", "it is ROLLED_BACK, but 1 of step 1"),
        (stale, another_residual, "S6", "it says 5 to 99 AAA is left, its journal says 5 to 5"),
        (stale, no_residual, "S6", "its journal says AAA is left, which its residual does not"),
    ],
)
def test_a_record_that_breaks_a_rule_is_judged(
    make: Callable[[], Saga], spoil: Callable[[Saga], None], rule: str, words: str
) -> None:
    saga = make()
    assert list(broken_rules(saga)) == []

    spoil(saga)

    assert any(r == rule and words in sentence for r, sentence in broken_rules(saga)), list(
        broken_rules(saga)
    )


@pytest.mark.requirement("S6", "S8")
def test_late_truth_is_an_incident_and_breaks_no_rule_of_the_end() -> None:
    saga_telling = started(batch_of(5, 5)).filled(5, 0).refused(1).filled(5, 0, UNDO)
    late = LateTruth(1, FORWARD, 1, final=True, by="a watcher", fills=(fill("late/1", 5),))

    saga_telling.tell(late)

    assert saga_telling.saga.open_incidents
    assert list(broken_rules(saga_telling.saga)) == []


@pytest.mark.requirement("S4", "S6")
def test_an_order_found_open_behind_the_end_breaks_no_rule_of_the_end() -> None:
    telling = started(batch_of(5, 5)).filled(5, 0).refused(1).filled(5, 0, UNDO)

    telling.tell(LateTruth(1, FORWARD, 1, final=False, by="a watcher"))

    assert telling.saga.lost
    assert list(broken_rules(telling.saga)) == []


@pytest.mark.requirement("S4")
def test_an_order_that_was_absent_when_it_was_tried_again_was_over_then() -> None:
    telling = started(batch_of(5, mode=ExecutionMode.PARALLEL)).tell(Resumed("a new process"))
    telling.later(60).tell(*[NotFound(0, FORWARD, 1)] * 3, ProvenAbsent(0, FORWARD, 1))
    telling.go_on()
    telling.filled(5).tell(NotFound(0, FORWARD, 1))
    telling.go_on()

    telling.tell(LateTruth(0, FORWARD, 1, final=False, by="a watcher"))

    assert [sentence for _, sentence in broken_rules(telling.saga)] == [
        "step 1 (core_test_take AAA): 10 took effect or may yet, of 5 asked"
    ], "that much is so"
