"""The axes of the fault grid, and which story is played in which cell.

A cell is a crash point, a behaviour of the venue, and a kind of loss; it is played with one, two
and four legs in each mode. This file knows nothing of the program under test: what is sent, and
what must come of it, are said elsewhere (`plan` and `expected`), each for itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

CRASH_POINTS: Final = {
    0: "before the batch is durable",
    1: "durable, the client has no answer",
    2: "acknowledged, not begun",
    3: "before an intent is durable",
    4: "intent durable, nothing sent",
    5: "sent, no reply",
    6: "reply read, not durable",
    7: "fill read, not durable",
    8: "fill durable, not told to anybody",
    9: "last fill and end in one transaction, between the two",
    10: "the end durable, not told to anybody",
    11: "decided to compensate, not durable",
    12: "compensating, open legs not cancelled",
    13: "cancel sent, no reply",
    14: "before the intent of a compensation is durable",
    15: "intent of a compensation durable, nothing sent",
    16: "compensation sent, no reply",
    17: "compensation filled in part",
    18: "before the end as rolled back is durable",
    19: "before the end as stale is durable",
    20: "stale durable, nobody told",
    21: "inside recovery, again and again",
    22: "inside a checkpoint of the write-ahead log",
    23: "inside a migration",
    24: "inside an orderly shutdown",
    25: "inside the look-ups that follow a crash",
}
BEHAVIOURS: Final = {
    1: "fills at once",
    2: "a part, then the rest",
    3: "a part, then silence",
    4: "refuses",
    5: "times out, did not accept",
    6: "times out, accepted",
    7: "accepts late, after it was not found",
    8: "doubles its reports",
    9: "reports out of order",
    10: "the cancel loses to the fill",
    11: "busts the trade after the end",
    12: "forgets orders that are over",
    13: "de-duplicates open orders only",
    14: "fills for another quantity",
    15: "limits the rate, then bans",
    16: "disconnects, and cancels open orders or not",
    17: "lists are stale",
    18: "answers garbage",
}
LOSSES: Final = {1: "cancelled", 2: "killed", 3: "power lost"}
LEGS: Final = (1, 2, 4)
QUANTITY: Final = 10
"""Of every leg."""
PART: Final = 5
"""What fills of an order that fills in part."""


class Mode(StrEnum):
    """How a batch is carried out."""

    SEQUENTIAL = "SEQUENTIAL"
    PARALLEL = "PARALLEL"
    ATOMIC = "ATOMIC"


class Story(StrEnum):
    """What is played, so that the crash point is reached."""

    FORWARD = "all legs are sent; the behaviour strikes one of them"
    UNDO = "the last leg is refused (a single leg: cancelled half filled); the behaviour strikes"
    """...the compensation of the leg before it."""
    CANCEL = "an operator cancels while one leg is open; the behaviour strikes that leg"
    STUCK_CANCEL = "as CANCEL, and the compensation of that leg is refused for ever"
    STUCK_UNDO = "the last leg is refused, and so is the compensation of the one before, for ever"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One run of the grid."""

    crash: int
    behaviour: int
    loss: int
    legs: int
    mode: Mode

    def __str__(self) -> str:
        return f"K{self.crash}-B{self.behaviour}-L{self.loss}-{self.legs}-{self.mode}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the cell of that name, such as `K5-B6-L2-4-ATOMIC`.

        Raises:
            ValueError: there is none.
        """
        crash, behaviour, loss, legs, mode = text.split("-")
        cell = cls(int(crash[1:]), int(behaviour[1:]), int(loss[1:]), int(legs), Mode(mode))
        if str(cell) != text or cell not in set(all_cells()):
            raise ValueError(f"cell: there is no {text!r}; write it as K5-B6-L2-4-ATOMIC")
        return cell

    @property
    def name(self) -> str:
        """The cell without legs and mode."""
        return f"K{self.crash}-B{self.behaviour}-L{self.loss}"

    @property
    def story(self) -> Story:
        """What is played in it."""
        never_open = self.behaviour in (1, 4, 14)
        match self.crash:
            case 11 | 14 | 15 | 16 | 17 | 18:
                return Story.UNDO
            case 12:
                return Story.UNDO if never_open else Story.CANCEL
            case 13:
                return Story.CANCEL
            case 19 | 20:
                return Story.STUCK_UNDO if never_open else Story.STUCK_CANCEL
            case _:
                return Story.FORWARD

    @property
    def target(self) -> int:
        """The leg that the behaviour strikes."""
        if self.story in (Story.UNDO, Story.STUCK_UNDO):
            return max(self.legs - 2, 0)
        return self.legs // 2

    @property
    def undoes(self) -> bool:
        """What took effect is undone when the batch fails or is cancelled."""
        if self.mode is Mode.ATOMIC:
            return True
        return self.crash in (11, 12, 14, 15, 16, 17, 18, 19, 20)

    @property
    def wrong_quantity(self) -> int:
        """What fills under B14, of a whole order: one too many, or one too few."""
        return QUANTITY - 1 if self.legs == 2 else QUANTITY + 1

    @property
    def cancels_on_disconnect(self) -> bool:
        """Under B16 the venue cancels what is open."""
        return self.legs != 2


def all_cells() -> Iterator[Cell]:
    """Yield all runs: 26 x 18 x 3 cells, each with 1, 2 and 4 legs in each mode."""
    for crash in CRASH_POINTS:
        for behaviour in BEHAVIOURS:
            for loss in LOSSES:
                for legs in LEGS:
                    for mode in Mode:
                        yield Cell(crash, behaviour, loss, legs, mode)


def every_pair() -> Iterator[Cell]:
    """Yield 468 cells: each crash point with each behaviour, losses, legs and modes in turn."""
    return (
        cell for cell in one_of_each() if cell.loss == 1 + (cell.crash // 2 + cell.behaviour) % 3
    )


def one_of_each() -> Iterator[Cell]:
    """Yield each of the 1,404 cells once, with legs and mode varied so that all pairs occur."""
    variants = [(legs, mode) for legs in LEGS for mode in Mode]
    for crash in CRASH_POINTS:
        for behaviour in BEHAVIOURS:
            for loss in LOSSES:
                legs, mode = variants[(2 * crash + 4 * behaviour + loss) % len(variants)]
                yield Cell(crash, behaviour, loss, legs, mode)
