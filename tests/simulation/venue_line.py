"""The connection of one process to the model exchange: a real `brokers.Broker`, with its mishaps.

A request that has left arrives, or is lost, whatever becomes of the process that sent it; an answer
to a process that is gone is nobody's. Here B5 to B9, B15, B16 and B18 strike: lost, late, doubled,
stale, refused for their number, cut off, garbled.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar, cast

from brokers.broker import Broker
from brokers.errors import OrderRefused, OutcomeUnknown
from brokers.venue import (
    Account,
    BrokerCapabilities,
    OrderRequest,
    OrderState,
    OrderStatus,
    Position,
    Trade,
)
from tests.simulation.life import Life
from tests.simulation.loop import VirtualLoop
from tests.simulation.model_exchange import FINGERPRINT, ModelExchange
from tests.simulation.plan import Plan
from tests.simulation.streams import chance, one_of

T = TypeVar("T")
_OUTSIDE: Final = copy_context()
_BAN_SECONDS: Final = 2.0
"""B15: how long a venue answers nobody after it was asked too often."""


class LineWatch(Protocol):
    """Who is told of every call, before its first byte leaves."""

    def sending(self, life: Life, request: OrderRequest) -> None:
        """Hear of an order that is about to be sent."""
        ...

    def asking(self, life: Life, key: str) -> None:
        """Hear of a question or a cancellation."""
        ...

    def point(self, life: Life, name: str) -> None:
        """Come to a point at which a crash may have been drawn; may raise."""
        ...


class VenueLine(Broker):
    """One process's connection."""

    def __init__(
        self,
        plan: Plan,
        exchange: ModelExchange,
        life: Life,
        loop: VirtualLoop,
        watch: LineWatch,
    ) -> None:
        self._plan = plan
        self._exchange = exchange
        self._life = life
        self._loop = loop
        self._watch = watch
        self._waiting: list[asyncio.Future[Any]] = []
        self._banned_until = 0.0

    @property
    def name(self) -> str:
        """Its name."""
        return "the model exchange"

    @property
    def venue(self) -> BrokerCapabilities:
        """What was drawn for this seed."""
        return self._plan.venue

    @property
    def account_fingerprint(self) -> str:
        """The account that answers must be of."""
        return FINGERPRINT

    async def place_order(self, request: OrderRequest) -> OrderState:
        """Send an order, and wait for what the venue says of it."""
        life, exchange = self._life, self._exchange
        life.require_alive()
        self._watch.point(life, "send.before")
        life.require_alive()
        self._watch.sending(life, request)
        self._refuse_if_banned()
        window = self._plan.venue.visibility_seconds
        delay = self._latency()
        after_window = False
        if exchange.strikes("B7"):
            delay = exchange.between(0.5 * window, 0.9 * window)
        if self._plan.late and not exchange.quiet and chance(exchange._stream, 0.3):
            delay = window + 1.5 + exchange.between(0.0, 40.0)
            after_window = True
            exchange._fired["late beyond the window"] += 1
        delay = delay if after_window else min(delay, 0.9 * window)
        answer: asyncio.Future[OrderState] = self._loop.create_future()
        if exchange.strikes("B5"):
            pass
        else:
            exchange.on_the_way[request.client_order_id] += not after_window
            self._later(delay, self._arrive, request, answer, after_window)
        self._watch.point(life, "send.sent")
        reply = await self._reply(answer)
        self._watch.point(life, "send.replied")
        life.require_alive()
        return reply

    def _arrive(
        self, request: OrderRequest, answer: "asyncio.Future[OrderState]", after_window: bool
    ) -> None:
        exchange = self._exchange
        exchange.on_the_way[request.client_order_id] -= not after_window
        try:
            state = exchange.place(request, after_window=after_window)
        except OrderRefused as refusal:
            if not exchange.strikes("B6"):
                self._later(self._latency(), _fail, answer, refusal)
            return
        if exchange.strikes("B6"):
            return  # it was accepted, and nobody will hear of it
        delay = self._latency()
        if exchange.strikes("B9"):
            delay += exchange.between(0.3, 2.0)  # what it says will be old when it is read
        if exchange.strikes("B18"):
            state = self._garbled(state)
        elif state.fills and exchange.strikes("B8"):
            state = replace(state, fills=(*state.fills, *state.fills))
        self._later(delay, _tell, answer, state)
        self._watch_news_twice(request.client_order_id)

    def _watch_news_twice(self, key: str) -> None:
        if self._exchange.strikes("B8"):
            self._exchange._watch.news(key)

    async def cancel_order(self, client_order_id: str) -> None:
        """Send a cancellation, and wait until the venue has taken it."""
        if not self.venue.cancel:
            raise OutcomeUnknown("this venue cancels nothing")

        def arrive() -> None:
            self._exchange.cancel(client_order_id)

        await self._ask("cancel.sent", client_order_id, arrive)

    async def find_order(self, client_order_id: str) -> OrderState | None:
        """Ask for one order."""
        if not self.venue.look_up:
            raise OutcomeUnknown("this venue cannot be asked")

        def arrive() -> OrderState | None:
            found = self._exchange.find(client_order_id)
            if found is None:
                return None
            if self._exchange.strikes("B18"):
                return cast("OrderState", self._garbled(found))
            if found.fills and self._exchange.strikes("B8"):
                return replace(found, fills=(*found.fills, *found.fills[:1]))
            return found

        found = await self._ask("find.sent", client_order_id, arrive)
        self._watch.point(self._life, "find.replied")
        self._life.require_alive()
        return found

    async def open_orders(self) -> tuple[OrderState, ...]:
        """Ask for the open orders."""
        return await self._ask(
            "",
            "",
            lambda: tuple(
                order.told()
                for orders in self._exchange.orders.values()
                for order in orders
                if order.is_open
            ),
        )

    async def positions(self) -> tuple[Position, ...]:
        """Ask what is held."""
        return await self._ask("", "", self._exchange.positions)

    async def account(self) -> Account:
        """Ask about the account."""
        return await self._ask("", "", self._exchange.account)

    async def trades(self, after: int = 0) -> tuple[Trade, ...]:
        """Ask for executions."""
        return await self._ask("", "", lambda: self._exchange.trades(after))

    async def _ask(self, point: str, key: str, arrive: Callable[[], T]) -> T:
        self._life.require_alive()
        self._watch.asking(self._life, key)
        self._refuse_if_banned()
        answer: asyncio.Future[T] = self._loop.create_future()
        lost = self._exchange.strikes("B5") or self._exchange.strikes("B6")

        def at_the_venue() -> None:
            result = arrive()
            if not lost:
                self._later(self._latency(), _tell, answer, result)

        self._later(self._latency(), at_the_venue)
        if point:
            self._watch.point(self._life, point)
        return await self._reply(answer)

    async def _reply(self, answer: "asyncio.Future[T]") -> T:
        if self._exchange.strikes("B16"):
            self._disconnect()
        self._waiting.append(answer)
        try:
            return await answer
        finally:
            self._waiting.remove(answer)

    def _disconnect(self) -> None:
        """Lose the connection: whoever waits hears nothing any more (B16)."""
        for answer in self._waiting:
            _fail(answer, ConnectionResetError("the connection was lost"))
        if self.venue.cancels_on_disconnect:
            self._exchange.cancel_all()

    def _refuse_if_banned(self) -> None:
        now = self._loop.time()
        if self._exchange.strikes("B15"):
            self._banned_until = now + _BAN_SECONDS
        if now < self._banned_until and not self._exchange.quiet:
            raise OutcomeUnknown("429: asked too often")

    def _latency(self) -> float:
        return self._exchange.between(0.2, 1.8) * self._plan.latency

    def _later(self, delay: float, function: Callable[..., None], *arguments: object) -> None:
        # Whatever is on its way is in nobody's process: no freeze holds it, no crash ends it.
        self._loop.call_later(delay, function, *arguments, context=_OUTSIDE)

    def _garbled(self, state: OrderState) -> Any:
        stream = self._exchange._stream
        return one_of(
            stream,
            (
                "<html>502 Bad Gateway</html>",
                17,
                replace(state, filled=Decimal(-1)),
                replace(state, quantity=Decimal("NaN")),
                replace(state, status="on_fire"),  # type: ignore[arg-type]
                replace(state, account="somebody-else"),
                replace(state, client_order_id="other"),
                replace(state, status=OrderStatus.FILLED, filled=state.quantity, fills=()),
            ),
        )


def _tell(answer: "asyncio.Future[T]", result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[T]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # whoever asked may be gone, and nobody is to be told of that
