"""What an unfinished batch waits for that nobody can account for, event by event."""

from datetime import timedelta

import pytest

from desk.waiting import PATIENCE_SECONDS, Waiting, waiting_of
from saga.events import AnswerLost, NoAnswer
from saga.model import ExecutionMode
from saga.store.protocol import JournalRecord
from tests.core.telling import BATCH_ID, FORWARD, Telling, batch_of, started

KEY = "20261120_120000_k3v9x-0F1"


def _sending() -> Telling:
    return started(batch_of(5, 5, mode=ExecutionMode.SEQUENTIAL))


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
