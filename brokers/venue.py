"""A venue's own words: what is asked of it, what it answers, and what it can do.

Venues differ; an adapter translates theirs into these. Nothing here is believed as it stands:
`brokers.reports` checks every answer before the engine hears of it.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from brokers.orders import Side, TimeInForce
from saga.amounts import PositiveAmount
from saga.ids import MAX_KEY_LENGTH
from saga.outcome import Fill
from saga.policy import Capabilities, Seconds
from saga.quick_dataclass import dataclass


class OrderStatus(StrEnum):
    """Where an order stands at the venue."""

    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """Nothing more will happen to the order."""
        return self not in (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as it is sent to a venue.

    Attributes:
        client_order_id: our key for it.
        symbol: the instrument.
        side: which way it trades.
        quantity: how much, in shares or contracts, positive.
        limit_price: worst acceptable price per unit, in the account's currency; None is market.
        time_in_force: how long it stays open.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as a venue tells of it.

    Attributes:
        client_order_id: the key it was placed with; None if it was placed by hand.
        order_id: the venue's own id; an attribute, never an identity.
        symbol: the instrument.
        side: which way it trades.
        quantity: how much was ordered.
        filled: how much has been filled, as the venue itself counts it. An adapter hands that
            number on and never adds up the fills instead: that the two differ is the only sign of
            a list of fills that is behind.
        status: where it stands.
        fills: every fill that stands.
        reason: why it ended without its whole effect, in the venue's words.
        account: the fingerprint of the account it belongs to; None where the venue does not say.
        reversed: ids of fills that the venue has taken back; empty where it does not say so here,
            but in its list of trades.
    """

    client_order_id: str | None
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    status: OrderStatus
    fills: tuple[Fill, ...] = ()
    reason: str | None = None
    account: str | None = None
    reversed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one symbol: a signed quantity, in shares or contracts."""

    symbol: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the venue tells of it.

    Attributes:
        cash: what can be spent, in `currency`.
        currency: ISO 4217 code of cash, prices and fees.
        fingerprint: tells this account from every other one, paper from live; holds no secret.
    """

    cash: Decimal
    currency: str
    fingerprint: str


TradePlace = tuple[str | None, str]
"""A trade's order and its id: many venues number the fills of each order from one."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution in the account, whoever ordered it; the input of reconciliation.

    Attributes:
        sequence: its place among the account's executions, from 1; only its order has a meaning.
        fill_id: the venue's own id of the execution.
        client_order_id: the key of the order; None if it was placed by hand.
        symbol: the instrument.
        side: which way.
        quantity: how much, positive.
        price: per unit, in the account's currency.
        fee: what it cost beside the price, in the account's currency.
        at: when, UTC.
        reverses: the fill id that this trade busts; None for an ordinary trade.
    """

    sequence: int
    fill_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: datetime
    reverses: str | None = None

    @property
    def place(self) -> TradePlace:
        """What tells it from all other trades of the account."""
        return self.client_order_id, self.fill_id


class Idempotency(StrEnum):
    """For how long a venue refuses to take the same client order id for a second order."""

    FOREVER = "forever"
    OPEN_ONLY = "open_only"
    """Only while the first order is open: a resend after a fast fill trades twice."""
    NONE = "none"


class BrokerCapabilities(BaseModel):
    """What a venue can do, and how far its silence can be trusted.

    The engine needs a part of it, `for_engine`; the rest is for adapters, planners and people.

    Attributes:
        look_up: one order can be asked for by its client order id.
        cancel: an open order can be cancelled by its client order id.
        idempotent: how long the same client order id is not taken twice.
        tombstone: cancelling an unknown client order id makes it unusable for ever.
        visibility_seconds: how long after placing a look-up may still not find the order.
        call_timeout_seconds: how long one call may take before its outcome is unknown.
        poll_seconds: how often an open order is looked up.
        cancels_on_disconnect: a lost connection cancels the account's open orders.
        times_in_force: those that the venue takes.
        limit_orders: it takes limit orders.
        lot: quantities are whole numbers of these; None leaves that to the order's own lot.
        tick: limit prices are whole numbers of these; None leaves that to the order's own tick.
        key_length: it takes client order ids of so many characters.
        key_pattern: what they may be made of, as a regular expression for the whole id.
        short_selling: more can be sold than is held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    look_up: bool = True
    cancel: bool = True
    idempotent: Idempotency = Idempotency.NONE
    tombstone: bool = False
    visibility_seconds: Seconds = 5.0
    call_timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 10.0
    poll_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 1.0
    cancels_on_disconnect: bool = False
    times_in_force: frozenset[TimeInForce] = frozenset(TimeInForce)
    limit_orders: bool = True
    lot: PositiveAmount | None = None
    tick: PositiveAmount | None = None
    key_length: Annotated[int, Field(gt=0)] = MAX_KEY_LENGTH
    key_pattern: str = r"[0-9A-Za-z_-]*"
    short_selling: bool = False

    def for_engine(self) -> Capabilities:
        """Return the part that decides how the engine treats silence."""
        return Capabilities(
            look_up=self.look_up,
            cancel=self.cancel,
            tombstone=self.tombstone,
            visibility_seconds=self.visibility_seconds,
            call_timeout_seconds=self.call_timeout_seconds,
            poll_seconds=self.poll_seconds,
        )
