"""Frozen dataclasses that are made as fast as those that can change.

The `__init__` that `dataclasses` writes for a frozen class hands each value to
`object.__setattr__`, which searches the class for the field's slot every time. The one written here
has found each slot beforehand. It writes the same values to the same places, and the object is as
frozen as it was.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quickly_made(cls: type[T]) -> type[T]:
    """Give a frozen dataclass with slots a faster `__init__`; goes above its `@dataclass` line.

    Raises:
        TypeError: its `__init__` does more than to write its arguments to its slots.
    """
    known = fields(cls)  # type: ignore[arg-type]
    names = [each.name for each in known]
    slow: Any = cls.__init__
    if (
        slow.__code__.co_varnames[: slow.__code__.co_argcount] != ("self", *names)
        or any(each.default_factory is not MISSING for each in known)
        or hasattr(cls, "__post_init__")
        or "__slots__" not in vars(cls)
        or not names
    ):
        raise TypeError(f"{cls.__name__} cannot be made by writing its arguments to its slots")
    writers = {f"write_{each.name}": getattr(cls, each.name).__set__ for each in known}
    lines = [f"def __init__(self, {', '.join(names)}):"]
    lines += [f"    write_{name}(self, {name})" for name in names]
    made: dict[str, Callable[..., None]] = {}
    exec("\n".join(lines), {**writers, "__name__": cls.__module__}, made)  # noqa: S102
    quick: Any = made["__init__"]
    quick.__defaults__ = slow.__defaults__
    quick.__annotations__ = slow.__annotations__
    quick.__qualname__ = slow.__qualname__
    cls.__init__ = quick  # type: ignore[method-assign]
    return cls
