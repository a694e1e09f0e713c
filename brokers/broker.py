"""A broker connection: the venue's calls, abstract, and what the engine needs, built upon them.

An adapter implements the venue's calls and raises `OrderRefused` only where the reply proves that
the order was not accepted. Everything that turns answers into reports is here, once for all
venues: which answers are believed, what belongs to us, what is unknown. A broker remembers nothing
about batches; it answers from the durable register that is attached to it.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Final

from brokers.door import why_never
from brokers.errors import OrderRefused, OutcomeUnknown
from brokers.orders import CancelOrder, Order
from brokers.register import BatchOperation, BatchRegister, NoRegister, operations_of
from brokers.reports import (
    believed,
    cancel_report,
    cancelled_report,
    found_report,
    refusal_report,
    reply_report,
)
from brokers.venue import (
    Account,
    BrokerCapabilities,
    OrderRequest,
    OrderState,
    OrderStatus,
    Position,
    Trade,
)
from saga.directive import Directive
from saga.errors import InvalidInput, NotServed
from saga.exact import total
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.policy import Capabilities

KINDS: Final = frozenset({"buy", "sell", "cancel_order"})
"""The kinds of directive that every broker carries out."""


class Broker(ABC):
    """A connection to one account at one venue; a `saga.participant.Participant`."""

    _register: BatchRegister | None = None

    # What an adapter implements.

    @property
    @abstractmethod
    def name(self) -> str:
        """A name for people and for the journal."""

    @property
    @abstractmethod
    def venue(self) -> BrokerCapabilities:
        """What the venue can do, and how far its silence can be trusted."""

    @property
    def account_fingerprint(self) -> str | None:
        """The fingerprint that answers must bear; None where it is not known beforehand."""
        return None

    @abstractmethod
    async def place_order(self, request: OrderRequest) -> OrderState:
        """Place an order, and return what the venue says of it at once.

        Raises:
            OrderRefused: the reply proves that the order was not accepted.
            KeyTaken: the venue knows the client order id for an order with other parameters.
            OutcomeUnknown: there was no reply that proves anything. Any other exception means
                the same.
        """

    @abstractmethod
    async def cancel_order(self, client_order_id: str) -> None:
        """Cancel what is open of an order; harmless where it is over, or was never received.

        Raises:
            OutcomeUnknown: there was no reply that proves anything.
        """

    @abstractmethod
    async def find_order(self, client_order_id: str) -> OrderState | None:
        """Return one order, asked for directly; None if the venue does not know it (now).

        Raises:
            OutcomeUnknown: there was no answer that can be used.
        """

    @abstractmethod
    async def open_orders(self) -> tuple[OrderState, ...]:
        """Return the account's open orders; such lists may be older than `find_order`."""

    @abstractmethod
    async def positions(self) -> tuple[Position, ...]:
        """Return what the account holds, by symbol; nothing is said of symbols not held."""

    @abstractmethod
    async def account(self) -> Account:
        """Return the account's cash, currency and fingerprint."""

    @abstractmethod
    async def trades(self, after: int = 0) -> tuple[Trade, ...]:
        """Return the account's executions behind a sequence number, ours and others', in order."""

    # What the engine uses.

    @property
    def kinds(self) -> frozenset[str]:
        """Buy, sell, cancel an order."""
        return KINDS

    @property
    def capabilities(self) -> Capabilities:
        """The part of `venue` that decides how the engine treats silence."""
        return self.venue.for_engine()

    def check(self, directive: Directive) -> None:
        """Refuse, at the door, a directive that this venue could never carry out.

        Raises:
            InvalidInput: it never can.
        """
        if not isinstance(directive, (Order, CancelOrder)):
            raise self._not_served(directive)
        never = (
            why_never(directive, self.venue, self.name) if isinstance(directive, Order) else None
        )
        if never is not None:
            raise InvalidInput(never)

    async def send(self, attempt: Attempt) -> Report:
        """Place the order, or cancel the one that is named.

        Raises:
            OutcomeUnknown: the outcome is unknown, as after any other exception.
            KeyTaken: the key names somebody else's order.
        """
        directive = attempt.directive
        if isinstance(directive, CancelOrder):
            return await self._send_cancel(attempt.key, directive.client_order_id)
        request = self._request(attempt)
        try:
            answer = await self.place_order(request)
        except OrderRefused as refusal:
            return refusal_report(str(refusal))
        return reply_report(self._believed(answer, attempt.key), request)

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Return what the venue says about the attempt; None if it does not know it (now).

        Raises:
            OutcomeUnknown: there was no answer that can be used.
            KeyTaken: the key names somebody else's order.
        """
        directive = attempt.directive
        if isinstance(directive, CancelOrder):
            target = await self._find(directive.client_order_id)
            # An order that is open, or not known, does not say whether the cancel ever arrived.
            return None if target is None else cancel_report(attempt.key, target)
        request = self._request(attempt)
        state = await self._find(attempt.key) or await self._forgotten(request)
        if state is None:
            return None
        if state.status is OrderStatus.FILLED and state.filled < state.quantity:
            state = await self._with_trades(state, attempt.key)
        return found_report(state, request)

    async def withdraw(self, attempt: Attempt) -> None:
        """Cancel what is still open of the attempt; a cancel itself cannot be withdrawn."""
        if not isinstance(attempt.directive, CancelOrder):
            await self.cancel_order(attempt.key)

    # What batches are asked about.

    def attach(self, register: BatchRegister) -> None:
        """Answer questions about batches from this register from now on."""
        self._register = register

    async def batch_operations(self, batch_id: str) -> dict[str, BatchOperation]:
        """Return the operations of a batch by operation (directive) id, in list order.

        Raises:
            NoSuchBatch: no batch has this id.
            NoRegister: no register is attached.
        """
        register = self._attached()
        batch = await register.batch(batch_id)
        return operations_of(batch, await register.trades(batch_id))

    async def batch_rollback(self, batch_id: str) -> bool:
        """Undo everything of a batch that took effect, and return once that is over.

        Returns:
            True if the whole rollback succeeded, False if something is left.

        Raises:
            NoSuchBatch: no batch has this id.
            NoRegister: no register is attached.
        """
        return await self._attached().undo(batch_id)

    def _attached(self) -> BatchRegister:
        if self._register is None:
            raise NoRegister(
                f"{self.name} has no register of batches; attach the orchestrator's with attach()"
            )
        return self._register

    def _believed(self, answer: object, key: str) -> OrderState:
        return believed(answer, key, self.account_fingerprint)

    async def _find(self, key: str) -> OrderState | None:
        answer: object = await self.find_order(key)
        return None if answer is None else self._believed(answer, key)

    async def _forgotten(self, request: OrderRequest) -> OrderState | None:
        """Return an order that the venue no longer finds although it has traded.

        Some venues forget closed orders, and take their client order id again: to call such an
        order "not found" would let it be sent twice.

        Raises:
            OutcomeUnknown: only a part of it has traded; whether the rest will, nobody says.
        """
        key = request.client_order_id
        standing, gone, at_first = await self._trades_of(key)
        if not at_first:
            return None
        filled = total(trade.quantity for trade in standing)
        if total(trade.quantity for trade in at_first) < request.quantity:
            raise OutcomeUnknown(
                f"order {key} is not found, but {filled} of {request.quantity} has traded; "
                "it is asked again"
            )
        state = OrderState(
            client_order_id=key,
            order_id=key,
            symbol=at_first[0].symbol,
            side=at_first[0].side,
            quantity=request.quantity,
            filled=filled,
            status=OrderStatus.FILLED,
            fills=tuple(
                Fill(trade.fill_id, trade.quantity, trade.price, trade.fee, trade.at)
                for trade in standing
            ),
            reversed=gone,
        )
        return self._believed(state, key)

    async def _send_cancel(self, key: str, target_key: str) -> Report:
        before = await self._find(target_key)
        if before is None:
            return refusal_report(
                f"order {target_key} is not known to {self.name}, so that nothing was cancelled"
            )
        if before.status.is_final:
            report = cancel_report(key, before)
        else:
            await self.cancel_order(target_key)
            after = await self._find(target_key)
            if after is None:
                return await self._forgotten_target(key, before)
            report = cancel_report(key, after)
        if report is None:
            raise OutcomeUnknown(f"order {target_key} is still open after the call to cancel it")
        return report

    async def _forgotten_target(self, key: str, before: OrderState) -> Report:
        """Report on a cancel whose order was open before, and is not found after it."""
        target_key = before.client_order_id or ""
        _, _, at_first = await self._trades_of(target_key)
        if total(trade.quantity for trade in at_first) >= before.quantity:
            return refusal_report(f"order {target_key} was filled before it could be cancelled")
        # It was open, it was cancelled, and the venue forgets closed orders.
        return cancelled_report(key, before.order_id)

    async def _with_trades(self, state: OrderState, key: str) -> OrderState:
        """Return a filled order that lacks fills with those that the list of trades reverses.

        Raises:
            OutcomeUnknown: a trade of it is listed that it does not tell of (yet).
        """
        standing, gone, _ = await self._trades_of(key)
        known = {fill.fill_id for fill in state.fills} | set(state.reversed)
        untold = sorted(trade.fill_id for trade in standing if trade.fill_id not in known)
        if untold:
            raise OutcomeUnknown(
                f"order {key} is filled, but tells of {state.filled} of {state.quantity} only, "
                f"while trade {untold[0]} of it is listed; it is asked again"
            )
        missing = tuple(each for each in gone if each not in known)
        return replace(state, reversed=(*state.reversed, *missing))

    async def _trades_of(
        self, key: str
    ) -> tuple[tuple[Trade, ...], tuple[str, ...], tuple[Trade, ...]]:
        """Return an order's trades that stand, the ids of those reversed, and those before that.

        What stood before the first reversal is what the order itself did; what came after it may be
        a correction of the same.
        """
        told = {trade.fill_id: trade for trade in await self.trades()}.values()
        traded = [t for t in told if t.client_order_id == key and t.reverses is None]
        ours = {trade.fill_id for trade in traded}
        reversals = [trade for trade in told if trade.reverses in ours]
        gone = {str(trade.reverses) for trade in reversals}
        first = min((trade.sequence for trade in reversals), default=None)
        return (
            tuple(trade for trade in traded if trade.fill_id not in gone),
            tuple(sorted(gone)),
            tuple(trade for trade in traded if first is None or trade.sequence < first),
        )

    def _not_served(self, directive: Directive) -> NotServed:
        return NotServed(
            f"kind {directive.kind!r} of directive {directive.directive_id} is not one that "
            f"{self.name} carries out; it carries out {', '.join(sorted(KINDS))}"
        )

    def _request(self, attempt: Attempt) -> OrderRequest:
        order = attempt.directive
        if not isinstance(order, Order):
            raise self._not_served(order)
        return OrderRequest(
            client_order_id=attempt.key,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            limit_price=order.limit_price,
            time_in_force=order.time_in_force,
        )
