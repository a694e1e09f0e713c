"""An attempt that the gate did not let pass: over, without effect, and never sent."""

from datetime import timedelta

import pytest

from saga.errors import NotAllowed
from saga.events import AnswerLost, NotFound, SentAgain, Withheld
from saga.ids import Purpose
from saga.ledger import AttemptState
from saga.machine import SagaState, StepState
from tests.core.telling import FORWARD, UNDO, batch_of, dump, fill, started


def withheld(step: int, purpose: Purpose = FORWARD, number: int = 1) -> Withheld:
    return Withheld(step, purpose, number, "max_order_quantity", "too much; ask ann")


@pytest.mark.requirement("S13")
def test_a_leg_that_is_withheld_fails_the_batch_and_is_not_looked_for() -> None:
    telling = started(batch_of(5, 5)).filled(5, 0)
    telling.tell(withheld(1)).go_on()
    attempt = telling.attempt(1)
    assert (attempt.state, attempt.absent, attempt.acknowledged) == (
        AttemptState.OVER,
        False,
        False,
    )
    assert telling.step(1).state is StepState.REFUSED
    assert telling.saga.unconfirmed == {}
    telling.filled(5, 0, UNDO)
    assert telling.state() is SagaState.ROLLED_BACK


@pytest.mark.requirement("S13", "S5")
def test_an_undo_that_is_withheld_is_tried_again() -> None:
    telling = started(batch_of(5, 5)).report(0, fills=[fill("a", 5)]).refused(1)
    telling.tell(withheld(0, UNDO)).later(600)
    telling.go_on()
    assert telling.attempt(0, UNDO).number == 2


@pytest.mark.requirement("S4")
def test_what_was_handed_over_once_and_is_then_withheld_may_still_arrive_late() -> None:
    telling = started(batch_of(5))
    telling.tell(AnswerLost(0, FORWARD, 1, "timeout"))
    for _ in range(3):
        telling.now += timedelta(seconds=10)
        telling.tell(NotFound(0, FORWARD, 1))
    telling.tell(SentAgain(0, FORWARD, 1), withheld(0))
    assert telling.attempt(0).absent
    assert list(telling.saga.unconfirmed) == [telling.attempt(0).key]


def test_what_the_participant_has_cannot_be_withheld() -> None:
    telling = started(batch_of(5)).report(0, final=False)
    before = dump(telling.saga)
    with pytest.raises(NotAllowed, match="was not withheld"):
        telling.tell(withheld(0))
    assert dump(telling.saga) == before
