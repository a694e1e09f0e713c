"""What the recorded store does: the real SQL of its whole life, and what it has acknowledged when.

Made, migrated, owned, filled by group commits of several sizes with checkpoints in between, beaten
by the heart, taken one step of the engine's schema down and up again on its data, given to a second
owner, filled further, and closed in good order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from saga.logbook import TradingState, TradingStateSet
from saga.store import marked, schema
from saga.store.database import _COMMON, _WRITER
from saga.store.migration import lay_foundation, migrate
from saga.store.process import Process
from saga.store.protocol import Append
from tests.power_loss.disk import Operation
from tests.power_loss.recording import (
    Connection,
    RecordedMark,
    Recorder,
    place_draft,
    recording,
)
from tests.store.sample_appends import NOON, whole_life

STORE: Final = "saga.db"
CHECKPOINT_PAGES: Final = 60
"""So few that a workload of some dozen commits checkpoints several times."""

NEWEST: Final = len(schema.MIGRATIONS)
FIRST_OWNER: Final = Process(pid=100, host="here", token="boot/1")
SECOND_OWNER: Final = Process(pid=200, host="here", token="boot/2")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a caller had been told by a certain operation.

    Attributes:
        operations: how many had been done when the caller was told.
        sequence: the last record that was acknowledged.
        epoch: the last epoch that was given out.
        entries: of the logbook.
        versions: the versions that the schema may have: one, or two while a step is under way.
    """

    operations: int = 0
    sequence: int = 0
    epoch: int = 0
    entries: int = 0
    versions: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A workload that was recorded.

    Attributes:
        operations: everything that was done to the files, in order.
        acknowledged: what callers knew, in order.
        boundaries: the sequence numbers at which a transaction ended.
        checkpoints: how often the log was written back.
        digests: of all records, in order.
    """

    operations: Sequence[Operation]
    acknowledged: Sequence[Acknowledged]
    boundaries: frozenset[int]
    digests: Sequence[bytes]


class _Processes:
    def __init__(self, process: Process) -> None:
        self._process = process

    def current(self) -> Process:
        return self._process

    def is_alive(self, process: Process) -> bool:
        return False


STORES_OWN: Final = "FULL"
"""What the store is said to set; a campaign of this name runs on what it really sets."""


class _Life:
    """The store's life, step by step, each step noted once its caller would have been told."""

    def __init__(self, folder: Path, recorder: Recorder, synchronous: str) -> None:
        self._place = folder / STORE
        self._recorder = recorder
        self._synchronous = synchronous
        self._now = NOON
        self._known = Acknowledged()
        self.acknowledged = [self._known]
        self.boundaries = {0}
        self._connection: Any = None
        self._mark = RecordedMark(self._place, recorder)

    def _tell(self, **what: Any) -> None:
        self._known = replace(self._known, operations=len(self._recorder.operations), **what)
        self.acknowledged.append(self._known)

    def make(self) -> None:
        draft = self._place.with_name("draft")
        connection = Connection(draft)
        lay_foundation(cast("Any", connection))
        connection.close()
        place_draft(self._recorder, draft, self._place)

    def open(self) -> None:
        self._connection = Connection(self._place)
        settings = {name: value for name, value, _ in _COMMON + _WRITER}
        if self._synchronous != STORES_OWN:  # else what the store sets is what is judged
            settings["synchronous"] = self._synchronous
        for name, value in settings.items():
            self._connection.execute(f"PRAGMA {name} = {value}").fetchall()
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()

    def close(self) -> None:
        self._mark.close()
        self._connection.close()

    def migrate(self, target: int) -> None:
        (present,) = self._known.versions
        step = 1 if target > present else -1
        for version in range(present + step, target + step, step):
            self._tell(versions=(version - step, version))
            migrate(
                *(self._connection, schema.COMPONENT, schema.MIGRATIONS), now=self._now, to=version
            )
            self._tell(versions=(version,))

    def acquire(self, process: Process) -> None:
        owner = marked.acquire(
            self._connection, self._mark, _Processes(process), self._now, False, 0
        )
        self._tell(epoch=owner.epoch)

    def commit(self, appends: Sequence[Append]) -> None:
        outcomes = marked.commit_appends(
            self._connection, self._mark, self._known.epoch, appends, (), self._now
        ).outcomes
        sequences = [outcome for outcome in outcomes if isinstance(outcome, int)]
        assert len(sequences) == len(appends), outcomes
        self.boundaries.add(sequences[-1])
        self._tell(sequence=sequences[-1])

    def halt(self) -> None:
        entry = TradingStateSet(TradingState.HALTED, by="a test", reason="enough")
        marked.note_entry(self._connection, self._mark, self._known.epoch, entry, self._now)
        self._tell(entries=self._known.entries + 1)

    def beat(self) -> None:
        self._now += timedelta(seconds=10)
        marked.heartbeat(self._connection, self._mark, self._known.epoch, self._now)

    def release(self) -> None:
        marked.release(self._connection, self._mark, self._known.epoch)

    def digests(self) -> list[bytes]:
        rows = self._connection.execute("SELECT digest FROM journal ORDER BY sequence")
        return [digest for (digest,) in rows]


def record(
    folder: Path, *, synchronous: str = "FULL", seed: int = 1, commits: int = 24
) -> Recorded:
    """Record a workload.

    Args:
        folder: an empty one, where the store is made.
        synchronous: the setting of SQLite; the store's own is FULL.
        seed: decides how many appends share each commit.
        commits: how many there are.
    """
    stream = Random(seed)
    with recording() as recorder:
        life = _Life(folder, recorder, synchronous)
        life.make()
        life.open()
        life.migrate(NEWEST)
        life.acquire(FIRST_OWNER)
        groups = _groups(stream, commits)
        half = len(groups) // 2
        for number, group in enumerate(groups[:half]):
            life.commit(group)
            if number % 5 == 4:
                life.beat()
        # On a store with data: what was there before must be there after.
        life.migrate(NEWEST - 1)
        life.migrate(NEWEST)
        life.acquire(SECOND_OWNER)
        life.halt()
        for group in groups[half:]:
            life.commit(group)
        life.beat()
        life.release()
        digests = life.digests()
        life.close()
    return Recorded(recorder.operations, life.acknowledged, frozenset(life.boundaries), digests)


def _groups(stream: Random, count: int) -> list[list[Append]]:
    """Deal the appends of many sagas out to group commits; one saga once in a group."""
    groups: list[list[Append]] = []
    waiting: list[list[Append]] = []
    number = 0
    while len(groups) < count:
        for _ in range(stream.randint(0, 3)):
            number += 1
            waiting.append(list(whole_life(number)))
        group = [life.pop(0) for life in waiting if stream.random() < 0.7]
        waiting = [life for life in waiting if life]
        if group:
            groups.append(group)
    return groups
