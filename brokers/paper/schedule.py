"""What happens later by itself, because the script of faults said so: kept in the books."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter

from brokers.venue import OrderRequest


class Action(StrEnum):
    """What can be scheduled for later."""

    ARRIVE = "arrive"
    """An order that was sent long ago arrives."""
    FILL = "fill"
    """The rest of an order fills."""
    BUST = "bust"
    """The fills of an order are taken back, once it is over."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Something that happens later by itself.

    Attributes:
        request: the order that arrives.
        order_number: the order that fills or is busted.
        price: the price to which a bust corrects the fills; None takes them back.
    """

    action: Action
    request: OrderRequest | None = None
    order_number: int | None = None
    price: Decimal | None = None


_SCHEDULED: Final = TypeAdapter(Scheduled)


def schedule(connection: sqlite3.Connection, due_at: datetime, what: Scheduled) -> None:
    """Write down what is to happen later."""
    content = _SCHEDULED.dump_json(what).decode()
    connection.execute("INSERT INTO scheduled VALUES (NULL, ?, ?)", (due_at.isoformat(), content))


def due(connection: sqlite3.Connection, now: datetime) -> tuple[tuple[int, Scheduled], ...]:
    """Return what should have happened by now, in order, with its number."""
    rows = connection.execute("SELECT number, due_at, content FROM scheduled ORDER BY number")
    return tuple(
        (number, _SCHEDULED.validate_json(content))
        for number, due_at, content in rows.fetchall()
        if datetime.fromisoformat(due_at) <= now
    )


def unschedule(connection: sqlite3.Connection, number: int) -> None:
    """Forget what has happened."""
    connection.execute("DELETE FROM scheduled WHERE number = ?", (number,))
