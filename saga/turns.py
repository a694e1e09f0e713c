"""Work that grows with a batch, done so that everybody else on the loop has his turn meanwhile."""

from collections.abc import Callable, Generator
from typing import Final, TypeVar, TypeVarTuple

import anyio.lowlevel
import anyio.to_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LEGS_PER_TURN: Final = 100
"""What is done for so many legs takes a few milliseconds, for which everybody else can wait."""


async def aside(legs: int, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Return what the work returns: done at once, or on a thread if there are many legs.

    Args:
        legs: with how many the time that it takes grows.
        work: touches nothing that anybody else may touch meanwhile.
        arguments: for it.
    """
    if legs <= LEGS_PER_TURN:
        return work(*arguments)
    return await anyio.to_thread.run_sync(work, *arguments)


async def after(legs: int) -> None:
    """Let others have a turn, if so many legs are a whole number of turns."""
    if legs % LEGS_PER_TURN == 0:
        await anyio.lowlevel.checkpoint()


async def leg_by_leg(work: Generator[None, None, T]) -> T:
    """Return what the work returns, which yields behind each leg; others get turns meanwhile."""
    legs = 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        legs += 1
        await after(legs)
