"""Whatever is asked of the exchange, and however it misbehaves, cash and shares are conserved."""

import sqlite3
from contextlib import closing, suppress
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers import OrderRequest, Side, TimeInForce
from brokers.paper import Fault, FaultRule, Market, PaperSettings, conservation_errors
from brokers.paper.books import books_of, lay_out
from brokers.paper.faults import Call, Operation
from brokers.paper.floor import Floor
from brokers.paper.rows import set_faults
from saga.participant import KeyTaken
from tests.brokers.samples import DAY, NOON

MAX_STEPS = 30

_TENTHS = st.integers(1, 500).map(lambda tenths: Decimal(tenths) / 10)
_ORDERS = st.builds(
    OrderRequest,
    client_order_id=st.integers(0, 40).map(lambda number: f"key-{number}"),
    symbol=st.sampled_from(["AAPL", "KO", "XOM"]),
    side=st.sampled_from(Side),
    quantity=_TENTHS,
    limit_price=st.none() | st.integers(30_000, 160_000).map(lambda mills: Decimal(mills) / 1000),
    time_in_force=st.sampled_from(TimeInForce),
)
_ACTIONS = st.one_of(
    st.tuples(st.just("place"), _ORDERS),
    st.tuples(st.just("place"), _ORDERS),
    st.tuples(st.just("by hand"), _ORDERS),
    st.tuples(st.just("cancel"), st.integers(0, 40).map(lambda number: f"key-{number}")),
    st.tuples(st.just("advance"), st.integers(1, 3)),
    st.tuples(st.just("wait"), st.integers(1, 60)),
)
_RULES = st.lists(
    st.builds(
        FaultRule,
        fault=st.sampled_from(
            [
                *(Fault.FILLS_AT_ONCE, Fault.PARTIAL_THEN_FULL, Fault.PARTIAL_THEN_SILENCE),
                *(Fault.REFUSES, Fault.BUSTS, Fault.FILLS_WRONGLY),
                *(Fault.CANCEL_LOSES, Fault.DEDUPLICATES_OPEN_ONLY),
            ]
        ),
        after=st.integers(0, 5),
        times=st.none() | st.integers(1, 3),
        delay_seconds=st.sampled_from([0.0, 30.0]),
        quantity=st.none() | _TENTHS,
        price=st.none() | _TENTHS,
    ),
    max_size=5,
)
_SETTINGS = st.builds(
    PaperSettings,
    lot=st.just(Decimal("0.1")),
    slippage_basis_points=st.sampled_from([Decimal(0), Decimal("12.5")]),
    fee_per_unit=st.sampled_from([Decimal(0), Decimal("0.0035")]),
    fee_minimum=st.sampled_from([Decimal(0), Decimal("0.35")]),
    liquidity=st.none() | _TENTHS,
)


class _Exchange:
    """A floor over books in memory, without calls or files."""

    def __init__(self, connection: sqlite3.Connection, paper: PaperSettings) -> None:
        self._connection = connection
        self._settings = paper
        self._market = Market()
        self._now = NOON
        self._day = DAY
        lay_out(connection, paper, day=DAY, cash=Decimal(20_000), at=NOON)

    def act(self, what: str, value: object) -> None:
        floor = Floor(self._connection, self._settings, self._market, self._now)
        floor.settle()
        if what == "wait":
            self._now += timedelta(seconds=int(str(value)))
        elif what == "advance":
            days = self._market.days_between(self._day, self._market.days[-1])
            if days:
                self._day = days[min(int(str(value)), len(days)) - 1]
                floor.advance(self._day)
        elif what == "cancel":
            key = str(value)
            floor.cancel(key, floor.fire(Call(Operation.CANCEL, key)))
        else:
            assert isinstance(value, OrderRequest)
            self._order(floor, value, by_hand=what == "by hand")

    @staticmethod
    def _order(floor: Floor, order: OrderRequest, *, by_hand: bool) -> None:
        if by_hand:
            floor.place_by_hand(order)
            return
        call = Call(Operation.PLACE, order.client_order_id, order.symbol, order.side)
        with suppress(KeyTaken):
            floor.place(order, floor.fire(call))


@settings(max_examples=60)
@given(paper=_SETTINGS, rules=_RULES, actions=st.lists(_ACTIONS, max_size=MAX_STEPS))
def test_cash_and_positions_are_the_sum_of_what_happened(
    paper: PaperSettings, rules: list[FaultRule], actions: list[tuple[str, object]]
) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        exchange = _Exchange(connection, paper)
        set_faults(connection, rules)

        for what, value in actions:
            exchange.act(what, value)
            books = books_of(connection)
            assert conservation_errors(books) == ()
            if not any(trade.reverses for trade in books.executions):
                # Only a bust may take back what has been spent meanwhile.
                assert books.cash >= 0
                assert all(held > 0 for held in books.positions.values())


def test_books_that_were_tampered_with_are_found_out() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        exchange = _Exchange(connection, PaperSettings())
        exchange.act("place", OrderRequest("k", "KO", Side.BUY, Decimal(10)))
        assert conservation_errors(books_of(connection)) == ()

        connection.execute("UPDATE cash SET balance = '1' WHERE number = 2")
        connection.execute("UPDATE positions SET quantity = '9'")
        connection.execute("UPDATE orders SET filled = '8'")

        cash, position, order = conservation_errors(books_of(connection))
        assert "cash is 1" in cash
        assert "position of KO is 9, executions add up to 10" in position
        assert "order k is filled by 8, its executions say 10" in order
