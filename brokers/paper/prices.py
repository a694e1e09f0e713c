"""The paper exchange's closes as a source of prices, for plans and reservations."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal

from brokers.paper.exchange import PaperExchange
from brokers.paper.market import Market


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
