"""Time, as it is handed to the engine: UTC, timezone-aware, and never read anywhere else.

A deadline is an absolute instant, so that it survives a crash. Waiting goes through the clock as
well, so that tests and the simulation own time and nobody sleeps on the wall.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

import anyio

LONGEST_NAP_SECONDS = 5.0
"""A waiting clock looks at the wall at least this often, so that a jump of the wall is seen."""


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        ...

    def elapsed(self) -> float:
        """Return seconds on a clock that never jumps; only differences have a meaning."""
        ...

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` is not before `instant`, or after that long if it was put back."""
        ...


def utc_now() -> datetime:
    """Return the present instant of the system, in UTC."""
    return datetime.now(UTC)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        return utc_now()

    def elapsed(self) -> float:
        """Return seconds of the monotonic clock."""
        return time.monotonic()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the wall clock is not before `instant`.

        Nobody sleeps longer than there was to wait at first: where the wall is put back, this
        returns early.
        """
        end = self.elapsed() + (instant - self.now()).total_seconds()
        while True:
            left = min((instant - self.now()).total_seconds(), end - self.elapsed())
            if left <= 0:
                return
            await anyio.sleep(min(left, LONGEST_NAP_SECONDS))
