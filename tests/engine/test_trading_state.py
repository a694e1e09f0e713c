"""Who may let orders out again, and what comes in between: halts, links, files that cannot go."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from unittest.mock import AsyncMock

import anyio
import pytest

from brokers.risk import RiskGate, RiskLimits
from desk.home import Home
from saga.clock import SystemClock
from saga.errors import NotAllowed, StoreError
from saga.events import Intended
from saga.logbook import LogEntry, LogRecord, TradingState, TradingStateSet
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.store.halt_file import HaltFile, HaltOrder
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on, sell


class Meanwhile(SqliteStore):
    """Something else happens while an entry of the logbook is written."""

    then: Callable[[], Awaitable[object]] | None = None

    async def note(self, entry: LogEntry) -> LogRecord:
        then, self.then = self.then, None
        if then is not None:
            await then()
        return await super().note(entry)


async def last_said(engine: Orchestrator) -> LogEntry:
    (record,) = await engine.store.log_entries(TradingStateSet.kind, 1)
    return record.entry


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13")
async def test_the_same_halt_once_more_during_an_activation_stands(tmp_path: Path) -> None:
    store = Meanwhile(tmp_path / "saga.db")
    async with Orchestrator(store, [LyingVenue()]) as engine:
        await engine.halt(by="ann", reason="stop")
        store.then = lambda: engine.halt(by="ann", reason="stop")
        with pytest.raises(NotAllowed, match="halted meanwhile"):
            await engine.activate(by="bob", reason="go on")
        assert engine.trading_state is TradingState.HALTED
        assert await last_said(engine) == TradingStateSet(TradingState.HALTED, "ann", "stop")


@pytest.mark.requirement("S13")
async def test_who_activates_twice_at_once_is_told_so_and_nobody_is_halted(tmp_path: Path) -> None:
    refused: list[str] = []

    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [LyingVenue()]) as engine:
        await engine.halt(by="ann", reason="stop")

        async def activate() -> None:
            try:
                await engine.activate(by="bob", reason="go")
            except NotAllowed as error:
                refused.append(str(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(activate)
            tasks.start_soon(activate)
        assert engine.trading_state.value == "ACTIVE"
        assert await last_said(engine) == TradingStateSet(TradingState.ACTIVE, "bob", "go")
    assert refused == ["trading is ACTIVE already; nothing was changed"]


@pytest.mark.requirement("S13")
async def test_an_activation_that_cannot_remove_the_halt_file_has_changed_nothing(
    tmp_path: Path,
) -> None:
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [LyingVenue()]) as engine:
        await engine.halt(by="ann", reason="stop")
        file = tmp_path / "saga.db.halt"
        file.unlink()
        file.mkdir()
        with pytest.raises(StoreError, match="cannot be removed"):
            await engine.activate(by="bob", reason="go")
        said = await last_said(engine)
        assert isinstance(said, TradingStateSet)
        assert said.state is TradingState.HALTED
        assert engine.trading_state is TradingState.HALTED


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13", "L4")
async def test_a_halt_of_a_store_that_is_reached_by_a_link_stops_its_engine(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    home.store.symlink_to(tmp_path / "disk" / "saga.db")
    venue = LyingVenue()
    async with Orchestrator(SqliteStore(home.store), [venue]) as engine:
        HaltFile(home.store).put(HaltOrder("ann", "stop"))
        assert engine.trading_state is TradingState.HALTED
        await engine.submit(batch(buy("AAPL")))
        await anyio.sleep(0.05)
    assert venue.sent == []


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13")
async def test_an_order_that_waits_its_turn_is_asked_again_once_trading_is_reducing(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    waiting = anyio.Event()

    class Slow(RiskGate):
        async def judge(self, *_: object) -> None:
            waiting.set()
            await anyio.sleep(0.1)

    gate = Slow(RiskLimits())
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue], gate=gate) as engine:
        batch_id = await engine.submit(batch(sell("AAPL")))
        await waiting.wait()
        await engine.reduce(by="ann", reason="careful")
        row = await engine.wait(batch_id, timeout=20)
    assert (row.state, venue.sent) == ("ROLLED_BACK", [])


class StandingClock(SystemClock):
    """Nobody who waits for an instant is ever woken."""

    async def sleep_until(self, instant: datetime) -> None:
        await anyio.sleep_forever()


@pytest.mark.requirement("S13")
async def test_a_halt_file_is_noticed_whatever_the_wall_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.orchestrator.HALT_WATCH_SECONDS", 0.01)
    store = SqliteStore(tmp_path / "saga.db")
    async with Orchestrator(store, [LyingVenue()], clock=StandingClock()) as engine:
        (tmp_path / "saga.db.halt").write_text("stop")
        with anyio.fail_after(5):
            while not isinstance(said := await _first_said(engine), TradingStateSet):  # noqa: ASYNC110
                await anyio.sleep(0.005)
    assert (said.state, said.reason) == (TradingState.HALTED, "stop")


@pytest.mark.requirement("S13", "L1")
async def test_a_halt_file_that_is_gone_before_it_was_noted_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.orchestrator.HALT_WATCH_SECONDS", 0.05)
    file = tmp_path / "saga.db.halt"
    async with engine_on(tmp_path, LyingVenue()) as engine:
        file.touch()
        order = batch(buy("AAPL"))
        with monkeypatch.context() as before_the_watch_looks:
            before_the_watch_looks.setattr("saga.trading.Trading.adopt", AsyncMock())
            await engine.submit(order)
            await anyio.wait_all_tasks_blocked()
            assert (await engine.batch(order.batch_id)).state == "PENDING"
            file.unlink()
        row = await engine.wait(order.batch_id, timeout=20)
        assert engine.trading_state is TradingState.ACTIVE
    assert row.status == "success"


async def _first_said(engine: Orchestrator) -> LogEntry | None:
    records = await engine.store.log_entries(TradingStateSet.kind, 1)
    return records[0].entry if records else None


@pytest.mark.requirement("S13")
async def test_the_last_look_at_the_halt_file_comes_right_before_the_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = LyingVenue()
    looks: list[str] = []
    write = SqliteStore.append

    async def append(self: SqliteStore, append: Append) -> int:
        sequence = await write(self, append)
        if any(isinstance(change.event, Intended) for change in append.changes):
            monkeypatch.setattr(HaltFile, "is_there", there)  # somebody halts behind the commit
        return sequence

    def there(self: HaltFile) -> bool:
        looks.append(str(self.path))
        return True

    monkeypatch.setattr(SqliteStore, "append", append)
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        row = await engine.run(batch(buy("KO")), timeout=10)
    assert venue.sent == []
    assert looks
    assert row.status == "cancelled"


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13", "B9")
@pytest.mark.parametrize(("eased", "end"), [(True, "COMPLETED"), (False, "ROLLED_BACK")])
async def test_a_halt_lifts_no_pause_and_cancels_the_batch_only_if_it_goes_on_meanwhile(
    tmp_path: Path, *, eased: bool, end: str
) -> None:
    venue, order = LyingVenue(), batch(buy("AAPL"), buy("KO"))
    sent, ended = anyio.Event(), anyio.Event()

    async def waits(attempt: Attempt) -> Report:
        sent.set()
        if ended.is_set():
            return venue.fill(attempt) if eased else Report(True, reason="cancelled")
        return Report(False)

    venue.on_send["KO"] = venue.on_look_up["KO"] = waits
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        with anyio.fail_after(10):
            await sent.wait()
        await engine.pause(order.batch_id, by="ann", reason="asking")
        await engine.halt(by="bob", reason="prices")
        await anyio.wait_all_tasks_blocked()
        held = venue.held()
        if eased:
            await engine.activate(by="bob", reason="prices are right")
        await engine.unpause(order.batch_id, by="ann", reason="asked")
        ended.set()
        row = await engine.wait(order.batch_id, timeout=10)
    assert held == {"AAPL": Decimal(10)}
    assert row.state == end
