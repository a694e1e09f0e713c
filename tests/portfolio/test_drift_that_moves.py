"""A drift is believed if it is still there at the second look, whatever the figures are by then."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.orders import Side
from portfolio.drift import DriftBounds, DriftWatch
from saga.clock import SystemClock
from saga.logbook import TradingState
from tests.portfolio.house import AT_ONCE, House, open_house


class Meanwhile(SystemClock):
    """Between the two looks somebody trades by hand."""

    def __init__(self, house: House, *trades: tuple[Side, int]) -> None:
        self.house = house
        self.trades = trades

    async def sleep_until(self, instant: datetime) -> None:
        del instant
        for side, quantity in self.trades:
            await self.house.exchange.trade_by_hand(side, Decimal(quantity), "KO")


@pytest.mark.scenario("H5")
@pytest.mark.requirement("L6", "S13")
@pytest.mark.parametrize(
    ("bounds", "trade", "state"),
    [
        (DriftBounds(quantity=Decimal(20)), (Side.SELL, 1), TradingState.REDUCING),
        (DriftBounds(quantity=Decimal(20)), (Side.BUY, 10), TradingState.REDUCING),
        (DriftBounds(quantity=Decimal(20)), (Side.BUY, 20), TradingState.ACTIVE),
        (DriftBounds(quantity=Decimal(20)), (Side.BUY, 80), TradingState.ACTIVE),
        (DriftBounds(cash=Decimal(100)), (Side.SELL, 1), TradingState.REDUCING),
        (DriftBounds(cash=Decimal(100)), (Side.BUY, 80), TradingState.ACTIVE),
    ],
    ids=["grows", "shrinks", "within the bound", "turns round", "cash grows", "cash turns round"],
)
async def test_a_drift_is_confirmed_by_what_drifts_and_in_which_direction(
    tmp_path: Path, bounds: DriftBounds, trade: tuple[Side, int], state: TradingState
) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(100), terms=AT_ONCE))
        await house.exchange.trade_by_hand(Side.SELL, Decimal(31), "KO")
        clock = Meanwhile(house, trade)
        await DriftWatch(house.engine, house.store, house.exchange, bounds, clock=clock).look()
        assert house.engine.trading_state is state
        assert house.engine.trading_said.automatic is (state is TradingState.REDUCING)
