"""What a batch does from submit to its end, with a real store and a real exchange."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal

import anyio
import pytest

from brokers.paper import Fault, FaultRule, PaperExchange
from saga.errors import AdmissionRefused, BatchConflict, InvalidInput, NoSuchBatch, NotServed
from saga.events import CompensationStarted, Intended, Submitted, decode
from saga.ids import attempt_key
from saga.limits import Limits
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import FailurePolicy, OnFailure
from saga.store.protocol import JournalRecord
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow, BatchStatus
from tests.engine.trading_desk import Desk, batch, buy, sell


@pytest.mark.requirement("D4", "B4", "B5", "O2", "E3")
async def test_an_atomic_batch_whose_orders_all_fill_is_completed(desk: Desk) -> None:
    order = batch(buy("AAPL"), buy("KO"), buy("MSFT"))
    async with desk.engine() as engine:
        row = await engine.run(order)
        assert (row.state, row.status) == ("COMPLETED", "success")
        assert (row.total_trades, row.processed_trades, row.failed_trades) == (3, 3, 0)
        assert row.completed_at is not None
    assert await desk.held() == {"AAPL": Decimal(10), "KO": Decimal(10), "MSFT": Decimal(10)}


@pytest.mark.requirement("D5", "O2", "O7", "O8", "E3")
async def test_a_refused_leg_undoes_what_was_filled_newest_first(desk: Desk) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="MSFT"))
    order = batch(buy("AAPL"), buy("KO"), buy("MSFT"))
    async with desk.engine() as engine:
        row = await engine.run(order)
        trades = await engine.trades(order.batch_id)
    assert (row.state, row.status) == ("ROLLED_BACK", "failed")
    assert "MSFT" in (row.reason or "")
    assert await desk.held() == {}
    assert [key and key[-4:] for key in await desk.sent_keys()] == [
        *("-0F1", "-1F1", "-2F1"),
        *("-1C1", "-0C1"),
    ]
    assert [trade.rollback for trade in trades] == [True, True, False]


@pytest.mark.requirement("E3", "E5")
async def test_parallel_and_sequential_batches_keep_what_was_filled(desk: Desk) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="KO", times=None))
    async with desk.engine() as engine:
        legs = (buy("AAPL"), buy("KO"), buy("MSFT"))
        parallel = await engine.run(batch(*legs, mode=ExecutionMode.PARALLEL))
        sequential = await engine.run(batch(*legs, mode=ExecutionMode.SEQUENTIAL))
        unsent = (await engine.trades(sequential.batch_id))[2]
    assert parallel.status == sequential.status == "partial_success"
    assert unsent.status == "not_sent"
    assert await desk.held() == {"AAPL": Decimal(20), "MSFT": Decimal(10)}


@pytest.mark.scenario("F4")
@pytest.mark.requirement("S16", "B4")
async def test_the_same_batch_submitted_many_times_is_one_saga(desk: Desk) -> None:
    order = batch(buy("AAPL"))
    younger = batch(*order.directives, batch_id=order.batch_id)
    async with desk.engine() as engine:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(engine.submit, order)
                tasks.start_soon(engine.submit, younger)
        await engine.wait(order.batch_id)
        assert await engine.submit(order) == order.batch_id
        with pytest.raises(BatchConflict, match="other content"):
            await engine.submit(batch(buy("AAPL", 11), batch_id=order.batch_id))
        with pytest.raises(BatchConflict):
            await engine.submit(order, policy=FailurePolicy(undo_budget=Decimal(5)))
    assert len(await desk.sent_keys()) == 1


@pytest.mark.requirement("B11", "S16")
async def test_a_finished_batch_submitted_again_after_a_restart_is_the_same_saga(
    desk: Desk,
) -> None:
    order = batch(buy("AAPL"))
    async with desk.engine() as engine:
        await engine.run(order)
    async with desk.engine() as engine:
        assert await engine.submit(order) == order.batch_id
        assert (await engine.wait(order.batch_id)).status == "success"
    assert len(await desk.sent_keys()) == 1


@pytest.mark.requirement("B6", "T6")
async def test_many_batches_at_once_do_not_harm_each_other(desk: Desk) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="KO", times=None))
    orders = [
        batch(buy("AAPL", 1), buy("KO" if number % 2 else "PG", 1), batch_id=f"BAT_{stamp}")
        for number, stamp in enumerate(f"20200101_000000_{n:05}" for n in range(40))
    ]
    rows: dict[str, BatchRow] = {}

    async def run(order: Batch) -> None:
        rows[order.batch_id] = await engine.run(order)

    async with desk.engine() as engine, anyio.create_task_group() as tasks:
        for order in orders:
            tasks.start_soon(run, order)
    assert [rows[order.batch_id].status for order in orders] == ["success", "failed"] * 20
    assert await desk.held() == {"AAPL": Decimal(20), "PG": Decimal(20)}


@pytest.mark.requirement("T6")
async def test_batches_on_one_key_run_one_after_the_other(desk: Desk) -> None:
    orders = [batch(buy("AAPL", 1), buy("KO", 1), exclusion_key="portfolio:main") for _ in range(5)]
    async with desk.engine() as engine:
        async with anyio.create_task_group() as tasks:
            for order in orders:
                tasks.start_soon(engine.run, order)
        records = [record async for record in _ended(engine.events(), 5)]
    running: set[str] = set()
    for kind, batch_id in records:
        if kind == "started":
            running.add(batch_id)
        elif kind == "completed":
            running.discard(batch_id)
        assert len(running) <= 1


async def _ended(
    events: AsyncIterator[JournalRecord], count: int
) -> AsyncIterator[tuple[str, str]]:
    async for record in events:
        yield record.event.kind, record.batch_id
        count -= record.event.kind == "completed"
        if not count:
            return


@pytest.mark.scenario("F8")
@pytest.mark.requirement("B8")
async def test_a_hook_that_raises_or_hangs_harms_no_saga_and_no_other_hook(desk: Desk) -> None:
    heard: list[tuple[str, str]] = []

    async def failing(row: BatchRow) -> None:
        raise RuntimeError("the user's own bug")

    async def hanging(row: BatchRow) -> None:
        await anyio.sleep_forever()

    def plain(row: BatchRow) -> None:
        heard.append(("plain", row.status))

    async def on_failure(row: BatchRow) -> None:
        heard.append(("failed", row.status))

    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="KO"))
    async with desk.engine(limits=Limits(hook_seconds=0.05)) as engine:
        engine.on_outcome(failing)
        engine.on_outcome(hanging)
        engine.on_outcome(plain)
        engine.on_outcome(on_failure, statuses={BatchStatus.FAILED})
        await engine.run(batch(buy("AAPL")))
        await engine.run(batch(buy("KO")))
    assert sorted(heard) == [("failed", "failed"), ("plain", "failed"), ("plain", "success")]


@pytest.mark.requirement("S14", "S15")
async def test_events_are_gapless_and_can_be_taken_up_again(desk: Desk) -> None:
    async with desk.engine() as engine:
        seen: list[int] = []

        async def watch(after: int, enough: int) -> None:
            async for record in engine.events(after=after):
                seen.append(record.sequence)
                if len(seen) >= enough:
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, 0, 6)
            await engine.run(batch(buy("AAPL")))
            await engine.run(batch(buy("KO")))
        await watch(seen[-1], 10)
    assert seen == list(range(1, 11))


class CountedLooks(SqliteStore):
    """Counts how often the records of one batch alone were looked for."""

    looks = 0

    def records(
        self, *, after: int = 0, batch_id: str | None = None
    ) -> AsyncIterator[JournalRecord]:
        self.looks += batch_id is not None
        return super().records(after=after, batch_id=batch_id)


async def test_who_follows_one_batch_looks_at_nothing_while_others_run(desk: Desk) -> None:
    store = CountedLooks(desk.store_path)
    async with Orchestrator(store, [desk.exchange]) as engine:
        quiet = await engine.run(batch(buy("AAPL")))

        async def follow() -> list[str]:
            return [r.event.kind async for r in engine.events(batch_id=quiet.batch_id)]

        following = asyncio.ensure_future(follow())
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            await engine.run(batch(buy("KO")))
        assert store.looks == 1
    seen = await following  # it ends with the engine
    assert seen[0] == "submitted"
    assert seen[-1] == "completed"


@pytest.mark.requirement("S14")
async def test_who_reads_events_from_outside_is_at_the_end_once_the_engine_is_left(
    desk: Desk,
) -> None:
    async def read(engine: Orchestrator) -> list[str]:
        return [record.event.kind async for record in engine.events()]

    async with desk.engine() as engine:
        reading = asyncio.ensure_future(read(engine))
        await engine.run(batch(buy("AAPL")))
        await anyio.wait_all_tasks_blocked()  # it has seen all, and waits for more
    await anyio.wait_all_tasks_blocked()
    has_ended = reading.done()
    reading.cancel()
    assert has_ended
    assert reading.result()[-1] == "completed"


@pytest.mark.requirement("S2", "D6")
async def test_the_intent_is_in_the_journal_before_the_order_is_at_the_exchange(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[tuple[str, list[str]]] = []
    send = PaperExchange.send

    async def looking_first(exchange: PaperExchange, attempt: Attempt) -> Report:
        with closing(sqlite3.connect(f"file:{desk.store_path}?mode=ro", uri=True)) as file:
            rows = file.execute("SELECT kind, data FROM journal ORDER BY sequence")
            events = [decode(kind, data) for kind, data in rows]
        intents = [event for event in events if isinstance(event, Intended)]
        keys = [attempt_key(order.batch_id, e.step, e.purpose, e.number) for e in intents]
        durable.append((attempt.key, keys))
        return await send(exchange, attempt)

    monkeypatch.setattr(PaperExchange, "send", looking_first)
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="MSFT"))
    order = batch(buy("AAPL"), buy("KO"), buy("MSFT"))
    async with desk.engine() as engine:
        await engine.run(order)
    assert [key[-4:] for key, _ in durable] == ["-0F1", "-1F1", "-2F1", "-1C1", "-0C1"]
    for key, keys in durable:  # what the file held when the order was handed over
        assert keys[-1] == key


@pytest.mark.requirement("E6")
async def test_the_deadline_undoes_an_atomic_batch_with_an_open_order(desk: Desk) -> None:
    async with desk.engine() as engine:
        row = await engine.run(
            batch(buy("AAPL"), buy("KO", limit_price="1"), timeout_seconds=0.1), timeout=20
        )
    assert (row.state, row.status) == ("ROLLED_BACK", "failed")
    assert "deadline" in (row.reason or "")
    assert await desk.held() == {}


@pytest.mark.requirement("E14")
async def test_only_named_directives_are_undone(desk: Desk) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="MSFT"))
    order = batch(
        buy("AAPL"),
        buy("KO"),
        buy("MSFT"),
        mode=ExecutionMode.SEQUENTIAL,
        rollback_on_failure=True,
        rollback_only=("EXE_BUY_KO",),
    )
    async with desk.engine() as engine:
        row = await engine.run(order)
    assert row.state == "ROLLED_BACK"
    assert await desk.held() == {"AAPL": Decimal(10)}


@pytest.mark.requirement("E14")
async def test_complete_forward_sends_refused_legs_again_before_it_undoes(desk: Desk) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="KO", times=2))
    policy = FailurePolicy(on_failure=OnFailure.COMPLETE_FORWARD)
    async with desk.engine() as engine:
        order = batch(
            buy("AAPL"), buy("KO", retry={"attempts": 3, "backoff_seconds": 0}), timeout_seconds=60
        )
        row = await engine.run(order, policy=policy)
    assert row.status == "success"
    assert [key and key[-4:] for key in await desk.sent_keys()][1:] == ["-1F1", "-1F2", "-1F3"]


async def test_an_undo_past_its_budget_stops_and_asks(desk: Desk) -> None:
    await desk.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="MSFT"))
    order = batch(buy("AAPL"), buy("KO"), buy("MSFT"))
    async with desk.engine() as engine:
        row = await engine.run(order, policy=FailurePolicy(undo_budget=Decimal(0)))
        assert row.state == "ROLLED_BACK"  # no price moved and no fee was charged: it cost nothing


async def test_a_batch_nobody_can_carry_out_is_refused_and_nothing_is_stored(desk: Desk) -> None:
    store = desk.store_path
    async with desk.engine() as engine:
        with pytest.raises(InvalidInput, match="symbol"):
            await engine.submit(batch(buy("AAPL"), buy("NOPE")))
        with pytest.raises(InvalidInput, match="keep"):
            await engine.submit(batch(buy("AAPL")), policy=FailurePolicy(on_failure=OnFailure.KEEP))
        with pytest.raises(InvalidInput, match="timeout_seconds"):
            await engine.submit(
                batch(buy("AAPL")), policy=FailurePolicy(on_failure=OnFailure.COMPLETE_FORWARD)
            )
        with pytest.raises(InvalidInput, match="rollback_on_failure"):
            await engine.submit(
                batch(buy("AAPL"), mode=ExecutionMode.PARALLEL),
                policy=FailurePolicy(on_failure=OnFailure.UNDO),
            )
        with pytest.raises(NoSuchBatch):
            await engine.wait("BAT_20200101_000000_nobody")
        assert await engine.store.last_sequence() == 0
    assert store.exists()
    assert await desk.sent_keys() == []


async def test_a_batch_that_was_changed_past_its_checks_is_refused(desk: Desk) -> None:
    whole = batch(buy("AAPL"))
    floated = whole.directives[0].model_copy(update={"quantity": 0.1})
    async with desk.engine() as engine:
        with pytest.raises(InvalidInput, match="float"):
            await engine.submit(whole.model_copy(update={"directives": (floated,)}))
        with pytest.raises(InvalidInput, match="empty"):
            await engine.submit(whole.model_copy(update={"directives": ()}))
        assert await engine.store.last_sequence() == 0


async def test_a_kind_without_a_participant_is_refused_by_name(desk: Desk) -> None:
    async with desk.engine() as engine:
        engine._participants.pop("sell")
        with pytest.raises(NotServed, match="'sell'"):
            await engine.submit(batch(buy("AAPL")))  # its undo is a sell


async def test_bounds_have_names_and_refuse_clearly(desk: Desk) -> None:
    limits = Limits(max_directives=2, max_running=1, max_queued=1)
    slow = batch(buy("KO", limit_price="1"))
    async with desk.engine(limits=limits) as engine:
        with pytest.raises(AdmissionRefused, match="max_directives"):
            await engine.submit(batch(buy("AAPL"), buy("KO"), buy("PG")))
        await engine.submit(slow)
        await desk.until_sent(1)
        await engine.submit(batch(buy("AAPL")))
        with pytest.raises(AdmissionRefused, match="max_queued"):
            await engine.submit(batch(sell("AAPL")))
        assert len(engine.active()) == 2


async def test_batches_that_are_being_taken_in_count_for_the_bound_of_those_that_wait(
    desk: Desk,
) -> None:
    orders = [batch(buy("AAPL")) for _ in range(3)]
    async with desk.engine(limits=Limits(max_queued=2)) as engine:
        answers = await asyncio.gather(
            *(engine.submit(order) for order in orders), return_exceptions=True
        )
    assert answers[:2] == [order.batch_id for order in orders[:2]]
    assert isinstance(answers[2], AdmissionRefused)
    assert "max_queued 2" in str(answers[2])


@pytest.mark.requirement("S1")
async def test_what_was_submitted_is_stored_whole(desk: Desk) -> None:
    order = batch(buy("AAPL", "3"), metadata={"why": ["a", {"b": 1}]}, priority="HIGH")
    async with desk.engine() as engine:
        await engine.run(order, by="alice")
        first = (await engine.store.journal(order.batch_id))[0].event
        kinds = [r.event for r in await engine.store.journal(order.batch_id)]
    assert isinstance(first, Submitted)
    assert first.batch == order
    assert first.by == "alice"
    assert first.program.startswith("trade-saga ")
    assert not any(isinstance(event, CompensationStarted) for event in kinds)
    assert sum(isinstance(event, Intended) for event in kinds) == 1


@pytest.mark.requirement("E3")
async def test_a_batch_with_more_to_record_than_one_commit_takes_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.runner.MAX_EVENTS_PER_COMMIT", 1)
    order = batch(buy("AAPL"), buy("KO"))
    async with desk.engine() as engine:
        row = await engine.run(order, timeout=10)
    assert row.status == "success"
