"""The stage of the named scenarios: a real engine on virtual time, and a venue that misbehaves.

A test tells its scenario as a coroutine and has it played: `stage.play(scenario)`. The wall jumps
when the test says so, nothing waits on the real one, and the venue's books are the truth.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import anyio

from brokers.orders import Side
from brokers.paper import PaperExchange, PaperSettings
from brokers.paper.rows import BookedOrder
from brokers.paper.running import Inline
from brokers.venue import OrderRequest, OrderState
from saga.events import Event
from saga.limits import Limits
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.participant import Participant
from saga.store.bridge import InlineBridge
from saga.store.sqlite import SqliteStore
from tests.engine.trading_desk import batch, buy, sell
from tests.simulation.clock import VirtualClock
from tests.simulation.loop import VirtualLoop, virtual_loop

__all__ = ["SETTINGS", "CountedExchange", "ExecutionMode", "Stage", "batch", "buy", "sell"]

T = TypeVar("T")

SETTINGS: Final = PaperSettings(
    visibility_seconds=1.0, declared_visibility_seconds=5.0, poll_seconds=5.0
)
PATIENCE: Final = 20_000.0
"""Virtual seconds: what is waited for comes within them."""


class CountedExchange(PaperExchange):
    """The paper exchange, counting the calls that reach it, with the instant of each."""

    def watch(self, clock: VirtualClock) -> None:
        self.calls: list[tuple[str, str, datetime]] = []
        self._watching = clock

    def _note(self, call: str, key: str) -> None:
        self.calls.append((call, key[-3:], self._watching.now()))

    async def place_order(self, request: OrderRequest) -> OrderState:
        self._note("place", request.client_order_id)
        return await super().place_order(request)

    async def cancel_order(self, client_order_id: str) -> None:
        self._note("cancel", client_order_id)
        await super().cancel_order(client_order_id)

    async def find_order(self, client_order_id: str) -> OrderState | None:
        self._note("find", client_order_id)
        return await super().find_order(client_order_id)

    def placed(self) -> list[str]:
        """The ends of the keys of the orders that were placed, in order."""
        return [key for call, key, _ in self.calls if call == "place"]


class Stage:
    """One folder with a store and an exchange's books, and a clock that goes on from life to life.

    Args:
        folder: where both are kept.
        settings: how the exchange works.
        order: which of the tasks that are ready goes first; None leaves their order.
    """

    clock: VirtualClock
    exchange: CountedExchange
    loop: VirtualLoop

    def __init__(
        self, folder: Path, settings: PaperSettings = SETTINGS, *, order: Random | None = None
    ) -> None:
        self._folder = folder
        self._order = order
        self._settings = settings

    def play(self, scenario: Callable[[], Awaitable[T]]) -> T:
        """Play a scenario from its beginning to its end, on virtual time."""
        with virtual_loop(self._order) as loop:
            self.loop = loop
            self.clock = VirtualClock(loop, jumps=True)
            self.exchange = CountedExchange.create(
                self._folder / "exchange.db",
                day=date(2020, 1, 2),
                cash=Decimal(1_000_000),
                settings=self._settings,
                clock=VirtualClock(loop),  # the venue's own wall does not jump with ours
                runner=Inline(),
                durable=False,
            )
            self.exchange.watch(self.clock)

            async def main() -> T:
                return await scenario()

            return loop.run_until_complete(main())

    @asynccontextmanager
    async def engine(
        self, *brokers: Participant, limits: Limits | None = None
    ) -> AsyncIterator[Orchestrator]:
        """An engine over this stage's store, with the exchange or with other brokers."""
        store = SqliteStore(self._folder / "saga.db", clock=self.clock, bridge=InlineBridge)
        limits = replace(limits or Limits(), max_crashes_per_minute=None)
        async with Orchestrator(
            store, list(brokers) or [self.exchange], clock=self.clock, limits=limits
        ) as engine:
            yield engine

    async def until(self, done: Callable[[], bool]) -> None:
        """Return once something holds."""
        with anyio.fail_after(PATIENCE):
            while not done():  # noqa: ASYNC110 - virtual time is passed, nothing is polled
                await anyio.sleep(0.05)

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await anyio.sleep(seconds)

    def jump(self, **by: float) -> None:
        """Put the wall forward, or back; `timedelta`'s words."""
        self.clock.jump(timedelta(**by))

    async def held(self) -> dict[str, Decimal]:
        """What the exchange's own books say is held."""
        positions = (await self.exchange.books()).positions
        return {symbol: quantity for symbol, quantity in positions.items() if quantity}

    async def orders(self, side: Side | None = None) -> list[BookedOrder]:
        """The orders with a key of ours in the exchange's own books, refused ones included."""
        return [
            order
            for order in (await self.exchange.books()).orders
            if order.client_order_id is not None and side in (None, order.side)
        ]


async def events_of(engine: Orchestrator, order: Batch) -> list[Event]:
    """The events of a batch's journal, in order."""
    return [record.event for record in await engine.store.journal(order.batch_id)]


def kinds(events: list[Event]) -> list[str]:
    """What kinds of events they are."""
    return [event.kind for event in events]
