"""A portfolio's books, shown: what is held, what orders in the air make of it, what it is worth."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from rich.text import Text

from desk.carrier import Carrier, carrier_of
from desk.exposure import in_place, may_move_cash
from desk.home import Home
from desk.old_copy import old_copy_of
from desk.output import Column, Money, Screen, Value, money
from desk.reading import read_or_why
from desk.trading_state import Standing, read_standing
from desk.unaccounted import Waiting, waiting_of
from portfolio.books import Books, read_books
from portfolio.naming import exclusion_key
from saga.exact import ZERO, minus, plus, times, total
from saga.history import History
from saga.ledger import Saga
from saga.logbook import TradingState
from saga.store.protocol import JournalRecord
from saga.store.rows import instant as instant_of
from saga.store.sqlite_reader import SqliteReader
from saga.views import BatchRow

_READINGS = 3
"""So often the books are read until no batch came or ended meanwhile."""

HOLDING_COLUMNS = (
    Column("symbol", "symbol"),
    Column("quantity", "held", right=True),
    Column("at_least", "at least", right=True),
    Column("at_most", "at most", right=True),
    Column("reserved", "reserved", right=True, spare=2),
    Column("price", "last price", right=True),
    Column("priced_at", "price of", spare=1),
    Column("value", "worth", right=True),
)


@dataclass(frozen=True, slots=True)
class Holdings:
    """Books, and what may differ from them at this moment.

    Attributes:
        books: as they stand; fills that are known are in them.
        may_change: by symbol, least and most that orders in the air may have changed beside it.
        may_move_cash: least and most that those orders may have changed the cash, signed, without
            fees, at their limits or the prices seen last; None where one has no price.
        priced_at: by symbol, when its last price was paid.
        waiting: what its batches wait for that nobody can account for.
        incidents: its batches that have an open incident.
        unreadable: its batches under way whose journal cannot be read, with the reason: how far
            their orders went is not in the figures.
        trading: which orders may go out; None if nobody looked.
        old_copy: why the store is an older copy of itself; None if it is not.
    """

    books: Books
    may_change: Mapping[str, tuple[Decimal, Decimal]]
    may_move_cash: tuple[Decimal, Decimal] | None
    priced_at: Mapping[str, datetime]
    waiting: tuple[Waiting, ...] = ()
    incidents: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    trading: Standing | None = None
    old_copy: str | None = None

    @property
    def needs_a_person(self) -> bool:
        """Something of its own waits for a person, or has been unknown for too long.

        A halt is no trouble of one portfolio; it is told, and `saga check` waits for a person.
        """
        overdue = any(each.is_overdue for each in self.waiting)
        return bool(
            self.books.stale or self.incidents or self.unreadable or overdue or self.old_copy
        )

    @property
    def is_halted(self) -> bool:
        """No order goes out."""
        return self.trading is not None and self.trading.said.state is TradingState.HALTED

    @property
    def word(self) -> str:
        """How it stands, in a few words."""
        words = ["an old copy of the store"] if self.old_copy else []
        if self.books.stale:
            words.append("STALE")
        if self.is_halted:
            words.append("trading is HALTED")
        if self.incidents:
            words.append("open incident")
        if self.waiting or self.unreadable:
            words.append("not all is known")
        return ", ".join(words) or "in order"

    @property
    def troubles(self) -> list[str]:
        """What is not in order, a sentence for each."""
        older = self.old_copy
        found = [] if older is None else [f"{older[0].upper()}{older[1:]}."]
        found += [f"STALE because of {mark.batch_id}: {mark.reason}" for mark in self.books.stale]
        if self.is_halted and self.trading is not None:
            found.append(f"{self.trading.sentence[0].upper()}{self.trading.sentence[1:]}.")
        found += [
            f"{batch_id} has an open incident: `saga show {batch_id}` says what came late; deal "
            f"with it, then `saga incident close {batch_id} --reason ...`."
            for batch_id in self.incidents
        ]
        found += [
            f"What {batch_id} has at the broker is not in these figures, as it is set aside: {why}."
            for batch_id, why in self.unreadable
        ]
        found += [f"{each.sentence}. To do: {each.what_to_do}." for each in self.waiting]
        return found

    @property
    def cash_ends(self) -> tuple[Decimal, Decimal] | None:
        """Least and most of the cash, about; None while it is known, or nobody can say."""
        if self.may_move_cash in (None, (ZERO, ZERO)):
            return None
        assert self.may_move_cash is not None
        low, high = self.may_move_cash
        return plus(self.books.cash, low), plus(self.books.cash, high)

    @property
    def cash_in_words(self) -> str:
        """The cash, and what it may be once it is known how far the orders in the air filled."""
        told = money(self.books.cash, self.books.currency)
        if self.may_move_cash is None:
            return (
                f"{told} by known fills; an order in the air has no price, so it may be any other"
            )
        if self.cash_ends is None:
            return told
        low, high = self.cash_ends
        return (
            f"{told} by known fills; about {money(low)} to {money(high, self.books.currency)} once "
            "it is known how far the orders in the air filled, before fees"
        )

    @property
    def worth(self) -> Decimal:
        """Cash, and what is held, at the last prices; what has no price counts nothing."""
        held = self.books.holdings.values()
        return plus(
            self.books.cash,
            total(times(h.last_price, h.quantity) for h in held if h.last_price is not None),
        )

    def lines(self) -> list[dict[str, Value]]:
        """Return the rows of the table, symbols that may come to be held included."""
        symbols = [*self.books.holdings, *(self.may_change.keys() - self.books.holdings.keys())]
        return [self._line(symbol) for symbol in sorted(symbols)]

    def _line(self, symbol: str) -> dict[str, Value]:
        holding = self.books.holdings.get(symbol)
        held = holding.quantity if holding else ZERO
        price = holding.last_price if holding else None
        low, high = self.may_change.get(symbol, (ZERO, ZERO))
        is_open = symbol in self.may_change
        return {
            "symbol": symbol,
            "quantity": held,
            "at_least": plus(held, low) if is_open else None,
            "at_most": plus(held, high) if is_open else None,
            "reserved": (holding.reserved or None) if holding else None,
            "price": price,
            "priced_at": self.priced_at.get(symbol) if price is not None else None,
            "value": None if price is None else Money(times(price, held)),
        }


async def read_holdings(
    reader: SqliteReader, history: History, name: str, home: Home
) -> Holdings | None:
    """Return a portfolio's holdings; None if it has no books."""
    books = await reader.read(read_books, name)
    journals = _Journals()
    for _ in range(_READINGS):
        if books is None:
            return None
        # The journals come before the books: a fill in between widens what is told, never narrows.
        under_way = books.open_batches
        journals = await _journals(history, under_way)
        books = await reader.read(read_books, name)
        if books is not None and books.open_batches == under_way:
            break
    if books is None:
        return None
    is_carried_on = (await carrier_of(home)).pid is not None
    now = datetime.now(UTC)
    may_change: dict[str, tuple[Decimal, Decimal]] = {}
    waiting: list[Waiting] = []
    for saga, records in journals.read:
        _add(may_change, saga)
        waiting += waiting_of(records, now, is_carried_on=is_carried_on)
    return Holdings(
        books,
        may_change,
        _sum([may_move_cash(saga) for saga, _ in journals.read]),
        await reader.read(read_price_instants, name),
        tuple(waiting),
        await reader.read(_with_incidents, name),
        tuple(journals.unreadable),
        await reader.read(read_standing, home),
        await old_copy_of(home),
    )


@dataclass(slots=True)
class _Journals:
    """The journals of batches under way, and which of them cannot be read, with the reason."""

    read: list[tuple[Saga, Sequence[JournalRecord]]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


async def _journals(history: History, batch_ids: Sequence[str]) -> _Journals:
    found = _Journals()
    for batch_id in batch_ids:
        read = await read_or_why(history.journal, batch_id)
        if isinstance(read, str):
            found.unreadable.append((batch_id, read))
        else:
            found.read.append(read)
    return found


def _with_incidents(connection: sqlite3.Connection, name: str) -> tuple[str, ...]:
    """Return which of a portfolio's batches have an open incident."""
    rows = connection.execute(
        "SELECT batch_uid FROM batches WHERE exclusion_key = ? AND incidents > 0 ORDER BY id",
        (exclusion_key(name),),
    )
    return tuple(batch_id for (batch_id,) in rows)


def _sum(moves: Sequence[tuple[Decimal, Decimal] | None]) -> tuple[Decimal, Decimal] | None:
    known = [each for each in moves if each is not None]
    if len(known) < len(moves):
        return None
    return total(low for low, _ in known), total(high for _, high in known)


def _add(found: dict[str, tuple[Decimal, Decimal]], saga: Saga) -> None:
    for each in in_place(saga):
        if each.unproven and each.sure is not None:
            low, high = found.get(each.symbol, (ZERO, ZERO))
            found[each.symbol] = (
                plus(low, minus(each.low, each.sure)),
                plus(high, minus(each.high, each.sure)),
            )


def read_price_instants(connection: sqlite3.Connection, name: str) -> dict[str, datetime]:
    """Return by symbol when the portfolio last traded it at a price."""
    rows = connection.execute(
        "SELECT symbol, MAX(at) FROM portfolio_ledger WHERE portfolio = ? AND price IS NOT NULL"
        " AND symbol IS NOT NULL GROUP BY symbol",
        (name,),
    )
    return {symbol: instant_of(at) for symbol, at in rows}


def show_holdings(
    holdings: Holdings, active: Sequence[BatchRow], carrier: Carrier, screen: Screen
) -> None:
    """Show a portfolio in the form that was asked for."""
    books, ends = holdings.books, holdings.cash_ends
    if screen.is_for_people:
        _show_facts(holdings, active, carrier, screen)
    stale = [{"batch_id": m.batch_id, "reason": m.reason, "since": m.since} for m in books.stale]
    screen.rows(
        HOLDING_COLUMNS,
        holdings.lines(),
        wrapper="holdings",
        beside={
            "name": books.name,
            "account": "PAPER",
            "currency": books.currency,
            "cash": books.cash,
            "cash_at_least": None if ends is None else ends[0],
            "cash_at_most": None if ends is None else ends[1],
            "cash_is_known": holdings.may_move_cash == (ZERO, ZERO),
            "reserved_cash": books.reserved_cash,
            "free_cash": books.free_cash,
            "worth": holdings.worth,
            "open_batches": list(books.open_batches),
            "carried_on_by": carrier.pid,
            "stale": stale,
            "standing": holdings.word,
            "troubles": holdings.troubles,
        },
        empty="Nothing is held.",
    )
    if screen.is_for_people and holdings.may_change:
        screen.text(
            "at least, at most: what is held once it is known how far the orders in the air filled."
        )


def _show_facts(
    holdings: Holdings, active: Sequence[BatchRow], carrier: Carrier, screen: Screen
) -> None:
    books = holdings.books
    screen.text(Text(f"Portfolio {books.name}, PAPER, {holdings.word}", style="bold"))
    unpriced = [each.symbol for each in books.holdings.values() if each.last_price is None]
    without = f", without {', '.join(unpriced)}: no price" if unpriced else ""
    stale = {mark.batch_id for mark in books.stale}
    under_way = [each for each in books.open_batches if each not in stale]
    mine = [row for row in active if row.batch_id in under_way]
    carried = f"; {carrier.sentence_of(mine)}" if under_way else ""
    meaning = "; what batches that are not over may still need, their undo included"
    screen.pairs(
        [
            ("cash", holdings.cash_in_words),
            ("reserved", f"{money(books.reserved_cash, books.currency)}{meaning}"),
            ("free", f"{money(books.free_cash, books.currency)}; what a new batch may spend"),
            ("worth", f"{money(holdings.worth, books.currency)} at the last prices{without}"),
            ("under way", f"{', '.join(under_way)}{carried}" if under_way else None),
        ]
    )
    for sentence in holdings.troubles:
        screen.text(Text(sentence, style="bold red"))
    screen.text()
