"""Finds room for the arrows' labels: on their lines if it can be, else beside them."""

from collections.abc import Iterator, Mapping, Sequence

from saga.diagrams.board import LABEL_GAP, Board, Bundle, Label, Point, Rect
from saga.diagrams.layout import UNIT
from saga.machine import Transition

_BESIDE = 4.0
_HEAD = 20.0


def place_label(
    board: Board, bundle: Bundle, lines: Mapping[Transition, tuple[Point, ...]]
) -> Label:
    """Return the best free place on the bundle's lines, or else beside them."""
    own = {point for line in lines.values() for point in line}
    shared = {point: sum(point in line for line in lines.values()) for point in own}
    best: tuple[tuple[int, ...], Label] | None = None
    for line in lines.values():
        for at in range(1, len(line) - 1):
            for label in _label_rects(bundle, line, at):
                rect, beside = label.rect, bool(label.across or label.down)
                faults = _faults(board, rect, line)
                covered = sum(rect.holds(point) for point in own) if beside else 0
                rank = (
                    faults,
                    covered,
                    beside,
                    -shared[line[at]],
                    _covers_corner(line, rect),
                    abs(2 * at - len(line)),
                    line[at][1],
                    line[at][0],
                )
                if best is None or rank < best[0]:
                    best = (rank, label)
    assert best is not None
    return best[1]


def _label_rects(bundle: Bundle, line: Sequence[Point], at: int) -> Iterator[Label]:
    """Yield the rooms for a label on a line's point, and on both sides of it."""
    wide, high = bundle.label_width, bundle.label_height
    x, y = line[at][0] * UNIT, line[at][1] * UNIT
    yield Label(Rect(x - wide / 2, y - high / 2, wide, high))
    if line[at - 1][0] == line[at][0]:
        yield Label(Rect(x + _BESIDE, y - high / 2, wide, high), across=-1)
        yield Label(Rect(x - _BESIDE - wide, y - high / 2, wide, high), across=1)
    else:
        yield Label(Rect(x - wide / 2, y - _BESIDE - high, wide, high), down=1)
        yield Label(Rect(x - wide / 2, y + _BESIDE, wide, high), down=-1)


def _faults(board: Board, rect: Rect, line: Sequence[Point]) -> int:
    """Count what a label would spoil here; boxes and other labels weigh most."""
    count = 0
    for box in board.boxes.values():
        box_rect = Rect(
            box.left * UNIT,
            box.top * UNIT,
            (box.right - box.left) * UNIT,
            (box.bottom - box.top) * UNIT,
        )
        count += 1000 * rect.meets(box_rect, LABEL_GAP)
    count += sum(1000 * rect.meets(label, LABEL_GAP) for label in board.labels)
    edge_right, edge_bottom = board.columns * UNIT - 4, board.rows * UNIT - 4
    if rect.x < 4 or rect.y < 4 or rect.x + rect.width > edge_right:
        count += 1000
    count += 1000 * (rect.y + rect.height > edge_bottom)
    own = set(line)
    count += sum(rect.holds(point, 2.0) for point in board.lines if point not in own)
    count += 20 * rect.holds(line[-1], _HEAD) + 5 * rect.holds(line[0], 6.0)
    return count


def _covers_corner(line: Sequence[Point], rect: Rect) -> int:
    return sum(
        before[0] != after[0] and before[1] != after[1] and rect.holds(here, 4.0)
        for before, here, after in zip(line, line[1:], line[2:], strict=False)
    )
