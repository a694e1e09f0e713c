"""An adapter for a broker of your own, and its test: python -m pytest examples/own_broker.py.

The venue is a toy in this file. In your project it is a sandbox, or a server that a fixture starts.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import anyio

from brokers import Buy, Order, Sell
from saga import Attempt, Capabilities, Directive, Fill, KeyTaken, NotServed, Report
from saga.clock import Clock
from saga.testing import Harness, KeyScope, ParticipantContract, VenueOrder

# --- the venue ------------------------------------------------------------------------------------


PRICE = Decimal(10)
"""What everything costs here."""
ON_OFFER = Decimal(4)
"""So much is to be had at once; the rest of an order fills after it, or waits."""
FEE = Decimal("0.05")
"""What every execution costs."""


@dataclass(frozen=True)
class Execution:
    """One piece of an order that was filled: it never changes."""

    number: int
    quantity: Decimal


@dataclass
class Ticket:
    """One order at the venue."""

    number: int
    key: str
    order: Order
    executions: list[Execution] = field(default_factory=list)
    is_open: bool = True

    @property
    def filled(self) -> Decimal:
        """How much has been filled."""
        return sum((each.quantity for each in self.executions), Decimal(0))


@dataclass
class Corner:
    """A venue that fills market orders whole, limit orders in part or not, and lends no shares."""

    tickets: list[Ticket] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    executions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def place(self, key: str, order: Order) -> Ticket | str:
        """Return the ticket, or the sentence with which the order is refused."""
        await anyio.sleep(0.01)  # the request travels
        same_key = await self._of(key)
        if same_key is None:
            if isinstance(order, Sell) and self._held(order.symbol) < order.quantity:
                return f"not enough {order.symbol}"
            same_key = Ticket(next(self.numbers), key, order)
            self._match(same_key)
            self.tickets.append(same_key)
        await anyio.sleep(0.01)  # the answer travels
        return same_key

    async def find(self, key: str) -> Ticket | None:
        """Return the ticket of a client order id."""
        await anyio.sleep(0.01)
        return await self._of(key)

    async def cancel(self, key: str) -> None:
        """Cancel what is open."""
        await anyio.sleep(0.01)
        ticket = await self._of(key)
        if ticket is not None:
            ticket.is_open = False

    def _match(self, ticket: Ticket) -> None:
        wanted, limit = ticket.order.quantity, ticket.order.limit_price
        if limit is None or limit >= PRICE:
            pieces = [min(wanted, ON_OFFER)]
            if limit is None and wanted > ON_OFFER:
                pieces.append(wanted - ON_OFFER)
            ticket.executions = [Execution(next(self.executions), piece) for piece in pieces]
            ticket.is_open = ticket.filled < wanted

    async def _of(self, key: str) -> Ticket | None:
        return next((ticket for ticket in self.tickets if ticket.key == key), None)

    def _held(self, symbol: str) -> Decimal:
        mine = (ticket for ticket in self.tickets if ticket.order.symbol == symbol)
        return sum((ticket.filled * ticket.order.direction for ticket in mine), Decimal(0))


# --- the adapter ----------------------------------------------------------------------------------


class CornerBroker:
    """One connection to the venue; a `saga.Participant`."""

    name = "the corner"
    kinds = frozenset({"buy", "sell"})
    capabilities = Capabilities(visibility_seconds=0.0, call_timeout_seconds=1.0, poll_seconds=0.05)

    def __init__(self, venue: Corner) -> None:
        self._venue = venue

    def check(self, directive: Directive) -> None:
        """Refuse what could never be carried out; asks nobody."""
        if not isinstance(directive, Order):
            raise NotServed(f"kind {directive.kind!r} is not carried out by {self.name}")

    async def send(self, attempt: Attempt) -> Report:
        """Place the order; whatever is raised here means that its fate is unknown."""
        answer = await self._venue.place(attempt.key, self._order(attempt))
        if isinstance(answer, str):
            return Report(final=True, reason=answer)
        return self._report(answer)

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Ask for the one order by its key."""
        ticket = await self._venue.find(attempt.key)
        if ticket is None:
            return None
        wanted = self._order(attempt)
        is_ours = (ticket.order.symbol, ticket.order.side, ticket.order.quantity) == (
            *(wanted.symbol, wanted.side, wanted.quantity),
        )
        if not is_ours:
            raise KeyTaken(f"{attempt.key} names another order")
        return self._report(ticket)

    async def withdraw(self, attempt: Attempt) -> None:
        """Cancel what is open of it."""
        await self._venue.cancel(attempt.key)

    def _order(self, attempt: Attempt) -> Order:
        assert isinstance(attempt.directive, Order)
        return attempt.directive

    def _report(self, ticket: Ticket) -> Report:
        fills = tuple(
            Fill(fill_id=f"X{each.number}", quantity=each.quantity, price=PRICE, fee=FEE)
            for each in ticket.executions  # one fill for each, under the venue's own id
        )
        is_short = not ticket.is_open and ticket.filled < ticket.order.quantity
        return Report(not ticket.is_open, fills, "cancelled" if is_short else None)


# --- its test -------------------------------------------------------------------------------------


class CornerHarness(Harness):
    """A new venue, and a look into its books."""

    key_scope = KeyScope.FOREVER
    odd_amounts = (Decimal("1.5"), Decimal("1234567.123456789012"))
    orders_on_a_page = 25

    def __init__(self) -> None:
        self.venue = Corner()

    async def connect(self) -> CornerBroker:
        """Connect as a new process does."""
        return CornerBroker(self.venue)

    async def books(self) -> Sequence[VenueOrder]:
        """Read the venue's own books, past the adapter."""
        return [
            VenueOrder(
                order_id=str(ticket.number),
                key=ticket.key,
                subject=ticket.order.symbol,
                direction=ticket.order.direction,
                quantity=ticket.order.quantity,
                filled=ticket.filled,
                is_open=ticket.is_open,
                limit_price=ticket.order.limit_price,
                value=ticket.filled * PRICE,
                fees=len(ticket.executions) * FEE,
            )
            for ticket in self.venue.tickets
        ]

    def will_fill(self, leg: int) -> Directive:
        """A market order fills."""
        return Buy(directive_id="EXE_1", symbol=("KO", "PEP")[leg % 2], quantity=Decimal(10))

    def will_be_refused(self) -> Directive:
        """Nothing is held of it, and nothing is lent."""
        return Sell(directive_id="EXE_1", symbol="MMM", quantity=Decimal(10))

    def will_rest(self) -> Directive:
        """A limit order waits."""
        return Buy(directive_id="EXE_1", symbol="KO", quantity=Decimal(10), limit_price=Decimal(1))

    def will_part_fill(self) -> Directive:
        """A limit order at the price gets what is on offer, and waits for the rest."""
        return Buy(directive_id="EXE_1", symbol="KO", quantity=Decimal(10), limit_price=PRICE)


class TestCornerBroker(ParticipantContract):
    """Everything that `saga.testing` tries, on the adapter above."""

    virtual_time = True  # it waits on the event loop's timers only

    def harness(self, folder: Path, clock: Clock) -> Harness:
        """Make the harness of one test."""
        del folder, clock
        return CornerHarness()
