"""How things are shown: data on stdout as table, JSON, JSON lines or CSV; all else on stderr.

Numbers are exact in every form; in JSON they are strings, as in a batch. A table uses the width of
the terminal: where it is too narrow for the table, each row becomes a block of lines, so that
nothing is ever cut off. Off a terminal there is no colour, no spinner, and no width.
"""

import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from desk.format import Format
from saga.exact import plain

WIDTH_OFF_TERMINAL: Final = 10_000
"""No line that goes into a file or a pipe is broken."""
NOTHING: Final = "-"


class Money(Decimal):
    """An amount of money: people see its thousands set apart, data has it plain and exact."""


Value = str | int | bool | Decimal | datetime | None
"""A cell. `None` is shown as a dash, and is `null` in JSON and empty in CSV."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: in data.
        heading: for people.
        right: its cells stand at the right.
        spare: how soon it is left out where a table would be too wide: the highest first, 0 never.
    """

    name: str
    heading: str
    right: bool = False
    spare: int = 0


MARKS: Final = {
    "success": ("✓", "ok", "green"),
    "partial_success": ("◐", "part", "yellow"),
    "partial": ("◐", "part", "yellow"),
    "failed": ("✗", "x", "red"),
    "error": ("✗", "x", "red"),
    "cancelled": ("⊘", "o", "magenta"),
    "stale": ("!", "!", "bold red"),
    "stuck": ("!", "!", "bold red"),
    "not undone": ("!", "!", "bold red"),
    "unknown": ("?", "?", "bold yellow"),
    "pending": ("·", ".", "dim"),
    "not_sent": ("·", ".", "dim"),
    "paused": ("‖", "=", "bold cyan"),
    "running": ("▸", ">", "cyan"),
    "undoing": ("←", "<", "yellow"),
    "undone": ("↶", "<", "green"),
}
"""A shape, its ASCII form and a colour for each status, beside the word."""


class Screen:
    """Where the command speaks: stdout for data, stderr for everything else.

    Args:
        form: the form of the data.
        out: by default stdout.
        err: by default stderr.
    """

    def __init__(
        self, form: Format, *, out: IO[str] | None = None, err: IO[str] | None = None
    ) -> None:
        self.form = form
        self._out = out or sys.stdout
        self.console = _console(self._out)
        self.errors = _console(err or sys.stderr)

    @property
    def is_for_people(self) -> bool:
        """Data is shown as tables."""
        return self.form is Format.TABLE

    # --- for people, on stderr --------------------------------------------------------------------

    def say(self, text: str, style: str = "") -> None:
        """Tell a person something; never on stdout."""
        self.errors.print(Text(text, style=style), soft_wrap=not self.errors.is_terminal)

    def complain(self, sentence: str) -> None:
        """Tell a person what is wrong."""
        mark = Text("saga: ", style="bold red")
        self.errors.print(mark + Text(sentence), soft_wrap=not self.errors.is_terminal)

    # --- data, on stdout --------------------------------------------------------------------------

    def text(self, text: str | Text = "") -> None:
        """Print a line of a table form."""
        self.console.print(
            text if isinstance(text, Text) else Text(text), soft_wrap=not self.console.is_terminal
        )

    def raw(self, text: str) -> None:
        """Write text as it stands."""
        self._out.write(text)

    @property
    def is_unread(self) -> bool:
        """Nothing that is written to stdout can be read by anybody any more."""
        return getattr(self._out, "failure", None) is not None

    def flush(self) -> None:
        """Let what was printed be seen now."""
        self._out.flush()

    def json(self, value: object) -> None:
        """Write one JSON value and a newline."""
        indent = 2 if self.console.is_terminal else None
        json.dump(value, self._out, default=_plain_value, ensure_ascii=False, indent=indent)
        self._out.write("\n")

    def json_line(self, value: object) -> None:
        """Write one JSON value on one line, at once."""
        json.dump(value, self._out, default=_plain_value, ensure_ascii=False)
        self._out.write("\n")
        self._out.flush()

    def rows(
        self,
        columns: Sequence[Column],
        rows: Sequence[Mapping[str, Value]],
        *,
        title: str | None = None,
        wrapper: str = "rows",
        beside: Mapping[str, object] | None = None,
        empty: str = "nothing",
    ) -> None:
        """Show rows in the form that was asked for.

        Args:
            columns: what a table and a CSV show; JSON has everything that is in the rows.
            rows: the rows.
            title: above a table.
            wrapper: the JSON field that holds the rows.
            beside: further fields of the JSON object.
            empty: what a table says that has no rows.
        """
        if self.form is Format.JSON:
            self.json({wrapper: list(rows), **(beside or {})})
        elif self.form is Format.JSONL:
            for row in rows:
                self.json_line(row)
        elif self.form is Format.CSV:
            writer = csv.writer(self._out, lineterminator="\n")
            writer.writerow([column.name for column in columns])
            for row in rows:
                writer.writerow([_csv_value(row.get(column.name)) for column in columns])
        else:
            if title:
                self.text(Text(title, style="bold"))
            if rows:
                self.table(columns, rows)
            else:
                self.text(empty)

    def table(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]]) -> None:
        """Print a table that fits: without spare columns, or with a block of lines for each row."""
        shown = list(columns)
        hidden: list[str] = []
        while not self._fits(shown, rows):
            empty = [c for c in shown if all(row.get(c.name) is None for row in rows)]
            spare = max(shown, key=lambda column: column.spare)
            if empty:
                shown.remove(empty[0])
            elif spare.spare:
                shown.remove(spare)
                hidden.append(spare.heading)
            else:
                self._blocks(columns, [self._cells(columns, row) for row in rows])
                return
        cells = [self._cells(shown, row) for row in rows]
        self._lines(shown, cells, self._widths(shown, cells))
        if hidden:
            names = ", ".join(reversed(hidden))
            self.text(Text(f"(left out on this narrow screen: {names})", style="dim"))

    def _cells(self, columns: Sequence[Column], row: Mapping[str, Value]) -> list[Text]:
        return [self.cell(row.get(column.name)) for column in columns]

    def _widths(self, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> list[int]:
        return [
            max(cell_len(column.heading), *(cell_len(line[place].plain) for line in cells))
            for place, column in enumerate(columns)
        ]

    def _fits(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]]) -> bool:
        widths = self._widths(columns, [self._cells(columns, row) for row in rows])
        return sum(widths) + 2 * (len(widths) - 1) <= self.console.width

    def pairs(self, pairs: Sequence[tuple[str, Value]]) -> None:
        """Print names and values below one another."""
        width = max((cell_len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self._hanging(name.ljust(width), self.cell(value), width)

    def cell(self, value: Value) -> Text:
        """Return a value as a table shows it; a status with its shape."""
        text = shown_value(value)
        status = text.partition(", ")[0]
        if status in MARKS:
            sign, ascii_sign, style = MARKS[status]
            sign = ascii_sign if self._is_ascii else sign
            return Text(f"{sign} {text}", style=style)
        return Text(text)

    @property
    def _is_ascii(self) -> bool:
        return (
            not (getattr(self._out, "encoding", None) or "")
            .lower()
            .replace("-", "")
            .startswith("utf")
        )

    def _lines(
        self, columns: Sequence[Column], cells: Sequence[Sequence[Text]], widths: Sequence[int]
    ) -> None:
        heading = [Text(column.heading, style="bold") for column in columns]
        for line in (heading, *cells):
            row = Text()
            for place, (text, column, width) in enumerate(zip(line, columns, widths, strict=True)):
                gap = " " * (width - cell_len(text.plain))
                last = place == len(columns) - 1
                row += Text(gap) + text if column.right else text + Text("" if last else gap)
                if not last:
                    row += Text("  ")
            self.text(row)

    def _blocks(self, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> None:
        width = max(cell_len(column.heading) for column in columns)
        for number, line in enumerate(cells):
            if number:
                self.text()
            for place, (column, text) in enumerate(zip(columns, line, strict=True)):
                if place and text.plain == NOTHING:
                    continue
                self._hanging(column.heading.ljust(width), text, width)

    def _hanging(self, name: str, value: Text, width: int) -> None:
        """Print a name and a value whose further lines stand under its first."""
        room = max(20, self.console.width - width - 2)
        first = True
        for line in value.wrap(self.console, room) if self.console.is_terminal else [value]:
            lead = Text(name, style="dim") if first else Text(" " * width)
            self.text(lead + Text("  ") + line)
            first = False


class _Console(Console):
    """A console that says so when its reader has left, as a plain stream does."""

    def on_broken_pipe(self) -> None:
        """Do not end the process here."""
        raise BrokenPipeError


def _console(stream: IO[str]) -> Console:
    is_terminal = stream.isatty()
    return _Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=True if not is_terminal or os.environ.get("NO_COLOR") else None,
        force_terminal=is_terminal and os.environ.get("TERM") != "dumb",
        color_system="auto" if is_terminal else None,
        width=None if is_terminal else WIDTH_OFF_TERMINAL,
        legacy_windows=False,
    )


def instant(at: datetime) -> str:
    """Return an instant as people read it, in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def shown_value(value: Value) -> str:
    """Return a value as text for people."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Money):
        return money(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return instant(value)
    return str(value)


def money(amount: Decimal, currency: str = "") -> str:
    """Return an amount with thousands set apart and at least two places, exactly."""
    whole, _, places = plain(amount.copy_abs()).partition(".")
    text = f"{int(whole):,}.{places.ljust(2, '0')}"
    sign = "-" if amount < 0 else ""
    return f"{sign}{text} {currency}".rstrip()


def _plain_value(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _csv_value(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(_plain_value(value))
    text = plain(value) if isinstance(value, Decimal) else str(value)
    # A spreadsheet would run a text that begins like a formula.
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+@\t\r" and text else text
