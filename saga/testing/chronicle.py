"""What happened in one test, in order, and the story that is told of it when a promise broke."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from saga.calls import in_words
from saga.clock import Clock
from saga.exact import plain
from saga.outcome import Report
from saga.testing.harness import VenueOrder

WIDTH: Final = 100
"""Sentences are broken at this column; keys and ids may stand out."""
MAX_LINES: Final = 60
"""A story shows so many lines of what happened: the first half and the last."""
MAX_ORDERS: Final = 40
"""A story shows so many orders of the venue's books."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One promise that broke.

    Attributes:
        promise: what was promised, as a sentence.
        what: what is so instead.
        usually: what adapters usually do wrong there.
        orders: ids of the venue's orders that show it.
    """

    promise: str
    what: str
    usually: str
    orders: frozenset[str] = frozenset()


@dataclass(slots=True)
class Chronicle:
    """The lines of a story, with the seconds since it began."""

    clock: Clock
    lines: list[str] = field(default_factory=list)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock.elapsed()

    def tell(self, what: str) -> None:
        """Add a line."""
        self.lines.append(f"{self.clock.elapsed() - self.began:8.3f} s  {what}")


def told(answer: object) -> str:
    """Return an adapter's answer in a few words."""
    if isinstance(answer, BaseException):
        return f"raised {in_words(answer)}"
    if answer is None:
        return "None"
    if not isinstance(answer, Report):
        return f"{type(answer).__name__}, which is no report"
    fills = ", ".join(f"{fill.fill_id}: {fill.quantity}" for fill in answer.fills) or "none"
    reason = f", reason {answer.reason!r}" if answer.reason else ""
    return f"{'final' if answer.final else 'not final'}, fills {fills}{reason}"


def story(
    adapter: str,
    breaches: Sequence[Breach],
    *,
    setting: str,
    chronicle: Chronicle,
    books: Sequence[VenueOrder],
    journal: Sequence[str] = (),
) -> str:
    """Return the whole story: what broke, what was sent, what the books say, what to look at."""
    first = breaches[0]
    parts = [f"{adapter} breaks a promise: {first.promise}", "", _paragraph(first.what)]
    parts += [_paragraph(f"also: {other.what}") for other in breaches[1:]]
    parts += ["", "The setting:", _paragraph(setting), "", "What happened:"]
    parts += [_indented(line) for line in _shortened(chronicle.lines)]
    if journal:
        parts += ["", "What the engine believes in the end:"]
        parts += [_indented(line) for line in journal]
    parts += ["", "What the venue's own books say:"]
    marked = frozenset[str]().union(*(breach.orders for breach in breaches))
    parts += [_indented(_booked(order, marked)) for order in books[-MAX_ORDERS:]] or [
        "  no order at all"
    ]
    parts += ["", "What adapters usually do wrong here:", _paragraph(first.usually)]
    return "\n".join(parts)


def _indented(text: str) -> str:
    return f"  {text}"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _shortened(lines: Sequence[str]) -> list[str]:
    if len(lines) <= MAX_LINES:
        return list(lines)
    half = MAX_LINES // 2
    left_out = f"            ... {len(lines) - 2 * half} lines are left out ..."
    return [*lines[:half], left_out, *lines[-half:]]


def _booked(order: VenueOrder, marked: frozenset[str]) -> str:
    side = {1: "adds", -1: "takes away"}.get(order.direction, "changes")
    rest = f", {plain(order.open_quantity)} open" if order.is_open else ""
    here = "   <--" if order.order_id in marked else ""
    return (
        f"order {order.order_id}: key {order.key or '(none)'}, {side} {plain(order.quantity)} "
        f"{order.subject}, filled {plain(order.filled)}{rest}{here}"
    )
