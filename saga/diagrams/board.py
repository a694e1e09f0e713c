"""What the router works on: rectangles, bundles of arrows, and the board with all that is taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from saga.diagrams.layout import UNIT, Box
from saga.machine import Transition

Point = tuple[int, int]
"""A lattice point: column, row."""

LABEL_GAP: Final = 5.0
"""Pixels that are kept free around a label."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: "Rect", gap: float = 0.0) -> bool:
        """Tell whether the two come closer to each other than `gap`."""
        return (
            self.x < other.x + other.width + gap
            and other.x < self.x + self.width + gap
            and self.y < other.y + other.height + gap
            and other.y < self.y + self.height + gap
        )

    def holds(self, point: Point, gap: float = 0.0) -> bool:
        """Tell whether a lattice point lies inside, or closer than `gap`."""
        x, y = point[0] * UNIT, point[1] * UNIT
        return (
            self.x - gap < x < self.x + self.width + gap
            and self.y - gap < y < self.y + self.height + gap
        )


@dataclass(frozen=True, slots=True)
class Label:
    """Room for a label.

    Attributes:
        rect: the room.
        across: where its words keep to when they need less: -1 left, 1 right, 0 the middle.
        down: the same: -1 top, 1 bottom, 0 the middle.
    """

    rect: Rect
    across: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class Bundle:
    """Arrows that share a destination and a label.

    Attributes:
        arrows: the arrows, at least one.
        label_width: the label's width, in pixels.
        label_height: its height, in pixels.
    """

    arrows: tuple[Transition, ...]
    label_width: float
    label_height: float


@dataclass(frozen=True, slots=True)
class Routed:
    """A bundle with its lines and its label.

    Attributes:
        bundle: what was asked for.
        lines: the lattice points of each arrow's line, from border to border.
        joints: where one line runs into another.
        labels: where the label stands: once for all lines that join, once for any that does not.
    """

    bundle: Bundle
    lines: dict[Transition, tuple[Point, ...]]
    joints: tuple[Point, ...]
    labels: tuple[Label, ...]


@dataclass(slots=True)
class Board:
    """What is taken so far."""

    boxes: Mapping[str, Box]
    columns: int
    rows: int
    inside: set[Point] = field(default_factory=set)
    beside: set[Point] = field(default_factory=set)
    paired: set[frozenset[str]] = field(default_factory=set)
    ports: set[Point] = field(default_factory=set)
    lines: dict[Point, set[str]] = field(default_factory=dict)
    labels: list[Rect] = field(default_factory=list)
    under_label: set[Point] = field(default_factory=set)

    def __post_init__(self) -> None:
        for box in self.boxes.values():
            for i in range(box.left - 1, box.right + 2):
                for j in range(box.top - 1, box.bottom + 2):
                    within = box.left <= i <= box.right and box.top <= j <= box.bottom
                    (self.inside if within else self.beside).add((i, j))

    def take(self, line: Sequence[Point]) -> None:
        """Take a line's points, and its ends on the boxes' borders."""
        self.ports.update((line[0], line[-1]))
        for before, here, after in zip(line, line[1:], line[2:], strict=False):
            straight = before[0] == after[0] or before[1] == after[1]
            kind = "corner" if not straight else "v" if before[0] == here[0] else "h"
            self.lines.setdefault(here, set()).add(kind)

    def take_label(self, rect: Rect) -> None:
        """Take a label's room, with a gap around it."""
        self.labels.append(rect)
        for i in range(self.columns + 1):
            for j in range(self.rows + 1):
                if rect.holds((i, j), LABEL_GAP):
                    self.under_label.add((i, j))
