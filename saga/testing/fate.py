"""The death of a process, played: at a chosen moment everything that it was doing ends.

A moment is named by what happens (`before the send of step 0, forward 1`), so that the same moment
is met again in another run. A rehearsal with no chosen moment lists them all.

Nothing that was dead goes on: what is under way is cancelled where it stands, and every later
write or call of the dead process waits for the end.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Generic, TypeVar

import anyio

T = TypeVar("T")

MAX_REPEATS: Final = 3
"""A moment that comes again and again (a poll of an open order) is died at so often, at most."""
MAX_WAITS: Final = 12
"""Moments inside one call are counted up to this many of its waits; the later ones are left out."""


class Fate:
    """One process's life: which moments it lived through, and at which it dies.

    Args:
        dies_at: the moment; None lives on.
        tell: hears of each moment, for the story.
    """

    def __init__(self, dies_at: str | None, tell: Callable[[str], None]) -> None:
        self.dies_at = dies_at
        self.moments: list[str] = []
        self.dead = False
        self.scope = anyio.CancelScope()
        self._tell = tell
        self._seen: Counter[str] = Counter()

    def reach(self, what: str) -> bool:
        """Live through a moment, or die of it; tell whether the process is dead."""
        if self.dead:
            return True
        self._seen[what] += 1
        moment = what if self._seen[what] == 1 else f"{what} (time {self._seen[what]})"
        if self._seen[what] <= MAX_REPEATS:
            self.moments.append(moment)
        if moment == self.dies_at:
            self._tell(f"THE PROCESS DIES {moment}")
            self.dead = True
            self.scope.cancel()
        return self.dead

    async def survive(self, what: str) -> None:
        """Return if the process outlives this moment; else never."""
        if self.reach(what):
            await anyio.sleep_forever()


class Stepped(Generic[T], Awaitable[T]):
    """A call that is watched at each place where it waits.

    Args:
        call: the adapter's coroutine.
        at_wait: hears the number of each wait, from 1, as it begins; True ends the call there.
        after_wait: hears it as it ends; an exception is raised in the place of what was waited for.
    """

    def __init__(
        self,
        call: Awaitable[T],
        *,
        at_wait: Callable[[int], bool] = lambda _: False,
        after_wait: Callable[[int], Exception | None] = lambda _: None,
    ) -> None:
        self._call = call
        self._at_wait = at_wait
        self._after_wait = after_wait

    def __await__(self) -> Generator[Any, Any, T]:
        """Forward every wait, in the same task, so that timeouts and scopes inside still work."""
        inner = self._call.__await__()
        try:
            waited_for = next(inner)
            number = 0
            while True:
                number += 1
                ended = self._at_wait(number)
                trouble: BaseException | None = None
                sent: object = None
                try:
                    sent = yield waited_for
                    trouble = self._after_wait(number)
                except BaseException as error:
                    trouble = error
                if ended and trouble is None:
                    trouble = asyncio.CancelledError("its process is dead")
                waited_for = inner.send(sent) if trouble is None else inner.throw(trouble)
        except StopIteration as stop:
            result: T = stop.value
            return result
