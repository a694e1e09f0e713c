"""Who halted: the engine by itself, or a person who may bear any name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from saga.alerts import Alert, AlertKind
from saga.limits import Limits
from saga.logbook import (
    EngineStarted,
    LogEntry,
    LogRecord,
    TradingState,
    TradingStateSet,
    decode_entry,
)
from saga.orchestrator import Orchestrator
from saga.store.halt_file import HaltFile, HaltOrder
from saga.store.sqlite import SqliteStore
from saga.trading import BRAKE, CRASH_WINDOW

ONCE = Limits(max_crashes_per_minute=1)


class NoNotes(SqliteStore):
    """Dies before a trading state is noted."""

    async def note(self, entry: LogEntry) -> LogRecord:
        if isinstance(entry, TradingStateSet):
            raise SystemExit
        return await super().note(entry)


async def crash(path: Path) -> None:
    """Leave a store behind as an engine does that is killed."""
    async with SqliteStore(path) as store:
        await store.acquire()


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[list[Alert]]:
    """Open an engine, and collect which alerts it tells."""
    heard: list[Alert] = []
    async with Orchestrator(SqliteStore(path), [], take_over=True) as engine:
        engine.on_alert(heard.append)
        yield heard


@pytest.mark.requirement("S13")
@pytest.mark.scenario("H10")
async def test_a_halt_by_a_person_who_bears_the_name_of_the_brake_is_no_alert(
    tmp_path: Path,
) -> None:
    path = tmp_path / "saga.db"
    async with Orchestrator(SqliteStore(path), []) as engine:
        await engine.halt(by=BRAKE, reason="a person says so")
        assert not engine.trading_said.automatic
    async with listening(path) as heard:
        await anyio.sleep(0.1)
    assert heard == []


@pytest.mark.requirement("S13")
@pytest.mark.scenario("H4", "H10")
async def test_a_halt_by_the_brake_is_an_alert_although_only_the_halt_file_was_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "saga.db"
    await crash(path)
    with pytest.raises(SystemExit):
        async with Orchestrator(NoNotes(path), [], limits=ONCE, take_over=True):
            pass
    async with listening(path) as heard:
        with anyio.fail_after(20):
            while not heard:  # noqa: ASYNC110
                await anyio.sleep(0.002)
    assert [alert.kind for alert in heard] == [AlertKind.HALT]


@pytest.mark.scenario("H4")
@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("ago", "state"),
    [
        (CRASH_WINDOW - timedelta(seconds=20), TradingState.HALTED),
        (CRASH_WINDOW + timedelta(seconds=20), TradingState.ACTIVE),
        (timedelta(days=30), TradingState.ACTIVE),
    ],
)
async def test_only_crashes_of_the_last_minute_brake(
    tmp_path: Path, ago: timedelta, state: TradingState
) -> None:
    class Aged(SqliteStore):
        """Says of all starts but the present one that they were so long ago."""

        async def log_entries(
            self, kind: str | None, count: int, *, since: datetime | None = None
        ) -> tuple[LogRecord, ...]:
            records = await super().log_entries(kind, count, since=since)
            last = max((each.number for each in records), default=0)
            return tuple(
                LogRecord(each.number, each.at - ago, each.entry, each.digest)
                if kind == EngineStarted.kind and each.number != last
                else each
                for each in records
            )

    path = tmp_path / "saga.db"
    twice = Limits(max_crashes_per_minute=2)
    for _ in range(2):
        await crash(path)
        async with Orchestrator(Aged(path), [], limits=twice, take_over=True) as engine:
            last = engine.trading_state
    assert last is state


@pytest.mark.scenario("H4")
async def test_starts_after_a_clean_end_never_brake(tmp_path: Path) -> None:
    for _ in range(4):
        async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [], limits=ONCE) as engine:
            assert engine.trading_state is TradingState.ACTIVE


def test_what_was_noted_before_the_field_was_there_was_said_by_a_person() -> None:
    entry = decode_entry("trading_state_set", '{"state": "HALTED", "by": "ann", "reason": "stop"}')
    assert entry == TradingStateSet(TradingState.HALTED, "ann", "stop", automatic=False)


@pytest.mark.parametrize("text", ["[]", '"stop"', "{}", "1"])
def test_a_halt_file_of_any_text_says_something(tmp_path: Path, text: str) -> None:
    file = HaltFile(tmp_path / "saga.db")
    file.path.write_text(text)
    assert not file.read().automatic
    file.put(HaltOrder("it", "so", automatic=True))
    assert file.read() == HaltOrder("it", "so", automatic=True)
