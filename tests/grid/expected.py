"""The reference model of the grid: what must come of a cell, computed from the rules alone.

It imports nothing of the program, knows neither its states' machinery nor its journal, and is
written from the rules as they are stated: a crash changes nothing of what comes of a batch; an
unknown order is looked up and adopted, or proven absent and sent once; what is undone is what was
filled; what cannot be undone or proven is stale, and told exactly.
"""

from dataclasses import dataclass
from typing import Final

from tests.grid.cells import PART, QUANTITY, Cell, Mode, Story

_FILLED_WHOLE: Final = frozenset({1, 2, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18})
"""However it is told, lost, late or doubled: the order is accepted once, and filled whole."""


@dataclass(frozen=True, slots=True)
class Leg:
    """What must have become of one leg.

    Attributes:
        bought: forward orders that the venue accepted.
        sold: compensations that the venue accepted.
        net: what the leg holds at the end, before any bust.
        busted: what a bust after the end takes away from it (below zero: gives back).
        interval: what the saga must say it may hold, where it is STALE; None says nothing of it.
    """

    bought: int
    sold: int
    net: int
    busted: int = 0
    interval: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a cell: the saga's state, and each leg."""

    state: str
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Unreached:
    """The crash point cannot be reached in this cell, and why."""

    why: str


def expected(cell: Cell) -> Expected | Unreached:
    """Return what must come of a cell."""
    unreached = _unreached(cell)
    if unreached is not None:
        return Unreached(unreached)
    match cell.story:
        case Story.FORWARD:
            return _forward(cell)
        case Story.UNDO | Story.STUCK_UNDO:
            return _undone(cell)
        case Story.CANCEL | Story.STUCK_CANCEL:
            return _cancelled(cell)


def _unreached(cell: Cell) -> str | None:
    if cell.crash in (7, 8) and cell.legs == 1 and _forward_fill(cell) == 0:
        return "the only leg is never filled"
    if cell.crash == 13 and cell.behaviour == 1:
        return "an order that fills at once leaves nothing to be cancelled"
    if cell.crash == 13 and cell.behaviour == 4:
        return "an order that is refused leaves nothing to be cancelled"
    if cell.crash == 13 and cell.behaviour == 14:
        return "an order that is over for a wrong quantity leaves nothing to be cancelled"
    if cell.crash == 18 and cell.behaviour == 14 and cell.wrong_quantity > QUANTITY:
        return "what was undone too far is never called rolled back"
    if cell.crash in (19, 20):
        if cell.behaviour == 4:
            return "the leg is refused, so there is no compensation that could be refused"
        if cell.behaviour == 7:
            return "the late order is cancelled unfilled, so there is nothing to be undone"
        if cell.story is Story.STUCK_UNDO and cell.legs == 1:
            return "a single leg that is over at once completes the batch"
    return None


# --- all legs are sent ---------------------------------------------------------------------------


def _forward_fill(cell: Cell) -> int:
    """What the leg that is struck holds once its order is over."""
    match cell.behaviour:
        case 3:
            return PART
        case 4:
            return 0
        case 10:
            return QUANTITY  # the cancel comes, and loses
        case 14:
            return cell.wrong_quantity
        case 16:
            return 0 if cell.cancels_on_disconnect else QUANTITY
        case _:
            assert cell.behaviour in _FILLED_WHOLE
            return QUANTITY


def _forward(cell: Cell) -> Expected:
    fill = _forward_fill(cell)
    stopped = cell.behaviour in (3, 10)  # the operator cancels what stays open
    refused = fill == 0
    # An ATOMIC batch fails by anything but the whole; the others only by a refusal.
    failed = fill != QUANTITY if cell.mode is Mode.ATOMIC else refused
    goes_on = cell.mode is Mode.PARALLEL or not (stopped or failed)
    undone = cell.mode is Mode.ATOMIC and (stopped or failed)
    legs = []
    for position in range(cell.legs):
        if position == cell.target:
            bought, holds = int(cell.behaviour != 4), fill
        elif position < cell.target or goes_on:
            bought, holds = 1, QUANTITY
        else:
            bought, holds = 0, 0
        sold = int(undone and holds > 0)
        busted = holds if cell.behaviour == 11 and position == cell.target else 0
        legs.append(Leg(bought, sold, 0 if undone else holds, busted))
    return Expected("ROLLED_BACK" if undone else "COMPLETED", tuple(legs))


# --- the last leg is refused, and the others are undone ------------------------------------------


def _undone(cell: Cell) -> Expected:
    legs = []
    stale = False
    for position in range(cell.legs):
        if cell.legs > 1 and position == cell.legs - 1:
            legs.append(Leg(0, 0, 0))
        elif position != cell.target:
            legs.append(Leg(1, 1, 0))
        else:
            leg = _stuck_leg(cell) if cell.story is Story.STUCK_UNDO else _undone_leg(cell)
            stale = leg.interval is not None
            legs.append(leg)
    return Expected("STALE" if stale else "ROLLED_BACK", tuple(legs))


def _stuck_leg(cell: Cell) -> Leg:
    """The forward order is struck (B1, B14), and its compensation is always refused."""
    holds = cell.wrong_quantity if cell.behaviour == 14 else QUANTITY
    return Leg(1, 0, holds, interval=(holds, holds))


def _undone_leg(cell: Cell) -> Leg:
    """The compensation of the leg is struck."""
    held = PART if cell.legs == 1 else QUANTITY
    match cell.behaviour:
        case 3:
            return Leg(1, 2, 0)  # withdrawn after its patience, and the rest sent anew
        case 14 if cell.wrong_quantity < QUANTITY:
            return Leg(1, 2, 0)  # one too few: the rest is sent anew
        case 14:
            return Leg(1, 1, -1, interval=(-1, -1))  # one too many: nothing of ours undoes an undo
        case 16 if cell.cancels_on_disconnect:
            return Leg(1, 2, 0)  # the venue cancelled it: it is sent anew
        case 11:
            return Leg(1, 1, 0, busted=-held)
        case _:
            return Leg(1, 1, 0)  # B4: refused once, accepted then


# --- an operator cancels while one leg is open ---------------------------------------------------


def _cancelled(cell: Cell) -> Expected:
    stuck = cell.story is Story.STUCK_CANCEL
    match cell.behaviour:
        case 7:
            fill = 0  # it arrived, and was cancelled before it was filled
        case 10:
            fill = QUANTITY
        case _:
            fill = PART
    # Cancelled, filled in part, and then forgotten: what came of the rest cannot be proven.
    lost = cell.behaviour == 12
    legs = []
    for position in range(cell.legs):
        if position == cell.target:
            busted = fill if cell.behaviour == 11 else 0
            if lost:
                legs.append(Leg(1, 0, fill, interval=(PART, QUANTITY)))
            elif stuck:
                legs.append(Leg(1, 0, fill, busted, interval=(fill, fill)))
            elif cell.undoes:
                legs.append(Leg(1, int(fill > 0), 0, busted))
            else:
                legs.append(Leg(1, 0, fill, busted))
        elif position < cell.target or cell.mode is Mode.PARALLEL:
            legs.append(Leg(1, 1, 0) if cell.undoes else Leg(1, 0, QUANTITY))
        else:
            legs.append(Leg(0, 0, 0))
    if lost or stuck:
        return Expected("STALE", tuple(legs))
    return Expected("ROLLED_BACK" if cell.undoes else "COMPLETED", tuple(legs))
