"""The check at the demo's end counts what is wrong in the exchange's books, and believes nobody."""

import shutil
import sqlite3
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from brokers.orders import Side
from brokers.paper import Fault, FaultRule, PaperExchange, PaperSettings, read_books
from desk.demo.books_check import BooksCheck, check_books
from desk.demo.report import SCENES, DemoReport, SceneReport
from desk.demo.stage import open_house
from desk.home import Home
from portfolio import Terms
from saga.events import Adjustment, Reported
from saga.ids import Purpose, batch_of_key
from saga.policy import RetryPolicy
from saga.store.protocol import JournalRecord

AT_ONCE = Terms(retry=RetryPolicy(backoff_seconds=0.0))
SOME = {"AAPL": Fraction(1, 3), "KO": Fraction(1, 3), "PG": Fraction(1, 3)}


@pytest.fixture
async def sagas(tmp_path: Path) -> tuple[Path, tuple[JournalRecord, ...]]:
    """Books and journal of a batch that completed, one that was undone, and one that got stuck."""
    home = Home(tmp_path)
    cash = Decimal(100_000)
    PaperExchange.create(
        home.exchange,
        day=date(2020, 1, 2),
        cash=cash,
        settings=PaperSettings(fee_minimum=Decimal(1)),
        durable=False,
    )
    async with open_house(home) as house:
        main = house.main
        await main.deposit(cash)
        await main.wait(await main.initialise(SOME, AT_ONCE))
        await house.exchange.advance(date(2020, 6, 1))
        late = FaultRule(fault=Fault.REFUSES, step=1, purpose=Purpose.FORWARD)
        await house.exchange.script(late)
        row = await main.wait(await main.rebalance({"KO": Fraction(1, 2)}, AT_ONCE))
        assert row.state == "ROLLED_BACK", row
        never = FaultRule(fault=Fault.REFUSES, step=0, purpose=Purpose.COMPENSATION, times=None)
        await house.exchange.script(late, never)
        stuck = await main.rebalance({"KO": Fraction(1, 2)}, AT_ONCE)
        assert (await main.wait(stuck)).state == "STALE"
        (left,) = (await house.store.journal(stuck))[-1].event.residual  # type: ignore[union-attr]
        order = await house.exchange.trade_by_hand(Side.BUY, -left.low, left.subject)
        (fill,) = order.fills
        paid = -fill.quantity * fill.price - fill.fee
        await house.engine.resolve(
            stuck,
            by="ada",
            reason="bought back by hand",
            action="bought it back",
            evidence=fill.fill_id,
            adjustments=(Adjustment(left.subject, fill.quantity, paid, fill.fill_id),),
        )
        await main.wait(stuck)
        return home.exchange, tuple([record async for record in house.store.records()])


def counts(found: BooksCheck) -> tuple[int, int, int]:
    return found.duplicates, found.missing, found.unexplained


def after(path: Path, *statements: str) -> Path:
    """Return a copy of the books that was meddled with."""
    copy = path.with_name("meddled.db")
    shutil.copy(path, copy)
    file = sqlite3.connect(copy)
    with file:
        for statement in statements:
            assert file.execute(statement).rowcount == 1, statement
    file.close()
    return copy


def report_with(
    books: BooksCheck | None, scenes: Sequence[SceneReport] | None = None
) -> DemoReport:
    if scenes is None:
        scenes = [SceneReport(f"scene {n}", None, (), 0, ()) for n in range(SCENES)]
    return DemoReport(1, 1.0, None, tuple(scenes), books, ())


@pytest.mark.requirement("D6", "O10")
async def test_books_and_sagas_that_agree_give_zeros(
    sagas: tuple[Path, tuple[JournalRecord, ...]],
) -> None:
    path, records = sagas
    books = read_books(path)
    found = check_books(books, records)
    assert counts(found) == (0, 0, 0)
    assert found.findings == ()
    assert found.orders == len(books.orders) == 3 + 3 + 5 + 1
    assert report_with(found).ok


_FIRST = "SELECT min(number) FROM orders WHERE status = 'filled'"
_COLUMNS = (
    "symbol, side, quantity, limit_price, time_in_force, status, filled, reason, day, placed_at,"
    " visible_at, asleep"
)


@pytest.mark.requirement("D6")
@pytest.mark.parametrize(
    ("meddling", "expected", "words"),
    [
        (
            (f"DELETE FROM orders WHERE number = ({_FIRST})",),
            (0, 1, 0),
            "is not at the broker",
        ),
        (
            ("DELETE FROM executions WHERE number = 1",),
            (0, 1, 0),
            "missing at broker: fill ",
        ),
        (
            (
                f"INSERT INTO orders (client_order_id, {_COLUMNS})"
                f" SELECT client_order_id, {_COLUMNS} FROM orders WHERE number = ({_FIRST})",
            ),
            (1, 0, 0),
            "2 times",
        ),
        (
            (
                f"INSERT INTO orders (client_order_id, {_COLUMNS})"
                f" SELECT '20200101_000000_other-0F1', {_COLUMNS} FROM orders"
                f" WHERE number = ({_FIRST})",
            ),
            (0, 0, 1),
            "is of a saga that is not in the store",
        ),
        (
            ("UPDATE orders SET quantity = '7' WHERE number = 1",),
            (0, 0, 1),
            " was intended",
        ),
        (
            (
                "INSERT INTO executions (fill_id, order_number, symbol, side, quantity, price, fee,"
                " at) SELECT 'AGAIN', order_number, symbol, side, quantity, price, fee, at"
                " FROM executions WHERE number = 1",
            ),
            (1, 0, 1),
            "which is more than",
        ),
    ],
    ids=["lost order", "lost fill", "doubled", "foreign", "altered", "filled twice"],
)
async def test_what_is_wrong_in_the_books_is_counted_and_named(
    sagas: tuple[Path, tuple[JournalRecord, ...]],
    meddling: tuple[str, ...],
    expected: tuple[int, int, int],
    words: str,
) -> None:
    path, records = sagas
    found = check_books(read_books(after(path, *meddling)), records)
    assert counts(found) == expected, found.findings
    assert any(words in sentence for sentence in found.findings)
    assert not report_with(found).ok


@pytest.mark.requirement("D6")
async def test_a_trade_that_nobody_has_named_is_unexplained(
    sagas: tuple[Path, tuple[JournalRecord, ...]],
) -> None:
    path, records = sagas
    await PaperExchange(path, durable=False).trade_by_hand(Side.BUY, Decimal(1), "XOM")
    found = check_books(read_books(path), records)
    assert counts(found) == (0, 0, 1)
    assert "was made by no saga, and no operator has named it" in found.findings[0]
    assert not report_with(found).ok


@pytest.mark.requirement("D6")
async def test_an_order_whose_saga_never_heard_of_it_is_unexplained(
    sagas: tuple[Path, tuple[JournalRecord, ...]],
) -> None:
    path, records = sagas
    first = batch_of_key(read_books(path).orders[0].client_order_id or "")
    told = next(
        place
        for place, record in enumerate(records)
        if isinstance(record.event, Reported) and record.event.fills and record.batch_id == first
    )
    found = check_books(read_books(path), records[:told] + records[told + 1 :])
    assert found.unexplained == 2  # its order, and the effect of it
    assert found.missing == 0


def test_a_demo_that_did_not_come_to_its_end_is_not_ok() -> None:
    fine = BooksCheck(0, 0, 0, 0, ())
    assert report_with(fine).ok
    assert not report_with(None).ok
    assert not report_with(fine, scenes=[]).ok
    failed = [SceneReport(f"scene {n}", None, (), 0, ("it holds",)) for n in range(SCENES)]
    assert not report_with(fine, scenes=failed).ok
    assert "scene 0: not so: it holds" in report_with(fine, scenes=failed).faults
