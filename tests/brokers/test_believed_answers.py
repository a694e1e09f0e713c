"""What a venue answers is believed only where it can be true."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from brokers import OrderState, OrderStatus, OutcomeUnknown, Side
from brokers.reports import (
    MAX_FILLS,
    MAX_TEXT_LENGTH,
    believed,
    found_report,
    order_report,
    refusal_report,
    reply_report,
)
from saga.outcome import Fill
from saga.participant import KeyTaken
from tests.brokers.samples import request

KEY = "20261120_120000_00001-0F1"
AT = datetime(2026, 11, 20, tzinfo=UTC)
FILL = Fill("F1", Decimal(40), Decimal("1.5"), Decimal("0.1"), AT)
STATE = OrderState(
    client_order_id=KEY,
    order_id="ORD-1",
    symbol="AAPL",
    side=Side.BUY,
    quantity=Decimal(100),
    filled=Decimal(40),
    status=OrderStatus.PARTIALLY_FILLED,
    fills=(FILL,),
    account="PAPER-1",
)


def _with_fill(**changes: Any) -> OrderState:
    return replace(STATE, fills=(replace(FILL, **changes),))


def _with(**changes: Any) -> OrderState:
    return replace(STATE, **changes)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "is no order"),
        ("<html>", "is no order"),
        ({"status": "filled"}, "is no order"),
        (_with(client_order_id=None), "order None"),
        (_with(client_order_id="other"), "order 'other'"),
        (_with(account="LIVE-1"), "account 'LIVE-1', which is not ours"),
        (_with(status="pending_new"), "status 'pending_new' is unknown"),
        (_with(status="filled"), "status 'filled' is unknown"),
        (_with(side="short"), "side 'short' is unknown"),
        (_with(order_id=""), "order_id '' is not a name"),
        (_with(order_id=7), "order_id 7 is not a name"),
        (_with(symbol="A\nB"), "symbol 'A\\nB' is not a name"),
        (_with(symbol="x" * 1000), "is not a name"),
        (_with(quantity=Decimal(0)), "quantity 0 is not positive"),
        (_with(quantity=100), "quantity 100 is not an exact number"),
        (_with(quantity=100.0), "quantity 100.0 is not an exact number"),
        (_with(quantity=Decimal("Infinity")), "is not finite"),
        (_with(quantity=Decimal("1e30")), "digits"),
        (_with(filled=Decimal(-40)), "filled -40 is negative"),
        (_with(filled=Decimal("NaN")), "is not finite"),
        (_with(filled=Decimal(41)), "filled is 41, but its fills add up to 40"),
        (_with(fills=()), "filled is 40, but its fills add up to 0"),
        (_with(fills=[FILL]), "its fills are not a list"),
        (_with(fills=(FILL,) * (MAX_FILLS + 1)), "at most 10000"),
        (_with(fills=("F1",)), "'F1' is no fill"),
        (_with(fills=(FILL, replace(FILL, price=Decimal(2)))), "fill F1 stands there with two"),
        (_with(status=OrderStatus.REJECTED), "it is rejected, but 40 of it is filled"),
        (_with_fill(fill_id=""), "fill_id '' is not a name"),
        (_with_fill(quantity=Decimal(0)), "fill quantity 0 is not positive"),
        (_with_fill(quantity=Decimal(-40)), "fill quantity -40 is not positive"),
        (_with_fill(price=Decimal(-1)), "fill price -1 is negative"),
        (_with_fill(price=Decimal("NaN")), "is not finite"),
        (_with_fill(fee=0.1), "fill fee 0.1 is not an exact number"),
        (_with_fill(at="today"), "at 'today' is no instant"),
        (_with_fill(at=AT.replace(tzinfo=None)), "is no instant with a time zone"),
    ],
)
def test_an_impossible_answer_is_unknown_and_says_what_is_wrong(answer: object, said: str) -> None:
    with pytest.raises(OutcomeUnknown) as unknown:
        believed(answer, KEY, "PAPER-1")

    assert said in str(unknown.value)
    assert KEY in str(unknown.value)
    assert len(str(unknown.value)) < 300


@pytest.mark.parametrize(
    "answer",
    [
        STATE,
        _with(account=None),
        _with(status=OrderStatus.ACCEPTED),
        _with(status=OrderStatus.FILLED),
        _with(quantity=Decimal(30)),
        _with(fills=(FILL, FILL)),
        _with_fill(at=None, fee=Decimal(-1)),
    ],
)
def test_an_unwelcome_but_possible_answer_is_the_truth(answer: OrderState) -> None:
    assert believed(answer, KEY, "PAPER-1") is answer


def test_an_order_is_final_only_when_the_venue_says_so() -> None:
    whole = replace(FILL, quantity=Decimal(100))

    report = order_report(_with(fills=(whole,), filled=Decimal(100)))

    assert (report.final, report.reason) == (False, None)


def test_a_final_order_without_its_whole_effect_has_a_reason() -> None:
    report = order_report(_with(status=OrderStatus.EXPIRED, reason="closing\x1b bell"))

    assert report.final
    assert report.reason == "expired: closing? bell"
    assert report.reference == "ORD-1"


def test_the_words_of_a_venue_are_made_harmless() -> None:
    report = refusal_report("no\ud800\u202e" + "x" * 10_000)

    assert report.reason is not None
    assert report.reason.startswith("no??x")
    assert len(report.reason) == MAX_TEXT_LENGTH


@pytest.mark.parametrize(
    "other", [{"symbol": "MSFT"}, {"side": Side.SELL}, {"quantity": Decimal(99)}]
)
@pytest.mark.parametrize(
    ("told", "error"), [(reply_report, OutcomeUnknown), (found_report, KeyTaken)]
)
def test_an_order_with_other_parameters_is_never_taken_for_ours(
    other: dict[str, object], told: Callable[..., object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        told(_with(**other), request(KEY))


EARLY = _with(status=OrderStatus.FILLED, filled=Decimal(0), fills=())


@pytest.mark.requirement("S6")
@pytest.mark.parametrize("told", [reply_report, found_report])
def test_filled_before_a_fill_is_told_of_is_no_end_without_effect(
    told: Callable[..., object],
) -> None:
    with pytest.raises(OutcomeUnknown, match="no fill of it is told of"):
        told(believed(EARLY, KEY), request(KEY))


@pytest.mark.requirement("S9")
def test_a_filled_order_of_which_all_was_taken_back_by_name_is_over_without_effect() -> None:
    report = found_report(believed(replace(EARLY, reversed=("F1",)), KEY), request(KEY))
    assert (report.final, report.fills, report.reversed) == (True, (), ("F1",))


def test_a_reply_that_says_filled_and_names_something_taken_back_is_not_believed() -> None:
    with pytest.raises(OutcomeUnknown, match="no fill of it is told of"):
        reply_report(replace(EARLY, reversed=("F1",)), request(KEY))
