"""One saga's own way as a picture: its machine with what happened lit, and a row for every step."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from saga.diagrams.graph import saga_graph
from saga.diagrams.picture import Lit, draw_machine
from saga.diagrams.svg import Drawing, number
from saga.diagrams.text import clip, width
from saga.diagrams.way import (
    MARKS,
    MAX_RESIDUES_SHOWN,
    NOTHING,
    Moment,
    Passage,
    StepWay,
    Tone,
    Way,
    filled,
    shown_moments,
    undone,
    way_of,
)
from saga.exact import plain, times
from saga.ledger import Saga
from saga.machine import SAGA_ENDS, SagaState
from saga.outcome import Exposure
from saga.store.protocol import JournalRecord

_WIDE: Final = 900.0
_MARGIN: Final = 24.0
_RIGHT: Final = _WIDE - _MARGIN
_MAX_TIMES_AT_AN_ARROW: Final = 3
_MAX_LINES: Final = 40
"""Most lines of what somebody said."""

_CHIP_HEIGHT, _CHIP_GAP, _CHIP_LINE = 31.0, 15.0, 39.0
_SYMBOL_AT, _WHAT_AT, _ASKED_TO, _FILLED_TO = 54.0, 140.0, 470.0, 670.0


def saga_way_svg(records: Sequence[JournalRecord]) -> str:
    """Return a picture of one saga's own way: what happened lit, with times and quantities.

    Args:
        records: the saga's journal, from its first record on.

    Raises:
        InvalidInput: there are no records, or the first is not the submission.
        NotAllowed: a record may not follow on those before it.
    """
    way = way_of(records)
    saga = way.saga
    drawing = Drawing(
        f"way-{saga.batch_id}",
        _WIDE,
        f"The way of {saga.batch_id}",
        f"A saga of {len(saga.steps)} steps that is {saga.state} after {way.records} records. "
        + "; ".join(f"{p.number}. {p.arrow.trigger} at {_time(p.at)}" for p in way.passages),
    )
    y = _draw_heading(drawing, way)
    y = _draw_machine(drawing, way, y)
    y = _draw_incidents(drawing, way, y)
    y = _draw_steps(drawing, way, y)
    y = _draw_end(drawing, way, y)
    return drawing.document(y + _MARGIN)


def _draw_heading(drawing: Drawing, way: Way) -> float:
    saga = way.saga
    drawing.text(_MARGIN, 40, saga.batch_id, size=19, css="bold mono")
    steps = f"{len(saga.steps)} step{'s' if len(saga.steps) != 1 else ''}"
    deadline = saga.submitted.deadline
    facts = [
        f"{saga.batch.execution_mode}, {steps}",
        f"submitted {_instant(saga.submitted_at)}",
        f"by {saga.submitted.by}",
        saga.submitted.program,
        f"deadline {_instant(deadline)}" if deadline else "no deadline",
    ]
    line = clip(" · ".join(facts), _RIGHT - _MARGIN, 12)
    drawing.text(_MARGIN, 62, line, size=12, css="soft")
    _draw_verdict(drawing, saga.state)
    return 74


def _draw_verdict(drawing: Drawing, state: SagaState) -> None:
    tone = {
        SagaState.COMPLETED: Tone.GOOD,
        SagaState.ROLLED_BACK: Tone.UNDO,
        SagaState.COMPENSATING: Tone.UNDO,
        SagaState.STALE: Tone.BAD,
    }.get(state, Tone.CALM)
    text = f"{MARKS[tone]} {state.value}".strip()
    wide = width(text, 14, bold=True) + 24
    drawing.rect(_RIGHT - wide, 18, wide, 30, tone.value, radius=8)
    drawing.text(_RIGHT - wide / 2, 38, text, size=14, css="bold", anchor="middle")


def _draw_machine(drawing: Drawing, way: Way, y: float) -> float:
    notes = {arrow: _notes(passages, way) for arrow, passages in way.times_of().items()}
    visited = {end for arrow in notes for end in (arrow.source, arrow.dest)}
    present = way.saga.state.value
    lit = Lit(visited | {present, saga_graph().initial}, present, notes)
    drawing.open_group(shift=(0, y))
    height = draw_machine(drawing, saga_graph(), lit=lit)
    drawing.close_group()
    return y + height


def _notes(passages: Sequence[Passage], way: Way) -> tuple[str, ...]:
    shown = [f"✓ {p.number} {_moment(p.at, way)}" for p in passages[:_MAX_TIMES_AT_AN_ARROW]]
    if len(passages) > _MAX_TIMES_AT_AN_ARROW:
        more = len(passages) - _MAX_TIMES_AT_AN_ARROW + 1
        last = passages[-1]
        shown[-1] = f"+{more}, ✓ {last.number} {_stamp(last.at, way)}"
    return tuple(shown)


def _draw_incidents(drawing: Drawing, way: Way, y: float) -> float:
    if not way.incidents:
        return y
    y = _heading(drawing, "What happened to the whole batch", y)
    for at, what in way.incidents:
        y += 18
        drawing.text(_MARGIN, y, _stamp(at, way), size=11.5, css="mono soft")
        room = _RIGHT - _MARGIN - 130
        drawing.text(_MARGIN + 130, y, clip(what, room, 12), size=12)
    if way.incidents_hidden:
        y += 18
        drawing.text(_MARGIN, y, f"and {way.incidents_hidden} more", size=12, css="soft")
    return y + 8


def _lines(text: str, room: float, size: float) -> list[str]:
    """Return a text in lines that fit; only what is past the last one is cut off."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width(longer, size) > room and len(lines) < _MAX_LINES:
            lines.append(word)
        else:
            lines[-1] = longer
    return [clip(line, room, size) for line in lines]


def _heading(drawing: Drawing, text: str, y: float) -> float:
    drawing.text(_MARGIN, y + 22, text, size=14, css="bold")
    return y + 28


def _draw_steps(drawing: Drawing, way: Way, y: float) -> float:
    y = _heading(drawing, "The steps", y)
    for x, text, anchor in (
        (_MARGIN, "#", ""),
        (_SYMBOL_AT, "symbol", ""),
        (_WHAT_AT, "directive", ""),
        (_ASKED_TO, "asked", "end"),
        (_FILLED_TO, "filled @ price", "end"),
        (_RIGHT, "undone @ price", "end"),
    ):
        drawing.text(x, y + 14, text, size=11, css="soft", anchor=anchor)
    y += 20
    for step in way.steps:
        y = _draw_step(drawing, way, step, y)
    if way.steps_hidden:
        drawing.path(f"M{number(_MARGIN)} {number(y)}H{number(_RIGHT)}", "rule")
        plural = "" if way.steps_hidden == 1 else "s"
        more = f"and {way.steps_hidden} more step{plural}, not drawn"
        drawing.text(_MARGIN, y + 20, more, size=12.5, css="bold")
        y += 30
    return y


def _draw_step(drawing: Drawing, way: Way, step_way: StepWay, y: float) -> float:
    step = step_way.step
    drawing.open_group(group_id=f"way-step-{step.position}")
    drawing.path(f"M{number(_MARGIN)} {number(y)}H{number(_RIGHT)}", "rule")
    base = y + 19
    drawing.text(_MARGIN, base, str(step.position + 1), size=12, css="soft")
    symbol = clip(step.directive.subject or NOTHING, _WHAT_AT - _SYMBOL_AT - 8, 13, bold=True)
    drawing.text(_SYMBOL_AT, base, symbol, size=13, css="bold")
    asked = clip(plain(step.directive.amount), 110, 12, mono=True)
    asked_from = _ASKED_TO - width(asked, 12, mono=True)
    what = clip(step.directive.describe(), asked_from - _WHAT_AT - 12, 12.5)
    drawing.text(_WHAT_AT, base, what, size=12.5)
    drawing.text(_ASKED_TO, base, asked, size=12, css="mono", anchor="end")
    for right, text in ((_FILLED_TO, filled(step)), (_RIGHT, undone(step))):
        shown = clip(text, 185, 12, mono=True)
        drawing.text(right, base, shown, size=12, css="mono", anchor="end")
    y = _draw_moments(drawing, way, step_way, y + 28)
    if step.reason:
        reason = clip(step.reason, _RIGHT - _SYMBOL_AT, 11.5)
        drawing.text(_SYMBOL_AT, y + 9, reason, size=11.5, css="soft")
        y += 17
    drawing.close_group()
    return y + 5


def _draw_moments(drawing: Drawing, way: Way, step: StepWay, y: float) -> float:
    first, hidden, last = shown_moments(step)
    if not first:
        drawing.text(_SYMBOL_AT, y + 10, "not sent", size=12, css="soft")
        return y + 18
    x = _SYMBOL_AT
    shown: list[Moment | int] = [*first, *([hidden] if hidden else []), *last]
    for index, moment in enumerate(shown):
        if isinstance(moment, int):
            words, under, tone = f"{moment} more", "not drawn", Tone.CALM
        else:
            following = shown[index + 1] if index + 1 < len(shown) else None
            until = following.at if isinstance(following, Moment) else None
            words, tone = _words(moment, until), moment.tone
            under = _stamp(moment.at, way)
        wide = max(width(words, 11, bold=True), width(under, 10.5, mono=True)) + 14
        if x + wide > _RIGHT:
            x, y = _SYMBOL_AT, y + _CHIP_LINE
        elif index:
            _draw_link(drawing, x, y)
        drawing.rect(x, y, wide, _CHIP_HEIGHT, tone.value, radius=6)
        drawing.text(x + wide / 2, y + 13, words, size=11, css="bold", anchor="middle")
        drawing.text(x + wide / 2, y + 26, under, size=10.5, css="mono", anchor="middle")
        x += wide + _CHIP_GAP
    return y + _CHIP_LINE


def _draw_link(drawing: Drawing, x: float, y: float) -> None:
    middle = y + _CHIP_HEIGHT / 2
    left, right = x - _CHIP_GAP + 2, x - 2
    drawing.path(f"M{number(left)} {number(middle)}H{number(right - 4)}", "line thin")
    drawing.path(
        f"M{number(right)} {number(middle)}l-6 -3.5v7Z",
        "head",
    )


def _words(moment: Moment, until: datetime | None) -> str:
    words = f"{MARKS[moment.tone]} {moment.what}".strip()
    if moment.is_unknown and until is not None:
        words += f" for {_length(until - moment.at)}"
    return words


def _length(time: timedelta) -> str:
    """Return a length of time with two units, or in seconds where it is short."""
    seconds = time.total_seconds()
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, time.days
    if hours < 1:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"


def _draw_end(drawing: Drawing, way: Way, y: float) -> float:
    saga = way.saga
    y = _heading(drawing, "The end" if saga.state in SAGA_ENDS else "Where it stands", y + 6)
    facts = [("state", saga.state.value)]
    if saga.reason:
        facts.append(("reason", saga.reason))
    facts.append(
        ("undo cost", plain(saga.undo_cost) if any(s.undo for s in saga.steps) else NOTHING)
    )
    if saga.paused:
        facts.append(("paused", "nothing new is sent"))
    if not saga.residual:
        facts.append(("left behind", "nothing" if saga.state in SAGA_ENDS else NOTHING))
    for name, text in facts:
        y += 19
        drawing.text(_MARGIN, y, name, size=12, css="soft")
        shown = clip(text, _RIGHT - _MARGIN - 116, 12.5)
        drawing.text(_MARGIN + 116, y, shown, size=12.5, css="bold" if name == "state" else "")
    y = _draw_closing(drawing, saga, y)
    return _draw_residual(drawing, way, y + 8) if saga.residual else y


def _draw_closing(drawing: Drawing, saga: Saga, y: float) -> float:
    """Draw what was done by hand, whole: it is what an auditor looks for."""
    if saga.resolved is None:
        return y
    said = saga.resolved
    for name, text in (
        ("closed by", f"{said.by}: {said.reason}"),
        ("action", said.action),
        ("evidence", said.evidence),
    ):
        y += 2
        for index, line in enumerate(_lines(text, _RIGHT - _MARGIN - 116, 12.5)):
            y += 17
            if not index:
                drawing.text(_MARGIN, y, name, size=12, css="soft")
            drawing.text(_MARGIN + 116, y, line, size=12.5)
    return y


def _draw_residual(drawing: Drawing, way: Way, y: float) -> float:
    settled = way.saga.state is SagaState.ROLLED_BACK
    title = "Left behind, and dealt with by hand" if settled else "Left behind: residual exposure"
    drawing.text(_MARGIN, y + 20, title, size=12.5, css="bold")
    y += 28
    columns = ((_MARGIN, ""), (330.0, "end"), (470.0, "end"), (640.0, "end"), (664.0, ""))
    heads = ("symbol", "quantity", "last price", "worth", "")
    for (x, anchor), text in zip(columns, heads, strict=True):
        drawing.text(x, y + 12, text, size=11, css="soft", anchor=anchor)
    y += 18
    for exposure in way.saga.residual[:MAX_RESIDUES_SHOWN]:
        drawing.rect(_MARGIN - 8, y, _RIGHT - _MARGIN + 16, 23, "bad thin", radius=5)
        for (x, anchor), text in zip(columns, _residue(exposure), strict=True):
            css = "" if x == _MARGIN else "mono"
            shown = clip(text, 200, 12, mono=bool(css))
            drawing.text(x, y + 16, shown, size=12, css=css or "bold", anchor=anchor)
        y += 28
    hidden = len(way.saga.residual) - MAX_RESIDUES_SHOWN
    if hidden > 0:
        drawing.text(_MARGIN, y + 14, f"and {hidden} more symbols", size=12, css="bold")
        y += 20
    return y


def _residue(exposure: Exposure) -> tuple[str, str, str, str, str]:
    price = exposure.price
    known = exposure.low == exposure.high
    ends = [exposure.low] if known else [exposure.low, exposure.high]
    worth = " to ".join(plain(times(end, price)) for end in ends) if price is not None else NOTHING
    return (
        exposure.subject,
        " to ".join(_signed(end) for end in ends),
        plain(price) if price is not None else NOTHING,
        worth,
        "" if known else f"{len(exposure.unproven)} orders not proven",
    )


def _signed(amount: Decimal) -> str:
    return f"+{plain(amount)}" if amount > 0 else plain(amount)


def _time(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _moment(at: datetime, way: Way) -> str:
    """Return the time of day with its zone, or with its day where it is another one."""
    return _time(at) if at.date() == way.saga.submitted_at.date() else _stamp(at, way)


def _stamp(at: datetime, way: Way) -> str:
    """Return the time of day, with the day before it where it is not the day of submission."""
    clock = _time(at).removesuffix(" UTC")
    return clock if at.date() == way.saga.submitted_at.date() else f"{at:%m-%d} {clock}"
