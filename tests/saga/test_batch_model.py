"""The batch: what it may be, what it may not, and that it never changes."""

import copy
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from saga.amounts import PositiveAmount
from saga.directive import Directive, directive_kind
from saga.errors import InvalidInput
from saga.intake import checked_again
from saga.model import (
    MAX_EXCLUSION_KEY_LENGTH,
    MAX_TIMEOUT_SECONDS,
    MAX_WIDTH,
    Batch,
    ExecutionMode,
    Priority,
    kept_small,
    parse_batch,
)
from saga.policy import MAX_ATTEMPTS, MIN_COMPENSATION_ATTEMPTS, RetryPolicy

BATCH_ID = "BAT_20261121_093000_k3v9x"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@directive_kind
class Pour(Directive):
    """A directive of no market, so that nothing here depends on one."""

    kind: Literal["pour"] = "pour"
    litres: PositiveAmount = Decimal(1)


def pours(count: int) -> tuple[Pour, ...]:
    return tuple(Pour(directive_id=f"EXE_{number}") for number in range(count))


def document(**changes: Any) -> dict[str, Any]:
    """Return a good batch as a mapping, with the changes a test is about."""
    fields: dict[str, Any] = {
        "batch_id": BATCH_ID,
        "directives": [{"directive_id": "EXE_1", "kind": "pour"}],
        "execution_mode": "SEQUENTIAL",
    }
    return {**fields, **changes}


def refusal(**changes: Any) -> str:
    """Return the sentence with which a batch with these changes is refused."""
    with pytest.raises(InvalidInput) as caught:
        parse_batch(document(**changes))
    return str(caught.value)


# Creation.


@pytest.mark.requirement("E1", "E4", "E5", "E12", "E14")
def test_a_minimal_batch_gets_its_id_its_instant_and_every_default() -> None:
    before = datetime.now(UTC)
    batch = Batch(directives=pours(1), execution_mode=ExecutionMode.SEQUENTIAL)
    assert batch.batch_id.startswith("BAT_")
    assert before <= batch.created_at <= datetime.now(UTC)
    assert batch.created_at.tzinfo is UTC
    assert batch.rollback_on_failure is False
    assert batch.timeout_seconds is None
    assert batch.metadata is None
    assert batch.priority is Priority.NORMAL
    assert (batch.max_parallel, batch.exclusion_key) == (None, None)
    assert (batch.rollback_only, batch.parent_id) == (None, None)


@pytest.mark.requirement("E12", "E14")
def test_a_full_batch_keeps_every_field() -> None:
    retry = RetryPolicy(attempts=2, compensation_attempts=5, backoff_seconds=0.5)
    first = Pour(directive_id="EXE_1", batch_id=BATCH_ID, retry=retry, litres=Decimal("2.5"))
    batch = Batch(
        batch_id=BATCH_ID,
        directives=(first, Pour(directive_id="EXE_2")),
        execution_mode=ExecutionMode.PARALLEL,
        created_at=NOON,
        rollback_on_failure=True,
        timeout_seconds=30,
        metadata={"reason": "FLASH_CRASH"},
        priority=Priority.HIGH,
        max_parallel=2,
        exclusion_key="main",
        rollback_only=("EXE_1",),
        parent_id="BAT_20261120_093000_k3v9x",
    )
    assert batch.directives[0] == first
    assert batch.directives[0].retry == retry
    assert batch.created_at == NOON
    assert batch.timeout_seconds == 30.0
    assert batch.metadata == {"reason": "FLASH_CRASH"}
    assert batch.priority is Priority.HIGH
    assert (batch.max_parallel, batch.exclusion_key) == (2, "main")
    assert (batch.rollback_only, batch.parent_id) == (("EXE_1",), "BAT_20261120_093000_k3v9x")


@pytest.mark.requirement("E12")
def test_a_single_directive_is_a_batch() -> None:
    assert len(parse_batch(document()).directives) == 1


@pytest.mark.requirement("E3", "E5", "E12")
@pytest.mark.parametrize(
    ("mode", "rolls_back", "width"),
    [("SEQUENTIAL", False, 1), ("PARALLEL", False, 3), ("ATOMIC", True, 1)],
)
def test_each_mode_has_its_own_default_of_rollback_and_width(
    mode: str, rolls_back: bool, width: int
) -> None:
    batch = Batch(directives=pours(3), execution_mode=ExecutionMode(mode))
    assert batch.rollback_on_failure is rolls_back
    assert batch.width == width
    assert parse_batch(batch.model_dump()).rollback_on_failure is rolls_back


@pytest.mark.requirement("E5")
def test_a_rollback_of_null_means_the_default_of_the_mode() -> None:
    assert parse_batch(
        document(execution_mode="ATOMIC", rollback_on_failure=None)
    ).rollback_on_failure
    assert not parse_batch(document(rollback_on_failure=None)).rollback_on_failure


@pytest.mark.requirement("E5")
@pytest.mark.parametrize("mode", ["SEQUENTIAL", "PARALLEL"])
def test_other_modes_may_ask_for_a_rollback(mode: str) -> None:
    assert parse_batch(document(execution_mode=mode, rollback_on_failure=True)).rollback_on_failure


def test_max_parallel_widens_atomic_and_narrows_parallel() -> None:
    assert parse_batch(document(execution_mode="ATOMIC", max_parallel=4)).width == 4
    assert parse_batch(document(execution_mode="PARALLEL", max_parallel=2)).width == 2


@pytest.mark.requirement("E13")
def test_a_batch_offers_nothing_that_acts() -> None:
    own = {name for name in vars(Batch) if not name.startswith(("_", "model_"))}
    assert own - set(Batch.model_fields) == {"rolled_back_ids", "width"}


# Rules, each with its sentence.


@pytest.mark.requirement("E2", "E9", "E12")
def test_an_empty_batch_is_refused() -> None:
    assert refusal(directives=[]) == (
        "directives list cannot be empty; give at least one directive"
    )


@pytest.mark.requirement("E2", "E9", "E12")
def test_doubled_directive_ids_are_refused_by_name() -> None:
    doubled = [{"directive_id": name, "kind": "pour"} for name in ("EXE_1", "EXE_2", "EXE_2")]
    assert refusal(directives=doubled) == (
        "all directive ids must be unique; 'EXE_2' stands there 2 times; "
        "give each directive an id of its own"
    )


@pytest.mark.requirement("E5", "E9", "E12")
def test_atomic_without_rollback_is_refused() -> None:
    assert refusal(execution_mode="ATOMIC", rollback_on_failure=False) == (
        "rollback must be True for ATOMIC, not False; leave rollback_on_failure out, "
        "or use SEQUENTIAL or PARALLEL"
    )


@pytest.mark.requirement("E6", "E9", "E12")
@pytest.mark.parametrize(
    ("timeout", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (-0.0, "-0.0"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_timeout_that_is_not_positive_and_finite_is_refused(timeout: float, shown: str) -> None:
    assert refusal(timeout_seconds=timeout) == (
        f"timeout_seconds: timeout must be positive and finite, not {shown} seconds; "
        "leave it out for no bound"
    )


@pytest.mark.requirement("E6", "E9")
@pytest.mark.parametrize("timeout", ["30", True, [30], "soon"])
def test_a_timeout_that_is_no_number_is_refused(timeout: object) -> None:
    assert refusal(timeout_seconds=timeout) == (
        f"timeout_seconds: timeout must be positive, a number of seconds, not {timeout!r}; "
        "write it like 30 or 0.5"
    )


@pytest.mark.requirement("E6", "E9")
@pytest.mark.parametrize(
    "timeout",
    [MAX_TIMEOUT_SECONDS + 1, 10**400, 10**5_000, 1e300],
    ids=["one", "400 digits", "5,000 digits", "float"],
)
def test_a_timeout_beyond_the_named_bound_is_refused_in_a_short_sentence(timeout: float) -> None:
    sentence = refusal(timeout_seconds=timeout)
    assert "timeout must be at most 31622400 seconds" in sentence
    assert len(sentence) < 250


@pytest.mark.requirement("E6")
@pytest.mark.parametrize("timeout", [1, 0.001, MAX_TIMEOUT_SECONDS])
def test_a_positive_timeout_is_taken_in_seconds(timeout: float) -> None:
    assert parse_batch(document(timeout_seconds=timeout)).timeout_seconds == timeout


@pytest.mark.requirement("E4", "E9")
@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (datetime(2026, 11, 21, 12), "not the naive 2026-11-21T12:00:00; give it the timezone UTC"),  # noqa: DTZ001
        ("2026-11-21T12:00:00", "not the naive 2026-11-21T12:00:00; give it the timezone UTC"),
        ("2026-11-21", "not the naive 2026-11-21T00:00:00; give it the timezone UTC"),
        ("2026-11-21T12:00:00+02:00", "not 2026-11-21T12:00:00+02:00; convert it first"),
        (
            datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/London")),
            "not 2026-07-01T12:00:00+01:00; convert it first",
        ),
        ("yesterday", "not 'yesterday'; write it like 2026-11-21T09:30:00Z"),
        (1_795_000_000, "not 1795000000; write it like 2026-11-21T09:30:00Z"),
        (None, "not None; write it like 2026-11-21T09:30:00Z"),
    ],
)
def test_an_instant_that_is_not_utc_is_refused(instant: object, said: str) -> None:
    sentence = refusal(created_at=instant)
    assert sentence.startswith("created_at must be ")
    assert sentence.endswith(said)


@pytest.mark.requirement("E4")
@pytest.mark.parametrize(
    "instant",
    [
        *("2026-11-21T12:00:00Z", "2026-11-21T12:00:00+00:00", NOON),
        NOON.replace(tzinfo=ZoneInfo("Europe/London")),  # in winter
    ],
)
def test_an_instant_in_utc_is_kept_as_utc(instant: object) -> None:
    batch = parse_batch(document(created_at=instant))
    assert batch.created_at == NOON
    assert batch.created_at.tzinfo is UTC


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"batch_id": "BAT_1"},
            r"batch_id must match pattern ^BAT_\d{8}_\d{6}_[0-9a-z]{5,8}$, not 'BAT_1'; "
            "for example BAT_20261121_093000_k3v9x",
        ),
        (
            {"execution_mode": "BEST_EFFORT"},
            "execution_mode: must be 'SEQUENTIAL', 'PARALLEL' or 'ATOMIC', not 'BEST_EFFORT'; "
            "choose one of them",
        ),
        (
            {"priority": "URGENT"},
            "priority: must be 'HIGH', 'NORMAL' or 'LOW', not 'URGENT'; choose one of them",
        ),
        (
            {"rollback_on_failure": "yes"},
            "rollback_on_failure: must be a valid boolean, not 'yes'; correct it",
        ),
        (
            {"max_parallel": 0},
            "max_parallel: must be greater than or equal to 1, not 0; raise it",
        ),
        (
            {"max_parallel": MAX_WIDTH + 1},
            "max_parallel: must be less than or equal to 100000, not 100001; lower it",
        ),
        (
            {"max_parallel": True},
            "max_parallel: must be a valid integer, not True; correct it",
        ),
        ({"max_parallel": 2}, "max_parallel must be 1 for SEQUENTIAL, not 2; leave it out"),
        (
            {"exclusion_key": ""},
            "exclusion_key: must have at least 1 character, not ''; give a longer text",
        ),
        (
            {"rollback_only": ["EXE_1"]},
            "rollback_only must be left out when rollback_on_failure is False; set that to True",
        ),
        (
            {"rollback_only": ["EXE_1"], "execution_mode": "ATOMIC"},
            "rollback_only must be left out for ATOMIC, which rolls back everything; "
            "use SEQUENTIAL or PARALLEL",
        ),
        (
            {"rollback_only": ["EXE_9"], "rollback_on_failure": True},
            "rollback_only names 'EXE_9', which is not in directives; "
            "name only directives of this batch",
        ),
        (
            {"directives": "EXE_1"},
            "directives must be a list, not 'EXE_1'; give them in their order",
        ),
        ({"directives": [7]}, "directives.0: 7 is not a directive; give an object with its fields"),
        (
            {"timeout": 30},
            "timeout: is not a known field; check its spelling or leave it out",
        ),
        (
            {
                "directives": [
                    {
                        "directive_id": "EXE_1",
                        "kind": "pour",
                        "batch_id": "BAT_20261121_093000_other",
                    }
                ]
            },
            "directive EXE_1 says batch_id 'BAT_20261121_093000_other', but stands in batch "
            "'BAT_20261121_093000_k3v9x'; name that one or leave it out",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_broken_rule_is_named_with_field_value_and_remedy(
    changes: dict[str, Any], sentence: str
) -> None:
    assert refusal(**changes) == sentence


@pytest.mark.requirement("E2")
@pytest.mark.parametrize("unordered", [{"a", "b"}, (pour for pour in pours(1)), {"a": 1}])
def test_directives_without_an_order_are_refused(unordered: object) -> None:
    assert refusal(directives=unordered).startswith("directives must be a list, not ")


@pytest.mark.requirement("E9")
def test_an_exclusion_key_beyond_its_bound_is_refused_and_shown_short() -> None:
    sentence = refusal(exclusion_key="k" * 1_000_000)
    assert f"must have at most {MAX_EXCLUSION_KEY_LENGTH} characters" in sentence
    assert len(sentence) < 250


@pytest.mark.requirement("E9")
def test_text_that_is_not_unicode_is_refused_as_a_key() -> None:
    assert refusal(exclusion_key="\ud800").startswith("exclusion_key: must be a valid string")


@pytest.mark.requirement("E9")
def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_batch({"directives": [{"directive_id": "EXE_1", "kind": "pour"}]})
    assert str(caught.value) == "execution_mode: is missing; add it"


@pytest.mark.requirement("E9")
def test_the_first_complaint_is_told_and_the_others_counted() -> None:
    assert refusal(priority="URGENT", timeout_seconds=0).endswith("for no bound (and 1 more)")


@pytest.mark.requirement("E9")
@pytest.mark.parametrize("value", ["{braces}", "{text}", "%s", "\u202eabc", "a\x00b", "\n"])
def test_a_hostile_value_is_shown_escaped_in_its_sentence(value: str) -> None:
    assert repr(value) in refusal(batch_id=value)
    assert repr(value) in refusal(directives=[{"directive_id": "EXE_1", "kind": value}])


def deep_list(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    "value",
    [10**5_000, -(10**5_000), b"x" * 10_000_000, deep_list(900), [0] * 1_000_000],
    ids=["integer", "negative", "bytes", "deep", "long"],
)
@pytest.mark.parametrize(
    "field",
    [
        *("batch_id", "directives", "execution_mode", "created_at", "rollback_on_failure"),
        *("timeout_seconds", "metadata", "priority", "max_parallel", "exclusion_key"),
        *("rollback_only", "parent_id", "surprise"),
    ],
)
def test_no_value_of_any_field_gets_past_the_family_of_errors(field: str, value: object) -> None:
    assert len(refusal(**{field: value})) < 300


# Partial rollback, priorities, retry policies.


@pytest.mark.requirement("E14")
def test_only_the_named_directives_are_rolled_back() -> None:
    batch = Batch(
        directives=pours(2),
        execution_mode=ExecutionMode.PARALLEL,
        rollback_on_failure=True,
        rollback_only=("EXE_1",),
    )
    assert batch.rolled_back_ids() == {"EXE_1"}


@pytest.mark.requirement("E14")
def test_without_names_everything_is_rolled_back() -> None:
    batch = Batch(directives=pours(2), execution_mode=ExecutionMode.ATOMIC)
    assert batch.rolled_back_ids() == {"EXE_0", "EXE_1"}


@pytest.mark.requirement("E14")
@pytest.mark.parametrize("priority", ["HIGH", "NORMAL", "LOW"])
def test_three_levels_of_priority_are_taken(priority: str) -> None:
    assert parse_batch(document(priority=priority)).priority.value == priority


@pytest.mark.requirement("E9", "E14", "O7")
@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"attempts": 0}, "retry.attempts: must be greater than or equal to 1, not 0; raise it"),
        (
            {"compensation_attempts": 2},
            "retry.compensation_attempts: must be greater than or equal to 3, not 2; raise it",
        ),
        (
            {"attempts": 101},
            "retry.attempts: must be less than or equal to 100, not 101; lower it",
        ),
        (
            {"backoff_seconds": -1},
            "retry.backoff_seconds: must be greater than or equal to 0, not -1; raise it",
        ),
        (
            {"backoff_seconds": True},
            "retry.backoff_seconds: must be a valid number, not True; correct it",
        ),
        (
            {"backoff_factor": float("nan")},
            "retry.backoff_factor: must be a finite number, not nan; correct it",
        ),
        ({"tries": 3}, "retry.tries: is not a known field; check its spelling or leave it out"),
    ],
)
def test_a_retry_policy_beyond_its_bounds_is_refused(policy: dict[str, Any], sentence: str) -> None:
    directive = {"directive_id": "EXE_1", "kind": "pour", "retry": policy}
    assert refusal(directives=[directive]) == f"directives.0: {sentence}"


@pytest.mark.requirement("E14")
def test_waits_grow_by_the_factor_up_to_the_longest() -> None:
    policy = RetryPolicy(backoff_seconds=1, backoff_factor=2, backoff_max_seconds=5)
    waits = [policy.wait_after(attempt).total_seconds() for attempt in range(1, 6)]
    assert waits == [1, 2, 4, 5, 5]
    assert RetryPolicy(backoff_seconds=9, backoff_max_seconds=5).wait_after(1) == timedelta(
        seconds=5
    )
    assert RetryPolicy(backoff_seconds=0).wait_after(MAX_ATTEMPTS) == timedelta(0)


@pytest.mark.requirement("O7")
def test_a_compensation_is_tried_at_least_three_times() -> None:
    assert MIN_COMPENSATION_ATTEMPTS == 3
    assert RetryPolicy().compensation_attempts >= 3


# Immutability.


@pytest.mark.requirement("E8", "E12")
def test_no_field_of_a_batch_can_be_assigned_or_deleted() -> None:
    batch = parse_batch(document(metadata={"a": 1}))
    for field in Batch.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(batch, field, getattr(batch, field))
        with pytest.raises(ValidationError, match="frozen"):
            delattr(batch, field)


@pytest.mark.requirement("E8", "E12")
def test_no_directive_and_no_policy_of_a_batch_can_change() -> None:
    directive = Pour(directive_id="EXE_1", retry=RetryPolicy())
    batch = Batch(directives=(directive,), execution_mode=ExecutionMode.ATOMIC)
    assert isinstance(batch.directives, tuple)
    with pytest.raises(ValidationError, match="frozen"):
        batch.directives[0].directive_id = "EXE_2"  # type: ignore[misc]
    assert batch.directives[0].retry is not None
    with pytest.raises(ValidationError, match="frozen"):
        batch.directives[0].retry.attempts = 99  # type: ignore[misc]


@pytest.mark.requirement("E7", "E8", "E12")
def test_metadata_is_frozen_at_every_level_and_detached_from_what_was_given() -> None:
    given_metadata: dict[str, Any] = {"legs": [{"symbol": "AAPL"}]}
    batch = parse_batch(document(metadata=given_metadata))
    given_metadata["legs"][0]["symbol"] = "MSFT"
    given_metadata["new"] = 1
    assert batch.metadata is not None
    assert batch.metadata == {"legs": ({"symbol": "AAPL"},)}
    for mapping in (batch.metadata, batch.metadata["legs"][0]):
        assert isinstance(mapping, Mapping)
        with pytest.raises(TypeError):
            mapping["x"] = 1  # type: ignore[index]
        with pytest.raises(TypeError):
            del mapping["symbol"]  # type: ignore[union-attr]
    assert isinstance(batch.metadata["legs"], tuple)


@pytest.mark.requirement("E8")
def test_a_batch_can_be_copied_pickled_and_kept_in_a_set() -> None:
    batch = parse_batch(document(metadata={"a": [{"b": 1}]}))
    assert copy.deepcopy(batch) == batch
    assert pickle.loads(pickle.dumps(batch)) == batch
    assert batch.model_copy(deep=True) == batch
    assert {batch, parse_batch(batch.model_dump_json())} == {batch}


def test_batches_that_are_kept_share_what_says_that_all_their_fields_were_given() -> None:
    batch = parse_batch(document(metadata={"a": 1}))
    kept, other = checked_again(batch), checked_again(parse_batch(document()))
    assert kept == batch
    assert kept.model_dump_json() == batch.model_dump_json()
    assert kept.model_fields_set == set(Batch.model_fields)
    assert kept.model_fields_set is other.model_fields_set
    for one, two in zip(kept.directives, other.directives, strict=True):
        assert one.model_fields_set == set(Pour.model_fields)
        assert one.model_fields_set is two.model_fields_set
    with pytest.raises(ValidationError):
        kept.priority = Priority.HIGH  # type: ignore[misc]
    changed = kept.model_copy(update={"priority": Priority.HIGH})
    assert changed.model_fields_set is not other.model_fields_set


def test_a_batch_of_which_some_fields_were_given_goes_on_saying_which() -> None:
    batch = kept_small(parse_batch(document()))
    assert batch.model_fields_set < set(Batch.model_fields)
    assert "metadata" not in batch.model_dump(exclude_unset=True)


# Serialisation.

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**1023), 2**1023)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
retries = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 100),
    compensation_attempts=st.integers(3, 100),
    backoff_seconds=st.floats(0, 86_400),
    backoff_factor=st.floats(1, 10),
    backoff_max_seconds=st.floats(0, 86_400),
)
litres = st.builds(
    lambda unscaled, places: Decimal(unscaled).scaleb(-places),
    st.integers(1, 10**28 - 1),
    st.integers(0, 12),
)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    mode = draw(st.sampled_from(ExecutionMode))
    count = draw(st.integers(1, 4))
    rolls_back = mode is ExecutionMode.ATOMIC or draw(st.booleans())
    directives = tuple(
        Pour(
            directive_id=f"EXE_{number}",
            batch_id=draw(st.none() | st.just(BATCH_ID)),
            rollback=draw(st.booleans()),
            retry=draw(st.none() | retries),
            litres=draw(litres),
        )
        for number in range(count)
    )
    partly = rolls_back and mode is not ExecutionMode.ATOMIC and draw(st.booleans())
    return Batch(
        batch_id=BATCH_ID,
        directives=directives,
        execution_mode=mode,
        created_at=draw(st.datetimes(timezones=st.just(UTC))),
        rollback_on_failure=rolls_back,
        timeout_seconds=draw(st.none() | st.floats(0, MAX_TIMEOUT_SECONDS, exclude_min=True)),
        metadata=draw(st.none() | st.dictionaries(texts, json_values, max_size=3)),
        priority=draw(st.sampled_from(Priority)),
        max_parallel=draw(st.none() | st.integers(1, MAX_WIDTH))
        if mode is not ExecutionMode.SEQUENTIAL
        else None,
        exclusion_key=draw(st.none() | keys),
        rollback_only=("EXE_0",) if partly else None,
        parent_id=draw(st.none() | st.just("BAT_20261120_093000_k3v9x")),
    )


@pytest.mark.requirement("E8", "E12", "S1")
@given(batches())
def test_a_batch_that_goes_through_json_comes_back_equal(batch: Batch) -> None:
    text = batch.model_dump_json()
    for back in (parse_batch(text), parse_batch(text.encode()), Batch.model_validate_json(text)):
        assert back == batch
        assert back.model_dump_json() == text
        assert hash(back) == hash(batch)


@pytest.mark.requirement("E8")
@given(batches())
def test_a_batch_that_goes_through_a_mapping_comes_back_equal(batch: Batch) -> None:
    assert parse_batch(batch.model_dump()) == batch
    assert parse_batch(batch.model_dump(mode="json")) == batch


@pytest.mark.requirement("E8")
def test_money_is_written_as_plain_text() -> None:
    directive = Pour(directive_id="EXE_1", litres=Decimal("1.2E+3"))
    batch = Batch(directives=(directive,), execution_mode=ExecutionMode.ATOMIC)
    assert '"litres":"1200"' in batch.model_dump_json()
