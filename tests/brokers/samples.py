"""Exchanges, clocks and attempts for the tests of brokers."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from brokers import Buy, Order, OrderRequest, Sell, Side, TimeInForce
from brokers.paper import EXAMPLE_OPTIONS, PaperExchange, PaperSettings
from brokers.paper.running import Inline
from saga.directive import Directive
from saga.ids import Purpose, attempt_key
from saga.participant import Attempt
from tests.manual_clock import ManualClock

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = date(2022, 12, 1)
BATCH_ID = "BAT_20261120_120000_00001"
CASH = Decimal(1_000_000)


def new_exchange(
    folder: Path, clock: ManualClock | None = None, settings: PaperSettings | None = None
) -> PaperExchange:
    return PaperExchange.create(
        folder / "books.sqlite",
        day=DAY,
        cash=CASH,
        settings=settings or PaperSettings(listed=dict(EXAMPLE_OPTIONS)),
        clock=clock or ManualClock(),
        runner=Inline(),
        durable=False,
    )


def buy(quantity: int | str = 100, symbol: str = "AAPL", number: int = 1) -> Buy:
    return Buy(directive_id=f"EXE_{number}", symbol=symbol, quantity=Decimal(quantity))


def sell(quantity: int | str = 100, symbol: str = "AAPL", number: int = 1) -> Sell:
    return Sell(directive_id=f"EXE_{number}", symbol=symbol, quantity=Decimal(quantity))


def attempt(
    directive: Directive, step: int = 0, number: int = 1, purpose: Purpose = Purpose.FORWARD
) -> Attempt:
    key = attempt_key(BATCH_ID, step, purpose, number)
    return Attempt(key, BATCH_ID, step, purpose, number, directive)


def request(
    key: str,
    side: Side = Side.BUY,
    quantity: int | str = 100,
    symbol: str = "AAPL",
    limit_price: str | None = None,
    time_in_force: TimeInForce = TimeInForce.DAY,
) -> OrderRequest:
    return OrderRequest(
        key,
        symbol,
        side,
        Decimal(quantity),
        None if limit_price is None else Decimal(limit_price),
        time_in_force,
    )


def limited(order: Order, limit_price: str, time_in_force: TimeInForce = TimeInForce.DAY) -> Order:
    return order.model_copy(
        update={"limit_price": Decimal(limit_price), "time_in_force": time_in_force}
    )
