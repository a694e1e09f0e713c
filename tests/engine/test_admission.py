"""Who runs next: priority, ageing, the bound, and one at a time on a key."""

from datetime import UTC, datetime, timedelta

import pytest

from saga.admission import Admission
from saga.model import Priority

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def admission(max_running: int = 1) -> Admission:
    """A queue in which one priority class is worth half a minute."""
    return Admission(max_running=max_running, ageing=timedelta(seconds=30))


def after(seconds: float) -> datetime:
    """An instant so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def order_of(queue: Admission, key: str | None = None) -> list[str]:
    """The order in which everything that waits is let in, one after the other."""
    order = []
    while admitted := list(queue.admit()):
        order.extend(admitted)
        for batch_id in admitted:
            queue.leave(batch_id, key)
    return order


@pytest.mark.requirement("E14", "T6")
def test_a_higher_priority_goes_first_and_equals_go_in_order() -> None:
    queue = admission()
    for name, priority in (
        ("low", Priority.LOW),
        ("normal", Priority.NORMAL),
        ("high", Priority.HIGH),
        ("normal too", Priority.NORMAL),
    ):
        queue.enter(name, priority, None, NOON)
    assert order_of(queue) == ["high", "normal", "normal too", "low"]


@pytest.mark.requirement("E14", "T6")
@pytest.mark.parametrize(("waited", "first"), [(59, "high"), (61, "low")])
def test_a_low_batch_overtakes_high_ones_that_came_a_minute_later(waited: int, first: str) -> None:
    queue = admission()
    queue.enter("low", Priority.LOW, None, NOON)
    queue.enter("high", Priority.HIGH, None, after(waited))
    assert order_of(queue)[0] == first


@pytest.mark.requirement("T6")
def test_no_more_run_than_the_bound_allows() -> None:
    queue = admission(max_running=2)
    for name in "abc":
        queue.enter(name, Priority.NORMAL, None, NOON)
    assert list(queue.admit()) == ["a", "b"]
    assert (queue.running, queue.queued) == (2, 1)
    assert list(queue.admit()) == []
    queue.leave("a", None)
    assert list(queue.admit()) == ["c"]


@pytest.mark.requirement("T6")
def test_a_taken_key_holds_back_its_own_and_nobody_else() -> None:
    queue = admission(max_running=9)
    queue.enter("first", Priority.NORMAL, "main", NOON)
    queue.enter("second", Priority.NORMAL, "main", NOON)
    queue.enter("urgent", Priority.HIGH, "main", after(1))
    queue.enter("elsewhere", Priority.LOW, "other", NOON)
    assert list(queue.admit()) == ["urgent", "elsewhere"]
    queue.leave("urgent", "main")
    assert list(queue.admit()) == ["first"]
    assert list(queue.admit()) == []
    queue.leave("first", "main")
    assert list(queue.admit()) == ["second"]


def test_a_key_that_is_kept_or_blocked_stays_taken() -> None:
    queue = admission(max_running=9)
    queue.block("stale before", "other")
    queue.enter("a", Priority.NORMAL, "main", NOON)
    queue.enter("b", Priority.NORMAL, "main", NOON)
    queue.enter("c", Priority.NORMAL, "other", NOON)
    assert list(queue.admit()) == ["a"]
    queue.leave("a", "main", keep_key=True)
    assert list(queue.admit()) == []
    queue.leave("a", "main")
    queue.leave("stale before", "other")
    assert list(queue.admit()) == ["b", "c"]


def test_a_resumed_batch_counts_and_takes_its_key() -> None:
    queue = admission(max_running=1)
    queue.occupy("resumed", "main")
    queue.enter("waits", Priority.HIGH, None, NOON)
    assert list(queue.admit()) == []
    queue.leave("resumed", "main")
    assert list(queue.admit()) == ["waits"]


def test_what_is_held_waits_and_keeps_its_place() -> None:
    queue = admission()
    queue.enter("held", Priority.NORMAL, None, NOON)
    queue.enter("next", Priority.NORMAL, None, after(1))
    queue.hold("held")
    assert list(queue.admit()) == ["next"]
    queue.let_go("held")
    queue.let_go("held")
    queue.leave("next", None)
    queue.enter("late", Priority.NORMAL, None, after(2))
    assert order_of(queue) == ["held", "late"]


def test_what_has_left_is_not_admitted() -> None:
    queue = admission()
    queue.enter("cancelled", Priority.HIGH, "main", NOON)
    queue.leave("cancelled", "main")
    assert (list(queue.admit()), queue.queued, queue.running) == ([], 0, 0)
