"""The engine's clock in a simulation: a wall that can jump over a loop whose time never does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from saga.clock import LONGEST_NAP_SECONDS
from tests.simulation.loop import VirtualLoop

BEGINNING: Final = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
"""What the wall says when a seed begins."""


class VirtualClock:
    """A `saga.clock.Clock` over virtual time.

    Args:
        loop: the loop whose time passes.
        jumps: the wall may be put forward or back in this seed, so that sleepers look at it.
    """

    def __init__(self, loop: VirtualLoop, *, jumps: bool = False) -> None:
        self._loop = loop
        self._nap = LONGEST_NAP_SECONDS if jumps else float("inf")
        self._began = BEGINNING
        self._read_at = -1.0
        self._read = BEGINNING

    def now(self) -> datetime:
        """Return what the wall says."""
        at = self._loop.time()
        if at != self._read_at:  # within one round it is asked again and again
            self._read_at, self._read = at, self._began + timedelta(seconds=at)
        return self._read

    def elapsed(self) -> float:
        """Return the loop's seconds, which never jump."""
        return self._loop.time()

    def jump(self, by: timedelta) -> None:
        """Put the wall forward, or back."""
        self._began += by
        self._read_at = -1.0

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the wall is not before `instant`, or after that long if it was put back."""
        left = (instant - self.now()).total_seconds()
        end = self.elapsed() + left
        while (left := min(left, end - self.elapsed())) > 0:
            # A nap below the resolution of the sum of floats would not let any time pass.
            await asyncio.sleep(max(min(left, self._nap), 1e-5))
            left = (instant - self.now()).total_seconds()
