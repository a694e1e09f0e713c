"""JSON that cannot be changed: what a batch carries along as its metadata.

Objects become `JsonObject`, arrays become tuples, at every level. What could not come back equal
from a file is refused: NaN, sets, keys that are not strings, text that is not Unicode, integers and
nesting beyond a bound.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

from saga.wording import broken_rule, shown

MAX_METADATA_BYTES = 64 * 1024
"""Most bytes of a batch's metadata, written as compact JSON in UTF-8."""
MAX_METADATA_DEPTH = 32
"""Most levels of nesting, the outermost object included."""
MAX_METADATA_INTEGER_BITS = 1024
"""Integers beyond this are refused; interpreters differ in how many digits they write and read."""


class JsonObject(Mapping[str, Any]):
    """A JSON object that cannot be changed; equal to any mapping with equal content."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __repr__(self) -> str:
        return repr(self._fields)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def freeze(value: object) -> JsonObject:
    """Return the JSON object that `value` is, unchangeable at every level.

    Raises:
        PydanticCustomError: it is no JSON object, too large, or would not come back equal.
    """
    if not isinstance(value, Mapping):
        raise broken_rule(
            f"metadata must be a JSON object, not {shown(value)}; give names and values"
        )
    frozen = _Freezer().freeze(value, depth=1)
    assert isinstance(frozen, JsonObject)
    try:
        text = json.dumps(thaw(frozen), ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise broken_rule(
            f"metadata must be JSON, and the text {shown(error.object[error.start : error.end])} "
            "in it is not valid Unicode; remove it"
        ) from None
    if size > MAX_METADATA_BYTES:
        raise _too_large(f"{size} bytes")
    return frozen


def thaw(value: object) -> Any:
    """Return the plain dicts and lists that a frozen JSON value stands for."""
    if isinstance(value, JsonObject):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


def _too_large(size: str) -> Exception:
    return broken_rule(
        f"metadata must be at most {MAX_METADATA_BYTES} bytes as JSON, not {size}; "
        "keep the rest elsewhere and refer to it"
    )


class _Freezer:
    """Copies a JSON value, and stops as soon as it is certain to be too large.

    A list that stands a thousand times in another takes little memory, its copies a lot; so every
    value met is counted, not only the distinct ones.
    """

    def __init__(self) -> None:
        self._bytes = 0

    def freeze(self, value: object, depth: int) -> object:
        self._spend(1)
        if isinstance(value, str):
            self._spend(len(value))
            return str(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if value.bit_length() <= MAX_METADATA_INTEGER_BITS:
                return int(value)
            raise broken_rule(
                f"metadata must not hold {shown(value)}; integers have at most "
                f"{MAX_METADATA_INTEGER_BITS} bits, write it as a string"
            )
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, (Mapping, list, tuple)):
            return self._freeze_nested(value, depth)
        raise broken_rule(
            f"metadata must be JSON, which {shown(value)} is not; write it as a string or a number"
        )

    def _freeze_nested(
        self, value: "Mapping[Any, Any] | list[Any] | tuple[Any, ...]", depth: int
    ) -> object:
        if depth > MAX_METADATA_DEPTH:
            raise broken_rule(
                f"metadata must not be nested deeper than {MAX_METADATA_DEPTH} levels, and "
                f"{shown(value)} is; flatten it"
            )
        if not isinstance(value, Mapping):
            return tuple(self.freeze(item, depth + 1) for item in value)
        for key in value:
            if not isinstance(key, str):
                raise broken_rule(
                    f"metadata must be JSON, where keys are strings, not {shown(key)}; "
                    "write the key as a string"
                )
            self._spend(len(key))
        return JsonObject({str(key): self.freeze(item, depth + 1) for key, item in value.items()})

    def _spend(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_METADATA_BYTES:
            raise _too_large("more")
