"""A desk for the engine's tests: a real store file, a real paper exchange, no waiting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import anyio

from brokers import Buy, Sell
from brokers.paper import PaperExchange, PaperSettings
from saga.directive import Directive
from saga.limits import Limits
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.policy import RetryPolicy
from saga.store.sqlite import SqliteStore

AT_ONCE = RetryPolicy(backoff_seconds=0.0)
"""Three tries, without a wait between them."""


class Desk:
    """One folder with a store and an exchange's books; engines are opened on it one at a time."""

    def __init__(self, folder: Path, settings: PaperSettings | None = None) -> None:
        self.folder = folder
        self.store_path = folder / "saga.db"
        self.exchange = PaperExchange.create(
            folder / "exchange.db",
            day=date(2020, 1, 2),
            cash=Decimal(1_000_000),
            settings=settings or PaperSettings(poll_seconds=0.02),
            durable=False,
        )

    @asynccontextmanager
    async def engine(
        self, *, limits: Limits | None = None, take_over: bool = False
    ) -> AsyncIterator[Orchestrator]:
        """An engine over this desk's store and exchange."""
        store = SqliteStore(self.store_path)
        orchestrator = Orchestrator(store, [self.exchange], limits=limits, take_over=take_over)
        async with orchestrator as engine:
            yield engine

    async def sent_keys(self) -> list[str | None]:
        """The client order ids in the exchange's own books, in the order of their arrival."""
        return [order.client_order_id for order in (await self.exchange.books()).orders]

    async def until_sent(self, count: int) -> None:
        """Return once so many orders have arrived at the exchange."""
        with anyio.fail_after(20):
            while len(await self.sent_keys()) < count:  # noqa: ASYNC110 - a file is watched
                await anyio.sleep(0.005)

    async def held(self) -> dict[str, Decimal]:
        """What the exchange's own books say is held."""
        return {p.symbol: p.quantity for p in await self.exchange.positions() if p.quantity}


def buy(symbol: str, quantity: int | str = 10, **more: object) -> Buy:
    """A market order to buy."""
    fields = {"directive_id": f"EXE_BUY_{symbol}", "retry": AT_ONCE, **more}
    return Buy.model_validate({**fields, "symbol": symbol, "quantity": quantity})


def sell(symbol: str, quantity: int | str = 10, **more: object) -> Sell:
    """A market order to sell."""
    fields = {"directive_id": f"EXE_SELL_{symbol}", "retry": AT_ONCE, **more}
    return Sell.model_validate({**fields, "symbol": symbol, "quantity": quantity})


def batch(
    *directives: Directive, mode: ExecutionMode = ExecutionMode.ATOMIC, **more: object
) -> Batch:
    """A batch of directives."""
    return Batch.model_validate({"directives": directives, "execution_mode": mode, **more})
