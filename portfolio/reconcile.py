"""Are the books what the broker says? Compares trades, positions and cash; hides no difference.

A trade at the broker is ours only if its client order id has the form of ours *and* this very fill
is in the books. Any other trade is reported, and never taken for ours. A difference that the
reported trades account for is still a difference; what they do not account for stands apart.

`compare` is pure; `reconcile` only reads. Neither changes the books: that is what an operator's
resolution is for, whose adjustments name the trades that they book.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from brokers.broker import Broker
from brokers.orders import Side
from brokers.venue import Account, Position, Trade, TradePlace
from portfolio.books import Books, BooksReader, LedgerEntry, read_books, read_ledger, read_names
from saga.errors import SagaError
from saga.exact import ZERO, minus, plus, times, total
from saga.ids import batch_of_key

MAX_READINGS: Final = 5
"""So often the broker is read again because it traded while it was being read."""


class BrokerBusy(SagaError):
    """The broker traded all the time while it was being read; try again later."""


class Origin(StrEnum):
    """Whose trade it is, where it is not in the books."""

    IN_FLIGHT = "in_flight"
    """Ours: its batch is under way, so that the engine is about to hear of it."""
    LATE = "late"
    """It bears a key of our form, but its batch is over, STALE or unknown."""
    EXTERNAL = "external"
    """No saga made it."""


@dataclass(frozen=True, slots=True)
class UnbookedTrade:
    """A trade at the broker that is not in the books as a fill.

    Attributes:
        trade_id: the broker's own id of it.
        client_order_id: the key of its order; None if it was placed by hand.
        quantity: how much, positive.
        price: per unit, in the account's currency.
        fee: what it cost beside the price.
        reverses: the id of the trade that it takes back; None for an ordinary trade.
        explained_by: the batch in whose resolution an operator booked it; None if nobody did.
    """

    origin: Origin
    trade_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: datetime
    reverses: str | None
    explained_by: str | None

    @property
    def shares(self) -> Decimal:
        """Signed change of what is held."""
        return self.quantity if self.side is Side.BUY else minus(ZERO, self.quantity)

    @property
    def cash(self) -> Decimal:
        """Signed change of cash, fee included."""
        return minus(minus(ZERO, times(self.shares, self.price)), self.fee)


@dataclass(frozen=True, slots=True)
class Difference:
    """Books and broker disagree about one symbol, or about cash.

    Attributes:
        symbol: the symbol; None for cash.
        books: what the books say.
        broker: what the broker says.
        by_trades: how much of the difference the reported trades account for.
    """

    symbol: str | None
    books: Decimal
    broker: Decimal
    by_trades: Decimal

    @property
    def unexplained(self) -> Decimal:
        """What the reported trades do not account for; zero if they account for all."""
        return minus(minus(self.broker, self.books), self.by_trades)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a comparison found.

    Attributes:
        matched: how many trades stand in the books and at the broker.
        unbooked: trades at the broker that are not in the books.
        unknown_to_broker: fills that stand in the books, and that the broker does not list.
        differences: symbols on which positions differ, and cash if that does.
    """

    matched: int
    unbooked: tuple[UnbookedTrade, ...]
    unknown_to_broker: tuple[LedgerEntry, ...]
    differences: tuple[Difference, ...]

    @property
    def external(self) -> tuple[UnbookedTrade, ...]:
        """Trades that no saga made."""
        return tuple(trade for trade in self.unbooked if trade.origin is Origin.EXTERNAL)

    @property
    def late(self) -> tuple[UnbookedTrade, ...]:
        """Trades with a key of ours that nobody waits for any more."""
        return tuple(trade for trade in self.unbooked if trade.origin is Origin.LATE)

    @property
    def agrees(self) -> bool:
        """Positions and cash are equal, and every trade is in the books or explained."""
        explained = all(trade.explained_by is not None for trade in self.unbooked)
        return explained and not self.differences and not self.unknown_to_broker


async def reconcile(
    reader: BooksReader, broker: Broker, portfolios: Sequence[str] | None = None
) -> Reconciliation:
    """Compare a broker's account with the books of the portfolios that trade in it.

    Args:
        reader: where the books are read.
        broker: the account.
        portfolios: all portfolios that trade in that account; None is all there are.

    Raises:
        BrokerBusy: it traded while it was being read, again and again.
        OutcomeUnknown: the broker gave no answer that can be used.
    """
    # The books first, all at once: a fill that is booked must then be known to the broker.
    all_books, ledger = await reader.read(_read_all, portfolios)
    for _ in range(MAX_READINGS):
        trades = await broker.trades()
        positions = await broker.positions()
        account = await broker.account()
        if {each.place for each in await broker.trades()} == {each.place for each in trades}:
            return compare(all_books, ledger, trades, positions, account)
    raise BrokerBusy(
        f"{broker.name} traded while it was being read, {MAX_READINGS} times in a row; "
        "pause the batches that run, and try again"
    )


def _read_all(
    connection: sqlite3.Connection, portfolios: Sequence[str] | None
) -> tuple[list[Books], list[LedgerEntry]]:
    names = read_names(connection) if portfolios is None else portfolios
    all_books = [books for name in names if (books := read_books(connection, name))]
    return all_books, [entry for name in names for entry in read_ledger(connection, name)]


def compare(
    all_books: Iterable[Books],
    ledger: Iterable[LedgerEntry],
    trades: Iterable[Trade],
    positions: Iterable[Position],
    account: Account,
) -> Reconciliation:
    """Return what differs.

    Args:
        all_books: the books of all portfolios that trade in the account.
        ledger: all their ledger entries.
        trades: the account's executions, doubled or not.
        positions: what the account holds.
        account: the account's cash.
    """
    all_books, ledger = list(all_books), list(ledger)
    once = {trade.place: trade for trade in trades}
    booked = {(each.client_order_id, each.fill_id): each for each in ledger if each.symbol}
    stale = {mark.batch_id for books in all_books for mark in books.stale}
    under_way = {batch for books in all_books for batch in books.open_batches} - stale
    taken_back = {(each.client_order_id, each.reverses) for each in ledger if each.reverses}
    ours = {
        place
        for place, trade in once.items()
        if place in booked or not taken_back.isdisjoint(_reversed_by(trade, once))
    }
    unbooked = _explained(
        [_unbooked(trade, under_way) for place, trade in once.items() if place not in ours], ledger
    )
    # A venue may delete what it has reversed; then neither side counts it.
    missing = tuple(
        entry
        for place, entry in booked.items()
        if place[1] is not None and place not in ours and place not in taken_back
    )
    held = {each.symbol: each.quantity for each in positions}
    return Reconciliation(
        matched=len(ours),
        unbooked=unbooked,
        unknown_to_broker=missing,
        differences=_differences(all_books, held, account.cash, unbooked),
    )


def _reversed_by(trade: Trade, once: Mapping[TradePlace, Trade]) -> set[TradePlace]:
    """Return the fill that a trade reverses; it may name the order, or leave that out."""
    if trade.reverses is None:
        return set()
    named = (trade.client_order_id, trade.reverses)
    if trade.client_order_id is not None:
        return {named}
    return {place for place in once if place[1] == trade.reverses} or {named}


def _unbooked(trade: Trade, under_way: set[str]) -> UnbookedTrade:
    key = trade.client_order_id
    batch_id = batch_of_key(key) if key is not None else None
    if batch_id is None:
        origin = Origin.EXTERNAL
    else:
        origin = Origin.IN_FLIGHT if batch_id in under_way else Origin.LATE
    return UnbookedTrade(
        origin=origin,
        trade_id=trade.fill_id,
        client_order_id=key,
        symbol=trade.symbol,
        side=trade.side,
        quantity=trade.quantity,
        price=trade.price,
        fee=trade.fee,
        at=trade.at,
        reverses=trade.reverses,
        explained_by=None,
    )


def _explained(
    unbooked: Sequence[UnbookedTrade], ledger: Iterable[LedgerEntry]
) -> tuple[UnbookedTrade, ...]:
    """Return the trades, those that operators booked by hand with the batch in which they did.

    Many venues number the fills of each order from one. So what was booked under an id stands for
    one trade with that id, of its symbol and in its direction, and not for one that bears the key
    of another batch; of several, for the one that is most like it.
    """
    found = list(unbooked)
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, trade in enumerate(found):
        places[trade.trade_id, trade.symbol].append(place)
    pairs = sorted(
        (_unlike(found[place], named[0], booked), place, named)
        for named, booked in _by_hand(ledger).items()
        for place in places[named[2], named[1]]
        if _can_stand_for(found[place], named[0], booked)
    )
    used: set[tuple[str, str, str]] = set()
    for _, place, named in pairs:
        if found[place].explained_by is None and named not in used:
            used.add(named)
            found[place] = replace(found[place], explained_by=named[0])
    return tuple(found)


def _by_hand(
    ledger: Iterable[LedgerEntry],
) -> dict[tuple[str, str, str], tuple[Decimal, Decimal]]:
    """Return shares and cash that operators booked, by batch, symbol and the trade's id."""
    booked: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    for each in ledger:
        if each.reference is not None and each.symbol is not None:
            place = (each.batch_id, each.symbol, each.reference)
            shares, cash = booked.get(place, (ZERO, ZERO))
            booked[place] = plus(shares, each.quantity), plus(cash, each.cash)
    return booked


def _can_stand_for(trade: UnbookedTrade, batch_id: str, booked: tuple[Decimal, Decimal]) -> bool:
    key = trade.client_order_id
    owner = None if key is None else batch_of_key(key)
    return owner in (None, batch_id) and times(trade.shares, booked[0]) > ZERO


def _unlike(
    trade: UnbookedTrade, batch_id: str, booked: tuple[Decimal, Decimal]
) -> tuple[bool, bool, bool]:
    """Say in what a trade differs from what was booked by hand, what tells most first."""
    key = trade.client_order_id
    is_of_it = key is not None and batch_of_key(key) == batch_id
    return not is_of_it, trade.shares != booked[0], trade.cash != booked[1]


def _differences(
    all_books: Sequence[Books],
    held: Mapping[str, Decimal],
    cash: Decimal,
    unbooked: Sequence[UnbookedTrade],
) -> tuple[Difference, ...]:
    in_books: dict[str, Decimal] = {}
    for books in all_books:
        for holding in books.holdings.values():
            quantity = in_books.get(holding.symbol, ZERO)
            in_books[holding.symbol] = plus(quantity, holding.quantity)
    # What an operator has booked stands in the books already.
    open_trades = [trade for trade in unbooked if trade.explained_by is None]
    found = [
        Difference(
            symbol,
            in_books.get(symbol, ZERO),
            held.get(symbol, ZERO),
            total(trade.shares for trade in open_trades if trade.symbol == symbol),
        )
        for symbol in sorted(in_books.keys() | held.keys())
    ]
    booked_cash = total(books.cash for books in all_books)
    found.append(Difference(None, booked_cash, cash, total(trade.cash for trade in open_trades)))
    return tuple(each for each in found if each.books != each.broker)
