"""Unknown is not failed: what is asked, what proves, what is given up, and what comes late."""

from datetime import timedelta
from decimal import Decimal

import pytest

from saga.alerts import alerts_of
from saga.core import LONGEST_SILENCE_WAIT, MAX_SILENCES, Question, observe
from saga.errors import NotAllowed
from saga.events import (
    AnswerLost,
    CancelRequested,
    GaveUp,
    LostTrack,
    NoAnswer,
    NotFound,
    Paused,
    ProvenAbsent,
    Reported,
    Resumed,
    Retried,
    SentAgain,
    Unpaused,
)
from saga.ids import Purpose
from saga.ledger import MAX_ABSENCES, AttemptState
from saga.machine import SagaState, StepState
from saga.model import ExecutionMode
from saga.outcome import Fill, Report
from saga.policy import FENCE_CHECK_SECONDS, Capabilities, RetryPolicy
from tests.core.telling import FORWARD, UNDO, Tell, Telling, batch_of, dump, fill, started

SEQUENTIAL, PARALLEL, ATOMIC = ExecutionMode
USUAL = Capabilities(visibility_seconds=4.0)
TOMBSTONE = Capabilities(visibility_seconds=4.0, tombstone=True)
CANCEL = CancelRequested("ann", "mind changed")


def where(telling: Telling, step: int, purpose: Purpose) -> tuple[int, Purpose, int]:
    return step, purpose, telling.attempt(step, purpose).number


def lose(telling: Telling, step: int = 0, purpose: Purpose = FORWARD) -> Telling:
    telling.tell(AnswerLost(*where(telling, step, purpose), "timeout"))
    return telling


def search_in_vain(telling: Telling, step: int = 0, purpose: Purpose = FORWARD) -> Telling:
    """Look the attempt up, whenever it is due, until something is decided about it."""
    asked = 0
    while not telling.decide().events and telling.decide().asks:
        ask = telling.ask()
        telling.now = max(telling.now, ask.not_before)
        bury = ask.question is Question.WITHDRAW
        telling.tell(NotFound(*where(telling, step, purpose), tombstone=bury))
        asked += 1
        assert asked < 10
    return telling


def never_arrive(telling: Telling, step: int = 0, purpose: Purpose = FORWARD) -> Telling:
    """Lose the answer to an attempt, and bury its key, until it is called absent."""
    lose(telling, step, purpose)
    search_in_vain(telling, step, purpose)
    telling.tell(*telling.decide().events)
    assert telling.attempt(step, purpose).absent
    return telling


def silence(telling: Telling, step: int = 0, purpose: Purpose = FORWARD) -> Telling:
    """Never answer, until the engine gives up."""
    while telling.attempt(step, purpose).state is not AttemptState.LOST:
        ask = telling.ask()
        telling.now = max(telling.now, ask.not_before)
        telling.tell(NoAnswer(*where(telling, step, purpose), "timeout"))
        telling.go_on()
    return telling


# --- what is asked -------------------------------------------------------------------------------


@pytest.mark.requirement("S3", "S4")
def test_an_unknown_attempt_is_looked_up_and_nothing_else_is_decided_about_its_step() -> None:
    telling = lose(started(batch_of(5, 1), capabilities=USUAL))

    assert telling.step().state is StepState.UNKNOWN
    assert telling.decide().events == ()
    assert telling.ask().question is Question.LOOK_UP
    assert telling.ask().not_before == telling.now


@pytest.mark.requirement("D6", "B11")
def test_what_was_being_sent_when_the_engine_died_is_unknown() -> None:
    telling = started(batch_of(5))
    telling.saga = telling.replayed()

    telling.tell(Resumed("next"))

    assert telling.attempt().state is AttemptState.UNKNOWN
    assert telling.ask().attempt is telling.attempt()


def test_what_was_already_working_when_the_engine_died_stays_so() -> None:
    telling = started(batch_of(5)).report(final=False).tell(Resumed("next"))

    assert telling.attempt().state is AttemptState.WORKING


def test_a_found_attempt_is_adopted() -> None:
    telling = lose(started(batch_of(5)))

    telling.report(final=False, fills=[fill("a", 2)])
    assert telling.step().state is StepState.WORKING
    telling.report(fills=[fill("a", 2), fill("b", 3)])

    assert telling.state() is SagaState.COMPLETED


def test_look_ups_are_spread_over_the_visibility_window() -> None:
    telling = lose(started(batch_of(5), capabilities=USUAL))
    began = telling.now

    asked = []
    while not telling.decide().events:
        telling.now = telling.ask().not_before
        asked.append((telling.now - began).total_seconds())
        telling.tell(NotFound(0, FORWARD, 1))

    assert asked == [0, 2, 4]


def test_look_ups_keep_their_distance_where_there_is_no_window() -> None:
    telling = lose(started(batch_of(5), capabilities=Capabilities(visibility_seconds=0.0)))
    telling.tell(NotFound(0, FORWARD, 1))

    assert telling.ask().not_before == telling.now + timedelta(milliseconds=50)


# --- proof ---------------------------------------------------------------------------------------


@pytest.mark.requirement("S3")
def test_a_key_whose_answer_is_lost_twice_and_that_is_never_found_is_given_up() -> None:
    telling = started(batch_of(5), capabilities=USUAL)
    key = telling.attempt().key

    search_in_vain(lose(telling))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)
    telling.tell(*telling.decide().events)
    search_in_vain(lose(telling)).go_on()

    assert [attempt.key for attempt in telling.step().forward] == [key]
    assert telling.attempt().sends == 2
    assert telling.state() is SagaState.STALE
    (exposure,) = telling.saga.residual
    assert exposure.low == 0
    assert exposure.high == 5
    assert exposure.unproven == (key,)


@pytest.mark.requirement("S3")
def test_a_key_that_crashes_kept_from_the_participant_is_handed_over_three_times() -> None:
    telling = started(batch_of(5), capabilities=USUAL)
    for _ in range(2):
        search_in_vain(telling.tell(Resumed("next")))
        assert telling.decide().events == (SentAgain(0, FORWARD, 1),)
        telling.tell(*telling.decide().events)
    search_in_vain(telling.tell(Resumed("next"))).go_on()

    assert telling.attempt().sends == 3
    assert telling.state() is SagaState.STALE


@pytest.mark.requirement("S3", "S12")
def test_a_call_of_a_fenced_owner_is_waited_for_before_anything_is_called_absent() -> None:
    telling = started(batch_of(5), capabilities=USUAL)
    telling.tell(Resumed("next", taken_over=True)).later(USUAL.call_timeout_seconds)
    telling.tell(*[NotFound(0, FORWARD, 1)] * 3)

    assert telling.decide().events == ()
    telling.later(5).tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)


@pytest.mark.requirement("S3", "L1", "L3")
@pytest.mark.parametrize("seconds", [86_400, 3_600, 60])
def test_a_clock_that_is_put_back_begins_the_window_anew_behind_the_longest_call(
    seconds: int,
) -> None:
    longest = USUAL.call_timeout_seconds + FENCE_CHECK_SECONDS
    telling = lose(started(batch_of(5), capabilities=USUAL)).later(-seconds)
    telling.tell(*[NotFound(0, FORWARD, 1)] * 3)

    telling.later(longest + 3.9).tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == ()
    telling.later(0.1).tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)


@pytest.mark.requirement("S3", "S12")
@pytest.mark.parametrize("back", [0, 0.1, 4.9])
def test_a_small_step_back_of_the_clock_keeps_the_time_for_the_last_owner_s_call(
    back: float,
) -> None:
    longest = USUAL.call_timeout_seconds + FENCE_CHECK_SECONDS
    telling = started(batch_of(5), capabilities=USUAL).tell(Resumed("the next", taken_over=True))
    telling.later(-back).tell(*[NotFound(0, FORWARD, 1)] * 3)

    telling.later(longest + 3.9).tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == ()
    telling.later(0.1 + back).tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)


@pytest.mark.requirement("S3")
def test_three_quick_look_ups_prove_nothing_before_the_window_is_over() -> None:
    telling = lose(started(batch_of(5), capabilities=USUAL))
    telling.tell(*[NotFound(0, FORWARD, 1)] * 3)

    assert telling.decide().events == ()
    telling.later(4).tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)


@pytest.mark.requirement("S3")
def test_two_look_ups_prove_nothing_however_late_they_are() -> None:
    telling = lose(started(batch_of(5), capabilities=USUAL)).later(99)
    telling.tell(*[NotFound(0, FORWARD, 1)] * 2)

    assert telling.decide().events == ()
    telling.tell(NotFound(0, FORWARD, 1))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)


@pytest.mark.requirement("S3", "S4")
def test_after_proof_a_new_attempt_is_made_which_does_not_count_as_a_retry() -> None:
    telling = never_arrive(started(batch_of(5), capabilities=TOMBSTONE))
    telling.go_on()

    assert telling.attempt().number == 2
    assert telling.step().charged_attempts() == 1
    telling.filled(5)
    assert telling.ask().attempt is telling.attempt(0, FORWARD, 1)  # late truth is still truth
    telling.tell(NotFound(0, FORWARD, 1)).go_on()
    assert telling.state() is SagaState.COMPLETED


def test_a_step_that_never_gets_through_is_refused_in_the_end() -> None:
    telling = started(batch_of(5), capabilities=TOMBSTONE)
    for _ in range(MAX_ABSENCES):
        never_arrive(telling).go_on()

    assert telling.step().state is StepState.REFUSED
    assert len(telling.step().forward) == MAX_ABSENCES
    assert telling.state() is SagaState.COMPENSATING  # until each was asked for once more
    for number in (1, 2, 3):
        telling.tell(NotFound(0, FORWARD, number))
    telling.go_on()
    assert telling.state() is SagaState.ROLLED_BACK


@pytest.mark.requirement("S3")
def test_a_tombstone_is_set_before_an_attempt_is_called_absent() -> None:
    telling = lose(started(batch_of(5), capabilities=TOMBSTONE))

    questions = []
    while not telling.decide().events:
        telling.now = max(telling.now, telling.ask().not_before)
        questions.append(telling.ask().question)
        bury = questions[-1] is Question.WITHDRAW
        telling.tell(NotFound(0, FORWARD, 1, tombstone=bury))

    assert questions == [Question.LOOK_UP, Question.LOOK_UP, Question.WITHDRAW]
    assert telling.decide().events == (ProvenAbsent(0, FORWARD, 1),)


def test_a_look_up_that_finds_nothing_is_not_enough_where_tombstones_can_be_set() -> None:
    telling = lose(started(batch_of(5), capabilities=TOMBSTONE)).later(4)
    telling.tell(*[NotFound(0, FORWARD, 1)] * 3)

    assert telling.decide().events == ()
    assert telling.ask().question is Question.WITHDRAW


@pytest.mark.requirement("S13")
def test_nothing_is_sent_again_once_the_batch_is_stopped() -> None:
    telling = lose(started(batch_of(5), capabilities=USUAL)).tell(CANCEL)
    telling.go_on()

    search_in_vain(telling)

    assert telling.decide().events == (ProvenAbsent(0, FORWARD, 1),)


def test_nothing_is_sent_again_in_a_stopped_batch_that_keeps() -> None:
    telling = lose(started(batch_of(5, mode=SEQUENTIAL), capabilities=USUAL)).tell(CANCEL)

    search_in_vain(telling)

    assert telling.decide().events == (ProvenAbsent(0, FORWARD, 1),)


def test_a_paused_saga_neither_sends_again_nor_asks_for_ever() -> None:
    telling = lose(started(batch_of(5), capabilities=USUAL)).tell(Paused("ann", "lunch"))

    search_in_vain(telling)
    assert telling.decide().events == ()
    assert telling.decide().asks == ()

    telling.tell(Unpaused("ann", "back"))
    assert telling.decide().events == (SentAgain(0, FORWARD, 1),)


@pytest.mark.requirement("S3", "S5")
def test_an_undo_whose_answer_was_lost_is_handed_over_again_under_the_same_key_once() -> None:
    telling = started(batch_of(5, 1), capabilities=USUAL).filled(5, 0).refused(1)

    search_in_vain(lose(telling, 0, UNDO), 0, UNDO)
    assert telling.decide().events == (SentAgain(0, UNDO, 1),)
    telling.tell(*telling.decide().events)
    search_in_vain(lose(telling, 0, UNDO), 0, UNDO).go_on()

    assert telling.state() is SagaState.STALE
    (exposure,) = telling.saga.residual
    assert exposure.low == 0  # it may have been undone
    assert exposure.high == 5


def test_an_undo_that_never_arrived_is_tried_anew_under_another_key() -> None:
    telling = started(batch_of(5, 1), capabilities=TOMBSTONE).filled(5, 0).refused(1)

    never_arrive(telling, 0, UNDO).go_on()

    assert telling.attempt(0, UNDO).number == 2
    assert telling.step(0).undo_tries() == 1
    for _ in range(2):
        never_arrive(telling, 0, UNDO).go_on()
    assert telling.state() is SagaState.STALE


def test_a_retry_begins_anew_even_if_no_undo_ever_arrived() -> None:
    telling = started(batch_of(5, 1), capabilities=TOMBSTONE).filled(5, 0).refused(1)
    for _ in range(MAX_ABSENCES):
        never_arrive(telling, 0, UNDO).go_on()

    telling.tell(Retried("ann", "the venue is back")).go_on()

    assert telling.attempt(0, UNDO).number == MAX_ABSENCES + 1


# --- given up ------------------------------------------------------------------------------------


@pytest.mark.requirement("S6")
def test_without_look_ups_an_unknown_outcome_ends_as_stale_with_an_interval() -> None:
    telling = started(batch_of(2, 5), capabilities=Capabilities(look_up=False)).filled(2, 0)
    lose(telling, 1).go_on()
    telling.filled(2, 0, UNDO)

    assert telling.state() is SagaState.STALE
    (exposure,) = telling.saga.residual
    assert exposure.subject == "BBB"
    assert exposure.low == 0
    assert exposure.high == 5
    assert exposure.unproven == (telling.attempt(1).key,)


@pytest.mark.requirement("S6")
def test_an_undo_that_cannot_be_found_out_leaves_an_interval_too() -> None:
    telling = started(batch_of(5, 1)).filled(5, 0).refused(1)
    silence(lose(telling, 0, UNDO), 0, UNDO)

    assert telling.state() is SagaState.STALE
    assert telling.step(0).state is StepState.STUCK
    (exposure,) = telling.saga.residual
    assert exposure.low == 0
    assert exposure.high == 5


@pytest.mark.requirement("S7")
def test_a_batch_that_keeps_says_what_it_lost_track_of_and_nothing_else() -> None:
    telling = started(batch_of(2, 5, mode=PARALLEL)).filled(2, 0)
    silence(lose(telling, 1), 1)

    assert telling.state() is SagaState.STALE
    (lost,) = [e for _, _, e in telling.journal if isinstance(e, LostTrack)]
    (alert,) = alerts_of(telling.saga)
    assert [exposure.subject for exposure in lost.residual] == ["BBB"]
    assert alert.sentence.endswith("ask the broker, then resolve it")  # there is no undo to retry
    assert "core_test_take BBB is unknown: no answer" in lost.reason


@pytest.mark.requirement("S6", "S7")
@pytest.mark.parametrize("symbol", [None, "AAA"])
def test_an_unknown_leg_that_changes_no_holding_is_an_exposure_of_its_own(
    symbol: str | None,
) -> None:
    tell = Tell(directive_id="EXE_tell", symbol=symbol)
    telling = started(batch_of(5, tell, mode=PARALLEL)).filled(5, 0)
    silence(lose(telling, 1), 1)

    told = [(each.subject, each.low, each.high) for each in telling.saga.residual]
    assert told == [("EXE_tell", Decimal(0), Decimal(1))]


def test_an_unknown_leg_outside_the_rollback_is_told_of_as_well() -> None:
    batch = batch_of(2, 5, mode=PARALLEL, rollback_on_failure=True, rollback_only=("EXE_0",))
    telling = started(batch).filled(2, 0)
    silence(lose(telling, 1), 1)
    telling.filled(2, 0, UNDO)

    assert telling.state() is SagaState.STALE
    assert [exposure.subject for exposure in telling.saga.residual] == ["BBB"]


@pytest.mark.requirement("L1", "L3")
def test_silence_is_met_with_growing_waits_and_a_bound() -> None:
    telling = lose(started(batch_of(5, mode=SEQUENTIAL)))
    waits = []
    while telling.state() is SagaState.RUNNING:
        ask = telling.ask()
        waits.append((ask.not_before - telling.now).total_seconds())
        telling.now = ask.not_before
        telling.tell(NoAnswer(0, FORWARD, 1, "timeout"))
        telling.go_on()

    assert len(waits) == MAX_SILENCES
    assert waits[:2] == [0, 2.5]  # the spacing of look-ups is longer than the first wait
    assert waits[-1] == LONGEST_SILENCE_WAIT.total_seconds()
    assert waits == sorted(waits)
    assert isinstance(telling.journal[-2][2], GaveUp)


def test_an_answer_ends_the_silence() -> None:
    telling = lose(started(batch_of(5)))
    telling.tell(*[NoAnswer(0, FORWARD, 1, "timeout")] * 5, NotFound(0, FORWARD, 1))

    assert telling.attempt().silences == 0


def test_an_acknowledged_attempt_that_is_known_no_longer_is_given_up_and_never_sent_again() -> None:
    telling = started(batch_of(5), capabilities=USUAL).report(final=False)

    search_in_vain(telling)
    telling.go_on()

    assert telling.attempt().state is AttemptState.LOST
    assert telling.state() is SagaState.STALE


def test_a_known_part_of_a_lost_leg_is_not_undone_on_a_guess() -> None:
    telling = started(batch_of(5), capabilities=USUAL)
    telling.report(final=False, fills=[fill("a", 2)])
    search_in_vain(telling)
    telling.go_on()

    assert telling.step().undo == []
    (exposure,) = telling.saga.residual
    assert exposure.low == 2
    assert exposure.high == 5


@pytest.mark.requirement("B9", "S6")
def test_a_retry_looks_for_what_was_lost_and_undoes_what_it_finds() -> None:
    telling = started(batch_of(5), capabilities=USUAL)
    telling.report(final=False, fills=[fill("a", 2)])
    search_in_vain(telling)
    telling.go_on()
    key = telling.attempt().key

    telling.tell(Retried("ann", "the venue is back")).go_on()
    assert telling.ask().attempt.key == key
    telling.report(fills=[fill("a", 2), fill("b", 1)])

    assert telling.attempt(0, UNDO).amount == 3
    telling.filled(3, 0, UNDO)
    assert telling.state() is SagaState.ROLLED_BACK


def test_a_retry_can_find_that_a_lost_undo_was_done() -> None:
    telling = started(batch_of(5, 1)).filled(5, 0).refused(1)
    silence(lose(telling, 0, UNDO), 0, UNDO)

    telling.tell(Retried("ann", "the venue is back")).go_on()
    telling.filled(5, 0, UNDO)

    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.step(0).state is StepState.COMPENSATED


def test_what_is_told_of_a_lost_attempt_waits_for_a_retry() -> None:
    telling = lose(started(batch_of(5, 1), capabilities=Capabilities(look_up=False)))
    telling.go_on()

    assert observe(telling.attempt(), Report(final=True)) == ()


def test_an_attempt_at_work_that_cannot_be_asked_about_is_given_up() -> None:
    telling = started(batch_of(5), capabilities=Capabilities(look_up=False)).report(final=False)

    assert telling.attempt().state is AttemptState.LOST
    assert telling.step().state is StepState.UNKNOWN


# --- late truth ----------------------------------------------------------------------------------


def two_tries(*quantities: int, mode: ExecutionMode = ATOMIC) -> Telling:
    """The first attempt of the first leg was called absent, and the second is in flight."""
    telling = never_arrive(started(batch_of(*quantities, mode=mode), capabilities=TOMBSTONE))
    telling.go_on()
    return telling


@pytest.mark.requirement("S6", "S8")
def test_late_truth_before_the_end_is_adopted() -> None:
    telling = two_tries(5).refused(0)
    assert telling.state() is SagaState.COMPENSATING

    telling.report(0, FORWARD, 1, fills=[fill("late", 5)])

    assert telling.attempt(0, UNDO).amount == 5


@pytest.mark.requirement("S6")
def test_a_leg_filled_twice_by_late_truth_breaks_an_atomic_batch() -> None:
    telling = two_tries(5).filled(5)

    telling.report(0, FORWARD, 1, fills=[fill("late", 5)])

    assert telling.state() is SagaState.COMPENSATING
    assert telling.attempt(0, UNDO).amount == 10


def test_late_truth_about_an_earlier_attempt_does_not_end_the_later_one() -> None:
    telling = two_tries(5, mode=SEQUENTIAL)

    telling.report(0, FORWARD, 1, fills=[fill("late", 2)])
    assert telling.step().state is StepState.SENDING
    telling.filled(3)

    assert telling.state() is SagaState.COMPLETED
    assert telling.step().is_whole


def test_a_late_open_attempt_is_watched_beside_the_later_one() -> None:
    telling = two_tries(5, mode=SEQUENTIAL).report(0, FORWARD, 1, final=False)
    assert telling.step().state is StepState.WORKING

    lose(telling)
    telling.tell(NotFound(0, FORWARD, 1))  # known a moment ago, and known no longer

    assert telling.step().state is StepState.UNKNOWN
    assert telling.attempt(0, FORWARD, 1).state is AttemptState.UNKNOWN


def test_late_truth_while_a_leg_waits_for_its_next_try_ends_the_wait() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=60)
    telling = never_arrive(started(batch_of(5, retry=retry), capabilities=TOMBSTONE))
    telling.go_on()
    telling.refused()
    assert telling.saga.retrying

    telling.report(0, FORWARD, 1, fills=[fill("late", 5)])

    assert telling.saga.retrying == {}
    assert telling.state() is SagaState.COMPLETED


@pytest.mark.requirement("S6")
def test_late_forward_truth_reopens_a_finished_undo_with_a_full_round_of_tries() -> None:
    telling = two_tries(5).filled(2).filled(2, 0, UNDO)
    assert telling.step().state is StepState.COMPENSATED

    telling.report(0, FORWARD, 1, fills=[fill("late", 5)])

    assert telling.step().state is StepState.COMPENSATING
    assert telling.attempt(0, UNDO).amount == 5
    assert telling.step().undo_tries() == 1


@pytest.mark.requirement("S6")
def test_late_forward_truth_gives_a_stuck_undo_another_round() -> None:
    batch = batch_of(1, 5, max_parallel=2)
    telling = never_arrive(started(batch, capabilities=TOMBSTONE), 1)
    telling.go_on()
    telling.filled(1, 0).filled(2, 1)
    for _ in range(3):
        telling.refused(1, UNDO).later(100).go_on()
    assert telling.step(1).state is StepState.STUCK

    telling.report(1, FORWARD, 1, fills=[fill("late", 5)])
    telling.filled(1, 0, UNDO)

    assert telling.step(1).state is StepState.COMPENSATING
    assert telling.attempt(1, UNDO).amount == 7


@pytest.mark.requirement("S6")
def test_an_undo_that_was_done_twice_by_late_truth_is_not_called_rolled_back() -> None:
    telling = started(batch_of(5, 1), capabilities=TOMBSTONE).filled(5, 0).refused(1)
    never_arrive(telling, 0, UNDO).go_on()
    telling.filled(5, 0, UNDO)
    assert telling.step(0).state is StepState.COMPENSATED

    telling.report(0, UNDO, 1, fills=[fill("late", 5)])

    assert telling.state() is SagaState.STALE
    (exposure,) = telling.saga.residual
    assert exposure.low == exposure.high == -5


def test_an_undo_found_late_frees_a_stuck_step() -> None:
    telling = (
        started(batch_of(1, 5, 1), capabilities=TOMBSTONE).filled(1, 0).filled(5, 1).refused(2)
    )
    never_arrive(telling, 1, UNDO).go_on()
    for _ in range(3):
        telling.refused(1, UNDO).later(100).go_on()
    assert telling.step(1).state is StepState.STUCK

    telling.report(1, UNDO, 1, fills=[fill("late", 5)])
    telling.filled(1, 0, UNDO)

    assert telling.step(1).state is StepState.COMPENSATED
    assert telling.state() is SagaState.ROLLED_BACK


def test_a_late_undo_that_is_lost_again_on_a_stuck_step_leaves_it_stuck() -> None:
    telling = (
        started(batch_of(1, 5, 1), capabilities=TOMBSTONE).filled(1, 0).filled(5, 1).refused(2)
    )
    never_arrive(telling, 1, UNDO).go_on()
    for _ in range(3):
        telling.refused(1, UNDO).later(100).go_on()
    telling.report(1, UNDO, 1, final=False)
    telling.tell(GaveUp(1, UNDO, 1, "gone"))

    assert telling.step(1).state is StepState.STUCK
    assert telling.attempt(1, UNDO, 1).state is AttemptState.LOST


def test_a_participant_may_confirm_that_nothing_arrived() -> None:
    telling = two_tries(5).filled(5)
    before = telling.step().done

    telling.report(0, FORWARD, 1, reason="unknown order")

    assert telling.step().done == before
    assert telling.state() is SagaState.COMPLETED


@pytest.mark.requirement("L1")
def test_where_nobody_confirms_an_absence_its_proof_has_to_do() -> None:
    telling = two_tries(5).filled(5)
    while telling.state() is SagaState.RUNNING:
        telling.now = max(telling.now, telling.ask().not_before)
        telling.tell(NoAnswer(0, FORWARD, 1, "timeout"))
        telling.go_on()

    assert telling.attempt(0, FORWARD, 1).silences == MAX_SILENCES
    assert telling.state() is SagaState.COMPLETED


# --- answers that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "price", "fee"),
    [("0", "1", "0"), ("-1", "1", "0"), ("NaN", "1", "0"), ("1", "-1", "0"), ("1", "1", "NaN")],
)
def test_a_report_that_contradicts_itself_is_no_answer(quantity: str, price: str, fee: str) -> None:
    telling = started(batch_of(5))
    before = dump(telling.saga)

    with pytest.raises(ValueError, match="fill 'x' has the"):
        observe(telling.attempt(), Report(False, (fill("x", quantity, price, fee),)))

    assert dump(telling.saga) == before


@pytest.mark.requirement("S9")
def test_what_is_known_already_is_not_told_again() -> None:
    telling = started(batch_of(5)).report(final=False, fills=[fill("a", 2)])
    assert observe(telling.attempt(), Report(False, (fill("a", 2),))) == ()

    whole = (fill("a", 2), fill("b", 3))
    telling.report(fills=list(whole))
    assert observe(telling.attempt(), Report(True, whole)) == ()


@pytest.mark.requirement("S9")
def test_a_report_that_lacks_a_fill_that_was_told_before_is_not_believed() -> None:
    telling = started(batch_of(5)).report(final=False, fills=[fill("a", 2), fill("b", 3)])

    with pytest.raises(ValueError, match="fill 'a', which was told before, is missing"):
        observe(telling.attempt(), Report(True, (fill("b", 3),)))


def test_a_reference_and_a_reason_are_kept() -> None:
    telling = started(batch_of(5)).report(final=False, reference="V-7")
    telling.report(reason="no margin")

    assert telling.attempt().reference == "V-7"
    assert telling.attempt().reason == "no margin"
    assert telling.attempt().amount == Decimal(5)


@pytest.mark.requirement("S6", "S9", "S10")
@pytest.mark.parametrize(
    "changed",
    [fill("f1", 10), fill("f1", 4, price=11), fill("f1", 4, fee=1)],
)
def test_a_known_fill_that_comes_back_with_other_content_is_no_answer(changed: Fill) -> None:
    telling = started(batch_of(10)).tell(
        Reported(0, FORWARD, 1, final=False, fills=(fill("f1", 4),))
    )

    with pytest.raises(ValueError, match=r"'f1' was 4 at .*an execution never changes"):
        observe(telling.attempt(), Report(True, (changed,)))


TAKEN = "its key names another order"


@pytest.mark.requirement("S3", "S6")
def test_an_order_called_absent_whose_key_turns_out_to_be_taken_is_lost_and_never_sent_again() -> (
    None
):
    telling = never_arrive(started(batch_of(5), capabilities=TOMBSTONE))
    assert telling.saga.retrying

    telling.tell(GaveUp(0, FORWARD, 1, TAKEN)).go_on()

    assert telling.state() is SagaState.STALE
    assert telling.step().state is StepState.UNKNOWN
    assert len(telling.step().forward) == 1
    (left,) = telling.saga.residual
    assert (left.low, left.high) == (Decimal(0), Decimal(5))


@pytest.mark.requirement("S4", "S6")
def test_a_lost_absence_beside_a_later_attempt_leaves_an_interval_around_what_that_did() -> None:
    telling = two_tries(5).tell(GaveUp(0, FORWARD, 1, TAKEN))

    telling.filled(5).go_on()

    assert telling.state() is SagaState.STALE
    (left,) = telling.saga.residual
    assert left.low <= 5 <= left.high


@pytest.mark.requirement("S5", "S6")
@pytest.mark.parametrize("undone", [False, True])
def test_an_undo_called_absent_whose_key_turns_out_to_be_taken_leaves_its_step_stuck(
    undone: bool,
) -> None:
    telling = started(batch_of(5, 1), capabilities=TOMBSTONE).filled(5, 0).refused(1)
    never_arrive(telling, 0, UNDO).go_on()
    if undone:
        telling.report(0, UNDO, 2, fills=[fill("u1", 5)])
        assert telling.step().state is StepState.COMPENSATED

    telling.tell(GaveUp(0, UNDO, 1, TAKEN)).go_on()
    if not undone:
        telling.refused(0, UNDO).go_on()

    assert telling.step().state is StepState.STUCK
    assert telling.state() is SagaState.STALE


def test_what_is_over_and_known_is_not_given_up() -> None:
    telling = started(batch_of(5, 1)).filled(5, 0)

    with pytest.raises(NotAllowed, match="neither in flight nor called absent"):
        telling.tell(GaveUp(0, FORWARD, 1, TAKEN))
