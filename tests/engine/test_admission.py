"""Who runs next: priority, ageing, the bound, and one at a time on a key."""

import random
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


@pytest.mark.requirement("T6")
def test_the_end_of_a_keys_holder_calls_one_of_those_that_wait_for_it() -> None:
    queue = admission(max_running=9)
    names = [f"batch {number}" for number in range(1000)]
    for number, name in enumerate(names):
        queue.enter(name, Priority.NORMAL, "main", after(number / 1000))
    (running,) = queue.admit()
    for expected in names[1:6]:
        queue.leave(running, "main")
        assert len(queue._ready) == 1
        (running,) = queue.admit()
        assert running == expected


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("why", ["held", "cancelled"])
def test_where_the_first_that_waits_for_a_key_cannot_run_the_next_one_does(why: str) -> None:
    queue = admission(max_running=9)
    for name in ("runs", "first", "second", "third"):
        queue.enter(name, Priority.NORMAL, "main", NOON)
    assert list(queue.admit()) == ["runs"]
    if why == "held":
        queue.hold("first")
    else:
        queue.leave("first", "main")
    queue.leave("runs", "main")
    assert list(queue.admit()) == ["second"]
    queue.let_go("first")
    queue.leave("second", "main")
    assert list(queue.admit()) == (["first"] if why == "held" else ["third"])


@pytest.mark.requirement("T6")
def test_one_that_was_called_and_is_cancelled_before_its_turn_lets_the_next_one_in() -> None:
    queue = admission(max_running=1)
    for name in ("runs", "first", "second"):
        queue.enter(name, Priority.NORMAL, "main", NOON)
    queue.enter("elsewhere", Priority.HIGH, None, after(-60))
    assert list(queue.admit()) == ["elsewhere"]
    queue.block("stale", "main")
    queue.leave("elsewhere", None)
    assert list(queue.admit()) == []
    queue.leave("stale", "main")
    queue.leave("runs", "main")
    assert list(queue.admit()) == ["first"]
    queue.leave("first", "main")
    assert list(queue.admit()) == ["second"]


class Plain:
    """The same queue, by going through all that wait."""

    def __init__(self, max_running: int) -> None:
        self.max_running = max_running
        self.waiting: dict[str, tuple[datetime, int, str]] = {}
        self.held: set[str] = set()
        self.running: dict[str, str] = {}
        self.blocked: dict[str, str] = {}

    def admit(self) -> list[str]:
        admitted = []
        for _, _, name in sorted(
            (rank, ticket, name) for name, (rank, ticket, _) in self.waiting.items()
        ):
            key = self.waiting[name][2]
            taken = key in self.running.values() or key in self.blocked.values()
            if len(self.running) < self.max_running and not taken and name not in self.held:
                del self.waiting[name]
                self.running[name] = key
                admitted.append(name)
        return admitted


@pytest.mark.requirement("E14", "T6")
@pytest.mark.parametrize("seed", range(60))
def test_the_order_is_that_of_a_queue_that_goes_through_all_that_wait(seed: int) -> None:
    dice = random.Random(seed)
    queue, plain = admission(max_running=3), Plain(max_running=3)
    for number in range(250):
        deed = dice.choice(("enter", "enter", "end", "end", "cancel", "hold", "let go", "block"))
        name, key = f"B{number}", dice.choice("abc")
        if deed == "enter":
            priority, since = dice.choice(list(Priority)), after(dice.randrange(90))
            queue.enter(name, priority, key, since)
            behind = {Priority.HIGH: 0, Priority.NORMAL: 30, Priority.LOW: 60}[priority]
            plain.waiting[name] = (since + timedelta(seconds=behind), number, key)
        elif deed == "end" and plain.running:
            name = dice.choice(list(plain.running))
            key = plain.running.pop(name)
            kept = dice.random() < 0.1
            if kept:
                plain.blocked[name] = key
            queue.leave(name, key, keep_key=kept)
        elif deed == "cancel" and plain.waiting:
            name = dice.choice(list(plain.waiting))
            queue.leave(name, plain.waiting.pop(name)[2])
            plain.held.discard(name)
        elif deed == "hold" and plain.waiting:
            plain.held.add(name := dice.choice(list(plain.waiting)))
            queue.hold(name)
        elif deed == "let go" and plain.held:
            plain.held.discard(name := dice.choice(sorted(plain.held)))
            queue.let_go(name)
        elif deed == "block" and plain.blocked:
            name, key = plain.blocked.popitem()
            queue.leave(name, key)
        if dice.random() < 0.7:
            assert list(queue.admit()) == plain.admit()
    assert (queue.queued, queue.running) == (len(plain.waiting), len(plain.running))
