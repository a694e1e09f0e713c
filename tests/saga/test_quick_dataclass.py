"""A frozen dataclass that is made quickly is the one that it was."""

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, field, fields, replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter

from saga.events import EVENT_TYPES
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.quick_dataclass import dataclass
from saga.store.protocol import Change, JournalRecord
from saga.views import BatchRow, TradeRow


@dataclasses.dataclass(frozen=True, slots=True)
class Slow:
    kind: ClassVar[str] = "slow"
    first: int
    second: Decimal
    third: tuple[str, ...] = ()
    fourth: str | None = None


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


def test_it_says_of_itself_what_it_was() -> None:
    slow: Any = Slow
    quick: Any = Quick
    assert repr(quick.__dataclass_params__) == repr(slow.__dataclass_params__)
    assert quick.__match_args__ == slow.__match_args__
    assert Quick.__doc__ == "Quick"


def test_it_is_equal_only_to_one_of_its_own_kind_with_the_same_values() -> None:
    quick: Any = Quick(1, Decimal(2))
    assert quick != Slow(1, Decimal(2))
    assert quick != Quick(1, Decimal(3))
    assert quick != 1


def test_one_without_a_field_and_one_with_one_field_are_like_others() -> None:
    @dataclass(frozen=True, slots=True)
    class Empty:
        """Nothing."""

    @dataclass(frozen=True, slots=True)
    class One:
        """One value."""

        only: float

    @dataclasses.dataclass(frozen=True, slots=True)
    class SlowOne:
        only: float

    empty: Any = Empty()
    assert empty == Empty()
    assert empty != One(1.0)
    assert hash(Empty()) == hash(())
    assert One(1.0) == One(1.0) != One(2.0)
    assert hash(One(1.0)) == hash(SlowOne(1.0))
    nan = float("nan")
    assert (One(nan) == One(nan)) is (SlowOne(nan) == SlowOne(nan)) is True
    assert repr(One(1.0)).endswith("One(only=1.0)")


def test_a_field_without_a_default_does_not_follow_one_with_a_default() -> None:
    with pytest.raises((TypeError, SyntaxError), match="default"):

        @dataclass(frozen=True, slots=True)
        class Wrong:
            first: int = 1
            second: int  # type: ignore[misc]


def test_one_that_contains_itself_can_be_shown() -> None:
    held: list[Any] = []
    quick = Quick(1, Decimal(2), third=held)  # type: ignore[arg-type]
    held.append(quick)
    assert "..." in repr(quick)


def test_one_that_is_more_than_frozen_fields_in_slots_is_made_as_ever() -> None:
    @dataclass(frozen=True, slots=True)
    class WithFactory:
        some: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class WithMore:
        some: int = 1

        def __post_init__(self) -> None:
            object.__setattr__(self, "some", 2)

    @dataclass(frozen=True, slots=True)
    class WithItsOwnWords:
        some: int = 1

        def __repr__(self) -> str:
            return "its own"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ByNameOnly:
        some: int

    @dataclass(frozen=True)
    class WithoutSlots:
        some: int

    @dataclass(slots=True)
    class Changing:
        some: int

    assert WithFactory().some == []
    assert WithMore().some == 2
    assert repr(WithItsOwnWords()) == "its own"
    with pytest.raises(TypeError):
        ByNameOnly(1)  # type: ignore[call-arg]
    assert vars(WithoutSlots(1)) == {"some": 1}
    changing = Changing(1)
    changing.some = 2
    assert changing == Changing(2)


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


@pytest.mark.parametrize("made", [Fill, Report, BatchRow, TradeRow, Attempt, Change, JournalRecord])
def test_what_the_engine_makes_often_is_made_quickly(made: Any) -> None:
    assert made.__init__.__code__.co_names[0].startswith("write_")
