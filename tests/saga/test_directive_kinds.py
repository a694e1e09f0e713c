"""Directives: registered by kind, from any package, and read back as what they were."""

import importlib
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ConfigDict, ValidationError

from saga.amounts import PositiveAmount
from saga.directive import (
    Directive,
    directive_kind,
    directive_type_of,
    registered_kinds,
)
from saga.errors import InvalidInput, UnknownKind
from saga.model import Batch, ExecutionMode, parse_batch
from saga.outcome import Fill, Outcome
from saga.wording import explain


@directive_kind
class Lift(Directive):
    """A directive that has an amount, which its own `quantity` field holds."""

    kind: Literal["lift"] = "lift"
    quantity: PositiveAmount
    note: str | None = None

    @property
    def amount(self) -> Decimal:
        return self.quantity


@directive_kind
class Ring(Directive):
    """A directive that adds nothing."""

    kind: Literal["ring"] = "ring"


LIFT: dict[str, Any] = {"directive_id": "EXE_1", "kind": "lift", "quantity": "2"}


def batch_of(*directives: object) -> Batch:
    return parse_batch({"execution_mode": "ATOMIC", "directives": list(directives)})


def refusal(*directives: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        batch_of(*directives)
    return str(caught.value)


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in LIFT.items() if name != field}


def test_directives_of_several_kinds_stand_in_one_batch_and_come_back_as_their_types() -> None:
    batch = batch_of(LIFT, {"directive_id": "EXE_2", "kind": "ring"})
    back = parse_batch(batch.model_dump_json())
    assert back == batch
    assert [type(directive) for directive in back.directives] == [Lift, Ring]


THIRD_PACKAGE = """
from decimal import Decimal
from typing import Literal

from saga.amounts import PositiveAmount
from saga.directive import Directive, directive_kind


@directive_kind
class Lend(Directive):
    kind: Literal["third_package_lend"] = "third_package_lend"
    shares: PositiveAmount
"""


def test_a_third_package_adds_a_kind_of_its_own_by_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "third_package_for_kinds.py").write_text(textwrap.dedent(THIRD_PACKAGE))
    monkeypatch.syspath_prepend(tmp_path)
    lend = {"directive_id": "EXE_1", "kind": "third_package_lend", "shares": "5"}
    assert "'third_package_lend' is not registered" in refusal(lend)
    lend_type = importlib.import_module("third_package_for_kinds").Lend
    batch = batch_of(lend)
    assert type(batch.directives[0]) is lend_type
    assert parse_batch(batch.model_dump_json()) == batch
    titles = [
        kind["title"]
        for kind in Batch.model_json_schema()["properties"]["directives"]["items"]["oneOf"]
    ]
    assert "Lend" in titles


@pytest.mark.requirement("E9")
@pytest.mark.parametrize("kind", ["short", "LIFT", "lift ", "", "../../x", "{kind}"])
def test_an_unknown_kind_is_refused_with_what_is_known(kind: str) -> None:
    sentence = refusal({**LIFT, "kind": kind})
    assert sentence.startswith(f"directives.0: kind {kind!r} is not registered (registered: ")
    assert "lift" in sentence
    assert sentence.endswith("import the package that brings it before the batch is read")


@pytest.mark.requirement("E9")
@pytest.mark.parametrize("kind", [5, None, ["lift"], {"lift": 1}, True])
def test_a_kind_that_is_no_name_is_refused_with_its_value(kind: object) -> None:
    sentence = refusal({**LIFT, "kind": kind})
    assert sentence.startswith(f"directives.0: kind is {kind!r}; it must be the name of a ")


@pytest.mark.requirement("E9")
def test_a_missing_kind_is_called_missing() -> None:
    assert refusal(without("kind")).startswith("directives.0: kind is missing; it must be ")


def test_the_type_of_an_unknown_kind_is_an_error_of_its_own() -> None:
    assert directive_type_of("lift") is Lift
    with pytest.raises(UnknownKind, match="kind 'levitate' is not registered"):
        directive_type_of("levitate")


def test_two_types_for_one_kind_are_refused_and_the_first_stays() -> None:
    with pytest.raises(ValueError, match="kind 'ring' is already registered by Ring"):

        @directive_kind
        class OtherRing(Directive):
            kind: Literal["ring"] = "ring"

    assert registered_kinds()["ring"] is Ring


def test_registering_the_same_type_again_is_harmless() -> None:
    assert directive_kind(Ring) is Ring


def test_a_type_without_a_kind_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="Nameless must give its `kind` field a default name"):

        @directive_kind
        class Nameless(Directive):
            pass


@pytest.mark.requirement("E8")
def test_a_type_that_can_change_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="Loose must stay frozen"):

        @directive_kind
        class Loose(Directive):
            model_config = ConfigDict(frozen=False)
            kind: Literal["loose"] = "loose"

    assert "loose" not in registered_kinds()


def test_the_register_that_is_handed_out_is_a_copy() -> None:
    copied = dict(registered_kinds())
    copied.clear()
    assert "ring" in registered_kinds()


def test_an_instance_of_an_unregistered_type_is_refused() -> None:
    class Stray(Lift):
        """A subclass that nobody registered."""

    assert refusal(Stray(directive_id="EXE_1", quantity=Decimal(1))) == (
        "directives.0: Stray is not the type registered for kind 'lift'; "
        "register it with directive_kind"
    )


@pytest.mark.requirement("E9", "O8")
@pytest.mark.parametrize(
    ("directive", "sentence"),
    [
        (
            {**LIFT, "colour": "red"},
            "colour: is not a known field; check its spelling or leave it out",
        ),
        (
            {**without("quantity"), "quanity": "2"},
            "quanity: is not a known field; check its spelling or leave it out (and 1 more)",
        ),
        (without("quantity"), "quantity: is missing; add it"),
        (without("directive_id"), "directive_id: is missing; add it"),
        ({**LIFT, "note": 5}, "note: must be a valid string, not 5; correct it"),
        ({**LIFT, "rollback": "yes"}, "rollback: must be a valid boolean, not 'yes'; correct it"),
        ({**LIFT, "quantity": "0"}, "quantity: 0 is not positive; give a number above 0"),
        ({**LIFT, "quantity": -1}, "quantity: -1 is not positive; give a number above 0"),
        (
            {**LIFT, "quantity": 0.1},
            "quantity: 0.1 is a float, which is not exact; write it as a string, like '0.1'",
        ),
        (
            {**LIFT, "quantity": "1e30"},
            "quantity: '1e30' is not a plain number; use ASCII digits and one point, like '1250.5'",
        ),
        (
            {**LIFT, "directive_id": "1"},
            "directive_id must match pattern ^EXE_[0-9A-Za-z_-]{1,60}$, not '1'; "
            "for example EXE_0001",
        ),
        (
            {**LIFT, "batch_id": "1"},
            r"batch_id must match pattern ^BAT_\d{8}_\d{6}_[0-9a-z]{5,8}$, not '1'; "
            "for example BAT_20261121_093000_k3v9x",
        ),
    ],
)
def test_a_directive_that_breaks_a_rule_is_named_by_its_place_field_and_value(
    directive: dict[str, Any], sentence: str
) -> None:
    good = {"directive_id": "EXE_0", "kind": "ring"}
    assert refusal(good, directive) == f"directives.1: {sentence}"


@pytest.mark.requirement("E9")
def test_an_unknown_field_is_told_before_what_is_missing_because_of_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Lift.model_validate({"directive_id": "EXE_1", "quanity": "2"})
    assert explain(caught.value).startswith("quanity: is not a known field")


@pytest.mark.requirement("E9")
def test_a_complaint_of_another_packages_own_is_told_with_its_value() -> None:
    @directive_kind
    class Even(Directive):
        kind: Literal["even"] = "even"
        number: int

        def model_post_init(self, context: object, /) -> None:
            if self.number % 2:
                raise ValueError("the number must be even, in whole pairs")

    sentence = refusal({"directive_id": "EXE_1", "kind": "even", "number": 3})
    assert sentence.startswith("directives.0: the number must be even, in whole pairs, not {")
    assert "'number': 3" in sentence


def test_a_directive_says_by_default_that_it_is_indivisible_and_cannot_be_undone() -> None:
    ring = Ring(directive_id="EXE_1")
    assert ring.amount == 1
    assert ring.subject is None
    assert ring.direction == 0
    assert ring.rollback is False
    assert ring.batch_id is None
    assert ring.can_be_undone is False
    assert ring.kind_of_undo is None
    assert ring.describe() == "ring EXE_1"
    assert ring.for_amount(Decimal("1.0")) is ring
    with pytest.raises(NotImplementedError, match="nothing undoes a directive of kind 'ring'"):
        ring.inverse(Outcome(fills=()))
    with pytest.raises(NotImplementedError, match="of kind 'ring' cannot be divided"):
        ring.for_amount(Decimal("0.5"))


@pytest.mark.requirement("O1", "E15")
def test_a_directive_of_the_batch_may_name_it_and_is_not_changed() -> None:
    named = Lift(directive_id="EXE_1", batch_id="BAT_20261121_093000_k3v9x", quantity=Decimal(1))
    batch = Batch(
        batch_id="BAT_20261121_093000_k3v9x",
        directives=(named,),
        execution_mode=ExecutionMode.ATOMIC,
    )
    assert batch.directives[0] is named


@pytest.mark.requirement("S10")
def test_an_outcome_is_the_exact_sum_of_its_fills() -> None:
    fills = tuple(Fill(fill_id=str(n), quantity=Decimal("0.1")) for n in range(3))
    assert Outcome(fills=fills).done == Decimal("0.3")
    assert Outcome(fills=()).done == 0
