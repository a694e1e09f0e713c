"""Frozen dataclasses that are quick: to declare, and to make.

`dataclasses` writes six methods of every frozen class as source text and compiles each of them,
which is half of what importing this package would take. And the `__init__` among them hands each
value to `object.__setattr__`, which searches the class for the field's slot every time. Here only
`__init__` is written and compiled, and it has found each slot beforehand; the other methods are the
same functions for every class. It compares, hashes, prints, copies and refuses changes as before.

    from saga.quick_dataclass import dataclass

goes where `dataclass` would be imported from `dataclasses`. What is more than frozen fields in
slots is handed on to there.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type[T] | None = None, /, **wanted: bool) -> Any:
        """Make a class a dataclass; takes what `dataclasses.dataclass` takes."""

        def made(cls: type[T]) -> type[T]:
            if wanted == {"frozen": True, "slots": True} and _is_plain(cls):
                return _quick(cls)
            return dataclasses.dataclass(**wanted)(cls)

        return made if cls is None else made(cls)


def _is_plain(cls: type) -> bool:
    """Tell whether the class is its fields, and has no say in how it is made, compared or kept."""
    own = vars(cls)
    return (
        cls.__bases__ == (object,)
        and own.keys().isdisjoint(_OURS)
        and not any(isinstance(value, dataclasses.Field) for value in own.values())
    )


def _quick(plain: type[T]) -> type[T]:
    plain.__doc__ = plain.__doc__ or plain.__qualname__  # else its signature would be looked for
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(plain)
    params = made.__dataclass_params__
    params.init = params.repr = params.eq = params.frozen = True
    known = dataclasses.fields(made)
    made.__init__ = _init(made, known)
    made.__eq__, made.__hash__ = _comparison([each.name for each in known])
    for name, method in _SHARED.items():
        setattr(made, name, method)
    result: type[T] = made
    return result


def _init(cls: type, known: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    given = {f"given_{f.name}": f.default for f in known if f.default is not dataclasses.MISSING}
    writers = {f"write_{each.name}": getattr(cls, each.name).__set__ for each in known}
    arguments = [
        f"{each.name}=given_{each.name}" if f"given_{each.name}" in given else each.name
        for each in known
    ]
    lines = [f"def __init__({', '.join(['self', *arguments])}):"]
    lines += [f"    write_{each.name}(self, {each.name})" for each in known] or ["    pass"]
    written: dict[str, Any] = {}
    exec("\n".join(lines), {**given, **writers, "__name__": cls.__module__}, written)  # noqa: S102
    init = written["__init__"]
    init.__annotations__ = {each.name: each.type for each in known} | {"return": None}
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    result: Callable[..., None] = init
    return result


def _comparison(names: list[str]) -> tuple[Callable[[Any, object], bool], Callable[[Any], int]]:
    """Return what compares, and what hashes, the values of these fields."""

    def few(self: Any) -> tuple[Any, ...]:  # a getter of one name would give no tuple
        return tuple(getattr(self, name) for name in names)

    values = attrgetter(*names) if len(names) > 1 else few

    def equals(self: Any, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    return equals, hashed


@recursive_repr()
def _repr(self: Any) -> str:
    fields = (f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self))
    return f"{type(self).__qualname__}({', '.join(fields)})"


def _refuse_to_set(_: object, name: str, __: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


_SHARED: Final = {
    "__repr__": _repr,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _state,
    "__setstate__": _set_state,
}
_OURS: Final = {*_SHARED, "__init__", "__post_init__", "__eq__", "__hash__"}
