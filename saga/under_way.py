"""The calls that one saga has under way: tasks of their own, none of which outlives its runner.

A call is ended as anyio ends it: by a scope, which asks again and again, and heeds the shields that
a participant, or a library under it, puts around what must not be cut short.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVarTuple

import anyio

from saga.errors import SagaError
from saga.held import outcome_of

Ts = TypeVarTuple("Ts")


class CallCancelled(SagaError):
    """A call was cancelled by somebody who did not begin it; how far it came is not known."""


@dataclass(slots=True)
class _Call:
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    returned: bool = False


class CallsUnderWay:
    """Begins calls, hears how they fail, and ends those that are left.

    Args:
        on_failure: called when a call has failed, which whoever began it has to heed.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._calls: dict[asyncio.Task[None], _Call] = {}
        self._failure: BaseException | None = None
        self._none_left: asyncio.Future[None] | None = None

    def begin(self, call: Callable[[*Ts], Awaitable[None]], *arguments: *Ts) -> None:
        """Begin a call; once one has failed, raise what it failed with instead."""
        self.raise_failure()
        begun = _Call()
        task = asyncio.get_running_loop().create_task(_make(begun, call, *arguments))
        self._calls[task] = begun
        task.add_done_callback(self._ended)

    def raise_failure(self) -> None:
        """Raise what a call failed with, if one did."""
        if self._failure is not None:
            raise self._failure

    async def end(self) -> None:
        """Cancel the calls that are left, and return once all have ended, however long it takes."""
        if self._calls:
            for call in self._calls.values():
                call.scope.cancel()
            self._none_left = asyncio.get_running_loop().create_future()
            await outcome_of(self._none_left)

    def _ended(self, task: asyncio.Task[None]) -> None:
        call = self._calls.pop(task)
        if not call.returned and (error := _failure_of(task)) is not None:
            self._failure = self._failure or error
            self._on_failure()
        if self._none_left is not None and not self._calls:
            self._none_left.set_result(None)


def _failure_of(task: asyncio.Task[None]) -> BaseException | None:
    if task.cancelled():
        return CallCancelled("a call was cancelled, and not by whoever began it")
    return task.exception()


async def _make(begun: _Call, call: Callable[[*Ts], Awaitable[None]], *arguments: *Ts) -> None:
    with begun.scope as scope:
        if not scope.cancel_called:  # before it could begin
            await call(*arguments)
    begun.returned = True
