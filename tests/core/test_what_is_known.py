"""What a saga knows after each event: its instants, its reasons, and how a refusal is worded."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from saga.errors import NotAllowed
from saga.events import (
    AnswerLost,
    CancelRequested,
    Completed,
    Event,
    GaveUp,
    Intended,
    LateTruth,
    LostTrack,
    NoAnswer,
    NotFound,
    Paused,
    ProvenAbsent,
    Reported,
    Resolved,
    Resumed,
    Retried,
    RolledBack,
    SentAgain,
    Started,
    StepStuck,
    Unpaused,
)
from saga.exact import MAX_DECIMAL_PLACES, MAX_DIGITS
from saga.fold import fold, saga_of
from saga.ledger import AttemptState
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.outcome import Fill
from saga.policy import FENCE_CHECK_SECONDS, Capabilities, FailurePolicy, RetryPolicy
from saga.store.protocol import Change
from tests.core.telling import (
    BATCH_ID,
    FORWARD,
    NOON,
    UNDO,
    Telling,
    batch_of,
    dump,
    fill,
    started,
    submitted,
)

PARALLEL = ExecutionMode.PARALLEL
FIRST = (0, FORWARD, 1)
KEY = "20261120_120000_k3v9x-0F1"
CANCEL = CancelRequested("ann", "mind changed")
UNASKED = Capabilities(look_up=False)
NO_WINDOW = Capabilities(visibility_seconds=0.0)


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def instants(telling: Telling) -> tuple[datetime | None, ...]:
    saga = telling.saga
    return saga.submitted_at, saga.started_at, saga.updated_at


def lost(telling: Telling) -> Telling:
    return telling.tell(AnswerLost(*FIRST, "timeout"))


def absent(telling: Telling) -> Telling:
    telling.tell(AnswerLost(*FIRST, "timeout"), ProvenAbsent(*FIRST))
    return telling


# --- instants ------------------------------------------------------------------------------------


def test_a_saga_knows_when_it_was_submitted_started_and_last_changed() -> None:
    telling = Telling(submitted(batch_of(5)))
    assert instants(telling) == (NOON, None, NOON)

    telling.later(60).tell(Started())
    assert instants(telling) == (NOON, NOON + minutes(1), NOON + minutes(1))

    telling.later(60).tell(Paused("ann", "lunch"))
    assert instants(telling) == (NOON, NOON + minutes(1), NOON + minutes(2))


def completing() -> Telling:
    return started(batch_of(5)).later(60).filled(5)


def withdrawing() -> Telling:
    telling = Telling(submitted(batch_of(5))).later(60).tell(CANCEL)
    telling.go_on()
    return telling


def rolling_back() -> Telling:
    return started(batch_of(5)).later(60).refused()


def abandoning() -> Telling:
    telling = lost(started(batch_of(5), capabilities=UNASKED)).later(60)
    telling.go_on()
    return telling


def losing_track() -> Telling:
    telling = lost(started(batch_of(5, mode=PARALLEL), capabilities=UNASKED)).later(60)
    telling.go_on()
    return telling


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (completing, SagaState.COMPLETED),
        (withdrawing, SagaState.ROLLED_BACK),
        (rolling_back, SagaState.ROLLED_BACK),
        (abandoning, SagaState.STALE),
        (losing_track, SagaState.STALE),
    ],
)
def test_a_saga_knows_since_when_it_is_at_rest(
    ending: Callable[[], Telling], state: SagaState
) -> None:
    telling = ending()

    assert telling.state() is state
    assert telling.saga.rested_at == NOON + minutes(1)
    assert telling.saga.rested_number == telling.saga.number


def test_a_retry_ends_the_rest_and_a_resolution_begins_another() -> None:
    telling = abandoning().tell(Retried("ann", "the venue is back", Decimal(7)))
    assert telling.saga.rested_at is None
    assert telling.saga.undo_budget == 7

    telling.go_on()
    telling.later(60).tell(Resolved("ann", "sold by hand", "sold 5 AAA", "ticket 7"))
    assert telling.saga.rested_at == NOON + minutes(2)


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(
    "wish",
    [
        partial(Retried, "ann", "the venue is back"),
        partial(Resolved, "ann", "sold by hand", "sold 5 AAA", "ticket 7"),
    ],
)
def test_who_says_what_he_has_seen_is_refused_once_the_journal_has_gone_on(
    wish: Callable[..., Retried | Resolved],
) -> None:
    telling = abandoning()
    seen = telling.saga.number
    for other in (seen - 1, seen + 1):
        with pytest.raises(NotAllowed, match=f"since record {other} .* at record {seen};"):
            telling.tell(wish(seen=other))
    assert (telling.state(), telling.saga.number) == (SagaState.STALE, seen)
    telling.tell(wish(seen=seen))
    assert telling.saga.number == seen + 1


@pytest.mark.requirement("S12")
def test_a_call_of_an_owner_that_may_live_is_waited_for_until_its_timeout_and_the_fence() -> None:
    telling = started(batch_of(5), capabilities=Capabilities(call_timeout_seconds=9.0))
    telling.tell(Resumed("next", taken_over=True))

    assert telling.attempt().since == NOON + timedelta(seconds=9 + 1)
    alone = started(batch_of(5)).tell(Resumed("next"))
    assert alone.attempt().since == NOON


@pytest.mark.requirement("S3")
def test_an_attempt_that_is_lost_once_more_begins_its_search_anew() -> None:
    telling = lost(started(batch_of(5))).tell(*[NotFound(*FIRST)] * 3).tell(SentAgain(*FIRST))
    lost(telling.later(60))
    assert (telling.attempt().since, telling.attempt().asked_at) == (telling.now, None)

    telling = started(batch_of(5)).report(final=False).tell(*[NoAnswer(*FIRST, "timeout")] * 2)
    assert lost(telling).attempt().silences == 0


def test_a_retry_looks_for_what_was_lost_as_if_nobody_had_yet() -> None:
    telling = lost(started(batch_of(5))).tell(NotFound(*FIRST), GaveUp(*FIRST, "x"))
    telling.go_on()
    telling.later(60).tell(Retried("ann", "the venue is back"))

    attempt = telling.attempt()
    assert (attempt.state, attempt.since) == (AttemptState.UNKNOWN, telling.now)
    assert (attempt.not_found, attempt.silences, attempt.asked_at) == (0, 0, None)


@pytest.mark.requirement("S5")
def test_a_retry_undoes_only_what_is_to_be_rolled_back_and_the_newest_first() -> None:
    batch = batch_of(
        *(1, 1, 1, 1),
        mode=ExecutionMode.SEQUENTIAL,
        rollback_on_failure=True,
        rollback_only=("EXE_1", "EXE_2", "EXE_3"),
    )
    telling = started(batch).filled(1, 0).filled(1, 1).filled(1, 2).refused(3)
    for position in (2, 1):
        for _ in range(3):
            telling.refused(position, UNDO).later(100).go_on()
    assert telling.state() is SagaState.STALE

    telling.tell(Retried("ann", "the venue is back"))
    assert list(telling.saga.to_undo) == [1, 2]


def test_a_key_that_was_buried_stays_so() -> None:
    telling = lost(started(batch_of(5))).tell(NotFound(*FIRST, tombstone=True), NotFound(*FIRST))

    assert telling.attempt().tombstone


def test_a_window_lies_no_further_in_the_future_than_a_call_lasts() -> None:
    telling = lost(started(batch_of(5)))
    began = telling.now
    longest = timedelta(seconds=Capabilities().call_timeout_seconds + FENCE_CHECK_SECONDS)

    telling.later(-longest.total_seconds()).tell(NotFound(*FIRST))
    assert telling.attempt().since == began
    telling.later(-1).tell(NotFound(*FIRST))
    assert telling.attempt().since == telling.now + longest == began - timedelta(seconds=1)


def test_a_report_is_an_answer_and_its_instant_is_known() -> None:
    telling = started(batch_of(5)).later(60).report(final=False)

    assert telling.attempt().asked_at == NOON + minutes(1)


def test_what_never_arrived_is_tried_again_at_once() -> None:
    telling = absent(started(batch_of(5)))

    assert telling.saga.retrying == {0: telling.now}


@pytest.mark.requirement("S4")
def test_an_attempt_that_is_sent_again_begins_its_window_and_its_search_anew() -> None:
    telling = lost(started(batch_of(5))).tell(*[NotFound(*FIRST)] * 3)
    telling.later(60).tell(SentAgain(*FIRST))

    assert telling.attempt().since == telling.now
    assert telling.attempt().not_found == 0
    assert telling.attempt().sends == 2


# --- what an attempt is --------------------------------------------------------------------------


@pytest.mark.requirement("S2", "S3")
def test_what_is_handed_over_names_the_batch_the_step_and_the_attempt() -> None:
    telling = started(batch_of(5, 5)).filled(5).refused(1)
    made = telling.saga.attempt(telling.attempt(0, UNDO))

    assert (made.key, made.batch_id) == ("20261120_120000_k3v9x-0C1", BATCH_ID)
    assert (made.step, made.purpose, made.number) == (0, UNDO, 1)
    assert made.directive.kind == "core_test_give"


def test_an_undo_stays_what_was_sent_whatever_is_told_of_its_step_later() -> None:
    telling = started(batch_of(5, 5)).report(0, fills=[fill("a", 3), fill("b", 2)]).refused(1)
    telling.tell(GaveUp(0, UNDO, 1, "nobody answers"))
    telling.go_on()
    sent = telling.saga.attempt(telling.attempt(0, UNDO)).directive

    telling.tell(LateTruth(0, FORWARD, 1, final=True, by="ann", reversed=("a",)))

    assert telling.saga.attempt(telling.attempt(0, UNDO)).directive is sent
    assert telling.replayed().steps[0].undo[0].directive == sent


def test_the_records_of_a_journal_tell_the_saga_that_was_told() -> None:
    telling = started(batch_of(5, 5)).filled(5).refused(1)

    again = saga_of(Change(number, at, event) for number, at, event in telling.journal)

    assert dump(again) == dump(telling.saga)


def test_an_undo_is_asked_about_as_its_own_participant_can() -> None:
    first = submitted(batch_of(5, 5))
    slow, quick = Capabilities(poll_seconds=60.0), Capabilities(poll_seconds=1.0)
    known = {"core_test_take": quick, "core_test_give": slow}

    def undoing(capabilities: dict[str, Capabilities]) -> Telling:
        told = Telling(
            type(first)(
                batch=first.batch,
                policy=FailurePolicy(on_failure=first.policy.on_failure),
                capabilities=capabilities,
                deadline=None,
                program="trade-saga test",
                by="test",
            )
        ).tell(Started())
        told.go_on()
        return told.filled(5).refused(1)

    telling = undoing(known)
    assert telling.saga.capabilities(telling.attempt(0, FORWARD)) == quick
    assert telling.saga.capabilities(telling.attempt(0, UNDO)) == slow
    telling = undoing({"core_test_take": quick})
    assert telling.saga.capabilities(telling.attempt(0, UNDO)) == quick


def test_an_absence_that_a_report_disproves_is_none() -> None:
    telling = absent(started(batch_of(5)))
    assert telling.attempt().absent

    telling.tell(Reported(*FIRST, final=True))
    assert telling.attempt().absent
    telling = absent(started(batch_of(5))).tell(
        Reported(*FIRST, final=True, fills=(fill("late", 5),))
    )
    assert telling.attempt().absent is False
    telling = absent(started(batch_of(5))).tell(Reported(*FIRST, final=False))
    assert telling.attempt().absent is False


@pytest.mark.requirement("S10")
def test_a_fill_may_have_as_many_digits_as_can_be_reckoned_with_and_no_more() -> None:
    finest = Decimal(1).scaleb(-MAX_DECIMAL_PLACES)
    largest = Decimal(10) ** (MAX_DIGITS - 1)
    for quantity in (finest, largest):
        telling = started(batch_of(5)).tell(
            Reported(*FIRST, final=True, fills=(Fill("a", quantity, Decimal(1), Decimal(0)),))
        )
        assert telling.step().done == quantity
    for quantity in (finest / 10, largest * 10):
        with pytest.raises(NotAllowed):
            started(batch_of(5)).tell(
                Reported(*FIRST, final=True, fills=(Fill("a", quantity, Decimal(1), Decimal(0)),))
            )


def test_the_price_of_what_is_left_is_the_last_one_that_was_traded() -> None:
    telling = started(batch_of(5, 1)).filled(5, 0, price=10).refused(1)
    telling.report(0, UNDO, fills=[fill("u", 2, 8)])

    (exposure,) = telling.saga.exposures()
    assert (exposure.low, exposure.high, exposure.price) == (Decimal(3), Decimal(3), Decimal(8))


# --- reasons -------------------------------------------------------------------------------------


def test_an_attempt_knows_why_its_fate_is_unknown() -> None:
    assert lost(started(batch_of(5))).attempt().reason == "timeout"
    telling = started(batch_of(5)).report(final=False).tell(NotFound(*FIRST))
    assert telling.attempt().reason == "the participant no longer knows it"
    telling = absent(started(batch_of(5)))
    assert telling.attempt().reason == "it never reached the participant"
    assert telling.step().reason == "it never reached the participant"


def test_a_reason_is_kept_while_an_attempt_is_open_and_not_beyond_its_good_end() -> None:
    telling = started(batch_of(5)).report(final=False, reason="queued")
    telling.report(final=False, fills=[fill("a", 2)])
    assert telling.attempt().reason == "queued"

    telling.report(fills=[fill("a", 2), fill("b", 3)])
    assert telling.attempt().reason is None
    assert telling.step().reason is None


def test_a_loss_is_told_of_the_attempt_of_its_step_and_of_the_saga() -> None:
    telling = losing_track()

    words = "its participant cannot be asked about it"
    assert (telling.attempt().reason, telling.step().reason) == (words, words)
    assert telling.saga.reason == f"core_test_take AAA is unknown: {words}"
    (event,) = [e for _, _, e in telling.journal if isinstance(e, LostTrack)]
    assert telling.saga.residual == event.residual != ()


def test_a_stuck_step_says_why_whether_it_was_given_up_or_never_undone() -> None:
    telling = started(batch_of(5, 1)).filled(5).refused(1)
    telling.tell(GaveUp(0, UNDO, 1, "the venue is gone"))
    assert telling.step().reason == "the venue is gone"
    telling = started(batch_of(5, 1)).filled(5).refused(1).refused(0, UNDO)
    telling.tell(StepStuck(0, "no lender"))
    assert telling.step().reason == "no lender"


# --- refusals in words ---------------------------------------------------------------------------


def pending() -> Telling:
    return Telling(submitted(batch_of(5, 5)))


def running() -> Telling:
    return started(batch_of(5, 5))


REFUSALS: list[tuple[Callable[[], Telling], Event, str]] = [
    (
        lambda: pending().tell(Paused("ann", "lunch")),
        Paused("bob", "tea"),
        f"{BATCH_ID} cannot be paused: it is PENDING and paused",
    ),
    (
        running,
        Unpaused("bob", "back"),
        f"{BATCH_ID} cannot be unpaused: it is RUNNING and not paused",
    ),
    (
        completing,
        Paused("bob", "tea"),
        f"{BATCH_ID} cannot be paused: it is COMPLETED and not paused",
    ),
    (
        lambda: started(batch_of(5)).tell(Paused("ann", "lunch")).filled(5),
        Unpaused("bob", "back"),
        f"{BATCH_ID} cannot be unpaused: it is COMPLETED and paused",
    ),
    (
        lambda: running().tell(CANCEL),
        CANCEL,
        f"{BATCH_ID} cannot be cancelled: it is RUNNING and being cancelled",
    ),
    (completing, CANCEL, f"{BATCH_ID} cannot be cancelled: it is COMPLETED"),
    (
        losing_track,
        Retried("ann", "try"),
        f"{BATCH_ID} keeps what it did, and has no rollback to try again; resolve it",
    ),
    (completing, Resumed("next"), f"{BATCH_ID} is COMPLETED, and not resumed"),
    (
        lambda: lost(running()),
        AnswerLost(*FIRST, "timeout"),
        f"attempt {KEY} is UNKNOWN, so no answer of it can be lost",
    ),
    (running, NotFound(*FIRST), f"attempt {KEY} is SENDING, and was not looked for"),
    (
        lambda: running().filled(5),
        NotFound(*FIRST),
        f"attempt {KEY} is over, and was not looked for",
    ),
    (
        lambda: running().report(final=False, fills=[fill("a", 1), fill("b", 1)]),
        Reported(*FIRST, final=False, fills=(fill("a", 1), fill("b", 1))),
        f"fill 'a' of attempt {KEY} is already known",
    ),
    (
        running,
        Reported(*FIRST, final=False, fills=(fill("a", 0),)),
        f"fill 'a' of attempt {KEY} has a quantity that is not above zero, or a number that is "
        "not finite or too long to be reckoned with exactly",
    ),
    (running, SentAgain(*FIRST), f"attempt {KEY} is SENDING, and may not be sent again"),
    (
        lambda: lost(running().report(final=False)),
        SentAgain(*FIRST),
        f"attempt {KEY} is UNKNOWN, and may not be sent again",
    ),
    (running, ProvenAbsent(*FIRST), f"attempt {KEY} is SENDING, and may not be called absent"),
    (
        lambda: running().filled(5),
        GaveUp(*FIRST, "x"),
        f"attempt {KEY} is OVER, and neither in flight nor called absent",
    ),
    (
        running,
        StepStuck(1, "x"),
        f"step 1 cannot be stuck while {BATCH_ID} is RUNNING",
    ),
    (
        running,
        Reported(1, FORWARD, 2, final=True),
        "attempt 20261120_120000_k3v9x-1F2 was never intended",
    ),
    (
        running,
        Intended(1, UNDO, 1, Decimal(5)),
        f"attempt 20261120_120000_k3v9x-1C1 cannot be intended while {BATCH_ID} is RUNNING",
    ),
    (
        running,
        Intended(1, FORWARD, 2, Decimal(5)),
        "attempt 20261120_120000_k3v9x-1F2 is out of order",
    ),
    (
        running,
        Intended(0, FORWARD, 2, Decimal(5)),
        "attempt 20261120_120000_k3v9x-0F2 cannot be intended: one before it is not over",
    ),
    (
        running,
        Intended(1, FORWARD, 1, Decimal(6)),
        "attempt 20261120_120000_k3v9x-1F1 is for 6, but 5 is left",
    ),
    (running, Completed(), f"{BATCH_ID} has attempts that are not over"),
    (
        lambda: running().filled(5, 0).refused(1),
        RolledBack(Decimal(0)),
        f"{BATCH_ID} is not undone, and cannot be called rolled back",
    ),
    (running, StepStuck(2, "x"), f"{BATCH_ID} has no step 2"),
    (
        pending,
        submitted(batch_of(5)),
        f"a record 'submitted' may not follow in the journal of {BATCH_ID}",
    ),
]


@pytest.mark.parametrize(("make", "event", "sentence"), REFUSALS)
def test_a_refusal_says_what_is_so_and_what_was_wanted(
    make: Callable[[], Telling], event: Event, sentence: str
) -> None:
    telling = make()

    with pytest.raises(NotAllowed) as refusal:
        telling.tell(event)
    assert str(refusal.value) == sentence


@pytest.mark.requirement("S4", "S5")
def test_nothing_is_intended_where_nothing_is_left() -> None:
    telling = started(batch_of(5, 5)).filled(5)

    with pytest.raises(NotAllowed, match="is for 0, but 0 is left"):
        telling.tell(Intended(0, FORWARD, 2, Decimal(0)))


def test_a_saga_that_is_stuck_or_has_more_to_undo_is_not_rolled_back() -> None:
    stuck = started(batch_of(5, 1)).filled(5).refused(1).refused(0, UNDO)
    stuck.tell(StepStuck(0, "no lender"))
    left = started(batch_of(5, 1), capabilities=NO_WINDOW).filled(5).refused(1).refused(0, UNDO)
    gone = lost(started(batch_of(5, 1))).tell(CANCEL)
    gone.tell(GaveUp(*FIRST, "x"))
    gone.tell(*gone.decide().events)
    for telling in (stuck, left, gone):
        assert telling.state() is SagaState.COMPENSATING
        with pytest.raises(NotAllowed, match="is not undone"):
            telling.tell(RolledBack(Decimal(0)))


def test_a_journal_without_records_is_none() -> None:
    with pytest.raises(NotAllowed) as refusal:
        fold([])
    assert str(refusal.value) == "a journal without records tells of no saga"


def test_a_step_that_took_its_whole_effect_waits_for_no_retry() -> None:
    telling = started(batch_of(5, 5, retry=RetryPolicy(attempts=3))).filled(5)

    assert telling.saga.retrying == {}
    assert telling.saga.failed == {}
    assert telling.attempt().state is AttemptState.OVER
