"""Writes the books' tables: ledger entries with their sums, reservations, stale marks.

Functions over a plain connection, inside somebody else's transaction. Nothing here judges whether a
change may be; it is written as it is told, once.
"""

import sqlite3
from decimal import Decimal

from portfolio.reservation import Need
from saga.by_hand import taken_back
from saga.events import Adjustment
from saga.exact import ZERO, minus, plain, plus


def open_books(connection: sqlite3.Connection, name: str, currency: str, at: int) -> None:
    """Open the books of a portfolio, empty; harmless where they are open."""
    connection.execute(
        "INSERT INTO portfolio_books (name, currency, cash, opened_at) VALUES (?, ?, '0', ?)"
        " ON CONFLICT (name) DO NOTHING",
        (name, currency, at),
    )


def reserve(connection: sqlite3.Connection, portfolio: str, batch_id: str, need: Need) -> None:
    """Keep what a new batch needs at worst from all others."""
    connection.execute(
        "INSERT INTO portfolio_reservations (batch, portfolio, cash, effect) VALUES (?, ?, ?, '0')",
        (batch_id, portfolio, plain(need.cash)),
    )
    connection.executemany(
        "INSERT INTO portfolio_reserved_shares (batch, symbol, quantity, effect)"
        " VALUES (?, ?, ?, '0')",
        [(batch_id, symbol, plain(quantity)) for symbol, quantity in need.shares.items()],
    )


def release(connection: sqlite3.Connection, batch_id: str) -> None:
    """Forget the reservation and the stale mark of a batch that is over."""
    connection.execute("DELETE FROM portfolio_reserved_shares WHERE batch = ?", (batch_id,))
    connection.execute("DELETE FROM portfolio_reservations WHERE batch = ?", (batch_id,))
    connection.execute("DELETE FROM portfolio_stale WHERE batch = ?", (batch_id,))


def mark_stale(
    connection: sqlite3.Connection, portfolio: str, batch_id: str, reason: str, at: int
) -> None:
    """Note that the portfolio is stale because of a batch."""
    connection.execute(
        "INSERT INTO portfolio_stale (batch, portfolio, reason, since) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (batch) DO UPDATE SET reason = excluded.reason",
        (batch_id, portfolio, reason, at),
    )


def book(
    connection: sqlite3.Connection,
    portfolio: str,
    batch_id: str,
    kind: str,
    *,
    symbol: str | None,
    quantity: Decimal,
    cash: Decimal,
    at: int,
    client_order_id: str | None = None,
    fill_id: str | None = None,
    price: Decimal | None = None,
    fee: Decimal = ZERO,
    reference: str | None = None,
) -> bool:
    """Enter one change into the ledger, and into the sums; one fill changes them once (S9).

    Returns:
        False if the fill was booked before, so that nothing has changed.
    """
    if (
        fill_id is not None
        and connection.execute(
            "SELECT 1 FROM portfolio_ledger WHERE client_order_id = ? AND fill_id = ?",
            (client_order_id, fill_id),
        ).fetchone()
    ):
        return False
    connection.execute(
        "INSERT INTO portfolio_ledger (portfolio, batch, kind, client_order_id, fill_id, symbol,"
        " quantity, price, fee, cash, reference, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(portfolio, batch_id, kind, client_order_id, fill_id, symbol, plain(quantity)),
            *(None if price is None else plain(price), plain(fee), plain(cash), reference, at),
        ),
    )
    _add_cash(connection, portfolio, batch_id, cash)
    if symbol is not None and quantity:
        _add_shares(connection, portfolio, batch_id, symbol, quantity, price)
    return True


def take_back_by_hand(
    connection: sqlite3.Connection,
    portfolio: str,
    batch_id: str,
    *,
    symbol: str,
    fill_id: str,
    change: Decimal,
    at: int,
) -> None:
    """Take back what an operator booked under the id of a fill that is booked itself now (S9).

    His entries stood for the fill while the journal did not have it, if together they are just the
    fill. Taken back once, they add up to nothing.

    Args:
        connection: within a transaction.
        portfolio: whose books.
        batch_id: the batch of the fill.
        symbol: of the fill.
        fill_id: the outside world's id of the fill.
        change: signed change of what is held, as it was booked just now.
        at: when, in microseconds.
    """
    rows = connection.execute(
        # Only entries by hand bear no key. The plus sign keeps SQLite from reading the whole batch.
        "SELECT quantity, cash FROM portfolio_ledger WHERE client_order_id IS NULL"
        " AND +batch = ? AND symbol = ? AND reference = ?",
        (batch_id, symbol, fill_id),
    )
    by_hand = [Adjustment(symbol, Decimal(each), Decimal(cash), fill_id) for each, cash in rows]
    back = taken_back(by_hand, symbol, fill_id, change)
    if back is None:
        return
    book(
        connection,
        portfolio,
        batch_id,
        "adjustment",
        symbol=symbol,
        quantity=back.quantity,
        cash=back.cash,
        reference=back.reference,
        at=at,
    )


def book_reversal(
    connection: sqlite3.Connection,
    portfolio: str,
    batch_id: str,
    *,
    client_order_id: str,
    reverses: str,
    at: int,
) -> None:
    """Take a booked fill back, exactly and once; harmless where it was never booked (S9)."""
    fill = connection.execute(
        "SELECT symbol, quantity, price, fee, cash FROM portfolio_ledger"
        " WHERE client_order_id = ? AND fill_id = ?",
        (client_order_id, reverses),
    ).fetchone()
    again = connection.execute(
        "SELECT 1 FROM portfolio_ledger WHERE client_order_id = ? AND reverses = ?",
        (client_order_id, reverses),
    ).fetchone()
    if fill is None or again is not None:
        return
    symbol, quantity, price, fee, cash = fill
    back, cash_back = minus(ZERO, Decimal(quantity)), minus(ZERO, Decimal(cash))
    connection.execute(
        "INSERT INTO portfolio_ledger (portfolio, batch, kind, client_order_id, reverses, symbol,"
        " quantity, price, fee, cash, at) VALUES (?, ?, 'reversal', ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(portfolio, batch_id, client_order_id, reverses, symbol, plain(back), price),
            *(plain(minus(ZERO, Decimal(fee))), plain(cash_back), at),
        ),
    )
    _add_cash(connection, portfolio, batch_id, cash_back)
    if symbol is not None and back:
        _add_shares(connection, portfolio, batch_id, symbol, back, None)


def _add_cash(
    connection: sqlite3.Connection, portfolio: str, batch_id: str, amount: Decimal
) -> None:
    (cash,) = connection.execute(
        "SELECT cash FROM portfolio_books WHERE name = ?", (portfolio,)
    ).fetchone()
    connection.execute(
        "UPDATE portfolio_books SET cash = ? WHERE name = ?",
        (plain(plus(Decimal(cash), amount)), portfolio),
    )
    row = connection.execute(
        "SELECT effect FROM portfolio_reservations WHERE batch = ?", (batch_id,)
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE portfolio_reservations SET effect = ? WHERE batch = ?",
            (plain(plus(Decimal(row[0]), amount)), batch_id),
        )


def _add_shares(
    connection: sqlite3.Connection,
    portfolio: str,
    batch_id: str,
    symbol: str,
    quantity: Decimal,
    price: Decimal | None,
) -> None:
    row = connection.execute(
        "SELECT quantity, last_price FROM portfolio_holdings WHERE portfolio = ? AND symbol = ?",
        (portfolio, symbol),
    ).fetchone()
    held, last_price = row or ("0", None)
    connection.execute(
        "INSERT INTO portfolio_holdings (portfolio, symbol, quantity, last_price)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (portfolio, symbol)"
        " DO UPDATE SET quantity = excluded.quantity, last_price = excluded.last_price",
        (
            portfolio,
            symbol,
            plain(plus(Decimal(held), quantity)),
            plain(price) if price else last_price,
        ),
    )
    open_batch = connection.execute(
        "SELECT coalesce(shares.effect, '0') FROM portfolio_reservations AS cash"
        " LEFT JOIN portfolio_reserved_shares AS shares"
        " ON shares.batch = cash.batch AND shares.symbol = ? WHERE cash.batch = ?",
        (symbol, batch_id),
    ).fetchone()
    if open_batch is not None:
        connection.execute(
            "INSERT INTO portfolio_reserved_shares (batch, symbol, quantity, effect)"
            " VALUES (?, ?, '0', ?) ON CONFLICT (batch, symbol)"
            " DO UPDATE SET effect = excluded.effect",
            (batch_id, symbol, plain(plus(Decimal(open_batch[0]), quantity))),
        )
