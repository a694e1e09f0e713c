"""The venue's own books, which are the truth: orders, executions, positions and cash, exactly.

Everything happens at an instant of virtual time, whoever of the engine's processes is alive then.
What the books do with an order is drawn here (B1 to B4, B7, B10 to B14); what calls and answers
suffer on their way is `venue_line`'s. Nothing here knows the engine.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Final, Protocol

from brokers.errors import OrderRefused
from brokers.orders import Side, TimeInForce
from brokers.venue import (
    Account,
    BrokerCapabilities,
    Idempotency,
    OrderRequest,
    OrderState,
    OrderStatus,
    Position,
    Trade,
)
from saga.outcome import Fill
from tests.simulation.clock import BEGINNING
from tests.simulation.loop import VirtualLoop
from tests.simulation.plan import SYMBOLS, Plan
from tests.simulation.streams import chance

FINGERPRINT: Final = "simulated-account"
CASH_AT_FIRST: Final = Decimal(2_000_000)
HELD_AT_FIRST: Final = Decimal(1_000)
FORGETS_AFTER: Final = 8.0
"""B12: an order that has been closed so many seconds is not found any more."""
LISTS_LAG: Final = 3.0
"""B17: the list of trades may be so old."""
_CENT: Final = Decimal("0.01")


@dataclass(slots=True, eq=False)
class ModelOrder:
    """One order in the books.

    Attributes:
        request: what was asked for.
        quantity: what was accepted; B14 rounds it.
        visible_at: from when a direct question finds it.
        after_window: it arrived later than the venue's declared window.
        overfilled: how much more than accepted was traded.
        busted: the ids of executions that were taken back.
    """

    request: OrderRequest
    order_id: str
    quantity: Decimal
    arrived_at: float
    visible_at: float
    after_window: bool
    status: OrderStatus = OrderStatus.ACCEPTED
    fills: list[Fill] = field(default_factory=list)
    closed_at: float | None = None
    overfilled: Decimal = Decimal(0)
    reason: str | None = None
    busted: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        """The client order id."""
        return self.request.client_order_id

    @property
    def filled(self) -> Decimal:
        """How much was traded, whatever was busted since."""
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def standing(self) -> Decimal:
        """How much was traded, and was not busted since."""
        return sum((f.quantity for f in self.fills if f.fill_id not in self.busted), Decimal(0))

    @property
    def is_open(self) -> bool:
        """More may be traded."""
        return not self.status.is_final

    @property
    def open_quantity(self) -> Decimal:
        """How much more may be traded."""
        return max(Decimal(0), self.quantity - self.filled) if self.is_open else Decimal(0)

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self.request.side is Side.BUY else -1

    def told(self) -> OrderState:
        """Return what the venue says of it."""
        fills = tuple(fill for fill in self.fills if fill.fill_id not in self.busted)
        return OrderState(
            client_order_id=self.key,
            order_id=self.order_id,
            symbol=self.request.symbol,
            side=self.request.side,
            quantity=self.quantity,
            filled=sum((fill.quantity for fill in fills), Decimal(0)),
            status=self.status,
            fills=fills,
            reason=self.reason,
            account=FINGERPRINT,
        )


class ExchangeWatch(Protocol):
    """Who is told of everything that happens in the books, as it happens."""

    def arrived(self, order: ModelOrder) -> None:
        """Hear of an order that was accepted, before anything of it is traded."""
        ...

    def traded(self, order: ModelOrder, fill: Fill) -> None:
        """Hear of an execution, which is in the books already."""
        ...

    def is_over(self, key: str, fill_id: str) -> bool:
        """Tell whether the saga of an execution has ended, and knows it (B11 comes after that)."""
        ...

    def news(self, key: str) -> None:
        """Hear that a venue's stream would tell of this order now."""
        ...


class ModelExchange:
    """The venue.

    Args:
        fired: counts how often each behaviour really struck.
    """

    def __init__(
        self,
        plan: Plan,
        loop: VirtualLoop,
        stream: Random,
        fired: "Counter[str]",
        watch: ExchangeWatch,
        trace: Callable[..., None],
    ) -> None:
        self._plan = plan
        self._venue: BrokerCapabilities = plan.venue
        self._loop = loop
        self._stream = stream
        self._fired = fired
        self._watch = watch
        self._trace = trace
        self.quiet = False
        self.orders: dict[str, list[ModelOrder]] = {}
        self.on_the_way: Counter[str] = Counter()
        """Requests that are in the network, by client order id."""
        self.buried: set[str] = set()
        self.executions: list[Trade] = []
        self.cash = CASH_AT_FIRST
        self.held = dict.fromkeys(SYMBOLS, HELD_AT_FIRST)
        self._fill_count = 0

    # --- what is drawn ----------------------------------------------------------------------------

    def strikes(self, name: str) -> bool:
        """Draw whether a behaviour strikes now, and count it if it does."""
        strength = self._plan.strength.get(name, 0.0)
        if not strength or self.quiet or not chance(self._stream, strength):
            return False
        self._fired[name] += 1
        return True

    def between(self, low: float, high: float) -> float:
        """Draw a length of time."""
        return low + self._stream.random() * (high - low)

    # --- orders -----------------------------------------------------------------------------------

    def place(self, request: OrderRequest, *, after_window: bool) -> OrderState:
        """Take an order, or refuse it; it has arrived.

        Raises:
            OrderRefused: it was not accepted.
        """
        key = request.client_order_id
        before = self.orders.get(key, [])
        if key in self.buried:
            raise OrderRefused(f"order {key} was cancelled before it came")
        kept = self._venue.idempotent
        if kept is Idempotency.FOREVER and before:
            return before[0].told()
        if kept is Idempotency.OPEN_ONLY:
            still_open = next((each for each in before if each.is_open), None)
            if still_open is not None:
                self._fired["B13"] += 1
                return still_open.told()
        if self.strikes("B4"):
            raise OrderRefused("the venue does not want it")
        quantity = request.quantity
        if quantity > 1 and self.strikes("B14"):
            quantity -= quantity % 1 or Decimal(1)  # it takes round lots only, and says nothing
        now = self._loop.time()
        order = ModelOrder(
            request=request,
            order_id=f"X{len(self.executions)}-{key}",
            quantity=quantity,
            arrived_at=now,
            visible_at=now,
            after_window=after_window,
        )
        self.orders.setdefault(key, []).append(order)
        self._trace("venue takes", key, request.side.value, request.symbol, quantity)
        self._watch.arrived(order)
        self._arrange(order)
        return order.told()

    def _arrange(self, order: ModelOrder) -> None:
        """Draw what will become of it."""
        if order.request.time_in_force is TimeInForce.IOC:
            if not self.strikes("B3"):
                self._trade(order, order.quantity)
            elif order.quantity > 1:
                self._trade(order, Decimal(1))
            self._close(order, OrderStatus.CANCELLED, "nothing more at this price")
            return
        self._loop.call_later(self.between(20.0, 90.0), self._expire, order)
        if self.strikes("B1"):
            self._trade(order, order.quantity)
        elif order.quantity > 1 and self.strikes("B2"):
            first = Decimal(1 + int(self._stream.random() * float(order.quantity - 1)))
            self._loop.call_later(self.between(0.0, 1.0), self._trade, order, first)
            self._loop.call_later(self.between(1.0, 8.0), self._trade_rest, order)
        elif self.strikes("B3"):
            if order.quantity > 1 and chance(self._stream, 0.7):
                first = Decimal(1 + int(self._stream.random() * float(order.quantity - 1)))
                self._loop.call_later(self.between(0.0, 1.0), self._trade, order, first)
        elif self.strikes("B14"):
            self._loop.call_later(self.between(0.0, 0.5), self._overfill, order)
        else:
            self._loop.call_later(self.between(0.0, self._plan.pace), self._trade_rest, order)

    def _trade_rest(self, order: ModelOrder) -> None:
        if order.open_quantity > 0:
            self._trade(order, order.open_quantity)

    def _overfill(self, order: ModelOrder) -> None:
        if order.open_quantity > 0:
            order.overfilled = Decimal(1)
            self._trade(order, order.open_quantity + 1)

    def _trade(self, order: ModelOrder, quantity: Decimal) -> None:
        if not order.is_open:
            return
        most = order.open_quantity + order.overfilled
        quantity = min(quantity, most)
        if quantity <= 0:
            return
        price = Decimal("99.50") + _CENT * int(self._stream.random() * 100)
        fee = _CENT * int(self._stream.random() * 50)
        self._fill_count += 1
        at = BEGINNING + timedelta(seconds=round(self._loop.time(), 3))
        fill = Fill(f"T{self._fill_count}", quantity, price, fee, at)
        order.fills.append(fill)
        if order.filled >= order.quantity:
            order.status = OrderStatus.FILLED
            self._end(order)
        else:
            order.status = OrderStatus.PARTIALLY_FILLED
        self._book(order.key, order.request.symbol, order.request.side, fill)
        self._trace("venue trades", order.key, quantity, price, order.status.value)
        self._watch.traded(order, fill)
        self._watch.news(order.key)
        if not self.quiet and chance(self._stream, self._plan.strength.get("B11", 0.0)):
            self._loop.call_later(self.between(0.1, 25.0), self._bust, order, fill)

    def _book(self, key: str | None, symbol: str, side: Side, fill: Fill) -> None:
        sign = 1 if side is Side.BUY else -1
        self.held[symbol] += sign * fill.quantity
        self.cash -= sign * fill.quantity * fill.price + fill.fee
        assert fill.at is not None
        self.executions.append(
            Trade(
                sequence=len(self.executions) + 1,
                fill_id=fill.fill_id,
                client_order_id=key,
                symbol=symbol,
                side=side,
                quantity=fill.quantity,
                price=fill.price,
                fee=fill.fee,
                at=fill.at,
            )
        )

    def _bust(self, order: ModelOrder, fill: Fill) -> None:
        """Take an execution back (B11): the same trade the other way, named as its reverse."""
        if self.quiet or not self._watch.is_over(order.key, fill.fill_id):
            return
        self._fired["B11"] += 1
        other = Side.SELL if order.request.side is Side.BUY else Side.BUY
        self._fill_count += 1
        back = replace(fill, fill_id=f"T{self._fill_count}", fee=-fill.fee)
        order.busted.add(fill.fill_id)
        self._book(order.key, order.request.symbol, other, back)
        self.executions[-1] = replace(self.executions[-1], reverses=fill.fill_id)
        self._trace("venue busts", order.key, fill.fill_id)
        self._watch.news(order.key)

    def _expire(self, order: ModelOrder) -> None:
        self._close(order, OrderStatus.EXPIRED, "the day is over")

    def _close(self, order: ModelOrder, status: OrderStatus, reason: str) -> None:
        if order.is_open:
            order.status = status
            order.reason = reason
            self._end(order)
            self._trace("venue closes", order.key, status.value)
            self._watch.news(order.key)

    def _end(self, order: ModelOrder) -> None:
        order.closed_at = self._loop.time()
        if "B13" in self._plan.strength and not self.quiet:
            self._fired["B13"] += self._venue.idempotent is Idempotency.OPEN_ONLY  # key is free

    def cancel(self, key: str) -> None:
        """Cancel what is open; it has arrived."""
        found = self.orders.get(key, [])
        if not found and self._venue.tombstone:
            self.buried.add(key)
            self._fired["tombstone"] += 1
        for order in found:
            if order.is_open:
                if self.strikes("B10"):
                    self._trade_rest(order)
                self._close(order, OrderStatus.CANCELLED, "as you wished")

    def cancel_all(self) -> None:
        """Cancel everything that is open, because the connection is gone (B16)."""
        for orders in list(self.orders.values()):
            for order in orders:
                self._close(order, OrderStatus.CANCELLED, "the connection was lost")

    def trade_by_hand(self, symbol: str, quantity: Decimal) -> None:
        """Trade as somebody who is not the engine."""
        side = Side.BUY if quantity > 0 else Side.SELL
        self._fill_count += 1
        at = BEGINNING + timedelta(seconds=round(self._loop.time(), 3))
        fill = Fill(f"T{self._fill_count}", abs(quantity), Decimal(100), Decimal(0), at)
        self._book(None, symbol, side, fill)

    def fall_quiet(self) -> None:
        """Behave well from now on; what is still open is traded soon."""
        self.quiet = True
        for orders in self.orders.values():
            for order in orders:
                if order.is_open:
                    self._loop.call_later(self.between(0.1, 3.0), self._trade_rest, order)

    # --- answers ----------------------------------------------------------------------------------

    def find(self, key: str) -> OrderState | None:
        """Return an order, asked for directly."""
        now = self._loop.time()
        found = None
        for order in self.orders.get(key, []):
            if order.visible_at > now:
                continue
            if self._forgets(order, now):
                continue
            found = order
        return None if found is None else found.told()

    def _forgets(self, order: ModelOrder, now: float) -> bool:
        """Tell whether the venue has forgotten an order that is closed (B12).

        One that never traded is kept: to forget it would be to say that it was never accepted.
        """
        if "B12" not in self._plan.strength or self.quiet or not order.fills:
            return False
        if order.closed_at is None or now - order.closed_at <= FORGETS_AFTER:
            return False
        self._fired["B12"] += 1
        return True

    def trades(self, after: int) -> tuple[Trade, ...]:
        """Return the executions behind a sequence number; the list may be old (B17)."""
        until = len(self.executions)
        if self.strikes("B17"):
            seen = BEGINNING + timedelta(seconds=self._loop.time() - LISTS_LAG)
            until = sum(trade.at <= seen for trade in self.executions)
        listed = self.executions[after:until]
        if listed and self.strikes("B8"):
            listed = [*listed, listed[-1]]
        return tuple(listed)

    def positions(self) -> tuple[Position, ...]:
        """Return what the account holds."""
        return tuple(Position(symbol, held) for symbol, held in self.held.items() if held)

    def account(self) -> Account:
        """Return the account."""
        return Account(cash=self.cash, currency="USD", fingerprint=FINGERPRINT)
