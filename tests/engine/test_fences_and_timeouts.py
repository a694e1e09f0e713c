"""What stands between a saga and a second order: fences, timeouts, proofs of absence."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from brokers.risk import RiskGate, RiskLimits
from saga.clock import SystemClock
from saga.errors import InvalidInput, OwnershipLost, Quarantined, StoreError
from saga.events import AnswerLost, Intended, NotFound, ProvenAbsent
from saga.limits import Limits
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import FENCE_CHECK_SECONDS, Capabilities
from saga.store.protocol import Append, JournalRecord
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


class LateClock(SystemClock):
    """More time than the fence allows goes by between any two looks at it."""

    def __init__(self) -> None:
        self._begun = super().now()
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._begun + timedelta(seconds=self._elapsed)

    def elapsed(self) -> float:
        self._elapsed += 2 * FENCE_CHECK_SECONDS
        return self._elapsed

    async def sleep_until(self, instant: datetime) -> None:
        await anyio.sleep(max(0.0, (instant - self.now()).total_seconds()))


class TurnedClock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 5, 12, tzinfo=UTC)
        self._turned = anyio.Event()

    def now(self) -> datetime:
        return self.instant

    def elapsed(self) -> float:
        return self.instant.timestamp()

    async def sleep_until(self, instant: datetime) -> None:
        while self.instant < instant:
            await self._turned.wait()

    def turn(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)
        self._turned.set()
        self._turned = anyio.Event()


def usurp(path: Path) -> None:
    """Become the owner, as another process does with `take_over`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE owner SET epoch = epoch + 1, pid = 200")


class UsurpedStore(SqliteStore):
    """Another process takes it over between an intent and its late send."""

    async def verify_owner(self) -> None:
        usurp(self.path)
        await super().verify_owner()


class FrozenBehindCommit(SqliteStore):
    """The process is stopped behind each commit; meanwhile another one takes the store over."""

    def __init__(self, path: Path, clock: TurnedClock) -> None:
        super().__init__(path, clock=clock)
        self._frozen = clock

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        if any(isinstance(change.event, Intended) for change in append.changes):
            self._frozen.turn(2 * FENCE_CHECK_SECONDS)
            usurp(self.path)
        return sequence


class UnreadableOwner(SqliteStore):
    """Who owns it cannot be read."""

    async def verify_owner(self) -> None:
        raise StoreError("the owner cannot be read")


@pytest.mark.requirement("S12", "S4")
async def test_a_late_send_of_an_owner_that_was_fenced_meanwhile_is_not_made(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    store = UsurpedStore(tmp_path / "saga.db")
    with pytest.raises(OwnershipLost):
        async with Orchestrator(store, [venue], clock=LateClock()) as engine:
            await engine.run(batch(buy("KO")), timeout=5)
    assert venue.sent == []


@pytest.mark.requirement("S12", "S3")
async def test_an_owner_that_was_frozen_right_behind_its_commit_sends_nothing_once_it_thaws(
    tmp_path: Path,
) -> None:
    """Found by the kill drill: the fence was timed from the thaw, and the order went out twice."""
    venue = LyingVenue()
    clock = TurnedClock()
    store = FrozenBehindCommit(tmp_path / "saga.db", clock)
    with pytest.raises(OwnershipLost):
        async with Orchestrator(store, [venue], clock=clock) as engine:
            await engine.run(batch(buy("KO")), timeout=5)
    assert venue.sent == []


@pytest.mark.requirement("S12", "S18")
async def test_a_late_send_is_not_made_where_nobody_can_tell_who_owns_the_store(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    store = UnreadableOwner(tmp_path / "saga.db")
    async with Orchestrator(store, [venue], clock=LateClock()) as engine:
        with pytest.raises(Quarantined, match="the owner cannot be read"):
            await engine.run(batch(buy("KO")), timeout=5)
    assert venue.sent == []


class SlowAndUnreadableAtFirst(SqliteStore):
    """The first intent's commit takes too long, and then who owns the store cannot be read."""

    def __init__(self, path: Path, clock: TurnedClock) -> None:
        super().__init__(path, clock=clock)
        self._turned = clock
        self._is_slow = True

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        if self._is_slow and any(isinstance(each.event, Intended) for each in append.changes):
            self._turned.turn(2 * FENCE_CHECK_SECONDS)
        return sequence

    async def verify_owner(self) -> None:
        if self._is_slow:
            self._is_slow = False
            raise StoreError("the owner cannot be read")
        await super().verify_owner()


@pytest.mark.requirement("S12", "S13")
async def test_a_late_send_that_is_not_made_counts_for_no_limit(tmp_path: Path) -> None:
    venue, clock = LyingVenue(), TurnedClock()
    gate = RiskGate(RiskLimits(max_orders_per_day=1))
    store = SlowAndUnreadableAtFirst(tmp_path / "saga.db", clock)
    async with Orchestrator(store, [venue], clock=clock, gate=gate) as engine:
        with pytest.raises(Quarantined, match="the owner cannot be read"):
            await engine.run(batch(buy("KO")), timeout=20)
        assert venue.sent == []
        row = await engine.run(batch(buy("KO")), timeout=20)
    assert row.status == "success", row.reason
    assert len(venue.sent) == 1


async def _until(clock: TurnedClock, done: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not done():
            clock.turn(Limits().heartbeat_seconds)
            await anyio.sleep(0.01)


@pytest.mark.requirement("S12")
async def test_the_owner_says_that_it_lives_until_it_is_fenced_which_ends_the_engine(
    tmp_path: Path,
) -> None:
    clock = TurnedClock()
    path = tmp_path / "saga.db"

    def heartbeat_at() -> int:
        with closing(sqlite3.connect(path)) as file:
            return int(file.execute("SELECT heartbeat_at FROM owner").fetchone()[0])

    async def live_until_fenced() -> None:
        async with Orchestrator(SqliteStore(path, clock=clock), [LyingVenue()], clock=clock):
            first = heartbeat_at()
            await _until(clock, lambda: heartbeat_at() > first)
            usurp(path)
            await _until(clock, lambda: False)

    with pytest.raises(OwnershipLost):
        await live_until_fenced()


@pytest.mark.requirement("S3", "L2")
async def test_a_call_that_hangs_is_unknown_after_its_timeout_and_looked_up(
    tmp_path: Path,
) -> None:
    venue = LyingVenue(
        Capabilities(visibility_seconds=0.0, call_timeout_seconds=0.05, poll_seconds=0.02)
    )
    asked: list[str] = []

    async def fills_and_hangs(attempt: Attempt) -> Report:
        venue.fill(attempt)
        await anyio.sleep_forever()
        raise AssertionError

    async def hangs_at_first(attempt: Attempt) -> Report | None:
        asked.append(attempt.key)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return venue.told.get(attempt.key)

    venue.on_send["KO"], venue.on_look_up["KO"] = fills_and_hangs, hangs_at_first
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.run(order, timeout=5)
        events = [record.event for record in await engine.store.journal(order.batch_id)]
    assert row.status == "success"
    assert (len(venue.sent), len(asked)) == (1, 2)
    (lost,) = [event for event in events if isinstance(event, AnswerLost)]
    assert "TimeoutError" in lost.reason


class AwayStore(SqliteStore):
    """A store whose journals cannot be read twice, and can then."""

    failures = 2

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> list[tuple[JournalRecord, ...] | Exception]:
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is away")
        return await super().journals(batch_ids)


@pytest.mark.requirement("L2", "B11", "S18")
async def test_a_store_that_is_away_at_start_up_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.supervision.FIRST_RESUME_WAIT", timedelta(milliseconds=10))
    venue = LyingVenue()

    async def works(_: Attempt) -> Report:
        return Report(False)

    venue.on_send["KO"] = venue.on_look_up["KO"] = works
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        with anyio.fail_after(5):
            while not venue.sent:  # noqa: ASYNC110 - the venue's own books are watched
                await anyio.sleep(0.005)
    venue.on_look_up.clear()
    store = AwayStore(tmp_path / "saga.db")
    async with Orchestrator(store, [venue]) as engine:
        venue.told[venue.sent[0]] = Report(True, reason="it ended meanwhile")
        row = await engine.wait(order.batch_id, timeout=5)
        assert await engine.store.quarantined() == {}
    assert store.failures == 0
    assert row.state == "ROLLED_BACK"


@pytest.mark.requirement("S3", "S4")
async def test_a_key_that_was_buried_proves_absence_and_the_order_goes_out_under_a_new_one(
    tmp_path: Path,
) -> None:
    venue = LyingVenue(Capabilities(tombstone=True, visibility_seconds=0.0, poll_seconds=0.02))
    buried: list[str] = []

    async def never_arrives(_: Attempt) -> Report:
        del venue.on_send["KO"]
        raise ConnectionError("reset")

    async def bury(attempt: Attempt) -> Report | None:
        buried.append(attempt.key)
        return None

    venue.on_send["KO"], venue.on_withdraw["KO"] = never_arrives, bury
    order = batch(buy("AAPL"), buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.run(order, timeout=5)
        events = [record.event for record in await engine.store.journal(order.batch_id)]
    assert row.status == "success"
    assert [key[-4:] for key in venue.sent] == ["-0F1", "-1F1", "-1F2"]
    assert buried == [venue.sent[1]]
    proof = next(n for n, event in enumerate(events) if isinstance(event, ProvenAbsent))
    before = events[proof - 1]
    assert isinstance(before, NotFound)
    assert before.tombstone


@pytest.mark.requirement("S3")
async def test_a_call_that_ignores_its_cancellation_is_named_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("saga.calls.OVERDUE_SECONDS", 0.02)
    venue = LyingVenue(
        Capabilities(visibility_seconds=0.0, call_timeout_seconds=0.02, poll_seconds=0.02)
    )
    let_go = anyio.Event()

    async def ignores_everybody(attempt: Attempt) -> Report:
        with anyio.CancelScope(shield=True):
            await let_go.wait()
        return venue.fill(attempt)

    venue.on_send["KO"] = ignores_everybody
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        with anyio.move_on_after(5):
            while "a lying venue" not in caplog.text:  # noqa: ASYNC110 - the log is watched
                await anyio.sleep(0.005)
        let_go.set()
        assert (await engine.wait(order.batch_id, timeout=5)).status == "success"
    assert f"'a lying venue', attempt {venue.sent[0]}" in caplog.text
    assert len(venue.sent) == 1


@pytest.mark.requirement("S3")
def test_a_venue_that_buries_keys_and_cannot_cancel_is_refused(tmp_path: Path) -> None:
    venue = LyingVenue(Capabilities(tombstone=True, cancel=False))
    with pytest.raises(InvalidInput, match="declares tombstone without cancel"):
        engine_on(tmp_path, venue)
