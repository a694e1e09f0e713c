"""Who runs the exchange's blocking work: a thread, or in a simulation the caller itself."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from anyio import CapacityLimiter, to_thread

_T = TypeVar("_T")


class Runner(Protocol):
    """Runs one function to its end, whatever becomes of the caller, and returns its result."""

    async def __call__(self, work: Callable[[], _T]) -> _T:
        """Run it."""
        ...


class InThread:
    """Runs the work in a worker thread, one at a time; a cancelled caller waits for its end."""

    def __init__(self) -> None:
        self._one_at_a_time = CapacityLimiter(1)

    async def __call__(self, work: Callable[[], _T]) -> _T:
        """Run it; the thread is never abandoned."""
        return await to_thread.run_sync(work, limiter=self._one_at_a_time)


class Inline:
    """Runs the work at once in the caller's own thread."""

    async def __call__(self, work: Callable[[], _T]) -> _T:
        """Run it."""
        return work()
