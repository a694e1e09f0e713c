"""A frozen dataclass that is made quickly is the one that it was."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter

from saga.events import EVENT_TYPES
from saga.outcome import Fill, Report
from saga.quick_dataclass import quickly_made
from saga.views import BatchRow, TradeRow


@dataclass(frozen=True, slots=True)
class Slow:
    kind: ClassVar[str] = "slow"
    first: int
    second: Decimal
    third: tuple[str, ...] = ()
    fourth: str | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Quick:
    kind: ClassVar[str] = "slow"
    first: int
    second: Decimal
    third: tuple[str, ...] = ()
    fourth: str | None = None


WAYS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1, Decimal(2)), {}),
    ((1,), {"second": Decimal(2), "fourth": "x"}),
    ((1, Decimal(2), ("a",), "b"), {}),
    ((), {"fourth": None, "third": ("c",), "second": Decimal(0), "first": 7}),
]


@pytest.mark.parametrize(("arguments", "named"), WAYS)
def test_each_way_of_making_one_writes_the_same(
    arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    slow, quick = Slow(*arguments, **named), Quick(*arguments, **named)
    names = [each.name for each in fields(quick)]
    assert names == ["first", "second", "third", "fourth"]
    assert [getattr(quick, name) for name in names] == [getattr(slow, name) for name in names]
    assert quick == Quick(*arguments, **named)
    assert hash(quick) == hash(slow)
    assert repr(quick) == repr(slow).replace("Slow", "Quick")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), {}), ((1,), {}), ((1, 2, 3, 4, 5), {}), ((1, 2), {"first": 1}), ((1, 2), {"fifth": 5})],
)
def test_what_cannot_be_made_is_refused(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    for made in (Slow, Quick):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            made(*arguments, **named)


def test_its_signature_is_what_it_was() -> None:
    assert inspect.signature(Quick) == inspect.signature(Slow)
    assert inspect.get_annotations(Quick.__init__) == inspect.get_annotations(Slow.__init__)
    assert Quick.__init__.__qualname__ == "Quick.__init__"


def test_it_is_as_frozen_as_it_was() -> None:
    quick = Quick(1, Decimal(2))
    with pytest.raises(FrozenInstanceError):
        quick.first = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del quick.first
    with pytest.raises((AttributeError, TypeError)):
        quick.fifth = 5  # type: ignore[attr-defined]


def test_it_is_copied_replaced_kept_and_read_back() -> None:
    quick = Quick(1, Decimal("2.50"), ("a",))
    assert replace(quick, fourth="x") == Quick(1, Decimal("2.50"), ("a",), "x")
    assert copy.deepcopy(quick) == quick
    assert pickle.loads(pickle.dumps(quick)) == quick
    adapter = TypeAdapter(Quick)
    assert adapter.validate_json(adapter.dump_json(quick)) == quick


def test_one_that_does_more_than_to_write_its_arguments_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class WithFactory:
        some: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class WithMore:
        some: int

        def __post_init__(self) -> None: ...

    @dataclass(frozen=True, slots=True)
    class WithoutArgument:
        some: int = field(default=1, init=False)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ByNameOnly:
        some: int

    @dataclass(frozen=True)
    class WithoutSlots:
        some: int

    @dataclass(frozen=True, slots=True)
    class Empty: ...

    for each in (WithFactory, WithMore, WithoutArgument, ByNameOnly, WithoutSlots, Empty):
        with pytest.raises(TypeError, match=f"{each.__name__} cannot be made"):
            quickly_made(each)


@pytest.mark.parametrize(
    "made",
    [Fill, Report, BatchRow, TradeRow, *EVENT_TYPES.values()],
    ids=lambda made: made.__name__,
)
def test_what_the_engine_makes_often_cannot_be_changed(made: type) -> None:
    each: Any = object.__new__(made)
    for known in fields(made):
        with pytest.raises(FrozenInstanceError):
            setattr(each, known.name, None)
