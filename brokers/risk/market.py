"""What a gate has to know of the outside: reference prices, what is held, and what is open."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from brokers.broker import Broker
from brokers.orders import Side
from saga.exact import ZERO, minus, total


@dataclass(frozen=True, slots=True)
class Reference:
    """A price to judge others by.

    Attributes:
        price: per unit, in the account's currency.
        at: as of when, UTC.
    """

    price: Decimal
    at: datetime


class References(Protocol):
    """Tells reference prices."""

    async def reference(self, symbol: str) -> Reference | None:
        """Return the latest price of a symbol; None where there is none."""
        ...


class Holdings(Protocol):
    """Tells what an account really holds, and what may still change that."""

    async def held(self, symbol: str) -> Decimal:
        """Return the signed quantity that the account holds of a symbol."""
        ...

    async def open_quantity(self, symbol: str, side: Side) -> Decimal:
        """Return how much the account's open orders may still trade of a symbol on a side."""
        ...


class AccountHoldings:
    """What a broker says its account holds, and has open, whoever sent it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def held(self, symbol: str) -> Decimal:
        """Return the signed quantity that the account holds of a symbol.

        Raises:
            OutcomeUnknown: the broker gives no answer that can be used.
        """
        positions = await self._broker.positions()
        return total(each.quantity for each in positions if each.symbol == symbol)

    async def open_quantity(self, symbol: str, side: Side) -> Decimal:
        """Return how much the account's open orders may still trade of a symbol on a side.

        The list may be older than the last order that was sent.

        Raises:
            OutcomeUnknown: the broker gives no answer that can be used.
        """
        orders = await self._broker.open_orders()
        return total(
            max(minus(each.quantity, each.filled), ZERO)
            for each in orders
            if (each.symbol, each.side) == (symbol, side)
        )
