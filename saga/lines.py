"""What waits for its turn, by priority and by age: the one rule by which turns are given.

Half of what goes at a time goes by priority and the rest by age: what is urgent waits for nobody
who came before it, and nobody waits for ever.
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

    def add(self, priority: Priority, one: T) -> None:
        """Let one more wait, at the end of its line."""
        self._lines[priority].append((next(self._numbers), one))

    def most_urgent(self) -> T | None:
        """Return who has waited longest of the most urgent; None if nobody waits."""
        return next((line[0][1] for line in self._lines.values() if line), None)

    def first_of(self, priority: Priority) -> T:
        """Take who has waited longest of one priority; somebody has to."""
        return self._lines[priority].popleft()[1]

    def next(self, given: int, of: int) -> T | None:
        """Take who is next where so much of what goes at a time is given away already.

        Returns:
            The oldest of the most urgent for the first half, then the oldest of all; None if nobody
            waits.
        """
        lines = [line for line in self._lines.values() if line]
        if not lines:
            return None
        by_priority = given < of // 2
        line = lines[0] if by_priority else min(lines, key=lambda line: line[0][0])
        return line.popleft()[1]
