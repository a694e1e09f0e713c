"""Identities: the form of ids, and keys that are derived and never random."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from saga.errors import InvalidInput
from saga.ids import (
    BATCH_ID_PATTERN,
    MAX_KEY_LENGTH,
    BatchId,
    DirectiveId,
    Purpose,
    attempt_key,
    batch_of_key,
    generate_batch_id,
)

BATCH_ID = "BAT_20261121_093000_k3v9x"

batch_ids = st.from_regex(re.compile(BATCH_ID_PATTERN.rstrip("$") + r"\Z", re.ASCII))


@pytest.mark.requirement("E1")
def test_a_generated_batch_id_has_the_pattern_and_the_instant_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    made = generate_batch_id(datetime(2026, 11, 22, 3, 30, 5, tzinfo=east))
    assert re.fullmatch(BATCH_ID_PATTERN, made, re.ASCII)
    assert made.startswith("BAT_20261121_220005_")


@pytest.mark.requirement("E1")
def test_generated_batch_ids_differ_within_one_second() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert len({generate_batch_id(now) for _ in range(1_000)}) == 1_000


@pytest.mark.requirement("E1", "E9")
def test_a_batch_id_is_not_made_from_a_naive_instant() -> None:
    with pytest.raises(InvalidInput, match="now must be timezone-aware, not the naive 2026-11-21"):
        generate_batch_id(datetime(2026, 11, 21))  # noqa: DTZ001 - that is the point


@pytest.mark.requirement("E1", "E9", "E12")
@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "BAT_20261121_093000_k3v9",  # four characters
        "BAT_20261121_093000_k3v9xabcd",  # nine
        "BAT_2026112_093000_k3v9x",
        "BAT_20261121_9300_k3v9x",
        "BAT_20261121_093000_K3V9X",
        "bat_20261121_093000_k3v9x",
        "BAT_20261121_093000_k3v9x\n",
        " BAT_20261121_093000_k3v9x",
        "BAT-20261121-093000-k3v9x",
        "BAT_\uff12\uff10261121_093000_k3v9x",  # full-width digits
        "BAT_\u0662\u0660261121_093000_k3v9x",  # Arabic digits
        "BAT_20261121_093000_k3v9\xe9",
        "BAT_20261121_093000_k3v9x\x00",
        "BAT_20261121_093000_'; DROP",
        None,
        5,
        b"BAT_20261121_093000_k3v9x",
    ],
)
def test_a_batch_id_of_another_form_is_refused_with_the_pattern_and_the_value(
    wrong: object,
) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(BatchId).validate_python(wrong)
    (complaint,) = caught.value.errors()
    assert complaint["msg"] == (
        rf"batch_id must match pattern ^BAT_\d{{8}}_\d{{6}}_[0-9a-z]{{5,8}}$, not {wrong!r}; "
        "for example BAT_20261121_093000_k3v9x"
    )


@pytest.mark.requirement("E1")
@pytest.mark.parametrize("suffix", ["k3v9x", "k3v9xa", "k3v9xab", "k3v9xabc"])
def test_suffixes_of_five_to_eight_characters_are_taken(suffix: str) -> None:
    batch_id = f"BAT_20261121_093000_{suffix}"
    assert TypeAdapter(BatchId).validate_python(batch_id) == batch_id


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "",
            "EXE_",
            "EXE_" + "a" * 61,
            "exe_1",
            "EXE_a b",
            "EXE_1\n",
            "EXE_\xe9",
            "1",
            "EXE_\uff11",
        ),
        *("EXE_../../x", "EXE_=1", "EXE_\u202e1", "EXE_\ud800", 5, None),
    ],
)
def test_a_directive_id_of_another_form_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="directive_id must match pattern"):
        TypeAdapter(DirectiveId).validate_python(wrong)


@pytest.mark.requirement("E9")
def test_a_huge_wrong_id_is_shown_short() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(DirectiveId).validate_python("x" * 1_000_000)
    assert len(caught.value.errors()[0]["msg"]) < 250


@pytest.mark.requirement("S3")
def test_the_key_of_an_attempt_is_known() -> None:
    assert attempt_key(BATCH_ID, 12, Purpose.FORWARD, 1) == "20261121_093000_k3v9x-12F1"
    assert attempt_key(BATCH_ID, 0, Purpose.COMPENSATION, 3) == "20261121_093000_k3v9x-0C3"


@pytest.mark.requirement("S3")
@given(
    batch_ids,
    st.tuples(st.integers(0, 99_999), st.sampled_from(Purpose), st.integers(1, 100)),
    st.tuples(st.integers(0, 99_999), st.sampled_from(Purpose), st.integers(1, 100)),
)
def test_keys_fit_every_venue_lead_back_to_their_batch_and_never_collide(
    batch_id: str, one: tuple[int, Purpose, int], other: tuple[int, Purpose, int]
) -> None:
    key = attempt_key(batch_id, *one)
    assert len(key) <= MAX_KEY_LENGTH
    assert batch_of_key(key) == batch_id
    assert (key == attempt_key(batch_id, *other)) == (one == other)


@pytest.mark.parametrize(
    "key",
    [
        *("", "manual-1", BATCH_ID, "20261121_093000_k3v9x-12F1\n", "20261121_093000_k3v9x-12X1"),
        *("x20261121_093000_k3v9x-12F1", "20261121_093000_k3v9x-\uff11F1"),
    ],
)
def test_a_key_that_is_not_ours_leads_to_no_batch(key: str) -> None:
    assert batch_of_key(key) is None


def test_a_key_that_no_venue_would_take_is_never_made() -> None:
    with pytest.raises(AssertionError, match="longer than 36"):
        attempt_key("BAT_20261121_093000_k3v9xabc", 10**9, Purpose.FORWARD, 1)
