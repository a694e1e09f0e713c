"""Late truth: what is told about a saga at rest, and what becomes of it (S6, S8, S9)."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.core import decide, observe, observe_late
from saga.errors import NotAllowed
from saga.events import (
    Adjustment,
    AnswerLost,
    CancelRequested,
    Event,
    IncidentClosed,
    LateTruth,
    NotFound,
    ProvenAbsent,
    Resolved,
    Retried,
)
from saga.ids import Purpose
from saga.ledger import AttemptState
from saga.machine import SAGA_TRANSITIONS, SagaState, StepState
from saga.model import ExecutionMode
from saga.outcome import Exposure, Fill, Report
from saga.policy import Capabilities, OnFailure
from saga.views import SagaOutcome, batch_row, changed_steps, saga_outcome, trade_row
from tests.core.telling import FORWARD, UNDO, Give, Telling, batch_of, dump, fill, started

WATCHER = "the watcher"
BLIND = Capabilities(look_up=False)
CANCEL = CancelRequested("ann", "mind changed")
RETRY = Retried("ann", "the venue is back")


def learn(telling: Telling, attempt_of: tuple[int, Purpose, int], report: Report) -> bool:
    """Let a saga at rest hear a report; tell whether anything in it was new."""
    step, purpose, number = attempt_of
    truth = observe_late(telling.attempt(step, purpose, number), report, by=WATCHER)
    if truth is not None:
        telling.tell(truth)
    return truth is not None


def completed() -> Telling:
    return started(batch_of(5, 5)).report(0, fills=[fill("a", 5)]).report(1, fills=[fill("b", 5)])


def rolled_back() -> Telling:
    """Leg 1 was filled and undone, leg 2 was never found, and called absent."""
    telling = started(batch_of(5, 5)).report(0, fills=[fill("a", 5)])
    telling.tell(AnswerLost(1, FORWARD, 1, "timeout"), CANCEL, ProvenAbsent(1, FORWARD, 1)).go_on()
    telling.report(0, UNDO, fills=[fill("c", 5, 9, 1)]).tell(NotFound(1, FORWARD, 1))
    telling.go_on()
    assert telling.state() is SagaState.ROLLED_BACK
    return telling


def stale(*, forward: bool = True) -> Telling:
    """The fate of leg 1, or of its undo, cannot be found out."""
    telling = started(batch_of(5, 5), capabilities=BLIND)
    if forward:
        telling.tell(AnswerLost(0, FORWARD, 1, "timeout")).go_on()
    else:
        telling.report(0, fills=[fill("a", 5)]).refused(1)
        telling.tell(AnswerLost(0, UNDO, 1, "timeout")).go_on()
    assert telling.state() is SagaState.STALE
    return telling


def ends(telling: Telling) -> list[tuple[int, int]]:
    return [(int(each.low), int(each.high)) for each in telling.saga.residual]


def late(telling: Telling) -> list[tuple[int, int]]:
    return [(int(each.low), int(each.high)) for each in telling.saga.late_exposures()]


# --- what is new in a report ---------------------------------------------------------------------


@pytest.mark.requirement("S9")
def test_what_is_known_already_is_no_late_truth() -> None:
    telling = completed()
    known = Report(True, (fill("a", 5),))
    assert not learn(telling, (0, FORWARD, 1), known)
    assert not learn(telling, (0, FORWARD, 1), Report(False, (fill("a", 5),)))
    assert telling.saga.incidents == []


@pytest.mark.requirement("S9")
def test_a_fill_that_is_merely_forgotten_changes_nothing() -> None:
    telling = completed()
    assert not learn(telling, (0, FORWARD, 1), Report(True))
    assert telling.step(0).done == 5


@pytest.mark.requirement("S9")
def test_new_fills_beside_forgotten_ones_may_be_the_same_under_a_new_id_and_are_no_answer() -> None:
    telling = completed()
    with pytest.raises(ValueError, match="'a', which was told before, is missing"):
        observe_late(telling.attempt(0), Report(True, (fill("z", 5),)), by=WATCHER)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report(True, (fill("a", 5),), reversed=("a",)), "'a' stands, and is taken back"),
        (Report(True, (fill("a", 5), fill("z", -1))), "has the quantity -1"),
        (Report(True, (fill("a", 5), fill("z", 1, -1))), "has the price -1"),
    ],
)
def test_a_report_that_cannot_be_true_is_no_answer(report: Report, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        observe_late(completed().attempt(0), report, by=WATCHER)


def test_what_was_proven_absent_and_is_said_to_have_had_no_effect_is_no_news() -> None:
    assert not learn(rolled_back(), (1, FORWARD, 1), Report(True, reason="rejected"))


def test_an_order_that_is_still_open_is_told_once() -> None:
    telling = stale()
    assert learn(telling, (0, FORWARD, 1), Report(False))
    assert not learn(telling, (0, FORWARD, 1), Report(False))
    assert len(telling.saga.open_incidents) == 1


def test_a_reversal_of_a_fill_that_was_never_told_of_is_no_news() -> None:
    assert not learn(completed(), (0, FORWARD, 1), Report(True, (fill("a", 5),), reversed=("x",)))


# --- a saga that has ended -----------------------------------------------------------------------


@pytest.mark.requirement("S6", "S8", "S9")
@pytest.mark.scenario("A8")
def test_an_order_called_absent_that_fills_after_the_end_is_an_incident_and_no_new_state() -> None:
    telling = rolled_back()
    outcome, rested = saga_outcome(telling.saga), telling.saga.rested_at
    telling.later(30)
    assert learn(telling, (1, FORWARD, 1), Report(True, (fill("late", 5, 11),)))
    assert telling.state() is SagaState.ROLLED_BACK
    assert (saga_outcome(telling.saga), telling.saga.rested_at) == (outcome, rested)
    assert telling.saga.late_exposures() == (
        Exposure("BBB", Decimal(5), Decimal(5), Decimal(11), ()),
    )
    row = batch_row(telling.saga)
    assert (row.incidents, row.status, row.failed_trades) == (1, "cancelled", 1)
    assert trade_row(telling.saga, telling.step(1)).done == 5
    assert not learn(telling, (1, FORWARD, 1), Report(True, (fill("late", 5, 11),)))
    assert decide(telling.saga, telling.now).events == ()


@pytest.mark.requirement("S6", "S9")
@pytest.mark.scenario("B-12")
def test_a_trade_busted_after_it_was_undone_leaves_what_its_undo_left() -> None:
    telling = rolled_back()
    cost = telling.saga.undo_cost
    assert learn(telling, (0, FORWARD, 1), Report(True, reason="busted", reversed=("a",)))
    assert telling.state() is SagaState.ROLLED_BACK
    (exposure,) = telling.saga.late_exposures()
    assert (exposure.subject, exposure.low, exposure.high) == ("AAA", Decimal(-5), Decimal(-5))
    assert telling.step(0).value == 0
    assert telling.saga.undo_cost == cost, "what the undo cost is known, and was paid"
    assert not learn(telling, (0, FORWARD, 1), Report(True, reversed=("a",))), "once"


@pytest.mark.requirement("S9")
def test_a_fill_is_reversed_once_and_never_applied_again() -> None:
    telling = completed()
    reversal = LateTruth(0, FORWARD, 1, True, WATCHER, reversed=("a",))
    telling.tell(reversal)
    with pytest.raises(NotAllowed, match="to be reversed"):
        telling.tell(reversal)
    with pytest.raises(NotAllowed, match="already known"):
        telling.tell(LateTruth(0, FORWARD, 1, True, WATCHER, fills=(fill("a", 5),)))
    assert not learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 5),)))
    assert telling.step(0).done == 0


@pytest.mark.requirement("S9")
def test_a_correction_is_a_reversal_and_a_new_fill() -> None:
    telling = completed()
    report = Report(True, (fill("a2", 5, 12),), reversed=("a",))
    assert learn(telling, (0, FORWARD, 1), report)
    assert (telling.step(0).done, telling.step(0).value) == (Decimal(5), Decimal(60))
    assert telling.saga.late_exposures() == ()
    assert len(telling.saga.open_incidents) == 1
    assert saga_outcome(telling.saga) is SagaOutcome.SUCCESS


@pytest.mark.requirement("S6")
@pytest.mark.scenario("C5")
def test_an_overfill_that_is_told_after_the_end_is_what_is_held_in_excess() -> None:
    telling = completed()
    assert learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 5), fill("more", 1))))
    assert saga_outcome(telling.saga) is SagaOutcome.SUCCESS
    assert late(telling) == [(1, 1)]


def test_what_is_held_otherwise_than_the_end_says_is_told_by_subject_and_signed() -> None:
    give = Give(directive_id="EXE_1", quantity=Decimal(5), symbol="AAA")
    telling = started(batch_of(3, give))
    telling.report(0, fills=[fill("a", 3)]).report(1, fills=[fill("b", 5)])
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 3), fill("a2", 2))))
    learn(telling, (1, FORWARD, 1), Report(True, (fill("b", 5), fill("b2", 1))))
    assert late(telling) == [(1, 1)]


@pytest.mark.requirement("S6")
def test_an_order_found_open_after_the_end_is_an_interval_until_it_is_over() -> None:
    telling = rolled_back()
    assert learn(telling, (1, FORWARD, 1), Report(False, (fill("late", 1),)))
    assert telling.attempt(1).state is AttemptState.LOST
    (exposure,) = telling.saga.late_exposures()
    assert (exposure.low, exposure.high) == (Decimal(1), Decimal(5))
    assert exposure.unproven == (telling.attempt(1).key,)
    assert learn(telling, (1, FORWARD, 1), Report(True, (fill("late", 1),), "cancelled"))
    assert late(telling) == [(1, 1)]
    assert len(telling.saga.open_incidents) == 2


def test_an_undo_found_open_after_the_end_may_take_more_away() -> None:
    telling = rolled_back()
    attempt = telling.attempt(0, UNDO)
    telling.tell(LateTruth(0, UNDO, 1, True, WATCHER, reversed=("c",)))
    assert late(telling) == [(5, 5)]
    telling.tell(LateTruth(0, UNDO, 1, False, WATCHER, fills=(fill("c2", 2, 9),)))
    assert attempt.done == 2
    assert late(telling) == [(0, 3)]


@pytest.mark.requirement("S9")
def test_an_undo_that_is_reversed_gives_its_cost_back() -> None:
    telling = rolled_back()
    assert telling.saga.undo_cost == 6
    telling.tell(LateTruth(0, UNDO, 1, True, WATCHER, reversed=("c",)))
    assert (telling.step(0).undone, telling.saga.undo_cost) == (Decimal(0), Decimal(0))
    telling.tell(LateTruth(0, UNDO, 1, True, WATCHER, fills=(fill("c2", 5, 8, 1),)))
    assert (telling.step(0).undone, telling.saga.undo_cost) == (Decimal(5), Decimal(11))


# --- a STALE saga --------------------------------------------------------------------------------


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(
    ("report", "residual", "state"),
    [
        (Report(True, (fill("a", 5),)), [(5, 5)], StepState.DONE),
        (Report(True, (fill("a", 2),)), [(2, 2)], StepState.PARTIAL),
        (Report(True, reason="rejected"), [], StepState.REFUSED),
        (Report(False, (fill("a", 2),)), [(2, 5)], StepState.UNKNOWN),
    ],
)
def test_late_truth_narrows_what_a_stale_saga_may_hold(
    report: Report, residual: list[tuple[int, int]], state: StepState
) -> None:
    telling = stale()
    assert ends(telling) == [(0, 5)]
    assert learn(telling, (0, FORWARD, 1), report)
    assert telling.state() is SagaState.STALE
    assert ends(telling) == residual
    assert telling.step(0).state is state
    assert telling.saga.late_exposures() == ()
    assert batch_row(telling.saga).incidents == 1


@pytest.mark.requirement("S6")
def test_late_truth_about_an_undo_moves_the_residual() -> None:
    telling = stale(forward=False)
    assert ends(telling) == [(0, 5)]
    learn(telling, (0, UNDO, 1), Report(True, (fill("u", 3),)))
    assert (ends(telling), telling.step(0).state) == ([(2, 2)], StepState.STUCK)
    learn(telling, (0, UNDO, 1), Report(True, (fill("u", 3), fill("v", 2))))
    assert (ends(telling), telling.step(0).state) == ([], StepState.COMPENSATED)
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 5), fill("b", 1))))
    assert (ends(telling), telling.step(0).state) == ([(1, 1)], StepState.STUCK)


def test_a_rollback_tried_again_after_late_truth_undoes_what_is_true() -> None:
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 2),)))
    telling.tell(RETRY).go_on()
    assert telling.attempt(0, UNDO).amount == 2
    telling.report(0, UNDO, fills=[fill("u", 2)])
    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.saga.open_incidents, "only a person closes it"


def test_a_bust_leaves_nothing_to_undo_when_the_rollback_is_tried_again() -> None:
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 5),)))
    learn(telling, (0, FORWARD, 1), Report(True, reversed=("a",)))
    assert (ends(telling), telling.step(0).state) == ([], StepState.REFUSED)
    telling.tell(RETRY).go_on()
    assert telling.state() is SagaState.ROLLED_BACK


def test_what_was_reversed_is_not_missing_when_it_is_looked_up_again() -> None:
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(False, (fill("a", 2),)))
    learn(telling, (0, FORWARD, 1), Report(False, reversed=("a",)))
    telling.tell(RETRY)
    (event,) = observe(telling.attempt(0), Report(True))
    telling.tell(event).go_on()
    assert telling.state() is SagaState.ROLLED_BACK


def test_a_batch_that_keeps_what_it_did_has_no_residual_once_its_fate_is_known() -> None:
    telling = started(
        batch_of(5, mode=ExecutionMode.PARALLEL), on_failure=OnFailure.KEEP, capabilities=BLIND
    )
    telling.tell(AnswerLost(0, FORWARD, 1, "timeout")).go_on()
    assert ends(telling) == [(0, 5)]
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 2),)))
    assert ends(telling) == []


def test_the_residual_of_a_batch_that_was_resolved_stays_as_it_was_then() -> None:
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 2),)))
    telling.tell(Resolved("ann", "sold", "sold 2", "ticket"))
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 2), fill("b", 1))))
    assert ends(telling) == [(2, 2)]


# --- incidents -----------------------------------------------------------------------------------


def test_an_operator_closes_what_he_has_seen_and_nothing_later() -> None:
    telling = completed()
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 5), fill("x", 1))))
    seen = telling.saga.number
    learn(telling, (1, FORWARD, 1), Report(True, (fill("b", 5), fill("y", 2))))
    close = IncidentClosed(
        "ann", "sold it", seen, adjustments=(Adjustment("AAA", -Decimal(1), Decimal(10)),)
    )
    telling.tell(close)
    assert [each.closed for each in telling.saga.incidents] == [close, None]
    assert late(telling) == [(2, 2)]
    assert batch_row(telling.saga).incidents == 1
    with pytest.raises(NotAllowed, match="no open incident"):
        telling.tell(close)
    telling.tell(IncidentClosed("ann", "kept it", telling.saga.number))
    assert telling.saga.late_exposures() == ()


def test_a_resolution_leaves_the_incident_open_because_nobody_says_that_it_was_seen() -> None:
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(True, (fill("a", 2),)))
    telling.tell(Resolved("ann", "sold", "sold 2", "ticket"))
    assert telling.saga.late_exposures() == (), "the residual said it"
    assert batch_row(telling.saga).incidents == 1


HAND = Adjustment("AAA", Decimal(3), Decimal(-30), "c")
"""Booked under the id of a fill that the journal does not have yet."""


@pytest.mark.requirement("S9")
@pytest.mark.parametrize(
    ("booked", "gone"),
    [
        ((HAND,), 3),
        ((replace(HAND, quantity=Decimal(2)), replace(HAND, quantity=Decimal(1))), 3),
        ((HAND, replace(HAND, quantity=Decimal(0), cash=Decimal(-1))), 3),
        ((replace(HAND, quantity=Decimal(2)),), 0),
        ((replace(HAND, quantity=-Decimal(3)),), 0),
        ((HAND, replace(HAND, quantity=-Decimal(3))), 0),
        ((replace(HAND, reference="d"),), 0),
        ((replace(HAND, reference=None),), 0),
        ((replace(HAND, subject="BBB"),), 0),
    ],
    ids=[
        *(
            "the fill",
            "in pieces",
            "and its fee",
            "not as much",
            "the other way",
            "and undone again",
        ),
        *("another trade", "no trade", "another symbol"),
    ],
)
@pytest.mark.parametrize("retried", [False, True])
def test_what_was_booked_under_the_id_of_a_fill_gives_way_to_it_once_it_is_told_of(
    booked: tuple[Adjustment, ...], gone: int, retried: bool
) -> None:
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(False, (fill("a", 1),)))
    telling.tell(
        IncidentClosed("ann", "it was filled", telling.saga.number, adjustments=booked)
        if retried
        else Resolved("ann", "it was filled", "kept", "ticket", booked)
    )
    assert telling.saga.by_hand == list(booked)
    whole = (fill("a", 1), fill("c", 3))
    if retried:
        telling.tell(RETRY).report(0, fills=whole)
    else:
        learn(telling, (0, FORWARD, 1), Report(True, whole))
    left = sum(each.quantity for each in telling.saga.by_hand)
    assert left == sum(each.quantity for each in booked) - gone


@pytest.mark.requirement("S8")
@pytest.mark.parametrize(
    "event",
    [
        LateTruth(0, FORWARD, 1, True, WATCHER),
        IncidentClosed("ann", "nothing", 99),
    ],
)
def test_late_truth_about_a_saga_under_way_is_refused(event: Event) -> None:
    telling = started(batch_of(5, 5))
    before = dump(telling.saga)
    with pytest.raises(NotAllowed):
        telling.tell(event)
    assert dump(telling.saga) == before


def test_late_truth_about_what_was_never_intended_is_refused() -> None:
    with pytest.raises(NotAllowed, match="never intended"):
        completed().tell(LateTruth(0, FORWARD, 2, True, WATCHER))


@pytest.mark.requirement("S8")
def test_the_published_graph_has_no_arrow_for_late_truth() -> None:
    ended = {SagaState.COMPLETED.value, SagaState.ROLLED_BACK.value}
    assert not [arrow for arrow in SAGA_TRANSITIONS if arrow.source in ended]


def test_only_the_step_that_it_concerns_has_a_new_view() -> None:
    telling = completed()
    truth = LateTruth(1, FORWARD, 1, True, WATCHER, fills=(fill("x", 1),))
    telling.tell(truth)
    close = IncidentClosed("ann", "kept", telling.saga.number)
    telling.tell(close)
    assert [step.position for step in changed_steps(telling.saga, [truth, close])] == [1]


# --- everything that may be told, in any order ---------------------------------------------------


@st.composite
def told_late(draw: st.DrawFn) -> tuple[int, Purpose, bool, tuple[Fill, ...], bool]:
    quantity = draw(st.integers(0, 3))
    name = draw(st.sampled_from("mnopqr"))
    fills = (fill(name, quantity),) if quantity else ()
    return (
        draw(st.integers(0, 1)),
        draw(st.sampled_from((FORWARD, UNDO))),
        draw(st.booleans()),
        fills,
        draw(st.booleans()),
    )


@pytest.mark.requirement("S6", "S8", "S9", "S11")
@given(
    of=st.sampled_from((completed, rolled_back, stale, lambda: stale(forward=False))),
    news=st.lists(told_late(), max_size=6),
)
def test_whatever_is_told_late_the_figures_are_the_sums_and_a_retry_comes_to_rest(
    of: Callable[[], Telling], news: list[tuple[int, Purpose, bool, tuple[Fill, ...], bool]]
) -> None:
    telling = of()
    state, outcome = telling.state(), saga_outcome(telling.saga)
    for position, purpose, final, fills, takes_back in news:
        attempts = telling.step(position).attempts(purpose)
        if not attempts:
            continue
        attempt = attempts[-1]
        standing = tuple(attempt.fills)
        gone = (standing[0].fill_id,) if takes_back and standing else ()
        stays = tuple(each for each in standing if each.fill_id not in gone)
        fresh = tuple(each for each in fills if each.fill_id not in attempt.fill_ids)
        report = Report(final, (*stays, *fresh), reversed=gone)
        truth = observe_late(attempt, report, by=WATCHER)
        if truth is not None:
            telling.tell(truth)
    assert (telling.state(), saga_outcome(telling.saga)) == (state, outcome)
    for step in telling.saga.steps:
        assert step.done == sum(f.quantity for a in step.forward for f in a.fills)
        assert step.undone == sum(f.quantity for a in step.undo for f in a.fills)
        trade_row(telling.saga, step)
    assert dump(telling.replayed()) == dump(telling.saga)
    if state is SagaState.STALE:
        known = {each.subject: (each.low, each.high) for each in telling.saga.residual}
        for step in telling.saga.steps:
            least, most = known.get(str(step.directive.subject), (Decimal(0), Decimal(0)))
            assert least <= step.left_to_undo <= most
        telling.tell(RETRY)
        _settle(telling)
        assert telling.state() in (SagaState.ROLLED_BACK, SagaState.STALE)
        if telling.state() is SagaState.ROLLED_BACK:
            assert all(step.left_to_undo == 0 for step in telling.saga.steps)


def _settle(telling: Telling) -> None:
    """Let the rollback go on: every undo fills in full, every question has no more to tell."""
    for _ in range(20):
        telling.go_on()
        live = list(telling.saga.live.values())
        if not live:
            return
        for attempt in live:
            if attempt.state is AttemptState.SENDING:
                fills = (*attempt.fills, Fill(f"{attempt.key}/x", attempt.open_amount, Decimal(9)))
            else:
                fills = tuple(attempt.fills)
            telling.tell(*observe(attempt, Report(True, fills)))
    raise AssertionError("it does not come to rest")
