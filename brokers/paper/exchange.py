"""The paper exchange: a durable venue on real prices, behind the same calls as any other broker.

Each call is one transaction of its books, which outlive the process. The engine reads nothing of
them; it learns only what these calls answer, and the script of faults decides how well they do.
A scripted time-out raises at once, so that nobody waits for it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Self, TypeVar

from brokers.broker import Broker
from brokers.errors import OrderRefused
from brokers.orders import Order, Side, TimeInForce
from brokers.paper import rows
from brokers.paper.books import Books, create_books, read_books, transaction
from brokers.paper.faults import (
    MAX_RULES,
    Call,
    Fault,
    FaultCount,
    FaultRule,
    Firing,
    Operation,
)
from brokers.paper.floor import HALTED, Floor
from brokers.paper.market import Market
from brokers.paper.misbehaviour import (
    distorted,
    end_outage,
    outage,
    stale_list,
    timed_out,
    why_not_answered,
    why_not_arrived,
)
from brokers.paper.running import InThread, Runner
from brokers.paper.settings import PaperSettings
from brokers.venue import (
    Account,
    BrokerCapabilities,
    OrderRequest,
    OrderState,
    OrderStatus,
    Position,
    Trade,
)
from saga.amounts import to_decimal
from saga.clock import Clock, SystemClock
from saga.directive import Directive
from saga.errors import InvalidInput
from saga.participant import KeyTaken

_T = TypeVar("_T")


class PaperExchange(Broker):
    """One account at one paper venue, whose books are a file.

    Several objects, in several processes, may use the same books at once.

    Args:
        path: the books; made with `create`.
        clock: tells the exchange the time, and waits for its latency.
        runner: who runs the blocking work; by default a thread of its own.
        durable: the books survive a loss of power. False is for simulations: the books then survive
            a kill of the process only, and each call is many times faster.

    Raises:
        BooksUnusable: there is no such file, or it is no books file.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        runner: Runner | None = None,
        durable: bool = True,
    ) -> None:
        self._durable = durable
        self._path = path
        self._clock = clock or SystemClock()
        self._run = runner or InThread()
        with transaction(path, durable=durable) as connection:
            self._settings = rows.read_settings(connection)
        self._market = Market(self._settings.listed)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        day: date,
        cash: Decimal | int,
        settings: PaperSettings | None = None,
        clock: Clock | None = None,
        runner: Runner | None = None,
        durable: bool = True,
    ) -> Self:
        """Make new books, and return the exchange that keeps them.

        Args:
            path: where; nothing may be there.
            day: the first trading day.
            cash: the first deposit, in the account's currency.
            settings: how the exchange works.
            clock: as above.
            runner: as above.
            durable: as above.

        Raises:
            BooksUnusable: the file is there already, or cannot be made.
            InvalidInput: the day is not a trading day.
        """
        settings = settings or PaperSettings()
        market = Market(settings.listed)
        market.close(market.stocks[0], day)
        at = (clock or SystemClock()).now()
        create_books(path, settings, day=day, cash=to_decimal(cash), at=at)
        return cls(path, clock=clock, runner=runner, durable=durable)

    # What it says of itself.

    @property
    def name(self) -> str:
        """`paper`, and the account."""
        return f"paper:{self._settings.account}"

    @property
    def venue(self) -> BrokerCapabilities:
        """What the settings promise."""
        return self._settings.capabilities()

    @property
    def account_fingerprint(self) -> str:
        """The account of the settings."""
        return self._settings.account

    @property
    def settings(self) -> PaperSettings:
        """How the exchange works."""
        return self._settings

    @property
    def market(self) -> Market:
        """What is listed, and at which prices."""
        return self._market

    def check(self, directive: Directive) -> None:
        """Refuse a symbol that is not listed, an odd lot, or a limit between two ticks.

        Raises:
            InvalidInput: as said.
        """
        super().check(directive)
        if not isinstance(directive, Order):
            return
        if directive.symbol not in self._market.symbols:
            raise InvalidInput(
                f"symbol {directive.symbol!r} of directive {directive.directive_id} is not listed "
                f"on {self.name}; listed are {', '.join(self._market.symbols)}"
            )

    # The venue's calls.

    async def place_order(self, request: OrderRequest) -> OrderState:
        """Place an order."""
        call = Call(Operation.PLACE, request.client_order_id, request.symbol, request.side)
        return await self._call(call, lambda floor, firing: _place(floor, firing, request))

    async def cancel_order(self, client_order_id: str) -> None:
        """Cancel what is open of an order."""

        def cancel(floor: Floor, firing: Firing) -> Exception | None:
            failed = why_not_arrived(floor, firing)
            if failed is None:
                floor.cancel(client_order_id, firing)
                failed = why_not_answered(floor, firing)
            return failed

        await self._call(Call(Operation.CANCEL, client_order_id), cancel)

    async def find_order(self, client_order_id: str) -> OrderState | None:
        """Return one order; None if it is not there, or not visible yet."""
        call = Call(Operation.FIND, client_order_id)
        return await self._call(call, lambda floor, firing: _find(floor, firing, client_order_id))

    async def open_orders(self) -> tuple[OrderState, ...]:
        """Return the open orders."""

        def work(floor: Floor, firing: Firing) -> tuple[OrderState, ...]:
            if Fault.LISTS_ARE_STALE in firing:
                return stale_list(floor)
            return tuple(floor.state_of(order) for order in rows.open_orders(floor.connection))

        return await self._list(work, doubles=True)

    async def positions(self) -> tuple[Position, ...]:
        """Return what is held."""

        def work(floor: Floor, _: Firing) -> tuple[Position, ...]:
            held = rows.positions(floor.connection)
            return tuple(Position(symbol, quantity) for symbol, quantity in held.items())

        return await self._list(work)

    async def account(self) -> Account:
        """Return the account; its cash includes what open orders are waiting to spend."""

        def work(floor: Floor, _: Firing) -> tuple[Account, ...]:
            settings = floor.settings
            cash = rows.cash(floor.connection)
            return (Account(cash, settings.currency, settings.account),)

        return (await self._list(work))[0]

    async def trades(self, after: int = 0) -> tuple[Trade, ...]:
        """Return the executions behind a number, reversals included."""
        return await self._list(
            lambda floor, _: rows.trades_after(floor.connection, after), doubles=True
        )

    # What its owner does; the script of faults does not touch these.

    async def day(self) -> date:
        """Return the present trading day."""
        return await self._own(lambda floor: rows.trading_day(floor.connection))

    async def advance(self, until: date) -> None:
        """Let trading days pass, up to and with this one.

        Raises:
            InvalidInput: it is no trading day, or not after the present one.
        """
        await self._own(lambda floor: floor.advance(until))

    async def deposit(self, amount: Decimal) -> None:
        """Pay cash in, in the account's currency.

        Raises:
            InvalidInput: the amount is not positive.
        """
        if not amount > 0:
            raise InvalidInput(f"amount of a deposit must be positive, not {amount}")
        await self._own(lambda floor: rows.book_cash(floor.connection, amount, floor.now))

    async def trade_by_hand(
        self, side: Side, quantity: Decimal, symbol: str, limit_price: Decimal | None = None
    ) -> OrderState:
        """Trade as somebody at the venue's own screen would: without a client order id.

        Raises:
            OrderRefused: the order was not accepted.
        """
        request = OrderRequest("", symbol, side, quantity, limit_price, TimeInForce.DAY)
        state = await self._own(lambda floor: floor.state_of(floor.place_by_hand(request)))
        if state.status is OrderStatus.REJECTED:
            raise OrderRefused(state.reason or "refused")
        return state

    async def halt(self, *symbols: str) -> None:
        """Stop trading in these symbols: orders are refused, open ones do not fill."""
        await self._halt(symbols, "yes")

    async def lift_halt(self, *symbols: str) -> None:
        """Trade these symbols again."""
        await self._halt(symbols, None)

    async def script(self, *rules: FaultRule) -> None:
        """Misbehave by these rules from now on, and by no others.

        Raises:
            InvalidInput: there are too many.
        """
        if len(rules) > MAX_RULES:
            raise InvalidInput(f"a script has at most {MAX_RULES} rules, not {len(rules)}")

        def replace_script(floor: Floor) -> None:
            rows.set_faults(floor.connection, rules)
            end_outage(floor)

        await self._own(replace_script)

    async def faults(self) -> tuple[FaultCount, ...]:
        """Return the rules of the script, and how often each has fired."""
        return await self._own(lambda floor: rows.fault_counts(floor.connection))

    async def books(self) -> Books:
        """Return everything in the books, for audits."""
        return await self._run(lambda: read_books(self._path))

    # How a call runs.

    async def _call(self, call: Call, work: Callable[[Floor, Firing], _T | Exception]) -> _T:
        """Run a venue's call as one transaction; a failure that it answers with is raised after."""
        await self._take_time()

        def in_books() -> _T | Exception:
            with transaction(self._path, durable=self._durable) as connection:
                floor = self._floor(connection)
                floor.settle()
                failed = outage(floor)
                return failed if failed is not None else work(floor, floor.fire(call))

        answer = await self._run(in_books)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _list(
        self, work: Callable[[Floor, Firing], tuple[_T, ...]], *, doubles: bool = False
    ) -> tuple[_T, ...]:
        def answer(floor: Floor, firing: Firing) -> tuple[_T, ...] | Exception:
            failed = why_not_arrived(floor, firing)
            if failed is not None:
                return failed
            entries = work(floor, firing)
            twice = doubles and Fault.DUPLICATES in firing
            return tuple(e for entry in entries for e in (entry, entry)) if twice else entries

        return await self._call(Call(Operation.LIST), answer)

    async def _own(self, work: Callable[[Floor], _T]) -> _T:
        def in_books() -> _T:
            with transaction(self._path, durable=self._durable) as connection:
                floor = self._floor(connection)
                floor.settle()
                return work(floor)

        return await self._run(in_books)

    async def _halt(self, symbols: Sequence[str], value: str | None) -> None:
        def work(floor: Floor) -> None:
            for symbol in symbols:
                rows.set_condition(floor.connection, HALTED + symbol, value)

        await self._own(work)

    async def _take_time(self) -> None:
        if self._settings.latency_seconds > 0:
            latency = timedelta(seconds=self._settings.latency_seconds)
            await self._clock.sleep_until(self._clock.now() + latency)

    def _floor(self, connection: sqlite3.Connection) -> Floor:
        return Floor(connection, self._settings, self._market, self._clock.now())


def _place(floor: Floor, firing: Firing, request: OrderRequest) -> OrderState | Exception:
    failed = why_not_arrived(floor, firing)
    if failed is not None:
        return failed
    late = firing.get(Fault.ACCEPTS_LATE)
    if late is not None:
        floor.arrive_later(request, late)
        return timed_out()
    try:
        order = floor.place(request, firing)
    except KeyTaken as error:
        return error
    failed = why_not_answered(floor, firing)
    if failed is not None:
        return failed
    if order.status is OrderStatus.REJECTED:
        return OrderRefused(order.reason or "refused")
    return distorted(floor.state_of(order), firing)


def _find(floor: Floor, firing: Firing, key: str) -> OrderState | Exception | None:
    failed = why_not_arrived(floor, firing)
    if failed is not None:
        return failed
    order = rows.order_by_key(floor.connection, key)
    if order is None or order.visible_at > floor.now:
        return None
    if order.status.is_final and Fault.FORGETS_CLOSED in firing:
        return None
    return distorted(floor.state_of(order), firing)
