"""What an unfinished batch waits for that nobody can account for, event by event."""

from datetime import timedelta

import pytest

from desk.unaccounted import PATIENCE_SECONDS, Waiting, waiting_of
from saga.events import AnswerLost, CancelRequested, NoAnswer, Paused, Unpaused
from saga.model import ExecutionMode
from saga.policy import RetryPolicy
from saga.store.protocol import JournalRecord
from tests.core.telling import BATCH_ID, FORWARD, UNDO, Telling, batch_of, started

KEY = "20261120_120000_k3v9x-0F1"
SLOWLY = RetryPolicy(backoff_seconds=50, backoff_max_seconds=50)


def _sending() -> Telling:
    return started(batch_of(5, 5, mode=ExecutionMode.SEQUENTIAL))


def _rolling_back(retry: RetryPolicy | None = None) -> Telling:
    """Return a batch of three legs, all filled but the last, whose rollback has begun."""
    telling = started(batch_of(5, 5, 5, max_parallel=1, retry=retry)).filled(5).filled(5, 1)
    telling.tell(CancelRequested("ann", "the wrong file")).refused(2)
    return telling


def _after(telling: Telling, seconds: float, *, is_carried_on: bool = True) -> tuple[Waiting, ...]:
    records = [
        JournalRecord(number, BATCH_ID, number, at, event, b"")
        for number, at, event in telling.journal
    ]
    now = telling.now + timedelta(seconds=seconds)
    return waiting_of(records, now, is_carried_on=is_carried_on)


@pytest.mark.requirement("S10", "T11")
def test_an_order_that_is_being_sent_is_accounted_for_until_its_call_cannot_last_any_more() -> None:
    assert _after(_sending(), 1) == ()

    (orphan,) = _after(_sending(), 1, is_carried_on=False)
    (late,) = _after(_sending(), PATIENCE_SECONDS)

    for found in (orphan, late):
        assert found.what == f"the answer to core_test_take AAA ({KEY})"
        assert found.is_overdue


@pytest.mark.requirement("S10", "T11")
def test_an_order_that_a_pause_holds_at_the_gate_is_out_only_from_the_end_of_the_pause_on() -> None:
    paused = _sending().tell(Paused("ann", "asking the broker"))
    let_go_on = _sending().tell(Paused("ann", "asking")).later(600).tell(Unpaused("ann", "it is"))

    assert _after(paused, 600) == ()
    (orphan,) = _after(paused, 600, is_carried_on=False)
    assert orphan.client_order_id == KEY  # a process that is gone may have sent it
    assert _after(let_go_on, PATIENCE_SECONDS - 1) == ()
    assert [each.since for each in _after(let_go_on, PATIENCE_SECONDS)] == [let_go_on.now]


@pytest.mark.requirement("S10", "T11")
def test_an_undo_that_a_pause_holds_at_the_gate_is_not_asked_about_at_the_broker() -> None:
    telling = _rolling_back().tell(Paused("ann", "asking the broker"))

    (stands,) = _after(telling, PATIENCE_SECONDS)

    assert stands.what == "5 of core_test_take BBB and 1 more to be undone"
    assert stands.client_order_id is None


@pytest.mark.requirement("S10", "T11")
def test_an_order_that_the_broker_has_is_accounted_for_until_it_is_silent_about_it() -> None:
    open_order = _sending().report(final=False).later(600)
    asked = _sending().report(final=False).later(600).tell(NoAnswer(0, FORWARD, 1, "no route"))

    assert _after(open_order, 600) == ()
    (young,) = _after(asked, 1)
    (old,) = _after(asked, PATIENCE_SECONDS)
    assert (young.questions, young.is_overdue, young.since) == (1, False, asked.now)
    assert old.is_overdue
    assert "1 question without an answer" in old.sentence


@pytest.mark.requirement("S10", "T11")
def test_an_unknown_fate_is_overdue_once_it_lasted_or_at_once_if_nobody_has_the_batch() -> None:
    lost = _sending().tell(AnswerLost(0, FORWARD, 1, "timeout"))

    assert [each.is_overdue for each in _after(lost, PATIENCE_SECONDS - 1)] == [False]
    assert [each.is_overdue for each in _after(lost, PATIENCE_SECONDS)] == [True]
    assert [each.is_overdue for each in _after(lost, 1, is_carried_on=False)] == [True]


@pytest.mark.requirement("S10", "T11")
def test_an_undo_that_gets_on_is_accounted_for_however_long_it_takes() -> None:
    telling = _rolling_back().later(50).filled(5, 1, UNDO)
    undone_at = telling.now
    telling.report(0, UNDO, final=False)

    assert _after(telling, PATIENCE_SECONDS - 1) == ()
    (stands,) = _after(telling, PATIENCE_SECONDS)

    assert stands.what == f"5 of core_test_take AAA to be undone ({KEY[:-2]}C1)"
    assert stands.client_order_id == f"{KEY[:-2]}C1"
    assert stands.since == undone_at
    assert stands.is_overdue


@pytest.mark.requirement("S10", "T11")
def test_an_undo_that_stands_names_an_order_only_once_that_has_been_out_for_as_long() -> None:
    telling = _rolling_back(SLOWLY).refused(1, UNDO)
    refused_at = telling.now
    telling.later(50).go_on()
    telling.report(1, UNDO, final=False)

    (before,) = _after(telling, PATIENCE_SECONDS - 50)
    (then,) = _after(telling, PATIENCE_SECONDS)

    assert before.what == "5 of core_test_take BBB and 1 more to be undone"
    assert before.client_order_id is None
    assert before.since == then.since == refused_at
    assert then.client_order_id == telling.attempt(1, UNDO).key


@pytest.mark.requirement("S10", "T11")
def test_an_undo_that_was_held_up_by_a_pause_stands_only_from_its_end_on() -> None:
    telling = _rolling_back(SLOWLY).refused(1, UNDO).tell(Paused("ann", "asking the broker"))
    telling.later(600).tell(Unpaused("ann", "the broker is back"))

    assert _after(telling, PATIENCE_SECONDS - 1) == ()
    assert [each.since for each in _after(telling, PATIENCE_SECONDS)] == [telling.now]


@pytest.mark.requirement("S10", "T11")
def test_an_undo_that_nobody_carries_on_is_told_of_at_once_with_its_order() -> None:
    telling = _rolling_back().report(1, UNDO, final=False)

    (left,) = _after(telling, 1, is_carried_on=False)

    assert left.client_order_id == telling.attempt(1, UNDO).key
    assert left.is_overdue
