"""F. Concurrency and cancellation, one test for each scenario."""

import asyncio
import logging
from collections import Counter
from pathlib import Path
from random import Random

import anyio
import pytest

from brokers.paper import Fault, FaultRule
from saga.errors import NotAllowed
from saga.events import CancelRequested
from saga.ids import Purpose
from saga.orchestrator import STALL_SECONDS
from tests.grid.cells import Cell
from tests.grid.judge import violations
from tests.grid.points import Rule
from tests.grid.theatre import Theatre
from tests.scenarios.stage import Stage, batch, buy, events_of, kinds

LAST_TURN = 2_000
"""The enumeration ends well before, where the batch is over before it is cancelled."""


@pytest.mark.scenario("F1", "F9")
def test_f1_a_host_that_is_cancelled_at_any_turn_of_the_loop_leaves_nothing_half_owned(
    theatre: Theatre,
) -> None:
    # The cell is cancelled at its n-th place instead of at the one that its name says.
    cell = Cell.parse("K5-B6-L1-2-ATOMIC")
    places = 0
    for wanted in range(1, LAST_TURN):
        passed = 0

        def strikes(of: Cell, life: int, wanted: int = wanted) -> Rule:
            def at(place: str, what: object) -> bool:
                nonlocal passed
                if life > 1:
                    return False
                passed += 1
                return passed == wanted

            return at

        seen = theatre.play(cell, strikes)
        wrong = [each for each in violations(seen) if "crash point" not in each]
        assert wrong == [], f"cancelled at place {wanted}"
        if not seen.deaths:
            break
        places = wanted
    assert places > 10


@pytest.mark.scenario("F1")
def test_f1_a_host_that_is_cancelled_after_any_number_of_turns_can_be_taken_up_again(
    tmp_path: Path,
) -> None:
    was_over = 0
    for turns in range(1, LAST_TURN):
        folder = tmp_path / str(turns)
        folder.mkdir()
        stage = Stage(folder)

        async def scenario(stage: Stage = stage, turns: int = turns) -> bool:
            await stage.exchange.script(FaultRule(fault=Fault.REFUSES, step=1))
            order = batch(buy("KO"), buy("PG"))

            async def host() -> None:
                async with stage.engine() as engine:
                    await engine.run(order)

            task = asyncio.get_running_loop().create_task(host())
            for _ in range(turns):
                await asyncio.sleep(0)
            over = task.done()
            task.cancel()
            await asyncio.wait([task])
            async with stage.engine() as engine:
                await engine.submit(order)
                assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
            keys = Counter(placed.client_order_id for placed in await stage.orders())
            assert max(keys.values()) == 1
            assert await stage.held() == {}
            return over

        if stage.play(scenario):
            was_over += 1
            break
    assert was_over == 1, "it was never let alone to the end"


@pytest.mark.scenario("F3")
def test_f3_two_clients_that_cancel_the_same_saga_cause_one_effect(stage: Stage) -> None:
    async def scenario() -> None:
        order = batch(buy("KO"), buy("PG", limit_price="1"))
        rows = []
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(5)

            async def cancel(by: str) -> None:
                rows.append(await engine.cancel(order.batch_id, by=by, reason="enough"))

            async with anyio.create_task_group() as clients:
                clients.start_soon(cancel, "alice")
                clients.start_soon(cancel, "bob")
            assert [row.batch_id for row in rows] == [order.batch_id] * 2
            await engine.wait(order.batch_id)
            told = [e for e in await events_of(engine, order) if isinstance(e, CancelRequested)]
        assert [event.by for event in told] == ["alice"]

    stage.play(scenario)


@pytest.mark.scenario("F6")
@pytest.mark.parametrize("seed", range(12))
def test_f6_whatever_runs_first_the_same_comes_out(tmp_path: Path, seed: int) -> None:
    stage = Stage(tmp_path, order=Random(f"ready/{seed}"))

    async def scenario() -> None:
        await stage.exchange.script(
            FaultRule(fault=Fault.REFUSES, symbol="PG", times=None),
            FaultRule(fault=Fault.TIMES_OUT_ACCEPTED, symbol="KO", times=None),
        )
        good = [batch(buy("AAPL", 1), buy("KO", 2)) for _ in range(3)]
        bad = [batch(buy("KO", 1), buy("PG", 1), max_parallel=2) for _ in range(3)]
        async with stage.engine() as engine:
            for order in (*good, *bad):
                await engine.submit(order)
            states = [(await engine.wait(order.batch_id)).state for order in (*good, *bad)]
        assert states == ["COMPLETED"] * 3 + ["ROLLED_BACK"] * 3
        assert await stage.held() == {"AAPL": 3, "KO": 6}

    stage.play(scenario)


@pytest.mark.scenario("F7")
def test_f7_a_reader_that_does_not_read_holds_up_nobody_and_misses_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        orders = [batch(buy("KO", 1)) for _ in range(20)]
        async with stage.engine() as engine:
            slow = engine.events()
            first = await anext(slow) if await engine.submit(orders[0]) else None
            for order in orders[1:]:
                await engine.submit(order)
            for order in orders:  # he reads nothing meanwhile, and nobody waits for him
                assert (await engine.wait(order.batch_id)).state == "COMPLETED"
            last = await engine.store.last_sequence()
            heard = [first.sequence if first is not None else 0]
            async for record in slow:
                heard.append(record.sequence)
                if record.sequence == last:
                    break
            await slow.aclose()
        assert heard == list(range(1, last + 1))

    stage.play(scenario)


@pytest.mark.scenario("F10")
def test_f10_a_loop_that_stood_still_is_reported_and_no_timer_rings_twice(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        order = batch(buy("KO", limit_price="1"), timeout_seconds=60)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(58)
            assert "stood still" not in caplog.text
            stage.loop._now += STALL_SECONDS + 3  # somebody hogs the processor
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
            told = kinds(await events_of(engine, order))
        assert told.count("deadline_passed") == 1
        assert caplog.text.count("the event loop stood still for") == 1

    stage.play(scenario)


@pytest.mark.scenario("F3")
def test_f3_a_cancel_after_the_end_changes_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        order = batch(buy("KO"))
        async with stage.engine() as engine:
            await engine.run(order)
            with pytest.raises(NotAllowed):
                await engine.cancel(order.batch_id, by="bob", reason="too late")
            assert (await engine.batch(order.batch_id)).state == "COMPLETED"

    stage.play(scenario)


class _Broken(logging.Handler):
    """A handler of the host's own, with a bug."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("a broken handler")


@pytest.mark.scenario("F8")
def test_f8_a_log_handler_that_raises_harms_no_saga(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        undo = Purpose.COMPENSATION
        await stage.exchange.script(
            FaultRule(fault=Fault.REFUSES, step=1),
            FaultRule(fault=Fault.REFUSES, step=0, purpose=undo, times=None),
        )
        async with stage.engine() as engine:
            assert (await engine.run(batch(buy("KO"), buy("PG")))).state == "STALE"
            stage.jump(days=1)
            await stage.sleep(200)
            assert (await engine.run(batch(buy("KO")))).state == "COMPLETED"
            assert await engine.store.quarantined() == {}

    log, broken = logging.getLogger("saga"), _Broken()
    log.addHandler(broken)
    try:
        stage.play(scenario)
    finally:
        log.removeHandler(broken)
    assert "a handler of the logger saga.alerts failed: RuntimeError" in capsys.readouterr().err
