"""A clock that a test turns."""

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class ManualClock:
    """A clock that a test turns; waiting turns it.

    Args:
        instant: what it shows at first.
    """

    def __init__(self, instant: datetime = NOON) -> None:
        self.instant = self._first = instant

    def now(self) -> datetime:
        return self.instant

    def elapsed(self) -> float:
        return (self.instant - self._first).total_seconds()

    async def sleep_until(self, instant: datetime) -> None:
        self.instant = max(self.instant, instant)

    def turn(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)
