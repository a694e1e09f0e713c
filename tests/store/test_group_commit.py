"""Appends that wait at the same time share one commit, and a cancelled one is never lost."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import pytest

from saga.errors import BatchConflict, OwnershipLost, StoreError
from saga.events import Started
from saga.limits import Limits
from saga.orchestrator import Orchestrator
from saga.store import sqlite, waiting
from saga.store.bridge import InlineBridge, ThreadBridge
from saga.store.sqlite import SqliteStore
from saga.store.sqlite_history import find_batch, find_trades
from tests.engine.lying_venue import LyingVenue, batch, buy
from tests.store.sample_appends import batch_id, first, following, whole_life

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Watched(ThreadBridge):
    """A thread whose commits are counted, and can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.savepoints = 0
        self.finds = 0
        self.gate = Event()
        self.gate.set()
        self.held_up = Event()

    async def until_held_up(self) -> None:
        """Wait until the thread has begun a function that the gate holds up."""
        await anyio.to_thread.run_sync(self.held_up.wait)

    async def run(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        return await super().run(self._watch, function, *arguments)

    def _watch(
        self,
        connection: sqlite3.Connection,
        function: Callable[[sqlite3.Connection, *Ts], T],
        *arguments: *Ts,
    ) -> T:
        connection.set_trace_callback(self._count)
        if not self.gate.is_set():
            self.held_up.set()
            self.gate.wait()
        return function(connection, *arguments)

    def _count(self, statement: str) -> None:
        if statement == "COMMIT":
            self.commits += 1
        elif statement == "SAVEPOINT append":
            self.savepoints += 1
        elif "FROM json_each" in statement:
            self.finds += 1


class Bridges:
    """Makes bridges; the first one is the writer's."""

    def __init__(self) -> None:
        self.made: list[Watched] = []

    def __call__(self) -> Watched:
        self.made.append(Watched())
        return self.made[-1]

    @property
    def writer(self) -> Watched:
        return self.made[0]


@pytest.fixture
def bridges() -> Iterator[Bridges]:
    bridges = Bridges()
    yield bridges
    for bridge in bridges.made:
        bridge.gate.set()


async def append_all(store: SqliteStore, numbers: range) -> list[int]:
    sequences: list[int] = []

    async def write(number: int) -> None:
        sequences.append(await store.append(first(number)))

    async with anyio.create_task_group() as group:
        for number in numbers:
            group.start_soon(write, number)
    return sorted(sequences)


async def test_those_who_wait_share_one_commit(path: Path, bridges: Bridges) -> None:
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        before = bridges.writer.commits
        assert await append_all(store, range(1, 101)) == list(range(1, 101))
        assert bridges.writer.commits - before == 1


async def test_who_comes_during_a_commit_shares_the_next(path: Path, bridges: Bridges) -> None:
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        before = bridges.writer.commits
        bridges.writer.gate.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(store.append, first(1))
            await bridges.writer.until_held_up()
            for number in range(2, 52):
                group.start_soon(store.append, first(number))
            await anyio.wait_all_tasks_blocked()
            bridges.writer.gate.set()
        assert await store.last_sequence() == 51
        assert bridges.writer.commits - before == 2


async def test_sagas_that_are_woken_together_are_back_for_the_next_commit_and_share_it(
    path: Path, bridges: Bridges
) -> None:
    store = SqliteStore(path, bridge=bridges)
    limits = Limits(heartbeat_seconds=3_600.0)
    async with Orchestrator(store, [LyingVenue()], limits=limits) as engine:
        before = bridges.writer.commits
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(engine.run, batch(buy("AAPL"), buy("KO"), buy("PG")))
        # Each saga: submitted; begun, with the first order; three answers. And who came first.
        assert bridges.writer.commits - before <= 1 + 1 + 3 + 1


@pytest.mark.requirement("S12")
async def test_what_waits_when_the_store_is_closed_is_not_written_by_its_next_owner(
    path: Path,
) -> None:
    store = SqliteStore(path, bridge=InlineBridge)  # it is closed, and open again, in one round
    async with store:
        await store.acquire()
        appends = [asyncio.create_task(store.append(first(number))) for number in range(1, 400)]
        await asyncio.wait(appends, return_when=asyncio.FIRST_COMPLETED)
    async with store:
        await store.acquire()
        written = await store.last_sequence()
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert await store.last_sequence() == written < 399
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == list(
        range(1, written + 1)
    )
    refused = {type(outcome) for outcome in outcomes if not isinstance(outcome, int)}
    assert refused == {StoreError}


async def test_only_a_refusal_costs_a_savepoint_for_each(path: Path, bridges: Bridges) -> None:
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        await append_all(store, range(1, 4))
        assert bridges.writer.savepoints == 0
        outcomes = await asyncio.gather(
            *(store.append(first(number)) for number in (2, 4, 3, 5)), return_exceptions=True
        )
        assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [4, 5]
        assert [type(outcome) for outcome in outcomes[::2]] == [BatchConflict, BatchConflict]
        assert bridges.writer.savepoints == 4


async def test_those_who_share_a_commit_share_its_statements(path: Path, bridges: Bridges) -> None:
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        await append_all(store, range(1, 101))
        begun = bridges.writer.finds
        await asyncio.gather(
            *(store.append(following(number, 2, Started())) for number in range(1, 101))
        )
        assert bridges.writer.finds - begun == 1
        assert await store.last_sequence() == 200


@pytest.mark.requirement("S8")
async def test_appends_of_one_batch_that_share_a_commit_follow_on_one_another(
    path: Path, bridges: Bridges
) -> None:
    life = whole_life()
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        before = bridges.writer.commits
        tasks = [asyncio.ensure_future(store.append(append)) for append in (*life, first(2))]
        assert await asyncio.gather(*tasks) == [1, 3, 5, 7, 8]
        assert bridges.writer.commits - before == 1
        assert [record.number for record in await store.journal(batch_id(1))] == [*range(1, 8)]
        assert await store.read(find_batch, batch_id(1)) == life[-1].batch_row
        trades = {row.position: row for append in life for row in append.trade_rows}
        assert await store.read(find_trades, batch_id(1), -1, -1) == tuple(trades.values())


async def test_a_commit_takes_no_more_than_its_bound(
    path: Path, bridges: Bridges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_APPENDS_PER_COMMIT", 10)
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        before = bridges.writer.commits
        assert await append_all(store, range(1, 26)) == list(range(1, 26))
        assert bridges.writer.commits - before == 3


@pytest.mark.scenario("F2")
@pytest.mark.requirement("S14")
async def test_who_is_cancelled_during_a_commit_learns_of_it_and_blocks_nobody(
    path: Path, bridges: Bridges
) -> None:
    learnt: dict[int, int] = {}

    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()

        async def write(number: int) -> None:
            learnt[number] = await store.append(first(number))
            await asyncio.sleep(0)
            learnt[number] = -1

        bridges.writer.gate.clear()
        leader = asyncio.ensure_future(write(1))
        await bridges.writer.until_held_up()
        followers = [asyncio.ensure_future(write(number)) for number in (2, 3)]
        await anyio.wait_all_tasks_blocked()
        for task in (leader, *followers, leader):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
        bridges.writer.gate.set()
        ends = await asyncio.gather(leader, *followers, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 3
        assert learnt == {1: 1, 2: 2, 3: 3}
        assert await store.append(first(4)) == 4
        assert len(await store.journal(batch_id(1))) == 1


@pytest.mark.requirement("S14")
async def test_a_timeout_around_a_slow_commit_comes_after_its_outcome(
    path: Path, bridges: Bridges
) -> None:
    learnt: list[int] = []
    async with SqliteStore(path, bridge=bridges) as store:
        await store.acquire()
        bridges.writer.gate.clear()
        asyncio.get_running_loop().call_later(0.05, bridges.writer.gate.set)

        async def write_in_a_hurry() -> None:
            async with asyncio.timeout(0.001):
                learnt.append(await store.append(first(1)))
                await asyncio.sleep(0)
                learnt.append(-1)

        with pytest.raises(TimeoutError):
            await write_in_a_hurry()
        assert learnt == [1]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.requirement("S12")
async def test_all_who_share_a_refused_commit_get_an_error_of_their_own(path: Path) -> None:
    errors: list[OwnershipLost] = []
    async with SqliteStore(path) as store:

        async def write(number: int) -> None:
            try:
                await store.append(first(number))
            except OwnershipLost as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for number in (1, 2, 3):
                group.start_soon(write, number)
    assert len({id(error) for error in errors}) == 3
    assert len({str(error) for error in errors}) == 1


async def test_those_who_share_a_commit_are_told_a_few_at_a_time_and_in_their_order(
    path: Path,
) -> None:
    loop = asyncio.get_running_loop()
    rounds = 0
    told_in: dict[int, int] = {}

    def count() -> None:
        nonlocal rounds
        rounds += 1
        if len(told_in) < 50:
            loop.call_soon(count)

    async with SqliteStore(path) as store:
        await store.acquire()

        async def write(number: int) -> None:
            assert await store.append(first(number)) == number
            told_in[number] = rounds

        async with anyio.create_task_group() as group:
            for number in range(1, 51):
                group.start_soon(write, number)
            loop.call_soon(count)
        at_once = Counter(told_in.values())
        assert max(at_once.values()) <= sqlite.TOLD_AT_ONCE
        assert list(told_in) == sorted(told_in)
        assert await store.append(first(51)) == 51
