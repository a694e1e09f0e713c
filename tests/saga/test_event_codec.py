"""The written form of each event: a promise that files of every version rely on.

`GOLDEN` holds one record of each kind as it is written, `WRITTEN_BEFORE` what older programs wrote.
A change that breaks one of them breaks the journals that people have. Records may gain fields with
defaults; then the old text stays here and a new one is added beside it.
"""

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from saga import events
from saga.amounts import PositiveAmount
from saga.codec import Codec
from saga.directive import Directive, directive_kind
from saga.errors import InvalidInput
from saga.events import EVENT_TYPES, Event, Submitted, decode, encode
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from saga.outcome import Exposure, Fill
from saga.policy import Capabilities, FailurePolicy, OnFailure, RetryPolicy
from tests.written_form import LEFT_OUT, LEFT_OUT_WITHIN, whole_record

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@directive_kind
class Carry(Directive):
    kind: Literal["carry"] = "carry"
    boxes: PositiveAmount


SUBMITTED = Submitted(
    batch=Batch(
        batch_id="BAT_20261121_093000_k3v9x",
        directives=(
            Carry(
                directive_id="EXE_1",
                boxes=Decimal("1.50"),
                retry=RetryPolicy(attempts=2),
            ),
        ),
        execution_mode=ExecutionMode.ATOMIC,
        created_at=NOON,
        timeout_seconds=30,
        metadata={"reason": "FLASH_CRASH", "legs": [1]},
        exclusion_key="main",
    ),
    policy=FailurePolicy(on_failure=OnFailure.UNDO, undo_budget=Decimal("100.50")),
    capabilities={"carry": Capabilities(tombstone=True)},
    deadline=NOON,
    program="trade-saga 0.1.0",
    by="desk",
    accounts={"carry": "PAPER-1"},
)

GOLDEN: list[tuple[Event, str]] = [
    (
        SUBMITTED,
        '{"batch":{"batch_id":"BAT_20261121_093000_k3v9x","directives":[{"directive_id":"EXE_1",'
        '"kind":"carry","batch_id":null,"rollback":false,"retry":{"attempts":2,'
        '"compensation_attempts":3,"backoff_seconds":1.0,"backoff_factor":2.0,'
        '"backoff_max_seconds":60.0,"undo_patience_seconds":60.0},"boxes":"1.5"}],"execution_mode":"ATOMIC",'
        '"created_at":"2026-11-21T12:00:00Z","rollback_on_failure":true,"timeout_seconds":30.0,'
        '"metadata":{"reason":"FLASH_CRASH","legs":[1]},"priority":"NORMAL","max_parallel":null,'
        '"exclusion_key":"main","rollback_only":null,"parent_id":null},'
        '"policy":{"on_failure":"undo","undo_budget":"100.5"},"capabilities":{"carry":'
        '{"look_up":true,"cancel":true,"tombstone":true,"visibility_seconds":5.0,'
        '"call_timeout_seconds":10.0,"poll_seconds":1.0}},"deadline":"2026-11-21T12:00:00Z",'
        '"program":"trade-saga 0.1.0","by":"desk","accounts":{"carry":"PAPER-1"}}',
    ),
    (events.Started(), "{}"),
    (
        events.Resumed(program="trade-saga 0.1.0"),
        '{"program":"trade-saga 0.1.0"}',
    ),
    (events.Paused(by="ann", reason="halt"), '{"by":"ann","reason":"halt"}'),
    (events.Unpaused(by="ann", reason="open"), '{"by":"ann","reason":"open"}'),
    (events.CancelRequested(by="ann", reason="wrong"), '{"by":"ann","reason":"wrong"}'),
    (events.DeadlinePassed(), "{}"),
    (
        events.Intended(step=3, purpose=Purpose.FORWARD, number=1, amount=Decimal("37.5")),
        '{"step":3,"purpose":"forward","number":1,"amount":"37.5"}',
    ),
    (
        events.SentAgain(step=3, purpose=Purpose.COMPENSATION, number=2),
        '{"step":3,"purpose":"compensation","number":2}',
    ),
    (
        events.Withheld(
            step=3, purpose=Purpose.FORWARD, number=1, limit="max_order_quantity", reason="too much"
        ),
        '{"step":3,"purpose":"forward","number":1,"limit":"max_order_quantity",'
        '"reason":"too much"}',
    ),
    (
        events.Reported(
            step=0,
            purpose=Purpose.FORWARD,
            number=1,
            final=True,
            fills=(
                Fill("f1", Decimal(37), Decimal("150.25"), Decimal("-0.10"), NOON),
                Fill("f2", Decimal(1)),
            ),
            reason="halted",
            reference="X1",
        ),
        '{"step":0,"purpose":"forward","number":1,"final":true,"fills":[{"fill_id":"f1",'
        '"quantity":"37","price":"150.25","fee":"-0.10","at":"2026-11-21T12:00:00Z"},'
        '{"fill_id":"f2","quantity":"1"}],"reason":"halted",'
        '"reference":"X1"}',
    ),
    (
        events.LateTruth(
            step=0,
            purpose=Purpose.COMPENSATION,
            number=2,
            final=True,
            by="the watcher",
            fills=(Fill("f2", Decimal(1)),),
            reversed=("f1",),
            reason="busted",
            reference="X1",
        ),
        '{"step":0,"purpose":"compensation","number":2,"final":true,"by":"the watcher","fills":['
        '{"fill_id":"f2","quantity":"1"}],"reversed":["f1"],'
        '"reason":"busted","reference":"X1"}',
    ),
    (
        events.IncidentClosed(
            by="ann",
            reason="sold it",
            seen=17,
            action="sold 1 by phone",
            adjustments=(events.Adjustment("AAPL", Decimal(-1), Decimal("150.25"), "T-1"),),
        ),
        '{"by":"ann","reason":"sold it","seen":17,"action":"sold 1 by phone","adjustments":['
        '{"subject":"AAPL","quantity":"-1","cash":"150.25","reference":"T-1"}]}',
    ),
    (
        events.AnswerLost(step=0, purpose=Purpose.FORWARD, number=1, reason="timeout"),
        '{"step":0,"purpose":"forward","number":1,"reason":"timeout"}',
    ),
    (
        events.NotFound(step=0, purpose=Purpose.FORWARD, number=1, tombstone=True),
        '{"step":0,"purpose":"forward","number":1,"tombstone":true}',
    ),
    (
        events.NoAnswer(step=0, purpose=Purpose.FORWARD, number=1, reason="503"),
        '{"step":0,"purpose":"forward","number":1,"reason":"503"}',
    ),
    (
        events.ProvenAbsent(step=0, purpose=Purpose.FORWARD, number=1),
        '{"step":0,"purpose":"forward","number":1}',
    ),
    (
        events.GaveUp(step=0, purpose=Purpose.FORWARD, number=1, reason="no look-up"),
        '{"step":0,"purpose":"forward","number":1,"reason":"no look-up"}',
    ),
    (events.StepStuck(step=2, reason="refused"), '{"step":2,"reason":"refused"}'),
    (events.Completed(), "{}"),
    (events.Withdrawn(reason="cancelled"), '{"reason":"cancelled"}'),
    (events.CompensationStarted(reason="a leg failed"), '{"reason":"a leg failed"}'),
    (events.RolledBack(cost=Decimal("12.34")), '{"cost":"12.34"}'),
    (
        events.Abandoned(
            reason="out of attempts",
            residual=(Exposure("AAPL", Decimal(-1), Decimal(2), Decimal("150.25"), ("k-0F1",)),),
        ),
        '{"reason":"out of attempts","residual":[{"subject":"AAPL","low":"-1","high":"2",'
        '"price":"150.25","unproven":["k-0F1"]}]}',
    ),
    (
        events.LostTrack(reason="no answer", residual=(Exposure("AAPL", Decimal(0), Decimal(2)),)),
        '{"reason":"no answer","residual":[{"subject":"AAPL","low":"0","high":"2"}]}',
    ),
    (
        events.Retried(by="ann", reason="open again", undo_budget=Decimal(500)),
        '{"by":"ann","reason":"open again","undo_budget":"500"}',
    ),
    (
        events.Resolved(
            by="ann",
            reason="sold by phone",
            action="sold 2",
            evidence="ticket 7",
            adjustments=(events.Adjustment("AAPL", Decimal(-2), Decimal("300.5"), "X9"),),
        ),
        '{"by":"ann","reason":"sold by phone","action":"sold 2","evidence":"ticket 7",'
        '"adjustments":[{"subject":"AAPL","quantity":"-2","cash":"300.5","reference":"X9"}]}',
    ),
]
EACH = pytest.mark.parametrize(("event", "text"), GOLDEN, ids=[event.kind for event, _ in GOLDEN])

TWO_LEGS = dataclasses.replace(
    SUBMITTED,
    batch=Batch(
        batch_id="BAT_20261121_093000_k3v9x",
        directives=(
            Carry(directive_id="EXE_1", boxes=Decimal(2)),
            Carry(directive_id="EXE_2", boxes=Decimal(3)),
        ),
        execution_mode=ExecutionMode.PARALLEL,
        created_at=NOON,
        metadata={"signal": None, "legs": [None, {"weight": None}]},
    ),
)
_TWO_LEGS_BEHIND = (
    ',"execution_mode":"PARALLEL","created_at":"2026-11-21T12:00:00Z","rollback_on_failure":false,'
    '"timeout_seconds":null,"metadata":{"signal":null,"legs":[null,{"weight":null}]},'
    '"priority":"NORMAL","max_parallel":null,"exclusion_key":null,"rollback_only":null,'
    '"parent_id":null},"policy":{"on_failure":"undo","undo_budget":"100.5"},"capabilities":{"carry":'
    '{"look_up":true,"cancel":true,"tombstone":true,"visibility_seconds":5.0,'
    '"call_timeout_seconds":10.0,"poll_seconds":1.0}},"deadline":"2026-11-21T12:00:00Z",'
    '"program":"trade-saga 0.1.0","by":"desk","accounts":{"carry":"PAPER-1"}}'
)

WRITTEN_BEFORE: list[tuple[Event, str]] = [
    (
        events.Resumed(program="trade-saga 0.1.0"),
        '{"program":"trade-saga 0.1.0","taken_over":false}',
    ),
    (
        events.Intended(step=3, purpose=Purpose.FORWARD, number=1, amount=Decimal("37.5")),
        '{"step":3,"purpose":"forward","number":1,"amount":"37.5","limits":null}',
    ),
    (
        events.SentAgain(step=3, purpose=Purpose.COMPENSATION, number=2),
        '{"step":3,"purpose":"compensation","number":2,"limits":null}',
    ),
    (
        events.Reported(step=0, purpose=Purpose.FORWARD, number=1, final=True, reference="X1"),
        '{"step":0,"purpose":"forward","number":1,"final":true,"fills":[],"reason":null,'
        '"reference":"X1"}',
    ),
    (
        events.Reported(0, Purpose.FORWARD, 1, final=True, fills=(Fill("f2", Decimal(1)),)),
        '{"step":0,"purpose":"forward","number":1,"final":true,"fills":['
        '{"fill_id":"f2","quantity":"1","price":"0","fee":"0","at":null}],"reason":null,'
        '"reference":null}',
    ),
    (
        events.LateTruth(0, Purpose.COMPENSATION, 2, final=True, by="the watcher"),
        '{"step":0,"purpose":"compensation","number":2,"final":true,"by":"the watcher","fills":[],'
        '"reversed":[],"reason":null,"reference":null}',
    ),
    (
        events.NotFound(step=0, purpose=Purpose.FORWARD, number=1),
        '{"step":0,"purpose":"forward","number":1,"tombstone":false}',
    ),
    (events.Completed(), '{"reason":null}'),
    (
        events.LostTrack(reason="no answer", residual=(Exposure("AAPL", Decimal(0), Decimal(2)),)),
        '{"reason":"no answer","residual":[{"subject":"AAPL","low":"0","high":"2","price":null,'
        '"unproven":[]}]}',
    ),
    (
        TWO_LEGS,
        '{"batch":{"batch_id":"BAT_20261121_093000_k3v9x","directives":[{"directive_id":"EXE_1",'
        '"kind":"carry","batch_id":null,"rollback":false,"retry":null,"boxes":"2"},'
        '{"directive_id":"EXE_2","kind":"carry","batch_id":null,"rollback":false,"retry":null,'
        '"boxes":"3"}]' + _TWO_LEGS_BEHIND,
    ),
]


@pytest.mark.requirement("D6", "S11")
def test_every_kind_of_event_has_its_written_form_here() -> None:
    assert {event.kind for event, _ in GOLDEN} == set(EVENT_TYPES)
    assert set(EVENT_TYPES.values()) == set(get_args(Event))


@pytest.mark.requirement("D6", "S11")
@EACH
def test_an_event_is_written_as_it_always_was(event: Event, text: str) -> None:
    assert encode(event) == text


@pytest.mark.requirement("D6", "S11")
@EACH
def test_an_event_written_before_is_read_as_what_it_was(event: Event, text: str) -> None:
    back = decode(event.kind, text)
    assert back == event
    assert type(back) is type(event)


@pytest.mark.requirement("D6", "S11")
@pytest.mark.parametrize(("event", "text"), WRITTEN_BEFORE)
def test_what_an_older_program_wrote_is_read_as_what_it_was(event: Event, text: str) -> None:
    assert decode(event.kind, text) == event


@pytest.mark.requirement("S11")
def test_a_default_of_a_record_is_a_format_and_never_changes() -> None:
    # It is left out, so another one would change what old journals say.
    for kind, event_type in EVENT_TYPES.items():
        if event_type is not Submitted:
            assert defaults_of(event_type) == LEFT_OUT.get(kind, {})
    for name, nested in (
        ("fills", Fill),
        ("residual", Exposure),
        ("adjustments", events.Adjustment),
    ):
        assert defaults_of(nested) == LEFT_OUT_WITHIN[name]


def test_all_that_a_record_holds_has_its_defaults_looked_at() -> None:
    within = {
        kind
        for event_type in EVENT_TYPES.values()
        if event_type is not Submitted
        for hint in get_type_hints(event_type).values()
        for kind in (hint, *get_args(hint))
        if isinstance(kind, type)
        and (dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel))
    }
    assert within == {Fill, Exposure, events.Adjustment}


def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """Return the defaults of a record's fields, as JSON would have them."""
    defaults = {
        field.name: field.default
        if field.default_factory is dataclasses.MISSING
        else field.default_factory()
        for field in dataclasses.fields(kind)
    }
    return {
        name: to_jsonable_python(value)
        for name, value in defaults.items()
        if value is not dataclasses.MISSING
    }


@pytest.mark.requirement("S10", "S11")
@pytest.mark.parametrize(("event", "text"), GOLDEN + WRITTEN_BEFORE)
def test_a_record_is_read_without_the_engine_too(event: Event, text: str) -> None:
    back = decode(event.kind, json.dumps(whole_record(event.kind, text)))
    assert back == event


# Older programs left out what had its default value: such records stay readable.
@pytest.mark.requirement("S11")
@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            events.Reported(step=0, purpose=Purpose.FORWARD, number=1, final=True),
            '{"step":0,"purpose":"forward","number":1,"final":true}',
        ),
        (
            events.NotFound(step=0, purpose=Purpose.FORWARD, number=1),
            '{"step":0,"purpose":"forward","number":1}',
        ),
        (events.Retried(by="ann", reason="again"), '{"by":"ann","reason":"again"}'),
    ],
)
def test_a_field_with_a_default_may_be_absent(event: Event, text: str) -> None:
    assert decode(event.kind, text) == event


@pytest.mark.requirement("S1", "S11")
def test_what_was_agreed_is_written_in_full_defaults_included() -> None:
    # A later version's defaults must not change what an old saga was promised.
    text = encode(SUBMITTED)
    for model in (Batch, Carry, RetryPolicy, FailurePolicy, Capabilities):
        for field in model.model_fields:
            assert f'"{field}":' in text
    for event in (SUBMITTED, TWO_LEGS):
        whole = whole_record("submitted", encode(event))
        assert whole["batch"] == event.batch.model_dump(mode="json")


@pytest.mark.requirement("S10", "S11")
def test_what_all_directives_have_in_common_is_written_once() -> None:
    text = encode(TWO_LEGS)
    assert text == (
        '{"batch":{"batch_id":"BAT_20261121_093000_k3v9x","directives":{"alike":{"kind":"carry",'
        '"batch_id":null,"rollback":false,"retry":null},"fields":["directive_id","boxes"],'
        '"each":[["EXE_1","2"],["EXE_2","3"]]}' + _TWO_LEGS_BEHIND
    )
    assert decode("submitted", text) == TWO_LEGS


@pytest.mark.requirement("S11", "S18")
@pytest.mark.parametrize(
    "directives",
    [
        {"alike": {}, "fields": ["directive_id"]},
        {"alike": {}, "fields": ["directive_id"], "each": [["EXE_1", "2"]]},
        {"alike": {}, "fields": ["directive_id"], "each": [[]]},
        {"alike": {}, "fields": [], "each": [[]], "more": 1},
        {"alike": [], "fields": [], "each": []},
    ],
)
def test_directives_in_no_form_that_was_ever_written_are_refused(directives: object) -> None:
    data = json.loads(encode(TWO_LEGS))
    data["batch"]["directives"] = directives
    with pytest.raises(InvalidInput, match="batch: directives must be a list, or what they have"):
        decode("submitted", json.dumps(data))


@pytest.mark.requirement("S11", "S18")
@EACH
def test_a_field_that_this_version_does_not_know_is_refused(event: Event, text: str) -> None:
    newer = text.replace("{", '{"venue":"X"' + ("," if text != "{}" else ""), 1)
    with pytest.raises(InvalidInput) as caught:
        decode(event.kind, newer)
    assert str(caught.value) == (
        f"journal record of kind {event.kind!r} does not decode: "
        "venue: is not a known field; check its spelling or leave it out"
    )


@pytest.mark.requirement("S11", "S18")
@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        (
            "reported",
            '{"step":0,"purpose":"forward","number":1,"final":true,'
            '"fills":[{"fill_id":"f1","quantity":"1","venue":"X"}]}',
            "fills.0.venue",
        ),
        (
            "lost_track",
            '{"reason":"r","residual":[{"subject":"A","low":"0","high":"2","venue":"X"}]}',
            "residual.0.venue",
        ),
        (
            "resolved",
            '{"by":"a","reason":"r","action":"a","evidence":"e",'
            '"adjustments":[{"subject":"A","quantity":"1","cash":"0","venue":"X"}]}',
            "adjustments.0.venue",
        ),
    ],
)
def test_an_unknown_field_deep_inside_is_refused_too(kind: str, text: str, place: str) -> None:
    with pytest.raises(InvalidInput, match=f"does not decode: {place}: is not a known field"):
        decode(kind, text)


@pytest.mark.requirement("S18")
def test_a_kind_that_this_version_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode("teleported", "{}")
    assert str(caught.value) == (
        "journal record of kind 'teleported' is unknown to this version; "
        "it was written by a newer one, which must be used to read it"
    )


@pytest.mark.requirement("S18")
def test_a_stored_directive_whose_kind_is_not_registered_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode("submitted", encode(SUBMITTED).replace('"kind":"carry"', '"kind":"teleport"'))
    assert "does not decode: batch.directives.0: kind 'teleport' is not registered" in str(
        caught.value
    )


@pytest.mark.requirement("S18")
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"by":"ann"}', '{"by":1,"reason":"x"}'])
def test_a_record_that_is_no_such_event_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode("paused", text)
    assert str(caught.value).startswith("journal record of kind 'paused' does not decode: ")
    assert "\n" not in str(caught.value)


@pytest.mark.requirement("D6", "S11")
def test_what_was_written_before_a_field_was_added_is_still_read() -> None:
    intended = events.Intended(step=3, purpose=Purpose.FORWARD, number=1, amount=Decimal("37.5"))
    text = '{"step":3,"purpose":"forward","number":1,"amount":"37.5"}'
    assert decode("intended", text) == intended


@pytest.mark.parametrize("event", [event for event, _ in GOLDEN], ids=lambda event: event.kind)
def test_an_event_cannot_be_changed(event: Event) -> None:
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, None)


LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    bool: st.booleans(),
    int: st.integers(0, 2**31),
    Purpose: st.sampled_from(Purpose),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    datetime: st.datetimes(timezones=st.just(UTC)),
    type(None): st.none(),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the type of an event's field."""
    if hint in LEAVES:
        return LEAVES[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        fields = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(hint)}
        return st.builds(hint, **fields)
    if get_origin(hint) is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=3).map(tuple)
    return st.one_of(*(values_of(option) for option in get_args(hint)))


@pytest.mark.requirement("D6", "S10", "S11")
@given(st.one_of(*(values_of(t) for t in EVENT_TYPES.values() if t is not Submitted)))
def test_every_event_comes_back_equal(event: Event) -> None:
    assert decode(event.kind, encode(event)) == event


@dataclass(frozen=True)
class _Plugged:
    """A record of whose field somebody's own code judges."""

    kind: ClassVar[str] = "plugged"
    name: Annotated[str, AfterValidator(lambda name: {"known": 1}[name] and name)]


def test_the_adapter_of_a_kind_is_made_once_when_it_is_first_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[object] = []

    def adapter(each: type[_Plugged]) -> TypeAdapter[_Plugged]:
        made.append(each)
        return TypeAdapter(each)

    monkeypatch.setattr("saga.codec.TypeAdapter", adapter)
    codec = Codec("record", [_Plugged], in_full=())
    assert made == []
    assert [codec.decode("plugged", codec.encode(_Plugged("known"))) for _ in range(2)]
    assert made == [_Plugged]


def test_an_error_of_somebodys_own_code_does_not_pass_for_an_unknown_kind() -> None:
    codec = Codec("record", [_Plugged], in_full=())
    with pytest.raises(InvalidInput, match="'other' is unknown"):
        codec.decode("other", "{}")
    with pytest.raises(KeyError, match="strange"):
        codec.decode("plugged", '{"name":"strange"}')
