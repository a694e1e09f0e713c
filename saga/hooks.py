"""Calls to the user's own code when a saga comes to rest, each kept apart from every saga.

A hook that raises is logged; one that hangs is given up after a bound. Neither harms a saga. A
plain function may block, so it runs on a thread, which does not keep the program from ending.

A hook is called at most once for each time that a saga comes to rest, by the process in which it
did; who must not miss one reads `Orchestrator.events` from the last sequence number that was seen.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from contextvars import copy_context
from threading import BoundedSemaphore, Thread
from typing import Final, TypeVar

import anyio
from anyio.abc import TaskGroup

from saga.calls import answer_of
from saga.complaints import Complaints
from saga.quick_dataclass import dataclass
from saga.views import BatchRow, BatchStatus

_LOG = Complaints("saga.hooks")

MAX_WAITING: Final = 10_000
"""Calls that wait for their turn or are under way; one more is not made, and logged."""

Hook = Callable[[BatchRow], Awaitable[None] | None]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Registered:
    hook: Hook
    statuses: frozenset[BatchStatus]


class _NoThread(Exception):
    """Hooks that were given up still hold every thread."""


class Hooks:
    """The registered hooks, and how they are called.

    Args:
        seconds: how long one call may take.
        at_once: most calls under way at the same time.
    """

    def __init__(self, *, seconds: float, at_once: int) -> None:
        self._seconds = seconds
        self._slots = anyio.Semaphore(at_once)
        self._threads = BoundedSemaphore(at_once)
        self._registered: list[_Registered] = []
        self._under_way = 0
        self._idle = anyio.Event()

    def add(self, hook: Hook, statuses: Container[BatchStatus] | None) -> None:
        """Register a hook for some statuses, or for all."""
        wanted = (each for each in BatchStatus if statuses is None or each in statuses)
        self._registered.append(_Registered(hook, frozenset(wanted)))

    def call(self, row: BatchRow, tasks: TaskGroup) -> None:
        """Start every hook that wants to hear of this batch."""
        status = BatchStatus(row.status)
        for registered in self._registered:
            if status not in registered.statuses:
                continue
            if self._under_way >= MAX_WAITING:
                _LOG.error(
                    "%s outcome hooks wait, so none is called for %s", MAX_WAITING, row.batch_id
                )
                return
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
            result = await answer_of(
                lambda: call_apart(hook, row, self._threads),
                self._seconds,
                lambda: f"an outcome hook for {row.batch_id}",
            )
        if isinstance(result, TimeoutError):
            _LOG.error("an outcome hook for %s was given up: it timed out", row.batch_id)
        elif isinstance(result, Exception):
            _LOG.error("an outcome hook failed for %s", row.batch_id, exc_info=result)


async def call_apart(
    hook: Callable[[T], Awaitable[None] | None], told: T, threads: BoundedSemaphore
) -> None:
    """Call the user's own code: a coroutine function here, any other on a thread of its own.

    Args:
        hook: what is called.
        told: what it is called with.
        threads: how many may be left behind by calls that were given up.
    """
    if inspect.iscoroutinefunction(hook):
        await hook(told)
        return
    result = await _on_a_thread(hook, told, threads)
    if inspect.isawaitable(result):
        await result


async def _on_a_thread(
    hook: Callable[[T], Awaitable[None] | None], told: T, threads: BoundedSemaphore
) -> Awaitable[None] | None:
    """Call the hook on a thread, which can be left behind."""
    if not threads.acquire(blocking=False):
        raise _NoThread("hooks that were given up before still hold every thread")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Awaitable[None] | None] = loop.create_future()
    context = copy_context()

    def tell(result: Awaitable[None] | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            cause = RuntimeError(f"the hook raised {type(error).__name__}")
            cause.__cause__ = error
            answer.set_exception(cause)

    def work() -> None:
        result: Awaitable[None] | None = None
        failure: BaseException | None = None
        try:
            result = context.run(hook, told)
        except BaseException as error:  # it is told to whoever waits
            failure = error
        finally:
            threads.release()
        with suppress(RuntimeError):  # the loop may be closed by now, and nobody waits
            loop.call_soon_threadsafe(tell, result, failure)

    Thread(target=work, name="outcome hook", daemon=True).start()
    return await answer
