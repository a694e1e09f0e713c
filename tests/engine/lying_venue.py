"""A venue that lies on demand, with books of its own that never do: what the attacks judge by.

It is a plain participant, not a broker: nothing stands between its answers and the engine. Each
call can be replaced by a lie; what a lie does not replace fills at once, truthfully.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

from brokers.orders import Order
from saga.directive import Directive
from saga.limits import Limits
from saga.orchestrator import Orchestrator
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.policy import Capabilities
from saga.store.sqlite import SqliteStore
from tests.engine.trading_desk import batch, buy, sell

__all__ = ["LyingVenue", "Telling", "batch", "buy", "engine_on", "sell"]

Telling = Callable[[Attempt], Awaitable[Report | None]]
"""Told instead of the truth. Its answers may be of any type: lies are cast."""


class LyingVenue:
    """Fills every order at once, at a price of 10; tells what it is scripted to tell.

    Attributes:
        on_send, on_look_up: what to do instead; keys are symbols.
        books: the truth: signed fills by key and symbol, in the order in which they happened.
        sent: the keys that were handed over, in order, whatever became of them.
    """

    name = "a lying venue"
    kinds = frozenset({"buy", "sell"})

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        self.capabilities = capabilities or Capabilities(
            visibility_seconds=0.0, call_timeout_seconds=0.5, poll_seconds=0.02
        )
        self.on_send: dict[str, Telling] = {}
        self.on_look_up: dict[str, Telling] = {}
        self.on_withdraw: dict[str, Telling] = {}
        self.books: list[tuple[str, str, Decimal]] = []
        self.told: dict[str, Report] = {}
        self.sent: list[str] = []

    def check(self, directive: Directive) -> None:
        """Anything goes."""

    def fill(self, attempt: Attempt) -> Report:
        """Fill the order in the books, and return the truth about it."""
        order = attempt.directive
        assert isinstance(order, Order)
        self.books.append((attempt.key, order.symbol, order.quantity * order.direction))
        report = Report(True, (Fill(attempt.key, order.quantity, Decimal(10)),), None, attempt.key)
        self.told[attempt.key] = report
        return report

    async def send(self, attempt: Attempt) -> Report:
        """Fill at once, or lie."""
        self.sent.append(attempt.key)
        lie = self.on_send.get(attempt.directive.subject or "")
        if lie is not None and attempt.purpose == "forward":
            return await lie(attempt)  # type: ignore[return-value]
        return self.fill(attempt)

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Tell what is in the books, or lie."""
        lie = self.on_look_up.get(attempt.directive.subject or "")
        if lie is not None and attempt.purpose == "forward":
            return await lie(attempt)
        return self.told.get(attempt.key)

    async def withdraw(self, attempt: Attempt) -> None:
        """Nothing is ever open, unless a lie says so."""
        lie = self.on_withdraw.get(attempt.directive.subject or "")
        if lie is not None:
            await lie(attempt)

    def held(self) -> dict[str, Decimal]:
        """What the books say is held."""
        totals: dict[str, Decimal] = {}
        for _, symbol, quantity in self.books:
            totals[symbol] = totals.get(symbol, Decimal(0)) + quantity
        return {symbol: quantity for symbol, quantity in totals.items() if quantity}


def engine_on(
    folder: Path, venue: LyingVenue, *, limits: Limits | None = None, take_over: bool = False
) -> Orchestrator:
    """An engine over the store in a folder, with this venue."""
    store = SqliteStore(folder / "saga.db")
    return Orchestrator(store, [venue], limits=limits, take_over=take_over)
