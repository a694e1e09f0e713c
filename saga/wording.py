"""How a complaint about input is worded: which value, how long, and in whose words.

What came from outside is shown short and escaped, whatever it is: a megabyte of text, a number of a
million digits, lists in lists in lists. Showing a value never fails and never costs much.
"""

import json
import re
import reprlib
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

MAX_SHOWN = 80
"""Most characters of a value that a sentence shows."""
_MAX_SHOWN_BITS = 256


class _Short(reprlib.Repr):
    """A `repr` of bounded depth, width and cost."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = MAX_SHOWN

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to write down integers of more than 4,300 digits, and the refusal is an
        # error that would take the place of ours.
        if value.bit_length() > _MAX_SHOWN_BITS:
            return f"an integer of {value.bit_length()} bits"
        return super().repr_int(value, level)

    def repr_Decimal(self, value: Decimal, level: int) -> str:  # noqa: ARG002, N802 - as in reprlib
        return str(value)


_SHORT = _Short()


def shown(value: object) -> str:
    """Return the value as a sentence shows it: like `repr`, but short, whatever it is."""
    text = _SHORT.repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def counted(count: int, what: str) -> str:
    """Return how many there are of something, whose plural takes an s."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def broken_rule(text: str) -> PydanticCustomError:
    """Return the error that a validator raises with a whole sentence of ours."""
    # The text goes in as a value: braces in it would be read as placeholders.
    return PydanticCustomError("batch", "{text}", {"text": text})


_SPEAKS_FOR_ITSELF = frozenset({"amount", "directive", "batch", "id", "json_invalid"})
"""Types of complaint whose sentence names value, rule and remedy already."""

_UNKNOWN_FIELD = frozenset({"extra_forbidden", "unexpected_keyword_argument"})

_LISTS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type"})

_REMEDY = {
    "enum": "choose one of them",
    "literal_error": "choose one of them",
    "greater_than": "raise it",
    "greater_than_equal": "raise it",
    "less_than": "lower it",
    "less_than_equal": "lower it",
    "string_too_short": "give a longer text",
    "string_too_long": "give a shorter text",
}


def explain(error: ValidationError) -> str:
    """Return the weightiest complaint of a validation error as one sentence.

    It names field, value, rule and what to do. A field with an unknown name comes before all else:
    where `quanity` stands, that `quantity` is missing is only what follows from it.
    """
    complaints: list[Any] = sorted(
        error.errors(include_url=False, include_context=False),
        key=lambda complaint: complaint["type"] not in _UNKNOWN_FIELD,
    )
    first = complaints[0]
    path = [str(part) for part in first["loc"]]
    rule = _rule_of(first)
    if path and rule.startswith(f"{path[-1]} "):
        path.pop()  # our own sentences name their field themselves
    field = f"{'.'.join(path)}: " if path else ""
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{field}{rule}{more}"


def _quoted(value: object) -> str:
    """Return the first item of the list that somebody meant, as JSON and TOML write it."""
    if not isinstance(value, str) or len(value) > MAX_SHOWN - 20:
        return "..."
    return json.dumps(value)


def _rule_of(complaint: Any) -> str:
    kind, message = complaint["type"], str(complaint["msg"])
    if kind in _SPEAKS_FOR_ITSELF:
        return message
    if kind in _UNKNOWN_FIELD:
        return "is not a known field; check its spelling or leave it out"
    if kind in ("missing", "missing_argument"):
        return "is missing; add it"
    if kind in ("value_error", "assertion_error"):
        return f"{message.partition(', ')[2]}, not {shown(complaint['input'])}; correct it"
    if kind in _LISTS:
        example = f"; write a list: [{_quoted(complaint['input'])}]"
        return f"must be a list, not {shown(complaint['input'])}{example}"
    rule = re.sub(r"^\w+ should ", "must ", message)
    rule = re.sub(r"Decimal\('([^']*)'\)", r"\1", rule)
    return f"{rule}, not {shown(complaint['input'])}; {_REMEDY.get(kind, 'correct it')}"
