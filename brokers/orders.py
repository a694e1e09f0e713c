"""The trading directives: buy, sell, cancel an order. They know how they are undone, and no venue.

Importing this module registers their kinds with the engine. A directive is checked here for what
can be known without a venue: exact positive numbers, whole lots, whole ticks. What a venue lists,
halts or refuses is the venue's to say.
"""

import hashlib
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from brokers.symbols import ClientOrderId, Symbol
from saga.amounts import PositiveAmount
from saga.directive import Directive, directive_kind
from saga.exact import ONE, is_multiple, plain
from saga.outcome import Outcome
from saga.wording import broken_rule

_UNDO = "-undo"
_MAX_ID_LENGTH = 64
"""`EXE_` and 60 characters, as saga.ids allows."""
_DIGEST_LENGTH = 8


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"


class TimeInForce(StrEnum):
    """How long an order stays open."""

    DAY = "DAY"
    """Until the trading day ends."""
    GTC = "GTC"
    """Until it is cancelled."""
    IOC = "IOC"
    """What does not fill at once is cancelled."""


def _undo_id(directive_id: str) -> str:
    """Return the id of the inverse; ids too long for the suffix keep a digest of what is cut."""
    if len(directive_id) + len(_UNDO) <= _MAX_ID_LENGTH:
        return directive_id + _UNDO
    digest = hashlib.sha256(directive_id.encode()).hexdigest()[:_DIGEST_LENGTH]
    kept = directive_id[: _MAX_ID_LENGTH - len(_UNDO) - _DIGEST_LENGTH - 1]
    return f"{kept}-{digest}{_UNDO}"


class Order(Directive):
    """What buying and selling share.

    Attributes:
        side: which way it trades.
        symbol: the instrument.
        quantity: how much, in shares or contracts; whole lots, except in a rollback.
        limit_price: the worst acceptable price per unit, in the account's currency; None is a
            market order.
        reference_price: the price per unit that the planner saw. It is used for reservations and
            reports, and is never sent to the venue.
        time_in_force: how long the order stays open.
        lot: the quantity is a whole number of these.
        tick: the limit price is a whole number of these; None leaves that to the venue.
    """

    side: ClassVar[Side]
    symbol: Symbol
    quantity: PositiveAmount
    limit_price: PositiveAmount | None = None
    reference_price: PositiveAmount | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    lot: PositiveAmount = ONE
    tick: PositiveAmount | None = None

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        # What really filled is undone even where it is no whole lot; the venue says what it takes.
        if not self.rollback and not is_multiple(self.quantity, self.lot):
            raise broken_rule(
                f"quantity {plain(self.quantity)} of {self.symbol} must be a multiple of "
                f"lot {plain(self.lot)}; round it down to whole lots"
            )
        if (
            self.limit_price is not None
            and self.tick is not None
            and not is_multiple(self.limit_price, self.tick)
        ):
            raise broken_rule(
                f"limit_price {plain(self.limit_price)} of {self.symbol} must be a multiple of "
                f"tick {plain(self.tick)}; round it to whole ticks"
            )
        return self

    @property
    def amount(self) -> Decimal:
        """The quantity."""
        return self.quantity

    @property
    def subject(self) -> str:
        """The symbol."""
        return self.symbol

    @property
    def direction(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self.side is Side.BUY else -1

    @property
    def can_be_undone(self) -> bool:
        """True: what was bought can be sold, and the other way round."""
        return True

    def for_amount(self, amount: Decimal) -> Self:
        """Return the same order for another quantity: what is left of it after a part was filled.

        The rest of a partly filled order may be no whole lot; that is the venue's to refuse.

        Raises:
            ValueError: the amount is not positive.
        """
        if not (amount.is_finite() and amount > 0):
            raise ValueError(f"amount must be positive, not {amount}")
        if amount == self.quantity:
            return self
        return self.model_copy(update={"quantity": amount})

    def describe(self) -> str:
        """Return the order in a few words, for example `sell 37 AAPL at 150.5 or better`."""
        price = "" if self.limit_price is None else f" at {plain(self.limit_price)} or better"
        return f"{self.side} {plain(self.quantity)} {self.symbol}{price}"

    def _counterpart_of(self, outcome: Outcome, counterpart: type["Buy"] | type["Sell"]) -> "Order":
        done = outcome.done
        if not done > 0:
            raise ValueError(
                f"directive {self.directive_id} took no effect, so that nothing undoes it"
            )
        last_price = outcome.fills[-1].price
        return counterpart(
            directive_id=_undo_id(self.directive_id),
            batch_id=self.batch_id,
            rollback=True,
            retry=self.retry,
            symbol=self.symbol,
            quantity=done,
            reference_price=last_price if last_price > 0 else None,
            lot=self.lot,
            tick=self.tick,
        )


@directive_kind
class Buy(Order):
    """Buy a quantity of a symbol."""

    kind: Literal["buy"] = "buy"
    side: ClassVar[Side] = Side.BUY

    @property
    def kind_of_undo(self) -> str:
        """A sell."""
        return "sell"

    def inverse(self, outcome: Outcome) -> Order:
        """Return the market sell of exactly what was bought.

        Raises:
            ValueError: nothing was bought.
        """
        return self._counterpart_of(outcome, Sell)


@directive_kind
class Sell(Order):
    """Sell a quantity of a symbol."""

    kind: Literal["sell"] = "sell"
    side: ClassVar[Side] = Side.SELL

    @property
    def kind_of_undo(self) -> str:
        """A buy."""
        return "buy"

    def inverse(self, outcome: Outcome) -> Order:
        """Return the market buy of exactly what was sold.

        Raises:
            ValueError: nothing was sold.
        """
        return self._counterpart_of(outcome, Buy)


@directive_kind
class CancelOrder(Directive):
    """Cancel an open order. It is indivisible, and nothing undoes it.

    Attributes:
        client_order_id: the order to cancel, by the key that it was placed with.
        symbol: the instrument, for people; the venue is not asked about it.
    """

    kind: Literal["cancel_order"] = "cancel_order"
    client_order_id: ClientOrderId
    symbol: Symbol | None = None

    @property
    def subject(self) -> str | None:
        """The symbol, where it was given."""
        return self.symbol

    def describe(self) -> str:
        """Return the instruction in a few words."""
        return f"cancel order {self.client_order_id}"
