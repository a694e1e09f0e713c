"""A wait that no cancellation cuts short: the outcome is first, the cancellation comes after."""

import asyncio
import math
from functools import partial
from typing import TypeVar

import anyio

T = TypeVar("T")


async def outcome_of(future: asyncio.Future[T]) -> T:
    """Wait until the future is done, whatever comes, and return its result.

    Both kinds of cancellation wait: anyio's, by a shield, and asyncio's own (a guest's event loop
    may use `task.cancel()`), by asking for it again once the result is in hand.
    """
    if not future.done():
        try:
            await _done(future)
        except asyncio.CancelledError as error:
            # A scope of anyio asks again by itself, once it is no longer shielded off.
            by_scope = anyio.current_effective_deadline() == -math.inf
            asked = await _done_whatever_comes(future, None if by_scope else error)
            if asked is not None and (task := asyncio.current_task()) is not None:
                task.uncancel()  # One request was held back: the count stays what it was.
                task.cancel(*asked.args)
    return future.result()


async def _done_whatever_comes(
    future: asyncio.Future[T], asked: asyncio.CancelledError | None
) -> asyncio.CancelledError | None:
    """Wait for the future; return asyncio's last request to be cancelled, if there was one."""
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await _done(future)
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
