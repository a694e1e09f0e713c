"""A wait that no cancellation cuts short: the outcome is first, the cancellation comes after."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio

T = TypeVar("T")


class Bell:
    """Is rung once, for one who waits for it whatever comes."""

    __slots__ = ("_heard", "_rung")

    def __init__(self) -> None:
        self._rung = False
        self._heard: asyncio.Future[None] | None = None

    def is_rung(self) -> bool:
        """Whether it was."""
        return self._rung

    def ring(self) -> None:
        """Let whoever waits go on; harmless where it was rung before."""
        self._rung = True
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    def rung(self) -> Awaitable[None]:
        """Wait until it was rung; a cancellation waits, see `outcome_of`."""
        return _held(self.is_rung, self._hear)

    def _hear(self) -> asyncio.Future[None]:
        self._heard = asyncio.get_running_loop().create_future()
        return self._heard


async def outcome_of(future: asyncio.Future[T]) -> T:
    """Wait until the future is done, whatever comes, and return its result.

    Both kinds of cancellation wait: anyio's, by a shield, and asyncio's own (a guest's event loop
    may use `task.cancel()`), by asking for it again once the result is in hand.
    """
    await _held(future.done, partial(_done, future))
    return future.result()


async def _held(is_over: Callable[[], bool], wait: Callable[[], Awaitable[None]]) -> None:
    if is_over():
        return
    try:
        await wait()
    except asyncio.CancelledError as error:
        # A scope of anyio asks again by itself, once it is no longer shielded off.
        by_scope = anyio.current_effective_deadline() == -math.inf
        asked = await _whatever_comes(is_over, wait, None if by_scope else error)
        if asked is not None and (task := asyncio.current_task()) is not None:
            task.uncancel()  # One request was held back: the count stays what it was.
            task.cancel(*asked.args)


async def _whatever_comes(
    is_over: Callable[[], bool],
    wait: Callable[[], Awaitable[None]],
    asked: asyncio.CancelledError | None,
) -> asyncio.CancelledError | None:
    """Wait until it is over; return asyncio's last request to be cancelled, if there was one."""
    with anyio.CancelScope(shield=True):
        while not is_over():
            try:
                await wait()
            except asyncio.CancelledError as error:
                asked = error
    return asked


async def _done(future: asyncio.Future[T]) -> None:
    """Wait for the future, which a cancellation of this task leaves alone."""
    waiter: asyncio.Future[None] = future.get_loop().create_future()
    future.add_done_callback(partial(_wake, waiter))
    await waiter


def _wake(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)
