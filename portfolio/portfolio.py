"""The portfolio: what a trading program calls to buy, sell, initialise, rebalance, and get out.

Each of these makes a batch id first, gives it to its orders, and hands one batch to the engine;
what fails is undone by the engine, and what cannot be undone makes the portfolio stale. The books
are the store's (`portfolio.projection`); nothing is kept here but the `stale` flag as it was last
read. This module places no order itself, and writes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from brokers.broker import Broker
from brokers.engine_register import EngineRegister
from brokers.orders import Buy, Order, Sell, Side, TimeInForce
from portfolio.books import (
    Books,
    BooksReader,
    Holding,
    LedgerEntry,
    StaleMark,
    read_books,
    read_ledger,
    read_stale,
)
from portfolio.errors import (
    AlreadyInitialised,
    CannotPlan,
    NoSuchPortfolio,
    TransferNotBooked,
)
from portfolio.naming import checked_name, exclusion_key
from portfolio.prices import PriceSource
from portfolio.projection import stale_error
from portfolio.transfer import CashTransfer, Way
from portfolio.turns import turn_of
from portfolio.weights import Plan, PlannedTrade, Rules, Weight, plan_rebalance
from saga.clock import Clock, SystemClock
from saga.errors import InvalidInput, NotAllowed
from saga.exact import ZERO, minus, plain
from saga.ids import generate_batch_id
from saga.logbook import TradingState
from saga.model import Batch, ExecutionMode, Priority
from saga.orchestrator import Orchestrator
from saga.policy import FailurePolicy, RetryPolicy
from saga.views import BatchRow, SagaOutcome
from saga.wording import explain

_MODEL = TypeVar("_MODEL", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a batch of the portfolio is carried out.

    Attributes:
        mode: ATOMIC by default: resolved whole, or rolled back.
        timeout_seconds: it must be over so long after it was accepted; None is no bound.
        priority: which batches are admitted first.
        max_parallel: most orders in the air at once; see `Batch`.
        policy: what is to happen when it fails; None is what the mode says.
        retry: how often each order, and each undo, is tried; None is the engine's default.
        time_in_force: how long each order stays open.
        metadata: JSON that travels with the batch.
        by: who wants it.
    """

    mode: ExecutionMode = ExecutionMode.ATOMIC
    timeout_seconds: float | None = None
    priority: Priority = Priority.NORMAL
    max_parallel: int | None = None
    policy: FailurePolicy | None = None
    retry: RetryPolicy | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    metadata: Mapping[str, object] | None = None
    by: str = "portfolio"


DEFAULT_TERMS: Final = Terms()
HALT_LOOK_SECONDS: Final = 1.0
"""How often a transfer that waits looks whether trading was halted meanwhile."""
EXIT_TERMS: Final = Terms(priority=Priority.HIGH)
"""An emergency exit goes before other batches."""


class Portfolio:
    """One portfolio: its books in the engine's store, its orders at one broker.

    Args:
        name: letters, digits, `_`, `-` and `.`; its batches bear the key `portfolio:<name>`.
        engine: runs the batches; its store must have a `PortfolioProjection`, and its
            participants must include the broker and a `CashDesk`.
        broker: where it trades; from now on it answers for batches from the engine's journal.
        prices: what plans and reservations are made with.
        rules: how rebalances are planned.
        currency: ISO 4217 code of all its money.
        store: where the books are read; by default the engine's own store.
        clock: stamps its batches.
        new_id: makes the id of each batch; by default a random one with the clock's time.

    Attributes:
        stale: it waits for an operator and trades nothing new, as far as was known when the books
            were read last: by any call here. The books themselves are durable.
    """

    stale: bool = False

    def __init__(
        self,
        name: str,
        engine: Orchestrator,
        broker: Broker,
        *,
        prices: PriceSource,
        rules: Rules | None = None,
        currency: str = "USD",
        store: BooksReader | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self.name = checked_name(name)
        self.currency = currency
        self.rules = rules or Rules()
        self._engine = engine
        self._broker = broker
        self._prices = prices
        self._clock = clock or SystemClock()
        self._new_id = new_id or self._id_of_now
        reader: object = store or engine.store
        if not isinstance(reader, BooksReader):
            raise InvalidInput(
                f"store: {type(reader).__name__} cannot be read; give one with a `read` method"
            )
        self._reader = reader
        broker.attach(EngineRegister(engine))

    # --- the books --------------------------------------------------------------------------------

    async def books(self) -> Books:
        """Return the books as of the last durable record.

        Raises:
            NoSuchPortfolio: they were never opened; the first deposit opens them.
        """
        books = await self._reader.read(read_books, self.name)
        if books is None:
            raise NoSuchPortfolio(
                f"portfolio {self.name!r} has no books; open them with a deposit first"
            )
        self.stale = bool(books.stale)
        return books

    async def holdings(self) -> dict[str, Decimal]:
        """Return what is held, in shares or contracts, by symbol."""
        return {each.symbol: each.quantity for each in (await self.books()).holdings.values()}

    async def cash(self) -> Decimal:
        """Return the cash, reserved or not, in the portfolio's currency."""
        return (await self.books()).cash

    async def ledger(self) -> tuple[LedgerEntry, ...]:
        """Return everything that ever changed the books, in order."""
        return await self._reader.read(read_ledger, self.name)

    async def why_stale(self) -> tuple[StaleMark, ...]:
        """Return the batches that make it stale, oldest first; empty if it is not."""
        marks = await self._reader.read(read_stale, self.name)
        self.stale = bool(marks)
        return marks

    # --- cash from and to outside -----------------------------------------------------------------

    async def deposit(self, cash: Decimal, *, by: str = "owner") -> str:
        """Book cash that came in; the first deposit opens the books. Returns when it is booked.

        Returns:
            The id of the batch that booked it.

        Raises:
            InvalidInput: the amount or the currency is wrong.
            TransferNotBooked: trading is HALTED, or it was refused; the books are as they were.
        """
        return await self._transfer(Way.DEPOSIT, cash, by)

    async def withdraw(self, cash: Decimal, *, by: str = "owner") -> str:
        """Book cash that leaves; only what no batch may still need. Returns when it is booked.

        Returns:
            The id of the batch that booked it.

        Raises:
            PortfolioStale: a stale batch may still need it.
            InsufficientCash: not so much is free.
            TransferNotBooked: trading is HALTED, or it was refused; the books are as they were.
        """
        await self._refuse_if_stale()
        return await self._transfer(Way.WITHDRAWAL, cash, by)

    # --- trading ----------------------------------------------------------------------------------

    async def buy(
        self,
        symbol: str,
        quantity: Decimal,
        *,
        limit_price: Decimal | None = None,
        terms: Terms = DEFAULT_TERMS,
    ) -> str:
        """Submit a batch that buys one symbol, and return its id.

        Raises:
            PortfolioStale: it waits for an operator; no order was made.
            InsufficientCash: not so much cash is free.
        """
        return await self._trade(Side.BUY, symbol, quantity, limit_price, terms)

    async def sell(
        self,
        symbol: str,
        quantity: Decimal,
        *,
        limit_price: Decimal | None = None,
        terms: Terms = DEFAULT_TERMS,
    ) -> str:
        """Submit a batch that sells one symbol, and return its id.

        Raises:
            PortfolioStale: it waits for an operator; no order was made.
            InsufficientShares: not so many shares are free.
        """
        return await self._trade(Side.SELL, symbol, quantity, limit_price, terms)

    async def initialise(self, weights: Mapping[str, Weight], terms: Terms = DEFAULT_TERMS) -> str:
        """Submit a batch that invests the cash by weights, and return its id.

        Raises:
            PortfolioStale: it waits for an operator; no order was made.
            AlreadyInitialised: it holds something, or a batch of it is under way.
            CannotPlan: the weights are wrong, or nothing is to be bought.
        """
        async with turn_of(self._engine, self.name):
            books = await self._refuse_if_stale()
            if books.holdings or books.open_batches:
                what = ", ".join([*books.holdings, *books.open_batches][:3])
                raise AlreadyInitialised(
                    f"portfolio {self.name!r} is not empty (holdings or open batches: {what}); "
                    "rebalance it instead"
                )
            return await self._submit_plan(await self._plan(books, weights), terms)

    async def rebalance(self, weights: Mapping[str, Weight], terms: Terms = DEFAULT_TERMS) -> str:
        """Submit a batch that brings the holdings to the weights, sells first; return its id.

        What a batch that is not over may still need is left out: the weights are parts of the rest.

        Raises:
            PortfolioStale: it waits for an operator; no order was made.
            CannotPlan: the weights are wrong, or nothing is to be done.
            InsufficientCash: another batch needs the cash, or the undo could cost too much.
        """
        async with turn_of(self._engine, self.name):
            books = await self._refuse_if_stale()
            return await self._submit_plan(await self._plan(books, weights), terms)

    async def plan_rebalance(self, weights: Mapping[str, Weight]) -> Plan:
        """Return what `rebalance` (or `initialise`) would do now, without doing it.

        Raises:
            CannotPlan: the weights or the prices are wrong.
        """
        return await self._plan(await self.books(), weights)

    async def exit(self, symbols: Iterable[str] | None = None, terms: Terms = EXIT_TERMS) -> str:
        """Submit a batch that sells everything, or all of the named symbols, and return its id.

        Only what is free is sold. Where no symbol is named, one of which nothing is free is passed
        over; a named one is refused. What other batches may still need stays: the batch's metadata
        says of which symbols how much, under `left_out`.

        An ATOMIC exit needs free cash for its own undo. One that shall get out of whatever it can,
        and never buy anything back, is PARALLEL.

        Raises:
            PortfolioStale: it waits for an operator; no order was made.
            CannotPlan: nothing is free to be sold of what is named, or of anything.
        """
        # It takes no turn: it may not wait for the prices of somebody's plan, and that no share is
        # sold twice is seen to when it is taken in.
        books = await self._refuse_if_stale()
        wanted = list(books.holdings) if symbols is None else sorted(set(symbols))
        missing = [each for each in wanted if books.free_shares(each) <= ZERO]
        sold = [each for each in wanted if each not in missing]
        if not sold or (missing and symbols is not None):
            raise CannotPlan(
                f"symbols: nothing is free to be sold of {', '.join(missing) or 'any symbol'} in "
                f"portfolio {self.name!r}; name only what it holds"
            )
        prices = await self._prices.prices(sold)
        return await self._submit(
            [_whole_sale(books.holdings[each], prices.get(each)) for each in sold],
            _saying_what_is_left(terms, [books.holdings[each] for each in wanted]),
        )

    async def rollback(self, batch_id: str) -> bool:
        """Undo everything of a batch that took effect, by way of its broker; wait for the end.

        Returns:
            True if the whole rollback succeeded, False if something is left.
        """
        undone = await self._broker.batch_rollback(batch_id)
        await self.why_stale()
        return undone

    async def wait(self, batch_id: str, *, timeout: float | None = None) -> BatchRow:
        """Return the batch's view once it is COMPLETED, ROLLED_BACK or STALE.

        Raises:
            TimeoutError: it did not come to rest in so many seconds; it goes on.
        """
        row = await self._engine.wait(batch_id, timeout=timeout)
        await self.why_stale()
        return row

    # --- how --------------------------------------------------------------------------------------

    def _id_of_now(self) -> str:
        return generate_batch_id(self._clock.now())

    async def _refuse_if_stale(self) -> Books:
        books = await self.books()
        if books.stale:
            raise stale_error(self.name, books.stale)
        return books

    async def _plan(self, books: Books, weights: Mapping[str, Weight]) -> Plan:
        held = {each.symbol: each.free for each in books.holdings.values() if each.free}
        prices = await self._prices.prices(sorted(held.keys() | weights.keys()))
        return plan_rebalance(held, books.free_cash, prices, weights, self.rules)

    async def _submit_plan(self, plan: Plan, terms: Terms) -> str:
        if not plan.trades:
            raise CannotPlan(
                f"weights: portfolio {self.name!r} is as near to them as its lots, its drift band "
                "and its minimum notional allow; nothing is to be traded"
            )
        return await self._submit(plan.trades, terms)

    async def _trade(
        self,
        side: Side,
        symbol: str,
        quantity: Decimal,
        limit_price: Decimal | None,
        terms: Terms,
    ) -> str:
        await self._refuse_if_stale()
        prices = await self._prices.prices([symbol])
        if symbol not in prices:
            raise CannotPlan(f"price of {symbol} is missing; every symbol traded needs one")
        trade = PlannedTrade(symbol, side, quantity, prices[symbol])
        return await self._submit([trade], terms, limit_price)

    async def _submit(
        self, trades: Sequence[PlannedTrade], terms: Terms, limit_price: Decimal | None = None
    ) -> str:
        batch_id = self._new_id()
        orders = tuple(
            self._order(batch_id, number, trade, terms, limit_price)
            for number, trade in enumerate(trades, start=1)
        )
        batch = _valid(
            Batch,
            batch_id=batch_id,
            directives=orders,
            execution_mode=terms.mode,
            timeout_seconds=terms.timeout_seconds,
            priority=terms.priority,
            max_parallel=terms.max_parallel,
            metadata=terms.metadata,
            created_at=self._clock.now(),
            exclusion_key=exclusion_key(self.name),
        )
        return await self._engine.submit(batch, policy=terms.policy, by=terms.by)

    def _order(
        self,
        batch_id: str,
        number: int,
        trade: PlannedTrade,
        terms: Terms,
        limit_price: Decimal | None,
    ) -> Order:
        make = partial(_valid, Buy) if trade.side is Side.BUY else partial(_valid, Sell)
        return make(
            directive_id=f"EXE_{number:04d}",
            batch_id=batch_id,
            symbol=trade.symbol,
            quantity=trade.quantity,
            limit_price=limit_price,
            reference_price=trade.price,
            time_in_force=terms.time_in_force,
            lot=self.rules.lot(trade.symbol),
            retry=terms.retry,
        )

    async def _transfer(self, way: Way, cash: Decimal, by: str) -> str:
        batch_id = self._new_id()
        transfer = _valid(
            CashTransfer,
            directive_id="EXE_0001",
            batch_id=batch_id,
            portfolio=self.name,
            way=way,
            cash=cash,
            currency=self.currency,
        )
        batch = _valid(
            Batch,
            batch_id=batch_id,
            directives=(transfer,),
            execution_mode=ExecutionMode.SEQUENTIAL,
            created_at=self._clock.now(),
        )
        if self._engine.trading_state is TradingState.HALTED:
            raise TransferNotBooked(_halted(transfer, self._engine.trading_said.reason))
        row = await self._transferred(await self._engine.submit(batch, by=by), by)
        if row.outcome != SagaOutcome.SUCCESS:
            raise TransferNotBooked(await self._why_not(transfer, row), batch_id=batch_id)
        return batch_id

    async def _transferred(self, batch_id: str, by: str) -> BatchRow:
        """Return a transfer's view once it is over; while trading is HALTED nobody waits for it."""
        while True:
            with suppress(TimeoutError):
                return await self._engine.wait(batch_id, timeout=HALT_LOOK_SECONDS)
            if self._engine.trading_state is TradingState.HALTED:
                with suppress(NotAllowed):  # It is being cancelled, or is over by now.
                    await self._engine.cancel(batch_id, by=by, reason="trading is HALTED")

    async def _why_not(self, transfer: CashTransfer, row: BatchRow) -> str:
        (trade,) = await self._engine.trades(row.batch_id)
        why = trade.error or row.reason or "nobody said why"
        return (
            f"cash: the {transfer.describe()} was not booked: batch {row.batch_id} is "
            f"{row.status} ({why}); the books are as they were; do it again once that is mended"
        )


def _halted(transfer: CashTransfer, reason: str) -> str:
    return (
        f"cash: the {transfer.describe()} was not booked, because trading is HALTED ({reason}) and "
        "nothing is carried out; activate trading, then do it again"
    )


def _saying_what_is_left(terms: Terms, holdings: Iterable[Holding]) -> Terms:
    """Return the terms of an exit, with what it leaves of each holding in the metadata."""
    left = {
        each.symbol: plain(minus(each.quantity, max(each.free, ZERO)))
        for each in holdings
        if each.free != each.quantity or each.quantity < ZERO
    }
    if not left:
        return terms
    return replace(terms, metadata={**(terms.metadata or {}), "left_out": left})


def _whole_sale(holding: Holding, price: Decimal | None) -> PlannedTrade:
    price = price or holding.last_price
    if price is None:
        raise CannotPlan(f"price of {holding.symbol} is missing; every symbol traded needs one")
    return PlannedTrade(holding.symbol, Side.SELL, holding.free, price)


def _valid(model: type[_MODEL], **fields: Any) -> _MODEL:
    """Return the model made of the fields; what breaks a rule is one sentence of ours."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(explain(error)) from None
