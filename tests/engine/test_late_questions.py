"""After the end: who is asked about what, what is withdrawn, and how often an alert is told."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from brokers.risk import RiskGate, RiskLimits
from saga.alerts import FIRST_WAIT, LONGEST_WAIT, Alert, Alerts
from saga.gate import Refusal
from saga.ledger import Saga
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.store.sqlite import SqliteStore
from tests.core.test_told_after_the_end import stale
from tests.engine.lying_venue import LyingVenue, batch, buy
from tests.manual_clock import ManualClock

TRIES = 12


@pytest.mark.requirement("S6")
async def test_an_order_once_called_absent_is_withdrawn_although_its_saga_undoes_nothing(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    venue.capabilities = venue.capabilities.model_copy(update={"tombstone": True})
    withdrawn: list[str] = []

    async def lost_then_refused(attempt: Attempt) -> Report:
        if attempt.number == 1:
            raise ConnectionError("gone")
        return Report(True, (), "refused")

    async def nowhere(attempt: Attempt) -> Report | None:
        return None if attempt.number == 1 else Report(True, (), "refused")

    async def is_open(attempt: Attempt) -> Report:
        return Report(attempt.number > 1 or attempt.key in withdrawn)

    async def withdraw(attempt: Attempt) -> None:
        withdrawn.append(attempt.key)

    venue.on_send["AAPL"], venue.on_look_up["AAPL"] = lost_then_refused, nowhere
    order = batch(buy("AAPL"), buy("MSFT"), mode=ExecutionMode.PARALLEL)
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(order, timeout=20)
        assert row.failed_trades == 1
        venue.on_look_up["AAPL"], venue.on_withdraw["AAPL"] = is_open, withdraw
        await engine.look_again(row.batch_id, by="ann")
    assert set(withdrawn) == {key for key in venue.sent if key.endswith("0F1")}


@pytest.mark.requirement("S13")
async def test_nobody_is_asked_about_an_order_that_was_withheld(tmp_path: Path) -> None:
    class Never(RiskGate):
        async def judge(self, attempt: Attempt, batch: Batch, now: datetime) -> Refusal:
            return Refusal("never", "never: nothing passes")

    asked: list[str] = []

    async def answer(attempt: Attempt) -> Report | None:
        asked.append(attempt.key)
        return None

    venue = LyingVenue()
    venue.on_look_up["AAPL"] = answer
    store = SqliteStore(tmp_path / "saga.db")
    async with Orchestrator(store, [venue], gate=Never(RiskLimits())) as engine:
        row = await engine.run(batch(buy("AAPL")), timeout=20)
        assert row.state == "ROLLED_BACK"
        assert await engine.look_again(row.batch_id, by="ann") == ()
    assert asked == venue.sent == []


@pytest.mark.requirement("S6", "L3")
@pytest.mark.scenario("H10")
async def test_the_waits_between_two_tries_to_tell_an_alert_grow_up_to_a_bound(
    tmp_path: Path,
) -> None:
    clock, saga = ManualClock(), stale().saga
    tried: list[datetime] = []
    heard = anyio.Event()

    async def load(batch_id: str) -> Saga:
        assert batch_id == saga.batch_id
        return saga

    async def pager(alert: Alert) -> None:
        tried.append(clock.now())
        if len(tried) < TRIES:
            raise ConnectionError(f"the pager is down: {alert.id}")
        heard.set()

    async with SqliteStore(tmp_path / "saga.db") as store:
        await store.acquire()
        alerts = Alerts(store, load, clock, seconds=5.0)
        alerts.add(pager)
        alerts.look_at(saga)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alerts.run)
            with anyio.fail_after(20):
                await heard.wait()
            tasks.cancel_scope.cancel()
        await store.release()
    waits = [after - before for before, after in pairwise(tried)]
    assert waits == [min(FIRST_WAIT * 2**number, LONGEST_WAIT) for number in range(TRIES - 1)]
    assert waits[-1] == LONGEST_WAIT > timedelta(minutes=1)
