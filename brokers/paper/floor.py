"""The trading floor: what happens to orders, inside one transaction of the books.

A `Floor` lives as long as one transaction. It accepts, matches, fills, cancels and expires orders,
and carries out what the script of faults says about them. It knows nothing of calls, answers or
time-outs; those are the exchange's.
"""

import sqlite3
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from brokers.orders import Side, TimeInForce
from brokers.paper import rows
from brokers.paper.faults import Call, Fault, FaultRule, Firing, fire
from brokers.paper.market import Market
from brokers.paper.matching import (
    cash_change,
    fee_of,
    fill_price,
    fill_quantity,
    market_price,
)
from brokers.paper.rows import BookedOrder
from brokers.paper.schedule import Action, Scheduled, due, schedule, unschedule
from brokers.paper.settings import PaperSettings
from brokers.venue import Idempotency, OrderRequest, OrderState, OrderStatus
from saga.errors import InvalidInput
from saga.exact import ZERO, floor_to_step, is_multiple, minus, plain, plus, times, total
from saga.outcome import Fill
from saga.participant import KeyTaken

HALTED = "halted:"
"""Prefix of the conditions that name halted symbols."""
_HALF = Decimal("0.5")
_QUIET = Firing({})


class Floor:
    """The orders, cash and positions of the books, within one transaction.

    Args:
        connection: inside an IMMEDIATE transaction.
        settings: how the exchange works.
        market: the prices.
        now: the present instant, UTC.
    """

    def __init__(
        self, connection: sqlite3.Connection, settings: PaperSettings, market: Market, now: datetime
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.now = now
        self._market = market
        self._day = rows.trading_day(connection)

    # Faults.

    def fire(self, call: Call) -> Firing:
        """Return what fires on this call, and count it."""
        firing, changed = fire(rows.fault_counts(self.connection), call)
        rows.update_fault_counts(self.connection, changed)
        return firing

    def settle(self) -> None:
        """Let everything happen that was scheduled and is due."""
        for number, what in due(self.connection, self.now):
            if what.action is Action.ARRIVE and what.request is not None:
                self.place(what.request, _QUIET)
            elif what.order_number is not None:
                order = rows.order_by_number(self.connection, what.order_number)
                if what.action is Action.FILL:
                    self._fill_rest(order)
                elif order.status.is_final:
                    self._bust(order, what.price)
                else:
                    continue  # An order is busted only once it is over.
            unschedule(self.connection, number)

    def arrive_later(self, request: OrderRequest, rule: FaultRule) -> None:
        """Let an order arrive after the rule's delay."""
        self._later(rule, Scheduled(Action.ARRIVE, request=request))

    # Orders.

    def place(self, request: OrderRequest, firing: Firing) -> BookedOrder:
        """Take an order, or refuse it: the status of what is returned says which.

        Raises:
            KeyTaken: the client order id belongs to an order with other parameters.
        """
        known = self._known(request, firing)
        if known is not None:
            return known
        refusal = self._refusal(request, firing)
        visible_at = self.now + timedelta(seconds=self.settings.visibility_seconds)
        order = self._add(request, request.client_order_id, refusal, visible_at)
        return order if refusal else self._match(order, firing)

    def place_by_hand(self, request: OrderRequest) -> BookedOrder:
        """Take an order that no program of ours sent; it has no client order id."""
        refusal = self._refusal(request, _QUIET)
        order = self._add(request, None, refusal, self.now)
        return order if refusal else self._match(order, _QUIET)

    def cancel(self, key: str, firing: Firing) -> None:
        """Cancel what is open of an order."""
        order = rows.order_by_key(self.connection, key)
        if order is None:
            if self.settings.tombstones:
                rows.bury(self.connection, key)
            return
        if not order.status.is_final and Fault.CANCEL_LOSES in firing:
            order = self._fill_rest(order)
        if not order.status.is_final:
            self._close(order, OrderStatus.CANCELLED, "cancelled by the customer")

    def cancel_all(self, reason: str) -> None:
        """Cancel every open order."""
        for order in rows.open_orders(self.connection):
            self._close(order, OrderStatus.CANCELLED, reason)

    def advance(self, until: date) -> None:
        """Let trading days pass: day orders expire, the others are matched at each new close.

        Raises:
            InvalidInput: it is no trading day, or not after the present one.
        """
        days = self._market.days_between(self._day, until)
        if not days or days[-1] != until:
            raise InvalidInput(
                f"day {until} must be a trading day after {self._day}, the exchange's present one"
            )
        for order in rows.open_orders(self.connection):
            if order.time_in_force is not TimeInForce.GTC:
                self._close(order, OrderStatus.EXPIRED, "the trading day ended")
        for day in days:
            self._day = day
            for order in rows.open_orders(self.connection):
                self._match(order, _QUIET)
        rows.set_condition(self.connection, "day", until.isoformat())

    def state_of(self, order: BookedOrder) -> OrderState:
        """Return an order as the venue tells of it."""
        trades = rows.trades_of(self.connection, order.number)
        return OrderState(
            client_order_id=order.client_order_id,
            order_id=f"ORD-{order.number:06d}",
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            filled=order.filled,
            status=order.status,
            fills=tuple(
                Fill(trade.fill_id, trade.quantity, trade.price, trade.fee, trade.at)
                for trade in rows.standing(trades)
            ),
            reason=order.reason,
            account=self.settings.account,
            reversed=tuple(trade.reverses for trade in trades if trade.reverses is not None),
        )

    # How an order is taken.

    def _known(self, request: OrderRequest, firing: Firing) -> BookedOrder | None:
        scope = self.settings.idempotent
        if Fault.DEDUPLICATES_OPEN_ONLY in firing:
            scope = Idempotency.OPEN_ONLY
        known = rows.order_by_key(self.connection, request.client_order_id)
        if known is None or scope is Idempotency.NONE:
            return None
        if scope is Idempotency.OPEN_ONLY and known.status.is_final:
            return None
        asked = (request.symbol, request.side, request.quantity, request.limit_price)
        if asked != (known.symbol, known.side, known.quantity, known.limit_price):
            raise KeyTaken(
                f"client_order_id {request.client_order_id!r} names order {known.number}, "
                f"{known.side} {plain(known.quantity)} {known.symbol}; use another id"
            )
        return known

    def _add(
        self, request: OrderRequest, key: str | None, refusal: str | None, visible_at: datetime
    ) -> BookedOrder:
        order = BookedOrder(
            number=0,
            client_order_id=key,
            symbol=request.symbol,
            side=request.side,
            quantity=request.quantity,
            limit_price=request.limit_price,
            time_in_force=request.time_in_force,
            status=OrderStatus.REJECTED if refusal else OrderStatus.ACCEPTED,
            filled=ZERO,
            reason=refusal,
            day=self._day,
            placed_at=self.now,
            visible_at=visible_at,
            asleep=False,
        )
        return rows.add_order(self.connection, order)

    def _refusal(self, request: OrderRequest, firing: Firing) -> str | None:
        """Return why the order is not accepted; None if it is."""
        scripted = firing.get(Fault.REFUSES)
        if scripted is not None:
            return scripted.reason or "refused by the exchange"
        if rows.is_buried(self.connection, request.client_order_id):
            return f"client order id {request.client_order_id} was withdrawn before"
        if request.symbol not in self._market.symbols:
            return f"symbol {request.symbol} is not listed"
        if self._is_halted(request.symbol):
            return f"trading in {request.symbol} is halted"
        return self._step_refusal(request) or self._funds_refusal(request)

    def _step_refusal(self, request: OrderRequest) -> str | None:
        lot, tick = self.settings.lot, self.settings.tick
        if not request.quantity > 0 or not is_multiple(request.quantity, lot):
            return f"quantity {plain(request.quantity)} is no whole number of lots of {plain(lot)}"
        limit = request.limit_price
        if limit is not None and (not limit > 0 or not is_multiple(limit, tick)):
            return f"limit price {plain(limit)} is no whole number of ticks of {plain(tick)}"
        return None

    def _funds_refusal(self, request: OrderRequest) -> str | None:
        if request.side is Side.SELL:
            held = rows.position(self.connection, request.symbol)
            free = minus(held, self._promised_to_sell(request.symbol))
            if request.quantity <= free:
                return None
            return (
                f"insufficient position: {plain(request.quantity)} {request.symbol} asked, "
                f"{plain(max(free, ZERO))} free to sell"
            )
        needed = self._cost(request.symbol, request.quantity, request.limit_price)
        free = minus(rows.cash(self.connection), self._promised_cash())
        if needed <= free:
            return None
        return f"insufficient cash: {plain(needed)} needed, {plain(max(free, ZERO))} free"

    def _promised_to_sell(self, symbol: str) -> Decimal:
        return total(
            order.remaining
            for order in rows.open_orders(self.connection)
            if order.side is Side.SELL and order.symbol == symbol
        )

    def _promised_cash(self) -> Decimal:
        return total(
            self._cost(order.symbol, order.remaining, order.limit_price)
            for order in rows.open_orders(self.connection)
            if order.side is Side.BUY
        )

    def _cost(self, symbol: str, quantity: Decimal, limit: Decimal | None) -> Decimal:
        price = self._market_price(symbol, Side.BUY) if limit is None else limit
        return plus(times(quantity, price), self._fee(quantity))

    # How an order fills.

    def _match(self, order: BookedOrder, firing: Firing) -> BookedOrder:
        if order.asleep or self._is_halted(order.symbol):
            return order
        rule = self._filling_rule(firing)
        if rule is not None:
            return self._match_as_scripted(order, rule, firing)
        settings = self.settings
        price = fill_price(
            self._market.close(order.symbol, self._day),
            order.side,
            order.limit_price,
            settings.slippage_basis_points,
            settings.tick,
        )
        if price is not None:
            order = self._fill(
                order, fill_quantity(order.remaining, settings.liquidity, settings.lot), price
            )
        if order.time_in_force is TimeInForce.IOC and not order.status.is_final:
            order = self._close(order, OrderStatus.CANCELLED, "not filled at once")
        self._schedule_bust(order, firing)
        return order

    @staticmethod
    def _filling_rule(firing: Firing) -> FaultRule | None:
        for fault in (
            Fault.FILLS_AT_ONCE,
            Fault.PARTIAL_THEN_FULL,
            Fault.PARTIAL_THEN_SILENCE,
            Fault.FILLS_WRONGLY,
        ):
            rule = firing.get(fault)
            if rule is not None:
                return rule
        return None

    def _match_as_scripted(
        self, order: BookedOrder, rule: FaultRule, firing: Firing
    ) -> BookedOrder:
        price = self._forced_price(order)
        if rule.fault is Fault.FILLS_AT_ONCE:
            order = self._fill(order, order.remaining, price)
        elif rule.fault is Fault.FILLS_WRONGLY:
            order = self._fill_wrongly(order, rule, price)
        else:
            half = floor_to_step(times(order.quantity, _HALF), self.settings.lot)
            part = half if rule.quantity is None else rule.quantity
            order = self._fill(order, min(part, order.remaining), price)
            if not order.status.is_final:
                order = rows.update_order(self.connection, replace(order, asleep=True))
                if rule.fault is Fault.PARTIAL_THEN_FULL:
                    self._later(rule, Scheduled(Action.FILL, order_number=order.number))
        self._schedule_bust(order, firing)
        return order

    def _fill_wrongly(self, order: BookedOrder, rule: FaultRule, price: Decimal) -> BookedOrder:
        wrong = plus(order.quantity, self.settings.lot) if rule.quantity is None else rule.quantity
        if self._lacking(order, wrong, price) is not None:
            wrong = order.quantity
        order = self._fill(order, wrong, price)
        if order.status.is_final:
            return order
        return self._close(order, OrderStatus.FILLED, None)

    def _fill_rest(self, order: BookedOrder) -> BookedOrder:
        if order.status.is_final:
            return order
        return self._fill(order, order.remaining, self._forced_price(order))

    def _fill(self, order: BookedOrder, quantity: Decimal, price: Decimal) -> BookedOrder:
        if not quantity > 0:
            return order
        lacking = self._lacking(order, quantity, price)
        if lacking is not None:
            return self._close(order, OrderStatus.CANCELLED, lacking)
        rows.book_execution(
            self.connection,
            order,
            quantity=quantity,
            price=price,
            fee=self._fee(quantity),
            at=self.now,
        )
        filled = plus(order.filled, quantity)
        whole = filled >= order.quantity
        status = OrderStatus.FILLED if whole else OrderStatus.PARTIALLY_FILLED
        return rows.update_order(self.connection, replace(order, filled=filled, status=status))

    def _lacking(self, order: BookedOrder, quantity: Decimal, price: Decimal) -> str | None:
        """Return what the account lacks for a fill: it may owe neither cash nor shares."""
        change = cash_change(order.side, quantity, price, self._fee(quantity))
        if plus(rows.cash(self.connection), change) < 0:
            return "insufficient cash when it was to be filled"
        if order.side is Side.SELL and rows.position(self.connection, order.symbol) < quantity:
            return "insufficient position when it was to be filled"
        return None

    def _close(self, order: BookedOrder, status: OrderStatus, reason: str | None) -> BookedOrder:
        return rows.update_order(self.connection, replace(order, status=status, reason=reason))

    def _bust(self, order: BookedOrder, corrected: Decimal | None) -> None:
        """Take back every fill of an order that is over; with a price, put it right instead."""
        for trade in rows.standing(rows.trades_of(self.connection, order.number)):
            rows.book_execution(
                self.connection,
                order,
                quantity=trade.quantity,
                price=trade.price,
                fee=-trade.fee,
                at=self.now,
                reverses=trade,
            )
            if corrected is not None:
                rows.book_execution(
                    self.connection,
                    order,
                    quantity=trade.quantity,
                    price=corrected,
                    fee=trade.fee,
                    at=self.now,
                )
        filled = order.filled if corrected is not None else ZERO
        reason = "price corrected" if corrected is not None else "trade busted by the exchange"
        rows.update_order(self.connection, replace(order, filled=filled, reason=reason))

    def _schedule_bust(self, order: BookedOrder, firing: Firing) -> None:
        rule = firing.get(Fault.BUSTS)
        if rule is not None:
            bust = Scheduled(Action.BUST, order_number=order.number, price=rule.price)
            self._later(rule, bust)

    def _later(self, rule: FaultRule, what: Scheduled) -> None:
        schedule(self.connection, self.now + timedelta(seconds=rule.delay_seconds), what)

    def _is_halted(self, symbol: str) -> bool:
        return rows.condition(self.connection, HALTED + symbol) is not None

    def _fee(self, quantity: Decimal) -> Decimal:
        return fee_of(quantity, self.settings.fee_per_unit, self.settings.fee_minimum)

    def _market_price(self, symbol: str, side: Side) -> Decimal:
        settings = self.settings
        close = self._market.close(symbol, self._day)
        return market_price(close, side, settings.slippage_basis_points, settings.tick)

    def _forced_price(self, order: BookedOrder) -> Decimal:
        """Return the price of a fill that the script forces; never past the limit."""
        price = self._market_price(order.symbol, order.side)
        if order.limit_price is None:
            return price
        if order.side is Side.BUY:
            return min(price, order.limit_price)
        return max(price, order.limit_price)
