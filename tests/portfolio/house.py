"""A real engine, a real store, a real paper exchange and a portfolio upon them, for one test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from brokers.paper import PaperExchange, PaperPrices, PaperSettings
from brokers.paper.running import Inline
from portfolio import (
    Allowance,
    CashDesk,
    Portfolio,
    PortfolioProjection,
    Rules,
    Terms,
)
from saga.orchestrator import Orchestrator
from saga.policy import RetryPolicy
from saga.store.bridge import InlineBridge
from saga.store.sqlite import SqliteStore

START = date(2020, 1, 2)
CASH = Decimal(1_000_000)
AT_ONCE = Terms(retry=RetryPolicy(backoff_seconds=0.0))
"""No waits between tries, so that no test sleeps."""
SETTINGS = PaperSettings(
    slippage_basis_points=Decimal(5),
    fee_per_unit=Decimal("0.005"),
    fee_minimum=Decimal(1),
)
ALLOWANCE = Allowance(fee_per_unit=Decimal("0.005"), fee_per_order=Decimal(1))


@dataclass(frozen=True)
class House:
    """Everything that a test of a whole portfolio needs."""

    exchange: PaperExchange
    store: SqliteStore
    engine: Orchestrator
    main: Portfolio


@asynccontextmanager
async def open_house(
    folder: Path, *, settings: PaperSettings = SETTINGS, cash: Decimal = CASH
) -> AsyncIterator[House]:
    """Open a house in a folder, or open it again; new books begin with cash."""
    path = folder / "exchange.db"
    is_new = not path.exists()
    if is_new:
        PaperExchange.create(path, day=START, cash=cash, settings=settings, durable=False)
    exchange = PaperExchange(path, runner=Inline(), durable=False)
    store = SqliteStore(
        folder / "saga.db", projections=[PortfolioProjection(ALLOWANCE)], bridge=InlineBridge
    )
    async with Orchestrator(store, [exchange, CashDesk()]) as engine:
        main = Portfolio(
            "main",
            engine,
            exchange,
            prices=PaperPrices(exchange),
            rules=Rules(allowance=ALLOWANCE),
        )
        if is_new:
            await main.deposit(cash)
        yield House(exchange, store, engine, main)


def is_stale(portfolio: Portfolio) -> bool:
    """Return its attribute as it is at this moment."""
    return portfolio.stale


async def books_equal_the_exchanges(house: House) -> bool:
    """Tell whether cash and holdings are what the exchange says."""
    held = {each.symbol: each.quantity for each in await house.exchange.positions()}
    account = await house.exchange.account()
    return await house.main.holdings() == {s: q for s, q in held.items() if q} and (
        await house.main.cash() == account.cash
    )
