"""How one order goes, and who talks to whom: a picture for the README, drawn from data.

The only arrows to the broker start at the orchestrator, behind a record that is durable.
"""

from dataclasses import dataclass
from typing import Final

from saga.diagrams.svg import Drawing, head_path, number
from saga.diagrams.text import width

_WIDE: Final = 900.0
_TOP: Final = 24.0
_ROW: Final = 46.0
_NOTE_ROW: Final = 42.0


@dataclass(frozen=True, slots=True)
class Lane:
    """One who takes part: a short id, a name, what it is, and where it stands (in pixels)."""

    name: str
    title: str
    about: str
    x: float


@dataclass(frozen=True, slots=True)
class Message:
    """One thing said, from a lane to another; `is_answer` is drawn with a broken line."""

    source: str
    dest: str
    text: str
    under: str = ""
    is_answer: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What a crash at this point of the way means."""

    text: str
    under: str


LANES: Final = (
    Lane("engine", "Trading engine", "yours, or the desk", 92),
    Lane("core", "Core", "pure: fold, decide", 262),
    Lane("orchestrator", "Orchestrator", "the loop around it", 440),
    Lane("journal", "Journal", "SQLite, append only", 622),
    Lane("broker", "Broker", "the outside world", 808),
)

ROWS: Final[tuple[Message | Note, ...]] = (
    Message("engine", "orchestrator", "submit a batch of directives", "refused whole, or accepted"),
    Message("orchestrator", "journal", "record: submitted", "durable, then:"),
    Message("orchestrator", "engine", "accepted; it will come to an end", is_answer=True),
    Message("orchestrator", "core", "what is next?"),
    Message("core", "orchestrator", "send the first leg", is_answer=True),
    Note(
        "Killed above this line: nothing was sent.", "The journal is folded, and the saga goes on."
    ),
    Message("orchestrator", "journal", "record: intended", "key fixed, durable"),
    Message("orchestrator", "broker", "place the order, under its key", "sent once"),
    Message(
        "broker", "orchestrator", "filled, partly filled or refused", "or silence", is_answer=True
    ),
    Message("orchestrator", "journal", "record: reported", "holdings: same commit"),
    Note(
        "Killed since 6, or silence: unknown, not failed.",
        "The order is looked up by its key before all else.",
    ),
    Message("orchestrator", "core", "what is next?", "the next leg, or an undo"),
    Message("orchestrator", "journal", "record: the end", "or what is left over"),
    Message("orchestrator", "engine", "completed, rolled back, or stale", is_answer=True),
)


def overview_svg() -> str:
    """Return the picture of how one order goes."""
    told = "; ".join(
        f"{row.source} to {row.dest}: {row.text}" if isinstance(row, Message) else row.text
        for row in ROWS
    )
    drawing = Drawing("overview", _WIDE, "How one order goes", told)
    lanes = {lane.name: lane for lane in LANES}
    notes = sum(isinstance(row, Note) for row in ROWS)
    bottom = _TOP + 62 + (len(ROWS) - notes) * _ROW + notes * (_NOTE_ROW + 10)
    for lane in LANES:
        _draw_lane(drawing, lane, bottom)
    y, count = _TOP + 62.0, 0
    for row in ROWS:
        if isinstance(row, Note):
            _draw_note(drawing, row, y)
            y += _NOTE_ROW + 10
        else:
            count += 1
            y += _ROW
            _draw_message(drawing, row, count, lanes[row.source].x, lanes[row.dest].x, y - 18)
    return drawing.document(bottom + 24)


def _draw_lane(drawing: Drawing, lane: Lane, bottom: float) -> None:
    drawing.open_group(group_id=f"overview-lane-{lane.name}", css="state")
    drawing.path(f"M{number(lane.x)} {number(_TOP + 52)}V{number(bottom)}", "rule dashed")
    drawing.rect(lane.x - 74, _TOP, 148, 52, "box", radius=9)
    drawing.text(lane.x, _TOP + 23, lane.title, size=14, css="bold", anchor="middle")
    drawing.text(lane.x, _TOP + 41, lane.about, size=11, css="soft", anchor="middle")
    drawing.close_group()


def _draw_message(
    drawing: Drawing, message: Message, count: int, source: float, dest: float, y: float
) -> None:
    drawing.open_group(group_id=f"overview-message-{count}", css="arrow")
    side = 1 if dest > source else -1
    tip, before = (dest - side * 2, y), (source, y)
    line = "line dashed" if message.is_answer else "line"
    drawing.path(f"M{number(source)} {number(y)}H{number(tip[0] - side * 9)}", line)
    drawing.path(head_path(tip, before, 10), "head")
    middle = (source + dest) / 2
    text = f"{count}. {message.text}"
    for words, size, at, css in (
        (text, 12.0, y - 7, "bold"),
        (message.under, 11.0, y + 15, "soft"),
    ):
        if words:
            wide = width(words, size, bold=css == "bold") + 6
            drawing.rect(middle - wide / 2, at - size, wide, size + 4, "pill")
            drawing.text(middle, at, words, size=size, css=css, anchor="middle")
    drawing.close_group()


def _draw_note(drawing: Drawing, note: Note, y: float) -> None:
    drawing.rect(20, y, 372, _NOTE_ROW, "warn", radius=7)
    drawing.path(f"M392 {number(y + _NOTE_ROW / 2)}H880", "rule cut")
    drawing.text(34, y + 18, note.text, size=12.5, css="bold")
    drawing.text(34, y + 34, note.under, size=11.5)
