"""A broker's list of trades holds what it likes: the watcher finds the late ones all the same."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from brokers import watcher
from brokers.broker import Broker
from brokers.orders import Side
from brokers.venue import BrokerCapabilities, Trade
from brokers.watcher import TradeWatcher
from saga.aftermath import KnownFills
from saga.clock import SystemClock
from saga.errors import Quarantined, StoreBusy, StorePoisoned
from saga.events import LateTruth
from saga.ids import Purpose, attempt_key, batch_of_key
from saga.orchestrator import Orchestrator
from saga.outcome import Fill, Report
from saga.participant import Attempt
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TEN = Decimal(10)


class Listing:
    """A broker that has a list of trades, and nothing else."""

    name = "a listing"
    capabilities = BrokerCapabilities().for_engine()

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.asked: list[int] = []

    async def trades(self, after: int = 0) -> list[Any]:
        self.asked.append(after)
        return [row for row in self.rows if not _is_behind(row, after)]


def _is_behind(row: Any, after: int) -> bool:
    sequence = getattr(row, "sequence", None)
    return isinstance(sequence, int) and sequence <= after


class Hurried(SystemClock):
    """A period is over at once."""

    async def sleep_until(self, instant: object) -> None:
        del instant
        await anyio.sleep(0.001)


def trade(sequence: Any, fill_id: Any, key: Any, symbol: str = "AAPL") -> Trade:
    return Trade(sequence, fill_id, key, symbol, Side.BUY, TEN, TEN, Decimal(0), NOW)


async def refused(attempt: Attempt) -> Report:
    return Report(True, reason="no")


@asynccontextmanager
async def with_late_fills(
    folder: Path, *fill_ids: str
) -> AsyncIterator[tuple[Orchestrator, Listing, list[Trade]]]:
    """An engine whose batches were refused and rolled back, and the trades that came all the same.

    Nothing is in the listing yet.
    """
    venue, late = LyingVenue(), []
    venue.on_send["AAPL"] = refused
    async with engine_on(folder, venue) as engine:
        for number, fill_id in enumerate(fill_ids, start=1):
            row = await engine.run(batch(buy("AAPL")), timeout=20)
            key = attempt_key(row.batch_id, 0, Purpose.FORWARD, 1)
            venue.told[key] = Report(True, (Fill(fill_id, TEN, TEN),))
            late.append(trade(number, fill_id, key))
        yield engine, Listing(), late


def watcher_of(listing: Listing, engine: Any) -> TradeWatcher:
    return TradeWatcher(cast(Broker, listing), engine, clock=Hurried())


GARBAGE: dict[str, Callable[[], object]] = {
    "its sequence is text": lambda: trade("7", "x", None),
    "it has no sequence": lambda: trade(None, "x", None),
    "its key is a number": lambda: trade(7, "x", 12345),
    "its fill id is a list": lambda: trade(7, ["x"], "20261121_121313_b38lqkjw-0F1"),
    "it is no trade": lambda: {"fill_id": "x"},
}


@pytest.mark.requirement("L6", "L3")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_row_that_cannot_be_a_trade_is_passed_over_and_told_of_once(
    tmp_path: Path, garbage: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    async with with_late_fills(tmp_path, "f1") as (engine, listing, late):
        listing.rows = [garbage(), *late]
        watching = watcher_of(listing, engine)
        assert len(await watching.look()) == 1
        assert await watching.look() == ()
    assert len([r for r in caplog.records if "are passed over" in r.message]) == 1


@pytest.mark.requirement("L6")
@pytest.mark.parametrize("failure", [TypeError("not hashable"), StoreBusy("locked")])
async def test_whatever_one_round_raises_the_next_one_comes(
    tmp_path: Path, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_late_fills(tmp_path, "f1") as (engine, listing, late):
        listing.rows = [*late]
        watching = watcher_of(listing, engine)
        read, failures = watching._read, [failure]

        async def fails_once() -> None:
            if failures:
                raise failures.pop()
            await read()

        monkeypatch.setattr(watching, "_read", fails_once)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching.run)
            batch_id = batch_of_key(late[0].client_order_id or "") or ""
            with anyio.fail_after(20):
                while not (await engine.batch(batch_id)).incidents:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()


async def test_a_store_that_is_lost_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = watcher_of(Listing(), None)

    async def lost() -> None:
        raise StorePoisoned("the disk is gone")

    monkeypatch.setattr(watching, "_read", lost)
    with anyio.fail_after(20):
        await watching.run()


@pytest.mark.requirement("L6")
async def test_one_sequence_that_is_far_too_high_hides_no_trade(tmp_path: Path) -> None:
    async with with_late_fills(tmp_path, "f1") as (engine, listing, late):
        listing.rows = [trade(10**15, "x", None)]
        watching = watcher_of(listing, engine)
        assert await watching.look() == ()
        listing.rows += late
        assert len(await watching.look()) == 1


@pytest.mark.requirement("L6", "L3")
async def test_the_newest_rows_are_read_again_and_now_and_then_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "REREAD_ROWS", 3)
    monkeypatch.setattr(watcher, "ROUNDS_PER_SWEEP", 4)
    async with with_late_fills(tmp_path, "f1") as (engine, listing, late):
        listing.rows = [trade(10**6 + n, f"x{n}", None) for n in range(5)]
        watching = watcher_of(listing, engine)
        for _ in range(4):
            assert await watching.look() == ()
            listing.rows = [*late, *listing.rows[-5:]]
        assert listing.asked == [0, *[10**6 + 2] * 3]
        assert len(await watching.look()) == 1
        assert listing.asked[-1] == 0


@pytest.mark.requirement("L6", "L3")
async def test_what_is_settled_is_not_compared_again(tmp_path: Path) -> None:
    async with with_late_fills(tmp_path, "f1") as (engine, listing, late):
        listing.rows = [*late]
        watching = watcher_of(listing, engine)
        assert len(await watching.look()) == 1
        assert await watching.look() == ()

        async def known_fills(batch_id: str) -> None:
            raise AssertionError(f"{batch_id} is compared again")

        engine.known_fills = known_fills  # type: ignore[assignment,method-assign]
        assert await watching.look() == ()
        assert not watching._open


@pytest.mark.requirement("L6")
async def test_fills_that_each_order_numbers_for_itself_are_all_found(tmp_path: Path) -> None:
    async with with_late_fills(tmp_path, "1", "1") as (engine, listing, late):
        listing.rows = [*late]
        assert len(await watcher_of(listing, engine).look()) == 2


@pytest.mark.requirement("L6")
async def test_a_later_fill_of_an_order_that_is_known_in_part_is_found(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.run(batch(buy("AAPL")), timeout=20)
        key = attempt_key(row.batch_id, 0, Purpose.FORWARD, 1)
        (in_time,) = venue.told[key].fills
        venue.told[key] = Report(True, (in_time, Fill("late", TEN, TEN)))
        listing = Listing()
        listing.rows = [trade(1, in_time.fill_id, key), trade(2, "late", key)]
        (found,) = await watcher_of(listing, engine).look()
    assert [fill.fill_id for fill in found.fills] == ["late"]


@pytest.mark.requirement("L6", "S18")
async def test_a_batch_that_cannot_be_compared_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_late_fills(tmp_path, "f1", "f2") as (engine, listing, late):
        listing.rows = [*late]
        known_fills, first = engine.known_fills, batch_of_key(late[0].client_order_id or "")

        async def not_of_the_first(batch_id: str) -> KnownFills:
            if batch_id == first:
                raise Quarantined("its journal cannot be read")
            return await known_fills(batch_id)

        monkeypatch.setattr(engine, "known_fills", not_of_the_first)
        (found,) = await watcher_of(listing, engine).look()
    assert [fill.fill_id for fill in found.fills] == ["f2"]


@pytest.mark.requirement("L6")
async def test_what_a_broker_lists_before_it_tells_of_it_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_late_fills(tmp_path, "f1") as (engine, listing, late):
        listing.rows = [*late]
        watching, look_again = watcher_of(listing, engine), engine.look_again

        async def nothing_yet(batch_id: str, **_: object) -> tuple[LateTruth, ...]:
            del batch_id
            return ()

        monkeypatch.setattr(engine, "look_again", nothing_yet)
        assert await watching.look() == ()
        monkeypatch.setattr(engine, "look_again", look_again)
        assert len(await watching.look()) == 1


@pytest.mark.requirement("L6", "L3")
async def test_a_broker_that_answers_no_look_up_for_long_is_asked_less_often_and_never_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    venue, asked = LyingVenue(), 0

    async def away(attempt: Attempt) -> Report:
        nonlocal asked
        asked += 1
        raise ConnectionError("503")

    venue.on_send["AAPL"] = refused
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.run(batch(buy("AAPL")), timeout=20)
        key = attempt_key(row.batch_id, 0, Purpose.FORWARD, 1)
        venue.told[key] = Report(True, (Fill("f1", TEN, TEN),))
        venue.on_look_up["AAPL"] = away
        listing = Listing()
        listing.rows = [trade(1, "f1", key)]
        watching = watcher_of(listing, engine)
        for _ in range(60):
            assert await watching.look() == ()
        assert asked == len([1, 2, 4, 8, 16, 32, 52]), "the round of each"
        assert len([r for r in caplog.records if "gives no answer about it" in r.message]) == 1
        venue.on_look_up.clear()
        found = [late for _ in range(watcher.LONGEST_WAIT_ROUNDS) for late in await watching.look()]
    assert [fill.fill_id for late in found for fill in late.fills] == ["f1"]


@pytest.mark.requirement("L6", "L3")
async def test_answers_between_failures_are_counted(tmp_path: Path) -> None:
    asked = 0

    async def now_and_then(attempt: Attempt) -> Report | None:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise ConnectionError("503")
        return None

    venue = LyingVenue()
    venue.on_send["AAPL"] = refused
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.run(batch(buy("AAPL")), timeout=20)
        venue.on_look_up["AAPL"] = now_and_then
        listing = Listing()
        listing.rows = [trade(1, "f1", attempt_key(row.batch_id, 0, Purpose.FORWARD, 1))]
        watching = watcher_of(listing, engine)
        for _ in range(40):
            assert await watching.look() == ()
    assert asked == 2 * watcher.MAX_LOOKS


@pytest.mark.requirement("L6", "L3")
async def test_a_batch_that_nobody_knows_is_left_after_a_few_looks(tmp_path: Path) -> None:
    async with with_late_fills(tmp_path) as (engine, listing, _):
        listing.rows = [trade(1, "f1", "20261121_121313_b38lqkjw-0F1")]
        watching = watcher_of(listing, engine)
        for _ in range(watcher.MAX_LOOKS):
            assert watching._open or not watching._settled
            assert await watching.look() == ()
    assert (len(watching._open), len(watching._settled)) == (0, 1)
