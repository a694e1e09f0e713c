"""A trading engine that is not ours takes the orchestrator in as a guest.

The host is a plain asyncio program with tasks of its own: a ticker, and a strategy that hands in a
batch, changes its mind, and cancels it. The orchestrator lives inside one of its tasks: opened,
used, cancelled and closed there, without taking the loop over (python examples/guest_engine.py).
"""

import asyncio
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from brokers import Buy
from brokers.paper import PaperExchange
from saga import Batch, ExecutionMode, Orchestrator, SqliteStore


class HostEngine:
    """The host: an event queue, a ticker and a strategy, each a task that the host owns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker = PaperExchange.create(
            folder / "exchange.db", day=date(2020, 1, 2), cash=Decimal(100_000)
        )
        self._ticks: asyncio.Queue[int] = asyncio.Queue(maxsize=100)

    async def run(self) -> None:
        """Run ticker and strategy until the strategy is done, then stop everything."""
        ticker = asyncio.create_task(self._tick())
        try:
            await self._trade()
            await self._trade_until_cancelled()
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)

    async def _tick(self) -> None:
        for tick in range(1_000_000):
            await self._ticks.put(tick)

    async def _trade(self) -> None:
        """Open, use and close."""
        async with self._orchestrator() as sagas:
            resting = Batch(
                directives=(
                    Buy(directive_id="EXE_1", symbol="KO", quantity=20),
                    Buy(directive_id="EXE_2", symbol="PEP", quantity=10, limit_price="1"),
                ),
                execution_mode=ExecutionMode.ATOMIC,
            )
            await sagas.submit(resting, by="strategy")
            await self._ticks.get()  # the host's own life goes on meanwhile
            await sagas.cancel(resting.batch_id, by="strategy", reason="the signal is gone")
            row = await sagas.wait(resting.batch_id)
            print("cancelled by the strategy:", row.state, row.status)

    async def _trade_until_cancelled(self) -> None:
        """The host cancels the task that holds the orchestrator, as hosts do; then it goes on."""
        order = Batch(
            directives=(Buy(directive_id="EXE_1", symbol="KO", quantity=5, limit_price="1"),),
            execution_mode=ExecutionMode.ATOMIC,
        )
        handed_in = asyncio.Event()

        async def hold() -> None:
            async with self._orchestrator() as sagas:
                await sagas.submit(order, by="strategy")
                handed_in.set()
                await asyncio.Event().wait()

        holder = asyncio.create_task(hold())
        await handed_in.wait()
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        async with self._orchestrator() as sagas:  # everything unfinished is taken up again
            await sagas.cancel(order.batch_id, by="host", reason="end of the day")
            row = await sagas.wait(order.batch_id)
            print("cancelled after the host came back:", row.state, row.status)

    def _orchestrator(self) -> Orchestrator:
        return Orchestrator(SqliteStore(self._folder / "saga.db"), [self._broker])


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(HostEngine(Path(folder)).run())
