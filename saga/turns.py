"""Work that grows with a batch, done so that everybody else on the loop has his turn meanwhile."""

import asyncio
from collections.abc import Callable, Generator
from typing import Final, TypeVar, TypeVarTuple

import anyio.lowlevel
import anyio.to_thread
from anyio import CapacityLimiter

from saga.lines import Lines
from saga.model import Priority

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LEGS_PER_TURN: Final = 100
"""What is done for so many legs takes a few milliseconds, for which everybody else can wait."""
LEGS_OF_A_BATCH: Final = 10
"""A batch takes about so many legs' time to take in, beside that of its own legs."""
THREADS: Final = 4
"""So many threads work for the engine at most, beside those of its stores.

They are its own: the pool that the host's blocking calls share may be full of calls that wait for
the engine.
"""
_ours: Final = anyio.lowlevel.RunVar[CapacityLimiter]("saga.turns")


async def on_a_thread(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Return what the work returns, done on one of the engine's own threads."""
    limiter = _ours.get(None)
    if limiter is None:
        limiter = CapacityLimiter(THREADS)
        _ours.set(limiter)
    return await anyio.to_thread.run_sync(work, *arguments, limiter=limiter)


async def aside(legs: int, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Return what the work returns: done at once, or on a thread if there are many legs.

    Args:
        legs: with how many the time that it takes grows.
        work: touches nothing that anybody else may touch meanwhile.
        arguments: for it.
    """
    if legs <= LEGS_PER_TURN:
        return work(*arguments)
    return await on_a_thread(work, *arguments)


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


_Turn = tuple[int, asyncio.Future[None]]
"""How long somebody's work takes, in legs, and where he waits."""


class Turnstile:
    """Lets so much begin in one round of the loop; what comes beyond waits for one behind it."""

    def __init__(self) -> None:
        self._begun = 0
        self._lines: Lines[_Turn] = Lines()
        self._is_turning = False

    async def enter(self, legs: int, priority: Priority) -> None:
        """Return in the round in which work that takes so long may begin."""
        if self._begun >= LEGS_PER_TURN:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._lines.add(priority, (legs, turn))
            await turn
            return
        self._begun += legs
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._begun = 0
        while self._begun < LEGS_PER_TURN:
            waiting = self._lines.next()
            if waiting is None:
                break
            legs, turn = waiting
            if not turn.done():  # it may have been cancelled
                self._begun += legs
                turn.set_result(None)
        self._is_turning = self._begun > 0
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)
