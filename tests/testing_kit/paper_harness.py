"""The paper exchange as the kit sees it: its books are a file that is read past the adapter."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

from brokers import Buy, Sell, Side, TimeInForce
from brokers.paper import PaperExchange, PaperSettings
from brokers.paper.books import Books, read_books
from brokers.paper.faults import Fault, FaultRule
from brokers.paper.rows import BookedOrder
from brokers.paper.running import Inline
from brokers.venue import Trade
from saga.clock import Clock
from saga.directive import Directive
from saga.exact import times, total
from saga.testing import Harness, KeyScope, Trouble, VenueOrder

_SYMBOLS = ("AAPL", "MSFT")
_IN_PART = FaultRule(
    fault=Fault.PARTIAL_THEN_SILENCE, symbol="JNJ", side=Side.BUY, times=None, quantity=Decimal(4)
)
_FAULTS = {
    Trouble.REQUEST_LOST: Fault.TIMES_OUT_NOT_ACCEPTED,
    Trouble.ANSWER_LOST: Fault.TIMES_OUT_ACCEPTED,
}


def trades_of(books: Books, order: BookedOrder) -> list[Trade]:
    """What of an order was executed."""
    key = order.client_order_id
    return [trade for trade in books.executions if trade.client_order_id == key]


class PaperHarness(Harness):
    """One new exchange with cash, in the folder."""

    key_scope = KeyScope.FOREVER

    def __init__(self, folder: Path, clock: Clock, settings: PaperSettings | None = None) -> None:
        self._path = folder / "books.sqlite"
        self._clock = clock
        self._is_scripted = False
        self._venue = PaperExchange.create(
            self._path,
            day=date(2022, 12, 1),
            cash=1_000_000,
            settings=settings or PaperSettings(tombstones=True, latency_seconds=0.01),
            clock=clock,
            runner=Inline(),
            durable=False,
        )

    async def connect(self) -> PaperExchange:
        if not self._is_scripted:
            await self._venue.script(_IN_PART)
            self._is_scripted = True
        return PaperExchange(self._path, clock=self._clock, runner=Inline(), durable=False)

    async def books(self) -> Sequence[VenueOrder]:
        books = read_books(self._path)
        return [
            VenueOrder(
                order_id=str(order.number),
                key=order.client_order_id,
                subject=order.symbol,
                direction=1 if order.side is Side.BUY else -1,
                quantity=order.quantity,
                filled=order.filled,
                is_open=not order.status.is_final,
                limit_price=order.limit_price,
                value=total(times(e.quantity, e.price) for e in trades_of(books, order)),
                fees=total(e.fee for e in trades_of(books, order)),
            )
            for order in books.orders
            if order.status != "rejected"
        ]

    def will_fill(self, leg: int) -> Directive:
        symbol = _SYMBOLS[leg % len(_SYMBOLS)]
        return Buy(directive_id="EXE_1", symbol=symbol, quantity=Decimal(10))

    def will_be_refused(self) -> Directive:
        return Sell(directive_id="EXE_1", symbol="KO", quantity=Decimal(10))

    def will_rest(self) -> Directive:
        return Buy(
            directive_id="EXE_1",
            symbol="AAPL",
            quantity=Decimal(10),
            limit_price=Decimal("0.01"),
            time_in_force=TimeInForce.GTC,
        )

    def will_part_fill(self) -> Directive:
        return Buy(directive_id="EXE_1", symbol="JNJ", quantity=Decimal(10))

    async def interfere(self, trouble: Trouble) -> bool:
        await self._venue.script(FaultRule(fault=_FAULTS[trouble]), _IN_PART)
        return True
