"""Writes objects that are nearly alike as JSON: once what they have in common, and a row for each.

    [{"kind": "buy", "symbol": "KO", "lot": "1"}, {"kind": "buy", "symbol": "PG", "lot": "1"}]

becomes

    {"alike": {"kind": "buy", "lot": "1"}, "fields": ["symbol"], "each": [["KO"], ["PG"]]}

Nothing is left out, defaults and nulls included, so it means the same to every later version.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
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
    names = first.keys()
    for other in others:
        if other.keys() != names:
            return objects
    if not others:
        return objects
    columns = {name: list(map(itemgetter(name), objects)) for name in names}
    differing = {name: column for name, column in columns.items() if _differ(column)}
    return {
        "alike": {name: value for name, value in first.items() if name not in differing},
        "fields": list(differing),
        "each": list(map(list, zip(*differing.values(), strict=True))) or [[] for _ in objects],
    }


def _differ(values: Iterable[object]) -> bool:
    # By repr, for which 1, 1.0 and True are three, as they are in JSON.
    texts = map(repr, values)
    return any(map(next(texts).__ne__, texts))


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
