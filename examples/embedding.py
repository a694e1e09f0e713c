"""The engine in a program of yours: two orders, both or neither (python examples/embedding.py)."""

import asyncio
from datetime import date
from pathlib import Path
from tempfile import mkdtemp

from brokers import Buy, Sell
from brokers.paper import PaperExchange
from saga import Batch, ExecutionMode, Orchestrator, SqliteStore


async def main(folder: Path) -> None:
    venue = PaperExchange.create(folder / "paper.db", day=date(2020, 1, 2), cash=50_000)
    async with Orchestrator(SqliteStore(folder / "saga.db"), [venue]) as engine:
        buy = Buy(directive_id="EXE_1", symbol="KO", quantity=20)
        sell = Sell(directive_id="EXE_2", symbol="PEP", quantity=10)  # we hold none: refused
        row = await engine.run(Batch(directives=(buy, sell), execution_mode=ExecutionMode.ATOMIC))
        print(row.state, "-", row.reason)  # the 20 KO are sold again


asyncio.run(main(Path(mkdtemp())))
