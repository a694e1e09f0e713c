"""A process of the engine, as far as a simulation has processes: tasks that live and die together.

A killed process's tasks are cancelled so that they end, but nothing that they still do reaches a
file or the venue: both ask whether whoever calls is alive. A frozen one (SIGSTOP) stands still
until it is thawed, and does not know that time has passed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

from saga.store.process import Process
from tests.simulation.loop import VirtualLoop

T = TypeVar("T")

_MANY: Final = 256
"""So many tasks of a process are noted before those that are done are forgotten."""
_LIFE: Final[ContextVar["Life | None"]] = ContextVar("life", default=None)


class ProcessDied(BaseException):
    """Whoever runs into this is no longer alive."""


class NoAnswer(Exception):
    """The process died, or was never there, before it answered."""


class Life:
    """One process.

    Attributes:
        number: which process this is, from 1; its pid.
        alive: it can still do anything to the world.
        phase: start, run or leave.
        proof_at: when the file said last that it owns the store, on the loop's clock.
        epoch: of its ownership; 0 before it owns the store.
    """

    def __init__(self, number: int, loop: VirtualLoop) -> None:
        self.number = number
        self.alive = True
        self.phase = "start"
        self.epoch = 0
        self.proof_at = 0.0
        self.frozen = False
        self.process = Process(pid=number, host="simulated", token=f"life {number}")
        self.ended = asyncio.Event()
        self.main: asyncio.Task[Any] | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.held: list[asyncio.Handle] = []
        self._loop = loop
        self._context = copy_context()
        self._context.run(_LIFE.set, self)

    def require_alive(self) -> None:
        """Raise ProcessDied if it is dead."""
        if not self.alive:
            raise ProcessDied(f"process {self.number} is dead")

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as a task of this process."""
        return self._loop.create_task(coroutine, context=self._context)

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Run a call inside this process for somebody outside, and return its answer.

        Raises:
            NoAnswer: it died first.
        """
        if not self.alive:
            raise NoAnswer
        answer: asyncio.Future[T] = self._loop.create_future()

        async def run() -> None:
            try:
                result = await make()
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error if self.alive else NoAnswer())
            except BaseException:
                if not answer.done():
                    answer.set_exception(NoAnswer())
            else:
                if not answer.done():
                    if self.alive:
                        answer.set_result(result)
                    else:
                        answer.set_exception(NoAnswer())

        self.spawn(run())
        try:
            return await answer
        finally:
            if answer.done() and not answer.cancelled():
                answer.exception()

    def die(self) -> None:
        """Be killed, now: nothing that its tasks still do has an effect."""
        self.alive = False
        self.thaw()
        for task in self.living_tasks():
            task.cancel()

    def living_tasks(self) -> list[asyncio.Task[Any]]:
        """Return its tasks that are not done, in the order of their creation."""
        self.tasks = [task for task in self.tasks if not task.done()]
        return self.tasks

    def freeze(self) -> None:
        """Stand still."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on."""
        if self.frozen:
            self.frozen = False
            handles, self.held = self.held, []
            self._loop.again(handles)


def life_of(handle: asyncio.Handle) -> Life | None:
    """Return the process whose handle this is; None if it belongs to the world outside."""
    context = getattr(handle, "_context", None)
    return None if context is None else context.get(_LIFE)


def register(task: asyncio.Task[Any], context: Context | None) -> None:
    """Note which process a new task belongs to."""
    life = _LIFE.get() if context is None else context.get(_LIFE)
    if life is not None:
        if len(life.tasks) > _MANY:
            life.living_tasks()
        life.tasks.append(task)


def is_guest(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task is somebody's call into a process, and none of the process's own."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("Life.call")


def present_life() -> Life | None:
    """Return the process that runs this; None outside of one."""
    return _LIFE.get()
