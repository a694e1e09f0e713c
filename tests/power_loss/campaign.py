"""Fails the power at every operation of a workload, and judges what each fate leaves."""

import asyncio
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from saga.store import schema
from saga.store.migration import lay_foundation, migrate
from tests.power_loss.disk import Disk, Fate, Files
from tests.power_loss.judge import Opened, Opener, Tables, Verdict, judge, tables_of
from tests.power_loss.workload import NEWEST, STORE, Acknowledged, Recorded, record
from tests.store.sample_appends import NOON

MAX_STORIES: Final = 20
"""So many findings are told in full; all are counted."""

_MEMORY: Final = Path("/dev/shm")
"""A file system in memory, where there is one: an image is opened in milliseconds."""


@dataclass(slots=True)
class Tally:
    """What came out for one setting.

    Attributes:
        synchronous: SQLite's setting.
        operations: at each of which the power failed.
        images: that were judged.
        opened: different ones among them; each was opened once.
        lost: images in which something acknowledged is missing.
        noticed: of these, how many the start-up path refused as rolled back.
        alarms: images that were refused although nothing that was told is missing. Without a sync
            a mark may outlive a commit that had ended and that nobody had been told of yet.
        corrupt: images that are neither as before nor as after.
        stories: what was found, for a person.
    """

    synchronous: str
    operations: int = 0
    images: int = 0
    opened: int = 0
    lost: int = 0
    noticed: int = 0
    alarms: int = 0
    corrupt: int = 0
    stories: list[str] = field(default_factory=list)


def fast_folder() -> Path | None:
    """Return where many small files are made fastest; None for the usual place."""
    return _MEMORY if _MEMORY.is_dir() else None


def reference_tables() -> dict[int, Tables]:
    """Return what the schema holds in each of its versions."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        lay_foundation(connection)
        tables = {0: tables_of(connection)[1]}
        for version in range(1, NEWEST + 1):
            migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=version)
            tables[version] = tables_of(connection)[1]
    return tables


def run(
    synchronous: str,
    *,
    seed: int,
    every: int = 1,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Record a workload, fail the power at its operations, and judge what is left.

    Args:
        synchronous: SQLite's setting; the store's own is FULL.
        seed: decides the workload, and what is torn.
        every: 1 fails the power at every operation; n at a seeded one of each n.
        progress: told after each operation.
    """
    base = fast_folder()
    with (
        tempfile.TemporaryDirectory(prefix="power-loss-", dir=base) as first,
        tempfile.TemporaryDirectory(prefix="power-loss-", dir=base) as second,
    ):
        recorded = record(Path(first), synchronous=synchronous, seed=seed)
        return asyncio.run(_judged(synchronous, recorded, Path(second), seed, every, progress))


async def _judged(
    synchronous: str,
    recorded: Recorded,
    folder: Path,
    seed: int,
    every: int,
    progress: Callable[[Tally], None],
) -> Tally:
    tally, reference, opener = Tally(synchronous), reference_tables(), Opener(folder)
    seen: dict[int, Opened] = {}
    for count, fate, image, known in _images(recorded, Random(seed), every):
        if fate is Fate.KEPT:
            tally.operations += 1
            progress(tally)
        tally.images += 1
        key = hash(tuple(sorted(image.items())))
        if key not in seen:
            seen[key] = await opener.open(image)
        verdict = judge(seen[key], known, recorded, reference)
        _count(tally, verdict, f"{synchronous}, after operation {count}, {fate.value}")
    tally.opened = len(seen)
    return tally


def _images(
    recorded: Recorded, stream: Random, every: int
) -> Iterator[tuple[int, Fate, Files, Acknowledged]]:
    disk, known = Disk(), recorded.acknowledged[0]
    told = deque(recorded.acknowledged)
    chosen = stream.randrange(every)
    for count, operation in enumerate(recorded.operations, start=1):
        disk.take(operation)
        while told and told[0].operations <= count:
            known = told.popleft()
        if count % every != chosen:
            continue
        chosen = stream.randrange(every)
        for fate in Fate:
            left = disk.after_power_loss(fate, stream)
            image = {name: left[name] for name in left if name.startswith(STORE)}
            yield count, fate, image, known


def _count(tally: Tally, verdict: Verdict, where: str) -> None:
    tally.lost += bool(verdict.lost)
    tally.noticed += bool(verdict.lost and verdict.noticed)
    tally.corrupt += bool(verdict.corrupt)
    tally.alarms += bool(verdict.alarm)
    finding = verdict.corrupt or verdict.lost or verdict.alarm
    if finding and len(tally.stories) < MAX_STORIES:
        tally.stories.append(f"{where}: {finding}")
