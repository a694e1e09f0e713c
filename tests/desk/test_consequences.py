"""What a person is told that his wish will do, as far as that can be known beforehand."""

from datetime import timedelta
from decimal import Decimal

import pytest

from desk.carried import may_send
from desk.consequences import (
    of_cancel,
    of_close_incidents,
    of_look_again,
    of_pause,
    of_resolve,
    of_retry,
    of_unpause,
    why_not_resolved,
)
from desk.next_step import what_now
from desk.wishes import Change, Retry
from saga.core import MIN_LOOK_UPS
from saga.errors import NotAllowed
from saga.events import (
    Adjustment,
    AnswerLost,
    CancelRequested,
    GaveUp,
    IncidentClosed,
    LateTruth,
    NotFound,
    Paused,
    Resumed,
    Withheld,
)
from saga.model import ExecutionMode
from saga.policy import RetryPolicy
from saga.views import batch_row
from tests.core.telling import (
    BATCH_ID,
    FORWARD,
    NOON,
    UNDO,
    Take,
    Telling,
    batch_of,
    fill,
    started,
)

PAUSED = Paused("ann", "asking the broker")
ONCE = RetryPolicy(backoff_seconds=0)


def _half_sent(mode: ExecutionMode = ExecutionMode.ATOMIC) -> Telling:
    """Return a batch that runs, of whose four legs the first has filled and two were not sent."""
    return started(batch_of(5, 5, 5, 5, mode=mode, max_parallel=1)).filled(5)


def _lost_track() -> Telling:
    """Return a STALE batch that keeps what it did: 5 AAA, and of 10 BBB 4 or more."""
    telling = started(batch_of(5, 10, mode=ExecutionMode.PARALLEL)).filled(5)
    telling.report(1, fills=[fill("F1", 4)], final=False)
    return _given_up(telling, 1)


def _given_up(telling: Telling, step: int) -> Telling:
    telling.tell(
        AnswerLost(step, FORWARD, 1, "a timeout"), GaveUp(step, FORWARD, 1, "nobody answers")
    )
    telling.go_on()
    return telling


def _stuck() -> Telling:
    """Return a STALE batch: 5 AAA could not be undone, 5 BBB were refused."""
    telling = started(batch_of(5, 5, retry=ONCE)).filled(5).refused(1)
    for _ in range(3):
        telling.refused(0, UNDO)
    return telling


def _now(telling: Telling) -> str:
    return what_now(batch_row(telling.saga), telling.saga)


def _retry(telling: Telling) -> Retry:
    return Retry(batch_id=BATCH_ID, by="ann", reason="again", seen=telling.saga.number)


@pytest.mark.requirement("B9")
@pytest.mark.parametrize(
    ("mode", "fate"), [(ExecutionMode.ATOMIC, "is undone"), (ExecutionMode.PARALLEL, "stays")]
)
def test_a_cancel_promises_nothing_of_legs_that_may_go_out_until_it_takes_effect(
    mode: ExecutionMode, fate: str
) -> None:
    assert (
        "As of now 2 of 4 legs are not sent. More may go out until the cancel takes effect, and "
        f"what they fill {fate} too; the rest is never sent."
    ) in of_cancel(_half_sent(mode).saga)


@pytest.mark.requirement("B9")
def test_a_cancel_of_a_paused_batch_knows_which_legs_are_never_sent() -> None:
    paused = _half_sent().tell(PAUSED)

    assert "2 of 4 legs were not sent, and will not be." in of_cancel(paused.saga)


@pytest.mark.requirement("B9")
def test_a_cancel_of_a_paused_batch_that_keeps_what_fills_speaks_of_no_undo() -> None:
    paused = _half_sent(ExecutionMode.PARALLEL).tell(PAUSED)

    assert of_cancel(paused.saga)[0] == "It is paused; the cancel lifts the pause."


@pytest.mark.requirement("B9", "S13")
def test_an_order_that_waits_at_the_gate_is_said_to_go_out_when_its_batch_goes_on() -> None:
    paused = _half_sent().tell(PAUSED)
    key = paused.attempt(1).key

    (held,) = (each for each in of_unpause(paused.saga, paused.now) if key in each)
    (asked,) = (each for each in of_pause(paused.saga) if key in each)

    assert held.startswith("Sent now, unless they are out already: ")
    assert asked.startswith("About to be sent, and held back unless they are out already: ")


@pytest.mark.requirement("B9", "S3")
def test_an_order_of_unknown_fate_may_go_out_again_when_its_batch_goes_on() -> None:
    paused = _half_sent().tell(PAUSED, Resumed("a new process"))

    assert (
        "Looked up first, as their fate is not known, and sent again if they never arrived: "
    ) in " ".join(of_unpause(paused.saga, paused.now))
    assert "and may send it again if it never arrived" in may_send(paused.saga, paused.now)


@pytest.mark.requirement("B9")
def test_a_leg_that_waits_for_its_next_try_is_said_to_go_out() -> None:
    retry = RetryPolicy(attempts=3)
    telling = started(batch_of(5, mode=ExecutionMode.PARALLEL, retry=retry)).refused().tell(PAUSED)

    words = of_unpause(telling.saga, telling.now)

    assert words[1] == "Tried again, as the last try did not do it all: core_test_take AAA."
    assert may_send(telling.saga, telling.now) == "may send core_test_take AAA"


@pytest.mark.requirement("B9", "O7")
@pytest.mark.parametrize(
    ("mode", "fate"),
    [
        (ExecutionMode.ATOMIC, "What filled is undone at the market, newest first: sell 5 AAA"),
        (ExecutionMode.PARALLEL, "What fills stays: 1 leg as of now; nothing is undone."),
    ],
)
def test_what_is_let_go_on_behind_its_deadline_or_while_halted_is_not_said_to_be_sent(
    mode: ExecutionMode, fate: str
) -> None:
    batch = batch_of(5, 5, 5, mode=mode, max_parallel=1, timeout_seconds=60)
    telling = started(batch).filled(5).tell(PAUSED)

    halted = of_unpause(telling.saga, NOON, halted="trading is HALTED by bob: prices")
    late = of_unpause(telling.saga, NOON + timedelta(seconds=60))

    ends = f"{BATCH_ID} sends nothing forward any more: "
    assert halted[0] == f"{ends}it is cancelled, as trading is HALTED by bob: prices."
    assert late[0] == f"{ends}its deadline 2026-11-20 12:01:00Z has passed."
    for words in (halted, late):
        assert fate in " ".join(words)
        assert "1 of 3 legs were not sent, and will not be." in words


@pytest.mark.requirement("B9", "O7")
@pytest.mark.parametrize(
    ("mode", "fate"),
    [
        (ExecutionMode.ATOMIC, "what filled may be undone"),
        (ExecutionMode.PARALLEL, "what filled stays"),
    ],
)
def test_what_is_carried_on_behind_its_deadline_sends_nothing_forward(
    mode: ExecutionMode, fate: str
) -> None:
    telling = started(batch_of(5, 5, mode=mode, max_parallel=1, timeout_seconds=60)).filled(5)

    words = may_send(telling.saga, NOON + timedelta(seconds=61))

    assert words == f"it is stopped: its deadline 2026-11-20 12:01:00Z has passed; {fate}"


@pytest.mark.requirement("B9")
def test_what_is_cancelled_and_keeps_what_filled_is_not_told_to_be_cancelled_once_more() -> None:
    telling = _half_sent(ExecutionMode.PARALLEL).tell(CancelRequested("ann", "wrong file"))

    assert "it was cancelled by ann, and is over once its orders are" in _now(telling)


@pytest.mark.requirement("O9", "S6")
def test_of_a_stale_batch_that_keeps_what_it_did_no_rollback_is_offered() -> None:
    telling = _lost_track()

    with pytest.raises(NotAllowed, match="no rollback to try again"):
        of_retry(telling.saga, _retry(telling))
    told = _now(telling)
    assert "saga retry" not in told
    assert f"`saga incident look {BATCH_ID}`" in told
    assert "sell" not in told, "what filled is what was wanted"


@pytest.mark.requirement("O9", "S10")
@pytest.mark.parametrize(
    ("change", "is_closed"), [(None, False), ("0", True), ("6", True), ("-4", False), ("7", False)]
)
def test_a_stale_batch_that_keeps_what_it_did_is_closed_with_what_really_filled(
    change: str | None, *, is_closed: bool
) -> None:
    saga = _lost_track().saga
    changes = () if change is None else (Change(subject="BBB", quantity=Decimal(change)),)

    why = why_not_resolved(saga, changes)

    assert (why is None) is is_closed
    if change is None:
        assert why is not None
        assert "not known what is in place: +4 to +10 BBB, of which the books have +4 BBB" in why
    if change == "6":
        assert "With --adjust the books will say +10 BBB of this batch." in " ".join(
            of_resolve(saga, changes)
        )


@pytest.mark.requirement("O9", "S10")
def test_what_a_batch_keeps_of_a_symbol_is_not_part_of_what_is_left_of_it() -> None:
    legs = [
        Take(directive_id=f"EXE_{n}", quantity=Decimal(amount)) for n, amount in ((1, 20), (2, 10))
    ]
    batch = batch_of(
        *legs,
        mode=ExecutionMode.PARALLEL,
        rollback_on_failure=True,
        rollback_only=("EXE_2",),
    )
    saga = _given_up(started(batch).filled(20), 1).saga

    assert "the books will go on saying 0 AAA of this batch" in " ".join(of_resolve(saga, ()))
    assert "-20" not in (why_not_resolved(saga, ()) or "")


@pytest.mark.requirement("O9", "S5")
def test_what_was_dealt_with_by_hand_is_not_told_to_be_sold_again_nor_tried_again() -> None:
    telling = _stuck().tell(LateTruth(1, FORWARD, 1, True, "a look", fills=(fill("L1", 2),)))
    booked = Adjustment("BBB", Decimal(-2), Decimal(20), "T-1")
    telling.tell(IncidentClosed("ann", "sold", telling.saga.number, "sold 2", (booked,)))

    told = _now(telling)

    assert "To make flat what is known to be left: sell 5 AAA for about 50.00 USD, at" in told
    assert "saga retry" not in told
    with pytest.raises(NotAllowed, match=f"-2 BBB was booked by hand for {BATCH_ID}"):
        of_retry(telling.saga, _retry(telling))
    sold = Change(subject="AAA", quantity=Decimal(-5), cash=Decimal(50))
    assert why_not_resolved(telling.saga, [sold]) is None


@pytest.mark.requirement("O9", "S5")
def test_where_too_much_was_undone_a_person_buys_it_back_and_no_retry_does() -> None:
    telling = started(batch_of(5, 5)).filled(5).refused(1)
    telling.report(0, UNDO, fills=[fill("U1", 7)])

    told = of_retry(telling.saga, _retry(telling))

    assert "buy 2 AAA for about 20.00 USD" in _now(telling)
    assert told[0] == "What is left: -2 AAA (known). No order is known that would undo it."
    assert "which no retry sets right: 2 of core_test_take AAA" in " ".join(told)


@pytest.mark.requirement("O9")
def test_what_an_order_of_unknown_fate_may_have_undone_is_not_known_to_be_left() -> None:
    telling = started(batch_of(5, 5)).filled(5).refused(1)
    telling.tell(AnswerLost(0, UNDO, 1, "a timeout"), GaveUp(0, UNDO, 1, "nobody answers"))
    telling.go_on()

    assert "To make flat" not in _now(telling), "0 to 5 AAA are left"


@pytest.mark.requirement("B9")
@pytest.mark.parametrize(
    ("action", "says"),
    [
        (None, "incidents: 1 of"),
        ("sold 5", "was set right by hand by ann"),
        ("", "carried everything out"),
    ],
)
def test_of_a_batch_whose_failed_trades_are_not_sent_again_no_retry_is_offered(
    action: str | None, says: str
) -> None:
    telling = started(batch_of(5, 5, mode=ExecutionMode.PARALLEL)).filled(5).refused(1)
    assert f"`saga retry {BATCH_ID} --reason ...` sends what was not" in _now(telling)
    telling.tell(LateTruth(1, FORWARD, 1, True, "a look", fills=(fill("L1", 5),)))
    if action is not None:
        telling.tell(IncidentClosed("ann", "seen", telling.saga.number, action))

    told = _now(telling)

    assert "`saga retry` sends nothing of it: " in told
    assert says in told


@pytest.mark.requirement("S10")
def test_what_closing_an_incident_books_is_said_beforehand() -> None:
    telling = started(batch_of(5)).filled(5)
    telling.tell(LateTruth(0, FORWARD, 1, True, "a look", fills=(fill("L1", 2),)))
    sold = Change(subject="AAA", quantity=Decimal(-2), cash=Decimal(-20))

    told = of_close_incidents(telling.saga, [sold])

    assert (
        "The books change: AAA -2, cash -20.00 USD. WARNING: the sign of the cash does not fit, as "
        "a sale brings cash in."
    ) in told


@pytest.mark.requirement("S4")
def test_a_look_asks_about_no_order_that_never_left_and_cancels_one_that_never_arrived() -> None:
    telling = started(batch_of(5, 5, mode=ExecutionMode.PARALLEL))
    telling.tell(Withheld(1, FORWARD, 1, "max_order_quantity", "too large"))
    telling.tell(Resumed("a new process"), CancelRequested("ann", "wrong file")).later(60)
    telling.tell(*[NotFound(0, FORWARD, 1)] * MIN_LOOK_UPS)
    telling.go_on()
    telling.tell(NotFound(0, FORWARD, 1)).go_on()

    asked, cancelled = of_look_again(telling.saga)

    assert asked.startswith("The broker is asked again about 1 order of ")
    assert "is cancelled if open" in cancelled
