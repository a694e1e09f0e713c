"""An event loop on virtual time: it jumps to the next timer, and shuffles what is ready.

Nothing here waits for the outside: no sockets, no threads. A loop that would sleep for ever, or go
round without letting time pass, raises instead (L5). Sets of tasks and of cancel scopes, which
anyio keeps, are walked in the order of creation numbers, not of addresses.
"""

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from itertools import count
from random import Random
from typing import Any, Final, NoReturn, Self

from anyio._backends import _asyncio as backend

MAX_ROUNDS_AT_ONE_INSTANT: Final = 20_000
"""More rounds than this without time passing is a loop that goes on for ever."""
ROUND_SECONDS: Final = 1e-6
"""What one round costs: no machine is so fast that it may go round without time passing."""
STANDSTILL: Final = 0.001
"""A shorter step than this does not count as time that passes."""
MAX_ROUNDS: Final = 3_000_000
"""No seed takes so many rounds; one that does is a storm."""


class SleepsForEver(BaseException):
    """Nothing is ready, and no timer will ever ring."""


class GoesRoundForEver(BaseException):
    """Something is always ready, and no time passes."""


class NumberedTask(asyncio.Task[Any]):
    """A task that is hashed by the order of creation."""

    def __init__(
        self,
        coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
        *,
        loop: "VirtualLoop",
        **more: Any,
    ) -> None:
        self.number = loop.next_number()  # first: the constructor puts it into sets
        super().__init__(coro, loop=loop, **more)
        self._log_destroy_pending = False  # a seed that failed leaves some behind

    def __hash__(self) -> int:
        return self.number


class _NumberedScope(backend.CancelScope):
    """A cancel scope that is hashed by the order of creation."""

    __slots__ = ("number",)

    number: int

    def __new__(cls, **more: Any) -> Self:
        scope = super().__new__(cls, **more)
        loop = asyncio.get_running_loop()
        scope.number = loop.next_number() if isinstance(loop, VirtualLoop) else id(scope)
        return scope

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop.

    It has nothing to select from, and makes handles without a record of who asked for them.

    Args:
        order: the stream that says which of the ready tasks goes first; None leaves their order.
    """

    _ready: list[Any]
    _scheduled: list[Any]  # pairs of an instant and its handle: floats are compared at once
    _stopping: bool

    def __init__(self, order: Random | None) -> None:
        super().__init__()
        self._ready = []
        self._order = order
        self._now = 0.0
        self.next_number: Final = count(1).__next__
        """Returns the next creation number."""
        self._rounds = 0
        self._rounds_now = 0
        self._interrupted: str | None = None
        self.holds_back: Callable[[asyncio.Handle], bool] | None = None
        """Takes a handle whose process is frozen away; None while nobody is."""
        self.born: Callable[[NumberedTask, Context | None], None] | None = None
        """Hears of each new task, and of the context that it was given."""
        self.set_task_factory(_numbered)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """Make a callback ready."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a callback ready so many seconds from now."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a callback ready at an instant."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, (when, timer))
        return timer

    def _write_to_self(self) -> None:
        """Wake nobody: whoever calls as from another thread, as finalizers do, is in this one."""

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0][1]._cancelled:
            heapq.heappop(scheduled)
        if not ready and not self._stopping:
            if not scheduled:
                raise SleepsForEver("nothing is ready, and nothing will ever be")
            if (when := scheduled[0][0]) > self._now:
                if when - self._now > STANDSTILL:
                    self._rounds_now = 0
                self._now = when
        self._now += ROUND_SECONDS
        self._count_round()
        while scheduled and scheduled[0][0] <= self._now:
            _, timer = heapq.heappop(scheduled)
            if not timer._cancelled:
                ready.append(timer)
        batch, self._ready = ready, []
        if self._order is not None and len(batch) > 1:
            self._order.shuffle(batch)
        holds_back = self.holds_back
        for handle in batch:
            if not handle._cancelled and not (holds_back is not None and holds_back(handle)):
                handle._run()

    def interrupt(self, where: str) -> NoReturn:
        """End what runs within one round for ever; to be called from a signal's handler.

        Whoever it is raised into may swallow it, so the next round raises it again.
        """
        self._interrupted = where
        raise GoesRoundForEver(where)

    def _count_round(self) -> None:
        if self._interrupted is not None:
            raise GoesRoundForEver(self._interrupted)
        self._rounds += 1
        self._rounds_now += 1
        if self._rounds_now > MAX_ROUNDS_AT_ONE_INSTANT or self._rounds > MAX_ROUNDS:
            raise GoesRoundForEver(
                f"{self._rounds_now} rounds at {self._now:.6f} s, {self._rounds} in all; ready: "
                f"{', '.join(_named(each) for each in self._ready[:3])}"
            )

    def forgive(self) -> None:
        """Begin to count rounds anew."""
        self._rounds = self._rounds_now = 0
        self._interrupted = None

    def again(self, handles: list[asyncio.Handle]) -> None:
        """Make handles that were held back ready again."""
        self._ready.extend(handles)


def _named(handle: asyncio.Handle) -> str:
    """Return where the task stands that a handle would carry on."""
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    if not isinstance(task, asyncio.Task):
        return repr(handle)
    names = []
    inner: Any = task.get_coro()
    while getattr(inner, "cr_code", None) is not None:
        names.append(inner.cr_code.co_qualname)
        inner = inner.cr_await
    return " > ".join(names)


def _numbered(
    loop: asyncio.AbstractEventLoop,
    coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
    **more: Any,
) -> NumberedTask:
    assert isinstance(loop, VirtualLoop)
    task = NumberedTask(coro, loop=loop, **more)
    if loop.born is not None:
        loop.born(task, more.get("context"))
    return task


@contextmanager
def virtual_loop(order: Random | None) -> Iterator[VirtualLoop]:
    """Give a loop, with anyio's scopes numbered while it is in use, and close it."""
    plain = backend.CancelScope
    setattr(backend, "CancelScope", _NumberedScope)  # noqa: B010 - a class of another package
    loop = VirtualLoop(order)
    events.set_event_loop(None)
    try:
        yield loop
    finally:
        setattr(backend, "CancelScope", plain)  # noqa: B010
        loop.close()
