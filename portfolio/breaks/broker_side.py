"""What the broker says: orders, trades, positions and cash, as of one instant.

Only the paper exchange is turned into this as yet (`of_books`). Another broker has no full break
report until somebody writes a function like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from brokers.orders import Side
from brokers.paper import Books
from brokers.venue import OrderStatus, Trade


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker has it.

    Attributes:
        number: the broker's own number or id of it.
        client_order_id: the key that it was placed with; None if it was placed by hand.
        quantity: how much was ordered, positive.
        filled: how much of it has been.
        placed_at: when, UTC; None where the broker does not say.
    """

    number: str
    client_order_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    status: OrderStatus
    placed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BrokerSide:
    """Everything that is compared.

    Attributes:
        orders: all orders of the account, over or not.
        trades: its executions, reversals among them, each once or more.
        positions: what is held, by symbol; None if only orders are to be compared.
        cash: the account's cash; None likewise.
    """

    name: str
    orders: tuple[BrokerOrder, ...]
    trades: tuple[Trade, ...]
    positions: Mapping[str, Decimal] | None = None
    cash: Decimal | None = None


def of_books(name: str, books: Books, *, with_account: bool = True) -> BrokerSide:
    """Return what the paper exchange's books say.

    Args:
        name: the broker's name.
        books: its books.
        with_account: positions and cash are to be compared too.
    """
    return BrokerSide(
        name=name,
        orders=tuple(
            BrokerOrder(
                str(order.number),
                order.client_order_id,
                order.symbol,
                order.side,
                order.quantity,
                order.filled,
                order.status,
                order.placed_at,
            )
            for order in books.orders
        ),
        trades=books.executions,
        positions=books.positions if with_account else None,
        cash=books.cash if with_account else None,
    )
