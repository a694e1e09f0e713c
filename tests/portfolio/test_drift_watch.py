"""When books and broker drift apart, only orders go out that lower an exposure."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from brokers.orders import Side
from brokers.venue import Account, Position, Trade
from portfolio.books import Books, Holding, LedgerEntry
from portfolio.drift import DRIFT_WATCH, DriftBounds, DriftWatch, drift_beyond
from portfolio.reconcile import Origin, Reconciliation, compare
from saga.clock import SystemClock
from saga.errors import NotAllowed, SagaError, StoreBusy
from saga.exact import ZERO, plus, times, total
from saga.ids import Purpose, attempt_key
from saga.logbook import TradingState
from tests.portfolio.house import AT_ONCE, House, open_house

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BATCH = "BAT_20261121_120000_abcdefgh"
ANY = DriftBounds(quantity=Decimal(0), cash=Decimal(0))


class NoWaiting(SystemClock):
    """Nobody waits for the second look."""

    async def sleep_until(self, instant: object) -> None:
        del instant


def watch_of(house: House, bounds: DriftBounds) -> DriftWatch:
    return DriftWatch(house.engine, house.store, house.exchange, bounds, clock=NoWaiting())


def state_of(house: House) -> str:
    """The trading state as it is told at this moment."""
    return house.engine.trading_state.value


@pytest.mark.scenario("H5")
@pytest.mark.requirement("L6", "S13")
async def test_a_drift_beyond_the_bound_makes_trading_reducing(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(100), terms=AT_ONCE))
        watch = watch_of(house, DriftBounds(quantity=Decimal(20)))
        await watch.look()
        assert state_of(house) == TradingState.ACTIVE
        await house.exchange.trade_by_hand(Side.SELL, Decimal(20), "KO")
        await watch.look()
        assert state_of(house) == TradingState.ACTIVE, "it is as far as it may be"
        await house.exchange.trade_by_hand(Side.SELL, Decimal(1), "KO")
        await watch.look()
        assert state_of(house) == TradingState.REDUCING
        said = house.engine.trading_said
        assert said.by == DRIFT_WATCH
        assert "KO is 100 in the books and 79 at the broker" in said.reason


@pytest.mark.scenario("H5")
async def test_cash_that_drifts_is_seen_and_quiet_books_are_left_alone(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(100), terms=AT_ONCE))
        await watch_of(house, ANY).look()
        assert state_of(house) == TradingState.ACTIVE
        await house.exchange.trade_by_hand(Side.SELL, Decimal(1), "KO")
        await watch_of(house, DriftBounds(cash=Decimal(1_000))).look()
        assert state_of(house) == TradingState.ACTIVE
        await watch_of(house, DriftBounds(cash=Decimal(1))).look()
        assert state_of(house) == TradingState.REDUCING


@pytest.mark.scenario("H5")
@pytest.mark.requirement("S13")
async def test_a_drift_never_eases_a_halt(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(100), terms=AT_ONCE))
        await house.exchange.trade_by_hand(Side.SELL, Decimal(50), "KO")
        await house.engine.halt(by="ann", reason="stop")
        await watch_of(house, ANY).look()
        assert house.engine.trading_state is TradingState.HALTED


def by_hand(reference: str, batch_id: str = "BAT_A", shares: int = 100) -> LedgerEntry:
    """What an operator booked of a trade at 10."""
    quantity = Decimal(shares)
    return LedgerEntry(
        *(batch_id, "adjustment", None, None, "KO", quantity, None, ZERO),
        *(times(quantity, Decimal(-10)), reference, NOW),
    )


def traded(number: int, fill_id: str, key: str | None = None, quantity: int = 100) -> Trade:
    """A purchase at 10."""
    return Trade(
        number, fill_id, key, "KO", Side.BUY, Decimal(quantity), Decimal(10), ZERO, NOW, None
    )


def seen(
    ledger: list[LedgerEntry], trades: list[Trade], held: int, cash: str, *, under_way: str = ""
) -> Reconciliation:
    """Compare books of 10,000 less what the ledger says with an account."""
    shares = total(each.quantity for each in ledger)
    money = plus(Decimal(10_000), total(each.cash for each in ledger))
    holding = Holding("KO", shares, ZERO, Decimal(10))
    open_batches = (under_way,) if under_way else ()
    books = Books("main", "USD", money, ZERO, {"KO": holding}, open_batches, ())
    account = Account(Decimal(cash), "USD", "paper")
    return compare([books], ledger, trades, [Position("KO", Decimal(held))], account)


@pytest.mark.scenario("H5")
@pytest.mark.requirement("L6", "S10", "S13")
def test_what_an_operator_has_booked_is_neither_a_drift_nor_hides_one() -> None:
    bounds = DriftBounds(quantity=Decimal(5), cash=Decimal(50))
    ledger, first, second = [by_hand("T1")], traded(1, "T1"), traded(2, "T2")

    def drifts(*trades: Trade, held: int, cash: str) -> list[str | None]:
        return [d.symbol for d in drift_beyond(seen(ledger, [*trades], held, cash), bounds)]

    assert drifts(first, held=100, cash="9000") == []
    assert drifts(first, held=100, cash="9000.01") == [], "one cent of interest"
    assert drifts(first, second, held=200, cash="8000") == ["KO", None]


@pytest.mark.scenario("H5")
@pytest.mark.requirement("L6", "S10")
def test_what_is_in_flight_is_no_drift_unless_an_operator_has_booked_it_already() -> None:
    bounds = DriftBounds(quantity=Decimal(5), cash=Decimal(50))
    mine = traded(1, "1", attempt_key(BATCH, 0, Purpose.FORWARD, 1))
    waits = seen([], [mine], 100, "9000", under_way=BATCH)
    assert waits.unbooked[0].origin is Origin.IN_FLIGHT
    assert drift_beyond(waits, bounds) == []
    booked = seen([by_hand("1", BATCH)], [mine], 100, "9000.01", under_way=BATCH)
    assert booked.unbooked[0].explained_by == BATCH
    assert drift_beyond(booked, bounds) == []


async def test_a_broker_that_does_not_answer_is_no_proof_of_a_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path) as house:

        async def away(after: int = 0) -> None:
            raise ConnectionError("the line is dead")

        monkeypatch.setattr(house.exchange, "trades", away)
        await watch_of(house, ANY).look()
        assert house.engine.trading_state is TradingState.ACTIVE


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("refusal", [StoreBusy("locked"), NotAllowed("somebody was faster")])
async def test_a_reduction_that_fails_is_tried_again_in_the_next_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: SagaError
) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(100), terms=AT_ONCE))
        await house.exchange.trade_by_hand(Side.SELL, Decimal(50), "KO")
        reduce, refusals = house.engine.reduce, [refusal]

        async def refused_once(**said: Any) -> None:
            if refusals:
                raise refusals.pop()
            await reduce(**said)

        monkeypatch.setattr(house.engine, "reduce", refused_once)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_of(house, ANY).run)
            with anyio.fail_after(20):
                while state_of(house) != TradingState.REDUCING:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()
