"""A state machine as an SVG picture, plain or with one saga's way through it lit.

The picture is drawn from a `Graph`, a `Layout` and the router's lines; what is said at a lit arrow
is handed in. Lit is said by weight, by a number and by words; dim by a broken, thin line.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache

from saga.diagrams.board import Bundle, Label, Rect, Routed
from saga.diagrams.graph import Graph
from saga.diagrams.layout import COLUMNS, UNIT, Layout, layout_of
from saga.diagrams.router import route
from saga.diagrams.svg import Drawing, head_path, rounded_path
from saga.diagrams.text import clip, width, wrap
from saga.machine import Transition

_TRIGGER_SIZE, _NOTE_SIZE, _STATE_SIZE = 12.5, 10.5, 13.5
_NOTE_ROOM = 144.0
_NOTE_LINES = 3
_LINE_HEIGHT = 13.0
_HEAD_SIZE = 10.0
_CORNER = 8.0


@dataclass(frozen=True, slots=True)
class Lit:
    """What has happened, to be lit in a machine's picture.

    Attributes:
        states: the states that were visited.
        present: the state that it is in now.
        notes: for each arrow that was followed, what to say at it, at most two short lines.
    """

    states: Set[str]
    present: str
    notes: Mapping[Transition, tuple[str, ...]] = field(default_factory=dict)


def machine_svg(graph: Graph, *, with_when: bool = False) -> str:
    """Return the machine's picture.

    Args:
        graph: the machine.
        with_when: say at each arrow, in small letters, when it is followed.
    """
    drawing = Drawing(graph.name, COLUMNS * UNIT, graph.title, _description(graph))
    height = draw_machine(drawing, graph, with_when=with_when)
    return drawing.document(height)


def draw_machine(
    drawing: Drawing, graph: Graph, *, with_when: bool = False, lit: Lit | None = None
) -> float:
    """Add the machine to a picture at its upper left corner, and return its height in pixels."""
    layout = layout_of(graph)
    routed = routed_for(graph, tall=with_when or lit is not None)
    for way in routed:
        _draw_lines(drawing, graph, way, lit)
    for way in routed:
        _draw_label(drawing, way, with_when=with_when, lit=lit)
    _draw_start(drawing, graph, layout, lit)
    for state in graph.states:
        _draw_state(drawing, graph, layout, state, lit)
    return layout.rows * UNIT


@lru_cache(maxsize=8)
def routed_for(graph: Graph, *, tall: bool) -> tuple[Routed, ...]:
    """Return the lines and labels of a machine's picture; `tall` labels hold notes as well."""
    bundles = [_bundle(arrows, tall) for arrows in graph.bundles()]
    return tuple(route(layout_of(graph), COLUMNS, bundles, graph.initial))


def _bundle(arrows: tuple[Transition, ...], tall: bool) -> Bundle:
    trigger = width(arrows[0].trigger, _TRIGGER_SIZE, bold=True) + 10
    if not tall:
        return Bundle(arrows, trigger, 18)
    return Bundle(arrows, max(trigger, _NOTE_ROOM + 6), 20 + _NOTE_LINES * _LINE_HEIGHT)


def _description(graph: Graph) -> str:
    arrows = "; ".join(f"{a.trigger} from {a.source} to {a.dest}" for a in graph.arrows)
    return f"States: {', '.join(graph.states)}. Arrows: {arrows}."[:400]


def _tone(lit: Lit | None, followed: bool) -> str:
    return "" if lit is None else "lit" if followed else "dim"


def _draw_lines(drawing: Drawing, graph: Graph, way: Routed, lit: Lit | None) -> None:
    in_order = sorted(way.lines, key=lambda arrow: lit is not None and arrow in lit.notes)
    for arrow in in_order:
        points = [(i * UNIT, j * UNIT) for i, j in way.lines[arrow]]
        tone = _tone(lit, lit is not None and arrow in lit.notes)
        drawing.open_group(
            group_id=graph.arrow_id(arrow),
            css=f"arrow {tone}".strip(),
            title=f"{arrow.trigger}: {arrow.source} to {arrow.dest}, {arrow.when}",
        )
        drawing.path(rounded_path(points, _CORNER, _HEAD_SIZE - 1), "line")
        drawing.path(head_path(points[-1], points[-2], _HEAD_SIZE), "head")
        drawing.close_group()
    for joint in way.joints:
        drawing.circle(joint[0] * UNIT, joint[1] * UNIT, 3.2, "head")


def _draw_label(drawing: Drawing, way: Routed, *, with_when: bool, lit: Lit | None) -> None:
    arrow = way.bundle.arrows[0]
    notes: list[str] = []
    if lit is not None:
        notes = [clip(n, _NOTE_ROOM, _NOTE_SIZE, mono=True) for n in lit.notes.get(arrow, ())]
    elif with_when:
        notes = wrap(arrow.when, _NOTE_ROOM, _NOTE_SIZE, _NOTE_LINES)
    followed = lit is not None and arrow in lit.notes
    css = "mono" if lit is not None else "soft"
    for room in way.labels:
        label = _shrunk(room, arrow.trigger, notes, mono=lit is not None)
        drawing.open_group(css=f"label {_tone(lit, followed)}".strip())
        drawing.rect(label.x, label.y, label.width, label.height, "pill", radius=6)
        middle, y = label.x + label.width / 2, label.y + 14
        drawing.text(middle, y, arrow.trigger, size=_TRIGGER_SIZE, css="bold", anchor="middle")
        for note in notes:
            y += _LINE_HEIGHT
            drawing.text(middle, y, note, size=_NOTE_SIZE, css=css, anchor="middle")
        drawing.close_group()


def _shrunk(room: Label, trigger: str, notes: list[str], *, mono: bool) -> Rect:
    """Return the part of the label's room that its words need, close to its line."""
    widths = [width(trigger, _TRIGGER_SIZE, bold=True) + 10]
    widths += [width(note, _NOTE_SIZE, mono=mono) + 8 for note in notes]
    rect = room.rect
    wide, high = min(max(widths), rect.width), 18 + len(notes) * _LINE_HEIGHT + bool(notes) * 2
    x = rect.x + (rect.width - wide) * (room.across + 1) / 2
    y = rect.y + (rect.height - high) * (room.down + 1) / 2
    return Rect(x, y, wide, high)


def _draw_start(drawing: Drawing, graph: Graph, layout: Layout, lit: Lit | None) -> None:
    box = layout.boxes[graph.initial]
    tip = (box.left * UNIT, (box.top + box.bottom) // 2 * UNIT)
    dot = (tip[0] - 2.0 * UNIT, tip[1])
    drawing.open_group(group_id=f"{graph.name}-start", css=f"arrow {_tone(lit, True)}".strip())
    drawing.circle(dot[0], dot[1], 5, "head")
    drawing.path(rounded_path([dot, tip], 0, _HEAD_SIZE - 1), "line")
    drawing.path(head_path(tip, dot, _HEAD_SIZE), "head")
    drawing.close_group()


def _draw_state(
    drawing: Drawing, graph: Graph, layout: Layout, state: str, lit: Lit | None
) -> None:
    box = layout.boxes[state]
    x, y = box.left * UNIT, box.top * UNIT
    wide, high = (box.right - box.left) * UNIT, (box.bottom - box.top) * UNIT
    visited = lit is not None and state in lit.states
    title = f"{state}, where it ends" if state in graph.ends else state
    drawing.open_group(
        group_id=graph.state_id(state), css=f"state {_tone(lit, visited)}".strip(), title=title
    )
    drawing.rect(x, y, wide, high, "box", radius=9)
    if state in graph.ends:
        drawing.rect(x + 4, y + 4, wide - 8, high - 8, "rim", radius=6)
    size = _STATE_SIZE
    while size > 8 and width(state, size, bold=True) > wide - 12:
        size -= 0.5
    here = lit is not None and lit.present == state
    shown = clip(state, wide - 10, size, bold=True)
    baseline = y + high / 2 + (-2 if here else 5)
    drawing.text(x + wide / 2, baseline, shown, size=size, css="bold", anchor="middle")
    if here:
        drawing.text(x + wide / 2, y + high / 2 + 13, "it is here", size=10.5, anchor="middle")
    drawing.close_group()
