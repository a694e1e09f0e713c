"""Reference prices of the paper exchange: the closes of its present trading day."""

from brokers.paper.exchange import PaperExchange
from brokers.risk.market import Reference
from saga.clock import Clock, SystemClock
from saga.errors import InvalidInput


class PaperReferences:
    """The present day's close of each symbol, always as of now: the exchange's time stands still.

    Args:
        exchange: whose prices they are.
        clock: tells the present instant.
    """

    def __init__(self, exchange: PaperExchange, clock: Clock | None = None) -> None:
        self._exchange = exchange
        self._clock = clock or SystemClock()

    async def reference(self, symbol: str) -> Reference | None:
        """Return the day's close; None for a symbol that is not listed."""
        day = await self._exchange.day()
        try:
            price = self._exchange.market.close(symbol, day)
        except InvalidInput:
            return None
        return Reference(price, self._clock.now())
