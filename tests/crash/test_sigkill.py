"""A process is killed in the middle of a batch of 20 legs that is undone; another one finishes it.

The batch is ATOMIC; its last leg is refused, so that nineteen are bought and sold again. The kill
comes at 40 records of its journal, spread over its whole life, and at moments that nobody chose.
What came of it is judged by the exchange's own books.
"""

import multiprocessing
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import pytest

from brokers.orders import Side
from brokers.paper import Books, Fault, FaultRule, PaperExchange, PaperSettings, conservation_errors
from brokers.venue import Idempotency, OrderStatus
from desk.demo.books_check import check_books
from portfolio import books_errors, reconcile
from saga.ids import Purpose
from saga.store.protocol import JournalRecord
from tests.crash.victim import EXCHANGE, Halt, buy_twenty, open_desk, until_halted, until_over

CASH = Decimal(1_000_000)
LEGS = 20
KILLS = 40
PATIENCE_SECONDS = 60.0
"""Far longer than the process needs to come to where it is killed."""
RANDOM_KILLS = 12
LONGEST_LIFE_SECONDS = 0.12
"""A process that is killed at random lives so long at most, and a whole run takes longer."""

SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(
    [
        "brokers.paper",
        "portfolio",
        "saga.orchestrator",
        "saga.store.sqlite",
        "anyio._backends._asyncio",
    ]
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a portfolio that holds cash, at an exchange that will refuse the last leg."""
    folder = tmp_path_factory.mktemp("template")

    async def make() -> None:
        # It would take the same order twice: nothing but the engine's own care prevents that.
        settings = PaperSettings(
            idempotent=Idempotency.NONE,
            slippage_basis_points=Decimal(2),
            fee_minimum=Decimal(1),
            poll_seconds=0.01,
        )
        exchange = PaperExchange.create(
            folder / EXCHANGE, day=date(2020, 1, 2), cash=CASH, settings=settings, durable=False
        )
        refused = FaultRule(fault=Fault.REFUSES, step=LEGS - 1, purpose=Purpose.FORWARD, times=None)
        await exchange.script(refused)
        async with open_desk(folder) as desk:
            await desk.main.deposit(CASH)

    anyio.run(make)
    return folder


@pytest.fixture(scope="module")
def records(template: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many records the journal of the batch has when nobody kills it."""
    folder = _copy(template, tmp_path_factory.mktemp("whole") / "desk")

    async def play() -> int:
        async with open_desk(folder) as desk:
            batch_id = await buy_twenty(desk)
            row = await desk.main.wait(batch_id)
            assert (row.state, row.undone_trades) == ("ROLLED_BACK", LEGS - 1)
            return len(await desk.store.journal(batch_id))

    count = anyio.run(play)
    assert count > 2 * KILLS, "there are fewer places to be killed at than kills"
    return count


@pytest.mark.requirement("S1", "S2", "S3", "S6", "D6", "B11")
@pytest.mark.parametrize("kill", range(KILLS))
async def test_a_process_killed_at_a_record_is_finished_with_no_order_lost_or_doubled(
    kill: int, template: Path, records: int, tmp_path: Path
) -> None:
    folder = _copy(template, tmp_path / "desk")
    # From the second record on: before the first is durable there is no saga.
    number = 2 + kill * (records - 2) // (KILLS - 1)
    halt = Halt(number, inside=kill % 2 == 1)
    with _process(until_halted, folder, halt) as (process, hear):
        assert hear.poll(PATIENCE_SECONDS), f"it never came to record {number}"
        assert hear.recv() == "halted"
        process.kill()
        process.join()
    assert process.exitcode == -9
    durable = await _finish(folder)
    assert durable < number if halt.inside else durable >= number


@pytest.mark.requirement("S1", "D6")
async def test_a_process_killed_before_the_batch_was_durable_has_sent_nothing(
    template: Path, tmp_path: Path
) -> None:
    folder = _copy(template, tmp_path / "desk")
    with _process(until_halted, folder, Halt(1, inside=True)) as (process, hear):
        assert hear.poll(PATIENCE_SECONDS)
        process.kill()
        process.join()
    async with open_desk(folder) as desk:
        assert await desk.store.unfinished() == {}
        assert (await desk.exchange.books()).orders == ()
        books = await desk.main.books()
        assert books.free_cash == books.cash == CASH


@pytest.mark.requirement("S1", "S3", "S6", "D6", "B11")
async def test_a_process_killed_again_and_again_at_moments_that_nobody_chose_loses_nothing(
    template: Path, tmp_path: Path
) -> None:
    chance = random.Random(20_261_121)
    folder = _copy(template, tmp_path / "desk")
    for _ in range(RANDOM_KILLS):
        with _process(until_over, folder) as (process, hear):
            assert hear.poll(PATIENCE_SECONDS)
            assert hear.recv() == "begun"
            # Time is what kills here, and it is meant to be the wall's.
            over = hear.poll(chance.uniform(0, LONGEST_LIFE_SECONDS))
            process.kill()
            process.join()
        if over:
            break
    await _finish(folder)


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[tuple[Any, Connection]]:
    """Start a process of its own; it does not outlive this."""
    hear, say = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=target, args=(*arguments, say))
    process.start()
    say.close()
    try:
        yield process, hear
    finally:
        process.kill()
        process.join()
        hear.close()


def _copy(template: Path, folder: Path) -> Path:
    shutil.copytree(template, folder)
    return folder


async def _finish(folder: Path) -> int:
    """Let another engine come to the end, and judge it; return how much was durable before."""
    async with open_desk(folder) as desk:
        (batch_id,) = list(await desk.store.unfinished()) or [await _last_batch(desk.store)]
        before = await desk.store.journal(batch_id)
        durable = next(
            (r.number - 1 for r in before if r.event.kind == "resumed"), before[-1].number
        )
        row = await desk.main.wait(batch_id, timeout=PATIENCE_SECONDS)
        assert (row.state, row.outcome) == ("ROLLED_BACK", "FAILED"), row
        books = await desk.exchange.books()
        _judge_orders(books)
        assert await desk.main.holdings() == {}
        assert row.undo_cost is not None
        assert await desk.main.cash() == books.cash == CASH - row.undo_cost
        assert (await desk.main.books()).reserved_cash == 0
        journal = tuple([record async for record in desk.store.records()])
        found = check_books(books, journal)
        assert (found.duplicates, found.missing, found.unexplained) == (0, 0, 0), found.findings
        assert conservation_errors(books) == ()
        assert await books_errors(desk.store) == ()
        assert (await reconcile(desk.store, desk.exchange)).agrees
        return durable


async def _last_batch(store: Any) -> str:
    records: list[JournalRecord] = [record async for record in store.records()]
    return records[-1].batch_id


def _judge_orders(books: Books) -> None:
    """Nineteen legs were bought once and sold once, the last was refused, and nothing is held."""
    keys = Counter(order.client_order_id for order in books.orders)
    assert [key for key, count in keys.items() if count > 1] == []
    filled = [order for order in books.orders if order.status is OrderStatus.FILLED]
    bought = Counter(order.symbol for order in filled if order.side is Side.BUY)
    sold = Counter(order.symbol for order in filled if order.side is Side.SELL)
    assert bought == sold
    assert len(bought) == LEGS - 1
    assert set(bought.values()) == {1}
    others = [order for order in books.orders if order.status is not OrderStatus.FILLED]
    assert [order.status for order in others] == [OrderStatus.REJECTED]
    assert not any(books.positions.values())
