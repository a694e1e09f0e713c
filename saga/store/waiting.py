"""The appends that wait for a commit, and which of them share the next one.

An urgent saga waits for the commit that is under way and for its own, however many others wait, and
none of those waits for ever.
"""

from dataclasses import dataclass, field
from typing import Final

from saga.errors import StoreError
from saga.held import Bell
from saga.lines import Lines
from saga.store.protocol import Append

MAX_APPENDS_PER_COMMIT: Final = 128
"""Appends that share one commit at most; the others wait for the next one."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One append that waits.

    Attributes:
        outcome: the last sequence number or the error; None until it is known.
        turn: rung as soon as the append is written or refused, or has to lead.
    """

    append: Append
    outcome: int | BaseException | None = None
    turn: Bell = field(default_factory=Bell)

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
        self._lines: Lines[Ticket] = Lines()

    def add(self, ticket: Ticket) -> None:
        """Let one more wait."""
        self._lines.add(ticket.append.batch.priority, ticket)

    def first(self) -> Ticket | None:
        """Return the one that is to lead next: the oldest of the most urgent; None if none waits.

        It stays the first of its own line until it leads: nobody else takes from the lines.
        """
        return self._lines.most_urgent()

    def take(self, leader: Ticket) -> list[Ticket]:
        """Take those that share the leader's commit, the leader first."""
        taken = [self._lines.first_of(leader.append.batch.priority)]
        assert taken == [leader], "who leads is the first of a line"
        while len(taken) < MAX_APPENDS_PER_COMMIT:
            ticket = self._lines.next()
            if ticket is None:
                break
            taken.append(ticket)
        return taken
