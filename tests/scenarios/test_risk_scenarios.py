"""The risk controls, one test for each scenario: what no order gets past, nor any restart forgets.

The engine and its store are real; the venue keeps books of its own, by which it is judged.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from brokers.orders import Side
from brokers.risk import Reference, RiskGate, RiskLimits
from saga.errors import AdmissionRefused, NotAllowed, OwnershipLost, StorePoisoned
from saga.events import Abandoned, CancelRequested, Event, Intended, Withheld
from saga.fold import apply, begin
from saga.gate import Gate, Refusal
from saga.ids import Purpose
from saga.limits import Limits
from saga.logbook import (
    EngineStarted,
    LimitsSet,
    LogEntry,
    LogRecord,
    TradingState,
    TradingStateSet,
)
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import FailurePolicy
from saga.store.halt_file import BY_HAND
from saga.store.sqlite import SqliteStore
from saga.trading import BRAKE
from tests.engine.lying_venue import LyingVenue, batch, buy, sell

PARALLEL = ExecutionMode.PARALLEL
PATIENCE = 20.0


class OpenOrders(LyingVenue):
    """Takes every order and leaves it open, until it is withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.withdrawn: set[str] = set()

    async def send(self, attempt: Attempt) -> Report:
        self.sent.append(attempt.key)
        return Report(False)

    async def look_up(self, attempt: Attempt) -> Report | None:
        if attempt.key not in self.sent:
            return None
        return Report(attempt.key in self.withdrawn)

    async def withdraw(self, attempt: Attempt) -> None:
        self.withdrawn.add(attempt.key)


class Market:
    """Reference prices that a test sets, and what the account holds."""

    def __init__(self, price: Decimal | int = 10, held: int = 0) -> None:
        self.price: Decimal | None = Decimal(price)
        self.at: datetime | None = None
        self.holding = Decimal(held)
        self.open: dict[Side, Decimal] = {}

    async def reference(self, symbol: str) -> Reference | None:
        del symbol
        return None if self.price is None else Reference(self.price, self.at or datetime.now(UTC))

    async def held(self, symbol: str) -> Decimal:
        del symbol
        return self.holding

    async def open_quantity(self, symbol: str, side: Side) -> Decimal:
        del symbol
        return self.open.get(side, Decimal(0))


class CrashingStore(SqliteStore):
    """Leaves as a process does that is killed: it is never given up."""

    async def release(self) -> None:
        self._epoch = None


class PoisonedStore(SqliteStore):
    """Can be told to fail like a disk."""

    def fail(self) -> None:
        """Fail from now on."""
        self._poison = "the disk failed"


@asynccontextmanager
async def engine(
    folder: Path,
    venue: LyingVenue,
    gate: Gate | None = None,
    *,
    store: type[SqliteStore] = SqliteStore,
    limits: Limits | None = None,
) -> AsyncIterator[Orchestrator]:
    """An engine over the store of this folder."""
    async with Orchestrator(store(folder / "saga.db"), [venue], gate=gate, limits=limits) as it:
        yield it


async def events(engine: Orchestrator, batch_id: str) -> list[Event]:
    """What the journal says of a saga."""
    return [record.event for record in await engine.store.journal(batch_id)]


async def until_sent(venue: LyingVenue, count: int) -> None:
    """Return once so many orders have been handed over."""
    with anyio.fail_after(PATIENCE):
        while len(venue.sent) < count:  # noqa: ASYNC110 - the venue is no task of ours
            await anyio.sleep(0.002)


def many(count: int, *, width: int | None = None, start: int = 0) -> Batch:
    """A PARALLEL batch of buys in as many symbols."""
    legs = (buy(f"S{number}") for number in range(start, start + count))
    return batch(*legs, mode=PARALLEL, max_parallel=width)


# --- H1, H2: the kill switch ---------------------------------------------------------------------


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13", "L4")
async def test_a_halt_stops_fifty_orders_in_flight_survives_a_restart_and_is_lifted_by_hand(
    tmp_path: Path,
) -> None:
    venue = OpenOrders()
    async with engine(tmp_path, venue) as it:
        batch_id = await it.submit(many(60, width=50))
        await until_sent(venue, 50)
        await it.halt(by="ann", reason="prices are wrong")
        row = await it.wait(batch_id, timeout=PATIENCE)
        assert len(venue.sent) == 50
        assert venue.withdrawn == set(venue.sent)
        assert row.outcome == "CANCELLED"
        assert "prices are wrong" in str(await events(it, batch_id))
        waiting = await it.submit(many(2, start=100))
    async with engine(tmp_path, venue) as it:
        assert it.trading_state is TradingState.HALTED
        assert (it.trading_said.by, it.trading_said.reason) == ("ann", "prices are wrong")
        await anyio.sleep(0.05)
        assert len(venue.sent) == 50
        assert (await it.batch(waiting)).state == "PENDING"
        await it.activate(by="bob", reason="prices are right again")
        await until_sent(venue, 52)
        await it.cancel(waiting, by="bob", reason="enough")
        await it.wait(waiting, timeout=PATIENCE)
        states = await it.store.log_entries(TradingStateSet.kind, 10)
    told = [r.entry.state for r in states if isinstance(r.entry, TradingStateSet)]
    assert told == [TradingState.ACTIVE, TradingState.HALTED]


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13")
async def test_an_order_whose_intent_is_durable_when_the_halt_comes_is_not_sent(
    tmp_path: Path,
) -> None:
    halted = anyio.Event()

    class HaltsFirst(RiskGate):
        async def judge(self, attempt: Attempt, batch: Batch, now: datetime) -> None:
            await halted.wait()

    venue = LyingVenue()
    async with engine(tmp_path, venue, HaltsFirst(RiskLimits())) as it:
        batch_id = await it.submit(batch(buy("AAPL")))
        with anyio.fail_after(PATIENCE):
            while Intended not in map(type, await events(it, batch_id)):  # noqa: ASYNC110
                await anyio.sleep(0.002)
        await it.halt(by="ann", reason="stop")
        halted.set()
        row = await it.wait(batch_id, timeout=PATIENCE)
        (withheld,) = (e for e in await events(it, batch_id) if isinstance(e, Withheld))
    assert venue.sent == []
    assert row.state == "ROLLED_BACK"
    assert withheld.limit == "trading_state"
    assert "by ann: stop" in withheld.reason


@pytest.mark.scenario("H1", "H3")
@pytest.mark.requirement("S13")
@pytest.mark.parametrize("when", ["judging", "looking for the fence"])
async def test_an_order_that_a_halt_stops_behind_the_gate_counts_as_none(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.runner.FENCE_CHECK_SECONDS", -1.0)  # it is looked for at each send
    meanwhile: list[Callable[[], Awaitable[None]]] = []

    async def something_happens() -> None:
        while meanwhile:
            await meanwhile.pop()()

    class Slow(RiskGate):
        async def judge(self, attempt: Attempt, batch: Batch, now: datetime) -> Refusal | None:
            refusal = await super().judge(attempt, batch, now)
            if when == "judging":
                await something_happens()
            return refusal

    class SlowFence(SqliteStore):
        async def verify_owner(self) -> None:
            if when != "judging":
                await something_happens()
            await super().verify_owner()

    venue = LyingVenue()
    limits = RiskLimits(max_orders_per_day=1, duplicate_window_seconds=600.0)
    async with engine(tmp_path, venue, Slow(limits), store=SlowFence) as it:

        async def halt() -> None:
            await it.halt(by="ann", reason="stop")

        meanwhile.append(halt)
        held_back = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
        assert (held_back.state, venue.sent) == ("ROLLED_BACK", [])
        await it.activate(by="ann", reason="go on")
        row = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
    assert row.state == "COMPLETED"


class LostFence(SqliteStore):
    """Can be told that somebody else owns it by now."""

    is_lost = False

    async def verify_owner(self) -> None:
        if self.is_lost:
            raise OwnershipLost("somebody else owns the store")
        await super().verify_owner()


@pytest.mark.scenario("H3")
@pytest.mark.requirement("S13")
async def test_an_order_that_a_lost_fence_stops_behind_the_gate_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.runner.FENCE_CHECK_SECONDS", -1.0)
    withheld: list[str] = []

    class Noting(RiskGate):
        def withheld(self, attempt: Attempt) -> None:
            withheld.append(attempt.key)
            super().withheld(attempt)

    venue, store = LyingVenue(), LostFence(tmp_path / "saga.db")

    async def lose_the_fence() -> None:
        async with Orchestrator(store, [venue], gate=Noting(RiskLimits())) as it:
            store.is_lost = True
            await it.run(batch(buy("AAPL")), timeout=PATIENCE)

    with pytest.raises(OwnershipLost):
        await lose_the_fence()
    assert venue.sent == []
    assert len(withheld) == 1


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13")
async def test_what_took_effect_is_undone_while_trading_is_halted(tmp_path: Path) -> None:
    venue = LyingVenue()

    async def stays_open(attempt: Attempt) -> Report:
        return Report(False)

    async def cancelled(attempt: Attempt) -> Report:
        return Report(True)

    venue.on_send["MSFT"], venue.on_look_up["MSFT"] = stays_open, cancelled
    venue.capabilities = venue.capabilities.model_copy(update={"poll_seconds": 600.0})
    async with engine(tmp_path, venue) as it:
        batch_id = await it.submit(batch(buy("AAPL"), buy("MSFT"), buy("IBM")))
        await until_sent(venue, 2)
        await it.halt(by="ann", reason="stop")
        row = await it.wait(batch_id, timeout=PATIENCE)
    assert row.state == "ROLLED_BACK"
    assert [quantity for _, symbol, quantity in venue.books if symbol == "AAPL"] == [10, -10]
    assert not [key for key in venue.sent if "-2F" in key]


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13", "L4")
async def test_a_file_put_beside_the_store_halts_a_living_engine(tmp_path: Path) -> None:
    venue = OpenOrders()
    async with engine(tmp_path, venue) as it:
        batch_id = await it.submit(batch(buy("AAPL"), buy("MSFT")))
        await until_sent(venue, 1)
        (tmp_path / "saga.db.halt").write_text("the desk is on fire\n")
        row = await it.wait(batch_id, timeout=PATIENCE)
        assert row.outcome == "CANCELLED"
        (cancel,) = (e for e in await events(it, batch_id) if isinstance(e, CancelRequested))
        assert (cancel.by, cancel.reason) == (BY_HAND, "trading is halted: the desk is on fire")
    async with engine(tmp_path, venue) as it:
        assert it.trading_state is TradingState.HALTED
        await it.activate(by="ann", reason="the fire is out")
        assert not (tmp_path / "saga.db.halt").exists()
        assert it.trading_said.state is TradingState.ACTIVE


@pytest.mark.scenario("H2")
@pytest.mark.requirement("S13")
async def test_a_halt_holds_although_the_store_fails_and_after_the_restart(tmp_path: Path) -> None:
    venue = LyingVenue()
    store = PoisonedStore(tmp_path / "saga.db")
    async with Orchestrator(store, [venue]) as it:
        store.fail()
        with pytest.raises(StorePoisoned):
            await it.halt(by="ann", reason="the disk is failing")
        assert it.trading_state is TradingState.HALTED
        with pytest.raises(StorePoisoned):
            await it.submit(batch(buy("AAPL")))
    async with engine(tmp_path, venue) as it:
        assert it.trading_state is TradingState.HALTED
        assert "the disk is failing" in it.trading_said.reason
        (noted,) = await it.store.log_entries(TradingStateSet.kind, 5)
        assert isinstance(noted.entry, TradingStateSet)
        assert noted.entry.state is TradingState.HALTED
    assert venue.sent == []


class SlowNotes(SqliteStore):
    """Something else happens while an entry of the logbook is written."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def note(self, entry: LogEntry) -> LogRecord:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().note(entry)


@pytest.mark.scenario("H1")
@pytest.mark.requirement("S13")
@pytest.mark.parametrize("how", ["call", "file"])
async def test_a_halt_that_comes_while_trading_is_being_activated_stands(
    tmp_path: Path, how: str
) -> None:
    store = SlowNotes(tmp_path / "saga.db")
    async with Orchestrator(store, [LyingVenue()]) as it:
        await it.halt(by="ann", reason="stop")

        async def meanwhile() -> None:
            if how == "call":
                await it.halt(by="eve", reason="stop again")
            else:
                (tmp_path / "saga.db.halt").write_text('{"by": "eve", "reason": "stop again"}')

        store.meanwhile = meanwhile
        with pytest.raises(NotAllowed, match=r"halted meanwhile \(by eve: stop again"):
            await it.activate(by="bob", reason="go on")
        assert it.trading_state is TradingState.HALTED
    async with engine(tmp_path, LyingVenue()) as it:
        assert it.trading_state is TradingState.HALTED
        (last,) = await it.store.log_entries(TradingStateSet.kind, 1)
        assert last.entry == TradingStateSet(TradingState.HALTED, "eve", "stop again")


async def test_the_same_trading_state_is_not_set_twice(tmp_path: Path) -> None:
    async with engine(tmp_path, LyingVenue()) as it:
        with pytest.raises(NotAllowed, match="trading is ACTIVE already"):
            await it.activate(by="ann", reason="to be sure")
        await it.reduce(by="ann", reason="careful")
        with pytest.raises(NotAllowed, match="trading is REDUCING already"):
            await it.reduce(by="ann", reason="careful")


# --- H3, H4: restarts give nobody a fresh allowance ----------------------------------------------


@pytest.mark.scenario("H3")
@pytest.mark.requirement("S13")
async def test_the_count_of_a_day_and_of_a_second_goes_on_through_a_restart(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    limits = RiskLimits(max_orders_per_day=3, max_orders_per_second=3, max_wait_seconds=0.0)
    async with engine(tmp_path, venue, RiskGate(limits)) as it:
        await it.run(many(2))
    async with engine(tmp_path, venue, RiskGate(limits), store=CrashingStore) as it:
        row = await it.run(many(2, start=10), timeout=PATIENCE)
        assert (row.processed_trades, row.failed_trades) == (2, 1)
    assert len(venue.sent) == 3
    async with engine(tmp_path, venue, RiskGate(limits)) as it:
        row = await it.run(many(1, start=20), timeout=PATIENCE)
        (trade,) = await it.trades(row.batch_id)
    assert len(venue.sent) == 3
    assert trade.error is not None
    assert trade.error.startswith("max_orders_per_day: 3 went out within 24 hours, and the limit")
    assert "may change it" in trade.error


@pytest.mark.scenario("H3")
async def test_an_order_beyond_the_rate_waits_its_turn_and_is_refused_only_if_that_takes_too_long(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    limits = RiskLimits(max_orders_per_second=2, max_wait_seconds=1.0)
    async with engine(tmp_path, venue, RiskGate(limits)) as it:
        begun = anyio.current_time()
        row = await it.run(many(5), timeout=PATIENCE)
        trades = await it.trades(row.batch_id)
    assert anyio.current_time() - begun >= 1.0
    assert row.failed_trades == 1
    (refused,) = (trade for trade in trades if trade.error)
    assert refused.error is not None
    assert refused.error.startswith("max_orders_per_second: ")
    assert len(venue.sent) == 4


@pytest.mark.scenario("H4")
@pytest.mark.requirement("S13")
async def test_an_engine_that_crashes_again_and_again_opens_halted(tmp_path: Path) -> None:
    venue = LyingVenue()
    limits = Limits(max_crashes_per_minute=3)
    for _ in range(3):
        async with engine(tmp_path, venue, store=CrashingStore, limits=limits) as it:
            assert it.trading_state is TradingState.ACTIVE
    async with engine(tmp_path, venue, limits=limits) as it:
        assert it.trading_state is TradingState.HALTED
        assert it.trading_said.by == BRAKE
        waiting = await it.submit(batch(buy("AAPL")))
        await anyio.sleep(0.05)
        assert venue.sent == []
        starts = await it.store.log_entries(EngineStarted.kind, 10)
        clean = [r.entry.clean for r in starts if isinstance(r.entry, EngineStarted)]
        assert clean == [False, False, False, True]
        await it.activate(by="ann", reason="a broken network card was changed")
        assert (await it.wait(waiting, timeout=PATIENCE)).state == "COMPLETED"


@pytest.mark.scenario("H4")
async def test_starts_in_good_order_between_the_crashes_do_not_hide_them(tmp_path: Path) -> None:
    limits = Limits(max_crashes_per_minute=3)
    for store in (CrashingStore, SqliteStore) * 3:
        async with engine(tmp_path, LyingVenue(), store=store, limits=limits) as it:
            last = it.trading_state
    assert last is TradingState.HALTED


async def test_an_engine_that_is_left_in_good_order_may_be_opened_as_often_as_one_likes(
    tmp_path: Path,
) -> None:
    for _ in range(4):
        limits = Limits(max_crashes_per_minute=3)
        async with engine(tmp_path, LyingVenue(), limits=limits) as it:
            assert it.trading_state is TradingState.ACTIVE


# --- H5: REDUCING --------------------------------------------------------------------------------


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13")
async def test_while_reducing_only_orders_that_lower_an_exposure_go_out(tmp_path: Path) -> None:
    venue = LyingVenue()
    gate = RiskGate(RiskLimits(), holdings=Market(held=15))
    async with engine(tmp_path, venue, gate) as it:
        await it.reduce(by="drift watch", reason="the books differ from the broker")
        bought = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
        sold = await it.run(batch(sell("AAPL")), timeout=PATIENCE)
        beyond = await it.run(batch(sell("AAPL")), timeout=PATIENCE)
        (trade,) = await it.trades(beyond.batch_id)
    assert (bought.state, sold.state, beyond.state) == ("ROLLED_BACK", "COMPLETED", "ROLLED_BACK")
    assert [quantity for _, _, quantity in venue.books] == [-10]
    assert trade.error is not None
    assert "would not lower an exposure: the account holds 15 AAPL" in trade.error


@pytest.mark.scenario("H5")
async def test_while_reducing_nothing_passes_where_nobody_knows_what_is_held(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    for gate in (None, RiskGate(RiskLimits())):
        folder = tmp_path / str(gate is None)
        folder.mkdir()
        async with engine(folder, venue, gate) as it:
            await it.reduce(by="ann", reason="careful")
            assert (await it.run(batch(sell("AAPL")), timeout=PATIENCE)).state == "ROLLED_BACK"
    assert venue.sent == []


# --- H6: compensations have a budget of their own ------------------------------------------------


@pytest.mark.scenario("H6")
@pytest.mark.requirement("S6", "S13")
async def test_undoing_goes_on_when_the_orders_of_the_day_are_used_up(tmp_path: Path) -> None:
    venue = LyingVenue()
    gate = RiskGate(RiskLimits(max_orders_per_day=2))
    async with engine(tmp_path, venue, gate) as it:
        row = await it.run(batch(buy("AAPL"), buy("MSFT"), buy("IBM")), timeout=PATIENCE)
    assert row.state == "ROLLED_BACK"
    assert sum(quantity for _, _, quantity in venue.books) == 0


@pytest.mark.scenario("H6")
@pytest.mark.requirement("S6", "S13")
async def test_a_compensation_beyond_its_own_budget_leaves_the_saga_stale_and_says_so(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    gate = RiskGate(RiskLimits(max_orders_per_day=2, max_compensations_per_day=1))
    async with engine(tmp_path, venue, gate) as it:
        row = await it.run(batch(buy("AAPL"), buy("MSFT"), buy("IBM")), timeout=PATIENCE)
        *_, abandoned = await events(it, row.batch_id)
    assert isinstance(abandoned, Abandoned)
    assert {each.subject: (each.low, each.high) for each in abandoned.residual} == {
        symbol: (quantity, quantity) for symbol, quantity in venue.held().items()
    }
    assert row.reason is not None
    assert "max_compensations_per_day: 1 went out within 24 hours" in row.reason


# --- H7, H8, H9 ----------------------------------------------------------------------------------


@pytest.mark.scenario("H7")
@pytest.mark.requirement("S13")
async def test_limits_that_are_changed_hold_for_new_intents_and_each_intent_names_its_own(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    gate = RiskGate(RiskLimits(max_order_quantity=Decimal(10)))
    async with engine(tmp_path, venue, gate) as it:
        first = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
        gate.terms = RiskLimits(max_order_quantity=Decimal(5))
        with pytest.raises(AdmissionRefused, match=r"max_order_quantity.*is for 10.*limit is 5"):
            await it.submit(batch(buy("AAPL")))
        second = await it.run(batch(buy("AAPL", 5)), timeout=PATIENCE)
        third = await it.run(batch(buy("AAPL", 5)), timeout=PATIENCE)
        named = [
            event.limits
            for row in (first, second, third)
            for event in await events(it, row.batch_id)
            if isinstance(event, Intended)
        ]
        noted = await it.store.log_entries(LimitsSet.kind, 5)
    told = {r.entry.digest: r.entry.limits for r in noted if isinstance(r.entry, LimitsSet)}
    assert [told[name or ""].count('"max_order_quantity": "10"') for name in named] == [1, 0, 0]
    assert len(told) == 2


@pytest.mark.scenario("H8")
@pytest.mark.requirement("S13")
async def test_an_order_that_repeats_one_of_another_batch_within_the_window_is_refused(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    limits = RiskLimits(duplicate_window_seconds=600.0)
    async with engine(tmp_path, venue, RiskGate(limits)) as it:
        twice_in_one = await it.run(
            batch(buy("AAPL", directive_id="EXE_1"), buy("AAPL", directive_id="EXE_2")),
            timeout=PATIENCE,
        )
        assert twice_in_one.state == "COMPLETED"
    async with engine(tmp_path, venue, RiskGate(limits)) as it:  # it is remembered
        again = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
        other = await it.run(batch(buy("AAPL", 11)), timeout=PATIENCE)
        (trade,) = await it.trades(again.batch_id)
    assert (again.state, other.state) == ("ROLLED_BACK", "COMPLETED")
    assert trade.error is not None
    assert f"repeats an order of batch {twice_in_one.batch_id}" in trade.error


@pytest.mark.scenario("H9")
@pytest.mark.requirement("S4")
async def test_no_intent_is_for_more_than_what_its_order_has_left(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with engine(tmp_path, venue) as it:
        row = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
        first, *rest = await it.store.journal(row.batch_id)
    for amount in (Decimal(11), Decimal(9), Decimal(0), Decimal(-10)):
        saga = begin(first.event, first.at)  # type: ignore[arg-type]
        started, intended, *_ = rest
        apply(saga, started.number, started.at, started.event)
        assert isinstance(intended.event, Intended)
        with pytest.raises(NotAllowed, match="but 10 is left"):
            apply(saga, intended.number, intended.at, Intended(0, Purpose.FORWARD, 1, amount))
        assert saga.number == started.number


# --- the single limits ---------------------------------------------------------------------------


@pytest.mark.scenario("G7", "G8")
@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("limits", "order", "words"),
    [
        (RiskLimits(symbols=frozenset({"AAPL"})), buy("MSFT"), "symbols: MSFT is not among them"),
        (RiskLimits(max_order_quantity=Decimal(9)), buy("AAPL"), "is for 10, and the limit is 9"),
        (RiskLimits(max_order_notional=Decimal(99)), buy("AAPL"), "comes to 100, and the limit is"),
        (
            RiskLimits(max_order_notional=Decimal(100)),
            buy("AAPL", limit_price=11),
            "comes to 110, and the limit is 100",
        ),
        (RiskLimits(max_batch_notional=Decimal(99)), buy("AAPL"), "come to 100 together"),
        (
            RiskLimits(price_collar=Decimal("0.05")),
            buy("AAPL", limit_price="10.51"),
            "has the limit price 10.51, and the limit is 10.5, which is 5 % from the reference",
        ),
        (
            RiskLimits(price_collar=Decimal("0.05")),
            sell("AAPL", limit_price="0.1"),
            "has the limit price 0.1, and the limit is 9.5",
        ),
    ],
)
async def test_a_batch_beyond_a_limit_is_refused_at_the_door_with_limit_value_and_who_may_change_it(
    tmp_path: Path, limits: RiskLimits, order: object, words: str
) -> None:
    venue = LyingVenue()
    gate = RiskGate(limits, references=Market(), changed_by="ann, in saga.toml,")
    async with engine(tmp_path, venue, gate) as it:
        with pytest.raises(AdmissionRefused) as refused:
            await it.submit(batch(order))  # type: ignore[arg-type]
        assert words in str(refused.value)
        assert str(refused.value).endswith("ann, in saga.toml, may change it")
        assert await it.store.unfinished() == {}


@pytest.mark.scenario("G8")
@pytest.mark.requirement("S13")
async def test_the_sum_of_many_small_legs_is_refused_as_a_batch(tmp_path: Path) -> None:
    gate = RiskGate(RiskLimits(max_batch_notional=Decimal(500)), references=Market())
    async with engine(tmp_path, LyingVenue(), gate) as it:
        assert (await it.run(many(5), timeout=PATIENCE)).state == "COMPLETED"
        with pytest.raises(AdmissionRefused, match="its 6 orders come to 600 together"):
            await it.submit(many(6))


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13")
async def test_a_batch_that_was_let_in_is_held_to_a_limit_that_was_lowered_since() -> None:
    gate = RiskGate(RiskLimits(max_batch_notional=Decimal(500)), references=Market())
    whole = batch(buy("AAPL"), buy("MSFT"))
    assert await gate.judge_batch(whole, datetime.now(UTC)) is None
    gate.terms = RiskLimits(max_batch_notional=Decimal(150))
    attempt = Attempt("k", whole.batch_id, 0, Purpose.FORWARD, 1, whole.directives[0])
    refusal = await gate.judge(attempt, whole, datetime.now(UTC))
    assert refusal is not None
    assert refusal.limit == "max_batch_notional"


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("market", [None, Market(), "stale", "ahead"])
async def test_a_limit_on_money_passes_nothing_without_a_fresh_reference_price(
    tmp_path: Path, market: Market | str | None
) -> None:
    if isinstance(market, Market):
        market.price = None
    if isinstance(market, str):
        year = 2020 if market == "stale" else 2999
        market = Market()
        market.at = datetime(year, 1, 2, tzinfo=UTC)
    gate = RiskGate(RiskLimits(max_order_notional=Decimal(1_000)), references=market)
    async with engine(tmp_path, LyingVenue(), gate) as it:
        with pytest.raises(AdmissionRefused, match=r"max_reference_age_seconds: .*reference price"):
            await it.submit(batch(buy("AAPL")))


@pytest.mark.requirement("S13")
async def test_a_price_that_moves_between_door_and_send_holds_the_order_back(
    tmp_path: Path,
) -> None:
    venue, market = LyingVenue(), Market()
    gate = RiskGate(RiskLimits(max_order_notional=Decimal(150)), references=market)
    async with engine(tmp_path, venue, gate) as it:
        await it.halt(by="ann", reason="wait")
        batch_id = await it.submit(batch(buy("AAPL")))
        market.price = Decimal(20)
        await it.activate(by="ann", reason="go on")
        row = await it.wait(batch_id, timeout=PATIENCE)
    assert row.state == "ROLLED_BACK"
    assert venue.sent == []


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("failure", ["raises", "hangs", "nonsense"])
async def test_a_gate_that_fails_lets_nothing_pass(
    tmp_path: Path, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saga.trading.JUDGEMENT_SECONDS", 0.05)

    class Broken(RiskGate):
        async def judge(self, attempt: Attempt, batch: Batch, now: datetime) -> None:
            if failure == "raises":
                raise ZeroDivisionError
            if failure == "hangs":
                await anyio.sleep_forever()
            return "fine"  # type: ignore[return-value]

    venue = LyingVenue()
    async with engine(tmp_path, venue, Broken(RiskLimits())) as it:
        row = await it.run(batch(buy("AAPL")), timeout=PATIENCE)
        (trade,) = await it.trades(row.batch_id)
    assert (row.state, venue.sent) == ("ROLLED_BACK", [])
    assert trade.error is not None
    why = " within 0.05 s, so" if failure == "hangs" else ", so"
    assert trade.error.startswith(f"the gate gave no answer{why} the order was not sent")
    assert trade.error.endswith("and send it again")


@pytest.mark.requirement("S13", "S4")
async def test_a_leg_that_was_held_back_is_tried_again_as_its_retry_policy_says(
    tmp_path: Path,
) -> None:
    market = Market()
    gate = RiskGate(RiskLimits(max_order_notional=Decimal(150)), references=market)

    class Recovers(RiskGate):
        async def judge(self, attempt: Attempt, batch: Batch, now: datetime):  # type: ignore[no-untyped-def]
            market.price = Decimal(20 if attempt.number < 3 else 10)
            return await gate.judge(attempt, batch, now)

    venue = LyingVenue()
    order = buy("AAPL", retry={"attempts": 3, "backoff_seconds": 0.0})
    async with engine(tmp_path, venue, Recovers(RiskLimits())) as it:
        row = await it.run(batch(order, mode=PARALLEL), policy=FailurePolicy(), timeout=PATIENCE)
    assert row.outcome == "SUCCESS"
    assert [key[-3:] for key in venue.sent] == ["0F3"]
