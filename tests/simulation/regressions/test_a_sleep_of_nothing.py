"""Seed 151983: the engine slept for less than an instant can tell, again and again, and hung.

After two naps that a jump of the wall had cut short, what was left to sleep came to a tenth of a
microsecond, by the rounding of floats. As an instant that is now: the sleep returned at once, and
the engine looked again, and again. A real clock ends that within a microsecond; the clock of a
simulation, or a coarse one of a host, never does. Now no sleep is shorter than an instant can tell.
The run of the simulation hung with it, and told nobody: a seed that does not end is told of now.
"""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from saga.steady_clock import SteadyClock

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


class CoarseClock:
    """A wall that ticks by whole microseconds, and only while somebody sleeps.

    Its first sleep is cut short, just before its end by the finer clock beside the wall.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self.sleeps = 0

    def now(self) -> datetime:
        return NOON + self.ticks * TICK

    def elapsed(self) -> float:
        return self.ticks * 1e-6 + (0.9e-6 if self.sleeps else 0.0)

    async def sleep_until(self, instant: datetime) -> None:
        self.sleeps += 1
        if self.sleeps == 1:
            instant -= TICK
        assert self.sleeps < 10, "no sleep lets time pass"
        self.ticks += max(0, (instant - self.now()) // TICK)
        await anyio.lowlevel.checkpoint()


@pytest.mark.requirement("L5")
async def test_the_last_of_a_sleep_lets_time_pass_however_short_it_is() -> None:
    clock = CoarseClock()
    steady = SteadyClock(clock)
    with anyio.fail_after(10):
        await steady.sleep_until(NOON + 5 * TICK)
    assert clock.now() >= NOON + 5 * TICK
