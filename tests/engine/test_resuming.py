"""Leaving an engine and taking its sagas up again, in order and out of order."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from brokers import Buy, Sell
from brokers.paper import Fault, FaultRule
from saga.core import MAX_INTENTS_AT_ONCE
from saga.errors import Quarantined, StoreHeld
from saga.events import Resumed
from saga.model import ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.store.journal import read_journal
from saga.store.ownership import LEASE_SECONDS
from saga.store.protocol import JournalRecord
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, engine_on
from tests.engine.trading_desk import Desk, batch, buy

TEN = Decimal(10)


@pytest.mark.requirement("D6", "D7", "B11", "T15")
async def test_a_batch_that_was_left_running_is_finished_by_the_next_engine(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"), buy("MSFT"))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)
    async with desk.engine() as engine:
        assert (await engine.batch(order.batch_id)).state == "RUNNING"
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        row = await engine.wait(order.batch_id)
        events = [r.event for r in await engine.store.journal(order.batch_id)]
    assert row.status == "cancelled"
    assert sum(isinstance(event, Resumed) for event in events) == 1
    assert await desk.held() == {}


@pytest.mark.requirement("S3", "D6")
@pytest.mark.parametrize("fault", [Fault.TIMES_OUT_ACCEPTED, Fault.TIMES_OUT_NOT_ACCEPTED])
async def test_an_order_whose_answer_was_lost_is_looked_up_and_never_doubled(
    desk: Desk, fault: Fault
) -> None:
    await desk.exchange.script(FaultRule(fault=fault, symbol="KO"))
    async with desk.engine() as engine:
        row = await engine.run(batch(buy("AAPL"), buy("KO")))
    assert row.status == "success"
    assert await desk.held() == {"AAPL": Decimal(10), "KO": Decimal(10)}
    assert len(await desk.sent_keys()) == 2


@pytest.mark.requirement("S3", "S5")
async def test_an_undo_whose_answer_was_lost_is_looked_up_and_never_doubled(desk: Desk) -> None:
    await desk.exchange.script(
        FaultRule(fault=Fault.REFUSES, symbol="KO"),
        FaultRule(fault=Fault.TIMES_OUT_ACCEPTED, symbol="AAPL", attempt=1, side="sell"),
    )
    async with desk.engine() as engine:
        row = await engine.run(batch(buy("AAPL"), buy("KO")))
    assert row.state == "ROLLED_BACK"
    assert len(await desk.sent_keys()) == 3
    assert await desk.held() == {}


@pytest.mark.requirement("L2")
async def test_a_broker_that_is_away_at_start_up_is_asked_again(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)
    await desk.exchange.script(
        FaultRule(fault=Fault.TIMES_OUT_NOT_ACCEPTED, on="find", times=2),
    )
    async with desk.engine() as engine:  # entering does not wait for the broker
        async for record in engine.events(batch_id=order.batch_id):
            if record.event.kind == "no_answer":
                break
        (row,) = engine.active()
        assert "buy 10 KO" in (row.waits_for or "")
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        assert (await engine.wait(order.batch_id)).status == "cancelled"


@pytest.mark.requirement("S12", "D6")
async def test_a_second_engine_on_the_same_store_is_refused_by_name(desk: Desk) -> None:
    async with desk.engine():
        with pytest.raises(StoreHeld):
            async with desk.engine():
                raise AssertionError("two owners")


@pytest.mark.requirement("S3", "S12")
async def test_an_owner_of_which_nothing_was_heard_for_a_lease_may_live_when_its_sagas_are_resumed(
    desk: Desk,
) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)
    with closing(sqlite3.connect(desk.store_path)) as file, file:
        silent = round(2 * LEASE_SECONDS * 1_000_000)
        file.execute(
            "UPDATE owner SET released = 0, locked = 0, host = 'elsewhere',"
            " heartbeat_at = heartbeat_at - ?",
            (silent,),
        )
    async with desk.engine() as engine:
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        await engine.wait(order.batch_id)
        events = [record.event for record in await engine.store.journal(order.batch_id)]
    assert [event.taken_over for event in events if isinstance(event, Resumed)] == [True]


@pytest.mark.requirement("S18", "L2")
async def test_a_journal_that_cannot_be_read_for_a_while_is_read_again_and_not_set_aside(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, failures = batch(buy("AAPL"), buy("KO", limit_price="1")), iter(range(3))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(2)

    def failing(connection: sqlite3.Connection, uid: str) -> tuple[JournalRecord, ...]:
        if next(failures, None) is not None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error
        return read_journal(connection, uid)

    monkeypatch.setattr("saga.supervision.FIRST_RESUME_WAIT", timedelta(milliseconds=1))
    monkeypatch.setattr("saga.store.journal.read_journal", failing)
    async with desk.engine() as engine:
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        assert (await engine.wait(order.batch_id)).status == "cancelled"
        assert await engine.store.quarantined() == {}
    assert next(failures, None) is None, "the disk has failed three times"


@pytest.mark.requirement("S18", "S8", "T6")
async def test_a_saga_whose_journal_was_altered_keeps_its_key_aside_and_the_others_run(
    desk: Desk,
) -> None:
    bad = batch(buy("AAPL"), buy("KO", limit_price="1"), exclusion_key="portfolio:main")
    on_its_key = batch(buy("XOM"), exclusion_key="portfolio:main")
    good = batch(buy("MSFT", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(bad)
        await engine.submit(good)
        await desk.until_sent(3)
    with sqlite3.connect(desk.store_path) as file:
        for (trigger,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
            file.execute(f"DROP TRIGGER {trigger}")
        file.execute(
            "UPDATE journal SET data = replace(data, '10', '11') WHERE kind = 'reported'"
            " AND batch_id = (SELECT id FROM batches WHERE batch_uid = ?)",
            (bad.batch_id,),
        )
    file.close()
    async with desk.engine() as engine:
        with pytest.raises(Quarantined, match=bad.batch_id):
            await engine.wait(bad.batch_id)
        assert list(await engine.store.quarantined()) == [bad.batch_id]
        await engine.submit(on_its_key)
        await engine.cancel(good.batch_id, by="alice", reason="enough")
        assert (await engine.wait(good.batch_id)).status == "cancelled"
        assert (await engine.run(batch(buy("PG")))).status == "success"
        with pytest.raises(TimeoutError):
            await engine.wait(on_its_key.batch_id, timeout=0.05)
        assert (await engine.batch(on_its_key.batch_id)).state == "PENDING"


@pytest.mark.requirement("T6", "B11")
async def test_batches_that_waited_for_one_key_run_after_a_restart(desk: Desk) -> None:
    holder = batch(buy("KO", limit_price="1"), exclusion_key="portfolio:main")
    waiting = [batch(buy("PG"), exclusion_key="portfolio:main") for _ in range(2)]
    async with desk.engine() as engine:
        for order in (holder, *waiting):
            await engine.submit(order)
        await desk.until_sent(1)
    async with desk.engine() as engine:
        await engine.cancel(holder.batch_id, by="alice", reason="enough")
        for order in waiting:
            assert (await engine.wait(order.batch_id, timeout=10)).status == "success"


@pytest.mark.requirement("S18")
async def test_a_directive_kind_that_is_not_registered_stops_that_saga_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = batch(buy("AAPL"), buy("KO", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(stopped)
        await desk.until_sent(2)
    with monkeypatch.context() as patch:
        patch.setattr("saga.directive._REGISTERED", {"sell": Sell})
        async with desk.engine() as engine:
            with pytest.raises(Quarantined, match="'buy'"):
                await engine.wait(stopped.batch_id)
            with pytest.raises(Quarantined):
                await anext(engine.events(batch_id=stopped.batch_id))
            seen = await anext(engine.events())  # the others' records are still told
            assert (seen.sequence, seen.event.kind) == (2, "started")
    assert Buy.model_fields["kind"].default == "buy"
    async with desk.engine() as engine:  # with the kind back, the saga is taken up again
        await engine.cancel(stopped.batch_id, by="alice", reason="enough")
        assert (await engine.wait(stopped.batch_id)).status == "cancelled"
        assert await engine.store.quarantined() == {}


@pytest.mark.requirement("S18")
async def test_a_participant_with_a_bug_stops_its_saga_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Buy, outcome: object) -> Sell:
        raise ZeroDivisionError("a bug in an inverse")

    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="MSFT"))
    order = batch(buy("AAPL"), buy("MSFT"))
    async with desk.engine() as engine:
        await engine.submit(order)
        monkeypatch.setattr(Buy, "inverse", broken)
        with pytest.raises(Quarantined, match="ZeroDivisionError"):
            await engine.wait(order.batch_id)
        monkeypatch.undo()
        assert (await engine.run(batch(buy("KO")))).status == "success"


class SlowStore(SqliteStore):
    """A store whose journals cannot be read until its gate is opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = anyio.Event()

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        await self.gate.wait()
        return await super().journals(batch_ids)


@pytest.mark.requirement("T6", "T15")
async def test_nothing_new_is_let_in_before_all_that_is_unfinished_has_its_key_back(
    desk: Desk,
) -> None:
    running = batch(buy("KO", limit_price="1"), exclusion_key="portfolio:main")
    async with desk.engine() as engine:
        await engine.submit(running)
        await desk.until_sent(1)
    later = batch(buy("PG"), exclusion_key="portfolio:main")
    other = batch(buy("XOM"))
    slow = SlowStore(desk.store_path)
    async with Orchestrator(slow, [desk.exchange]) as engine:
        await engine.submit(later)
        await engine.submit(other)
        with pytest.raises(TimeoutError):
            await engine.wait(other.batch_id, timeout=0.05)
        slow.gate.set()
        assert (await engine.wait(other.batch_id)).status == "success"
        assert (await engine.batch(later.batch_id)).state == "PENDING"
        await engine.cancel(running.batch_id, by="alice", reason="enough")
        assert (await engine.wait(later.batch_id)).status == "success"


class NarrowStore(SqliteStore):
    """A store that reads one journal at once, and notes which."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read_of: list[str] = []
        self.gate = anyio.Event()

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        self.read_of.append(batch_ids[0])
        if len(self.read_of) == 1:
            await self.gate.wait()
        return await super().journals(batch_ids[:1])


@pytest.mark.requirement("D6", "T15")
async def test_who_is_asked_for_is_taken_up_next_and_the_others_in_their_order(desk: Desk) -> None:
    orders = [batch(buy("KO", limit_price="1")) for _ in range(5)]
    ids = [order.batch_id for order in orders]
    async with desk.engine() as engine:
        for order in orders:
            await engine.submit(order)
        await desk.until_sent(5)
    store = NarrowStore(desk.store_path)
    async with Orchestrator(store, [desk.exchange]) as engine:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(engine.cancel, ids[3], by="alice", reason="enough"))
            await anyio.sleep(0.05)
            store.gate.set()
        assert (await engine.wait(ids[3])).status == "cancelled"
        with anyio.fail_after(5):
            while len(store.read_of) < 5:  # noqa: ASYNC110 - the store's own notes are watched
                await anyio.sleep(0.005)
    assert store.read_of == [ids[0], ids[3], ids[1], ids[2], ids[4]]


@pytest.mark.requirement("S18")
async def test_a_journal_in_the_middle_of_a_page_is_set_aside_alone(desk: Desk) -> None:
    orders = [batch(buy("KO", limit_price="1")) for _ in range(3)]
    async with desk.engine() as engine:
        for order in orders:
            await engine.submit(order)
        await desk.until_sent(3)
    with closing(sqlite3.connect(desk.store_path, isolation_level=None)) as connection:
        connection.execute("UPDATE batches SET head_digest = zeroblob(32) WHERE id = 2")
    async with desk.engine() as engine:
        for order in (orders[0], orders[2]):
            await engine.cancel(order.batch_id, by="alice", reason="enough")
            assert (await engine.wait(order.batch_id)).status == "cancelled"
        assert list(await engine.store.quarantined()) == [orders[1].batch_id]


@pytest.mark.requirement("T15")
@pytest.mark.parametrize(
    ("turn", "length"),
    [("saga.supervision.RECORDS_PER_TURN", 2), ("saga.turns.LEGS_PER_TURN", 1)],
)
async def test_what_is_long_is_taken_up_as_it_was_left_however_little_a_turn_folds(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, turn: str, length: int
) -> None:
    monkeypatch.setattr(turn, length)
    order = batch(*(buy(symbol) for symbol in ("AAPL", "MSFT", "PG")), buy("KO", limit_price="1"))
    async with desk.engine() as engine:
        await engine.submit(order)
        await desk.until_sent(4)
    async with desk.engine() as engine:
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        assert (await engine.wait(order.batch_id)).status == "cancelled"
    assert await desk.held() == {}


async def test_leaving_in_the_middle_of_a_call_loses_nothing(desk: Desk) -> None:
    async def leave_early() -> None:
        async with desk.engine() as engine:
            await engine.submit(order)
            await desk.until_sent(1)

    order = batch(*(buy(s) for s in ("AAPL", "KO", "MSFT", "PG", "XOM")))
    await leave_early()
    async with desk.engine() as engine:
        assert (await engine.wait(order.batch_id)).status == "success"
    assert len(await desk.sent_keys()) == 5


async def test_a_host_that_is_cancelled_leaves_a_store_that_can_be_resumed(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO", limit_price="1"))
    with anyio.CancelScope() as host:
        async with desk.engine() as engine:
            await engine.submit(order)
            await desk.until_sent(2)
            host.cancel()
            await anyio.sleep_forever()
    owner_free = Orchestrator(SqliteStore(desk.store_path), [desk.exchange])
    async with owner_free as engine:
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        assert (await engine.wait(order.batch_id)).status == "cancelled"


@pytest.mark.requirement("L5")
async def test_a_host_that_is_cancelled_and_tidies_up_sends_nothing_meanwhile(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    legs = [buy("AAPL", directive_id=f"EXE_{number}") for number in range(10 * MAX_INTENTS_AT_ONCE)]
    with anyio.CancelScope() as host:
        async with engine_on(tmp_path, venue) as engine:
            await engine.submit(batch(*legs, mode=ExecutionMode.PARALLEL))
            while not venue.sent:
                await anyio.lowlevel.checkpoint()
            host.cancel()
            sent = len(venue.sent)
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
                await engine.store.last_sequence()
                await anyio.wait_all_tasks_blocked()
                tidied = len(venue.sent)
    assert tidied <= sent + MAX_INTENTS_AT_ONCE < len(legs)


class SecondLater(SqliteStore):
    """Journals are read one by one, and the second is not before the gate opens."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads = 0
        self.gate = anyio.Event()

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        self.reads += 1
        if self.reads == 2:
            await self.gate.wait()
        return await super().journals(batch_ids[:1])


@pytest.mark.requirement("D6", "D7")
async def test_what_is_taken_up_while_the_engine_is_being_left_sends_nothing(
    tmp_path: Path,
) -> None:
    asked, answer = anyio.Event(), anyio.Event()

    async def hang(attempt: Attempt) -> Report:
        await anyio.sleep_forever()
        raise AssertionError(attempt)

    async def slowly(_: Attempt) -> Report | None:
        asked.set()
        await answer.wait()
        return None

    first, second = batch(buy("AAPL")), batch(buy("KO"), buy("PG"))
    before = LyingVenue()
    before.on_send["AAPL"] = before.on_send["KO"] = hang
    async with engine_on(tmp_path, before) as engine:
        for order in (first, second):
            await engine.submit(order)
        while len(before.sent) < 2:
            await anyio.lowlevel.checkpoint()
    venue, store = LyingVenue(), SecondLater(tmp_path / "saga.db")
    venue.on_look_up["AAPL"] = slowly
    venue.told = {key: Report(True, (Fill(key, TEN, TEN),)) for key in before.sent}
    driven: list[str] = []

    async def take_up_the_second() -> None:
        await anyio.wait_all_tasks_blocked()  # by now the engine waits for the slow answer
        store.gate.set()
        with anyio.fail_after(20):
            while not driven:
                await anyio.lowlevel.checkpoint()
                driven.extend(
                    row.batch_id for row in engine.active() if row.batch_id != first.batch_id
                )
        answer.set()

    async with anyio.create_task_group() as tasks, Orchestrator(store, [venue]) as engine:
        await asked.wait()
        tasks.start_soon(take_up_the_second)
    assert driven == [second.batch_id]
    assert venue.sent == []
    async with engine_on(tmp_path, venue) as engine:
        assert (await engine.wait(second.batch_id, timeout=20)).status == "success"


async def test_what_is_done_in_the_host_reaches_the_host(desk: Desk) -> None:
    with pytest.raises(KeyError, match="the host's own"):
        async with desk.engine():
            raise KeyError("the host's own")
