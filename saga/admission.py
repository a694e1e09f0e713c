"""Who runs next: a priority queue with ageing, a bound on what runs, and one at a time on a key.

Waiting raises a batch's rank. As it raises everybody's at the same rate, the order never changes
while batches wait, and the rank is one number: the instant of submission, put back by one
`ageing` for each priority class below HIGH. A heap of that number is the whole queue.

A batch whose exclusion key is taken is parked with the key, in a heap of the key's own. When the
key is free, the first of them comes back, and only when that one cannot run the next: however many
wait for a key, an end of its holder calls one. This module holds no saga and starts none: it knows
ids, and answers whose turn it is.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from saga.model import Priority

_CLASSES_BELOW_HIGH: Final = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


@dataclass(frozen=True, order=True, slots=True)
class _Place:
    """A place in the queue; the smallest is the first."""

    rank: datetime
    ticket: int
    batch_id: str
    key: str | None = field(compare=False)


class Admission:
    """The queue of batches that wait to run, and the set of those that do.

    Args:
        max_running: most batches that run at the same time.
        ageing: how long one priority class is worth.
    """

    def __init__(self, *, max_running: int, ageing: timedelta) -> None:
        self._max_running = max_running
        self._ageing = ageing
        self._ready: list[_Place] = []
        self._parked: dict[str, list[_Place]] = {}
        self._waiting: dict[str, _Place] = {}
        self._held: set[str] = set()
        self._running: dict[str, str | None] = {}
        self._holders: dict[str, set[str]] = {}
        self._tickets = 0

    @property
    def queued(self) -> int:
        """How many batches wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many batches run."""
        return len(self._running)

    def enter(self, batch_id: str, priority: Priority, key: str | None, since: datetime) -> None:
        """Put a batch into the queue.

        Args:
            batch_id: the batch, which neither waits nor runs yet.
            priority: its class.
            key: what it must be alone on; None if on nothing.
            since: when it was submitted.
        """
        self._tickets += 1
        rank = since + self._ageing * _CLASSES_BELOW_HIGH[priority]
        place = _Place(rank, self._tickets, batch_id, key)
        self._waiting[batch_id] = place
        heapq.heappush(self._ready, place)

    def occupy(self, batch_id: str, key: str | None) -> None:
        """Count a batch that runs already, such as one that was resumed, and take its key."""
        self._running[batch_id] = key
        self.block(batch_id, key)

    def block(self, batch_id: str, key: str | None) -> None:
        """Let nobody else run on a key; a STALE saga keeps its key until it is resolved."""
        if key is not None:
            self._holders.setdefault(key, set()).add(batch_id)

    def hold(self, batch_id: str) -> None:
        """Do not let a waiting batch run until it is let go."""
        if batch_id in self._waiting:
            self._held.add(batch_id)

    def let_go(self, batch_id: str) -> None:
        """Undo `hold`; harmless for a batch that is not held."""
        if batch_id in self._held:
            self._held.discard(batch_id)
            heapq.heappush(self._ready, self._waiting[batch_id])

    def leave(self, batch_id: str, key: str | None, *, keep_key: bool = False) -> None:
        """Forget a batch, whether it waits or runs.

        Args:
            batch_id: the batch.
            key: its exclusion key.
            keep_key: go on letting nobody else run on its key.
        """
        self._waiting.pop(batch_id, None)
        self._held.discard(batch_id)
        self._running.pop(batch_id, None)
        if key is None or keep_key:
            return
        holders = self._holders.get(key, set())
        holders.discard(batch_id)
        if not holders:
            self._holders.pop(key, None)
            self._call_next(key)

    def _call_next(self, key: str | None) -> None:
        """Bring the first of those back that are parked with a key, if it is free."""
        if key is None or key in self._holders or key not in self._parked:
            return
        parked = self._parked[key]
        heapq.heappush(self._ready, heapq.heappop(parked))
        if not parked:
            del self._parked[key]

    def admit(self) -> Iterator[str]:
        """Yield the batches that may run now, best first; each counts as running from then on."""
        while self._ready and len(self._running) < self._max_running:
            place = heapq.heappop(self._ready)
            batch_id, key = place.batch_id, place.key
            if self._waiting.get(batch_id) is not place or batch_id in self._held:
                self._call_next(key)  # this one may have been called for all of its key
                continue
            if key is not None and key in self._holders:
                heapq.heappush(self._parked.setdefault(key, []), place)
                continue
            del self._waiting[batch_id]
            self.occupy(batch_id, key)
            yield batch_id
