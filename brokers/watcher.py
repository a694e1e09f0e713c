"""Watches a broker's list of trades for what the journal does not know (L6, rule 4).

Every period it reads the trades behind its cursor. A trade that bears a key of ours and that the
journal of its batch does not know is late truth: the engine is told to look again at that attempt.
It asks in turn, each call with a bound, and whatever fails is tried again a period later; it never
writes, and never ends an engine.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Protocol

from brokers.broker import Broker
from brokers.venue import Trade
from saga.aftermath import KnownFills
from saga.calls import answer_of, in_words
from saga.clock import Clock, SystemClock
from saga.complaints import Complaints
from saga.errors import OwnershipLost, SagaError, StorePoisoned
from saga.events import LateTruth
from saga.ids import batch_of_key

_LOG = Complaints("brokers.watcher")

PERIOD_SECONDS: Final = 30.0
"""How often the list is read where nothing else is said."""
MAX_OPEN: Final = 10_000
"""Most trades that are kept in mind; the list is read no further while there are so many."""
MAX_BATCHES: Final = 200
"""Most batches that are compared in one period; the others come in the next."""
MAX_LOOKS: Final = 5
"""After so many looks that brought nothing, a trade is left to the report of breaks."""
WATCHER: Final = "the trade watcher"
"""Who looks."""


class Engine(Protocol):
    """What the watcher needs of an engine."""

    async def known_fills(self, batch_id: str) -> KnownFills:
        """Return which fills of a batch its journal knows."""
        ...

    async def look_again(
        self, batch_id: str, *, by: str, keys: Iterable[str] | None = None
    ) -> tuple[LateTruth, ...]:
        """Ask again about attempts of a batch at rest."""
        ...


class TradeWatcher:
    """Finds late truth in a broker's list of trades.

    Args:
        broker: whose trades are watched.
        engine: whose batches they may belong to; entered.
        clock: where time comes from.
        period_seconds: how often the list is read.
    """

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        *,
        clock: Clock | None = None,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._broker = broker
        self._engine = engine
        self._clock = clock or SystemClock()
        self._period = timedelta(seconds=period_seconds)
        self._cursor = 0
        self._open: dict[str, Trade] = {}
        self._looks: dict[str, int] = {}

    async def run(self) -> None:
        """Watch until cancelled, or until the store is lost; the first look is a period away."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._period)
            try:
                await self.look()
            except (OwnershipLost, StorePoisoned) as error:
                _LOG.warning("the trades of %s are no longer watched: %s", self._broker.name, error)
                return

    async def look(self) -> tuple[LateTruth, ...]:
        """Look once; return what was new."""
        await self._read()
        by_batch: dict[str, list[Trade]] = {}
        for trade in self._open.values():
            by_batch.setdefault(batch_of_key(trade.client_order_id or "") or "", []).append(trade)
        found: list[LateTruth] = []
        for batch_id, trades in list(by_batch.items())[:MAX_BATCHES]:
            try:
                found += await self._compare(batch_id, trades)
            except (OwnershipLost, StorePoisoned):
                raise
            except SagaError as error:
                _LOG.warning("trades of %s could not be compared: %s", batch_id, error)
                self._count_look(trades)
        return tuple(found)

    async def _read(self) -> None:
        if len(self._open) >= MAX_OPEN:
            return
        seconds = self._broker.capabilities.call_timeout_seconds
        told = await answer_of(
            lambda: self._broker.trades(self._cursor),
            seconds,
            lambda: f"the list of trades of {self._broker.name}",
        )
        if not isinstance(told, (tuple, list)):
            why = (
                in_words(told) if isinstance(told, Exception) else f"it is a {type(told).__name__}"
            )
            _LOG.warning("the trades of %s could not be read: %s", self._broker.name, why)
            return
        for trade in told:
            if len(self._open) >= MAX_OPEN:
                return
            if not isinstance(trade, Trade):
                _LOG.warning("%s lists a trade that is none: %r", self._broker.name, type(trade))
                continue
            self._cursor = max(self._cursor, trade.sequence)
            if trade.client_order_id is not None and batch_of_key(trade.client_order_id):
                self._open[trade.fill_id] = trade

    async def _compare(self, batch_id: str, trades: list[Trade]) -> tuple[LateTruth, ...]:
        known = await self._engine.known_fills(batch_id)
        unknown = [trade for trade in trades if not _is_known(trade, known)]
        self._forget(trade for trade in trades if _is_known(trade, known))
        if not unknown or not known.at_rest:  # what runs asks for itself
            return ()
        self._count_look(unknown)
        keys = {str(trade.client_order_id) for trade in unknown}
        return await self._engine.look_again(batch_id, by=WATCHER, keys=keys)

    def _count_look(self, trades: list[Trade]) -> None:
        for trade in trades:
            looks = self._looks[trade.fill_id] = self._looks.get(trade.fill_id, 0) + 1
            if looks >= MAX_LOOKS:
                _LOG.error(
                    "%s lists trade %s of order %s, which no journal knows, and does not tell of "
                    "it when asked; see the report of breaks",
                    self._broker.name,
                    trade.fill_id,
                    trade.client_order_id,
                )
                self._forget([trade])

    def _forget(self, trades: Iterable[Trade]) -> None:
        for trade in trades:
            self._open.pop(trade.fill_id, None)
            self._looks.pop(trade.fill_id, None)


def _is_known(trade: Trade, known: KnownFills) -> bool:
    key = trade.client_order_id or ""
    if trade.reverses is not None:
        return (key, trade.reverses) in known.taken_back
    return (key, trade.fill_id) in known.told
