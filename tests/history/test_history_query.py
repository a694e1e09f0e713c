"""A question that breaks a rule is refused with a sentence, before anything is read."""

import base64
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from saga.errors import InvalidInput
from saga.machine import SagaState
from saga.query import MAX_FILTER_LENGTH, MAX_PAGE_ROWS, BatchQuery, BatchSort
from saga.views import BatchStatus

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = (1_700_000_000_000_000, 7)


def encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.requirement("T8")
@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"limit": 0}, r"limit must be a whole number from 1 to 1000, not 0; ask for less"),
        ({"limit": -5}, r"limit must be a whole number from 1 to 1000, not -5"),
        ({"limit": MAX_PAGE_ROWS + 1}, r"limit must .* not 1001"),
        ({"limit": True}, r"limit must .* not True"),
        ({"limit": 2.0}, r"limit must .* not 2\.0"),
        ({"limit": None}, r"limit must .* not None"),
        ({"statuses": ("faild",)}, r"statuses must be one of pending, .*, not 'faild'; choose"),
        ({"statuses": "failed"}, r"statuses must be a tuple of values, not 'failed'; put even"),
        ({"statuses": ([],)}, r"statuses must be one of"),
        ({"states": ("running",)}, r"states must be one of PENDING, .*, not 'running'"),
        ({"modes": ("BATCH",)}, r"modes must be one of SEQUENTIAL, PARALLEL, ATOMIC, not 'BATCH'"),
        ({"priorities": (1,)}, r"priorities must be one of HIGH, NORMAL, LOW, not 1"),
        ({"sort": "age"}, r"sort must be one of created, updated, status, size, not 'age'"),
        ({"descending": 1}, r"descending must be True or False, not 1"),
        ({"symbol": ""}, r"symbol must be a text of 1 to 200 characters, not ''; leave it out"),
        ({"symbol": 5}, r"symbol must be a text"),
        ({"exclusion_key": "k" * (MAX_FILTER_LENGTH + 1)}, r"exclusion_key must be a text of 1"),
        ({"reason_contains": "a\0b"}, r"reason_contains must be plain Unicode text"),
        ({"parent_id": "\ud800"}, r"parent_id must be plain Unicode text"),
        (
            {"created_from": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
            r"created_from must be timezone-aware, not the naive 2026-01-01T00:00:00; give it",
        ),
        ({"completed_to": "2026-01-01"}, r"completed_to must be an instant, not '2026-01-01'"),
        (
            {"created_to": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))},
            r"created_to must lie between the years 1 and 9999 in UTC",
        ),
        (
            {"created_from": NOON, "created_to": NOON - timedelta(seconds=1)},
            r"created_from must not be after created_to, but 2026-11-21T12:00:00\+00:00 is after",
        ),
        (
            {"completed_from": NOON, "completed_to": NOON - timedelta(seconds=1)},
            r"completed_from must not be after completed_to, .*; swap them",
        ),
    ],
)
def test_a_bad_field_is_refused_with_its_value_and_rule(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        BatchQuery(**fields)


@pytest.mark.requirement("T8")
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "next",
        "é",
        "====",
        "A" * 10_000,
        7,
        encoded({}),
        encoded([1, 2, 3]),
        encoded(["f", "created", True, ["1", 2]]),
        encoded(["f", "created", True, [1.5, 2]]),
        encoded(["f", "created", True, [True, 2]]),
        encoded(["f", "created", True, [2**70, 2]]),
        encoded(["f", "created", 1, [1, 2]]),
        encoded("[" * 250),
    ],
)
def test_a_cursor_that_is_none_of_ours_is_refused(cursor: Any) -> None:
    with pytest.raises(InvalidInput, match="cursor must be the next_cursor of a page, not "):
        BatchQuery(cursor=cursor)


@pytest.mark.requirement("T8")
def test_a_cursor_for_another_sort_is_refused() -> None:
    cursor = BatchQuery().cursor_after(KEY)
    with pytest.raises(
        InvalidInput,
        match="made for a list sorted by created, descending, not by size, descending; ask",
    ):
        BatchQuery(sort=BatchSort.SIZE, cursor=cursor)
    with pytest.raises(InvalidInput, match="created, descending, not by created, ascending"):
        BatchQuery(descending=False, cursor=cursor)


@pytest.mark.requirement("T8")
@pytest.mark.parametrize(
    "other",
    [
        lambda cursor: BatchQuery(symbol="AAPL", cursor=cursor),
        lambda cursor: BatchQuery(exclusion_key="AAPL", cursor=cursor),
        lambda cursor: BatchQuery(created_from=NOON, cursor=cursor),
        lambda cursor: BatchQuery(statuses=(BatchStatus.FAILED,), cursor=cursor),
    ],
)
def test_a_cursor_for_other_filters_is_refused(other: Callable[[str], BatchQuery]) -> None:
    with pytest.raises(InvalidInput, match="cursor was made for a list with other filters; keep"):
        other(BatchQuery().cursor_after(KEY))


def test_a_cursor_with_too_few_numbers_is_refused() -> None:
    short = BatchQuery(sort=BatchSort.STATUS).cursor_after(KEY)
    with pytest.raises(InvalidInput, match="cursor was made for a list with other filters"):
        BatchQuery(sort=BatchSort.STATUS, cursor=short)


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("sort", list(BatchSort))
def test_a_cursor_comes_back_as_the_key_it_was_made_from(sort: BatchSort) -> None:
    query = BatchQuery(sort=sort, symbol="AAPL", created_from=NOON)
    key = (4, *KEY) if sort is BatchSort.STATUS else KEY
    cursor = query.cursor_after(key)
    again = BatchQuery(sort=sort, symbol="AAPL", created_from=NOON, cursor=cursor)
    assert again.position() == key
    assert query.position() is None


def test_the_same_question_in_other_words_has_the_same_cursors() -> None:
    east = timezone(timedelta(hours=8))
    one = BatchQuery(
        statuses=(BatchStatus.FAILED, BatchStatus.STALE, BatchStatus.FAILED), created_from=NOON
    )
    other = BatchQuery(
        statuses=("stale", "failed"),  # type: ignore[arg-type]
        created_from=NOON.astimezone(east),
        limit=7,
    )
    assert one.statuses == other.statuses == (BatchStatus.FAILED, BatchStatus.STALE)
    assert one.cursor_after(KEY) == other.cursor_after(KEY)


def test_a_query_never_changes() -> None:
    query = BatchQuery(states=(SagaState.STALE,))
    with pytest.raises(FrozenInstanceError):
        query.limit = 7  # type: ignore[misc]
