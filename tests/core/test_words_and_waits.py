"""What the core says, word by word, and when exactly it asks: people read the one, venues feel the
other."""

from dataclasses import FrozenInstanceError
from datetime import timedelta
from decimal import Decimal

import pytest

from saga.core import Question, decide, observe, observe_late
from saga.events import (
    Abandoned,
    AnswerLost,
    CancelRequested,
    CompensationStarted,
    Completed,
    GaveUp,
    Intended,
    LostTrack,
    NoAnswer,
    NotFound,
    Paused,
    ProvenAbsent,
    Reported,
    Resumed,
    Retried,
    Started,
    StepStuck,
)
from saga.ledger import AttemptState
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.outcome import Fill, Report
from saga.policy import Capabilities, RetryPolicy
from tests.core.telling import FORWARD, UNDO, Telling, batch_of, fill, started, submitted

PARALLEL = ExecutionMode.PARALLEL
FIRST = (0, FORWARD, 1)
NO_WINDOW = Capabilities(visibility_seconds=0.0)


def lost(telling: Telling, step: int = 0) -> Telling:
    return telling.tell(AnswerLost(step, FORWARD, 1, "timeout"))


def searched(telling: Telling, step: int = 0, times: int = 3) -> Telling:
    """Let it be looked up in vain, each time when that is due."""
    for _ in range(times):
        (ask,) = (ask for ask in telling.decide().asks if ask.attempt.step == step)
        telling.now = max(telling.now, ask.not_before)
        telling.tell(NotFound(step, FORWARD, 1))
    return telling


def given_up(telling: Telling) -> list[str]:
    return [event.reason for _, _, event in telling.journal if isinstance(event, GaveUp)]


# --- when ----------------------------------------------------------------------------------------


@pytest.mark.requirement("L1", "L3")
def test_silence_is_asked_into_after_half_a_second_then_twice_as_long_up_to_half_a_minute() -> None:
    telling = lost(started(batch_of(5, mode=PARALLEL), capabilities=NO_WINDOW))
    waits = []
    while telling.state() is SagaState.RUNNING:
        ask = telling.ask()
        waits.append((ask.not_before - telling.now).total_seconds())
        telling.now = ask.not_before
        telling.tell(NoAnswer(*FIRST, "timeout"))
        telling.go_on()

    assert waits[:9] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert len(waits) == 120
    assert given_up(telling) == ["no answer to 120 questions: timeout"]


@pytest.mark.requirement("L3")
def test_one_decision_intends_64_attempts_at_most() -> None:
    telling = started(batch_of(*[1] * 300, mode=PARALLEL), capabilities=NO_WINDOW)

    intended = [number for number, _, event in telling.journal if event.kind == "intended"]
    assert len(intended) == 300
    first = Telling(telling.journal[0][2])  # type: ignore[arg-type]
    first.tell(telling.journal[1][2])
    assert len(first.decide().events) == 64


@pytest.mark.requirement("L3")
def test_retries_and_first_tries_share_the_bound_of_one_decision() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=0.0)
    telling = Telling(submitted(batch_of(*[1] * 600, mode=PARALLEL, retry=retry))).tell(Started())
    telling.tell(*telling.decide().events)
    for step in range(10):
        telling.tell(Reported(step, FORWARD, 1, final=True, reason="no margin"))

    intents = telling.decide().events
    assert len(intents) == 64
    assert sum(event.number == 2 for event in intents if isinstance(event, Intended)) == 10


@pytest.mark.requirement("S5")
def test_an_undo_that_never_arrived_is_tried_anew_at_once_although_one_before_it_was_refused() -> (
    None
):
    telling = started(batch_of(5, 1)).filled(5).refused(1).refused(0, UNDO)
    assert telling.decide().events == ()
    telling.later(100).go_on()
    telling.tell(AnswerLost(0, UNDO, 2, "timeout"), ProvenAbsent(0, UNDO, 2))

    assert telling.decide().events == (Intended(0, UNDO, 3, Decimal(5)),)


@pytest.mark.requirement("S4", "S5")
def test_what_an_operators_retry_does_not_find_is_absent_and_never_sent_again() -> None:
    batch = batch_of(5, mode=PARALLEL, rollback_on_failure=True)
    telling = lost(started(batch, capabilities=NO_WINDOW)).tell(GaveUp(*FIRST, "x"))
    telling.go_on()
    assert telling.state() is SagaState.STALE

    searched(telling.tell(Retried("ann", "the venue is back")))

    assert telling.decide().events == (ProvenAbsent(*FIRST),)


def test_what_is_open_is_watched_until_the_deadline_wakes_the_saga() -> None:
    telling = started(batch_of(5, timeout_seconds=10.0)).report(final=False)

    decision = telling.decide()

    assert [ask.attempt.key for ask in decision.asks] == [telling.attempt().key]
    assert decision.wake_at == telling.saga.submitted.deadline


def test_a_retry_that_is_due_before_the_deadline_wakes_the_saga_first() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=3.0)
    telling = started(batch_of(5, timeout_seconds=10.0, retry=retry)).refused()

    assert telling.decide().wake_at == telling.now + timedelta(seconds=3)


def test_an_open_order_is_looked_up_at_the_poll_and_withdrawn_at_once_when_that_is_wanted() -> None:
    telling = started(batch_of(5), capabilities=Capabilities(poll_seconds=2.0)).report(final=False)
    watched = telling.ask()
    telling.tell(CancelRequested("ann", "mind changed")).go_on()

    assert (watched.question, watched.not_before) == (
        Question.LOOK_UP,
        telling.now + timedelta(seconds=2),
    )
    assert (telling.ask().question, telling.ask().not_before) == (Question.WITHDRAW, telling.now)


@pytest.mark.requirement("S6")
def test_what_was_called_absent_is_looked_up_once_more_at_once_before_a_good_end() -> None:
    telling = searched(lost(started(batch_of(5), capabilities=NO_WINDOW)))
    telling.tell(CancelRequested("ann", "mind changed"))
    telling.go_on()

    assert telling.attempt().absent
    assert telling.ask().question is Question.LOOK_UP
    assert telling.ask().not_before == telling.attempt().asked_at


@pytest.mark.requirement("S3")
def test_while_paused_one_that_may_be_sent_again_does_not_hide_the_others() -> None:
    telling = started(batch_of(5, 5, mode=PARALLEL), capabilities=NO_WINDOW)
    searched(lost(lost(telling), 1), 0)
    telling.tell(Paused("ann", "lunch"))

    assert [ask.attempt.step for ask in telling.decide().asks] == [1]


@pytest.mark.requirement("L3", "L5")
def test_a_deadline_that_has_passed_or_is_in_doubt_wakes_nobody_again() -> None:
    telling = started(batch_of(5, mode=PARALLEL, timeout_seconds=10.0)).report(final=False)
    telling.later(11)
    doubting = decide(telling.saga, telling.now, in_doubt=True)
    assert doubting.asks
    assert doubting.wake_at is None

    telling.go_on()
    assert telling.saga.deadline_passed
    assert telling.decide().asks
    assert telling.decide().wake_at is None


# --- what is believed ----------------------------------------------------------------------------


def test_what_costs_nothing_can_be_filled() -> None:
    telling = started(batch_of(5)).report(fills=[fill("free", 5, price=0)])

    assert telling.state() is SagaState.COMPLETED


@pytest.mark.requirement("S9")
def test_a_part_is_told_while_the_order_is_open_and_only_once() -> None:
    telling = started(batch_of(5)).report(final=False)
    part = Report(False, (fill("a", 2),))

    (told,) = observe(telling.attempt(), part)
    assert told.fills == part.fills
    telling.tell(told)
    assert observe(telling.attempt(), part) == ()


@pytest.mark.requirement("S6", "S9")
def test_a_fill_that_comes_after_its_order_was_over_is_told() -> None:
    telling = started(batch_of(5, 5)).filled(5)
    known = tuple(telling.attempt().fills)

    assert observe(telling.attempt(), Report(True, known)) == ()
    (told,) = observe(telling.attempt(), Report(True, (*known, fill("late", 1))))
    assert [each.fill_id for each in told.fills] == ["late"]


def test_an_answer_without_news_is_told_where_it_ends_a_silence() -> None:
    telling = started(batch_of(5)).report(final=False)
    assert observe(telling.attempt(), Report(False)) == ()

    telling.tell(NoAnswer(*FIRST, "timeout"))
    telling.tell(*observe(telling.attempt(), Report(False)))
    assert telling.attempt().silences == 0


@pytest.mark.requirement("S5")
def test_less_than_one_unit_is_undone_like_any_other_quantity() -> None:
    telling = started(batch_of("0.5", 1)).filled("0.5", 0).refused(1)

    assert telling.attempt(0, UNDO).amount == Decimal("0.5")
    assert telling.filled("0.5", 0, UNDO).state() is SagaState.ROLLED_BACK


def test_a_price_without_end_is_no_price() -> None:
    telling = started(batch_of(5))

    with pytest.raises(ValueError, match="has the price Infinity"):
        observe(telling.attempt(), Report(True, (Fill("a", Decimal(5), Decimal("Infinity")),)))


# --- what is told of a saga at rest --------------------------------------------------------------


def called_absent() -> Telling:
    telling = lost(started(batch_of(5)))
    return telling.tell(ProvenAbsent(*FIRST))


@pytest.mark.requirement("S6")
def test_an_order_found_open_that_was_called_absent_is_told_even_if_that_was_confirmed() -> None:
    for telling in (called_absent(), called_absent().tell(Reported(*FIRST, final=True))):
        assert telling.attempt().absent
        late = observe_late(telling.attempt(), Report(False, (), "working", "X17"), by="ann")
        assert late is not None
        assert (late.final, late.fills, late.reversed) == (False, (), ())
        assert (late.reason, late.reference, late.by) == ("working", "X17", "ann")


@pytest.mark.requirement("S6")
def test_a_bust_that_comes_with_a_forgotten_fill_is_no_answer() -> None:
    telling = started(batch_of(5)).report(fills=[fill("a", 2), fill("b", 3)])
    report = Report(True, (), reversed=("a",))

    with pytest.raises(ValueError, match="fill 'b', which was told before, is missing"):
        observe_late(telling.attempt(), report, by="ann")


# --- in words ------------------------------------------------------------------------------------


def test_a_rollback_says_which_step_failed_and_why() -> None:
    telling = started(batch_of(1, 1)).filled(1, 0).refused(1)

    (event,) = [e for _, _, e in telling.journal if isinstance(e, CompensationStarted)]
    assert event.reason == telling.saga.reason == "core_test_take BBB refused: no margin"


def test_a_batch_that_ends_early_says_why_and_one_that_sent_everything_has_nothing_to_say() -> None:
    def end_of(telling: Telling) -> str | None:
        (event,) = [e for _, _, e in telling.journal if isinstance(e, Completed)]
        return event.reason

    cut_short = started(batch_of(1, 1, 1, mode=ExecutionMode.SEQUENTIAL)).filled(1, 0).refused(1)
    assert end_of(cut_short) == "core_test_take BBB refused: no margin"
    too_late = started(batch_of(1, mode=ExecutionMode.SEQUENTIAL))
    assert end_of(too_late.tell(CancelRequested("ann", "mind changed")).filled(1)) is None
    last_one = started(batch_of(1, 1, mode=ExecutionMode.SEQUENTIAL)).filled(1, 0).refused(1)
    assert end_of(last_one) is None


def test_a_parallel_batch_that_undoes_says_which_step_failed_first() -> None:
    batch = batch_of(1, 1, mode=PARALLEL, rollback_on_failure=True)
    telling = started(batch).refused(1).filled(1, 0)

    assert telling.saga.reason == "core_test_take BBB refused: no margin"


def test_a_partly_filled_step_says_how_much_was_done() -> None:
    telling = started(batch_of(5)).filled(2)

    assert telling.saga.reason == "core_test_take AAA partial: ended with 2 done"


def test_a_batch_that_keeps_says_what_it_lost_track_of_and_why() -> None:
    unasked = Capabilities(look_up=False)
    telling = lost(started(batch_of(5, mode=PARALLEL), capabilities=unasked))
    telling.go_on()

    (event,) = [e for _, _, e in telling.journal if isinstance(e, LostTrack)]
    assert event.reason == (
        "core_test_take AAA is unknown: its participant cannot be asked about it"
    )
    assert given_up(telling) == ["its participant cannot be asked about it"]


def test_an_order_that_the_venue_had_and_no_longer_knows_is_given_up_in_these_words() -> None:
    telling = started(batch_of(5), capabilities=NO_WINDOW).report(final=False)
    telling.tell(*[NotFound(*FIRST)] * 3)
    telling.later(1).tell(NotFound(*FIRST)).go_on()

    assert given_up(telling) == ["the participant had it, and no longer knows it"]


def test_an_order_that_is_handed_over_twice_and_never_found_is_given_up_in_these_words() -> None:
    telling = lost(started(batch_of(5, mode=PARALLEL), capabilities=NO_WINDOW))
    searched(telling).go_on()
    assert telling.attempt().sends == 2
    searched(lost(telling)).go_on()

    assert given_up(telling) == ["handed over 2 times, and never found"]


def test_an_undo_that_was_overdone_says_by_how_much() -> None:
    telling = started(batch_of(5, 1)).filled(5, 0).refused(1).filled("6.50", 0, UNDO)

    (event,) = [e for _, _, e in telling.journal if isinstance(e, StepStuck)]
    assert event.reason == "1.5 more were undone than took effect"


def test_an_undo_that_failed_says_how_often_and_why_the_last_time() -> None:
    telling = started(batch_of(5, 1)).filled(5, 0).refused(1)
    for reason in ("halted", "no lender", "closed"):
        telling.report(0, UNDO, reason=reason).later(100).go_on()

    (event,) = [e for _, _, e in telling.journal if isinstance(e, StepStuck)]
    assert event.reason == "3 tries to undo it failed; the last: closed"
    (abandoned,) = [e for _, _, e in telling.journal if isinstance(e, Abandoned)]
    assert abandoned.reason == f"core_test_take AAA could not be undone: {event.reason}"


def test_a_crash_says_so_of_what_was_being_sent() -> None:
    telling = started(batch_of(5)).tell(Resumed("next"))

    assert telling.attempt().state is AttemptState.UNKNOWN
    assert telling.attempt().reason == "the engine stopped while it was being sent"


# --- what a decision is --------------------------------------------------------------------------


def test_a_decision_and_its_questions_cannot_be_changed_or_added_to() -> None:
    telling = lost(started(batch_of(5)))
    decision = telling.decide()

    for made, name in ((decision, "wake_at"), (decision.asks[0], "not_before")):
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, telling.now)
        with pytest.raises(AttributeError):
            object.__setattr__(made, "remark", "x")
