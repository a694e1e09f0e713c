"""The calls that one saga has under way: tasks of their own, none of which outlives its runner.

A call is ended as anyio ends it: by a scope, which asks again and again, and heeds the shields that
a participant, or a library under it, puts around what must not be cut short.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import anyio

from saga.held import outcome_of

Ts = TypeVarTuple("Ts")


class CallsUnderWay:
    """Begins calls, hears how they fail, and ends those that are left.

    Args:
        on_failure: called when a call has failed, which whoever began it has to heed.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._scopes: dict[asyncio.Task[None], anyio.CancelScope] = {}
        self._failure: BaseException | None = None
        self._none_left: asyncio.Future[None] | None = None
        self.cancelled = False
        """Somebody else has cancelled a call, and nothing is known of how it ended."""

    def begin(self, call: Callable[[*Ts], Awaitable[None]], *arguments: *Ts) -> None:
        """Begin a call; once one has failed, raise what it failed with instead."""
        self.raise_failure()
        scope = anyio.CancelScope()
        task = asyncio.get_running_loop().create_task(_within(scope, call, *arguments))
        self._scopes[task] = scope
        task.add_done_callback(self._ended)

    def raise_failure(self) -> None:
        """Raise what a call failed with, if one did."""
        if self._failure is not None:
            raise self._failure

    async def end(self) -> None:
        """Cancel the calls that are left, and return once all have ended, however long it takes."""
        if self._scopes:
            for scope in self._scopes.values():
                scope.cancel()
            self._none_left = asyncio.get_running_loop().create_future()
            await outcome_of(self._none_left)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._scopes[task]
        if task.cancelled():
            self.cancelled = True
            self._on_failure()
        elif (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._on_failure()
        if self._none_left is not None and not self._scopes:
            self._none_left.set_result(None)


async def _within(
    scope: anyio.CancelScope, call: Callable[[*Ts], Awaitable[None]], *arguments: *Ts
) -> None:
    with scope:
        if not scope.cancel_called:  # before it could begin
            await call(*arguments)
