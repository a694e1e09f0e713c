"""Watches a broker's list of trades for what the journal does not know (L6, rule 4).

Every period it reads the newest trades, and now and then all. A trade that bears a key of ours and
that the journal of its batch does not know is late truth: the engine is told to look again at that
attempt. It asks in turn, each call with a bound; whatever fails is tried again, ever less often,
and a row that cannot be one is passed over. It never writes, and never ends an engine.
"""

import heapq
import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Protocol

from brokers.broker import Broker
from brokers.venue import Trade, TradePlace
from saga.aftermath import KnownFills
from saga.calls import answer_of, in_words
from saga.clock import Clock, SystemClock
from saga.complaints import Complaints
from saga.errors import NoSuchBatch, OwnershipLost, Quarantined, SagaError, StorePoisoned
from saga.events import LateTruth
from saga.ids import batch_of_key
from saga.quick_dataclass import dataclass

_LOG = Complaints("brokers.watcher")

PERIOD_SECONDS: Final = 30.0
"""How often the list is read where nothing else is said."""
MAX_OPEN: Final = 10_000
"""Most trades that are kept in mind; the list is read no further while there are so many."""
MAX_BATCHES: Final = 200
"""Most batches that are compared in one period; the others come in the next."""
REREAD_ROWS: Final = 1_000
"""So many of the newest trades are read again each time: a number too high hides none of them."""
ROUNDS_PER_SWEEP: Final = 120
"""After so many readings the list is read from its beginning again."""
MAX_SETTLED: Final = 100_000
"""So many trades that need no look any more are remembered; an older one is compared again."""
MAX_LOOKS: Final = 5
"""After so many looks that were answered and brought nothing, a trade is left to the report of
breaks. A look that failed is none: however long a broker gives no answers, it is asked again."""
LONGEST_WAIT_ROUNDS: Final = 20
"""Most rounds until a trade is looked at again after looks that failed; each wait is twice the last
(L3)."""
WATCHER: Final = "the trade watcher"
"""Who looks."""
_SHOWN: Final = 3


class Engine(Protocol):
    """What the watcher needs of an engine."""

    async def known_fills(self, batch_id: str) -> KnownFills:
        """Return which fills of a batch its journal knows."""
        ...

    async def look_again(
        self,
        batch_id: str,
        *,
        by: str,
        keys: Iterable[str] | None = None,
        unanswered: set[str] | None = None,
    ) -> tuple[LateTruth, ...]:
        """Ask again about attempts of a batch at rest; add the keys that got no usable answer."""
        ...


@dataclass(frozen=True, slots=True)
class _Failed:
    """Looks at a trade that failed, since the last one that did not.

    Attributes:
        looks: how many.
        due: the round in which it is looked at again.
    """

    looks: int
    due: int


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
        self._newest: list[int] = []  # the highest sequences that were read, the lowest first
        self._rounds = 0
        self._round = 0  # of looking, counted on through all sweeps
        self._open: dict[TradePlace, Trade] = {}
        self._looks: dict[TradePlace, int] = {}
        self._failed: dict[TradePlace, _Failed] = {}
        self._settled: dict[TradePlace, None] = {}
        self._passed_over: list[str] = []

    async def run(self) -> None:
        """Watch until cancelled, or until the store is lost; the first look is a period away."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._period)
            try:
                await self.look()
            except (OwnershipLost, StorePoisoned) as error:
                _LOG.warning("the trades of %s are no longer watched: %s", self._broker.name, error)
                return
            except Exception as error:  # whatever a broker's list may hold, the next round comes
                _LOG.error("the trades of %s are read again: %s", self._broker.name, error)

    async def look(self) -> tuple[LateTruth, ...]:
        """Look once; return what was new."""
        self._round += 1
        await self._read()
        by_batch: dict[str, list[Trade]] = {}
        for trade in filter(self._is_due, self._open.values()):
            by_batch.setdefault(batch_of_key(trade.client_order_id or "") or "", []).append(trade)
        found: list[LateTruth] = []
        # Who is mute keeps no other out: what was never looked at in vain goes first.
        first = sorted(by_batch.items(), key=lambda each: min(map(self._due_of, each[1])))
        for batch_id, trades in first[:MAX_BATCHES]:
            try:
                found += await self._compare(batch_id, trades)
            except (OwnershipLost, StorePoisoned):
                raise
            except Exception as error:
                level = logging.WARNING if isinstance(error, SagaError) else logging.ERROR
                _LOG.log(level, "trades of %s could not be compared: %s", batch_id, in_words(error))
                if isinstance(error, (NoSuchBatch, Quarantined)):  # so says the store, and will
                    self._count_look(trades)
                else:
                    self._look_later(trades)
        return tuple(found)

    def _is_due(self, trade: Trade) -> bool:
        return self._due_of(trade) <= self._round

    def _due_of(self, trade: Trade) -> int:
        """Return the round in which a trade is to be looked at; 0 if no look at it has failed."""
        failed = self._failed.get(trade.place)
        return 0 if failed is None else failed.due

    def _is_full(self) -> bool:
        """Tell whether no more are taken in; who is mute keeps no other out."""
        return len(self._open) - len(self._failed) >= MAX_OPEN

    async def _read(self) -> None:
        if self._is_full():
            return
        after = self._begin_reading()
        seconds = self._broker.capabilities.call_timeout_seconds
        told = await answer_of(
            lambda: self._broker.trades(after),
            seconds,
            lambda: f"the list of trades of {self._broker.name}",
            hosts_task=True,
        )
        if not isinstance(told, (tuple, list)):
            why = (
                in_words(told) if isinstance(told, Exception) else f"it is a {type(told).__name__}"
            )
            _LOG.warning("the trades of %s could not be read: %s", self._broker.name, why)
            self._rounds += 1
            return
        rows, passed_over = _usable(told)
        if passed_over and passed_over != self._passed_over:
            _LOG.warning(
                "%s lists %s trades that cannot be, and are passed over: %s",
                self._broker.name,
                len(passed_over),
                "; ".join(passed_over[:_SHOWN]),
            )
        self._passed_over = passed_over
        read: set[int] = set(self._newest)
        for trade in rows:
            if self._is_full():
                break
            read.add(trade.sequence)
            key = trade.client_order_id
            if key is not None and batch_of_key(key) and trade.place not in self._settled:
                self._open[trade.place] = trade
        else:
            self._rounds += 1  # read to its end
        self._newest = sorted(heapq.nlargest(REREAD_ROWS, read))

    def _begin_reading(self) -> int:
        """Return behind which number is read."""
        if self._rounds >= ROUNDS_PER_SWEEP:
            self._rounds = 0
            self._newest = []
        # A sequence is only believed to be in order: none is reckoned with.
        return self._newest[0] if len(self._newest) >= REREAD_ROWS else 0

    async def _compare(self, batch_id: str, trades: list[Trade]) -> tuple[LateTruth, ...]:
        known = await self._engine.known_fills(batch_id)
        unknown = [trade for trade in trades if not _is_known(trade, known)]
        self._settle(trade for trade in trades if _is_known(trade, known))
        if not unknown or not known.at_rest:  # what runs asks for itself
            return ()
        keys = {str(trade.client_order_id) for trade in unknown}
        unanswered: set[str] = set()
        told = await self._engine.look_again(batch_id, by=WATCHER, keys=keys, unanswered=unanswered)
        self._look_later(trade for trade in unknown if trade.client_order_id in unanswered)
        self._count_look(trade for trade in unknown if trade.client_order_id not in unanswered)
        return told

    def _look_later(self, trades: Iterable[Trade]) -> None:
        """Put off what could not be looked at: nothing was learnt of it, so nothing is counted."""
        for trade in trades:
            before = self._failed.get(trade.place)
            looks = 1 if before is None else before.looks + 1
            wait = min(2 ** min(looks - 1, LONGEST_WAIT_ROUNDS), LONGEST_WAIT_ROUNDS)
            self._failed[trade.place] = _Failed(looks, self._round + wait)
            if looks == MAX_LOOKS:
                _LOG.error(
                    "%s lists trade %s of order %s, which no journal knows, and gives no answer "
                    "about it; it is asked again, every %s rounds at the latest",
                    self._broker.name,
                    trade.fill_id,
                    trade.client_order_id,
                    LONGEST_WAIT_ROUNDS,
                )

    def _count_look(self, trades: Iterable[Trade]) -> None:
        for trade in trades:
            place = trade.place
            self._failed.pop(place, None)
            looks = self._looks[place] = self._looks.get(place, 0) + 1
            if looks >= MAX_LOOKS:
                _LOG.error(
                    "%s lists trade %s of order %s, which no journal knows, and does not tell of "
                    "it when asked; see the report of breaks",
                    self._broker.name,
                    trade.fill_id,
                    trade.client_order_id,
                )
                self._settle([trade])

    def _settle(self, trades: Iterable[Trade]) -> None:
        for trade in trades:
            place = trade.place
            self._open.pop(place, None)
            self._looks.pop(place, None)
            self._failed.pop(place, None)
            self._settled[place] = None
            while len(self._settled) > MAX_SETTLED:
                del self._settled[next(iter(self._settled))]


def _usable(told: Iterable[object]) -> tuple[list[Trade], list[str]]:
    """Return the rows that can be trades, in order, and what is wrong with the others."""
    rows: list[Trade] = []
    wrong: list[str] = []
    for row in told:
        why = _wrong_with(row)
        if why is not None:
            wrong.append(why)
        elif isinstance(row, Trade):
            rows.append(row)
    return sorted(rows, key=lambda trade: trade.sequence), wrong


def _wrong_with(row: object) -> str | None:
    if not isinstance(row, Trade):
        return f"a row is a {type(row).__name__}"
    asked: tuple[tuple[str, object, tuple[type, ...]], ...] = (
        ("sequence", row.sequence, (int,)),
        ("fill_id", row.fill_id, (str,)),
        ("client_order_id", row.client_order_id, (str, type(None))),
        ("reverses", row.reverses, (str, type(None))),
    )
    for name, value, kinds in asked:
        if not isinstance(value, kinds):
            return f"its {name} is a {type(value).__name__}"
    return None


def _is_known(trade: Trade, known: KnownFills) -> bool:
    key = trade.client_order_id or ""
    if trade.reverses is not None:
        return (key, trade.reverses) in known.taken_back
    return (key, trade.fill_id) in known.told
