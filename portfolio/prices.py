"""Where prices come from: a protocol, and the paper exchange's closes as one source.

A price is what a plan is made with and what reservations are worked out from; it is never sent to
a venue.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Protocol

from brokers.paper import Market, PaperExchange


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


class PaperPrices:
    """The closes of the paper exchange's present trading day."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._market: Market = exchange.market
        self._day: Callable[[], Awaitable[date]] = exchange.day

    async def prices(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the day's closes.

        Raises:
            InvalidInput: a symbol is not listed.
        """
        day = await self._day()
        return {symbol: self._market.close(symbol, day) for symbol in symbols}
