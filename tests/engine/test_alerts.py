"""Alerts: told until they were heard, through failures and restarts, each thing once (H10)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest

from saga import alerts
from saga.alerts import Alert, AlertKind, Alerts, alerts_of
from saga.clock import SystemClock
from saga.errors import StoreBusy
from saga.fold import saga_of
from saga.ledger import Saga
from saga.limits import Limits
from saga.logbook import AlertTold, EngineStarted, LogEntry, LogRecord, TradingStateSet
from saga.machine import SagaState
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import Capabilities
from saga.store.sqlite import SqliteStore
from tests.core.telling import FORWARD, fill
from tests.core.test_told_after_the_end import completed, learn, rolled_back, stale
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on
from tests.engine.test_late_truth import stale_on


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits a second for the next try."""
    monkeypatch.setattr(alerts, "FIRST_WAIT", timedelta(milliseconds=5))
    monkeypatch.setattr(alerts, "LONGEST_WAIT", timedelta(milliseconds=20))


@dataclass
class Pager:
    """A channel that is down for the first calls."""

    down_for: int = 0
    tries: int = 0
    heard: list[Alert] = field(default_factory=list)

    async def __call__(self, alert: Alert) -> None:
        self.tries += 1
        if self.tries <= self.down_for:
            raise ConnectionError("the pager is down")
        self.heard.append(alert)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.002)


async def told_ids(engine: Orchestrator) -> list[str]:
    records = await engine.store.log_entries(AlertTold.kind, 100)
    return [record.entry.alert_id for record in records if isinstance(record.entry, AlertTold)]


async def until_told(engine: Orchestrator, count: int) -> list[str]:
    with anyio.fail_after(20):
        while len(told := await told_ids(engine)) < count:  # noqa: ASYNC110
            await anyio.sleep(0.002)
    return told


@pytest.mark.requirement("S6", "S14")
@pytest.mark.scenario("H10")
async def test_a_stale_batch_is_told_until_the_channel_takes_it(tmp_path: Path) -> None:
    pager = Pager(down_for=3)
    async with stale_on(LyingVenue(), tmp_path / "saga.db") as (engine, row):
        engine.on_alert(pager)
        (told,) = await until_told(engine, 1)
        (alert,) = pager.heard
        assert pager.tries == 4
        assert (alert.id, alert.kind, alert.batch_id) == (told, AlertKind.STALE, row.batch_id)
        assert "0 to 5 AAPL" in alert.sentence
        assert "retry or resolve it" in alert.sentence


@pytest.mark.requirement("S6")
@pytest.mark.scenario("H10")
async def test_what_nobody_heard_is_told_after_a_restart_and_never_again(tmp_path: Path) -> None:
    path, venue = tmp_path / "saga.db", LyingVenue()
    dead = Pager(down_for=10**6)
    async with stale_on(venue, path) as (engine, row):
        engine.on_alert(dead)
        await until(lambda: dead.tries >= 2)
        assert await told_ids(engine) == []
    pager = Pager()
    async with Orchestrator(SqliteStore(path), [venue]) as engine:
        engine.on_alert(pager)
        await until_told(engine, 1)
    later = Pager()
    async with Orchestrator(SqliteStore(path), [venue]) as engine:
        engine.on_alert(later)
        await engine.retry(row.batch_id, by="ann", reason="so that there is something new to tell")
        await until_told(engine, 2)
    assert (len(dead.heard), len(pager.heard), len(later.heard)) == (0, 1, 1)
    assert later.heard[0].id != pager.heard[0].id


async def test_what_was_told_is_not_told_again_although_the_batch_goes_on_before_that_is_read(
    tmp_path: Path,
) -> None:
    path, pager = tmp_path / "saga.db", Pager()
    async with stale_on(LyingVenue(), path) as (engine, row):
        engine.on_alert(pager)
        (told,) = await until_told(engine, 1)
    async with SqliteStore(path) as store:

        async def load(batch_id: str) -> Saga:
            return saga_of(await store.journal(batch_id))

        later = Pager()
        teller = Alerts(store, load, SystemClock(), seconds=1.0)
        teller.add(later)
        teller.look_at(await load(row.batch_id))
        assert list(teller._pending) == [told]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(teller.run)
            await until(lambda: not teller._pending)
            tasks.cancel_scope.cancel()
    assert later.tries == 0


async def test_where_nothing_alerts_it_is_not_read_what_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pager = tmp_path / "saga.db", Pager()
    async with stale_on(LyingVenue(), path) as (engine, row):
        engine.on_alert(pager)
        await until_told(engine, 1)
        await engine.resolve(row.batch_id, by="ann", reason="seen", action="sold", evidence="T-1")
    asked: list[str | None] = []
    read = SqliteStore.log_entries

    async def listened(self: SqliteStore, kind: str | None, *more: Any, **rest: Any) -> Any:
        asked.append(kind)
        return await read(self, kind, *more, **rest)

    monkeypatch.setattr(SqliteStore, "log_entries", listened)
    async with Orchestrator(SqliteStore(path), [LyingVenue()]) as engine:
        engine.on_alert(pager)
        await until(lambda: TradingStateSet.kind in asked[1:])
        await anyio.sleep(0.05)
    assert AlertTold.kind not in asked
    assert len(pager.heard) == 1


async def test_a_plain_function_is_called_too_and_one_that_fails_does_not_call_the_other_again(
    tmp_path: Path,
) -> None:
    heard: list[Alert] = []
    pager = Pager(down_for=2)
    async with stale_on(LyingVenue(), tmp_path / "saga.db") as (engine, _):
        engine.on_alert(heard.append)
        engine.on_alert(pager)
        await until_told(engine, 1)
    assert (len(heard), len(pager.heard)) == (1, 1)


async def test_a_batch_that_becomes_stale_again_is_told_again(tmp_path: Path) -> None:
    pager = Pager()
    async with stale_on(LyingVenue(), tmp_path / "saga.db") as (engine, row):
        engine.on_alert(pager)
        await until_told(engine, 1)
        await engine.retry(row.batch_id, by="ann", reason="again")
        assert (await engine.wait(row.batch_id, timeout=20)).state == SagaState.STALE
        assert len(set(await until_told(engine, 2))) == 2


@pytest.mark.scenario("H10")
async def test_what_was_resolved_before_anybody_heard_of_it_is_told_no_more(tmp_path: Path) -> None:
    pager = Pager(down_for=10**6)
    async with stale_on(LyingVenue(), tmp_path / "saga.db") as (engine, row):
        engine.on_alert(pager)
        await until(lambda: pager.tries >= 2)
        await engine.resolve(row.batch_id, by="ann", reason="seen", action="sold", evidence="T-1")
        later = Pager()
        engine.on_alert(later)
        pager.down_for = 0
        await until(lambda: not engine._alerts._pending)
        assert (await told_ids(engine), pager.heard, later.heard) == ([], [], [])


async def test_an_automatic_halt_is_told(tmp_path: Path) -> None:
    path, pager = tmp_path / "saga.db", Pager()
    limits = Limits(max_crashes_per_minute=1)
    async with SqliteStore(path) as store:
        await store.acquire()  # and no release: what a crash leaves behind
    async with Orchestrator(SqliteStore(path), [], limits=limits, take_over=True) as engine:
        engine.on_alert(pager)
        await until_told(engine, 1)
        assert (await engine.store.log_entries(EngineStarted.kind, 1))[0].number >= 1
    (alert,) = pager.heard
    assert (alert.kind, alert.batch_id) == (AlertKind.HALT, None)
    assert "crash-loop brake" in alert.sentence


async def stale_batches(engine: Orchestrator, venue: LyingVenue, count: int) -> set[str]:
    """Let so many batches become STALE, and return their ids."""

    async def lost(attempt: Attempt) -> Report:
        raise ConnectionError("lost")

    venue.on_send["AAPL"] = lost
    rows = [await engine.run(batch(buy("AAPL")), timeout=20) for _ in range(count)]
    assert {row.state for row in rows} == {SagaState.STALE}
    return {row.batch_id for row in rows}


@pytest.mark.requirement("S6")
@pytest.mark.scenario("H10")
async def test_a_hook_that_hangs_delays_no_other(tmp_path: Path) -> None:
    venue, pager, calls = LyingVenue(Capabilities(look_up=False)), Pager(), 0

    async def hangs(alert: Alert) -> None:
        nonlocal calls
        calls += 1
        await anyio.sleep_forever()

    async with engine_on(tmp_path, venue) as engine:
        assert engine._limits.hook_seconds > 20, "or nothing is shown here"
        engine.on_alert(hangs)
        engine.on_alert(pager)
        stale = await stale_batches(engine, venue, 5)
        await until(lambda: len(pager.heard) == 5)
        assert {alert.batch_id for alert in pager.heard} == stale
        assert calls == 1, "it is called with one alert after the other"
        assert await told_ids(engine) == [], "not every hook has taken it"


@pytest.mark.scenario("H10")
async def test_a_plain_function_that_hangs_takes_no_thread_from_another(tmp_path: Path) -> None:
    venue, over, heard = LyingVenue(Capabilities(look_up=False)), Event(), list[Alert]()
    limits = Limits(hook_seconds=0.02)
    async with engine_on(tmp_path, venue, limits=limits) as engine:

        def hangs(_: Alert) -> None:
            over.wait()

        engine.on_alert(hangs)
        engine.on_alert(heard.append)
        await stale_batches(engine, venue, alerts.MAX_THREADS)
        (line, _) = engine._alerts._lines
        await until(lambda: all(each.tries for each in engine._alerts._pending.values()))
        assert not line.threads.acquire(blocking=False), "it holds all of its own"
        await stale_batches(engine, venue, 1)
        await until(lambda: len(heard) == alerts.MAX_THREADS + 1)
        over.set()


async def test_a_note_that_fails_is_made_again_and_nobody_is_called_again_for_it(
    tmp_path: Path,
) -> None:
    pagers, failures = [Pager(), Pager()], 2
    async with stale_on(LyingVenue(), tmp_path / "saga.db") as (engine, _):
        note = engine.store.note

        async def busy_at_first(entry: LogEntry) -> LogRecord:
            nonlocal failures
            if isinstance(entry, AlertTold) and failures:
                failures -= 1
                raise StoreBusy("locked")
            return await note(entry)

        engine.store.note = busy_at_first  # type: ignore[method-assign]
        for pager in pagers:
            engine.on_alert(pager)
        await until_told(engine, 1)
        await until(lambda: not engine._alerts._pending)
    assert (failures, [pager.tries for pager in pagers]) == (0, [1, 1])


def test_what_a_person_has_to_know_follows_from_the_journal() -> None:
    assert list(alerts_of(completed().saga)) == []
    telling = rolled_back()
    learn(telling, (0, FORWARD, 1), Report(True, reversed=("a",)))
    (alert,) = alerts_of(telling.saga)
    assert alert.id == f"incident:{telling.saga.batch_id}:{telling.saga.number}"
    assert "fill a taken back" in alert.sentence
    telling = stale()
    learn(telling, (0, FORWARD, 1), Report(False))
    learn(telling, (0, FORWARD, 1), Report(True, (fill("x", 5),)))
    kinds = [each.kind for each in alerts_of(telling.saga)]
    assert kinds == [AlertKind.STALE, AlertKind.INCIDENT, AlertKind.INCIDENT]
    assert "still open" in list(alerts_of(telling.saga))[1].sentence
