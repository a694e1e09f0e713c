"""The store that every seed begins with: two portfolios with cash and shares, closed in good order.

It is made once for each process of the simulation, by the real engine, on a loop of its own.
"""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from random import Random
from shutil import rmtree
from typing import Any, Final

from brokers.orders import Buy
from brokers.venue import BrokerCapabilities, OrderRequest
from portfolio import CashDesk, CashTransfer, PortfolioProjection
from portfolio.transfer import Way
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Fill
from saga.store.bridge import InlineBridge
from saga.store.sqlite import SqliteStore
from tests.simulation import file
from tests.simulation.clock import BEGINNING, VirtualClock
from tests.simulation.disk import Disk, scratch
from tests.simulation.life import Life, register
from tests.simulation.loop import virtual_loop
from tests.simulation.model_exchange import ModelExchange, ModelOrder
from tests.simulation.plan import PORTFOLIOS, SYMBOLS, Plan
from tests.simulation.venue_line import VenueLine

CASH: Final = Decimal(500_000)
SHARES: Final = Decimal(300)


class _Nobody:
    """Watches nothing."""

    def arrived(self, order: ModelOrder) -> None: ...
    def traded(self, order: ModelOrder, fill: Fill) -> None: ...
    def news(self, key: str) -> None: ...
    def is_over(self, key: str, fill_id: str) -> bool:
        return False

    def sending(self, life: Life, request: OrderRequest) -> None: ...
    def asking(self, life: Life, key: str) -> None: ...
    def point(self, life: Life, name: str) -> None: ...


@cache
def template() -> tuple[Mapping[str, bytes], int, Mapping[str, Any]]:
    """Return the files, the last sequence number in them, and the books of the portfolios."""
    folder = scratch()
    plan = Plan(
        seed=-1,
        venue=BrokerCapabilities(),
        strength={},
        late=False,
        latency=0.001,
        pace=0.3,
        slow_commit=0.0,
        batches=(),
        crashes=(),
        deeds=(),
        quiet_at=0.0,
        max_running=10,
    )
    try:
        with virtual_loop(None) as loop:
            loop.born = register
            disk = Disk(folder, {}, Random(0))
            clock = VirtualClock(loop)
            exchange = ModelExchange(plan, loop, Random(0), Counter(), _Nobody(), lambda *_: None)
            line = VenueLine(plan, exchange, Life(0, loop), loop, _Nobody())

            async def fill() -> None:
                store = SqliteStore(
                    disk.store,
                    clock=clock,
                    projections=[PortfolioProjection()],
                    bridge=InlineBridge,
                )
                async with Orchestrator(store, [line, CashDesk()], clock=clock) as engine:
                    for number, batch in enumerate(_openings()):
                        row = await engine.run(batch, by=f"template {number}")
                        assert row.state == "COMPLETED", row

            loop.run_until_complete(fill())
        files = {each.name: each.read_bytes() for each in disk.store.parent.iterdir()}
        last = disk.look(file.last_sequence)
        books = disk.look(books_of)
        disk.close()
        return files, last, books
    finally:
        rmtree(folder, ignore_errors=True)


def books_of(connection: Any) -> dict[str, Any]:
    """Return cash and holdings of every portfolio in a file, as text."""
    return {
        name: {
            "cash": cash,
            "held": dict(
                connection.execute(
                    "SELECT symbol, quantity FROM portfolio_holdings WHERE portfolio = ?", (name,)
                ).fetchall()
            ),
        }
        for name, cash in connection.execute("SELECT name, cash FROM portfolio_books").fetchall()
    }


def _openings() -> list[Batch]:
    found = []
    for number, name in enumerate(PORTFOLIOS):
        deposit = CashTransfer(directive_id="EXE_0", portfolio=name, way=Way.DEPOSIT, cash=CASH)
        found.append(
            Batch(
                batch_id=f"BAT_20261120_090000_open{number}",
                directives=(deposit,),
                execution_mode=ExecutionMode.SEQUENTIAL,
                created_at=BEGINNING,
            )
        )
        found.append(
            Batch(
                batch_id=f"BAT_20261120_090000_buys{number}",
                directives=tuple(
                    Buy(
                        directive_id=f"EXE_{symbol}",
                        symbol=symbol,
                        quantity=SHARES,
                        reference_price=Decimal(100),
                    )
                    for symbol in SYMBOLS
                ),
                execution_mode=ExecutionMode.PARALLEL,
                created_at=BEGINNING,
                exclusion_key=f"portfolio:{name}",
            )
        )
    return found
