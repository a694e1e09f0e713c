"""Text on its way into a picture: made harmless, cut to a width, measured.

What stands in a batch was written by somebody else. It reaches a drawing only through `clean`,
which leaves no control character, no direction override and nothing that XML forbids, and through
`escape` (SVG) or `mermaid_text` (Mermaid), which leave nothing that either format would obey.

Widths are estimates on the wide side: nobody knows which font the reader's machine has.
"""

import re
import unicodedata
from html import escape as _escape
from typing import Final

MAX_TEXT_LENGTH: Final = 400
"""No text is looked at beyond so many characters; it bounds what a hostile one can cost."""

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPACES: Final = re.compile(r"\s+")
_NOT_PLAIN: Final = re.compile(r"[^0-9A-Za-z ._,/@+=()-]+")
_NOT_IN_AN_ID: Final = re.compile(r"[^0-9A-Za-z_]")

_NARROW: Final = frozenset("iljtfrI.,:;|!'` ()[]-/")
_BROAD: Final = frozenset("mwMW@%&")
_EM_NARROW, _EM_NORMAL, _EM_CAPITAL, _EM_BROAD, _EM_WIDE = 0.41, 0.62, 0.74, 0.98, 1.02
_BOLD = 1.1
_EM_MONO = 0.61


def clean(text: str) -> str:
    """Return the text on one line, without control, formatting, private or unpaired characters."""
    seen = "".join(
        " " if c.isspace() else "" if unicodedata.category(c) in _UNSEEN else c
        for c in text[:MAX_TEXT_LENGTH]
    )
    more = "…" if len(text) > MAX_TEXT_LENGTH else ""
    return _SPACES.sub(" ", seen).strip() + more


def escape(text: str) -> str:
    """Return cleaned text with everything escaped that XML would take for markup."""
    return _escape(clean(text), quote=True)


def mermaid_text(text: str, limit: int = 60) -> str:
    """Return text of plain letters, digits and a few signs, none of which Mermaid obeys."""
    plain = _SPACES.sub(" ", _NOT_PLAIN.sub(" ", clean(text))).replace("--", "-").strip()
    return plain if len(plain) <= limit else plain[: limit - 3].rstrip() + "..."


def identifier(text: str) -> str:
    """Return a name that is the same for the same text, and valid as an id in XML and Mermaid."""
    return _NOT_IN_AN_ID.sub(lambda match: f"x{ord(match.group()):x}x", text)


def width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Return how wide the text is at most likely to be, in pixels, at a font size in pixels."""
    if mono:
        ems = sum(2 * _EM_MONO if _is_wide(c) else _EM_MONO for c in text)
    else:
        ems = sum(_ems(c) for c in text)
    return ems * size * (_BOLD if bold else 1.0)


def clip(text: str, room: float, size: float, *, bold: bool = False, mono: bool = False) -> str:
    """Return the cleaned text, cut with an ellipsis where it would be wider than `room` pixels."""
    text = clean(text)
    if width(text, size, bold=bold, mono=mono) <= room:
        return text
    while text and width(text + "…", size, bold=bold, mono=mono) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, room: float, size: float, lines: int) -> list[str]:
    """Return the cleaned text on at most so many lines of `room` pixels; the last may be cut."""
    words, result = clean(text).split(" "), [""]
    for index, word in enumerate(words):
        longer = f"{result[-1]} {word}".strip()
        if width(longer, size) <= room or not result[-1]:
            result[-1] = longer
        elif len(result) < lines:
            result.append(word)
        else:
            result[-1] = " ".join([result[-1], *words[index:]])
            break
    return [clip(line, room, size) for line in result]


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


def _ems(character: str) -> float:
    if _is_wide(character):
        return _EM_WIDE
    if character in _NARROW:
        return _EM_NARROW
    if character in _BROAD:
        return _EM_BROAD
    if character.isupper() or not character.isascii():
        return _EM_CAPITAL
    return _EM_NORMAL
