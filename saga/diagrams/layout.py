"""Where the boxes of each machine stand: placed by hand, because a good picture is composed.

Places are boxes' centres, in lattice units of `UNIT` pixels. A state that has no place here,
because it is new in the table, gets one in a row of its own underneath: the picture is then less
pretty, and still true.
"""

from dataclasses import dataclass
from typing import Final

from saga.diagrams.graph import Graph

UNIT: Final = 12
"""Pixels from one lattice point to the next; the closest that two lines run side by side."""

COLUMNS: Final = 75
"""The width of a machine's picture, in units: 900 pixels, what a README shows."""

_NEW_ROW_HEIGHT: Final = 12
_NEW_IN_A_ROW: Final = 4


@dataclass(frozen=True, slots=True)
class Box:
    """A state's box, in lattice units, its border included.

    Attributes:
        left: the border's least column.
        top: its least row.
        right: its last column.
        bottom: its last row.
    """

    state: str
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one machine stands.

    Attributes:
        boxes: a box for every state, by its name.
        rows: the height of the picture, in units.
        order: triggers whose arrows are drawn first, in this order; the others follow.
    """

    boxes: dict[str, Box]
    rows: int
    order: tuple[str, ...] = ()


_PLACES: Final[dict[str, dict[str, tuple[int, int]]]] = {
    "saga": {
        "PENDING": (10, 5),
        "RUNNING": (38, 5),
        "COMPLETED": (67, 5),
        "ROLLED_BACK": (10, 24),
        "COMPENSATING": (38, 24),
        "STALE": (67, 24),
    },
    "step": {
        "PENDING": (9, 7),
        "SENDING": (28, 7),
        "UNKNOWN": (48, 7),
        "WORKING": (67, 7),
        "DONE": (28, 30),
        "REFUSED": (47, 30),
        "PARTIAL": (67, 30),
        "COMPENSATED": (8, 42),
        "COMPENSATING": (29, 42),
        "STUCK": (51, 42),
    },
}
_ROWS: Final = {"saga": 34, "step": 47}
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "step": (
        "finish_partly",
        "unstick",
        "send",
        "refuse",
        "reopen",
        "send_again",
        "confirm",
        "finish",
        "accept",
        "compensate",
        "lose",
        "adopt",
        "stick",
    ),
}
_HALF_WIDTH: Final = 6
_HALF_HEIGHT: Final = 2


def placed_by_hand(name: str) -> frozenset[str]:
    """Return the states of a machine that have a place of their own."""
    return frozenset(_PLACES.get(name, {}))


def layout_of(graph: Graph) -> Layout:
    """Return a place for every state of the machine, and for none that it has not."""
    places = _PLACES.get(graph.name, {})
    rows = _ROWS.get(graph.name, 4)
    boxes: dict[str, Box] = {}
    new = [state for state in graph.states if state not in places]
    for state in graph.states:
        if state in places:
            column, row = places[state]
        else:
            line, position = divmod(new.index(state), _NEW_IN_A_ROW)
            column = 9 + position * 19
            row = rows + line * _NEW_ROW_HEIGHT + 4
        boxes[state] = Box(
            state,
            column - _HALF_WIDTH,
            row - _HALF_HEIGHT,
            column + _HALF_WIDTH,
            row + _HALF_HEIGHT,
        )
    lines = -(-len(new) // _NEW_IN_A_ROW)
    return Layout(boxes, rows + lines * _NEW_ROW_HEIGHT, _ORDER.get(graph.name, ()))
