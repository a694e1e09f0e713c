"""The exchange's books: one SQLite file that is the venue's own truth. The engine never reads it.

Several processes may use the file at once. Each call of the exchange opens it, runs one IMMEDIATE
transaction and closes it, with a rollback journal and full syncs, so that a process killed at any
moment leaves a whole transaction or none.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from brokers.paper import rows
from brokers.paper.faults import FaultCount
from brokers.paper.rows import BookedOrder, CashEntry
from brokers.paper.settings import PaperSettings
from brokers.venue import Trade
from saga.errors import SagaError
from saga.exact import ZERO

APPLICATION_ID: Final = 0x50415052
"""Marks the file as books of this exchange."""
BUSY_TIMEOUT_SECONDS: Final = 30.0
"""How long a call waits for another process that writes."""

_SCHEMA: Final = (
    "CREATE TABLE settings (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), "
    "content TEXT NOT NULL) STRICT",
    "CREATE TABLE conditions (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE orders (number INTEGER PRIMARY KEY, client_order_id TEXT, "
    "symbol TEXT NOT NULL, side TEXT NOT NULL CHECK (side IN ('buy', 'sell')), "
    "quantity TEXT NOT NULL, limit_price TEXT, time_in_force TEXT NOT NULL, "
    "status TEXT NOT NULL CHECK (status IN ('accepted', 'partially_filled', 'filled', "
    "'cancelled', 'expired', 'rejected')), filled TEXT NOT NULL, reason TEXT, "
    "day TEXT NOT NULL, placed_at TEXT NOT NULL, visible_at TEXT NOT NULL, "
    "asleep INTEGER NOT NULL CHECK (asleep IN (0, 1))) STRICT",
    "CREATE INDEX orders_by_key ON orders (client_order_id, number)",
    "CREATE INDEX orders_by_status ON orders (status, number)",
    "CREATE TABLE executions (number INTEGER PRIMARY KEY, fill_id TEXT NOT NULL UNIQUE, "
    "order_number INTEGER NOT NULL REFERENCES orders (number), symbol TEXT NOT NULL, "
    "side TEXT NOT NULL CHECK (side IN ('buy', 'sell')), quantity TEXT NOT NULL, "
    "price TEXT NOT NULL, fee TEXT NOT NULL, at TEXT NOT NULL, "
    "reverses TEXT UNIQUE REFERENCES executions (fill_id)) STRICT",
    "CREATE INDEX executions_by_order ON executions (order_number, number)",
    "CREATE TABLE positions (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL) STRICT",
    "CREATE TABLE cash (number INTEGER PRIMARY KEY, at TEXT NOT NULL, amount TEXT NOT NULL, "
    "balance TEXT NOT NULL, fill_id TEXT UNIQUE REFERENCES executions (fill_id)) STRICT",
    "CREATE TABLE tombstones (client_order_id TEXT PRIMARY KEY) STRICT",
    "CREATE TABLE scheduled (number INTEGER PRIMARY KEY, due_at TEXT NOT NULL, "
    "content TEXT NOT NULL) STRICT",
    "CREATE TABLE faults (number INTEGER PRIMARY KEY, rule TEXT NOT NULL, "
    "seen INTEGER NOT NULL DEFAULT 0, fired INTEGER NOT NULL DEFAULT 0) STRICT",
)


class BooksUnusable(SagaError):
    """The file is missing, is there already, or is no books file."""


@dataclass(frozen=True, slots=True)
class Books:
    """Everything in the books at one moment, for audits."""

    settings: PaperSettings
    day: date
    orders: tuple[BookedOrder, ...]
    executions: tuple[Trade, ...]
    positions: dict[str, Decimal]
    cash_entries: tuple[CashEntry, ...]
    faults: tuple[FaultCount, ...]

    @property
    def cash(self) -> Decimal:
        """The balance, in the account's currency."""
        return self.cash_entries[-1].balance if self.cash_entries else ZERO


def create_books(
    path: Path, settings: PaperSettings, *, day: date, cash: Decimal, at: datetime
) -> None:
    """Make a new books file, readable and writable by its owner alone.

    Args:
        path: where; nothing may be there.
        settings: how the exchange works.
        day: its first trading day.
        cash: the first deposit, in the account's currency.
        at: the instant of that deposit, UTC.

    Raises:
        BooksUnusable: there is a file already, or it cannot be made.
    """
    try:
        # The mode is right before SQLite writes the first byte; side files copy it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise BooksUnusable(f"books file {path} is there already; open it, or remove it") from None
    except OSError as error:
        raise BooksUnusable(f"books file {path} cannot be made: {error.strerror}") from None
    with _connected(path, new=True) as connection:
        connection.execute("BEGIN IMMEDIATE")
        lay_out(connection, settings, day=day, cash=cash, at=at)
        connection.execute("COMMIT")


def lay_out(
    connection: sqlite3.Connection,
    settings: PaperSettings,
    *,
    day: date,
    cash: Decimal,
    at: datetime,
) -> None:
    """Make the tables of new books, and the first entries in them."""
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO settings VALUES (1, ?)", (settings.model_dump_json(),))
    rows.set_condition(connection, "day", day.isoformat())
    rows.book_cash(connection, cash, at)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@contextmanager
def transaction(path: Path, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
    """Open the books for one IMMEDIATE transaction; an exception undoes all of it.

    Args:
        path: the books.
        durable: what is committed survives a loss of power, and not only of the process.

    Raises:
        BooksUnusable: there is no such file, or it is no books file.
    """
    with _connected(path, durable=durable) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:  # SQLite undoes it by itself when the disk fails.
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


@contextmanager
def _connected(
    path: Path, *, new: bool = False, durable: bool = True
) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise BooksUnusable(f"books file {path} is not there; make it with PaperExchange.create")
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        _prepare(connection, path, new=new, durable=durable)
        yield connection
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, *, new: bool, durable: bool) -> None:
    synchronous = "FULL" if durable else "OFF"
    try:
        for pragma in (f"synchronous = {synchronous}", "foreign_keys = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        # Read and not set: a file of somebody else's stays as it is.
        (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.DatabaseError as error:
        raise BooksUnusable(f"books file {path} cannot be used: {error}") from None
    if not new and application_id != APPLICATION_ID:
        raise BooksUnusable(
            f"file {path} is no books file of the paper exchange; give another path"
        )
    if journal_mode != "delete":
        raise BooksUnusable(f"books file {path} must have journal_mode delete, not {journal_mode}")


def read_books(path: Path) -> Books:
    """Return everything in the books, without changing them.

    Raises:
        BooksUnusable: there is no such file, or it is no books file.
    """
    # Not opened as read-only: the journal of a killed process has to be rolled back first.
    with transaction(path) as connection:
        return books_of(connection)


def books_of(connection: sqlite3.Connection) -> Books:
    """Return everything in the books that are open."""
    return Books(
        settings=rows.read_settings(connection),
        day=rows.trading_day(connection),
        orders=rows.all_orders(connection),
        executions=rows.trades_after(connection, 0),
        positions=rows.positions(connection),
        cash_entries=rows.cash_entries(connection),
        faults=rows.fault_counts(connection),
    )
