"""Puts the parts together: a folder and its settings become a store, a venue, a portfolio.

Without another broker, the desk trades at a paper exchange of its own, whose books lie beside the
store. The first time, both are made, and the portfolio is opened with the exchange's cash. Nothing
is decided here about a batch.
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from urllib.parse import quote

from brokers.paper import PaperExchange, PaperPrices
from brokers.paper.references import PaperReferences
from brokers.risk import AccountHoldings, RiskGate
from brokers.watcher import TradeWatcher
from desk.home import EXCHANGE_FILE, Home
from desk.settings import Configured
from portfolio import CashDesk, Portfolio, PortfolioProjection
from portfolio.books import read_books, read_names
from portfolio.drift import DriftWatch
from saga.errors import InvalidInput, StoreUnusable
from saga.history import History
from saga.orchestrator import Orchestrator
from saga.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of a running desk.

    Attributes:
        exchange: the paper exchange, which is the broker.
        engine: the orchestrator, entered, and the owner of the store.
        portfolio: the portfolio that trades where no other is named.
        history: of the store.
        opened_with: what the portfolio was opened with just now, in words; None if it was there.
    """

    home: Home
    exchange: PaperExchange
    engine: Orchestrator
    portfolio: Portfolio
    history: History
    opened_with: str | None


def make_folder(home: Home) -> None:
    """Make the desk's folder, for its user alone, if it is not there.

    Raises:
        InvalidInput: it is no folder, or cannot be made.
    """
    try:
        home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"home {home.folder} cannot be made a folder: {error.strerror}; name another one"
        ) from None
    if not os.access(home.folder, os.W_OK | os.X_OK):
        raise InvalidInput(f"home {home.folder} cannot be written to; name another folder")


def exchange_of(configured: Configured) -> PaperExchange:
    """Return the paper exchange of the folder, with new books if there are none.

    Raises:
        StoreUnusable: the folder's store was not made by this command.
    """
    home, paper = configured.home, configured.settings.paper
    _refuse_foreign_store(home)
    make_folder(home)
    if home.exchange.exists():
        return PaperExchange(home.exchange)
    return PaperExchange.create(
        home.exchange, day=paper.day, cash=paper.cash, settings=paper.exchange()
    )


def _refuse_foreign_store(home: Home) -> None:
    """Refuse a store that another program made: no account is opened in that.

    This command makes the exchange first, so that a store without one is none of its own.
    """
    if not home.store.exists():
        return
    what = f"{EXCHANGE_FILE} is not beside it"
    if home.exchange.exists():
        if not _has_batches_beside_books(home):
            return
        what = "it has batches, but no portfolio's books"
    raise StoreUnusable(
        f"{home.store} was not made by this command: {what}; name another folder with --home. "
        "Nothing was changed in it"
    )


def _has_batches_beside_books(home: Home) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(home.store))}?mode=ro", uri=True)) as store:
            names = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
            if "portfolio_books" in names or "batches" not in names:
                return False
            return store.execute("SELECT 1 FROM batches LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False  # what is wrong with it, the store says itself


def gate_of(configured: Configured, exchange: PaperExchange) -> RiskGate:
    """Return the gate that every order of the desk has to pass."""
    return RiskGate(
        configured.settings.risk.limits(),
        references=PaperReferences(exchange),
        holdings=AccountHoldings(exchange),
        changed_by=f"who may edit [risk] in {configured.home.settings}",
    )


@asynccontextmanager
async def open_desk(configured: Configured, *, take_over: bool = False) -> AsyncIterator[Desk]:
    """Become the owner of the folder's store, and take up what is unfinished.

    Args:
        configured: the folder and its settings.
        take_over: become the owner even if another one seems to live; it is fenced.

    Raises:
        InvalidInput: the settings cannot be used, so that nobody knows the limits.
        StoreHeld: another process owns the store.
        StoreUnusable: it cannot be opened safely.
        BooksUnusable: the exchange's books cannot be.
    """
    if configured.fault is not None:
        raise InvalidInput(
            f"no process owns the store, so nothing is sent now; to carry it on, the limits in the "
            f"settings must be known. Mend them first: {configured.fault}"
        )
    exchange = exchange_of(configured)
    settings = configured.settings
    projection = PortfolioProjection(settings.allowance(exchange.settings))
    store = SqliteStore(configured.home.store, projections=[projection])
    gate = gate_of(configured, exchange)
    engine = Orchestrator(
        store,
        [exchange, CashDesk()],
        limits=settings.engine.limits(),
        gate=gate,
        take_over=take_over,
    )
    async with engine:
        portfolio = Portfolio(
            settings.portfolio,
            engine,
            exchange,
            prices=PaperPrices(exchange),
            currency=exchange.settings.currency,
        )
        opened = await _open_portfolio(store, exchange, portfolio)
        engine.beside(TradeWatcher(exchange, engine).run)
        if (bounds := settings.risk.drift()) is not None:
            engine.beside(DriftWatch(engine, store, exchange, bounds).run)
        yield Desk(configured.home, exchange, engine, portfolio, History(store), opened)


async def _open_portfolio(
    store: SqliteStore, exchange: PaperExchange, portfolio: Portfolio
) -> str | None:
    """Give a portfolio that has no books the account's cash."""
    if await store.read(read_books, portfolio.name) is not None:
        return None
    others = await store.read(read_names)
    if others:
        raise InvalidInput(
            f"portfolio {portfolio.name!r} has no books, and the account's cash belongs to "
            f"{', '.join(others)} already; name that one in the settings"
        )
    account = await exchange.account()
    if account.cash <= 0:
        raise InvalidInput(
            f"portfolio {portfolio.name!r} has no books, and the account at {exchange.name} has "
            "no cash to open them with; take a new --home"
        )
    await portfolio.deposit(account.cash)
    return f"{account.cash:,f} {account.currency}"
