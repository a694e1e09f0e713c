"""What the demo shows: live on a terminal, line by line elsewhere; always on stderr.

Everything is said by word and by shape; colour only repeats it. stdout is left to the one JSON
object. This module decides nothing and asks nobody.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import IO, Final

from rich.live import Live
from rich.text import Text

from desk.demo.progress import Progress
from desk.demo.report import SCENES, Checks
from desk.format import Format
from desk.output import MARKS, Column, Screen, Value, money
from saga.store.protocol import JournalRecord
from saga.views import BatchRow

MAX_WIDTH: Final = 100
"""Wider than this no line is drawn."""
_LABEL: Final = 12


class Show:
    """Where the demo speaks.

    Args:
        out: by default stderr.
    """

    def __init__(self, out: IO[str] | None = None) -> None:
        stream = out or sys.stderr
        self._screen = Screen(Format.TABLE, out=stream, err=stream)
        self._console = self._screen.console
        self.is_live = self._console.is_terminal
        self.width = min(MAX_WIDTH, self._console.width)
        encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
        self._ascii = not encoding.startswith("utf")

    # --- text -------------------------------------------------------------------------------------

    def line(self, text: str | Text = "", style: str = "") -> None:
        """Print one paragraph, without an indent."""
        self._wrapped("", text if isinstance(text, Text) else Text(text, style))

    def heading(self, number: int, name: str, about: str) -> None:
        """Begin a scene."""
        title = f"{number} of {SCENES}  {name}"
        self.line()
        if self.is_live:
            rest = "-" if self._ascii else "─"
            title += "  " + rest * max(0, self.width - len(title) - 2)
        self.line(title, "bold")
        self.line(about)
        self.line()

    def event(self, status: str, words: str) -> None:
        """Print one thing that happened, with the shape of its status."""
        sign, ascii_sign, style = MARKS[status]
        lead = Text(f"  {ascii_sign if self._ascii else sign} ", style)
        self._wrapped(lead, Text(words))

    def fact(self, label: str, words: str) -> None:
        """Print a named fact."""
        self._wrapped(Text(f"  {label:{_LABEL}}", "dim"), Text(words))

    def command(self, words: str) -> None:
        """Print a command line whole, so that it can be copied wherever the terminal breaks it."""
        self._console.print(Text(f"  {words}"), soft_wrap=True)

    def verdict(self, row: BatchRow, orders: int) -> None:
        """Say what became of a batch."""
        outcome = f", outcome {row.outcome}" if row.outcome else ""
        # An undone batch is what was promised, and no failure of the program.
        sign, ascii_sign, style = MARKS["undone" if row.state == "ROLLED_BACK" else row.status]
        lead = Text(f"  {ascii_sign if self._ascii else sign} ", style)
        words = Text(row.state, f"bold {style}")
        words.append(f"{outcome}; {orders} orders at the exchange; {row.batch_id}", "default")
        self._wrapped(lead, words)

    def checks(self, checks: Checks) -> None:
        """Say which claims hold."""
        for holds, claim in checks.seen:
            self.event("success" if holds else "failed", claim if holds else f"NOT SO: {claim}")

    def table(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]]) -> None:
        """Print a table, indented by nothing; blocks where it is too wide."""
        self._screen.table(columns, rows)

    def _wrapped(self, lead: Text | str, text: Text) -> None:
        """Print text whose further lines stand under its first."""
        lead = Text(lead) if isinstance(lead, str) else lead
        room = max(20, self.width - lead.cell_len)
        lines = text.wrap(self._console, room) if self.is_live else [text]
        for number, line in enumerate(lines or [Text()]):
            line.rstrip()
            self._screen.text((lead if number == 0 else Text(" " * lead.cell_len)) + line)

    # --- a batch that runs ------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator["Watch"]:
        """Show a batch while its records come."""
        watch = Watch(self, ascii_only=self._ascii)
        if not self.is_live:
            yield watch
            return
        with Live(console=self._console, auto_refresh=False) as live:
            watch.live = live
            yield watch


class Watch:
    """A batch on the screen, as its journal is told."""

    def __init__(self, show: Show, *, ascii_only: bool) -> None:
        self.live: Live | None = None
        self.progress = Progress()
        self._show = show
        self._ascii = ascii_only

    def take(self, record: JournalRecord, *, quietly: bool = False) -> None:
        """Fold a record in and show it; `quietly` for what was shown before."""
        self.progress.take(record)
        if not quietly:
            words = self.progress.words(record.event)
            if words is not None:
                status, sentence, is_worth_a_line = words
                if is_worth_a_line or self.live is None:
                    self._show.event(status, sentence)
        if self.live is not None:
            picture = self.progress.picture(self._show.width, ascii_only=self._ascii)
            self.live.update(picture, refresh=True)


def dollars(amount: Decimal) -> str:
    """Return money in US dollars, exactly."""
    return money(amount, "USD")
