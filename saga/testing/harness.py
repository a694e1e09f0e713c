"""What the author of an adapter supplies: a venue to test against, and a look into its books.

The kit knows no broker. Through a harness it connects to the venue, learns which directives will
fill, rest or be refused there, and reads the venue's own books, which no adapter stands before.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from saga.directive import Directive
from saga.exact import ZERO, minus, times, total
from saga.participant import Participant


class BrokenPromise(AssertionError):
    """The adapter breaks a promise; the message is the story of how."""


class HarnessIncomplete(Exception):
    """The harness, not the adapter, is wrong; the sentence says what to give it."""


class KeyScope(StrEnum):
    """For how long the venue refuses to take the same client order id for a second order."""

    FOREVER = "forever"
    OPEN_ONLY = "open_only"
    """Only while the first order is open."""
    NONE = "none"


class Trouble(StrEnum):
    """What can go wrong between an adapter and its venue."""

    REQUEST_LOST = "the request is lost on its way to the venue"
    ANSWER_LOST = "the venue does what was asked, and its answer is lost"


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order that the venue accepted, as the venue's own books have it.

    Attributes:
        order_id: the venue's own id; tells two orders with one key apart.
        key: the client order id that it was accepted with; None if it has none.
        subject: the instrument.
        direction: +1 if its fills add to what is held of the subject, -1 if they take away.
        quantity: how much was ordered, positive.
        filled: how much has been filled.
        is_open: more of it may still fill.
        limit_price: with which the venue has it, per unit; None is not told, or without one.
        value: what its fills came to, quantity times price, without fees; None is not told.
        fees: what its fills cost beside that, negative is a rebate; None is not told.
    """

    order_id: str
    key: str | None
    subject: str
    direction: int
    quantity: Decimal
    filled: Decimal
    is_open: bool
    limit_price: Decimal | None = None
    value: Decimal | None = None
    fees: Decimal | None = None

    @property
    def effect(self) -> Decimal:
        """What its fills changed, signed."""
        return times(Decimal(self.direction), self.filled)

    @property
    def open_quantity(self) -> Decimal:
        """How much of it may still fill."""
        return max(ZERO, minus(self.quantity, self.filled)) if self.is_open else ZERO


def net(orders: Sequence[VenueOrder]) -> Decimal:
    """Return what orders in one subject changed together."""
    return total(order.effect for order in orders)


class Harness(ABC):
    """One venue, empty or shared: only what happens after the harness was made is looked at.

    `connect`, `books`, `will_fill` and `will_be_refused` must be written; the rest has defaults.
    All calls are made on one event loop, by one test.
    """

    key_scope: KeyScope = KeyScope.NONE
    """For how long the venue takes one client order id for one order only."""

    odd_amounts: Sequence[Decimal] = (Decimal("1.5"),)
    """Amounts that `will_fill` is tried with too. What the venue takes it has to get exactly; what
    it does not take is refused, by `check` or by the venue. Empty: the venue is not to see any."""

    orders_on_a_page: int = 0
    """How many orders the venue lists at once, where `look_up` reads a list; 0: it reads none."""

    # What must be written.

    @abstractmethod
    async def connect(self) -> Participant:
        """Return a new connection to the same venue, as a process makes one when it starts.

        It shares no memory with connections that were made before: after a crash there is none.
        """

    @abstractmethod
    async def books(self) -> Sequence[VenueOrder]:
        """Return every order that the venue has accepted, read past the adapter.

        An order that was accepted twice stands there twice. One that was refused does not.
        """

    @abstractmethod
    def will_fill(self, leg: int) -> Directive:
        """Return a directive that fills whole, and soon, and whose undo does too.

        Args:
            leg: 0, 1, ...; give each another subject where there are several.
        """

    @abstractmethod
    def will_be_refused(self) -> Directive:
        """Return a directive that `check` lets pass, and that the venue refuses."""

    # What may be written.

    def will_rest(self) -> Directive | None:
        """Return a directive that stays open, unfilled, until it is withdrawn; None: impossible."""
        return None

    def will_part_fill(self) -> Directive | None:
        """Return one of which a part fills soon, and whose rest stays open; None: impossible."""
        return None

    def lost_connection(self) -> Exception:
        """Return the error that the adapter's client library raises when an answer is lost."""
        return TimeoutError("the kit lost this answer on its way back to the adapter")

    async def interfere(self, trouble: Trouble) -> bool:
        """Let this happen to the adapter's next order on the wire; False: there is no way to.

        Write it where an adapter's call never waits on the event loop (a blocking library on a
        thread): elsewhere the kit loses answers by itself, at each place where a call waits.
        """
        del trouble
        return False

    async def disconnect(self, participant: Participant) -> None:  # noqa: B027 - may be written
        """Drop a connection, as the death of its process does."""

    async def close(self) -> None:  # noqa: B027 - may be written
        """Free what the harness holds; called once, at the end of its test."""
