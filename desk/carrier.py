"""Does any process carry the unfinished batches of a store on, and which? Changes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from desk.home import Home
from saga.store.ownership import LEASE_SECONDS, read_owner
from saga.store.process import Process, SystemProcesses
from saga.store.protocol import Owner
from saga.store.sqlite_reader import SqliteReader


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who carries unfinished batches on.

    Attributes:
        pid: the process; None if there is none.
        host: its machine, where that is not this one.
    """

    pid: int | None
    host: str | None = None

    @property
    def sentence(self) -> str:
        """What a person is told of it."""
        if self.pid is None:
            return "no saga process carries it on; `saga run` without a file does"
        where = f" on {self.host}" if self.host else ""
        return f"carried on by process {self.pid}{where}"


async def carrier_of(home: Home) -> Carrier:
    """Return who carries on what is unfinished in a store."""
    async with SqliteReader(home.store) as reader:
        owner = await reader.read(read_owner)
    return _judged(owner)


def _judged(owner: Owner | None) -> Carrier:
    if owner is None or owner.released:
        return Carrier(None)
    processes = SystemProcesses()
    if owner.host == processes.current().host:
        alive = processes.is_alive(Process(owner.pid, owner.host, None))
        return Carrier(owner.pid if alive else None)
    heard = datetime.now(UTC) - owner.heartbeat_at < timedelta(seconds=LEASE_SECONDS)
    return Carrier(owner.pid, owner.host) if heard else Carrier(None)
