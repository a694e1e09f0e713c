"""Judges orders by the limits of an account; fails closed.

What cannot be judged does not pass: a limit on money without a fresh reference price refuses. A
compensation makes an exposure smaller by what really filled, so only its own budget bounds it.
"""

import json
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import anyio

from brokers.orders import Order, Side
from brokers.risk.limits import RiskLimits
from brokers.risk.market import Holdings, Reference, References
from brokers.risk.pace import DAY, Pace
from saga import turns
from saga.clock import Clock, SystemClock
from saga.directive import Directive
from saga.exact import ONE, ZERO, minus, plain, plus, times, total
from saga.gate import PastIntent, Refusal
from saga.ids import Purpose, batch_of_key
from saga.model import Batch
from saga.participant import Attempt

MAX_BATCHES: Final = 1_000
"""So many whole batches that passed are remembered; any other is judged again."""
MAX_REMEMBERED: Final = 100_000
"""No more orders than this are compared with a new one to find a duplicate; more refuses."""
IN_FLIGHT_SECONDS: Final = 60.0
"""So long after it passed, an order may be missing in what the venue tells: it is counted here."""
MAX_TAKEN_BACK: Final = 10_000
"""Of so many orders that passed last it is remembered what they counted as, to take it back."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order that passed: when (on the clock that never jumps), whose, and what it said."""

    key: str
    elapsed: float
    batch_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None

    def repeats(self, order: Order) -> bool:
        return (self.symbol, self.side, self.quantity, self.limit_price) == (
            order.symbol,
            order.side,
            order.quantity,
            order.limit_price,
        )


@dataclass(slots=True)
class _Counted:
    """What one judgement has counted, to be taken back where nothing is sent after all."""

    attempt: Attempt
    """As it was handed over: a judgement of the same key with another object is a later send."""
    in_flight: _Sent | None = None
    compared: _Sent | None = None
    """Later orders are compared with it, to find duplicates."""
    pace: Pace | None = None
    turn: float = 0.0


class RiskGate:
    """A `saga.gate.Gate` for orders.

    Args:
        limits: what may go out at most; may be changed while the engine runs.
        references: where reference prices come from; without it, limits on money refuse.
        holdings: what the account holds and has open; without it, nothing passes while REDUCING.
        clock: where time comes from.
        changed_by: who may change a limit, and where, in words.
    """

    def __init__(
        self,
        limits: RiskLimits,
        *,
        references: References | None = None,
        holdings: Holdings | None = None,
        clock: Clock | None = None,
        changed_by: str = "whoever set the gate's limits",
    ) -> None:
        self.terms = limits
        """The limits; assign others to change them for every order from then on."""
        self._references = references
        self._holdings = holdings
        self._clock = clock or SystemClock()
        self._changed_by = changed_by
        self._orders = Pace()
        self._compensations = Pace()
        self._sent: deque[_Sent] = deque()
        self._in_flight: deque[_Sent] = deque()
        self._counted: OrderedDict[str, _Counted] = OrderedDict()
        self._whole: OrderedDict[tuple[str, RiskLimits], None] = OrderedDict()
        self._told: tuple[RiskLimits, str] | None = None

    # --- what the engine asks ---------------------------------------------------------------------

    @property
    def limits(self) -> str:
        """The limits in force, as JSON text."""
        if self._told is not None and self._told[0] is self.terms:
            return self._told[1]
        told = self.terms.model_dump(mode="json", exclude_none=True)
        if self.terms.symbols is not None:
            told["symbols"] = sorted(self.terms.symbols)  # a set has no order of its own
        text = json.dumps(told, sort_keys=True)
        self._told = (self.terms, text)
        return text

    @property
    def memory(self) -> timedelta:
        """A day where orders are counted; else what is in flight, or may have a duplicate."""
        terms = self.terms
        counted = terms.max_orders_per_day or terms.max_compensations_per_day
        seconds = DAY if counted else max(terms.duplicate_window_seconds, IN_FLIGHT_SECONDS)
        return timedelta(seconds=seconds)

    def recall(self, past: PastIntent) -> None:
        """Count an order of the time before this process."""
        age = max(0.0, (self._clock.now() - past.at).total_seconds())
        elapsed = self._clock.elapsed() - age
        is_forward = past.purpose is Purpose.FORWARD
        (self._orders if is_forward else self._compensations).take(elapsed)
        if isinstance(past.directive, Order):
            sent = _sent(past.key, elapsed, batch_of_key(past.key), past.directive)
            if age <= IN_FLIGHT_SECONDS:
                self._note_in_flight(sent)
            if is_forward and self.terms.duplicate_window_seconds:
                self._sent.append(sent)

    async def judge_batch(self, batch: Batch, now: datetime) -> Refusal | None:
        """Judge every order of a batch, and all of them together."""
        for directive in batch.directives:
            if not isinstance(directive, Order) and (strange := self._unknown(directive)):
                return strange
        orders = [each for each in batch.directives if isinstance(each, Order)]
        notionals: list[Decimal] = []
        for number, order in enumerate(orders, start=1):
            await turns.after(number)
            notional, refusal = await self._judge_order(order, now)
            if refusal is not None:
                return refusal
            if notional is not None:
                notionals.append(notional)
        limit = self.terms.max_batch_notional
        if limit is not None and (whole := total(notionals)) > limit:
            return self._refuse(
                "max_batch_notional",
                f"its {len(orders)} orders come to {plain(whole)} together",
                f"{plain(limit)} for a whole batch",
            )
        return None

    async def judge(self, attempt: Attempt, batch: Batch, now: datetime) -> Refusal | None:
        """Judge one attempt; one that passes is counted, and may have waited for its turn."""
        counted = self._count(attempt, batch)
        refusal = await self._judge(attempt, batch, now, counted)
        if refusal is not None:
            self.withheld(attempt)
        return refusal

    async def _judge(
        self, attempt: Attempt, batch: Batch, now: datetime, counted: _Counted
    ) -> Refusal | None:
        terms = self.terms
        if attempt.purpose is Purpose.COMPENSATION:
            return await self._take_turn(
                self._compensations,
                ("max_compensations_per_second", terms.max_compensations_per_second),
                ("max_compensations_per_day", terms.max_compensations_per_day),
                counted,
            )
        order = attempt.directive
        if isinstance(order, Order):
            refusal = (
                await self._judge_whole(batch, now)
                or (await self._judge_order(order, now))[1]
                or self._duplicate(order, batch)
            )
            if refusal is not None:
                return refusal
            if terms.duplicate_window_seconds:  # before it waits its turn, or two would pass
                counted.compared = _sent(attempt.key, self._clock.elapsed(), batch.batch_id, order)
                self._sent.append(counted.compared)
        elif (refusal := self._unknown(order)) is not None:
            return refusal
        return await self._take_turn(
            self._orders,
            ("max_orders_per_second", terms.max_orders_per_second),
            ("max_orders_per_day", terms.max_orders_per_day),
            counted,
        )

    def _unknown(self, directive: Directive) -> Refusal | None:
        """Refuse what trades, and is no order whose quantity and price are known here."""
        if directive.direction == 0 or self.terms == RiskLimits():
            return None
        return self._refuse(
            "kind",
            f"{directive.describe()} trades, and is of kind {directive.kind!r}",
            "what the gate can judge: orders to buy and sell",
        )

    async def lowers_exposure(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        """Let a forward order pass that brings a holding nearer to zero, and not beyond it.

        Whatever may still trade on its side counts against what is held: what is open at the venue,
        and what passed here within IN_FLIGHT_SECONDS, which the venue may not tell of yet. An order
        that is both counts twice: in doubt the answer is no.
        """
        order = attempt.directive
        if not isinstance(order, Order):
            if order.direction == 0:
                return None  # a cancel, for example, opens nothing
            return Refusal(
                "trading_state",
                f"trading is REDUCING, and whether {order.describe()} lowers an exposure cannot be "
                "told; an operator may activate trading",
            )
        if self._holdings is None:
            return Refusal(
                "trading_state",
                "trading is REDUCING, and nobody can say what the account holds; an operator may "
                "activate trading",
            )
        self._forget_what_arrived()
        if len(self._in_flight) >= MAX_REMEMBERED:
            return Refusal(
                "trading_state",
                f"trading is REDUCING, and more than {MAX_REMEMBERED} orders passed in the last "
                f"{IN_FLIGHT_SECONDS:g} s, beyond which nobody can say what is under way; wait",
            )
        # In this order: what fills between the two answers counts twice, and not never.
        is_open = await self._holdings.open_quantity(order.symbol, order.side)
        held = await self._holdings.held(order.symbol)
        # Nothing is awaited from here on: of two at once, the second one sees the first.
        under_way = plus(is_open, self._passed_lately(attempt.key, order))
        room = held if order.side is Side.SELL else minus(ZERO, held)
        if plus(order.quantity, under_way) > max(room, ZERO):
            return Refusal(
                "trading_state",
                f"trading is REDUCING, and {order.describe()} would not lower an exposure: the "
                f"account holds {plain(held)} {order.symbol}, with {plain(under_way)} more under "
                "way on that side; an operator may activate trading",
            )
        self._count(attempt, batch)
        return None

    def withheld(self, attempt: Attempt) -> None:
        """Take back what this attempt, as it was judged last, counts as."""
        counted = self._counted.get(attempt.key)
        if counted is None or counted.attempt is not attempt:
            return
        del self._counted[attempt.key]
        for entry, entries in (
            (counted.in_flight, self._in_flight),
            (counted.compared, self._sent),
        ):
            if entry is not None and entry in entries:
                entries.remove(entry)
        if counted.pace is not None:
            counted.pace.give_back(counted.turn)

    # --- what counts as sent ----------------------------------------------------------------------

    def _count(self, attempt: Attempt, batch: Batch) -> _Counted:
        """Count an attempt as in flight from now on, before anything is awaited; but once."""
        counted = self._counted.get(attempt.key)
        if counted is not None and counted.attempt is attempt:
            return counted
        counted = _Counted(attempt)
        order = attempt.directive
        if isinstance(order, Order):
            counted.in_flight = _sent(attempt.key, self._clock.elapsed(), batch.batch_id, order)
            self._note_in_flight(counted.in_flight)
        self._counted[attempt.key] = counted
        self._counted.move_to_end(attempt.key)
        if len(self._counted) > MAX_TAKEN_BACK:
            self._counted.popitem(last=False)
        return counted

    def _note_in_flight(self, sent: _Sent) -> None:
        self._forget_what_arrived()
        if len(self._in_flight) < MAX_REMEMBERED:  # or else nothing passes while REDUCING
            self._in_flight.append(sent)

    def _forget_what_arrived(self) -> None:
        since = self._clock.elapsed() - IN_FLIGHT_SECONDS
        while self._in_flight and self._in_flight[0].elapsed < since:
            self._in_flight.popleft()

    def _passed_lately(self, key: str, order: Order) -> Decimal:
        """Return how much of other orders on that side may be on its way to the venue."""
        return total(
            {
                each.key: each.quantity
                for each in self._in_flight
                if (each.symbol, each.side) == (order.symbol, order.side) and each.key != key
            }.values()
        )

    # --- the limits -------------------------------------------------------------------------------

    def _refuse(self, limit: str, what: str, bound: str) -> Refusal:
        return Refusal(
            limit, f"{limit}: {what}, and the limit is {bound}; {self._changed_by} may change it"
        )

    async def _judge_whole(self, batch: Batch, now: datetime) -> Refusal | None:
        """Judge what a batch comes to; one that passes is not reckoned again for each order."""
        key = (batch.batch_id, self.terms)
        if self.terms.max_batch_notional is None or key in self._whole:
            return None
        refusal = await self.judge_batch(batch, now)
        if refusal is None:
            self._whole[key] = None
            if len(self._whole) > MAX_BATCHES:
                self._whole.popitem(last=False)
        return refusal

    async def _judge_order(
        self, order: Order, now: datetime
    ) -> tuple[Decimal | None, Refusal | None]:
        """Return what an order comes to in money, where that is asked, and why it may not pass."""
        terms, what = self.terms, order.describe()
        if terms.symbols is not None and order.symbol not in terms.symbols:
            return None, self._refuse(
                "symbols", f"{order.symbol} is not among them", ", ".join(sorted(terms.symbols))
            )
        most = terms.max_order_quantity
        if most is not None and order.quantity > most:
            return None, self._refuse(
                "max_order_quantity", f"{what} is for {plain(order.quantity)}", plain(most)
            )
        if not terms.needs_reference:
            return None, None
        reference = await self._fresh_reference(order.symbol, now)
        if isinstance(reference, Refusal):
            return None, reference
        price = order.limit_price
        if terms.price_collar is not None and price is not None:
            refusal = self._outside_collar(order, price, reference.price, terms.price_collar)
            if refusal is not None:
                return None, refusal
        notional = times(order.quantity, max(reference.price, price or ZERO))
        limit = terms.max_order_notional
        if limit is not None and notional > limit:
            return None, self._refuse(
                "max_order_notional", f"{what} comes to {plain(notional)}", plain(limit)
            )
        return notional, None

    async def _fresh_reference(self, symbol: str, now: datetime) -> Reference | Refusal:
        found = None
        if self._references is not None:
            found = await self._references.reference(symbol)
        bound = f"a price at most {self.terms.max_reference_age_seconds:g} s old"
        name = "max_reference_age_seconds"
        if found is None or not (found.price.is_finite() and found.price > 0):
            return self._refuse(name, f"there is no reference price for {symbol}", bound)
        age = (now - found.at).total_seconds()
        if abs(age) > self.terms.max_reference_age_seconds:
            return self._refuse(name, f"the reference price for {symbol} is {age:.1f} s old", bound)
        return found

    def _outside_collar(
        self, order: Order, price: Decimal, reference: Decimal, collar: Decimal
    ) -> Refusal | None:
        if order.side is Side.BUY:
            worst = times(reference, plus(ONE, collar))
            outside = price > worst
        else:
            worst = times(reference, minus(ONE, collar))
            outside = price < worst
        if not outside:
            return None
        return self._refuse(
            "price_collar",
            f"{order.describe()} has the limit price {plain(price)}",
            f"{plain(worst)}, which is {plain(times(collar, Decimal(100)))} % from the reference "
            f"price {plain(reference)}",
        )

    def _duplicate(self, order: Order, batch: Batch) -> Refusal | None:
        """Refuse what another batch has just sent; a batch itself is one deliberate list."""
        window = self.terms.duplicate_window_seconds
        if not window:
            return None
        since = self._clock.elapsed() - window
        while self._sent and self._sent[0].elapsed < since:
            self._sent.popleft()
        related = {batch.batch_id, batch.parent_id}
        for sent in self._sent:
            if sent.batch_id not in related and sent.repeats(order):
                return self._refuse(
                    "duplicate_window_seconds",
                    f"{order.describe()} repeats an order of batch {sent.batch_id}",
                    f"one such order in {window:g} s",
                )
        if len(self._sent) >= MAX_REMEMBERED:
            return self._refuse(
                "duplicate_window_seconds",
                f"{len(self._sent)} orders went out within the window",
                f"{MAX_REMEMBERED}, beyond which duplicates cannot be told any more",
            )
        return None

    async def _take_turn(
        self,
        pace: Pace,
        rate: tuple[str, int | None],
        daily: tuple[str, int | None],
        counted: _Counted,
    ) -> Refusal | None:
        now = self._clock.elapsed()
        per_day = daily[1]
        if (sent := pace.in_last_day(now)) >= (per_day or sent + 1):
            return self._refuse(daily[0], f"{sent} went out within 24 hours", f"{per_day}")
        turn = pace.next_turn(now, rate[1])
        if turn - now > self.terms.max_wait_seconds:
            return self._refuse(
                rate[0],
                f"this one would have to wait {turn - now:.1f} s for its turn",
                f"{rate[1]} a second and a wait of {self.terms.max_wait_seconds:g} s",
            )
        pace.take(turn)
        counted.pace, counted.turn = pace, turn
        if turn > now:
            await anyio.sleep(turn - now)
        return None


def _sent(key: str, elapsed: float, batch_id: str | None, order: Order) -> _Sent:
    return _Sent(
        *(key, elapsed, batch_id, order.symbol, order.side, order.quantity, order.limit_price)
    )
