"""Late truth in the books: booked like any fill, and taken back exactly and once (S9, S10)."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.orders import Buy, Side
from brokers.venue import Account, Position, Trade
from portfolio import CashTransfer
from portfolio.books import read_ledger
from portfolio.reconcile import Origin, compare
from portfolio.schema import MIGRATIONS
from portfolio.transfer import Way
from saga.events import (
    Abandoned,
    Adjustment,
    Completed,
    Event,
    IncidentClosed,
    LateTruth,
    Reported,
    Resolved,
    Retried,
)
from saga.ids import Purpose, attempt_key
from saga.model import Batch
from saga.outcome import Fill
from tests.portfolio.test_portfolio_projection import NOW, Desk

FORWARD = Purpose.FORWARD


@pytest.fixture
def desk() -> Iterator["LateDesk"]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in MIGRATIONS:
            for statement in migration.up:
                connection.execute(statement)
        desk = LateDesk(connection)
        deposit = CashTransfer(
            directive_id="EXE_in",
            portfolio="main",
            way=Way.DEPOSIT,
            cash=Decimal(1000),
            currency="USD",
        )
        batch = desk.submit(deposit, key="")
        desk.fill(batch, 0, 1000)
        desk.tell(batch, Completed())
        yield desk


class LateDesk(Desk):
    """A desk that hears late truth as well."""

    def bought(self) -> Batch:
        """A batch that bought 5 AAPL at 10, fee 1, and is over."""
        batch = self.submit(
            Buy(
                directive_id="EXE_1",
                symbol="AAPL",
                quantity=Decimal(5),
                reference_price=Decimal(10),
            )
        )
        self.fill(batch, 0, 5, "10", "1", fill_id="T-buy")
        self.tell(batch, Completed())
        return batch

    def late(self, batch: Batch, *fills: Fill, reversed_ids: tuple[str, ...] = ()) -> None:
        event = LateTruth(0, FORWARD, 1, True, "the watcher", fills, reversed_ids)
        self.tell(batch, event)

    def held(self) -> tuple[int, str]:
        holding = self.books.holdings.get("AAPL")
        return (0 if holding is None else int(holding.quantity), str(self.books.cash))


def trade(number: int, fill_id: str, key: str, side: Side, reverses: str | None = None) -> Trade:
    fee = Decimal(1 if reverses is None else -1)
    return Trade(number, fill_id, key, "AAPL", side, Decimal(5), Decimal(10), fee, NOW, reverses)


@pytest.mark.requirement("S9", "S10")
def test_a_late_fill_is_booked_once_although_the_batch_is_over(desk: LateDesk) -> None:
    batch = desk.bought()
    for _ in range(2):
        desk.late(batch, Fill("T-late", Decimal(1), Decimal(10), Decimal(1), NOW))
    assert desk.held() == (6, "938")
    assert desk.books.open_batches == ()


@pytest.mark.requirement("S9", "S10")
@pytest.mark.scenario("B-12")
def test_a_bust_takes_back_exactly_what_it_names_and_once(desk: LateDesk) -> None:
    batch = desk.bought()
    assert desk.held() == (5, "949")
    for _ in range(2):
        desk.late(batch, reversed_ids=("T-buy",))
    assert desk.held() == (0, "1000")
    entry = read_ledger(desk.connection, "main")[-1]
    assert (entry.kind, entry.reverses, entry.quantity, entry.cash, entry.fee) == (
        "reversal",
        "T-buy",
        Decimal(-5),
        Decimal(51),
        Decimal(-1),
    )


@pytest.mark.requirement("S9", "S10")
def test_a_correction_is_a_reversal_and_a_new_fill(desk: LateDesk) -> None:
    batch = desk.bought()
    right = Fill("T-right", Decimal(5), Decimal(9), Decimal(1), NOW)
    desk.late(batch, right, reversed_ids=("T-buy",))
    assert desk.held() == (5, "954")


@pytest.mark.requirement("S9")
def test_a_reversal_of_what_was_never_booked_changes_nothing(desk: LateDesk) -> None:
    batch = desk.bought()
    desk.late(batch, reversed_ids=("T-other",))
    assert desk.held() == (5, "949")


@pytest.mark.requirement("S10")
def test_a_stale_batch_keeps_its_mark_and_its_reservation_follows_late_truth(
    desk: LateDesk,
) -> None:
    order = Buy(
        directive_id="EXE_1", symbol="AAPL", quantity=Decimal(5), reference_price=Decimal(10)
    )
    batch = desk.submit(order)
    desk.tell(batch, Abandoned("not to be known", ()))
    free = desk.books.free_cash
    desk.late(batch, Fill("T-late", Decimal(5), Decimal(10), Decimal(0), NOW))
    assert [mark.batch_id for mark in desk.books.stale] == [batch.batch_id]
    assert desk.books.free_cash == free, "what is spent leaves the reservation as it is spent"
    assert desk.held() == (5, "950")


@pytest.mark.requirement("S10")
def test_what_an_operator_did_about_an_incident_is_booked(desk: LateDesk) -> None:
    batch = desk.bought()
    desk.late(batch, Fill("T-late", Decimal(1), Decimal(10), Decimal(0), NOW))
    sold = Adjustment("AAPL", Decimal(-1), Decimal(11), "T-hand")
    closed: Event = IncidentClosed("ann", "sold it", 9, "sold 1", (sold,))
    desk.tell(batch, closed)
    assert desk.held() == (5, "950")


def resolved(*adjustments: Adjustment) -> Resolved:
    return Resolved("ann", "it was filled", "kept 5", "the broker's list", adjustments)


def stale_after_a_lost_order(desk: LateDesk) -> Batch:
    batch = desk.submit(
        Buy(directive_id="EXE_1", symbol="AAPL", quantity=Decimal(5), reference_price=Decimal(10))
    )
    desk.tell(batch, Abandoned("not to be known", ()))
    return batch


HAND = Adjustment("AAPL", Decimal(5), Decimal(-51), "T-late")
LATE = Fill("T-late", Decimal(5), Decimal(10), Decimal(1), NOW)


@pytest.mark.requirement("S9", "S10")
@pytest.mark.parametrize(
    "by_hand",
    [
        (HAND,),
        (replace(HAND, cash=Decimal(-50)),),
        (replace(HAND, quantity=Decimal(4)), replace(HAND, quantity=Decimal(1), cash=Decimal(0))),
    ],
    ids=["exactly", "without the fee", "in two pieces"],
)
def test_a_late_fill_that_an_operator_has_booked_already_stands_in_the_books_once(
    desk: LateDesk, by_hand: tuple[Adjustment, ...]
) -> None:
    batch = stale_after_a_lost_order(desk)
    desk.tell(batch, resolved(*by_hand))
    for _ in range(2):
        desk.late(batch, LATE)
    assert desk.held() == (5, "949"), "as the broker tells it"
    key = attempt_key(batch.batch_id, 0, FORWARD, 1)
    found = compare(
        [desk.books],
        read_ledger(desk.connection, "main"),
        [trade(1, "T-late", key, Side.BUY)],
        [Position("AAPL", Decimal(5))],
        Account(Decimal(949), "USD", "paper"),
    )
    assert found.agrees
    assert found.matched == 1
    desk.late(batch, reversed_ids=("T-late",))
    assert desk.held() == (0, "1000"), "what is taken back is the fill, once"


@pytest.mark.requirement("S9", "S10")
def test_what_an_operator_did_about_a_late_fill_stays_when_the_fill_is_taken_back(
    desk: LateDesk,
) -> None:
    batch = stale_after_a_lost_order(desk)
    desk.late(batch, LATE)
    sold = Adjustment("AAPL", Decimal(-5), Decimal(50), "T-late")
    desk.tell(batch, IncidentClosed("ann", "sold it", 9, "sold it", (sold,)))
    desk.late(batch, reversed_ids=("T-late",))
    assert desk.held() == (-5, "1050"), "as the broker has it: nothing was bought, and 5 were sold"


@pytest.mark.requirement("S9", "S10")
def test_a_fill_that_a_retried_batch_reports_is_booked_once_although_named_by_hand(
    desk: LateDesk,
) -> None:
    batch = stale_after_a_lost_order(desk)
    desk.late(batch, reversed_ids=())
    desk.tell(batch, IncidentClosed("ann", "it was filled", 9, "booked it", (HAND,)))
    desk.tell(batch, Retried("ann", "look again"))
    desk.tell(batch, Reported(0, FORWARD, 1, final=True, fills=(LATE,)))
    assert desk.held() == (5, "949")


@pytest.mark.requirement("S9", "S10")
@pytest.mark.parametrize(
    "other",
    [
        replace(HAND, reference="T-other"),
        replace(HAND, reference=None),
        replace(HAND, subject="MSFT"),
        replace(HAND, quantity=Decimal(-5), cash=Decimal(49)),
        replace(HAND, quantity=Decimal(0), cash=Decimal(-51)),
        replace(HAND, quantity=Decimal(3), cash=Decimal(-31)),
    ],
    ids=[
        "another trade",
        "no trade",
        "another symbol",
        "the other way",
        "no shares",
        "not as much",
    ],
)
def test_what_an_operator_booked_of_something_else_stays_beside_a_late_fill(
    desk: LateDesk, other: Adjustment
) -> None:
    batch = stale_after_a_lost_order(desk)
    desk.tell(batch, resolved(other))
    before = len(read_ledger(desk.connection, "main"))
    desk.late(batch, LATE)
    (entry,) = read_ledger(desk.connection, "main")[before:]
    assert (entry.kind, entry.fill_id) == ("trade", "T-late")


@pytest.mark.requirement("S9", "S10")
def test_an_adjustment_of_another_batch_gives_way_to_nothing(desk: LateDesk) -> None:
    batch = stale_after_a_lost_order(desk)
    desk.tell(batch, resolved(HAND))
    other = stale_after_a_lost_order(desk)
    desk.late(other, LATE)
    assert desk.held() == (10, "898")


@pytest.mark.requirement("L6", "S10")
def test_what_was_late_is_explained_once_the_journal_has_it(desk: LateDesk) -> None:
    batch = desk.bought()
    key = attempt_key(batch.batch_id, 0, FORWARD, 1)
    trades = [
        trade(1, "T-buy", key, Side.BUY),
        trade(2, "T-bust", key, Side.SELL, reverses="T-buy"),
    ]
    account = Account(Decimal(1000), "USD", "paper")

    def found() -> tuple[list[Origin], bool]:
        ledger = read_ledger(desk.connection, "main")
        result = compare([desk.books], ledger, trades, [], account)
        return [each.origin for each in result.unbooked], result.agrees

    assert found() == ([Origin.LATE], False)
    desk.late(batch, reversed_ids=("T-buy",))
    assert found() == ([], True)
    account = Account(Decimal(949), "USD", "paper")
    two = compare(
        [desk.books],
        read_ledger(desk.connection, "main"),
        [*trades, trade(3, "T-bust-2", key, Side.SELL, reverses="T-bust")],
        [Position("AAPL", Decimal(5))],
        account,
    )
    assert [each.trade_id for each in two.unbooked] == ["T-bust-2"]


@pytest.mark.requirement("T2")
def test_reversals_become_adjustments_in_the_older_tables(desk: LateDesk) -> None:
    batch = desk.bought()
    desk.late(batch, reversed_ids=("T-buy",))
    before = desk.held()
    for statement in MIGRATIONS[-1].down:
        desk.connection.execute(statement)
    rows = desk.connection.execute(
        "SELECT kind, client_order_id, reference FROM portfolio_ledger ORDER BY id"
    ).fetchall()
    assert rows[-1] == ("adjustment", None, "T-buy")
    for statement in MIGRATIONS[-1].up:
        desk.connection.execute(statement)
    assert desk.held() == before
    assert len(read_ledger(desk.connection, "main")) == 3
