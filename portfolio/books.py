"""A portfolio's books as they stand: cash, holdings, what is reserved, and why it is stale.

Functions over a plain connection that only read. What is free is what is held less what batches
that are not over may still need: of its reservation `R`, a batch whose fills have changed the cash
by `E` so far still holds `max(R + E, 0)`. So what it spends leaves the reservation as it is spent,
and what it sells, or the shares that it buys, is nobody else's until it ends.
"""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar, TypeVarTuple, runtime_checkable

from saga.exact import ZERO, minus, plus, total
from saga.store.rows import instant

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@runtime_checkable
class BooksReader(Protocol):
    """Where the books can be read; `SqliteStore` is one."""

    async def read(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run a function on a connection that can only read."""
        ...


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one symbol.

    Attributes:
        quantity: signed, in shares or contracts; never zero.
        reserved: what batches that are not over may still need of it.
        last_price: of its last fill, in the portfolio's currency; None if there was none.
    """

    symbol: str
    quantity: Decimal
    reserved: Decimal
    last_price: Decimal | None

    @property
    def free(self) -> Decimal:
        """What a new batch may sell."""
        return minus(self.quantity, self.reserved)


@dataclass(frozen=True, slots=True)
class StaleMark:
    """A batch that made the portfolio stale, and has not been undone or resolved since."""

    batch_id: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one portfolio at one moment.

    Attributes:
        currency: of all money in them.
        cash: what is there, reserved or not; below zero only if fills cost more than there was.
        reserved_cash: what batches that are not over may still need of it.
        holdings: by symbol; symbols of which nothing is held are left out.
        open_batches: batches with a reservation: those not over, and those that are STALE.
        stale: why it is stale; empty if it is not.
    """

    name: str
    currency: str
    cash: Decimal
    reserved_cash: Decimal
    holdings: Mapping[str, Holding]
    open_batches: tuple[str, ...]
    stale: tuple[StaleMark, ...]

    @property
    def free_cash(self) -> Decimal:
        """What a new batch may need at worst."""
        return minus(self.cash, self.reserved_cash)

    def free_shares(self, symbol: str) -> Decimal:
        """Return what a new batch may sell of a symbol."""
        holding = self.holdings.get(symbol)
        return holding.free if holding else ZERO


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One thing that changed the books.

    Attributes:
        kind: trade, undo, transfer, adjustment or reversal.
        client_order_id: the key of the attempt; None for an adjustment.
        fill_id: the outside world's id of the fill; None for an adjustment or a reversal.
        quantity: signed change of what is held of `symbol`.
        price: per unit; None where nothing was traded.
        fee: what it cost beside the price.
        cash: signed change of cash, fee included.
        reference: what an operator gave as the trade's id; None for everything else. Once the
            journal has that trade itself, a second adjustment with the same id takes his back.
        reverses: the fill that a reversal takes back; None for everything else.
    """

    batch_id: str
    kind: str
    client_order_id: str | None
    fill_id: str | None
    symbol: str | None
    quantity: Decimal
    price: Decimal | None
    fee: Decimal
    cash: Decimal
    reference: str | None
    at: datetime
    reverses: str | None = None


def read_names(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of all portfolios, in alphabetical order."""
    rows = connection.execute("SELECT name FROM portfolio_books ORDER BY name")
    return tuple(name for (name,) in rows)


def read_books(connection: sqlite3.Connection, name: str) -> Books | None:
    """Return a portfolio's books; None if none were opened under the name."""
    row = connection.execute(
        "SELECT currency, cash FROM portfolio_books WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    held = connection.execute(
        "SELECT batch, cash, effect FROM portfolio_reservations WHERE portfolio = ? ORDER BY batch",
        (name,),
    ).fetchall()
    return Books(
        name=name,
        currency=row[0],
        cash=Decimal(row[1]),
        reserved_cash=total(_still_held(cash, effect) for _, cash, effect in held),
        holdings=_read_holdings(connection, name),
        open_batches=tuple(batch for batch, _, _ in held),
        stale=read_stale(connection, name),
    )


def read_stale(connection: sqlite3.Connection, name: str) -> tuple[StaleMark, ...]:
    """Return what makes the portfolio stale, oldest first; empty if nothing does."""
    rows = connection.execute(
        "SELECT batch, reason, since FROM portfolio_stale WHERE portfolio = ?"
        " ORDER BY since, batch",
        (name,),
    )
    return tuple(StaleMark(batch, reason, instant(since)) for batch, reason, since in rows)


def read_last_price(connection: sqlite3.Connection, name: str, symbol: str) -> Decimal | None:
    """Return the price of the symbol's last fill in this portfolio; None if there was none."""
    row = connection.execute(
        "SELECT last_price FROM portfolio_holdings WHERE portfolio = ? AND symbol = ?",
        (name, symbol),
    ).fetchone()
    return None if row is None or row[0] is None else Decimal(row[0])


def read_ledger(connection: sqlite3.Connection, name: str) -> tuple[LedgerEntry, ...]:
    """Return everything that ever changed the portfolio's books, in order."""
    rows = connection.execute(
        "SELECT batch, kind, client_order_id, fill_id, symbol, quantity, price, fee, cash,"
        " reference, at, reverses FROM portfolio_ledger WHERE portfolio = ? ORDER BY id",
        (name,),
    )
    return tuple(_entry(row) for row in rows)


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
    batch, kind, key, fill_id, symbol, quantity, price, fee, cash, reference, at, reverses = row
    return LedgerEntry(
        batch_id=batch,
        kind=kind,
        client_order_id=key,
        fill_id=fill_id,
        symbol=symbol,
        quantity=Decimal(quantity),
        price=None if price is None else Decimal(price),
        fee=Decimal(fee),
        cash=Decimal(cash),
        reference=reference,
        at=instant(at),
        reverses=reverses,
    )


def _read_holdings(connection: sqlite3.Connection, name: str) -> dict[str, Holding]:
    reserved: dict[str, Decimal] = {}
    for symbol, quantity, effect in connection.execute(
        "SELECT symbol, quantity, effect FROM portfolio_reserved_shares WHERE batch IN"
        " (SELECT batch FROM portfolio_reservations WHERE portfolio = ?)",
        (name,),
    ):
        reserved[symbol] = plus(reserved.get(symbol, ZERO), _still_held(quantity, effect))
    rows = connection.execute(
        "SELECT symbol, quantity, last_price FROM portfolio_holdings WHERE portfolio = ?"
        " ORDER BY symbol",
        (name,),
    )
    return {
        symbol: Holding(
            symbol,
            Decimal(quantity),
            reserved.get(symbol, ZERO),
            None if price is None else Decimal(price),
        )
        for symbol, quantity, price in rows
        if Decimal(quantity)
    }


def _still_held(reserved: str, effect: str) -> Decimal:
    return max(ZERO, plus(Decimal(reserved), Decimal(effect)))
