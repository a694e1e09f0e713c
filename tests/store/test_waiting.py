"""Which appends share a commit: by priority and by age in turn, and nobody is left behind."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from saga.model import Priority
from saga.store.waiting import MAX_APPENDS_PER_COMMIT, Ticket, Waiting
from tests.store.sample_appends import first


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def tickets_of(waiting: Waiting, priority: Priority, count: int) -> list[Ticket]:
    append = first(1)
    urgent = replace(append, batch=append.batch.model_copy(update={"priority": priority}))
    tickets = [Ticket(urgent) for _ in range(count)]
    for ticket in tickets:
        waiting.add(ticket)
    return tickets


def next_commit(waiting: Waiting) -> list[Ticket]:
    leader = waiting.first()
    assert leader is not None
    return waiting.take(leader)


async def test_nobody_waits_where_nobody_came(waiting: Waiting) -> None:
    assert waiting.first() is None


async def test_what_is_urgent_is_in_the_next_commit_however_many_wait(waiting: Waiting) -> None:
    tickets_of(waiting, Priority.LOW, 10_000)
    normal = tickets_of(waiting, Priority.NORMAL, 5)
    high = tickets_of(waiting, Priority.HIGH, 3)
    shared = next_commit(waiting)
    assert len(shared) == MAX_APPENDS_PER_COMMIT
    assert [ticket for ticket in shared[:16] if ticket in high or ticket in normal] == [
        *high,
        *normal,
    ]


async def test_whoever_is_not_urgent_is_not_left_behind(waiting: Waiting) -> None:
    low = tickets_of(waiting, Priority.LOW, MAX_APPENDS_PER_COMMIT // 2 - 1)
    tickets_of(waiting, Priority.HIGH, 10_000)
    shared = next_commit(waiting)
    assert [ticket for ticket in shared if ticket in low] == low


async def test_who_was_told_to_lead_leads_even_if_somebody_more_urgent_came(
    waiting: Waiting,
) -> None:
    low = tickets_of(waiting, Priority.LOW, 2)
    leader = waiting.first()
    assert leader is low[0]
    high = tickets_of(waiting, Priority.HIGH, MAX_APPENDS_PER_COMMIT)
    assert waiting.take(leader)[:3] == [low[0], high[0], low[1]]


async def test_everybody_is_taken_once_and_each_line_in_its_order(waiting: Waiting) -> None:
    came = {
        priority: tickets_of(waiting, priority, 700)
        for priority in (Priority.LOW, Priority.HIGH, Priority.NORMAL)
    }
    taken: list[Ticket] = []
    while waiting.first() is not None:
        taken += next_commit(waiting)
    for priority, tickets in came.items():
        assert list(of_priority(taken, priority)) == tickets
    assert len(taken) == len(set(map(id, taken))) == 2_100


def of_priority(tickets: Iterable[Ticket], priority: Priority) -> Iterable[Ticket]:
    return (each for each in tickets if each.append.batch.priority is priority)
