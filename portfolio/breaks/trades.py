"""The broker's executions, each once, by what they are looked for. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal

from brokers.orders import Side
from brokers.venue import Trade
from saga.exact import ZERO, minus, times


def shares_of(trade: Trade) -> Decimal:
    """Return the signed change of what is held."""
    return trade.quantity if trade.side is Side.BUY else minus(ZERO, trade.quantity)


def cash_of(trade: Trade) -> Decimal:
    """Return the signed change of cash, fee included."""
    return minus(minus(ZERO, times(shares_of(trade), trade.price)), trade.fee)


class BrokerTrades:
    """A broker's executions.

    Args:
        trades: as they are listed, doubled or not, reversals among them.

    Attributes:
        standing: neither reversals nor reversed.
    """

    def __init__(self, trades: Iterable[Trade]) -> None:
        once = {trade.fill_id: trade for trade in trades}
        self._taken_back = {t.reverses: t for t in once.values() if t.reverses is not None}
        self.standing = tuple(
            trade
            for trade in once.values()
            if trade.reverses is None and trade.fill_id not in self._taken_back
        )
        self._by_id = {trade.fill_id: trade for trade in self.standing}
        self._by_key: dict[str, list[Trade]] = defaultdict(list)
        for trade in self.standing:
            if trade.client_order_id is not None:
                self._by_key[trade.client_order_id].append(trade)

    def find(self, key: str, fill_id: str) -> Trade | None:
        """Return one fill of one order; None if it does not stand."""
        trade = self._by_id.get(fill_id)
        return trade if trade is not None and trade.client_order_id == key else None

    def by_id(self, fill_id: str) -> Trade | None:
        """Return the trade with an id, whoever made it; None if it does not stand."""
        return self._by_id.get(fill_id)

    def of(self, key: str) -> Sequence[Trade]:
        """Return the trades of one order."""
        return self._by_key.get(key, ())

    def taken_back(self, fill_id: str) -> Trade | None:
        """Return the trade that reverses another; None if none does."""
        return self._taken_back.get(fill_id)
