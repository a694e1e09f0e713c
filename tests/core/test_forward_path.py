"""What is sent forward, in which order and how often, and when a batch is over."""

from datetime import timedelta
from decimal import Decimal

import pytest

from saga.core import MAX_INTENTS_AT_ONCE
from saga.events import (
    CompensationStarted,
    Completed,
    Intended,
    Paused,
    Resumed,
    Started,
    Unpaused,
)
from saga.machine import SagaState, StepState
from saga.model import ExecutionMode
from saga.policy import OnFailure, RetryPolicy
from saga.views import SagaOutcome, saga_outcome
from tests.core.telling import FORWARD, NOON, Telling, batch_of, fill, started, submitted

SEQUENTIAL, PARALLEL, ATOMIC = ExecutionMode


def in_the_air(telling: Telling) -> list[int]:
    return [attempt.step for attempt in telling.saga.live.values()]


def test_nothing_is_sent_before_admission() -> None:
    telling = Telling(submitted(batch_of(1)))

    assert telling.decide().events == ()
    assert telling.decide().wake_at is None


@pytest.mark.requirement("E3", "D4")
def test_sequential_sends_one_by_one_in_list_order() -> None:
    telling = started(batch_of(1, 1, 1, mode=SEQUENTIAL))

    sent = []
    while telling.state() is SagaState.RUNNING:
        (position,) = in_the_air(telling)
        sent.append(position)
        telling.filled(1, position)

    assert sent == [0, 1, 2]
    assert telling.state() is SagaState.COMPLETED
    assert saga_outcome(telling.saga) is SagaOutcome.SUCCESS


@pytest.mark.requirement("E3", "E5")
def test_sequential_stops_on_the_first_failure_and_keeps_what_was_done() -> None:
    telling = started(batch_of(1, 1, 1, mode=SEQUENTIAL)).filled(1, 0).refused(1)

    assert telling.state() is SagaState.COMPLETED
    assert saga_outcome(telling.saga) is SagaOutcome.PARTIAL_SUCCESS
    assert telling.step(2).state is StepState.PENDING
    assert telling.step(0).left_to_undo == 1


@pytest.mark.requirement("E3", "E5")
def test_sequential_with_rollback_undoes_what_was_done() -> None:
    batch = batch_of(1, 1, mode=SEQUENTIAL, rollback_on_failure=True)
    telling = started(batch).filled(1, 0).refused(1)

    assert telling.state() is SagaState.COMPENSATING
    assert [a.key for a in telling.saga.live.values()] == [telling.step(0).undo[0].key]


@pytest.mark.requirement("E3")
def test_parallel_sends_all_at_once_and_goes_on_after_a_failure() -> None:
    telling = started(batch_of(1, 1, 1, mode=PARALLEL))
    assert in_the_air(telling) == [0, 1, 2]

    telling.refused(1)
    assert in_the_air(telling) == [0, 2]
    assert telling.decide().asks == ()

    telling.filled(1, 2).filled(1, 0)
    assert telling.state() is SagaState.COMPLETED
    assert saga_outcome(telling.saga) is SagaOutcome.PARTIAL_SUCCESS


@pytest.mark.requirement("E3", "E5")
def test_parallel_with_rollback_waits_for_the_others_before_it_undoes() -> None:
    batch = batch_of(1, 1, 1, mode=PARALLEL, rollback_on_failure=True)
    telling = started(batch).refused(1).filled(1, 0)
    assert telling.state() is SagaState.RUNNING

    telling.filled(1, 2)

    assert telling.state() is SagaState.COMPENSATING
    assert in_the_air(telling) == [2]


@pytest.mark.requirement("E3")
def test_a_width_bounds_what_is_in_the_air() -> None:
    telling = started(batch_of(1, 1, 1, 1, mode=PARALLEL, max_parallel=2))
    assert in_the_air(telling) == [0, 1]

    telling.filled(1, 1)
    assert in_the_air(telling) == [0, 2]

    telling.refused(0)
    assert in_the_air(telling) == [2, 3]


@pytest.mark.requirement("E3")
def test_atomic_is_one_by_one_unless_it_is_given_a_width() -> None:
    assert in_the_air(started(batch_of(1, 1, 1))) == [0]
    assert in_the_air(started(batch_of(1, 1, 1, max_parallel=2))) == [0, 1]


def test_a_long_parallel_batch_is_intended_in_bounded_pieces() -> None:
    telling = Telling(submitted(batch_of(*[1] * (MAX_INTENTS_AT_ONCE + 3), mode=PARALLEL)))
    telling.tell(Started())

    first = telling.decide().events
    telling.tell(*first)

    assert len(first) == MAX_INTENTS_AT_ONCE
    assert len(telling.decide().events) == 3


def test_retries_of_a_long_batch_are_intended_in_bounded_pieces_too() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=5)
    count = MAX_INTENTS_AT_ONCE + 3
    telling = started(batch_of(*[1] * count, mode=PARALLEL, retry=retry))
    for position in range(count):
        telling.refused(position)

    first = telling.later(5).decide().events
    telling.tell(*first)

    assert len(first) == MAX_INTENTS_AT_ONCE
    assert len(telling.decide().events) == 3


@pytest.mark.requirement("S4")
def test_an_attempt_asks_for_exactly_what_is_left() -> None:
    retry = RetryPolicy(attempts=3, backoff_seconds=0)
    telling = started(batch_of(5, retry=retry, mode=SEQUENTIAL)).filled(2)

    assert telling.attempt().number == 2
    assert telling.attempt().amount == 3
    assert telling.saga.attempt(telling.attempt()).directive.amount == 3


@pytest.mark.requirement("E3")
def test_a_final_partial_fill_is_a_failure_in_an_atomic_batch() -> None:
    telling = started(batch_of(5)).filled(2)

    assert telling.state() is SagaState.COMPENSATING
    assert telling.attempt(0).done == 2
    assert [a.amount for a in telling.saga.live.values()] == [2]


@pytest.mark.requirement("E3")
@pytest.mark.parametrize("mode", [SEQUENTIAL, PARALLEL])
def test_a_final_partial_fill_is_no_failure_elsewhere_but_no_success_either(
    mode: ExecutionMode,
) -> None:
    telling = started(batch_of(5, 1, mode=mode)).filled(2).filled(1, 1)

    assert telling.state() is SagaState.COMPLETED
    assert telling.step(0).state is StepState.PARTIAL
    assert saga_outcome(telling.saga) is SagaOutcome.PARTIAL_SUCCESS


@pytest.mark.requirement("S6")
def test_an_overfill_breaks_an_atomic_batch_and_is_undone_in_full() -> None:
    telling = started(batch_of(5)).filled(7)

    assert telling.step().state is StepState.COMPENSATING
    assert [a.amount for a in telling.saga.live.values()] == [7]


@pytest.mark.requirement("S7")
def test_an_overfill_elsewhere_is_recorded_as_it_is() -> None:
    telling = started(batch_of(5, mode=SEQUENTIAL)).filled(7)

    assert telling.state() is SagaState.COMPLETED
    assert telling.step().done == 7
    assert saga_outcome(telling.saga) is SagaOutcome.PARTIAL_SUCCESS


@pytest.mark.requirement("S9")
def test_fills_come_in_pieces_and_each_counts_once() -> None:
    telling = started(batch_of(5))
    one, two, three = fill("a", 2), fill("b", 1), fill("c", 2)
    telling.report(fills=[one], final=False)
    assert telling.step().state is StepState.WORKING

    telling.report(fills=[one], final=False).report(fills=[one, two], final=False)
    telling.report(fills=[one, two, three, three])

    assert telling.step().done == 5
    assert telling.step().effects == [one, two, three]
    assert telling.state() is SagaState.COMPLETED


# --- attempts ------------------------------------------------------------------------------------


@pytest.mark.requirement("E14")
def test_a_refused_step_is_tried_again_after_growing_waits() -> None:
    retry = RetryPolicy(attempts=4, backoff_seconds=2, backoff_factor=3, backoff_max_seconds=10)
    telling = started(batch_of(1, retry=retry))

    waits = []
    for _ in range(3):
        telling.refused()
        assert telling.saga.live == {}
        wake_at = telling.decide().wake_at
        assert wake_at is not None
        waits.append((wake_at - telling.now).total_seconds())
        telling.later(waits[-1] - 0.001)
        assert telling.decide().events == ()
        telling.later(0.001).go_on()

    assert waits == [2, 6, 10]
    assert telling.attempt().number == 4
    telling.refused()
    assert telling.state() is SagaState.ROLLED_BACK


@pytest.mark.requirement("E14", "B11")
def test_a_restart_neither_forgets_nor_repeats_attempts() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=5)
    telling = started(batch_of(1, retry=retry)).refused()

    telling.saga = telling.replayed()
    telling.tell(Resumed("next"))
    assert telling.go_on().wake_at == NOON + timedelta(seconds=5)
    telling.later(5).go_on()
    telling.refused()

    assert [a.number for a in telling.step().forward] == [1, 2]
    assert telling.state() is SagaState.ROLLED_BACK


def test_a_step_that_waits_for_its_next_try_keeps_its_place_in_the_width() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=5)
    telling = started(batch_of(1, 1, retry=retry, mode=SEQUENTIAL)).refused()

    assert telling.decide().events == ()
    telling.later(5).go_on()
    assert in_the_air(telling) == [0]


def test_the_earliest_of_several_retries_wakes_the_saga() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=5)
    telling = started(batch_of(1, 1, retry=retry, mode=PARALLEL)).refused(0).later(1).refused(1)

    assert telling.decide().wake_at == NOON + timedelta(seconds=5)
    telling.later(4).go_on()
    assert in_the_air(telling) == [0]
    assert telling.decide().wake_at == NOON + timedelta(seconds=6)


@pytest.mark.requirement("E14")
def test_complete_forward_sends_refused_legs_again_until_the_deadline_and_then_undoes() -> None:
    batch = batch_of(1, 1, timeout_seconds=600)
    telling = started(batch, on_failure=OnFailure.COMPLETE_FORWARD).filled(1, 0)
    for _ in range(8):
        telling.refused(1).later(60).go_on()
    assert telling.state() is SagaState.RUNNING
    assert telling.attempt(1).number == 9

    telling.refused(1).later(600).go_on()

    assert telling.state() is SagaState.COMPENSATING
    assert "deadline" in (telling.saga.reason or "")
    telling.filled(1, 0, telling.step(0).undo[0].purpose)
    assert telling.state() is SagaState.ROLLED_BACK


@pytest.mark.requirement("E14")
def test_complete_forward_keeps_to_a_directives_own_retry_policy() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=0)
    telling = started(batch_of(1, retry=retry), on_failure=OnFailure.COMPLETE_FORWARD)

    telling.refused().refused()

    assert telling.state() is SagaState.ROLLED_BACK


def test_complete_forward_completes_when_a_later_try_succeeds() -> None:
    telling = started(batch_of(2), on_failure=OnFailure.COMPLETE_FORWARD)
    telling.filled(1).later(1).go_on()
    telling.filled(1)

    assert telling.state() is SagaState.COMPLETED
    assert saga_outcome(telling.saga) is SagaOutcome.SUCCESS


@pytest.mark.requirement("E3")
def test_keep_leaves_what_was_filled_even_where_the_batch_would_roll_back() -> None:
    batch = batch_of(1, 1, mode=SEQUENTIAL, rollback_on_failure=True)
    telling = started(batch, on_failure=OnFailure.KEEP).filled(1, 0).refused(1)

    assert telling.state() is SagaState.COMPLETED
    assert telling.step(0).undo == []


# --- pause ---------------------------------------------------------------------------------------


@pytest.mark.requirement("B9")
def test_a_paused_saga_sends_nothing_new_and_watches_what_is_open() -> None:
    telling = started(batch_of(1, 1, mode=SEQUENTIAL)).report(final=False)
    telling.tell(Paused("ann", "lunch"))
    assert telling.ask().attempt is telling.attempt(0)

    telling.filled(1, 0)
    assert telling.saga.live == {}
    assert telling.decide().events == ()

    telling.tell(Unpaused("ann", "back")).go_on()
    assert in_the_air(telling) == [1]


def test_a_paused_saga_retries_nothing_and_does_not_wake_for_it() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=1)
    telling = started(batch_of(1, retry=retry)).tell(Paused("ann", "lunch")).refused().later(9)

    assert telling.decide().events == ()
    assert telling.decide().wake_at is None


@pytest.mark.requirement("E6")
def test_the_deadline_passes_while_paused() -> None:
    telling = started(batch_of(1, 1, timeout_seconds=30)).tell(Paused("ann", "lunch"))
    telling.filled(1, 0)
    assert telling.decide().wake_at == NOON + timedelta(seconds=30)

    telling.later(30).go_on()
    assert telling.state() is SagaState.COMPENSATING
    assert telling.saga.live == {}  # compensations too wait for the operator

    telling.tell(Unpaused("ann", "back")).go_on()
    assert [a.amount for a in telling.saga.live.values()] == [1]


def test_a_paused_saga_completes_when_nothing_is_left_to_be_sent() -> None:
    telling = started(batch_of(1)).tell(Paused("ann", "lunch")).filled(1)

    assert telling.state() is SagaState.COMPLETED


@pytest.mark.requirement("D4")
def test_the_decisions_of_a_failure_are_journalled_in_one_go() -> None:
    telling = started(batch_of(1, 1)).filled(1, 0).refused(1)

    told = [event for _, _, event in telling.journal]
    assert isinstance(told[-2], CompensationStarted)
    assert told[-1] == Intended(0, telling.step(0).undo[0].purpose, 1, Decimal(1))
    assert Completed() not in told
    assert telling.attempt(0, FORWARD).done == 1
