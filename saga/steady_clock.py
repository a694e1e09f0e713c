"""A clock that does not believe every jump of the wall: what the engine goes by.

It follows the wall as long as the wall goes on as fast as the monotonic clock does. Where the two
disagree by more than a bound, the wall was put forward or back, or the machine was asleep, and the
wall is in *doubt*: time goes on at the monotonic pace, and whoever decides by the calendar waits.
The doubt ends when the wall comes back, or when it has kept to its new reckoning for long enough:
then it is believed, and every deadline is judged by it once.

It asks another clock and knows nothing of sagas; it never sleeps by itself.
"""

from datetime import datetime, timedelta
from typing import Final

from saga.clock import Clock
from saga.complaints import Complaints

_LOG = Complaints("saga.steady_clock")

JUMP_SECONDS: Final = 5.0
"""A wall that goes so much further than the monotonic clock, or less, has jumped."""
DOUBT_SECONDS: Final = 60.0
"""A wall that has jumped is believed once it has kept to its new reckoning for so long."""


class SteadyClock:
    """A `saga.clock.Clock` over another one, whose time goes on evenly while the wall is in doubt.

    Args:
        clock: the wall, and the monotonic clock beside it.
        doubt_seconds: how long a wall that has jumped has to keep to its new reckoning. Longer than
            any wait that must not be cut short by a jump.
    """

    def __init__(self, clock: Clock, *, doubt_seconds: float = DOUBT_SECONDS) -> None:
        self._clock = clock
        self._doubt = doubt_seconds
        self._wall = clock.now()
        self._elapsed = clock.elapsed()
        self._jump: float | None = None
        """By how many seconds the wall has jumped; None while it is believed."""
        self._jumped_at = self._elapsed

    @property
    def in_doubt_until(self) -> datetime | None:
        """When the wall is believed at the earliest, by what `now()` saw last; None if it is."""
        if self._jump is None:
            return None
        return self._wall + timedelta(seconds=self._jumped_at + self._doubt - self._elapsed)

    def now(self) -> datetime:
        """Return the present instant, in UTC; it goes on evenly while the wall is in doubt."""
        return self.look()[0]

    def elapsed(self) -> float:
        """Return seconds on a clock that never jumps; only differences have a meaning."""
        return self._clock.elapsed()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` is not before `instant`, or after that long if it was put back."""
        now, elapsed = self.look()
        left = (instant - now).total_seconds()
        end = elapsed + left
        while True:
            # The other clock returns early where it jumps; then the time that is left is waited.
            nap = timedelta(seconds=left)
            if left > 0 and not nap:  # less than an instant can tell; a nap of none lets none pass
                nap = timedelta.resolution
            await self._clock.sleep_until(self._clock.now() + nap)
            now, elapsed = self.look()
            left = min((instant - now).total_seconds(), end - elapsed)
            if left <= 0:
                return

    def look(self) -> tuple[datetime, float]:
        """Look at both clocks, judge the wall by them, and return `now()` and `elapsed()`."""
        wall, elapsed = self._clock.now(), self._clock.elapsed()
        ahead = (wall - self._wall).total_seconds() - (elapsed - self._elapsed)
        if self._jump is None and _is_small(ahead):
            self._wall, self._elapsed = wall, elapsed
            return wall, elapsed
        return self._doubted(wall, elapsed, ahead), elapsed

    def _doubted(self, wall: datetime, elapsed: float, ahead: float) -> datetime:
        """Return the instant by a wall that has jumped, or had when it was looked at last."""
        if self._jump is None:
            self._begin_doubt(ahead, elapsed)
        elif _is_small(ahead):
            _LOG.warning("the wall clock is back where it was; it is believed again")
            self._believe(wall, elapsed)
            return wall
        elif not _is_small(ahead - self._jump):
            self._begin_doubt(ahead, elapsed)
        elif elapsed - self._jumped_at >= self._doubt:
            _LOG.warning(
                "the wall clock has kept to its jump of %s for %s s, and is believed from now on; "
                "deadlines are judged by it",
                timedelta(seconds=ahead),
                self._doubt,
            )
            self._believe(wall, elapsed)
            return wall
        return self._wall + timedelta(seconds=elapsed - self._elapsed)

    def _begin_doubt(self, ahead: float, elapsed: float) -> None:
        self._jump, self._jumped_at = ahead, elapsed
        _LOG.error(
            "the wall clock has jumped by %s against the monotonic clock, or the machine was "
            "asleep; nothing new is sent and no deadline is judged for %s s, or until the wall is "
            "put right",
            timedelta(seconds=ahead),
            self._doubt,
        )

    def _believe(self, wall: datetime, elapsed: float) -> None:
        self._wall, self._elapsed, self._jump = wall, elapsed, None


def _is_small(seconds: float) -> bool:
    return abs(seconds) <= JUMP_SECONDS
