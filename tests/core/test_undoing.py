"""How what took effect is undone: newest first, what was really filled, at least three times."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.events import Abandoned, CancelRequested, Paused, Resolved, Retried, RolledBack, Unpaused
from saga.machine import SagaState, StepState
from saga.model import ExecutionMode
from saga.outcome import Fill
from saga.policy import Capabilities, OnFailure, RetryPolicy
from saga.views import SagaOutcome, saga_outcome, trade_row
from tests.core.telling import UNDO, Give, Tell, Telling, batch_of, fill, started

SEQUENTIAL, PARALLEL, ATOMIC = ExecutionMode
CANCEL = CancelRequested("ann", "mind changed")


def undoing(quantity: int = 5, **how: object) -> Telling:
    """One leg filled in full, the second refused: the first is being undone."""
    return started(batch_of(quantity, 1), **how).filled(quantity, 0).refused(1)


def fail_the_undo(telling: Telling, tries: int = 3) -> Telling:
    for _ in range(tries):
        telling.refused(0, UNDO).later(100).go_on()
    return telling


@pytest.mark.requirement("D5", "O5", "O7", "S5")
def test_the_undo_is_the_inverse_of_what_was_really_filled() -> None:
    telling = started(batch_of(5)).filled(2, price=7)

    sent = telling.saga.attempt(telling.attempt(0, UNDO)).directive

    assert isinstance(sent, Give)
    assert sent.quantity == 2
    assert sent.rollback


@pytest.mark.requirement("O7", "E3")
def test_the_newest_effect_is_undone_first_and_one_at_a_time() -> None:
    telling = started(batch_of(1, 1, 1, 1, max_parallel=4))
    telling.filled(1, 2).filled(1, 0).filled(1, 1).refused(3)

    undone = []
    while telling.state() is SagaState.COMPENSATING:
        (attempt,) = telling.saga.live.values()
        undone.append(attempt.step)
        telling.filled(1, attempt.step, UNDO)

    assert undone == [1, 0, 2]
    assert telling.state() is SagaState.ROLLED_BACK


@pytest.mark.requirement("O7")
def test_a_refused_step_has_nothing_to_undo() -> None:
    telling = started(batch_of(1)).refused()

    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.step().state is StepState.REFUSED
    assert telling.step().undo == []


@pytest.mark.requirement("O8")
def test_a_trade_is_marked_as_rolled_back_from_its_first_undo_on() -> None:
    telling = started(batch_of(1, 1)).filled(1, 0)
    assert not trade_row(telling.saga, telling.step(0)).rollback

    telling.refused(1)

    assert trade_row(telling.saga, telling.step(0)).rollback
    assert not trade_row(telling.saga, telling.step(1)).rollback


@pytest.mark.requirement("O7", "S5")
def test_a_partly_filled_undo_is_tried_again_for_the_rest_only() -> None:
    telling = undoing().filled(2, 0, UNDO)
    assert telling.saga.live == {}

    telling.later(1).go_on()

    assert telling.attempt(0, UNDO).amount == 3
    telling.filled(3, 0, UNDO)
    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.step(0).state is StepState.COMPENSATED


@pytest.mark.requirement("O7", "B11")
def test_an_undo_is_tried_three_times_with_backoff_across_restarts_and_then_it_is_stale() -> None:
    telling = undoing()
    waits = []
    for _ in range(2):
        telling.refused(0, UNDO)
        telling.saga = telling.replayed()
        wake_at = telling.decide().wake_at
        assert wake_at is not None
        waits.append((wake_at - telling.now).total_seconds())
        telling.later(waits[-1]).go_on()
    telling.refused(0, UNDO)

    assert waits == [1, 2]
    assert telling.state() is SagaState.STALE
    assert telling.step(0).state is StepState.STUCK
    assert telling.decide().events == ()
    (exposure,) = telling.saga.residual
    assert exposure.subject == "AAA"
    assert exposure.low == exposure.high == 5
    assert exposure.price == 10
    assert exposure.unproven == ()


@pytest.mark.requirement("O7")
def test_more_tries_can_be_asked_for_an_undo() -> None:
    retry = RetryPolicy(compensation_attempts=5)
    telling = started(batch_of(1, 1, retry=retry)).filled(1, 0).refused(1)

    fail_the_undo(telling, 4)
    assert telling.state() is SagaState.COMPENSATING

    fail_the_undo(telling, 1)
    assert telling.state() is SagaState.STALE


def test_one_stuck_undo_does_not_keep_the_others_from_being_undone() -> None:
    telling = started(batch_of(1, 1, 1)).filled(1, 0).filled(1, 1).refused(2)
    for _ in range(3):
        telling.refused(1, UNDO).later(100).go_on()

    telling.filled(1, 0, UNDO)

    assert telling.state() is SagaState.STALE
    assert [step.state for step in telling.saga.steps[:2]] == [
        StepState.COMPENSATED,
        StepState.STUCK,
    ]
    assert [exposure.subject for exposure in telling.saga.residual] == ["BBB"]


def test_what_cannot_be_undone_is_stuck_and_named() -> None:
    telling = started(batch_of(Tell(directive_id="EXE_tell"), 1)).filled(1, 0).refused(1)

    assert telling.state() is SagaState.STALE
    assert "nothing undoes a directive of kind 'core_test_tell'" in (telling.saga.reason or "")
    assert [exposure.subject for exposure in telling.saga.residual] == ["EXE_tell"]


@pytest.mark.requirement("S5", "S6")
def test_an_overfilled_undo_ends_as_stale_with_what_is_too_much() -> None:
    telling = undoing(5).filled(7, 0, UNDO)

    assert telling.state() is SagaState.STALE
    assert "2 more were undone than took effect" in (telling.saga.reason or "")
    (exposure,) = telling.saga.residual
    assert exposure.low == exposure.high == -2

    telling.tell(Retried("ann", "look again")).go_on()  # an engine must not make it worse
    assert telling.state() is SagaState.STALE
    assert len(telling.step(0).undo) == 1


def test_the_exposure_of_a_sale_is_what_is_missing() -> None:
    give = Give(directive_id="EXE_give", quantity=Decimal(5), symbol="AAA")
    telling = started(batch_of(give, 1)).filled(5, 0).refused(1)
    fail_the_undo(telling)

    (exposure,) = telling.saga.residual
    assert exposure.low == exposure.high == -5


@pytest.mark.requirement("E14")
def test_only_the_named_directives_are_undone() -> None:
    batch = batch_of(1, 1, 1, mode=SEQUENTIAL, rollback_on_failure=True, rollback_only=("EXE_1",))
    telling = started(batch).filled(1, 0).filled(1, 1).refused(2).filled(1, 1, UNDO)

    assert telling.state() is SagaState.ROLLED_BACK
    assert [step.left_to_undo for step in telling.saga.steps] == [1, 0, 0]


# --- budget --------------------------------------------------------------------------------------


def test_an_undo_past_its_budget_stops_as_stale_and_goes_on_with_a_larger_one() -> None:
    telling = undoing(undo_budget=Decimal(3)).filled(2, 0, UNDO, price=8)
    telling.later(1).go_on()

    assert telling.state() is SagaState.STALE
    assert telling.saga.reason == "the undo has cost 4, which is past its budget of 3"
    (exposure,) = telling.saga.residual
    assert exposure.high == 3

    telling.tell(Retried("ann", "go on", Decimal(20))).go_on()
    telling.filled(3, 0, UNDO, price=8)
    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.journal[-1][2] == RolledBack(Decimal(10))


def test_an_undo_that_costs_just_its_budget_goes_on() -> None:
    telling = undoing(undo_budget=Decimal(4)).filled(2, 0, UNDO, price=8).later(1)
    telling.go_on()

    assert telling.attempt(0, UNDO).amount == 3


# --- pause, patience, retry, resolve -------------------------------------------------------------


def test_compensations_wait_while_paused() -> None:
    telling = undoing().tell(Paused("ann", "lunch")).refused(0, UNDO).later(100)
    assert telling.decide().events == ()

    telling.tell(Unpaused("ann", "back")).go_on()
    assert telling.attempt(0, UNDO).number == 2


def test_an_undo_that_is_out_of_tries_calls_for_a_person_even_while_paused() -> None:
    telling = fail_the_undo(undoing(), 2).tell(Paused("ann", "lunch"))

    telling.refused(0, UNDO)

    assert telling.state() is SagaState.STALE


def test_an_open_undo_is_withdrawn_after_its_patience_and_not_before() -> None:
    telling = undoing().report(0, UNDO, final=False)
    assert telling.ask().question.value == "look_up"

    telling.later(60)

    assert telling.ask().question.value == "withdraw"


def test_the_patience_with_an_undo_begins_when_it_is_there_and_not_with_its_intent() -> None:
    telling = undoing().later(61).report(0, UNDO, final=False)

    assert telling.later(59).report(0, UNDO, final=False).ask().question.value == "look_up"
    assert telling.later(1).ask().question.value == "withdraw"


def test_an_open_undo_that_cannot_be_withdrawn_is_looked_up_instead() -> None:
    telling = undoing(capabilities=Capabilities(cancel=False)).report(0, UNDO, final=False)

    assert telling.later(60).ask().question.value == "look_up"


@pytest.mark.requirement("B9", "O7")
def test_a_retry_gives_a_stuck_undo_a_new_round_of_tries() -> None:
    telling = fail_the_undo(undoing())
    assert "could not be undone" in (telling.saga.reason or "")
    telling.tell(Retried("ann", "the venue is back")).go_on()
    assert telling.attempt(0, UNDO).number == 4

    telling = fail_the_undo(telling, 2)
    assert telling.state() is SagaState.COMPENSATING
    telling.filled(5, 0, UNDO)

    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.saga.residual == ()


@pytest.mark.requirement("B9", "O7")
def test_a_rollback_that_is_tried_again_is_over_for_the_reason_for_which_it_began() -> None:
    telling = undoing()
    began = telling.saga.reason
    fail_the_undo(telling)
    left = telling.saga.reason

    telling.tell(Retried("ann", "the venue is back")).go_on()
    tried_again = telling.saga.reason
    telling.filled(5, 0, UNDO)

    assert began is not None
    assert "refused" in began
    assert left != began
    assert tried_again == telling.saga.reason == began


def test_a_retry_undoes_newest_first_again() -> None:
    telling = started(batch_of(1, 1, 1, mode=PARALLEL, rollback_on_failure=True))
    telling.filled(1, 1).filled(1, 0).refused(2)
    for position in (0, 1):
        for _ in range(3):
            telling.refused(position, UNDO).later(100).go_on()

    telling.tell(Retried("ann", "the venue is back")).go_on()

    assert [attempt.step for attempt in telling.saga.live.values()] == [0]


@pytest.mark.requirement("B9")
def test_a_person_resolves_what_was_left() -> None:
    telling = fail_the_undo(undoing())
    resolved = Resolved("ann", "sold by hand", "sold 5 AAA", "ticket 7")

    telling.tell(resolved)

    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.saga.resolved == resolved
    assert telling.saga.rested_at == telling.now
    assert saga_outcome(telling.saga) is SagaOutcome.FAILED


def test_a_stale_saga_says_why_and_how_many_more() -> None:
    telling = started(batch_of(1, 1, 1)).filled(1, 0).filled(1, 1).refused(2)
    for position in (1, 0):
        for _ in range(3):
            telling.refused(position, UNDO).later(100).go_on()

    (abandoned,) = [e for _, _, e in telling.journal if isinstance(e, Abandoned)]
    assert abandoned.reason == (
        "core_test_take BBB could not be undone: 3 tries to undo it failed; "
        "the last: no margin (and 1 more)"
    )


def test_exposures_of_one_subject_are_added_up() -> None:
    legs = [Give(directive_id=f"EXE_give{n}", quantity=Decimal(n), symbol="AAA") for n in (1, 2)]
    telling = started(batch_of(*legs, 1)).filled(1, 0).filled(2, 1).refused(2)
    for position in (1, 0):
        for _ in range(3):
            telling.refused(position, UNDO).later(100).go_on()

    (exposure,) = telling.saga.residual
    assert exposure.low == exposure.high == -3


# --- what an undo costs --------------------------------------------------------------------------

prices = st.decimals("0.01", "999", places=2)
pieces = st.lists(st.tuples(st.integers(1, 50), prices, prices), min_size=1, max_size=5)


@given(bought=pieces, sold=pieces, cut=st.integers(1, 100))
def test_the_cost_of_an_undo_is_exact_to_the_last_digit(
    bought: list[tuple[int, Decimal, Decimal]],
    sold: list[tuple[int, Decimal, Decimal]],
    cut: int,
) -> None:
    quantity = sum(number for number, _, _ in bought)
    fills = [Fill(f"b{n}", Decimal(q), p, fee) for n, (q, p, fee) in enumerate(bought)]
    telling = started(batch_of(quantity + cut)).report(fills=fills)
    left = quantity
    undo_fills = []
    for n, (number, price, fee) in enumerate([*sold, (quantity, Decimal(5), Decimal("0.01"))]):
        if left:
            undo_fills.append(Fill(f"s{n}", Decimal(min(number, left)), price, fee))
            left -= min(number, left)

    telling.report(0, UNDO, fills=undo_fills)

    paid = sum(f.quantity * f.price + f.fee for f in fills)
    received = sum(f.quantity * f.price - f.fee for f in undo_fills)
    assert telling.state() is SagaState.ROLLED_BACK
    assert telling.saga.undo_cost == paid - received


def test_a_gain_is_a_negative_cost_and_a_short_leg_counts_the_other_way() -> None:
    telling = undoing().filled(5, 0, UNDO, price=12)
    assert telling.saga.undo_cost == -10

    give = Give(directive_id="EXE_give", quantity=Decimal(5))
    telling = started(batch_of(give, 1)).filled(5, 0).refused(1).filled(5, 0, UNDO, price=12)
    assert telling.saga.undo_cost == 10


def test_a_forward_fee_is_charged_once_even_if_its_fill_is_undone_in_parts() -> None:
    telling = started(batch_of(6)).report(fills=[fill("b", 5, price=10, fee=3)])

    telling.report(0, UNDO, fills=[fill("s1", 2), fill("s2", 3)])

    assert telling.saga.undo_cost == 3


def test_keep_never_undoes() -> None:
    telling = started(batch_of(1, 1, mode=PARALLEL), on_failure=OnFailure.KEEP)
    telling.filled(1, 0).tell(CANCEL).refused(1)

    assert telling.state() is SagaState.COMPLETED
    assert telling.step(0).left_to_undo == 1
