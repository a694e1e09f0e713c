"""Where prices come from: a protocol, and fixed prices as one source.

A price is what a plan is made with and what reservations are worked out from; it is never sent to
a venue.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Protocol


class PriceSource(Protocol):
    """Tells the present price of symbols."""

    async def prices(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the price per unit of each symbol, in the account's currency.

        Raises:
            SagaError: a price cannot be told; the sentence names the symbol.
        """
        ...


class FixedPrices:
    """The same prices whenever they are asked for; for plans on a given day, and for tests."""

    def __init__(self, prices: Mapping[str, Decimal]) -> None:
        self._prices = dict(prices)

    async def prices(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the prices that are known; a plan refuses a symbol that is not among them."""
        return {symbol: self._prices[symbol] for symbol in symbols if symbol in self._prices}
