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


TradeId = tuple[str | None, str, str]
"""Order's key, symbol, and the venue's id: many venues number the fills of each order from one."""


def id_of(trade: Trade) -> TradeId:
    """Return what tells a trade from every other one."""
    return trade.client_order_id, trade.symbol, trade.fill_id


class BrokerTrades:
    """A broker's executions.

    Args:
        trades: as they are listed, doubled or not, reversals among them.

    Attributes:
        standing: neither reversals nor reversed.
    """

    def __init__(self, trades: Iterable[Trade]) -> None:
        once = {id_of(trade): trade for trade in trades}.values()
        self._reversals: dict[str, list[Trade]] = defaultdict(list)
        originals: dict[str, list[Trade]] = defaultdict(list)
        for trade in once:
            if trade.reverses is None:
                originals[trade.fill_id].append(trade)
            else:
                self._reversals[trade.reverses].append(trade)
        reversed_ids = {
            id_of(original)
            for fill_id, reversals in self._reversals.items()
            for reversal in reversals
            if (original := _reversed_by(reversal, originals[fill_id])) is not None
        }
        self.standing = tuple(
            trade for trade in once if trade.reverses is None and id_of(trade) not in reversed_ids
        )
        self._by_id: dict[str, list[Trade]] = defaultdict(list)
        self._by_key: dict[str, list[Trade]] = defaultdict(list)
        for trade in self.standing:
            self._by_id[trade.fill_id].append(trade)
            if trade.client_order_id is not None:
                self._by_key[trade.client_order_id].append(trade)

    def find(self, key: str, fill_id: str, symbol: str | None = None) -> Trade | None:
        """Return one fill of one order; None if it does not stand.

        Args:
            key: of the order.
            fill_id: the venue's id of it.
            symbol: only of this one; None is any.
        """
        for trade in self._by_key.get(key, ()):
            if trade.fill_id == fill_id and symbol in (None, trade.symbol):
                return trade
        return None

    def by_id(self, fill_id: str) -> Sequence[Trade]:
        """Return the trades with an id, whoever made them; none that does not stand."""
        return self._by_id.get(fill_id, ())

    def of(self, key: str) -> Sequence[Trade]:
        """Return the trades of one order."""
        return self._by_key.get(key, ())

    def taken_back(self, key: str, fill_id: str) -> Trade | None:
        """Return the trade that reverses a fill of an order; None if none does."""
        for trade in self._reversals.get(fill_id, ()):
            if trade.client_order_id in (None, key):
                return trade
        return None


def _reversed_by(reversal: Trade, originals: Sequence[Trade]) -> Trade | None:
    """Return the one of several trades with the same id that a reversal takes back."""
    key, symbol, _ = id_of(reversal)
    for trade in originals:
        if (trade.client_order_id, trade.symbol) == (key, symbol):
            return trade
    # A venue may leave the key out of a reversal.
    of_symbol = [trade for trade in originals if trade.symbol == symbol]
    return of_symbol[0] if key is None and of_symbol else None
