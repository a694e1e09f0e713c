"""Follows one batch through the engine's journal until it comes to rest, and shows it."""

from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

import anyio

from brokers.paper import PaperExchange
from desk.demo.report import Checks, SceneReport
from desk.demo.screen import Show, dollars
from desk.demo.stage import House
from saga.exact import times, total
from saga.fold import fold
from saga.ids import batch_of_key
from saga.ledger import Saga
from saga.machine import SAGA_AT_REST, SagaState
from saga.store.protocol import JournalRecord

SCENE_SECONDS: Final = 60.0
"""A batch that does not come to rest in this time has spoilt its scene."""


async def follow(house: House, show: Show, batch_id: str, *, told: int = 0) -> Saga:
    """Show a batch until it is at rest, and return it.

    Args:
        house: where it runs.
        show: where it is shown.
        batch_id: the batch.
        told: the journal number up to which it was shown before.

    Raises:
        TimeoutError: it did not come to rest in time.
    """
    # It is a generator, and wants to be closed where it is left before its end.
    events = house.engine.events(batch_id=batch_id)
    with anyio.fail_after(SCENE_SECONDS), show.watching() as watch:
        async with aclosing(events) as records:
            async for record in records:
                watch.take(record, quietly=record.number <= told)
                if record.number > told and watch.progress.saga.state in SAGA_AT_REST:
                    break
    await house.main.wait(batch_id)
    return watch.progress.saga


async def report_of(
    house: House, name: str, batch_id: str, checks: Checks, show: Show
) -> SceneReport:
    """Say what became of a scene's batch, show what was checked, and return the report."""
    row = await house.engine.batch(batch_id)
    orders = await orders_of(house.exchange, [batch_id])
    show.verdict(row, orders)
    show.checks(checks)
    return SceneReport(name, row, way_of(await house.store.journal(batch_id)), orders, checks.wrong)


async def show_standing(house: House, show: Show) -> None:
    """Show what the portfolio is exposed to, and what of that is known."""
    day = await house.exchange.day()
    books = await house.main.books()
    market = house.exchange.market
    held = books.holdings.values()
    worth = total(times(each.quantity, market.close(each.symbol, day)) for each in held)
    show.fact(
        "exposure", f"{len(held)} stocks, known; worth {dollars(worth)} at the close of {day}"
    )
    show.fact("cash", f"{dollars(books.cash)}, known")


async def orders_of(exchange: PaperExchange, batch_ids: Iterable[str]) -> int:
    """Return how many orders of these batches are in the exchange's own books."""
    wanted = set(batch_ids)
    orders = (await exchange.books()).orders
    return sum(batch_of_key(order.client_order_id or "") in wanted for order in orders)


async def books_agree(house: House) -> bool:
    """Tell whether the portfolio's holdings and cash are what the exchange's books say."""
    books = await house.exchange.books()
    held = {symbol: quantity for symbol, quantity in books.positions.items() if quantity}
    return await house.main.holdings() == held and await house.main.cash() == books.cash


def way_of(records: Iterable[JournalRecord]) -> tuple[str, ...]:
    """Return the states that a saga went through, in order."""
    so_far: list[tuple[int, object, object]] = []
    way = [SagaState.PENDING.value]
    for record in records:
        so_far.append((record.number, record.at, record.event))
        state = fold(so_far).state.value  # type: ignore[arg-type]
        if state != way[-1]:
            way.append(state)
    return tuple(way)
