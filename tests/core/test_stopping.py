"""A cancel or a deadline: what is open is withdrawn, its end awaited, and the mode decides."""

from datetime import timedelta

import pytest

from saga.core import Question
from saga.events import CancelRequested, DeadlinePassed, Started
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.policy import Capabilities
from saga.views import SagaOutcome, saga_outcome
from tests.core.telling import NOON, UNDO, Telling, batch_of, started, submitted

SEQUENTIAL, PARALLEL, ATOMIC = ExecutionMode
CANCEL = CancelRequested("ann", "mind changed")


@pytest.mark.requirement("D4", "B3", "B9")
def test_a_cancel_before_admission_withdraws_the_batch() -> None:
    telling = Telling(submitted(batch_of(1))).tell(CANCEL)
    telling.go_on()

    assert telling.state() is SagaState.ROLLED_BACK
    assert saga_outcome(telling.saga) is SagaOutcome.CANCELLED
    assert telling.saga.reason == "cancelled by ann: mind changed"


@pytest.mark.requirement("E6", "B3")
def test_a_deadline_before_admission_withdraws_the_batch_as_failed() -> None:
    telling = Telling(submitted(batch_of(1, timeout_seconds=30)))
    assert telling.decide().wake_at == NOON + timedelta(seconds=30)

    telling.later(30).go_on()

    assert telling.state() is SagaState.ROLLED_BACK
    assert saga_outcome(telling.saga) is SagaOutcome.FAILED
    assert telling.saga.reason == "the deadline 2026-11-20 12:00:30 UTC passed"


@pytest.mark.requirement("B9", "O7")
def test_a_cancel_while_a_call_is_under_way_waits_for_its_answer_and_undoes_it() -> None:
    telling = started(batch_of(5)).tell(CANCEL)
    last = telling.go_on()
    assert telling.state() is SagaState.COMPENSATING
    assert (last.events, last.asks) == ((), ())

    telling.filled(5)

    assert telling.attempt(0, UNDO).amount == 5
    telling.filled(5, 0, UNDO)
    assert telling.state() is SagaState.ROLLED_BACK
    assert saga_outcome(telling.saga) is SagaOutcome.CANCELLED


@pytest.mark.requirement("B9")
def test_a_cancel_withdraws_what_is_open_and_undoes_what_was_filled_of_it() -> None:
    telling = started(batch_of(5)).report(final=False).tell(CANCEL)
    telling.go_on()
    assert telling.ask().question is Question.WITHDRAW

    telling.filled(2)

    assert telling.attempt(0, UNDO).amount == 2


@pytest.mark.requirement("B9")
def test_a_stopped_batch_that_keeps_withdraws_what_is_open_as_well() -> None:
    telling = started(batch_of(5, mode=PARALLEL)).report(final=False)
    assert telling.ask().question is Question.LOOK_UP

    telling.tell(CANCEL)
    assert telling.ask().question is Question.WITHDRAW

    telling.filled(2)
    assert telling.state() is SagaState.COMPLETED
    assert telling.step().left_to_undo == 2


def test_what_cannot_be_withdrawn_is_waited_for() -> None:
    telling = started(batch_of(5), capabilities=Capabilities(cancel=False))
    telling.report(final=False).tell(CANCEL)
    telling.go_on()

    assert telling.ask().question is Question.LOOK_UP


@pytest.mark.requirement("B3", "E3")
def test_a_cancelled_batch_that_keeps_says_what_it_kept() -> None:
    telling = started(batch_of(1, 1, 1, mode=SEQUENTIAL)).filled(1).tell(CANCEL)
    telling.refused(1)
    assert telling.state() is SagaState.COMPLETED
    assert saga_outcome(telling.saga) is SagaOutcome.PARTIAL_SUCCESS

    telling = started(batch_of(1, 1, mode=SEQUENTIAL)).tell(CANCEL).refused(0)
    assert saga_outcome(telling.saga) is SagaOutcome.CANCELLED

    telling = started(batch_of(1, 1, mode=SEQUENTIAL)).refused(0)
    assert saga_outcome(telling.saga) is SagaOutcome.FAILED


@pytest.mark.requirement("B3")
def test_a_cancel_that_comes_too_late_for_a_batch_that_keeps_is_a_success() -> None:
    telling = started(batch_of(1, mode=SEQUENTIAL)).tell(CANCEL).filled(1)

    assert telling.state() is SagaState.COMPLETED
    assert saga_outcome(telling.saga) is SagaOutcome.SUCCESS


@pytest.mark.requirement("E6")
def test_the_deadline_stops_a_running_batch_and_is_a_fact_in_its_journal() -> None:
    telling = started(batch_of(1, 1, timeout_seconds=30)).filled(1, 0).report(1, final=False)

    telling.later(29.999)
    assert telling.decide().events == ()
    telling.later(0.001).go_on()

    assert [e for _, _, e in telling.journal if isinstance(e, DeadlinePassed)]
    assert telling.state() is SagaState.COMPENSATING
    assert telling.ask().question is Question.WITHDRAW
    telling.refused(1).filled(1, 0, UNDO)
    assert saga_outcome(telling.saga) is SagaOutcome.FAILED


@pytest.mark.requirement("E6")
def test_the_deadline_does_not_stop_an_undo() -> None:
    telling = started(batch_of(1, 1, timeout_seconds=30)).filled(1, 0).refused(1).later(60)

    assert telling.decide().events == ()
    telling.filled(1, 0, UNDO)
    assert telling.state() is SagaState.ROLLED_BACK


def test_the_deadline_wakes_the_saga_before_a_later_retry() -> None:
    batch = batch_of(1, timeout_seconds=0.5, mode=PARALLEL)
    telling = Telling(submitted(batch)).tell(Started())
    telling.go_on()

    assert telling.decide().wake_at == NOON + timedelta(seconds=0.5)


def test_a_stop_forgets_the_tries_that_were_still_to_come() -> None:
    telling = started(batch_of(1, 1), on_failure=None).filled(1, 0)
    telling.report(1, reason="no margin")

    assert telling.saga.retrying == {}
    assert telling.state() is SagaState.COMPENSATING
