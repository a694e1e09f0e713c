"""One task that waits for everybody: wakes whoever asked, when the clock says so."""

import heapq
from datetime import datetime
from itertools import count
from typing import Final, Protocol

import anyio

from saga.clock import Clock

_ROOM: Final = 64
"""Places in the heap beyond two for each sleeper before those that are out of date are cleared."""


class Sleeper(Protocol):
    """Somebody who can be woken."""

    def wake(self) -> None:
        """Look at the clock again."""
        ...


class Alarms:
    """A heap of instants, and one task that sleeps until the earliest.

    Everybody has one alarm, the earliest that was asked for since it last rang. It may ring early;
    whoever is woken looks at the clock again. When the clock was put back, all ring.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Sleeper, datetime] = {}
        self._heap: list[tuple[datetime, int, Sleeper]] = []
        self._tickets = count()
        self._nap = anyio.CancelScope()
        self._set = anyio.Event()

    def ring(self, at: datetime, sleeper: Sleeper) -> None:
        """Wake the sleeper once the clock is not before `at`."""
        due = self._due.get(sleeper)
        if due is not None and due <= at:
            return
        self._due[sleeper] = at
        heapq.heappush(self._heap, (at, next(self._tickets), sleeper))
        self._tidy()
        if self._heap[0][0] == at:
            self._nap.cancel()
            self._set.set()

    def forget(self, sleeper: Sleeper) -> None:
        """Wake the sleeper no more; harmless where it has no alarm."""
        if self._due.pop(sleeper, None) is not None:
            self._tidy()

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._set = anyio.Event()
            if not self._heap:
                await self._set.wait()
            first = self._heap[0][0]
            with anyio.CancelScope() as self._nap:
                await self._clock.sleep_until(first)
            now = self._clock.now()
            put_back = not self._nap.cancel_called and now < first
            while self._heap and (put_back or self._heap[0][0] <= now):
                place = heapq.heappop(self._heap)
                if self._stands(place):
                    del self._due[place[2]]
                    place[2].wake()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._due) + _ROOM:
            self._heap = [place for place in self._heap if self._stands(place)]
            heapq.heapify(self._heap)

    def _stands(self, place: tuple[datetime, int, Sleeper]) -> bool:
        at, _, sleeper = place
        return self._due.get(sleeper) == at
