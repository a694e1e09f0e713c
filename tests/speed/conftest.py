"""The clock of the sides that run in the test's own process."""

import pytest


class Clock:
    """Goes on by a second at each look, and by more where a test says so.

    Attributes:
        now: what the next look tells, in seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def look(self) -> float:
        """Return the instant, and go on."""
        self.now += 1
        return self.now - 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in the place of `time.perf_counter`."""
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock.look)
    return clock
