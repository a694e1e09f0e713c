"""Each side does the work that it is named for: so many at once, so durable, from the middle on."""

import asyncio
import sqlite3
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from benchmarks.sides import disk, engine, store
from benchmarks.sides.latencies import lateness_of
from saga import Limits, Orchestrator, SqliteStore
from saga.outcome import Report
from saga.participant import Attempt
from saga.store import database
from saga.store.waiting import MAX_APPENDS_PER_COMMIT
from tests.speed.conftest import Clock

PATIENCE_SECONDS: Final = 5.0
"""So long each of those who are to be at once waits for the last, who may never come."""


class Together:
    """Lets nobody go before so many are there at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._there = 0
        self._all_are_there = asyncio.Event()
        self.most = 0

    async def wait(self) -> None:
        """Wait for the others."""
        self._there += 1
        self.most = max(self.most, self._there)
        if self.most == self._count:
            self._all_are_there.set()
        with anyio.move_on_after(PATIENCE_SECONDS):
            await self._all_are_there.wait()
        self._all_are_there.set()  # who waited in vain waits for all
        self._there -= 1


async def test_work_is_done_so_many_times_and_so_many_at_once() -> None:
    together = Together(4)
    times = count()

    async def one() -> None:
        next(times)
        await together.wait()

    await engine.at_once(20, 4, one)
    assert (together.most, next(times)) == (4, 20)


def test_as_many_sagas_are_under_way_as_are_to_be_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    concurrent = 5
    together = Together(concurrent)
    too_few = partial(Limits, max_running=concurrent - 1)  # in the place of what is shipped
    monkeypatch.setattr(engine, "Limits", too_few)

    class Waiting(engine.Instant):
        async def send(self, attempt: Attempt) -> Report:
            await together.wait()
            return await super().send(attempt)

    monkeypatch.setattr(engine, "Instant", Waiting)
    engine.steps(tmp_path, concurrent=concurrent, sagas=concurrent, legs=1)
    assert together.most == concurrent


def test_what_waits_at_the_same_time_shares_its_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = partial(SqliteStore, bridge=engine.CountingCommits)
    monkeypatch.setattr(store, "SqliteStore", counted)
    monkeypatch.setattr(engine.CountingCommits, "commits", 0)
    store.records(tmp_path, waiting=20, legs=2)
    records_of_one = 3 + 2 * 2
    assert records_of_one <= engine.CountingCommits.commits < 2 * records_of_one


def test_of_several_undos_the_middle_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cubes = (number**3 for number in count())
    monkeypatch.setattr("time.perf_counter", lambda: float(next(cubes)))
    assert engine.undo(tmp_path, times=3) == {"seconds": 3**3 - 2**3}


def test_opening_is_a_part_of_taking_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    class SlowToOpen(Orchestrator):
        async def __aenter__(self) -> "SlowToOpen":
            clock.now += 100
            return await super().__aenter__()

    monkeypatch.setattr(engine, "Orchestrator", SlowToOpen)
    monkeypatch.setattr(engine, "UNTIL_STOPPING_SECONDS", 0.05)
    told = engine.resume(tmp_path, sagas=2, legs=2)
    assert told["open"] > 100
    assert told["seconds"] > told["open"]


def test_what_was_left_half_way_is_taken_up_from_the_middle_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = count()

    class Counting(engine.Instant):
        async def send(self, attempt: Attempt) -> Report:
            next(steps)
            return await super().send(attempt)

    monkeypatch.setattr(engine, "Instant", Counting)
    monkeypatch.setattr(engine, "UNTIL_STOPPING_SECONDS", 0.05)
    engine.resume(tmp_path, sagas=2, legs=6)
    assert next(steps) == 2 * 3


def test_making_a_batch_is_no_part_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    batch_of = engine.batch_of

    def slow(legs: int) -> Any:
        clock.now += 100
        return batch_of(legs)

    monkeypatch.setattr(engine, "batch_of", slow)
    assert engine.steps(tmp_path, concurrent=2, sagas=4, legs=2)["seconds_a_step"] < 100 / (4 * 2)


async def test_a_loop_that_stands_still_to_the_end_of_the_work_is_heard(clock: Clock) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        clock.now += 100

    found = await engine._late_while(work)
    assert found["longest"] > 100
    assert found["p99"] > 90  # of all the time it is by far the most, however many looks there are


def test_one_long_stall_among_many_short_ones_weighs_what_it_lasts() -> None:
    late = [0.01] * 250 + [0.3]
    found = lateness_of(late, seconds=sum(late))
    assert found["p99"] == pytest.approx(0.3 - 0.01 * sum(late))
    assert found["longest"] == 0.3
    # Half of the time: 1.4 s of it are in the 251 stalls, each for what it lasts beyond that.
    assert found["median"] == pytest.approx((sum(late) - 0.5 * sum(late)) / 251)


def test_who_is_never_late_for_so_long_is_not_late() -> None:
    assert lateness_of([0.0, 0.001], seconds=10) == {"median": 0, "p99": 0, "longest": 0.001}


def test_an_urgent_batch_does_not_wait_for_all_the_commits_that_others_need(tmp_path: Path) -> None:
    low = 3 * MAX_APPENDS_PER_COMMIT
    assert engine.overtaking(tmp_path, low=low)["commits"] <= 2


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> "type[Heard]":
    """What the connections of a side heard, with a fresh memory."""
    Heard.statements, Heard.settings = [], set()
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Heard))
    return Heard


class Heard(sqlite3.Connection):
    """A connection that notes, for all that there are, what it was told and how it wrote."""

    statements: list[str]
    settings: set[tuple[str, int]]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.set_trace_callback(self.statements.append)

    def close(self) -> None:
        """Note the settings, and close it."""
        self.settings.add(settings_of(self))
        super().close()


def settings_of(connection: sqlite3.Connection) -> tuple[str, int]:
    """Return what decides over how durable a commit is."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    return str(mode), int(synchronous)


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The settings of the engine's own connection."""
    path = tmp_path / "shipped.db"
    database.create_if_missing(path)
    writer = database.connect_writer(path)
    yield settings_of(writer)
    writer.close()


def test_the_disk_alone_is_as_durable_as_the_engine(
    tmp_path: Path, shipped: tuple[str, int], heard: type[Heard]
) -> None:
    disk.rows(tmp_path, count=20, a_commit=10, size=3)
    assert heard.settings == {shipped}
    heard.settings.clear()
    (tmp_path / "single").mkdir()
    disk.single_commits(tmp_path / "single", count=2)
    assert heard.settings == {shipped}


def test_rows_are_written_by_the_disk_alone_in_blocks(tmp_path: Path, heard: type[Heard]) -> None:
    disk.rows(tmp_path, count=20, a_commit=10, size=3)
    block = ["BEGIN IMMEDIATE", *["INSERT INTO rows (data) VALUES ('xxx')"] * 10, "COMMIT"]
    assert heard.statements[-len(block) * 2 - 2 : -2] == block * 2


if find_spec("dbos") is not None:  # an extra, which only the benchmark needs

    def test_as_many_workflows_of_the_peer_are_under_way_as_are_to_be_at_once(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from benchmarks.sides import peer

        together = Together(3)
        monkeypatch.setattr(peer, "at_once", lambda _: together.wait())
        peer.steps(tmp_path, concurrent=3, sagas=3, legs=1)
        assert together.most == 3
