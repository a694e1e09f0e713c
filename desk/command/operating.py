"""What every command of an operator begins with: its session, and words that are worth keeping."""

from pathlib import Path
from typing import Final

import typer

from desk.format import Format
from desk.session import Session
from saga.errors import InvalidInput
from saga.wording import shown

MAX_WORDS: Final = 2_000
"""Most characters of what an operator says."""


def operators_session(context: typer.Context, home: Path | None, *, as_json: bool) -> Session:
    """Return a session in which settings that cannot be used do not matter."""
    forms = (Format.TABLE, Format.JSON)
    return Session(context, home, as_json=as_json, forms=forms, settings_matter=False)


def said(text: str, option: str = "--reason", *, kept_in: str = "journal") -> str:
    """Return what an operator says, without the space around it.

    Raises:
        InvalidInput: it says nothing, or too much.
    """
    if not text.strip() or len(text) > MAX_WORDS:
        raise InvalidInput(
            f"{option}: must say something, in at most {MAX_WORDS} characters, not {shown(text)}; "
            f"it is kept in the {kept_in}"
        )
    return text.strip()
