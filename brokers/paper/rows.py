"""The rows of the books. Each function does one thing inside the transaction that it is handed.

Decimals and instants are kept as text. Nothing here opens a file, commits, or knows why a row
changes.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from brokers.orders import Side, TimeInForce
from brokers.paper.faults import FaultCount, FaultRule
from brokers.paper.matching import cash_change, position_change
from brokers.paper.settings import PaperSettings
from brokers.venue import OrderStatus, Trade
from saga.exact import ZERO, minus, plain, plus


@dataclass(frozen=True, slots=True)
class BookedOrder:
    """An order as it stands in the books.

    Attributes:
        number: the exchange's own number of it, from 1.
        client_order_id: the key it was placed with; None if it was placed by hand.
        day: the trading day on which it was placed.
        visible_at: look-ups find it from then on, UTC.
        asleep: it is not matched any more by itself (a scripted fault).
    """

    number: int
    client_order_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None
    time_in_force: TimeInForce
    status: OrderStatus
    filled: Decimal
    reason: str | None
    day: date
    placed_at: datetime
    visible_at: datetime
    asleep: bool

    @property
    def remaining(self) -> Decimal:
        """What is not filled; zero for an overfilled order."""
        return max(minus(self.quantity, self.filled), ZERO)


@dataclass(frozen=True, slots=True)
class CashEntry:
    """One change of the cash: a deposit (no fill id) or an execution."""

    number: int
    at: datetime
    amount: Decimal
    balance: Decimal
    fill_id: str | None


def read_settings(connection: sqlite3.Connection) -> PaperSettings:
    """Return how the exchange works."""
    (content,) = connection.execute("SELECT content FROM settings").fetchone()
    return PaperSettings.model_validate_json(content)


def condition(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a condition that changes with time, such as the day; None if it is not set."""
    row = connection.execute("SELECT value FROM conditions WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_condition(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Set a condition; None removes it."""
    connection.execute("DELETE FROM conditions WHERE name = ?", (name,))
    if value is not None:
        connection.execute("INSERT INTO conditions VALUES (?, ?)", (name, value))


def trading_day(connection: sqlite3.Connection) -> date:
    """Return the exchange's present trading day."""
    (value,) = connection.execute("SELECT value FROM conditions WHERE name = 'day'").fetchone()
    return date.fromisoformat(value)


_SELECT_ORDERS = (
    "SELECT number, client_order_id, symbol, side, quantity, limit_price, time_in_force, status, "
    "filled, reason, day, placed_at, visible_at, asleep FROM orders "
)


def _order(row: tuple[object, ...]) -> BookedOrder:
    (
        number,
        key,
        symbol,
        side,
        quantity,
        limit,
        tif,
        status,
        filled,
        reason,
        day,
        at,
        seen,
        asleep,
    ) = row
    return BookedOrder(
        number=int(str(number)),
        client_order_id=None if key is None else str(key),
        symbol=str(symbol),
        side=Side(str(side)),
        quantity=Decimal(str(quantity)),
        limit_price=None if limit is None else Decimal(str(limit)),
        time_in_force=TimeInForce(str(tif)),
        status=OrderStatus(str(status)),
        filled=Decimal(str(filled)),
        reason=None if reason is None else str(reason),
        day=date.fromisoformat(str(day)),
        placed_at=datetime.fromisoformat(str(at)),
        visible_at=datetime.fromisoformat(str(seen)),
        asleep=bool(asleep),
    )


def add_order(connection: sqlite3.Connection, order: BookedOrder) -> BookedOrder:
    """Write a new order, and return it with its number."""
    cursor = connection.execute(
        "INSERT INTO orders VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            order.client_order_id,
            order.symbol,
            order.side,
            plain(order.quantity),
            None if order.limit_price is None else plain(order.limit_price),
            order.time_in_force,
            order.status,
            plain(order.filled),
            order.reason,
            order.day.isoformat(),
            order.placed_at.isoformat(),
            order.visible_at.isoformat(),
            int(order.asleep),
        ),
    )
    return order_by_number(connection, cursor.lastrowid or 0)


def update_order(connection: sqlite3.Connection, order: BookedOrder) -> BookedOrder:
    """Write what may change of an order, and return it."""
    connection.execute(
        "UPDATE orders SET status = ?, filled = ?, reason = ?, asleep = ? WHERE number = ?",
        (order.status, plain(order.filled), order.reason, int(order.asleep), order.number),
    )
    return order


def order_by_number(connection: sqlite3.Connection, number: int) -> BookedOrder:
    """Return one order."""
    row = connection.execute(_SELECT_ORDERS + "WHERE number = ?", (number,)).fetchone()
    return _order(row)


def order_by_key(connection: sqlite3.Connection, key: str) -> BookedOrder | None:
    """Return the newest order with a client order id; None if there is none."""
    row = connection.execute(
        _SELECT_ORDERS + "WHERE client_order_id = ? ORDER BY number DESC LIMIT 1",
        (key,),
    ).fetchone()
    return None if row is None else _order(row)


def open_orders(connection: sqlite3.Connection) -> tuple[BookedOrder, ...]:
    """Return every open order, oldest first."""
    rows = connection.execute(
        _SELECT_ORDERS + "WHERE status IN ('accepted', 'partially_filled') ORDER BY number"
    )
    return tuple(_order(row) for row in rows.fetchall())


def all_orders(connection: sqlite3.Connection) -> tuple[BookedOrder, ...]:
    """Return every order, oldest first."""
    rows = connection.execute(_SELECT_ORDERS + "ORDER BY number")
    return tuple(_order(row) for row in rows.fetchall())


def closed_orders(connection: sqlite3.Connection, limit: int) -> tuple[BookedOrder, ...]:
    """Return the newest orders that are over and were accepted once."""
    rows = connection.execute(
        _SELECT_ORDERS
        + "WHERE status IN ('filled', 'cancelled', 'expired') ORDER BY number DESC LIMIT ?",
        (limit,),
    )
    return tuple(_order(row) for row in rows.fetchall())


def _trade(row: tuple[object, ...]) -> Trade:
    (number, fill_id, key, symbol, side, quantity, price, fee, at, reverses) = row
    return Trade(
        sequence=int(str(number)),
        fill_id=str(fill_id),
        client_order_id=None if key is None else str(key),
        symbol=str(symbol),
        side=Side(str(side)),
        quantity=Decimal(str(quantity)),
        price=Decimal(str(price)),
        fee=Decimal(str(fee)),
        at=datetime.fromisoformat(str(at)),
        reverses=None if reverses is None else str(reverses),
    )


_TRADES = (
    "SELECT e.number, e.fill_id, o.client_order_id, e.symbol, e.side, e.quantity, e.price, e.fee, "
    "e.at, e.reverses FROM executions e JOIN orders o ON o.number = e.order_number "
)


def trades_after(connection: sqlite3.Connection, after: int) -> tuple[Trade, ...]:
    """Return every execution behind a number, in order."""
    rows = connection.execute(_TRADES + "WHERE e.number > ? ORDER BY e.number", (after,))
    return tuple(_trade(row) for row in rows.fetchall())


def trades_of(connection: sqlite3.Connection, order_number: int) -> tuple[Trade, ...]:
    """Return every execution of an order, in order."""
    rows = connection.execute(
        _TRADES + "WHERE e.order_number = ? ORDER BY e.number", (order_number,)
    )
    return tuple(_trade(row) for row in rows.fetchall())


def standing(trades: tuple[Trade, ...]) -> tuple[Trade, ...]:
    """Return the executions that stand: neither reversals nor reversed."""
    reversed_ids = {trade.reverses for trade in trades if trade.reverses is not None}
    return tuple(
        trade for trade in trades if trade.reverses is None and trade.fill_id not in reversed_ids
    )


def book_execution(
    connection: sqlite3.Connection,
    order: BookedOrder,
    *,
    quantity: Decimal,
    price: Decimal,
    fee: Decimal,
    at: datetime,
    reverses: Trade | None = None,
) -> None:
    """Write one execution, and with it the cash and the position that it changes.

    A reversal trades the other way, at the price and with the fee given back of what it reverses.
    """
    side = order.side
    if reverses is not None:
        side = Side.SELL if order.side is Side.BUY else Side.BUY
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM executions").fetchone()
    number = int(last) + 1
    fill_id = f"FILL-{number:06d}"
    connection.execute(
        "INSERT INTO executions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            fill_id,
            order.number,
            order.symbol,
            side,
            plain(quantity),
            plain(price),
            plain(fee),
            at.isoformat(),
            None if reverses is None else reverses.fill_id,
        ),
    )
    held = plus(position(connection, order.symbol), position_change(side, quantity))
    connection.execute(
        "INSERT INTO positions VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET quantity = excluded.quantity",
        (order.symbol, plain(held)),
    )
    book_cash(connection, cash_change(side, quantity, price, fee), at, fill_id)


def book_cash(
    connection: sqlite3.Connection, amount: Decimal, at: datetime, fill_id: str | None = None
) -> None:
    """Write one change of the cash."""
    connection.execute(
        "INSERT INTO cash VALUES (NULL, ?, ?, ?, ?)",
        (at.isoformat(), plain(amount), plain(plus(cash(connection), amount)), fill_id),
    )


def cash(connection: sqlite3.Connection) -> Decimal:
    """Return the cash, in the account's currency."""
    row = connection.execute("SELECT balance FROM cash ORDER BY number DESC LIMIT 1").fetchone()
    return ZERO if row is None else Decimal(row[0])


def cash_entries(connection: sqlite3.Connection) -> tuple[CashEntry, ...]:
    """Return every change of the cash, in order."""
    rows = connection.execute(
        "SELECT number, at, amount, balance, fill_id FROM cash ORDER BY number"
    )
    return tuple(
        CashEntry(number, datetime.fromisoformat(at), Decimal(amount), Decimal(balance), fill_id)
        for number, at, amount, balance, fill_id in rows.fetchall()
    )


def position(connection: sqlite3.Connection, symbol: str) -> Decimal:
    """Return what is held of one symbol."""
    row = connection.execute(
        "SELECT quantity FROM positions WHERE symbol = ?", (symbol,)
    ).fetchone()
    return ZERO if row is None else Decimal(row[0])


def positions(connection: sqlite3.Connection) -> dict[str, Decimal]:
    """Return what is held, by symbol; symbols of which nothing is held are left out."""
    rows = connection.execute("SELECT symbol, quantity FROM positions ORDER BY symbol")
    return {symbol: held for symbol, text in rows.fetchall() if (held := Decimal(text)) != 0}


def fault_counts(connection: sqlite3.Connection) -> tuple[FaultCount, ...]:
    """Return the scripted faults in their order, and how often each has fired."""
    rows = connection.execute("SELECT number, rule, seen, fired FROM faults ORDER BY number")
    return tuple(
        FaultCount(number, FaultRule.model_validate_json(rule), seen, fired)
        for number, rule, seen, fired in rows.fetchall()
    )


def set_faults(connection: sqlite3.Connection, rules: Iterable[FaultRule]) -> None:
    """Replace the script of faults; every count begins at nought."""
    connection.execute("DELETE FROM faults")
    connection.executemany(
        "INSERT INTO faults (rule) VALUES (?)", [(rule.model_dump_json(),) for rule in rules]
    )


def update_fault_counts(connection: sqlite3.Connection, counts: Iterable[FaultCount]) -> None:
    """Write how often rules have matched and fired."""
    connection.executemany(
        "UPDATE faults SET seen = ?, fired = ? WHERE number = ?",
        [(count.seen, count.fired, count.number) for count in counts],
    )


def bury(connection: sqlite3.Connection, key: str) -> None:
    """Make a client order id unusable for ever."""
    connection.execute("INSERT OR IGNORE INTO tombstones VALUES (?)", (key,))


def is_buried(connection: sqlite3.Connection, key: str) -> bool:
    """Tell whether a client order id has been made unusable."""
    found = connection.execute("SELECT 1 FROM tombstones WHERE client_order_id = ?", (key,))
    return found.fetchone() is not None
