"""What the journal would not give back as it was handed in never passes the door."""

import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError

from saga.directive import Directive, directive_kind
from saga.errors import InvalidInput
from saga.intake import checked_again
from saga.model import Batch, ExecutionMode
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


class Terms(BaseModel):
    """What a desk keeps with its directives, without the rules that ours have."""

    rate: float = 0.0


@directive_kind
class Note(Directive):
    """A directive of somebody's own, with fields that hold nearly anything."""

    kind: Literal["engine_test_note"] = "engine_test_note"
    level: float = 0.0
    anything: Any = None
    terms: Terms | None = None
    raw: bytes = b""


class NoteVenue(LyingVenue):
    kinds = frozenset({"engine_test_note", "buy", "sell"})


def noted(*notes: Note) -> Batch:
    return Batch(directives=notes, execution_mode=ExecutionMode.PARALLEL)


def holds_itself() -> list[object]:
    """A list that JSON has no end for."""
    ring: list[object] = []
    ring.append(ring)
    return ring


@pytest.mark.requirement("S1")
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_field_of_ones_own_is_finite(number: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Note(directive_id="EXE_1", level=number)


@pytest.mark.requirement("S1")
@pytest.mark.requirement("S11")
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("anything", math.nan, "nan would come back from the journal as None"),
        ("anything", {1}, r"\{1\} would come back from the journal as \[1\]"),
        ("anything", date(2026, 1, 5), "would come back from the journal as '2026-01-05'"),
        ("anything", (1, 2), r"\(1, 2\) would come back from the journal as \[1, 2\]"),
        ("anything", Decimal(1), "1 would come back from the journal as '1'"),
        ("anything", "\ud800", "cannot be kept in the journal"),
        ("anything", object(), "cannot be kept in the journal"),
        ("anything", holds_itself(), "cannot be kept in the journal"),
        ("raw", b"\xff", "cannot be kept in the journal"),
    ],
)
async def test_what_the_journal_would_change_is_refused_by_leg_and_field(
    tmp_path: Path, name: str, value: object, why: str
) -> None:
    venue = NoteVenue()
    order = noted(
        Note(directive_id="EXE_1"), Note.model_validate({"directive_id": "EXE_2", name: value})
    )
    async with engine_on(tmp_path, venue) as engine:
        with pytest.raises(InvalidInput, match=f"^directive EXE_2: {name}: .*{why}.*; write it as"):
            await engine.submit(order)
        assert await engine.store.last_sequence() == 0
    assert venue.sent == []


@pytest.mark.requirement("S1")
def test_what_could_not_be_read_after_a_restart_is_refused_by_leg_and_field() -> None:
    order = noted(Note(directive_id="EXE_1", terms=Terms(rate=math.nan)))
    with pytest.raises(
        InvalidInput, match=r"^directive EXE_1: .*read back.*: terms\.rate: .*number"
    ):
        checked_again(order)


@pytest.mark.requirement("S11")
@pytest.mark.parametrize("value", [None, True, 1, 1.5, 2**70, "a\0\u2028b", [1, [2]], {"a": {}}])
def test_what_json_has_passes_the_door_unchanged(value: object) -> None:
    order = noted(Note(directive_id="EXE_1", anything=value), Note(directive_id="EXE_2"))
    assert checked_again(order) == order


def test_what_was_copied_past_its_types_is_put_right_where_it_can_be() -> None:
    order = batch(buy("AAPL", 7))
    (leg,) = order.directives
    copied = leg.model_copy(update={"quantity": "7"})
    assert checked_again(order.model_copy(update={"directives": [copied]})) == order
