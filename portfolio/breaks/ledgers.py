"""Portfolios' books against their own ledgers, and what they hold open against the journal."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from portfolio.books import Books, LedgerEntry, read_books, read_ledger, read_names
from portfolio.breaks.journal_side import JournalSaga, JournalSide
from portfolio.breaks.record import Break, Kind, Says, money
from saga.exact import ZERO, minus, plain, plus

Ledgers = Mapping[str, tuple[Books | None, tuple[LedgerEntry, ...]]]
"""By name of the portfolio: its books, and everything that changed them."""


def read_ledgers(connection: sqlite3.Connection) -> Ledgers | None:
    """Return all portfolios' books; None in a store that never knew portfolios."""
    try:
        names = read_names(connection)
    except sqlite3.OperationalError:
        return None
    return {name: (read_books(connection, name), read_ledger(connection, name)) for name in names}


def compare_ledgers(journal: JournalSide, ledgers: Ledgers) -> list[Break]:
    """Return what differs within the books.

    Args:
        journal: what the journal says.
        ledgers: the books as of the same instant.
    """
    found: list[Break] = []
    sagas: dict[str, list[JournalSaga]] = defaultdict(list)
    for saga in journal.sagas.values():
        if saga.portfolio is not None:
            sagas[saga.portfolio].append(saga)
    for name in sorted(sagas.keys() | ledgers.keys()):
        books, ledger = ledgers.get(name, (None, ()))
        if books is None:
            found.append(
                Break(
                    Kind.NOT_BOOKED,
                    None,
                    None,
                    f"portfolio {name!r} is in the journal, and has no books",
                )
            )
            continue
        found += _adds_up(books, ledger)
        mine = sagas[name]
        open_ones = {each.batch_id for each in mine if not each.over}
        stale = {each.batch_id for each in mine if each.stale is not None}
        for what, told, true in (
            ("open batches", set(books.open_batches), open_ones),
            ("stale batches", {mark.batch_id for mark in books.stale}, stale),
        ):
            for batch_id in sorted(told ^ true):
                how = "lack it" if batch_id in true else "have it in excess"
                found.append(
                    Break(
                        Kind.RESERVATION_DIFFERS,
                        batch_id,
                        None,
                        f"{what} of {name!r} {how}",
                        since=journal.sagas[batch_id].since if batch_id in journal.sagas else None,
                    )
                )
    return found


def _adds_up(books: Books, ledger: Iterable[LedgerEntry]) -> list[Break]:
    found: list[Break] = []
    held: dict[str, Decimal] = defaultdict(lambda: ZERO)
    cash = ZERO
    for entry in ledger:
        cash = plus(cash, entry.cash)
        if entry.symbol is not None:
            held[entry.symbol] = plus(held[entry.symbol], entry.quantity)
    if cash != books.cash:
        found.append(
            Break(
                Kind.CASH_DIFFERS,
                None,
                None,
                f"portfolio {books.name!r} has cash {money(books.cash)}, its ledger adds up to "
                f"{money(cash)}",
                portfolio=Says(None, books.cash),
                gap=Says(ZERO, minus(cash, books.cash)),
            )
        )
    for symbol in sorted(held.keys() | books.holdings.keys()):
        holding = books.holdings.get(symbol)
        told = holding.quantity if holding else ZERO
        if told != held[symbol]:
            found.append(
                Break(
                    Kind.QUANTITY_DIFFERS,
                    None,
                    symbol,
                    f"portfolio {books.name!r} holds {plain(told)} {symbol}, its ledger adds up "
                    f"to {plain(held[symbol])}",
                    portfolio=Says(told),
                    gap=Says(minus(held[symbol], told), ZERO),
                )
            )
    return found
