"""What waits for its turn, by priority and by age: the one rule by which turns are given.

Every other turn goes by age, and those between by priority: what is urgent waits for one other at
most, and nobody waits for ever, however long the turns of the urgent are.
"""

from collections import deque
from itertools import count
from typing import Generic, TypeVar

from saga.model import Priority

T = TypeVar("T")


class Lines(Generic[T]):
    """A line for each priority."""

    def __init__(self) -> None:
        self._lines: dict[Priority, deque[tuple[int, T]]] = {each: deque() for each in Priority}
        self._numbers = count()
        self._by_age = False
        """The next turn goes by age."""

    def add(self, priority: Priority, one: T) -> None:
        """Let one more wait, at the end of its line."""
        self._lines[priority].append((next(self._numbers), one))

    def most_urgent(self) -> T | None:
        """Return who has waited longest of the most urgent; None if nobody waits."""
        return next((line[0][1] for line in self._lines.values() if line), None)

    def first_of(self, priority: Priority) -> T:
        """Take who has waited longest of one priority; somebody has to."""
        return self._lines[priority].popleft()[1]

    def next(self) -> T | None:
        """Take who is next; None if nobody waits."""
        lines = [line for line in self._lines.values() if line]
        if not lines:
            return None
        line = min(lines, key=lambda line: line[0][0]) if self._by_age else lines[0]
        self._by_age = not self._by_age
        return line.popleft()[1]
