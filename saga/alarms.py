"""One task that waits for everybody: wakes whoever asked, when the clock says so."""

import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count

import anyio

from saga.clock import Clock


class Alarms:
    """A heap of instants, and one task that sleeps until the earliest.

    An alarm may ring early or more than once; whoever is woken looks at the clock again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._tickets = count()
        self._nap = anyio.CancelScope()
        self._set = anyio.Event()

    def ring(self, at: datetime, wake: Callable[[], None]) -> None:
        """Call `wake` once the clock is not before `at`."""
        heapq.heappush(self._heap, (at, next(self._tickets), wake))
        if self._heap[0][0] == at:
            self._nap.cancel()
            self._set.set()

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._set = anyio.Event()
            if not self._heap:
                await self._set.wait()
            with anyio.CancelScope() as self._nap:
                await self._clock.sleep_until(self._heap[0][0])
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2]()
