"""Time that passes at once: an event loop that jumps to its next timer instead of waiting for it.

For adapters whose venue waits only on the loop's own timers. Where sockets or threads are waited
for, the jump would look like a timeout; such adapters are tested in real time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import anyio

from saga.clock import Clock, SystemClock

T = TypeVar("T")

LEAVING_SECONDS: Final = 5.0
"""How long what is left over may take to end after a test."""
EPOCH: Final = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
"""When virtual time begins: a Monday morning."""


class VirtualClock:
    """A clock that tells the time of the running loop."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        return EPOCH + timedelta(seconds=self.elapsed())

    def elapsed(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the loop has come to the instant."""
        await anyio.sleep(max(0.0, (instant - self.now()).total_seconds()))


class _Jump(selectors.BaseSelector):
    """A selector that never blocks: where the loop would wait, its time is put forward."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def register(
        self, fileobj: Any, events: int, data: object = None
    ) -> selectors.SelectorKey:  # pragma: no cover - the loop's own plumbing
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise RuntimeError(
                "everything waits, and no timer will ever end it: in virtual time an adapter may "
                "wait on the event loop's timers only; set virtual_time = False"
            )
        self._jump(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time starts at 0 and jumps."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_Jump(self._put_forward))

    def _put_forward(self, seconds: float) -> None:
        self._virtual += seconds

    def time(self) -> float:
        """Return the seconds since the loop began."""
        return self._virtual


def run(main: Callable[[Clock], Coroutine[Any, Any, T]], *, virtual: bool) -> T:
    """Run a coroutine on a loop of its own, in virtual or in real time, with the clock to use.

    Not `asyncio.Runner`: that waits for ever for a task that does not let itself be cancelled,
    and such a task is one of the things that are looked for.
    """
    clock: Clock = VirtualClock() if virtual else SystemClock()
    loop = VirtualTimeLoop() if virtual else asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main(clock))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LEAVING_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
