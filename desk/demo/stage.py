"""What the scenes share: a folder, an exchange, a portfolio, and what the seed has drawn.

The folder has the layout of any desk (`desk.home`), so that `saga --home DIR` reads it afterwards.
The engine is opened anew for each scene, as a program would that is started anew. Nothing here
shows anything, and nothing imports what only a terminal needs: the process that is killed starts
from here as well.
"""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from brokers.orders import Side
from brokers.paper import EXAMPLE_OPTIONS, Market, PaperExchange, PaperPrices, PaperSettings
from brokers.venue import Idempotency
from desk.home import PORTFOLIO, Home
from portfolio import (
    Allowance,
    CashDesk,
    Portfolio,
    PortfolioProjection,
    Rules,
    Terms,
    plan_rebalance,
)
from saga.errors import SagaError
from saga.orchestrator import Orchestrator
from saga.policy import RetryPolicy
from saga.store.sqlite import SqliteStore

CASH: Final = Decimal(1_000_000)
"""What the portfolio begins with, in US dollars."""
FIRST_START: Final = date(2012, 1, 3)
LAST_START: Final = date(2021, 12, 30)
"""Between these the first day is drawn: the fees are those of today, and so are share prices."""
DRIFT_DAYS: Final = (60, 180)
"""So many trading days pass before the rebalance, at least and at most: three to nine months."""
LEAST_EACH_WAY: Final = 5
"""A rebalance is worth watching if it makes at least so many sells, and so many buys."""
_BASIS_POINTS_WORSE: Final = Decimal(2)
_FEE_PER_UNIT: Final = Decimal("0.005")
_FEE_MINIMUM: Final = Decimal(1)


class Spoilt(SagaError):
    """A scene did not come to its end; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast it goes.

    Attributes:
        latency_seconds: how long the exchange takes for each call.
        backoff_seconds: the wait before an order that was refused is tried again.
        pause_seconds: how long the end of a scene stands before the next begins.
    """

    latency_seconds: float
    backoff_seconds: float
    pause_seconds: float


WATCHED: Final = Pace(latency_seconds=0.07, backoff_seconds=0.5, pause_seconds=0.8)
FAST: Final = Pace(latency_seconds=0.02, backoff_seconds=0.05, pause_seconds=0.0)


@dataclass(frozen=True, slots=True)
class House:
    """An engine that owns the folder's store, and a portfolio upon it."""

    exchange: PaperExchange
    store: SqliteStore
    engine: Orchestrator
    main: Portfolio


def rules_at(exchange: PaperExchange) -> Rules:
    """Return how rebalances are planned: a drift of up to 0.1 % is left alone."""
    return Rules(drift_band=Decimal("0.001"), allowance=_allowance(exchange))


def _allowance(exchange: PaperExchange) -> Allowance:
    return Allowance(
        undo_basis_points=Decimal(100),
        fee_per_unit=exchange.settings.fee_per_unit,
        fee_per_order=exchange.settings.fee_minimum,
    )


@asynccontextmanager
async def open_house(home: Home) -> AsyncIterator[House]:
    """Own the folder's store and take up what is unfinished; leave it in good order."""
    exchange = PaperExchange(home.exchange)
    store = SqliteStore(home.store, projections=[PortfolioProjection(_allowance(exchange))])
    async with Orchestrator(store, [exchange, CashDesk()]) as engine:
        prices = PaperPrices(exchange)
        main = Portfolio(PORTFOLIO, engine, exchange, prices=prices, rules=rules_at(exchange))
        yield House(exchange, store, engine, main)


class Stage:
    """The folder in which the scenes play, one after the other.

    Args:
        home: an empty folder.
        seed: decides the days, the orders that are refused, and the moment of the kill.
        pace: how fast it goes.
    """

    def __init__(self, home: Home, seed: int, pace: Pace) -> None:
        self.home = home
        self.seed = seed
        self.pace = pace
        self.chance = random.Random(seed)  # noqa: S311 - a demo to be seen again, no secret
        self.market = Market(dict(EXAMPLE_OPTIONS))
        starts = self.market.days_between(FIRST_START, LAST_START)
        self.start = self.chance.choice(starts)
        self.played: dict[str, str] = {}
        """Which scene each batch belongs to, by its number."""

    def build(self) -> PaperExchange:
        """Make the exchange's books, with the first deposit in them."""
        settings = PaperSettings(
            # It would take the same order twice: nothing but the engine's own care prevents that.
            idempotent=Idempotency.NONE,
            slippage_basis_points=_BASIS_POINTS_WORSE,
            fee_per_unit=_FEE_PER_UNIT,
            fee_minimum=_FEE_MINIMUM,
            latency_seconds=self.pace.latency_seconds,
            poll_seconds=0.2,
            listed=dict(EXAMPLE_OPTIONS),
        )
        return PaperExchange.create(
            self.home.exchange, day=self.start, cash=CASH, settings=settings
        )

    @property
    def terms(self) -> Terms:
        """How the batches are carried out: all or nothing, at least three tries of each undo."""
        retry = RetryPolicy(backoff_seconds=self.pace.backoff_seconds)
        return Terms(retry=retry, by="demo")

    @property
    def weights(self) -> dict[str, Fraction]:
        """The target: the same weight for each of the 20 stocks."""
        stocks = self.market.stocks
        return {symbol: Fraction(1, len(stocks)) for symbol in stocks}

    def closes(self, day: date) -> dict[str, Decimal]:
        """Return the closes of all stocks on a day."""
        return {symbol: self.market.close(symbol, day) for symbol in self.market.stocks}

    def drift_day(self, house: House, held: Mapping[str, Decimal], cash: Decimal) -> date:
        """Draw a day, some months later, on which the drift gives both sells and buys.

        Raises:
            Spoilt: there is none.
        """
        place = self.market.days.index(self.start)
        days = list(self.market.days[place + DRIFT_DAYS[0] : place + DRIFT_DAYS[1]])
        self.chance.shuffle(days)
        for day in days:
            trades = plan_rebalance(
                held, cash, self.closes(day), self.weights, house.main.rules
            ).trades
            sells = sum(trade.side is Side.SELL for trade in trades)
            if min(sells, len(trades) - sells) >= LEAST_EACH_WAY:
                return day
        raise Spoilt(
            f"no day after {self.start} has a drift worth a rebalance; take another --seed"
        )
