"""Finds the arrows' ways between the boxes, on a square lattice.

A line never runs through a box and never along another arrow's line; it may cross one, at a price.
Arrows of one bundle (same trigger, same destination) may join. A label takes its place as soon as
its bundle is drawn, and lines drawn later go around it. All costs are whole numbers and all ties
are broken by position, so that the same table gives the same picture everywhere.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from saga.diagrams.board import Board, Bundle, Point, Routed
from saga.diagrams.labels import place_label
from saga.diagrams.layout import Box, Layout
from saga.machine import Transition

Step = tuple[int, int]
"""One of the four directions."""

_DIRECTIONS: Final[tuple[Step, ...]] = ((1, 0), (0, 1), (-1, 0), (0, -1))

# What a line pays: for its length, its corners, what it crosses, and what it comes close to.
_STEP, _TURN, _CROSS = 10, 45, 30
_BESIDE_LINE, _BESIDE_BOX, _THROUGH_LABEL = 9, 14, 900
_OFF_CENTRE, _BESIDE_PORT, _MIDDLE_OF_A_PAIR = 7, 30, 25
_CLEAR_BEFORE_HEAD: Final = 3
"""No line joins another in its last so many units: the arrow's head stays by itself."""


def route(layout: Layout, columns: int, bundles: Sequence[Bundle], initial: str) -> list[Routed]:
    """Return a way for every arrow and a place for every label, shortest ways first.

    Args:
        layout: where the boxes stand.
        columns: the picture's width, in lattice units.
        bundles: what to draw.
        initial: the state that the machine begins in; the left of its box is kept free.
    """
    board = Board(layout.boxes, columns, layout.rows)
    joined = [frozenset((b.arrows[0].source, b.arrows[0].dest)) for b in bundles]
    board.paired.update(pair for pair in joined if joined.count(pair) > 1)
    start = layout.boxes[initial]
    middle = (start.top + start.bottom) // 2
    for reach in range(4):
        board.inside.add((start.left - reach, middle))
    board.ports.add((start.left, middle))

    def length(bundle: Bundle) -> int:
        return max(_distance(layout.boxes, arrow) for arrow in bundle.arrows)

    def turn(index: int) -> tuple[int, int, int]:
        trigger = bundles[index].arrows[0].trigger
        named = trigger in layout.order
        place = layout.order.index(trigger) if named else len(layout.order)
        return (place, length(bundles[index]), index)

    in_order = sorted(range(len(bundles)), key=turn)
    found = {index: _route_bundle(board, bundles[index]) for index in in_order}
    return [found[index] for index in range(len(bundles))]


def _distance(boxes: Mapping[str, Box], arrow: Transition) -> int:
    here, there = boxes[arrow.source], boxes[arrow.dest]
    return abs(here.left - there.left) + abs(here.top - there.top)


def _route_bundle(board: Board, bundle: Bundle) -> Routed:
    lines: dict[Transition, tuple[Point, ...]] = {}
    joints: list[Point] = []
    for arrow in sorted(bundle.arrows, key=lambda arrow: _distance(board.boxes, arrow)):
        tree = {point: line[at:] for line in lines.values() for at, point in enumerate(line)}
        way = _find(board, board.boxes[arrow.source], board.boxes[arrow.dest], tree)
        if way[-1] in tree:
            joints.append(way[-1])
            way = way[:-1] + list(tree[way[-1]])
        lines[arrow] = tuple(way)
    for line in lines.values():
        board.take(line)
    labels = []
    for port in sorted({line[-1] for line in lines.values()}):
        joined = {arrow: line for arrow, line in lines.items() if line[-1] == port}
        label = place_label(board, bundle, joined)
        board.take_label(label.rect)
        labels.append(label)
    return Routed(bundle, lines, tuple(joints), tuple(labels))


def _ports(box: Box) -> Iterator[tuple[Point, Step, int]]:
    """Yield each border point where a line may begin or end, the way out, and its price."""
    middle_i, middle_j = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    for i in range(box.left + 1, box.right):
        price = abs(i - middle_i) * _OFF_CENTRE
        yield (i, box.top), (0, -1), price
        yield (i, box.bottom), (0, 1), price
    for j in range(box.top + 1, box.bottom):
        price = abs(j - middle_j) * _OFF_CENTRE
        yield (box.left, j), (-1, 0), price
        yield (box.right, j), (1, 0), price


def _free_ports(board: Board, box: Box, other: Box) -> list[tuple[Point, Step, int]]:
    free = []
    middles = ((box.left + box.right) // 2, (box.top + box.bottom) // 2)
    paired = frozenset((box.state, other.state)) in board.paired
    for port, out, price in _ports(box):
        if port in board.ports:
            continue
        if paired and port[0 if out[1] else 1] == middles[0 if out[1] else 1]:
            price += _MIDDLE_OF_A_PAIR
        neighbours = ((port[0] + out[1], port[1] + out[0]), (port[0] - out[1], port[1] - out[0]))
        crowd = sum(_BESIDE_PORT for neighbour in neighbours if neighbour in board.ports)
        free.append((port, out, price + crowd))
    return free or list(_ports(box))


def _find(
    board: Board, source: Box, dest: Box, tree: Mapping[Point, tuple[Point, ...]]
) -> list[Point]:
    """Return the cheapest way from one box to another, or to a line that already leads there."""
    goals = {port: (out, price) for port, out, price in _free_ports(board, dest, source)}
    heap: list[tuple[int, _At]] = []
    best: dict[_At, int] = {}
    came: dict[_At, _At | None] = {}
    end: tuple[int, Point, _At] | None = None

    def reach(cost: int, at: _At, before: _At | None) -> None:
        if cost < best.get(at, cost + 1):
            best[at] = cost
            came[at] = before
            heapq.heappush(heap, (cost, at))

    for port, out, price in _free_ports(board, source, dest):
        first = _next(port, out)
        if _open(board, first) and first not in tree and _passable(board, first, out):
            reach(price + _STEP + _price_of(board, first, out), (first, out), None)
    while heap:
        cost, at = heapq.heappop(heap)
        if end is not None and cost >= end[0]:
            break
        if cost > best[at]:
            continue
        here, heading = at
        for turn in _turns(board, here, heading):
            there = _next(here, turn)
            price = cost + _STEP + (_TURN if turn != heading else 0)
            if there in goals:
                if goals[there][0] == (-turn[0], -turn[1]):
                    end = _better(end, (price + goals[there][1], there, at))
            elif there in tree:
                if _joins(tree[there], turn):
                    end = _better(end, (price, there, at))
            elif _open(board, there) and _passable(board, there, turn):
                reach(price + _price_of(board, there, turn), (there, turn), at)
    if end is None:
        return _straight(source, dest)
    return _walk_back(end[2], end[1], came)


_At = tuple[Point, Step]
"""A lattice point and the direction in which it was entered."""


def _next(point: Point, step: Step) -> Point:
    return (point[0] + step[0], point[1] + step[1])


def _better(
    old: tuple[int, Point, _At] | None, new: tuple[int, Point, _At]
) -> tuple[int, Point, _At]:
    return new if old is None or new[0] < old[0] else old


def _turns(board: Board, here: Point, heading: Step) -> Iterator[Step]:
    if here in board.lines:
        yield heading  # a corner on a foreign line would read as a joint
        return
    for turn in _DIRECTIONS:
        if turn != (-heading[0], -heading[1]):
            yield turn


def _open(board: Board, point: Point) -> bool:
    within = 0 < point[0] < board.columns and 0 < point[1] < board.rows
    return within and point not in board.inside


def _passable(board: Board, point: Point, heading: Step) -> bool:
    """Tell whether a line may go through: over nothing, or straight across another line."""
    across = "h" if heading[0] == 0 else "v"
    return board.lines.get(point, {across}) == {across}


def _joins(rest: Sequence[Point], heading: Step) -> bool:
    """Tell whether a line may run into another whose `rest` leads on from there."""
    if len(rest) <= _CLEAR_BEFORE_HEAD + 1:
        return False
    onward = (rest[1][0] - rest[0][0], rest[1][1] - rest[0][1])
    return onward != (-heading[0], -heading[1])


def _price_of(board: Board, point: Point, heading: Step) -> int:
    price = _CROSS if point in board.lines else 0
    if point in board.beside:
        price += _BESIDE_BOX
    if point in board.under_label:
        price += _THROUGH_LABEL
    along = "h" if heading[0] else "v"
    for side in (-1, 1):
        neighbour = (point[0] + side * heading[1], point[1] + side * heading[0])
        if along in board.lines.get(neighbour, ()):
            price += _BESIDE_LINE
    return price


def _walk_back(at: _At, last: Point, came: Mapping[_At, _At | None]) -> list[Point]:
    way = [last]
    step: _At | None = at
    while step is not None:
        way.append(step[0])
        first = step
        step = came[step]
    point, out = first
    way.append((point[0] - out[0], point[1] - out[1]))
    return way[::-1]


def _straight(source: Box, dest: Box) -> list[Point]:
    """Return a bare corner-to-corner line: the last resort where everything is taken."""
    here = ((source.left + source.right) // 2, source.bottom)
    there = ((dest.left + dest.right) // 2, dest.top)
    return [here, (here[0], there[1] - 1), there]
