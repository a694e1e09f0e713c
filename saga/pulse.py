"""Tells whoever waits that something has happened since he looked; free while nobody waits."""

import anyio
import anyio.lowlevel


class Pulse:
    """A count of beats, and a wait for the next one."""

    def __init__(self) -> None:
        self.beats = 0
        """How many there were; whoever looks at something notes this before he does."""
        self._next: anyio.Event | None = None
        """Where those wait who have seen all beats; None while nobody does."""

    def beat(self) -> None:
        """Say that something has happened."""
        self.beats += 1
        if self._next is not None:
            self._next.set()
            self._next = None

    async def behind(self, beats: int) -> None:
        """Return once there was a beat behind so many."""
        if self.beats != beats:
            await anyio.lowlevel.checkpoint()
            return
        if self._next is None:
            self._next = anyio.Event()
        await self._next.wait()
