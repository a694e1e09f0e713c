"""What the script of faults does to calls and to answers: lost, late, doubled, bent.

What it does to the orders themselves is done on the floor.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, cast

from brokers.errors import OutcomeUnknown
from brokers.paper import rows
from brokers.paper.faults import Fault, FaultRule, Firing, Garbage
from brokers.paper.floor import Floor
from brokers.venue import OrderState, OrderStatus

_OUTAGE: Final = "outage_until"
_OUTAGE_REASON: Final = "outage_reason"
_STALE_ORDERS: Final = 10
"""How many orders that are over a stale list still shows as open."""


def stale_list(floor: Floor) -> tuple[OrderState, ...]:
    """Return orders that are over as if they were open, and none that is."""
    return tuple(
        replace(floor.state_of(order), status=OrderStatus.ACCEPTED)
        for order in rows.closed_orders(floor.connection, _STALE_ORDERS)
    )


def timed_out() -> OutcomeUnknown:
    """Return the failure of a call that nobody answered."""
    return OutcomeUnknown("the exchange did not answer in time")


def why_not_arrived(floor: Floor, firing: Firing) -> Exception | None:
    """Return why the call does not arrive; None if it does."""
    limit = firing.get(Fault.RATE_LIMITS)
    if limit is not None:
        reason = limit.reason or "429: too many requests"
        _begin_outage(floor, limit, f"banned after {reason}")
        return OutcomeUnknown(f"the exchange turned the call away, {reason}")
    broken = firing.get(Fault.DISCONNECTS)
    if broken is not None and not broken.accepted:
        return _disconnect(floor, broken)
    return timed_out() if Fault.TIMES_OUT_NOT_ACCEPTED in firing else None


def why_not_answered(floor: Floor, firing: Firing) -> Exception | None:
    """Return why the answer is lost; None if it is not."""
    broken = firing.get(Fault.DISCONNECTS)
    if broken is not None:
        return _disconnect(floor, broken)
    return timed_out() if Fault.TIMES_OUT_ACCEPTED in firing else None


def _disconnect(floor: Floor, rule: FaultRule) -> OutcomeUnknown:
    reason = rule.reason or "the connection to the exchange broke"
    if rule.cancels:
        floor.cancel_all("cancelled when the connection broke")
    _begin_outage(floor, rule, reason)
    return OutcomeUnknown(reason)


def _begin_outage(floor: Floor, rule: FaultRule, reason: str) -> None:
    if rule.delay_seconds > 0:
        until = floor.now + timedelta(seconds=rule.delay_seconds)
        rows.set_condition(floor.connection, _OUTAGE, until.isoformat())
        rows.set_condition(floor.connection, _OUTAGE_REASON, reason)


def end_outage(floor: Floor) -> None:
    """Let calls through again."""
    rows.set_condition(floor.connection, _OUTAGE, None)
    rows.set_condition(floor.connection, _OUTAGE_REASON, None)


def outage(floor: Floor) -> OutcomeUnknown | None:
    """Return why no call at all arrives; None if calls do."""
    until = rows.condition(floor.connection, _OUTAGE)
    if until is None:
        return None
    if datetime.fromisoformat(until) <= floor.now:
        end_outage(floor)
        return None
    reason = rows.condition(floor.connection, _OUTAGE_REASON)
    return OutcomeUnknown(f"the exchange cannot be reached until {until}: {reason}")


def distorted(state: OrderState, firing: Firing) -> OrderState:
    """Return an answer as the script bends it."""
    if Fault.DUPLICATES in firing:
        state = replace(state, fills=tuple(f for fill in state.fills for f in (fill, fill)))
    if Fault.REORDERS in firing:
        if state.status is OrderStatus.FILLED:
            state = replace(state, status=OrderStatus.ACCEPTED)
        elif state.status.is_final:
            state = replace(state, fills=())
    rule = firing.get(Fault.GARBAGE)
    return state if rule is None else _nonsense(state, rule.garbage)


def _nonsense(state: OrderState, garbage: Garbage) -> OrderState:
    match garbage:
        case Garbage.HTML:
            return cast("OrderState", "<html><title>502 Bad Gateway</title></html>")
        case Garbage.NEGATIVE_QUANTITY:
            return replace(state, filled=Decimal(-1))
        case Garbage.NOT_A_NUMBER:
            return replace(state, quantity=Decimal("NaN"))
        case Garbage.WRONG_SYMBOL:
            return replace(state, symbol="WRONG")
        case Garbage.WRONG_ACCOUNT:
            return replace(state, account="SOMEBODY-ELSE")
        case Garbage.WRONG_KEY:
            return replace(state, client_order_id="somebody-else")
        case Garbage.UNKNOWN_STATUS:
            return replace(state, status=cast("OrderStatus", "pending_replace"))
        case Garbage.WRONG_SUM:
            return replace(state, filled=state.filled + 1)
