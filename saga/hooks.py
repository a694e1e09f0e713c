"""Calls to the user's own code when a saga comes to rest, each kept apart from every saga.

A hook that raises is logged; one that hangs is given up after a bound. Neither harms a saga. A hook
is called at most once for each time that a saga comes to rest, by the process in which it did; who
must not miss one reads `Orchestrator.events` from the last sequence number that was seen.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from saga.views import BatchRow, BatchStatus

_LOG = logging.getLogger("saga.hooks")

Hook = Callable[[BatchRow], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class _Registered:
    hook: Hook
    statuses: Container[BatchStatus] | None


class Hooks:
    """The registered hooks, and how they are called.

    Args:
        seconds: how long one call may take.
        at_once: most calls under way at the same time.
    """

    def __init__(self, *, seconds: float, at_once: int) -> None:
        self._seconds = seconds
        self._slots = anyio.Semaphore(at_once)
        self._registered: list[_Registered] = []
        self._under_way = 0
        self._idle = anyio.Event()

    def add(self, hook: Hook, statuses: Container[BatchStatus] | None) -> None:
        """Register a hook for some statuses, or for all."""
        self._registered.append(_Registered(hook, statuses))

    def call(self, row: BatchRow, tasks: TaskGroup) -> None:
        """Start every hook that wants to hear of this batch."""
        status = BatchStatus(row.status)
        for registered in self._registered:
            if registered.statuses is None or status in registered.statuses:
                self._under_way += 1
                tasks.start_soon(self._call, registered.hook, row)

    async def drain(self) -> None:
        """Return once no call is under way."""
        while self._under_way:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _call(self, hook: Hook, row: BatchRow) -> None:
        try:
            await self._call_bounded(hook, row)
        finally:
            self._under_way -= 1
            self._idle.set()

    async def _call_bounded(self, hook: Hook, row: BatchRow) -> None:
        async with self._slots:
            with anyio.move_on_after(self._seconds) as scope:
                try:
                    if inspect.iscoroutinefunction(hook):
                        await hook(row)
                    else:  # it may block, so it gets a thread that can be left behind
                        result = await anyio.to_thread.run_sync(hook, row, abandon_on_cancel=True)
                        if inspect.isawaitable(result):
                            await result
                except Exception:
                    _LOG.exception("an outcome hook failed for %s", row.batch_id)
            if scope.cancelled_caught:
                _LOG.error(
                    "an outcome hook for %s took over %s s and was given up",
                    row.batch_id,
                    self._seconds,
                )
