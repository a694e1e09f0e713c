"""From bytes to rows: encoding, separator, quotes, and the line that each row stands on.

Nothing is guessed that could change a number: a comma in a number is never taken for a point.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from saga.errors import InvalidInput
from saga.wording import shown

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS: Final = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its first line in the file (from 1), and its fields without outer blanks."""

    line: int
    fields: tuple[str, ...]


def decoded(data: bytes, source: str) -> str:
    """Return the text of the file, without a byte-order mark.

    Raises:
        InvalidInput: it is empty or not UTF-8; the sentence names the line and the byte.
    """
    if data.startswith(_UTF_16):
        raise InvalidInput(f"{source}: the file is UTF-16, not UTF-8; save it as UTF-8")
    data = data.removeprefix(_BOM)
    if not data.strip():
        raise InvalidInput(f"{source}: the file is empty; it needs a header line and orders")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        place = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise InvalidInput(
            f"{source}, line {line}: byte 0x{data[error.start]:02X} (the {place}. of the line) is "
            "not UTF-8; the file looks like Latin-1 or Windows-1252, save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidInput(f"{source}, line {line}: there is a zero byte; is it a text file?")
    return text


def rows_of(text: str, source: str) -> Iterator[Row]:
    """Yield the rows of a text that are not empty, the header first.

    Raises:
        InvalidInput: quotes do not match, or a field is endless.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=_separator(text), strict=True)
    line = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidInput(
                f"{source}, line {line}: the row cannot be read ({error}); a quote inside a quoted "
                'field is written twice, as in "a ""b"" c"'
            ) from None
        cut = tuple(field.strip() for field in fields)
        if any(cut):
            yield Row(line, cut)
        line = reader.line_num + 1


def _separator(text: str) -> str:
    """Return what separates most fields of the first line that is not empty."""
    header = next(line for line in text.splitlines() if line.strip())
    return max(_SEPARATORS, key=header.count)


def checked_header(header: Row, source: str) -> tuple[str, ...]:
    """Return the names of the columns.

    Raises:
        InvalidInput: a name stands twice, or is missing.
    """
    names = header.fields
    for place, name in enumerate(names, start=1):
        if not name:
            raise InvalidInput(
                f"{source}, line {header.line}: column {place} has no name; name or remove it"
            )
    return names


def doubled(names: tuple[str, ...]) -> str | None:
    """Return a name that stands twice; None if all are different."""
    return next((name for name in names if names.count(name) > 1), None)


def as_record(row: Row, names: tuple[str, ...], source: str) -> dict[str, str]:
    """Return the row's fields by the names of their columns.

    Raises:
        InvalidInput: it has more or fewer fields than the header.
    """
    if len(row.fields) != len(names):
        hint = "quote a field that has the separator in it"
        if len(row.fields) > len(names):
            hint += ", and write decimals with a point"
        raise InvalidInput(
            f"{source}, line {row.line}: the row has {len(row.fields)} fields "
            f"({shown(list(row.fields))}), the header {len(names)}; {hint}"
        )
    return dict(zip(names, row.fields, strict=True))
