"""What held an order back is told as what it was: a limit, the trading state, or a broken part."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import saga
from desk.orders_told import orders_of, withheld_by
from desk.telling import BY_CUSTOMER, Teller, told
from portfolio.transfer import CashTransfer, Way
from saga.core import MIN_LOOK_UPS
from saga.events import (
    Adjustment,
    Completed,
    Event,
    GaveUp,
    LateTruth,
    NotFound,
    Reported,
    Resolved,
    Resumed,
    SentAgain,
    Started,
    Withheld,
)
from saga.ids import Purpose
from saga.model import ExecutionMode
from saga.policy import Capabilities, RetryPolicy
from saga.store.protocol import JournalRecord
from tests.core.telling import (
    BATCH_ID,
    FORWARD,
    KINDS,
    Telling,
    batch_of,
    fill,
    started,
    submitted,
)


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("max_order_quantity", "withheld by your own limit"),
        ("trading_state", "withheld by the trading state"),
        ("gate", "withheld as the gate could not judge it"),
        ("kind", "withheld as the gate cannot judge its kind"),
        ("fence", "withheld as the store did not confirm its owner in time"),
        ("engine_left", "withheld as its process ended before its turn came"),
    ],
)
def test_what_held_an_order_back_is_said_in_the_table_and_in_the_journal(
    limit: str, words: str
) -> None:
    event = Withheld(0, Purpose.FORWARD, 1, limit, "so")
    telling = started(batch_of(5)).tell(event)
    records = [
        JournalRecord(number, BATCH_ID, number, at, each, b"")
        for number, at, each in telling.journal
    ]

    (order,) = orders_of(telling.saga, records, {})

    assert order.status == f"{words}; never sent"
    assert told(event) == f"step 1: not sent, {words}: so"


@pytest.mark.requirement("S13")
def test_nothing_that_the_engine_itself_holds_back_is_called_a_limit_of_yours() -> None:
    sources = [file.read_text(encoding="utf-8") for file in Path(saga.__file__).parent.glob("*.py")]
    named = {name for text in sources for name in re.findall(r'Refusal\(\s*"(\w+)"', text)}

    assert {"trading_state", "fence", "too_late"} <= named
    assert [name for name in sorted(named) if "limit" in withheld_by(name)] == []


def _records(telling: Telling) -> list[JournalRecord]:
    return [
        JournalRecord(number, BATCH_ID, number, at, each, b"")
        for number, at, each in telling.journal
    ]


def _words(telling: Telling) -> list[str]:
    """Return what is told of each record of the journal, without the order that it concerns."""
    teller = Teller()
    return [teller.tell(record)[0].partition(" [")[0] for record in _records(telling)]


def _withheld_when_sent_again() -> Telling:
    """Return a batch whose order was not found behind a crash, and withheld when sent again."""
    telling = started(batch_of(5, mode=ExecutionMode.PARALLEL)).tell(Resumed("a new process"))
    for _ in range(MIN_LOOK_UPS):
        telling.later(3).tell(NotFound(0, FORWARD, 1))
    return telling.tell(SentAgain(0, FORWARD, 1), Withheld(0, FORWARD, 1, "trading_state", "so"))


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("truth", "status"),
    [
        (None, "never arrived"),
        (Reported(0, FORWARD, 1, True, (fill("F1", 5),)), "filled"),
        (Reported(0, FORWARD, 1, False), "open"),
        (GaveUp(0, FORWARD, 1, "its key names another order"), "not known, given up"),
    ],
)
def test_an_order_that_was_withheld_when_sent_again_is_no_order_that_never_left(
    truth: Event | None, status: str
) -> None:
    telling = _withheld_when_sent_again()
    if truth is not None:
        telling.tell(truth)

    (order,) = orders_of(telling.saga, _records(telling), {})

    assert order.status == status, "the broker has to be asked about what may be there"
    assert order.sent_at is not None


@pytest.mark.requirement("S9")
def test_an_order_whose_fill_was_taken_back_was_neither_refused_nor_cancelled() -> None:
    telling = started(batch_of(5)).report(fills=[fill("F1", 3), fill("F2", 2)], reference="B1")

    told_back = []
    for each in ("F1", "F2"):
        telling.tell(LateTruth(0, FORWARD, 1, True, "a look", reversed=(each,)))
        (order,) = orders_of(telling.saga, _records(telling), {})
        told_back.append(order.status)

    assert told_back == ["part taken back", "filled, and taken back"]


@pytest.mark.requirement("S4")
def test_an_order_that_filled_for_more_than_was_asked_is_not_part_filled() -> None:
    telling = started(batch_of(5, mode=ExecutionMode.PARALLEL)).report(fills=[fill("F1", 7)])

    (order,) = orders_of(telling.saga, _records(telling), {})

    assert order.status == "filled, for more than was asked"


@pytest.mark.requirement("T11")
def test_an_order_that_ends_behind_a_fill_was_not_without_effect() -> None:
    telling = started(batch_of(5, 5, mode=ExecutionMode.PARALLEL))
    telling.report(fills=[fill("F1", 3)], final=False).report(fills=[fill("F1", 3)])
    telling.report(1)

    words = _words(telling)

    assert "step 1: over, without more" in words
    assert "step 2: over, without effect" in words


@pytest.mark.requirement("O10", "T11")
def test_an_order_that_the_deadline_cancelled_was_not_cancelled_for_a_refusal_before() -> None:
    retry = RetryPolicy(attempts=50, backoff_seconds=0)
    telling = started(batch_of(5, 5, mode=ExecutionMode.ATOMIC, retry=retry, timeout_seconds=60))
    telling.refused().filled(5).report(1, final=False)
    telling.later(100).go_on()
    telling.report(1, reason=BY_CUSTOMER)

    (words,) = (each for each in _words(telling) if "cancelled by this saga" in each)

    assert words == "step 2: over, without effect, cancelled by this saga: its deadline passed"


@pytest.mark.requirement("O10", "T11", "S13")
def test_an_order_that_was_cancelled_as_another_was_withheld_says_so() -> None:
    telling = started(batch_of(5, 5, max_parallel=2)).report(0, final=False)
    telling.tell(Withheld(1, FORWARD, 1, "max_order_quantity", "too large")).go_on()
    telling.report(0, reason=BY_CUSTOMER)

    (words,) = (each for each in _words(telling) if "cancelled by this saga" in each)

    assert "too large" in words


@pytest.mark.requirement("S10", "T11")
def test_what_was_booked_by_hand_is_told_with_who_did_it() -> None:
    booked = Adjustment("AAA", Decimal(-5), Decimal("49.5"), "T-1")
    event = Resolved("ann", "sold by phone", "sold 5", "ticket 1", (booked,))

    assert told(event).endswith("(evidence: ticket 1); booked by hand: AAA -5 for 49.50 cash (T-1)")


@pytest.mark.requirement("T11")
def test_why_a_part_was_never_sent_is_told_with_the_end() -> None:
    assert told(Completed("cancelled by ann: wrong file")) == "cancelled by ann: wrong file"


@pytest.mark.requirement("O10")
def test_of_a_transfer_of_cash_it_is_told_which_way_it_goes_and_goes_back() -> None:
    deposit = CashTransfer(
        directive_id="EXE_9", portfolio="main", way=Way.DEPOSIT, cash=Decimal(900)
    )
    first = replace(
        submitted(batch_of(deposit, 5, max_parallel=1)),
        capabilities={kind: Capabilities() for kind in (*KINDS, "cash_transfer")},
    )
    telling = Telling(first).tell(Started())
    telling.go_on()
    telling.filled(900).refused(1)

    words = [order.words for order in orders_of(telling.saga, _records(telling), {})]

    assert words[0] == "deposit of 900 USD"
    assert words[-1] == "withdrawal of 900 USD"
