"""What each journal record does to the books, told to the projection one by one."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from brokers.orders import Buy, CancelOrder, Order, Sell
from portfolio import (
    NO_ALLOWANCE,
    Books,
    CashTransfer,
    InsufficientCash,
    InsufficientShares,
    PortfolioProjection,
    PortfolioStale,
)
from portfolio.books import read_books, read_ledger
from portfolio.schema import MIGRATIONS
from portfolio.transfer import Way
from saga.directive import Directive
from saga.errors import InvalidInput
from saga.events import (
    Abandoned,
    Adjustment,
    Completed,
    Event,
    LateTruth,
    LostTrack,
    Reported,
    Resolved,
    Retried,
    RolledBack,
    Started,
    Submitted,
    Withdrawn,
)
from saga.ids import Purpose, attempt_key, generate_batch_id
from saga.model import Batch, ExecutionMode
from saga.outcome import Fill
from saga.policy import FailurePolicy, OnFailure
from saga.store.protocol import Change

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
UNDO = FailurePolicy(on_failure=OnFailure.UNDO)


class Desk:
    """Tells one projection, over one database, what happens to batches."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.projection = PortfolioProjection(NO_ALLOWANCE)
        self.numbers: dict[str, int] = {}
        self.fills = 0

    @property
    def books(self) -> Books:
        books = read_books(self.connection, "main")
        assert books is not None
        return books

    def submit(
        self, *directives: Directive, mode: ExecutionMode = ExecutionMode.ATOMIC, key: str = "main"
    ) -> Batch:
        batch = Batch(
            batch_id=generate_batch_id(),
            directives=directives,
            execution_mode=mode,
            exclusion_key=f"portfolio:{key}" if key else None,
        )
        self.tell(batch, Submitted(batch, UNDO, {}, None, "test", "ada"))
        return batch

    def tell(self, batch: Batch, event: Event) -> None:
        number = self.numbers[batch.batch_id] = self.numbers.get(batch.batch_id, 0) + 1
        directive = key = None
        if isinstance(event, Reported | LateTruth):
            directive = batch.directives[event.step]
            key = attempt_key(batch.batch_id, event.step, event.purpose, event.number)
            if event.purpose is Purpose.COMPENSATION:
                assert isinstance(directive, Order)
                other = Sell if isinstance(directive, Buy) else Buy
                directive = other(
                    directive_id="EXE_undo",
                    symbol=directive.symbol,
                    quantity=directive.quantity,
                    rollback=True,
                )
        at = NOW + timedelta(seconds=number)
        self.connection.execute("SAVEPOINT append")
        try:
            self.projection.project(
                self.connection, batch, Change(number, at, event, directive, key)
            )
        except BaseException:
            self.connection.execute("ROLLBACK TO append")
            raise
        finally:
            self.connection.execute("RELEASE append")

    def fill(
        self,
        batch: Batch,
        step: int,
        quantity: int,
        price: str = "0",
        fee: str = "0",
        *,
        purpose: Purpose = Purpose.FORWARD,
        fill_id: str | None = None,
    ) -> None:
        self.fills += 1
        fill = Fill(
            fill_id or f"T{self.fills}", Decimal(quantity), Decimal(price), Decimal(fee), NOW
        )
        self.tell(batch, Reported(step, purpose, 1, final=False, fills=(fill,)))


@pytest.fixture
def desk() -> Iterator[Desk]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    for migration in MIGRATIONS:
        for statement in migration.up:
            connection.execute(statement)
    desk = Desk(connection)
    deposit(desk, 10_000)
    yield desk
    connection.close()


def transfer(
    way: Way, cash: int | str, portfolio: str = "main", currency: str = "USD"
) -> Directive:
    return CashTransfer(
        directive_id="EXE_1", portfolio=portfolio, way=way, cash=Decimal(cash), currency=currency
    )


def deposit(desk: Desk, cash: int) -> None:
    batch = desk.submit(transfer(Way.DEPOSIT, cash), mode=ExecutionMode.SEQUENTIAL, key="")
    desk.fill(batch, 0, cash)
    desk.tell(batch, Completed())


def buy(symbol: str, quantity: int, price: int, number: int = 1) -> Buy:
    return Buy(
        directive_id=f"EXE_{number}", symbol=symbol, quantity=quantity, reference_price=price
    )


def sell(symbol: str, quantity: int, price: int, number: int = 1) -> Sell:
    return Sell(
        directive_id=f"EXE_{number}", symbol=symbol, quantity=quantity, reference_price=price
    )


def money(desk: Desk) -> list[Decimal]:
    """Return cash, what is reserved of it, and what is free."""
    return [desk.books.cash, desk.books.reserved_cash, desk.books.free_cash]


def hold(desk: Desk, symbol: str, quantity: int, price: int) -> None:
    batch = desk.submit(buy(symbol, quantity, price))
    desk.fill(batch, 0, quantity, str(price))
    desk.tell(batch, Completed())


@pytest.mark.requirement("S10")
def test_a_fill_moves_cash_and_shares_exactly_with_its_fee(desk: Desk) -> None:
    batch = desk.submit(buy("KO", 100, 50))
    desk.fill(batch, 0, 37, "49.987654321012", "0.333333333333")
    assert desk.books.cash == Decimal(10000) - Decimal(37) * Decimal("49.987654321012") - Decimal(
        "0.333333333333"
    )
    assert desk.books.holdings["KO"].quantity == 37
    assert desk.books.holdings["KO"].last_price == Decimal("49.987654321012")


@pytest.mark.requirement("S9")
def test_a_fill_is_applied_once_however_often_it_is_told(desk: Desk) -> None:
    batch = desk.submit(buy("KO", 100, 50))
    for _ in range(3):
        desk.fill(batch, 0, 37, "50", fill_id="X-1")
    assert desk.books.holdings["KO"].quantity == 37
    assert desk.books.cash == 10_000 - 37 * 50
    # The same id of another order is another fill: venues count per order, too.
    other = desk.submit(buy("KO", 10, 50))
    desk.fill(other, 0, 1, "50", fill_id="X-1")
    assert desk.books.holdings["KO"].quantity == 38


def test_a_reservation_shrinks_as_it_is_spent_and_grows_with_what_is_sold(desk: Desk) -> None:
    hold(desk, "PG", 10, 100)
    assert desk.books.free_cash == 9000
    batch = desk.submit(sell("PG", 10, 100, 1), buy("KO", 100, 50, 2))
    assert desk.books.reserved_cash == 4000  # 5,000 for KO, 1,000 of it from PG
    assert desk.books.free_shares("PG") == 0
    desk.fill(batch, 0, 10, "100")
    assert money(desk)[:2] == [10_000, 5000]
    assert desk.books.holdings.keys() == set()
    desk.fill(batch, 1, 40, "50")
    assert money(desk) == [8000, 3000, 5000]
    assert desk.books.holdings["KO"].free == 0
    desk.tell(batch, Completed())
    assert money(desk)[1:] == [0, 8000]
    assert desk.books.holdings["KO"].free == 40
    assert desk.books.open_batches == ()


def test_who_spends_more_than_was_reserved_takes_it_from_what_is_free_only(desk: Desk) -> None:
    dear = desk.submit(buy("KO", 100, 50))
    other = desk.submit(buy("PG", 40, 100))
    assert desk.books.free_cash == 1000
    desk.fill(dear, 0, 100, "57")
    assert desk.books.reserved_cash == 4000
    assert desk.books.free_cash == 300
    desk.tell(other, Withdrawn("cancelled"))
    assert desk.books.free_cash == 4300


@pytest.mark.parametrize("end", [Completed(), RolledBack(Decimal(0)), Withdrawn("cancelled")])
def test_every_end_releases_the_reservation(desk: Desk, end: Event) -> None:
    batch = desk.submit(buy("KO", 100, 50))
    desk.tell(batch, Started())
    assert desk.books.reserved_cash == 5000
    desk.tell(batch, end)
    assert desk.books.reserved_cash == 0
    assert desk.books.open_batches == ()


def test_a_fill_that_comes_after_the_end_is_booked_and_is_nobody_s(desk: Desk) -> None:
    batch = desk.submit(buy("KO", 100, 50))
    desk.tell(batch, RolledBack(Decimal(0)))
    desk.fill(batch, 0, 3, "50")
    assert desk.books.holdings["KO"].free == 3
    assert desk.books.free_cash == 9850


@pytest.mark.requirement("O10", "O11")
def test_a_saga_that_cannot_be_undone_makes_the_portfolio_stale_and_keeps_its_reservation(
    desk: Desk,
) -> None:
    batch = desk.submit(buy("KO", 100, 50))
    desk.fill(batch, 0, 100, "50")
    desk.tell(batch, Abandoned("KO could not be sold", ()))
    mark = desk.books.stale[0]
    assert (mark.batch_id, mark.reason) == (batch.batch_id, "KO could not be sold")
    assert desk.books.open_batches == (batch.batch_id,)
    assert desk.books.holdings["KO"].free == 0
    before = list(desk.connection.iterdump())
    with pytest.raises(PortfolioStale, match=batch.batch_id):
        desk.submit(sell("KO", 1, 50))
    with pytest.raises(PortfolioStale):
        desk.submit(transfer(Way.WITHDRAWAL, 1), mode=ExecutionMode.SEQUENTIAL, key="")
    assert list(desk.connection.iterdump()) == before
    deposit(desk, 5)
    assert desk.books.cash == 5005


@pytest.mark.requirement("O10")
def test_a_retry_leaves_it_stale_until_the_rollback_has_ended(desk: Desk) -> None:
    batch = desk.submit(buy("KO", 100, 50))
    desk.fill(batch, 0, 100, "50")
    desk.tell(batch, LostTrack("no answer", ()))
    desk.tell(batch, Retried("ada", "again"))
    assert desk.books.stale
    desk.fill(batch, 0, 100, "49", "1", purpose=Purpose.COMPENSATION)
    assert desk.books.stale
    desk.tell(batch, RolledBack(Decimal(101)))
    assert not desk.books.stale
    assert money(desk)[:2] == [9899, 0]
    assert dict(desk.books.holdings) == {}
    assert [entry.kind for entry in read_ledger(desk.connection, "main")] == [
        "transfer",
        "trade",
        "undo",
    ]


@pytest.mark.requirement("O10")
def test_a_resolution_books_its_adjustments_and_the_last_one_ends_staleness(desk: Desk) -> None:
    first, second = desk.submit(buy("KO", 100, 50)), desk.submit(buy("PG", 10, 100))
    desk.fill(first, 0, 100, "50")
    desk.fill(second, 0, 10, "100")
    desk.tell(first, Abandoned("stuck", ()))
    desk.tell(second, Abandoned("stuck too", ()))
    adjustments = (
        Adjustment("KO", Decimal(-100), Decimal("4899.5"), "T-99"),
        Adjustment("fees", Decimal(0), Decimal(-1)),
    )
    desk.tell(first, Resolved("ada", "sold by hand", "sold 100 KO", "ticket 17", adjustments))
    assert desk.books.cash == Decimal("8898.5")
    assert set(desk.books.holdings) == {"PG"}
    assert [mark.batch_id for mark in desk.books.stale] == [second.batch_id]
    desk.tell(second, Resolved("ada", "kept", "nothing", "ticket 18"))
    assert desk.books.stale == ()
    assert desk.books.holdings["PG"].free == 10
    assert [each.reference for each in read_ledger(desk.connection, "main")][-2:] == ["T-99", None]


def test_what_is_refused_changes_nothing(desk: Desk) -> None:
    before = list(desk.connection.iterdump())
    with pytest.raises(InsufficientCash, match=r"needs 10001 USD at worst.* has 10000 free"):
        desk.submit(buy("KO", 1, 10_001))
    with pytest.raises(InsufficientShares, match="sells 1 KO at worst"):
        desk.submit(sell("KO", 1, 50))
    with pytest.raises(InsufficientCash):
        desk.submit(transfer(Way.WITHDRAWAL, 10_001), mode=ExecutionMode.SEQUENTIAL, key="")
    with pytest.raises(InvalidInput, match="no books"):
        desk.submit(buy("KO", 1, 50), key="other")
    with pytest.raises(InvalidInput, match="portfolio name"):
        desk.submit(transfer(Way.DEPOSIT, 1, "a b"), mode=ExecutionMode.SEQUENTIAL, key="")
    with pytest.raises(InvalidInput, match="batch of their own"):
        desk.submit(transfer(Way.DEPOSIT, 1), buy("KO", 1, 50, 2), key="")
    with pytest.raises(InvalidInput, match="batch of their own"):
        desk.submit(buy("KO", 1, 50, 2), transfer(Way.DEPOSIT, 1))
    with pytest.raises(InvalidInput, match="batch of their own"):
        desk.submit(transfer(Way.DEPOSIT, 1), mode=ExecutionMode.SEQUENTIAL)
    with pytest.raises(InvalidInput, match="moves EUR"):
        desk.submit(transfer(Way.DEPOSIT, 1, currency="EUR"), mode=ExecutionMode.SEQUENTIAL, key="")
    assert list(desk.connection.iterdump()) == before


def test_batches_of_no_portfolio_leave_the_books_alone(desk: Desk) -> None:
    before = list(desk.connection.iterdump())
    batch = desk.submit(buy("KO", 1_000_000, 50), key="")
    desk.fill(batch, 0, 10, "50")
    desk.tell(batch, Abandoned("stuck", ()))
    assert list(desk.connection.iterdump()) == before


def test_cancelling_an_order_moves_nothing_but_its_fee(desk: Desk) -> None:
    cancel = CancelOrder(directive_id="EXE_1", client_order_id="20261121_093000_k3v9x-0F1")
    batch = desk.submit(cancel, mode=ExecutionMode.PARALLEL)
    desk.fill(batch, 0, 1, "0", "0.25")
    assert desk.books.cash == Decimal("9999.75")
    assert dict(desk.books.holdings) == {}


def test_a_market_order_without_a_price_is_reserved_at_the_last_one(desk: Desk) -> None:
    hold(desk, "KO", 10, 50)
    desk.submit(Buy(directive_id="EXE_1", symbol="KO", quantity=10))
    assert desk.books.reserved_cash == 500


@pytest.mark.requirement("T2")
def test_the_tables_can_be_taken_back(desk: Desk) -> None:
    for migration in reversed(MIGRATIONS):
        for statement in migration.down:
            desk.connection.execute(statement)
    assert desk.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
