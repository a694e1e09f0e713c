"""What is played in a cell: the batch, and the script of the venue with its one behaviour.

The venue is the paper exchange with its books on disk, which outlive every crash; what it does
wrong is said by rules. This file says what is sent, and never what must come of it.
"""

from datetime import date
from decimal import Decimal
from typing import Any, Final

from brokers import Buy
from brokers.orders import Side
from brokers.paper import Fault, FaultRule, PaperSettings
from brokers.paper.faults import Operation
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from saga.policy import RetryPolicy
from tests.grid.cells import PART, QUANTITY, Cell, Story

SYMBOLS: Final = ("AAPL", "KO", "MSFT", "PG")
BATCH_ID: Final = "BAT_20261121_093000_gr1d0001"
DAY: Final = date(2020, 1, 2)
CASH: Final = Decimal(1_000_000)
HELD_BEFORE: Final = Decimal(5)
"""Of each symbol, bought by hand at the venue: what is undone too far is really sold."""

OPERATOR_AT: Final = 60.0
"""So many seconds after the beginning an operator cancels what is still open, where one does."""
BAN: Final = 5.0
LAG: Final = 3.0
"""B7: within the five seconds of the window, and after the first look-ups."""
BUST_AT: Final = 600.0
"""Long after the end of any cell."""
SETTINGS: Final = PaperSettings(
    visibility_seconds=1.0, declared_visibility_seconds=5.0, poll_seconds=5.0
)
_REORDERED: Final = 24
"""Look-ups: more than are made before the operator cancels, a few more than that."""


def batch_of(cell: Cell) -> Batch:
    """Return the batch of a cell."""
    fields: dict[str, Any] = {}
    if cell.undoes:
        fields["rollback_on_failure"] = True
    return Batch(
        batch_id=BATCH_ID,
        directives=tuple(_leg(cell, position) for position in range(cell.legs)),
        execution_mode=ExecutionMode(cell.mode.value),
        **fields,
    )


def _leg(cell: Cell, position: int) -> Buy:
    # B7 where an operator cancels: the late order has to be open, so it is limited far away.
    cancelled = cell.story in (Story.CANCEL, Story.STUCK_CANCEL)
    waits = cancelled and cell.behaviour == 7 and position == cell.target
    return Buy(
        directive_id=f"EXE_LEG_{position}",
        symbol=SYMBOLS[position],
        quantity=Decimal(QUANTITY),
        limit_price=Decimal(1) if waits else None,
        retry=RetryPolicy(backoff_seconds=0.5),
    )


def operator_cancels(cell: Cell) -> bool:
    """Tell whether an operator cancels the batch while it is open."""
    match cell.story:
        case Story.FORWARD:
            return cell.behaviour in (3, 10)
        case Story.UNDO:
            return cell.legs == 1
        case Story.CANCEL | Story.STUCK_CANCEL:
            return True
        case Story.STUCK_UNDO:
            return False


def script_of(cell: Cell) -> tuple[FaultRule, ...]:
    """Return the venue's script: the cell's one behaviour, and what the story needs."""
    rules: list[FaultRule] = []
    match cell.story:
        case Story.FORWARD:
            rules += _on_placing(cell, Purpose.FORWARD, QUANTITY)
        case Story.UNDO:
            held = PART if cell.legs == 1 else QUANTITY
            rules += _on_placing(cell, Purpose.COMPENSATION, held)
            if cell.legs == 1:
                rules.append(_half(cell))
            else:
                rules.append(_last_refused(cell))
            if cell.crash == 17 and cell.behaviour not in (2, 3, 14):  # they fill in their own way
                rules.append(
                    _rule(cell, Fault.PARTIAL_THEN_FULL, Purpose.COMPENSATION, delay_seconds=10.0)
                )
        case Story.CANCEL | Story.STUCK_CANCEL:
            rules += _on_cancelling(cell)
        case Story.STUCK_UNDO:
            rules += [*_on_placing(cell, Purpose.FORWARD, QUANTITY), _last_refused(cell)]
    if cell.story in (Story.STUCK_CANCEL, Story.STUCK_UNDO):
        rules.append(
            FaultRule(
                fault=Fault.REFUSES, step=cell.target, purpose=Purpose.COMPENSATION, times=None
            )
        )
    return tuple(rules)


def _rule(cell: Cell, fault: Fault, purpose: Purpose, **more: Any) -> FaultRule:
    """A rule about the first attempt of the leg that is struck."""
    return FaultRule(fault=fault, step=cell.target, purpose=purpose, attempt=1, **more)


def _half(cell: Cell) -> FaultRule:
    return _rule(cell, Fault.PARTIAL_THEN_SILENCE, Purpose.FORWARD, quantity=Decimal(PART))


def _last_refused(cell: Cell) -> FaultRule:
    return FaultRule(fault=Fault.REFUSES, step=cell.legs - 1, purpose=Purpose.FORWARD, times=None)


def _on_placing(cell: Cell, purpose: Purpose, quantity: int) -> list[FaultRule]:
    """The behaviour, where it strikes an order as it is placed."""

    def rule(fault: Fault, **more: Any) -> FaultRule:
        return _rule(cell, fault, purpose, **more)

    asleep = rule(Fault.PARTIAL_THEN_SILENCE, quantity=Decimal(0))
    match cell.behaviour:
        case 1:
            return [rule(Fault.FILLS_AT_ONCE)]
        case 2:
            return [rule(Fault.PARTIAL_THEN_FULL, delay_seconds=10.0)]
        case 3:
            return [rule(Fault.PARTIAL_THEN_SILENCE)]
        case 4:
            return [rule(Fault.REFUSES)]
        case 5:
            return [rule(Fault.TIMES_OUT_NOT_ACCEPTED)]
        case 6:
            return [rule(Fault.TIMES_OUT_ACCEPTED)]
        case 7:
            return [rule(Fault.ACCEPTS_LATE, delay_seconds=LAG)]
        case 8:
            return [
                rule(Fault.DUPLICATES, on=Operation.PLACE, times=None),
                rule(Fault.DUPLICATES, on=Operation.FIND, times=None),
                FaultRule(fault=Fault.DUPLICATES, on=Operation.LIST, times=None),
            ]
        case 9:
            return [
                rule(Fault.REORDERS, on=Operation.PLACE),
                rule(Fault.REORDERS, on=Operation.FIND, times=2),
            ]
        case 10:
            return [asleep, rule(Fault.CANCEL_LOSES)]
        case 11:
            return [rule(Fault.BUSTS, delay_seconds=BUST_AT)]
        case 12:
            return [rule(Fault.FORGETS_CLOSED, times=None)]
        case 13:
            return [rule(Fault.DEDUPLICATES_OPEN_ONLY, times=None)]
        case 14:
            change = cell.wrong_quantity - QUANTITY
            return [rule(Fault.FILLS_WRONGLY, quantity=Decimal(quantity + change))]
        case 15:
            return [rule(Fault.RATE_LIMITS, delay_seconds=BAN)]
        case 16 if cell.cancels_on_disconnect:
            return [
                asleep,
                rule(Fault.DISCONNECTS, accepted=True, cancels=True, delay_seconds=BAN),
            ]
        case 16:
            return [rule(Fault.DISCONNECTS, accepted=True, delay_seconds=BAN)]
        case 17:
            return [FaultRule(fault=Fault.LISTS_ARE_STALE, times=None)]
        case _:
            return [rule(Fault.GARBAGE), rule(Fault.GARBAGE, on=Operation.FIND, times=2)]


def _on_cancelling(cell: Cell) -> list[FaultRule]:
    """The behaviour, where it strikes an order that is open and is cancelled."""

    def rule(fault: Fault, **more: Any) -> FaultRule:
        return _rule(cell, fault, Purpose.FORWARD, **more)

    half = _half(cell)
    match cell.behaviour:
        case 2:
            return [rule(Fault.PARTIAL_THEN_FULL, quantity=Decimal(PART), delay_seconds=BUST_AT)]
        case 3:
            return [half]
        case 17:
            return [half, FaultRule(fault=Fault.LISTS_ARE_STALE, times=None)]
        case 5:
            return [half, rule(Fault.TIMES_OUT_NOT_ACCEPTED, on=Operation.CANCEL)]
        case 6:
            return [half, rule(Fault.TIMES_OUT_ACCEPTED, on=Operation.CANCEL)]
        case 7:
            return [rule(Fault.ACCEPTS_LATE, delay_seconds=LAG)]
        case 8:
            return [half, rule(Fault.DUPLICATES, on=Operation.FIND, times=None)]
        case 9:
            return [half, rule(Fault.REORDERS, on=Operation.FIND, times=_REORDERED)]
        case 10:
            return [half, rule(Fault.CANCEL_LOSES)]
        case 11:
            return [half, rule(Fault.BUSTS, delay_seconds=BUST_AT)]
        case 12:
            return [half, rule(Fault.FORGETS_CLOSED, times=None)]
        case 13:
            return [half, rule(Fault.DEDUPLICATES_OPEN_ONLY, times=None)]
        case 15:
            return [half, rule(Fault.RATE_LIMITS, on=Operation.CANCEL, delay_seconds=BAN)]
        case 16:
            return [
                half,
                rule(
                    Fault.DISCONNECTS,
                    on=Operation.CANCEL,
                    accepted=True,
                    cancels=cell.cancels_on_disconnect,
                    delay_seconds=BAN,
                ),
            ]
        case 18:
            return [half, rule(Fault.GARBAGE, on=Operation.FIND, times=8)]
        case _:
            return _on_placing(cell, Purpose.FORWARD, QUANTITY)  # nothing is ever open


def external_orders() -> tuple[tuple[Side, Decimal, str], ...]:
    """What somebody else trades in the account before anything begins."""
    return tuple((Side.BUY, HELD_BEFORE, symbol) for symbol in SYMBOLS)
