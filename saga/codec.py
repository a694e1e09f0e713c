"""Keeps the records of a family of dataclasses as JSON text, each beside its kind.

A kind, or a field, that this version does not know was written by a newer one, and means
something: it is refused, never skipped.

A field that has its default is left out, and so a default never changes. What holds promises is
written in full instead: they must not change with what a later version promises by default.
"""

from collections.abc import Iterable
from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from saga.errors import InvalidInput
from saga.wording import explain


class Record(Protocol):
    """A dataclass that bears its kind."""

    kind: ClassVar[str]


R = TypeVar("R", bound=Record)


class _Adapters(dict[str, TypeAdapter[R]], Generic[R]):
    """The adapter of each kind, made when it is first asked for: importing them all takes long.

    Two threads may both make one, of which either serves.
    """

    def __init__(self, types: Iterable[type[R]]) -> None:
        super().__init__()
        self.types = {each.kind: each for each in types}

    def __missing__(self, kind: str) -> TypeAdapter[R]:
        strict = with_config(ConfigDict(extra="forbid"))(self.types[kind])
        adapter = self[kind] = TypeAdapter(strict)
        return adapter


class Codec(Generic[R]):
    """Encodes the records of a family, and decodes them.

    Args:
        noun: what one of them is called, for the sentences.
        types: the family, each type with a kind of its own.
        in_full: those of them that are written with their defaults.
    """

    def __init__(self, noun: str, types: Iterable[type[R]], *, in_full: Iterable[type[R]]) -> None:
        self._noun = noun
        self._in_full = frozenset(each.kind for each in in_full)
        self._adapters = _Adapters(types)

    def encode(self, record: R) -> str:
        """Return the record's fields as JSON text; its kind is kept beside it."""
        serializer = self._adapters[record.kind].serializer
        brief = record.kind not in self._in_full
        return serializer.to_json(record, exclude_defaults=brief).decode()

    def decode(self, kind: str, data: str) -> R:
        """Return the record that was encoded.

        Raises:
            InvalidInput: the kind is unknown, or the fields do not fit it.
        """
        if kind not in self._adapters.types:
            raise InvalidInput(
                f"{self._noun} of kind {kind!r} is unknown to this version; "
                "it was written by a newer one, which must be used to read it"
            )
        try:
            record: R = self._adapters[kind].validator.validate_json(data)
        except ValidationError as error:
            raise InvalidInput(
                f"{self._noun} of kind {kind!r} does not decode: {explain(error)}"
            ) from None
        return record
