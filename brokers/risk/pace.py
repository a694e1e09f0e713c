"""How many orders went out in the last second, and in the last day.

Counted on the clock that never jumps, so that neither a wall clock that is put back nor a restart
gives anybody a fresh allowance: what went out before a restart is told by the journal.
"""

from collections import deque
from typing import Final

SECOND: Final = 1.0
DAY: Final = 86_400.0


class Pace:
    """The instants at which orders went out, or will, oldest first; none older than a day."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque()

    def in_last_day(self, elapsed: float) -> int:
        """Return how many went out within the last 24 hours."""
        while self._sent and self._sent[0] <= elapsed - DAY:
            self._sent.popleft()
        return len(self._sent)

    def next_turn(self, elapsed: float, per_second: int | None) -> float:
        """Return the earliest instant at which one more keeps within the rate, now or later."""
        if per_second is None or len(self._sent) < per_second:
            return elapsed
        return max(elapsed, self._sent[-per_second] + SECOND)

    def take(self, turn: float) -> None:
        """Count one that goes out at its turn, or has gone out then; the oldest first."""
        self._sent.append(turn)

    def give_back(self, turn: float) -> None:
        """Count one less, of which nothing went out after all; harmless where it is forgotten."""
        if turn in self._sent:
            self._sent.remove(turn)
