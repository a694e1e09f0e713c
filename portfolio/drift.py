"""Watches whether books and broker drift apart, and lets only orders out that lower an exposure.

Every period the account is compared with the books. What is in flight is no drift, and what was
dealt with by hand stands in the books already; anything else beyond the bounds, seen twice in a
row, makes trading REDUCING: whoever does not know what he holds should not buy more of it. A halt
is never eased by this.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Protocol

from brokers.broker import Broker
from portfolio.books import BooksReader
from portfolio.reconcile import Origin, Reconciliation, reconcile
from saga.clock import Clock, SystemClock
from saga.complaints import Complaints
from saga.errors import OwnershipLost, SagaError, StorePoisoned
from saga.exact import ZERO, minus, plain, total
from saga.logbook import TradingState

_LOG = Complaints("portfolio.drift")

PERIOD_SECONDS: Final = 60.0
"""How often books and broker are compared where nothing else is said."""
CONFIRM_SECONDS: Final = 5.0
"""A drift is believed if it is still there so much later."""
DRIFT_WATCH: Final = "drift watch"
"""Who reduces."""
_SHOWN: Final = 3


class Engine(Protocol):
    """What the watch needs of an engine."""

    @property
    def trading_state(self) -> TradingState:
        """Which orders may go out."""
        ...

    async def reduce(self, *, by: str, reason: str, automatic: bool = False) -> None:
        """Let only such forward orders out as make an exposure smaller."""
        ...


@dataclass(frozen=True, slots=True)
class DriftBounds:
    """How far books and broker may differ before trading is REDUCING; None is no bound.

    Attributes:
        quantity: of one symbol, in shares or contracts.
        cash: in the account's currency.
    """

    quantity: Decimal | None = None
    cash: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Books and broker are too far apart in one thing.

    The figures may move from one look to the next, because trading goes on; it is the same drift
    as long as it is about the same thing, and in the same direction.

    Attributes:
        symbol: in what; None is cash.
        is_surplus: the broker has more than the books.
        words: how far.
    """

    symbol: str | None
    is_surplus: bool
    words: str


class DriftWatch:
    """Compares an account with the books of the portfolios that trade in it.

    Args:
        engine: whose trading state is set; entered.
        reader: where the books are read.
        broker: the account.
        bounds: what is too far.
        portfolios: all portfolios that trade in that account; None is all there are.
        clock: where time comes from.
        period_seconds: how often.
    """

    def __init__(
        self,
        engine: Engine,
        reader: BooksReader,
        broker: Broker,
        bounds: DriftBounds,
        *,
        portfolios: Sequence[str] | None = None,
        clock: Clock | None = None,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._broker = broker
        self._bounds = bounds
        self._portfolios = portfolios
        self._clock = clock or SystemClock()
        self._period = timedelta(seconds=period_seconds)

    async def run(self) -> None:
        """Watch until cancelled, or until the store is lost; the first look is a period away."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._period)
            try:
                await self.look()
            except (OwnershipLost, StorePoisoned) as error:
                _LOG.warning("the drift of %s is no longer watched: %s", self._broker.name, error)
                return
            except SagaError as error:  # the store was busy, or somebody was faster
                _LOG.error("the drift of %s is looked at again: %s", self._broker.name, error)

    async def look(self) -> None:
        """Compare; where the drift is too large and stays, make trading REDUCING."""
        seen = await self._too_far()
        if not seen:
            return
        confirm = timedelta(seconds=CONFIRM_SECONDS)
        await self._clock.sleep_until(self._clock.now() + confirm)
        again = await self._too_far()
        before = {(drift.symbol, drift.is_surplus) for drift in seen}
        lasting = [drift for drift in again if (drift.symbol, drift.is_surplus) in before]
        # Nothing is awaited between this look at the state and the change: no halt is eased by it.
        if lasting and self._engine.trading_state is TradingState.ACTIVE:
            more = f" and {len(lasting) - _SHOWN} more" if len(lasting) > _SHOWN else ""
            words = "; ".join(drift.words for drift in lasting[:_SHOWN])
            reason = f"books and broker differ: {words}{more}"
            await self._engine.reduce(by=DRIFT_WATCH, reason=reason, automatic=True)

    async def _too_far(self) -> list[Drift]:
        try:
            found = await reconcile(self._reader, self._broker, self._portfolios)
        except (OwnershipLost, StorePoisoned):
            raise
        except Exception as error:  # a broker that does not answer is no proof of a drift
            level = logging.WARNING if isinstance(error, SagaError) else logging.ERROR
            _LOG.log(level, "books and %s could not be compared: %s", self._broker.name, error)
            return []
        return drift_beyond(found, self._bounds)


def drift_beyond(found: Reconciliation, bounds: DriftBounds) -> list[Drift]:
    """Return each symbol (or cash) that is further apart than its bound."""
    # What an operator has booked stands in the books, and makes no difference to them.
    in_flight = [
        trade
        for trade in found.unbooked
        if trade.origin is Origin.IN_FLIGHT and trade.explained_by is None
    ]
    drifts = []
    for each in found.differences:
        if each.symbol is None:
            bound, known = bounds.cash, total(trade.cash for trade in in_flight)
        else:
            bound = bounds.quantity
            known = total(trade.shares for trade in in_flight if trade.symbol == each.symbol)
        drift = minus(minus(each.broker, each.books), known)
        if bound is not None and abs(drift) > bound and drift != ZERO:
            words = (
                f"{each.symbol or 'cash'} is {plain(each.books)} in the books and "
                f"{plain(each.broker)} at the broker"
            )
            drifts.append(Drift(each.symbol, drift > ZERO, words))
    return drifts
