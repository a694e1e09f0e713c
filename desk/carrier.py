"""Does any process carry the unfinished batches of a store on, and which? Changes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from desk.foremost import few
from desk.home import Home
from saga.machine import SagaState
from saga.store.ownership import LEASE_SECONDS, read_owner
from saga.store.process import Process, SystemProcesses
from saga.store.protocol import Owner
from saga.store.sqlite_reader import SqliteReader
from saga.views import BatchRow


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

    def sentence_of(self, rows: Iterable[BatchRow]) -> str:
        """What a person is told of it for these unfinished batches: a paused one is no run's."""
        rows = tuple(rows)
        paused = [row.batch_id for row in rows if row.paused]
        undone = all(row.state == SagaState.COMPENSATING for row in rows if row.paused)
        if self.pid is not None or not paused:
            return self.sentence
        which = "ID" if len(paused) > 1 else paused[0]
        parts = [self.sentence] if len(paused) < len(rows) else []
        parts.append(
            f"no saga process has {few(paused)}, which {'are' if len(paused) > 1 else 'is'} "
            f"paused: only `saga unpause {which} --reason ...`"
            + ("" if undone else f" or `saga cancel {which} --reason ...`")
            + " helps"
        )
        return "; ".join(parts)


async def carrier_of(home: Home) -> Carrier:
    """Return who carries on what is unfinished in a store."""
    async with SqliteReader(home.store) as reader:
        owner = await reader.read(read_owner)
    return judged(owner)


def judged(owner: Owner | None) -> Carrier:
    """Return who carries unfinished batches on, by what stands in the store of its owner."""
    if owner is None or owner.released:
        return Carrier(None)
    lives = lives_here(owner)
    if lives is not None:
        return Carrier(owner.pid if lives else None)
    heard = datetime.now(UTC) - owner.heartbeat_at < timedelta(seconds=LEASE_SECONDS)
    return Carrier(owner.pid, owner.host) if heard else Carrier(None)


def lives_here(owner: Owner) -> bool | None:
    """Tell whether an owner's process lives; None if it cannot be seen from here."""
    processes = SystemProcesses()
    process = Process(owner.pid, owner.host, None, owner.namespace)
    return processes.is_alive(process) if process.is_beside(processes.current()) else None
