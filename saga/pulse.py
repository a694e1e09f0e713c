"""Tells whoever waits that something has happened since he looked; free while nobody waits."""

import asyncio

import anyio.lowlevel


class Pulse:
    """A count of beats, and a wait for the next one."""

    __slots__ = ("_waiting", "beats")

    def __init__(self) -> None:
        self.beats = 0
        """How many there were; whoever looks at something notes this before he does."""
        self._waiting: list[asyncio.Future[None]] = []
        """One for each who has seen all beats, and waits."""

    def beat(self) -> None:
        """Say that something has happened."""
        self.beats += 1
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def behind(self, beats: int) -> None:
        """Return once there was a beat behind so many."""
        if self.beats != beats:
            await anyio.lowlevel.checkpoint()
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
