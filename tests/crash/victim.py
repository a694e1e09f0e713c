"""The process that is killed: a whole desk that stops dead at one record of a saga's journal.

It is told at which record, and whether inside the transaction that would write it or behind the
commit that has written it. There it says so, and blocks, so that the kill hits exactly that place.
Nothing else in it knows that it will be killed.
"""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio

from brokers.paper import PaperExchange, PaperPrices
from brokers.paper.running import Inline
from portfolio import Allowance, CashDesk, Portfolio, PortfolioProjection, Rules, Terms
from saga.limits import Limits
from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.policy import RetryPolicy
from saga.store.bridge import InlineBridge
from saga.store.protocol import Append, Change, Migration, Projection
from saga.store.sqlite import SqliteStore

STORE = "saga.db"
EXCHANGE = "exchange.db"
ALLOWANCE = Allowance(fee_per_order=1)  # type: ignore[arg-type]
AT_ONCE = Terms(retry=RetryPolicy(backoff_seconds=0.0))
"""No waits between tries."""


@dataclass(frozen=True)
class Halt:
    """Where the process stops dead.

    Attributes:
        number: the record of the saga's journal.
        inside: in the transaction that would write it; else behind the commit that has.
    """

    number: int
    inside: bool


class HaltInside:
    """A projection that never comes back from the record at which the process is to die."""

    name = "halt"
    migrations: Sequence[Migration] = ()

    def __init__(self, halt: Halt, say: Connection) -> None:
        self._halt = halt
        self._say = say

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        if batch.exclusion_key and change.number == self._halt.number:
            _stop_dead(self._say)


class HaltBehind(SqliteStore):
    """A store that never comes back from the commit behind which the process is to die."""

    halt: Halt
    say: Connection

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        last = append.changes[-1].number
        if append.batch.exclusion_key and last >= self.halt.number:
            _stop_dead(self.say)
        return sequence


def _stop_dead(say: Connection) -> None:
    say.send("halted")
    threading.Event().wait()


@dataclass(frozen=True)
class Desk:
    """An engine, its exchange, and a portfolio."""

    exchange: PaperExchange
    store: SqliteStore
    engine: Orchestrator
    main: Portfolio


@asynccontextmanager
async def desk_over(store: SqliteStore, folder: Path) -> AsyncIterator[Desk]:
    """Run a desk over a store, on the exchange that lies beside it."""
    exchange = PaperExchange(folder / EXCHANGE, runner=Inline(), durable=False)
    limits = Limits(max_crashes_per_minute=None)  # here crashing is what is tried
    async with Orchestrator(store, [exchange, CashDesk()], limits=limits) as engine:
        prices = PaperPrices(exchange)
        rules = Rules(allowance=ALLOWANCE)
        yield Desk(
            exchange, store, engine, Portfolio("main", engine, exchange, prices=prices, rules=rules)
        )


@asynccontextmanager
async def open_desk(folder: Path, *more: Projection) -> AsyncIterator[Desk]:
    """Run a desk as it is, without threads."""
    projections = [PortfolioProjection(ALLOWANCE), *more]
    store = SqliteStore(folder / STORE, projections=projections, bridge=InlineBridge)
    async with desk_over(store, folder) as desk:
        yield desk


async def buy_twenty(desk: Desk) -> str:
    """Submit the batch of 20 legs, and return its id."""
    stocks = desk.exchange.market.stocks
    weights = {symbol: Fraction(1, len(stocks)) for symbol in stocks}
    return await desk.main.initialise(weights, AT_ONCE)


def until_halted(folder: Path, halt: Halt, say: Connection) -> None:
    """Buy twenty stocks, and stop dead; runs in a process of its own."""
    anyio.run(_until_halted, folder, halt, say)


async def _until_halted(folder: Path, halt: Halt, say: Connection) -> None:
    projections: list[Projection] = [PortfolioProjection(ALLOWANCE)]
    if halt.inside:
        projections.append(HaltInside(halt, say))
        store = SqliteStore(folder / STORE, projections=projections)
    else:
        halting = HaltBehind(folder / STORE, projections=projections)
        halting.halt, halting.say = halt, say
        store = halting
    async with desk_over(store, folder) as desk:
        await desk.main.wait(await buy_twenty(desk))
    say.send("not halted")


def until_over(folder: Path, say: Connection) -> None:
    """Take up whatever is there, or begin; runs in a process of its own."""
    anyio.run(_until_over, folder, say)


async def _until_over(folder: Path, say: Connection) -> None:
    store = SqliteStore(folder / STORE, projections=[PortfolioProjection(ALLOWANCE)])
    async with desk_over(store, folder) as desk:
        # The last one may have been killed between the batch's end and saying so.
        last = [record.batch_id async for record in store.records()][-1]
        begun = (await desk.engine.batch(last)).exclusion_key is not None  # no deposit
        say.send("begun")
        await desk.main.wait(last if begun else await buy_twenty(desk))
    say.send("over")
