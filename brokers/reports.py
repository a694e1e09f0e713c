"""From a venue's answer to a report that the engine may believe. Pure.

Every answer passes through `believed` first. What is impossible (a negative quantity, NaN, an
unknown status, another symbol) is not an answer: it raises `OutcomeUnknown`, so that the order is
looked up again. What is merely unwelcome (an overfill, a rounded quantity, a fill on an order that
is said to be only accepted) is the truth, and is told as it is.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from pydantic_core import PydanticCustomError

from brokers.errors import OutcomeUnknown
from brokers.orders import Side
from brokers.venue import OrderRequest, OrderState, OrderStatus
from saga.amounts import to_decimal
from saga.exact import ONE, ZERO, total
from saga.outcome import Fill, Report
from saga.participant import KeyTaken

MAX_FILLS = 10_000
"""More fills of one order than this are taken for garbage."""
MAX_TEXT_LENGTH = 500
"""A venue's own words are cut to this length."""
_MAX_ID_LENGTH = 128
_MAX_SHOWN = 60


def believed(answer: object, key: str, account: str | None = None) -> OrderState:
    """Return the venue's answer about the order with our key, if it can be true.

    Args:
        answer: what the adapter returned; nothing is taken for granted about it.
        key: the client order id that was asked about.
        account: the fingerprint of our account; None where it is not known.

    Raises:
        OutcomeUnknown: it cannot be true; the sentence says what is wrong with it.
    """
    if not isinstance(answer, OrderState):
        raise _garbage(key, f"it is no order but {_shown(answer)}")
    if answer.client_order_id != key:
        raise _garbage(key, f"it tells of order {_shown(answer.client_order_id)}")
    if account is not None and answer.account not in (None, account):
        raise _garbage(key, f"it tells of account {_shown(answer.account)}, which is not ours")
    _check_words(key, answer)
    _check_numbers(key, answer)
    return answer


def belongs_to(state: OrderState, request: OrderRequest) -> bool:
    """Tell whether the venue's order is the one that was asked for."""
    return (
        state.symbol == request.symbol
        and state.side is request.side
        and state.quantity == request.quantity
    )


def reply_report(state: OrderState, request: OrderRequest) -> Report:
    """Return the report on a placed order.

    Raises:
        OutcomeUnknown: the reply is about an order that was not asked for.
    """
    if not belongs_to(state, request):
        raise _garbage(request.client_order_id, f"it tells of {describe(state)}, which is not ours")
    # Nothing can have been busted yet.
    _check_told_of(replace(state, reversed=()))
    return order_report(state)


def found_report(state: OrderState, request: OrderRequest) -> Report:
    """Return the report on an order that was looked up.

    Raises:
        KeyTaken: the key names an order with other parameters.
        OutcomeUnknown: it is filled, but neither told of nor taken back.
    """
    if not belongs_to(state, request):
        raise KeyTaken(
            f"client_order_id {request.client_order_id!r} names {describe(state)} at the venue, "
            f"which is not the order that was asked for; nothing is matched to it"
        )
    _check_told_of(state)
    return order_report(state)


def _check_told_of(state: OrderState) -> None:
    """Refuse an order that is called filled before its fills are told of.

    Taken for the truth, it would be an order that is over and had no effect. Only where the venue
    names what it has taken back can a filled order have no fill.
    """
    if state.status is OrderStatus.FILLED and not state.fills and not state.reversed:
        key = state.client_order_id or ""
        raise _garbage(key, "it is filled, but no fill of it is told of")


def order_report(state: OrderState) -> Report:
    """Return what a believed order says, without doubled fills."""
    fills = tuple({fill.fill_id: fill for fill in state.fills}.values())
    final = state.status.is_final
    reason = _reason(state) if final and state.filled < state.quantity else None
    return Report(
        final=final,
        fills=fills,
        reason=reason,
        reference=state.order_id,
        reversed=state.reversed,
    )


def refusal_report(reason: str) -> Report:
    """Return the report on an order that the venue provably did not accept."""
    return Report(final=True, reason=_harmless(reason))


def cancel_report(key: str, target: OrderState) -> Report | None:
    """Return what the state of the order to be cancelled says; None while it is still open.

    Args:
        key: the client order id of the attempt to cancel.
        target: the order that is to be cancelled.
    """
    if not target.status.is_final:
        return None
    if target.status is OrderStatus.CANCELLED:
        return cancelled_report(key, target.order_id)
    return Report(
        final=True,
        reason=f"order {target.client_order_id} is {target.status} and cannot be cancelled",
        reference=target.order_id,
    )


def cancelled_report(key: str, reference: str | None) -> Report:
    """Return the report on a cancel that took effect; the whole effect is one fill of 1."""
    return Report(final=True, fills=(Fill(fill_id=key, quantity=ONE),), reference=reference)


def describe(state: OrderState) -> str:
    """Return an order in a few words."""
    return f"{state.side} {state.quantity} {state.symbol}"


def _reason(state: OrderState) -> str:
    told = f": {state.reason}" if state.reason else ""
    return _harmless(f"{state.status}{told}")


def _harmless(text: str) -> str:
    """Return a venue's words without control characters, broken Unicode or undue length."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT_LENGTH])


def _check_words(key: str, state: OrderState) -> None:
    status: object = state.status
    side: object = state.side
    if not isinstance(status, OrderStatus):
        raise _garbage(key, f"status {_shown(status)} is unknown")
    if not isinstance(side, Side):
        raise _garbage(key, f"side {_shown(side)} is unknown")
    for name, text in (("order_id", state.order_id), ("symbol", state.symbol)):
        if not _is_id(text):
            raise _garbage(key, f"{name} {_shown(text)} is not a name")


def _check_numbers(key: str, state: OrderState) -> None:
    quantity = _number(key, "quantity", state.quantity)
    filled = _number(key, "filled", state.filled)
    if not quantity > 0:
        raise _garbage(key, f"quantity {quantity} is not positive")
    if filled < 0:
        raise _garbage(key, f"filled {filled} is negative")
    fills: object = state.fills
    if not isinstance(fills, tuple) or len(fills) > MAX_FILLS:
        raise _garbage(key, f"its fills are not a list of at most {MAX_FILLS}")
    for fill in fills:
        _check_fill(key, fill)
    by_id: dict[str, Fill] = {}
    for fill in state.fills:
        if by_id.setdefault(fill.fill_id, fill) != fill:
            raise _garbage(key, f"fill {fill.fill_id} stands there with two contents")
    reversed_ids: object = state.reversed
    if not isinstance(reversed_ids, tuple) or not all(map(_is_id, reversed_ids)):
        raise _garbage(key, f"what it has reversed is no list of names but {_shown(reversed_ids)}")
    both = by_id.keys() & set(state.reversed)
    if both:
        raise _garbage(key, f"fill {min(both)} stands, and is taken back")
    told = _number(key, "sum of fills", total(fill.quantity for fill in by_id.values()))
    if told != filled:
        raise _garbage(key, f"filled is {filled}, but its fills add up to {told}")
    if state.status is OrderStatus.REJECTED and filled > 0:
        raise _garbage(key, f"it is rejected, but {filled} of it is filled")


def _check_fill(key: str, fill: object) -> None:
    if not isinstance(fill, Fill):
        raise _garbage(key, f"{_shown(fill)} is no fill")
    if not _is_id(fill.fill_id):
        raise _garbage(key, f"fill_id {_shown(fill.fill_id)} is not a name")
    if not _number(key, "fill quantity", fill.quantity) > 0:
        raise _garbage(key, f"fill quantity {fill.quantity} is not positive")
    if _number(key, "fill price", fill.price) < ZERO:
        raise _garbage(key, f"fill price {fill.price} is negative")
    _number(key, "fill fee", fill.fee)
    at: object = fill.at
    if at is not None and not (isinstance(at, datetime) and at.utcoffset() is not None):
        raise _garbage(key, f"at {_shown(at)} is no instant with a time zone")


def _number(key: str, name: str, value: object) -> Decimal:
    if not isinstance(value, Decimal):
        raise _garbage(key, f"{name} {_shown(value)} is not an exact number")
    try:
        return to_decimal(value)
    except PydanticCustomError as error:
        raise _garbage(key, f"{name} {error.message()}") from None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_LENGTH and value.isprintable()


def _shown(value: object) -> str:
    return repr(value)[:_MAX_SHOWN]


def _garbage(key: str, what: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the venue's answer about order {key} is not believed: {what}; it is asked again"
    )
