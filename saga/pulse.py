"""Tells whoever waits that something has happened since he looked; free while nobody waits."""

import asyncio
from weakref import WeakValueDictionary

import anyio.lowlevel


class Pulse:
    """A count of beats, and a wait for the next one."""

    __slots__ = ("__weakref__", "_waiting", "beats")

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


class Pulses:
    """One pulse for all that happens, and one for each name that somebody waits for."""

    def __init__(self) -> None:
        self._all = Pulse()
        self._named: WeakValueDictionary[str, Pulse] = WeakValueDictionary()

    def of(self, name: str | None) -> Pulse:
        """Return the pulse of a name, which lasts as long as it is held; None is of all."""
        if name is None:
            return self._all
        pulse = self._named.get(name)
        if pulse is None:
            pulse = self._named[name] = Pulse()
        return pulse

    def beat(self, name: str) -> None:
        """Say that something has happened of this name."""
        self._all.beat()
        pulse = self._named.get(name)
        if pulse is not None:
            pulse.beat()

    def beat_all(self) -> None:
        """Say to everybody that something has happened."""
        self._all.beat()
        for pulse in list(self._named.values()):
            pulse.beat()
