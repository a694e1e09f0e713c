"""How a process hits itself at a place that it was told beforehand.

The store is the real one. What stands here hears of its statements through SQLite's own trace, of
its records through a projection, and of its calls by wrapping them; nothing in the program knows
that it will be hit.
"""

import os
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn

from saga.events import Event
from saga.fold import AttemptEvent
from saga.model import Batch
from saga.store.bridge import Connect, ThreadBridge
from saga.store.protocol import Append, Change, JournalRecord, Migration, Projection
from saga.store.sqlite import SqliteStore
from tests.crash.strikes import Blow, Strike

MIGRATIONS_A_GENERATION: Final = 3
ROOM_ON_FULL_DISK_BYTES: Final = 6_000
LONGEST_CHECKPOINT_SECONDS: Final = 0.004
"""The kill comes so late after a checkpoint began, at most."""

_TRACED: Final = {
    "INSERT INTO migrations": "migrating",
    "INSERT OR REPLACE INTO owner": "acquiring",
    "UPDATE owner SET released": "releasing",
}


class Striker:
    """Counts how often the process passes its place, and hits it there.

    Args:
        strikes: what to do where; each once.
        store: the store's file.
        log: a file in which each hit is noted before it is dealt; it outlives the process.
        chance: draws how much later what is late comes.
    """

    def __init__(
        self, strikes: Sequence[Strike], *, store: Path, log: Path, chance: Random
    ) -> None:
        self._left = {strike: strike.nth for strike in strikes}
        self._log = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._chance = chance
        self._log_file = store.with_name(f"{store.name}-wal")
        self.checkpoint_is_due = False

    def reached(self, place: str) -> None:
        """Hear that the process is at a place."""
        for strike in list(self._left):
            if strike.place == place:
                self._left[strike] -= 1
                if not self._left[strike]:
                    del self._left[strike]
                    self._deal(strike)

    def _deal(self, strike: Strike) -> None:
        match strike.blow:
            case Blow.KILL:
                self.note(strike)
                kill_at_once()
            case Blow.FREEZE:
                self.note(strike)
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case Blow.TERM | Blow.TERM_TWICE:
                self.note(strike)
                os.kill(os.getpid(), signal.SIGTERM)
                if strike.blow is Blow.TERM_TWICE:
                    threading.Timer(self._chance.uniform(0, 0.01), _terminate).start()
            case Blow.FILL_DISK:
                self.note(strike)
                self._fill_disk()
            case Blow.CHECKPOINT:
                self.checkpoint_is_due = True

    def note(self, strike: Strike | str) -> None:
        """Write down that a hit is dealt."""
        place = strike if isinstance(strike, str) else strike.place
        os.write(self._log, f"{place}\n".encode())

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Write the log back, and die in the middle of it, or right after it."""
        self.note("checkpoint")
        late = self._chance.uniform(0, LONGEST_CHECKPOINT_SECONDS)
        threading.Thread(target=_kill_in, args=(late,), daemon=True).start()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        threading.Event().wait()

    def _fill_disk(self) -> None:
        """Let no file grow beyond where the store's log stands now, or a little more."""
        longest = self._log_file.stat().st_size if self._log_file.exists() else 0
        room = longest + self._chance.randrange(ROOM_ON_FULL_DISK_BYTES)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))


def kill_at_once() -> NoReturn:
    """End the process as `kill -9` does."""
    signal.pthread_kill(threading.get_ident(), signal.SIGKILL)
    raise AssertionError("nobody survives this")


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _kill_in(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


class Witness:
    """A projection that hears of each record inside the transaction that writes it.

    Args:
        reached: hears where the process is.
        generation: how often tables of its own have been added; each time is a migration.
    """

    name = "witness"

    def __init__(self, reached: Callable[[str], None], generation: int) -> None:
        self._reached = reached
        self._inside: list[str] = []
        self.migrations: Sequence[Migration] = [
            Migration(
                number=number,
                name=f"table {number}",
                up=(f"CREATE TABLE witness_{number} (id INTEGER PRIMARY KEY) STRICT",),
                down=(f"DROP TABLE witness_{number}",),
            )
            for number in range(1, generation * MIGRATIONS_A_GENERATION + 1)
        ]

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        """Note the record; the commit that follows is the place inside it."""
        del connection, batch
        self._inside += names_of(change.event)

    def traced(self, statement: str) -> None:
        """Hear of a statement that is about to run."""
        if statement.startswith("COMMIT"):
            inside, self._inside = self._inside, []
            for name in inside:
                self._reached(f"inside {name}")
            return
        if statement.startswith("BEGIN"):
            self._inside = []
            return
        for beginning, place in _TRACED.items():
            if statement.startswith(beginning):
                self._reached(place)
                if place == "acquiring":
                    self._inside = ["acquire"]


def names_of(event: Event) -> list[str]:
    """Return under which names the places about an event go."""
    if isinstance(event, AttemptEvent):
        return [f"{event.kind}/{event.purpose.value[0].upper()}"]
    return [event.kind]


class TracedBridge(ThreadBridge):
    """A bridge whose connection tells of each statement before it runs."""

    def __init__(self, traced: Callable[[str], None]) -> None:
        super().__init__()
        self._traced = traced

    async def open(self, connect: Connect) -> None:
        """Make the connection, and listen to it."""

        def connect_traced() -> sqlite3.Connection:
            connection = connect()
            connection.set_trace_callback(self._traced)
            return connection

        await super().open(connect_traced)


class StrikingStore(SqliteStore):
    """The real store, which tells where it is."""

    def __init__(
        self, path: Path, striker: Striker, *, generation: int, projections: Sequence[Projection]
    ) -> None:
        witness = Witness(striker.reached, generation)
        # The connection that writes is opened first, and is the one that is listened to.
        bridges = iter((TracedBridge(witness.traced), ThreadBridge()))
        super().__init__(path, projections=[*projections, witness], bridge=lambda: next(bridges))
        self._striker = striker

    async def append(self, append: Append) -> int:
        """Write, as the store does."""
        names = [name for change in append.changes for name in names_of(change.event)]
        for name in names:
            self._striker.reached(f"before {name}")
        sequence = await super().append(append)
        for name in names:
            self._striker.reached(f"behind {name}")
        if self._striker.checkpoint_is_due and self._opened is not None:
            await self._opened.writer.run(self._striker.checkpoint)
        return sequence

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        """Read, as the store does."""
        self._striker.reached("reading journal")
        return await super().journals(batch_ids)
