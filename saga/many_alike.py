"""Writes objects that are nearly alike as JSON: once what they have in common, and a row for each.

    [{"kind": "buy", "symbol": "KO", "lot": "1"}, {"kind": "buy", "symbol": "PG", "lot": "1"}]

becomes

    {"alike": {"kind": "buy", "lot": "1"}, "fields": ["symbol"], "each": [["KO"], ["PG"]]}

Nothing is left out, defaults and nulls included, so it means the same to every later version.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from saga.wording import broken_rule


class _Folded(BaseModel):
    """The written form."""

    model_config = ConfigDict(extra="forbid", strict=True)

    alike: dict[str, Any]
    fields: list[str]
    each: list[list[Any]]


def fold_alike(objects: Sequence[Mapping[str, Any]]) -> object:
    """Return JSON objects in the shorter form; unchanged where it is none, or they differ in kind.

    Args:
        objects: JSON objects, such as a model's `model_dump(mode="json")`.
    """
    first, *others = objects
    if not others or any(other.keys() != first.keys() for other in others):
        return objects
    # By repr, for which 1, 1.0 and True are three, as they are in JSON.
    texts = {name: repr(value) for name, value in first.items()}
    fields = [
        name for name, text in texts.items() if any(repr(other[name]) != text for other in others)
    ]
    return {
        "alike": {name: value for name, value in first.items() if name not in fields},
        "fields": fields,
        "each": [[each[name] for name in fields] for each in objects],
    }


def unfold_alike(value: object) -> object:
    """Return JSON objects as they were before `fold_alike`; what it left alone stays as it is."""
    if not isinstance(value, Mapping):
        return value
    try:
        folded = _Folded.model_validate(value)
        return [
            {**folded.alike, **dict(zip(folded.fields, row, strict=True))} for row in folded.each
        ]
    except ValueError:  # a ValidationError too
        raise broken_rule(
            "directives must be a list, or what they have in common and a row for each; "
            "compare the store with a backup"
        ) from None
