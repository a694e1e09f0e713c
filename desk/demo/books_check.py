"""The exchange's own books against the sagas' journal: is every order one that a saga sent, once?

Two tellings of the same events that share nothing: the engine never reads the exchange's books, nor
the exchange the journal. This module is handed both, and believes neither. It changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from brokers.orders import Order, Side
from brokers.paper import BookedOrder, Books
from brokers.paper.rows import standing
from brokers.venue import Trade
from saga.events import Intended, ProvenAbsent, Reported, Resolved, Submitted, Withheld
from saga.exact import ZERO, plain, plus, total
from saga.ids import Purpose, attempt_key
from saga.model import Batch
from saga.store.protocol import JournalRecord


@dataclass(frozen=True, slots=True)
class BooksCheck:
    """What the comparison found.

    Attributes:
        orders: how many orders are in the exchange's books, refused ones included.
        duplicates: orders that came twice, and legs that traded more than they asked for.
        missing: attempts of which the journal tells something that the books do not have.
        unexplained: orders in the books, or parts of their effect, that no saga accounts for.
        findings: each of these in words.
    """

    orders: int
    duplicates: int
    missing: int
    unexplained: int
    findings: tuple[str, ...]


@dataclass(slots=True)
class _Attempt:
    """One attempt, as the journal tells it."""

    key: str
    leg: tuple[str, int]
    purpose: Purpose
    symbol: str
    side: Side
    quantity: Decimal
    told: bool = False
    absent: bool = False
    fills: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    """Quantity and price by the exchange's id of the fill."""


@dataclass(slots=True)
class _Journal:
    """What all journals together say of the exchange."""

    attempts: dict[str, _Attempt] = field(default_factory=dict)
    asked: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    by_hand: set[str] = field(default_factory=set)
    """The trades that operators named when they resolved a batch."""


@dataclass(slots=True)
class _Count:
    duplicates: int = 0
    missing: int = 0
    unexplained: int = 0
    findings: list[str] = field(default_factory=list)


def check_books(books: Books, records: Iterable[JournalRecord]) -> BooksCheck:
    """Compare the exchange's books with the journal of every saga that traded there.

    Args:
        books: everything in the exchange's books.
        records: the journal records of all sagas, each saga's in their order; all at rest.
    """
    journal = _told_by(records)
    orders: dict[str, list[BookedOrder]] = defaultdict(list)
    by_hand = []
    for order in books.orders:
        if order.client_order_id is None:
            by_hand.append(order)
        else:
            orders[order.client_order_id].append(order)
    trades: dict[str | None, list[Trade]] = defaultdict(list)
    for trade in standing(books.executions):
        trades[trade.client_order_id].append(trade)
    count = _Count()
    doubled = _count_doubled(orders, count)
    _count_overdone(journal, trades, doubled, count)
    for attempt in journal.attempts.values():
        _check_attempt(attempt, orders.get(attempt.key, []), trades[attempt.key], count)
    for key in orders.keys() - journal.attempts.keys():
        count.unexplained += len(orders[key])
        count.findings.append(f"order {key} is in the exchange's books, but no saga sent it")
    _check_by_hand(by_hand, trades[None], journal.by_hand, count)
    return BooksCheck(
        len(books.orders),
        count.duplicates,
        count.missing,
        count.unexplained,
        tuple(count.findings),
    )


def _told_by(records: Iterable[JournalRecord]) -> _Journal:
    journal = _Journal()
    batches: dict[str, Batch] = {}
    for record in records:
        event = record.event
        if isinstance(event, Submitted):
            batches[record.batch_id] = event.batch
        elif isinstance(event, Resolved):
            journal.by_hand |= {each.reference for each in event.adjustments if each.reference}
        elif isinstance(event, (Intended, Reported, ProvenAbsent, Withheld)):
            _note(journal, batches[record.batch_id], event)
    return journal


def _note(
    journal: _Journal, batch: Batch, event: Intended | Reported | ProvenAbsent | Withheld
) -> None:
    order = batch.directives[event.step]
    if not isinstance(order, Order):
        return
    key = attempt_key(batch.batch_id, event.step, event.purpose, event.number)
    if isinstance(event, Intended):
        leg = (batch.batch_id, event.step)
        undoes = event.purpose is Purpose.COMPENSATION
        other = Side.SELL if order.side is Side.BUY else Side.BUY
        side = other if undoes else order.side
        journal.asked[leg] = order.quantity
        journal.attempts[key] = _Attempt(key, leg, event.purpose, order.symbol, side, event.amount)
    elif isinstance(event, Reported):
        attempt = journal.attempts[key]
        attempt.told = True
        attempt.fills |= {each.fill_id: (each.quantity, each.price) for each in event.fills}
    else:
        journal.attempts[key].absent = True


def _count_doubled(orders: dict[str, list[BookedOrder]], count: _Count) -> set[str]:
    doubled = {key for key, same in orders.items() if len(same) > 1}
    for key in sorted(doubled):
        count.duplicates += len(orders[key]) - 1
        count.findings.append(f"order {key} is in the exchange's books {len(orders[key])} times")
    return doubled


def _count_overdone(
    journal: _Journal, trades: dict[str | None, list[Trade]], doubled: set[str], count: _Count
) -> None:
    """A leg that is sent twice under two keys is doubled as well: it trades too much."""
    counted = {journal.attempts[key].leg for key in doubled & journal.attempts.keys()}
    done: dict[tuple[str, int], Decimal] = defaultdict(lambda: ZERO)
    undone: dict[tuple[str, int], Decimal] = defaultdict(lambda: ZERO)
    for attempt in journal.attempts.values():
        filled = total(trade.quantity for trade in trades.get(attempt.key, []))
        which = done if attempt.purpose is Purpose.FORWARD else undone
        which[attempt.leg] = plus(which[attempt.leg], filled)
    for leg, asked in journal.asked.items():
        if leg in counted:
            continue
        for what, amount, bound in (
            ("filled", done[leg], asked),
            ("undone", undone[leg], done[leg]),
        ):
            if amount > bound:
                count.duplicates += 1
                count.findings.append(
                    f"leg {leg[1] + 1} of {leg[0]} was {what} for {plain(amount)}, "
                    f"which is more than {plain(bound)}"
                )


def _check_attempt(
    attempt: _Attempt, orders: list[BookedOrder], trades: list[Trade], count: _Count
) -> None:
    there = {trade.fill_id: (trade.quantity, trade.price) for trade in trades}
    if attempt.told and not orders:
        count.missing += 1
        count.findings.append(f"order {attempt.key} is not in the exchange's books")
    elif any(there.get(fill_id) != fill for fill_id, fill in attempt.fills.items()):
        count.missing += 1
        count.findings.append(f"a fill of order {attempt.key} is not in the exchange's books")
    if any(fill_id not in attempt.fills for fill_id in there):
        count.unexplained += 1
        count.findings.append(f"order {attempt.key} has traded more than its saga knows of")
    if orders and not attempt.told:
        count.unexplained += 1
        sure = "is sure that it never arrived" if attempt.absent else "has never heard of it again"
        count.findings.append(f"order {attempt.key} is in the books, but its saga {sure}")
    for order in orders:
        asked = (attempt.symbol, attempt.side, attempt.quantity)
        if (order.symbol, order.side, order.quantity) != asked:
            count.unexplained += 1
            count.findings.append(f"order {attempt.key} is in the books for something else")


def _check_by_hand(
    orders: list[BookedOrder], trades: list[Trade], explained: set[str], count: _Count
) -> None:
    """Orders without a key are somebody's at the screen: an operator's ticket has to name them."""
    open_trades = [trade for trade in trades if trade.fill_id not in explained]
    count.unexplained += len(open_trades)
    count.findings += [
        f"trade {trade.fill_id} ({trade.side} {plain(trade.quantity)} {trade.symbol}) was made "
        "by hand, and no operator has named it"
        for trade in open_trades
    ]
    unfilled = [order for order in orders if not order.filled]
    count.unexplained += len(unfilled)
    count.findings += [
        f"order {order.number} was placed by hand and is not filled" for order in unfilled
    ]
    gone = explained - {trade.fill_id for trade in trades}
    count.missing += len(gone)
    count.findings += [
        f"trade {fill_id}, which an operator named, is not in the books" for fill_id in gone
    ]
