"""The appends that wait for a commit, and which of them share the next one.

Half of a commit's places go by priority and the rest by age: an urgent saga waits for the commit
that is under way and for its own, however many others wait, and none of those waits for ever.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from saga.errors import StoreError
from saga.held import Bell
from saga.model import Priority
from saga.store.protocol import Append

MAX_APPENDS_PER_COMMIT: Final = 128
"""Appends that share one commit at most; the others wait for the next one."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One append that waits.

    Attributes:
        outcome: the last sequence number or the error; None until it is known.
        turn: rung as soon as the append is written or refused, or has to lead.
        number: its place among all that came, the first of which is 0.
    """

    append: Append
    outcome: int | BaseException | None = None
    turn: Bell = field(default_factory=Bell)
    number: int = 0

    def settle(self, outcome: int | BaseException) -> None:
        """Say what became of it."""
        self.outcome = outcome
        self.turn.ring()

    def result(self) -> int:
        """Return the last sequence number, or raise the error."""
        if isinstance(self.outcome, int):
            return self.outcome
        raise self.outcome or StoreError("the append was left before it was settled")


class Waiting:
    """The tickets of one store; bounded by the callers, each of whom waits for the one it has."""

    def __init__(self) -> None:
        self._lines: dict[Priority, deque[Ticket]] = {each: deque() for each in Priority}
        self._numbers = count()

    def add(self, ticket: Ticket) -> None:
        """Let one more wait."""
        ticket.number = next(self._numbers)
        self._lines[ticket.append.batch.priority].append(ticket)

    def first(self) -> Ticket | None:
        """Return the one that is to lead next: the oldest of the most urgent; None if none waits.

        It stays the first of its own line until it leads: nobody else takes from the lines.
        """
        return next((line[0] for line in self._lines.values() if line), None)

    def take(self, leader: Ticket) -> list[Ticket]:
        """Take those that share the leader's commit, the leader first."""
        taken = [self._lines[leader.append.batch.priority].popleft()]
        assert taken == [leader], "who leads is the first of a line"
        lines = [line for line in self._lines.values() if line]
        while lines and len(taken) < MAX_APPENDS_PER_COMMIT:
            by_priority = len(taken) < MAX_APPENDS_PER_COMMIT // 2
            line = lines[0] if by_priority else min(lines, key=lambda line: line[0].number)
            taken.append(line.popleft())
            if not line:
                lines.remove(line)
        return taken
