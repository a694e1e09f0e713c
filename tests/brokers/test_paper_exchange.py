"""The paper exchange when it behaves: prices, limits, fees, days, checks."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from brokers import (
    Buy,
    Idempotency,
    OrderRefused,
    OrderRequest,
    OrderState,
    OrderStatus,
    Side,
    TimeInForce,
)
from brokers.paper import EXAMPLE_OPTIONS, BooksUnusable, Market, PaperExchange, PaperSettings
from brokers.paper import conservation_errors as errors_in
from brokers.paper.matching import fill_price, market_price
from saga.errors import InvalidInput
from saga.participant import KeyTaken
from tests.brokers.samples import (
    CASH,
    DAY,
    attempt,
    buy,
    limited,
    new_exchange,
    request,
    sell,
)
from tests.manual_clock import ManualClock

CLOSE = Decimal("147.879")
"""AAPL's close on DAY."""
NEXT_DAY = date(2022, 12, 2)


@pytest.fixture
def exchange(tmp_path: Path) -> PaperExchange:
    return new_exchange(tmp_path)


async def _state(exchange: PaperExchange, key: str) -> OrderState:
    state = await exchange.find_order(key)
    assert state is not None
    return state


def test_the_close_that_these_tests_count_on(exchange: PaperExchange) -> None:
    assert exchange.market.close("AAPL", DAY) == CLOSE


@pytest.mark.parametrize(
    ("side", "slippage", "tick", "price"),
    [
        (Side.BUY, "0", "0.001", "100.003"),
        (Side.SELL, "0", "0.001", "100.003"),
        (Side.BUY, "0", "0.01", "100.01"),
        (Side.SELL, "0", "0.01", "100.00"),
        (Side.BUY, "5", "0.01", "100.06"),
        (Side.SELL, "5", "0.01", "99.95"),
        (Side.SELL, "9999", "0.05", "0.05"),
    ],
)
def test_a_market_order_pays_the_slippage_rounded_against_it(
    side: Side, slippage: str, tick: str, price: str
) -> None:
    found = market_price(Decimal("100.003"), side, Decimal(slippage), Decimal(tick))

    assert found == Decimal(price)


@pytest.mark.parametrize(
    ("side", "limit", "price"),
    [
        (Side.BUY, "99.99", None),
        (Side.BUY, "100", "100"),
        (Side.BUY, "100.02", "100.02"),
        (Side.BUY, "101", "100.05"),
        (Side.SELL, "100.01", None),
        (Side.SELL, "100", "100"),
        (Side.SELL, "99", "99.95"),
    ],
)
def test_a_limit_order_fills_when_the_close_has_reached_it_and_never_worse(
    side: Side, limit: str, price: str | None
) -> None:
    found = fill_price(Decimal(100), side, Decimal(limit), Decimal(5), Decimal("0.01"))

    assert found == (None if price is None else Decimal(price))


async def test_fees_are_per_share_with_a_minimum_and_exact(tmp_path: Path) -> None:
    settings = PaperSettings(fee_per_unit=Decimal("0.0035"), fee_minimum=Decimal("0.35"))
    exchange = new_exchange(tmp_path, settings=settings)

    small = await exchange.place_order(request("small", quantity=1))
    large = await exchange.place_order(request("large", quantity=1001))

    assert [small.fills[0].fee, large.fills[0].fee] == [Decimal("0.35"), Decimal("3.5035")]
    assert (await exchange.account()).cash == CASH - 1002 * CLOSE - Decimal("3.8535")


async def test_liquidity_fills_an_order_over_several_days(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(liquidity=Decimal(40)))
    await exchange.place_order(request("gtc", quantity=100, time_in_force=TimeInForce.GTC))

    filled = [(await _state(exchange, "gtc")).filled]
    for day in exchange.market.days_between(DAY, date(2022, 12, 6)):
        await exchange.advance(day)
        filled.append((await _state(exchange, "gtc")).filled)

    assert filled == [40, 80, 100, 100]
    assert (await _state(exchange, "gtc")).status is OrderStatus.FILLED


async def test_each_day_that_passes_matches_open_orders_once(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(liquidity=Decimal(40)))
    await exchange.place_order(request("gtc", quantity=100, time_in_force=TimeInForce.GTC))

    await exchange.advance(date(2022, 12, 5))

    fills = (await _state(exchange, "gtc")).fills
    assert [fill.quantity for fill in fills] == [40, 40, 20]
    assert len({fill.price for fill in fills}) == 3


async def test_a_day_order_expires_and_a_gtc_order_stays(exchange: PaperExchange) -> None:
    await exchange.place_order(request("day", limit_price="1"))
    await exchange.place_order(request("gtc", limit_price="1", time_in_force=TimeInForce.GTC))

    await exchange.advance(NEXT_DAY)

    assert (await _state(exchange, "day")).status is OrderStatus.EXPIRED
    assert (await _state(exchange, "gtc")).status is OrderStatus.ACCEPTED


async def test_an_ioc_order_is_over_at_once(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(liquidity=Decimal(40)))

    part = await exchange.place_order(request("part", time_in_force=TimeInForce.IOC))
    none = await exchange.place_order(
        request("none", limit_price="1", time_in_force=TimeInForce.IOC)
    )

    assert (part.status, part.filled) == (OrderStatus.CANCELLED, Decimal(40))
    assert (none.status, none.filled) == (OrderStatus.CANCELLED, Decimal(0))


async def test_a_gtc_limit_fills_on_the_day_on_which_the_close_reaches_it(
    exchange: PaperExchange,
) -> None:
    later = date(2022, 12, 28)
    low = min(
        exchange.market.close("AAPL", day) for day in exchange.market.days_between(DAY, later)
    )
    await exchange.place_order(request("dip", limit_price=str(low), time_in_force=TimeInForce.GTC))

    await exchange.advance(later)

    (fill,) = (await _state(exchange, "dip")).fills
    assert fill.price == low < CLOSE


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (request("k", symbol="TSLA"), "symbol TSLA is not listed"),
        (request("k", quantity="0.5"), "quantity 0.5 is no whole number of lots of 1"),
        (request("k", quantity=0), "quantity 0 is no whole number of lots of 1"),
        (request("k", quantity=-1), "quantity -1 is no whole number of lots of 1"),
        (request("k", limit_price="1.0005"), "limit price 1.0005 is no whole number of ticks"),
        (request("k", limit_price="-1"), "limit price -1"),
        (request("k", quantity=10_000), "insufficient cash"),
        (request("k", Side.SELL), "insufficient position: 100 AAPL asked, 0 free to sell"),
        (request("k", symbol="KO"), "trading in KO is halted"),
    ],
)
async def test_what_cannot_be_is_refused_and_written_down(
    exchange: PaperExchange, order: OrderRequest, reason: str
) -> None:
    await exchange.halt("KO")

    with pytest.raises(OrderRefused) as refused:
        await exchange.place_order(order)

    assert reason in str(refused.value)
    (booked,) = (await exchange.books()).orders
    assert (booked.status, booked.filled) == (OrderStatus.REJECTED, Decimal(0))
    assert (await exchange.account()).cash == CASH


async def test_shares_and_cash_of_open_orders_cannot_be_promised_twice(
    exchange: PaperExchange,
) -> None:
    await exchange.place_order(request("buy", quantity=100))
    await exchange.place_order(request("ask", Side.SELL, 60, limit_price="9999"))
    await exchange.place_order(request("bid", quantity=9_000, limit_price="100"))

    with pytest.raises(OrderRefused, match="40 free to sell"):
        await exchange.place_order(request("ask again", Side.SELL, 41))
    with pytest.raises(OrderRefused, match="insufficient cash"):
        await exchange.place_order(request("bid again", quantity=1_000))
    await exchange.place_order(request("rest", Side.SELL, 40))


async def test_an_order_that_has_become_too_dear_is_cancelled_and_not_lent_for(
    tmp_path: Path,
) -> None:
    close = Market().close
    riser = max(Market().stocks, key=lambda s: close(s, NEXT_DAY) / close(s, DAY))
    whole_account = int(CASH / close(riser, DAY))
    one_day = PaperSettings(liquidity=Decimal(whole_account // 2 + 1))
    exchange = new_exchange(tmp_path, settings=one_day)
    await exchange.place_order(
        request("k", quantity=whole_account, symbol=riser, time_in_force=TimeInForce.GTC)
    )

    await exchange.advance(NEXT_DAY)

    state = await _state(exchange, "k")
    assert state.status is OrderStatus.CANCELLED
    assert state.reason == "insufficient cash when it was to be filled"
    assert (await exchange.account()).cash >= 0


async def test_a_halt_is_lifted(exchange: PaperExchange) -> None:
    await exchange.halt("AAPL", "KO")
    await exchange.lift_halt("AAPL")

    assert (await exchange.place_order(request("k"))).status is OrderStatus.FILLED


async def test_an_open_order_in_a_halted_symbol_waits(exchange: PaperExchange) -> None:
    await exchange.place_order(request("k", limit_price="1", time_in_force=TimeInForce.GTC))
    await exchange.halt("AAPL")

    await exchange.advance(NEXT_DAY)

    assert (await _state(exchange, "k")).status is OrderStatus.ACCEPTED


async def test_the_same_key_is_one_order_for_ever(exchange: PaperExchange) -> None:
    first = await exchange.place_order(request("k"))
    await exchange.advance(NEXT_DAY)

    assert await exchange.place_order(request("k")) == first
    with pytest.raises(KeyTaken, match="'k' names order 1, buy 100 AAPL"):
        await exchange.place_order(request("k", quantity=99))
    assert len((await exchange.books()).orders) == 1


async def test_a_venue_without_idempotency_takes_every_order(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(idempotent=Idempotency.NONE))

    for _ in range(2):
        await exchange.place_order(request("k"))

    assert len((await exchange.books()).orders) == 2


async def test_an_order_is_not_visible_before_its_time(tmp_path: Path) -> None:
    clock = ManualClock()
    exchange = new_exchange(tmp_path, clock, PaperSettings(visibility_seconds=3))
    resting = attempt(limited(buy(), "1"))
    await exchange.send(resting)

    assert await exchange.look_up(resting) is None
    clock.turn(3)

    assert await exchange.look_up(resting) is not None
    assert exchange.capabilities.visibility_seconds == 3


async def test_latency_passes_on_the_clock_that_was_given(tmp_path: Path) -> None:
    clock = ManualClock()
    exchange = new_exchange(tmp_path, clock, PaperSettings(latency_seconds=2))

    await exchange.send(attempt(buy()))
    await exchange.look_up(attempt(buy()))

    assert clock.elapsed() == 4


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"symbol": "TSLA"}, ("symbol 'TSLA'", "not listed", "AAPL")),
        ({"quantity": "0.5", "lot": "0.5"}, ("quantity 0.5", "lot", "round")),
        ({"limit_price": "1.0005"}, ("limit_price 1.0005", "tick", "round")),
    ],
)
def test_what_can_never_be_carried_out_is_refused_at_the_door(
    exchange: PaperExchange, fields: dict[str, str], said: tuple[str, ...]
) -> None:
    order = Buy.model_validate(
        {"directive_id": "EXE_7", "symbol": "AAPL", "quantity": "1"} | fields
    )

    with pytest.raises(InvalidInput) as refused:
        exchange.check(order)

    for part in (*said, "EXE_7"):
        assert part in str(refused.value)


async def test_an_odd_lot_of_a_rollback_passes_the_door_and_the_venue_decides(
    tmp_path: Path,
) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(lot=Decimal(10)))
    undo = sell(37).model_copy(update={"rollback": True})

    exchange.check(undo)
    report = await exchange.send(attempt(undo))

    assert report.reason == "quantity 37 is no whole number of lots of 10"


async def test_a_trade_by_hand_bears_no_key_of_ours(exchange: PaperExchange) -> None:
    await exchange.trade_by_hand(Side.BUY, Decimal(5), "KO")
    await exchange.trade_by_hand(Side.BUY, Decimal(5), "KO")

    assert [trade.client_order_id for trade in await exchange.trades()] == [None, None]
    with pytest.raises(OrderRefused, match="insufficient position"):
        await exchange.trade_by_hand(Side.SELL, Decimal(11), "KO")


async def test_a_deposit_adds_cash(exchange: PaperExchange) -> None:
    await exchange.deposit(Decimal("0.01"))

    assert (await exchange.account()).cash == CASH + Decimal("0.01")
    with pytest.raises(InvalidInput, match="must be positive, not 0"):
        await exchange.deposit(Decimal(0))
    assert errors_in(await exchange.books()) == ()


@pytest.mark.parametrize("day", [date(2022, 12, 4), DAY, date(2022, 11, 30), date(2023, 1, 5)])
async def test_days_pass_only_forwards_and_to_trading_days(
    exchange: PaperExchange, day: date
) -> None:
    with pytest.raises(InvalidInput, match=str(day)):
        await exchange.advance(day)

    assert await exchange.day() == DAY


async def test_synthetic_options_are_listed_where_the_settings_say_so(
    exchange: PaperExchange,
) -> None:
    (symbol, price), *_ = EXAMPLE_OPTIONS.items()

    state = await exchange.place_order(request("k", symbol=symbol))

    assert state.fills[0].price == price


async def test_accounts_are_told_apart_by_their_fingerprint(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(account="PAPER-7"))

    assert exchange.name == "paper:PAPER-7"
    assert (await exchange.account()).fingerprint == "PAPER-7"
    assert (await exchange.place_order(request("k"))).account == "PAPER-7"


def test_books_are_never_made_over_a_file(tmp_path: Path) -> None:
    new_exchange(tmp_path)

    with pytest.raises(BooksUnusable, match="there already"):
        new_exchange(tmp_path)


def test_books_begin_on_a_trading_day(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="2022-12-04"):
        PaperExchange.create(tmp_path / "books.sqlite", day=date(2022, 12, 4), cash=CASH)

    assert not (tmp_path / "books.sqlite").exists()
