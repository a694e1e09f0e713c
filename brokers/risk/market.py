"""What a gate has to know of the outside: a reference price and its age, and what is held."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from brokers.broker import Broker
from saga.exact import total


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
    """Tells what an account really holds."""

    async def held(self, symbol: str) -> Decimal:
        """Return the signed quantity that the account holds of a symbol."""
        ...


class AccountHoldings:
    """What a broker says its account holds."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def held(self, symbol: str) -> Decimal:
        """Return the signed quantity that the account holds of a symbol.

        Raises:
            OutcomeUnknown: the broker gives no answer that can be used.
        """
        positions = await self._broker.positions()
        return total(each.quantity for each in positions if each.symbol == symbol)
