"""A whole portfolio on the real engine, store and paper exchange."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path

import anyio
import pytest

from brokers.orders import Side
from brokers.paper import Fault, FaultRule
from portfolio import (
    AlreadyInitialised,
    CannotPlan,
    FixedPrices,
    InsufficientCash,
    InsufficientShares,
    NoSuchPortfolio,
    Portfolio,
    PortfolioStale,
    Rules,
    Terms,
    exclusion_key,
)
from saga.clock import SystemClock
from saga.errors import InvalidInput, NotAllowed
from saga.events import Adjustment, Submitted
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from tests.portfolio.house import (
    AT_ONCE,
    CASH,
    House,
    books_equal_the_exchanges,
    is_stale,
    open_house,
)

LATER = date(2020, 6, 1)
SOME = {"AAPL": Fraction(1, 2), "KO": Fraction(1, 4), "PG": Fraction(1, 4)}
OTHERS = {
    "AAPL": Fraction(1, 4),
    "KO": Fraction(1, 4),
    "WMT": Fraction(1, 4),
    "XOM": Fraction(1, 4),
}


def refuse(step: int, purpose: Purpose, *, times: int | None = None) -> FaultRule:
    return FaultRule(fault=Fault.REFUSES, step=step, purpose=purpose, times=times)


async def initialised(house: House, weights: Mapping[str, Fraction] = SOME) -> None:
    row = await house.main.wait(await house.main.initialise(weights, AT_ONCE))
    assert row.state == "COMPLETED", row


async def made_stale(house: House) -> str:
    """Rebalance; the last leg is refused, and so is each undo of the first, which sold AAPL."""
    await initialised(house)
    await house.exchange.script(
        refuse(3, Purpose.FORWARD), refuse(0, Purpose.COMPENSATION, times=None)
    )
    batch_id = await house.main.rebalance(OTHERS, AT_ONCE)
    row = await house.main.wait(batch_id)
    assert row.state == "STALE", row
    await house.exchange.script()
    return batch_id


@pytest.mark.requirement("O1", "O2", "O9", "S10")
async def test_a_portfolio_of_twenty_stocks_is_bought_from_cash(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        stocks = house.exchange.market.stocks
        weights = {symbol: Fraction(1, len(stocks)) for symbol in stocks}
        batch_id = await house.main.initialise(weights, AT_ONCE)
        row = await house.main.wait(batch_id)
        assert row.state == "COMPLETED", row
        assert set(await house.main.holdings()) == set(stocks)
        assert await books_equal_the_exchanges(house)
        books = await house.main.books()
        assert books.reserved_cash == 0
        assert books.open_batches == ()
        assert Decimal(0) < books.cash < CASH * Decimal("0.03")
        operations = await house.exchange.batch_operations(batch_id)
        assert {each.directive.batch_id for each in operations.values()} == {batch_id}
        assert row.exclusion_key == exclusion_key("main")


@pytest.mark.requirement("O9", "D5")
async def test_a_rebalance_whose_late_leg_is_refused_leaves_the_holdings_as_they_were(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        await initialised(house)
        await house.exchange.advance(LATER)
        plan = await house.main.plan_rebalance(OTHERS)
        late = len(plan.trades) - 1
        await house.exchange.script(refuse(late, Purpose.FORWARD))
        holdings, cash = await house.main.holdings(), await house.main.cash()
        row = await house.main.wait(await house.main.rebalance(OTHERS, AT_ONCE))
        assert row.state == "ROLLED_BACK", row
        assert row.undone_trades == late > 2
        assert await house.main.holdings() == holdings
        assert row.undo_cost is not None
        assert row.undo_cost > 0
        assert await house.main.cash() == cash - row.undo_cost
        assert await books_equal_the_exchanges(house)
        assert not is_stale(house.main)
        assert (await house.main.books()).reserved_cash == 0


@pytest.mark.requirement("O10", "O11")
async def test_a_stale_portfolio_trades_nothing_until_an_operator_has_resolved_it(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        assert is_stale(house.main) is False
        batch_id = await made_stale(house)
        main = house.main
        assert is_stale(main) is True
        orders = len((await house.exchange.books()).orders)
        submitted = await house.store.last_sequence()
        for attempt in (
            main.buy("KO", Decimal(1)),
            main.sell("KO", Decimal(1)),
            main.initialise(SOME),
            main.rebalance(SOME),
            main.exit(),
            main.withdraw(Decimal(1)),
        ):
            with pytest.raises(PortfolioStale, match="retry or resolve that batch") as raised:
                await attempt
            assert raised.value.batch_id == batch_id
            assert batch_id in str(raised.value)
        assert await house.store.last_sequence() == submitted
        assert len((await house.exchange.books()).orders) == orders

        sold = next(t for t in await house.engine.trades(batch_id) if t.symbol == "AAPL")
        left = sold.done - sold.undone
        by_hand = await house.exchange.trade_by_hand(Side.BUY, left, "AAPL")
        paid = sum((f.quantity * f.price + f.fee for f in by_hand.fills), Decimal(0))
        await house.engine.resolve(
            batch_id,
            by="ada",
            reason="bought back at the venue's screen",
            action=f"bought {left} AAPL",
            evidence="ticket 17",
            adjustments=(Adjustment("AAPL", left, -paid, by_hand.fills[0].fill_id),),
        )
        assert await main.why_stale() == ()
        assert is_stale(main) is False
        assert await books_equal_the_exchanges(house)
        row = await main.wait(await main.rebalance(OTHERS, AT_ONCE))
        assert row.state == "COMPLETED"
        assert await books_equal_the_exchanges(house)


@pytest.mark.requirement("O10", "B11")
async def test_staleness_outlives_the_process_and_ends_with_a_retry_that_succeeds(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        holdings = {"before": dict[str, Decimal]()}
        batch_id = await made_stale(house)
        holdings["before"] = await house.main.holdings()
    async with open_house(tmp_path) as house:
        assert is_stale(house.main) is False  # as far as it knows before it has looked
        assert await house.main.holdings() == holdings["before"]
        assert is_stale(house.main) is True
        assert [mark.batch_id for mark in await house.main.why_stale()] == [batch_id]
        await house.engine.retry(batch_id, by="ada", reason="the exchange takes orders again")
        row = await house.main.wait(batch_id)
        assert row.state == "ROLLED_BACK"
        assert is_stale(house.main) is False
        assert await books_equal_the_exchanges(house)


@pytest.mark.requirement("O11")
async def test_a_batch_that_comes_by_another_door_is_refused_by_the_books_themselves(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        await made_stale(house)
        batch = Batch.model_validate(
            {
                "directives": [
                    {
                        "kind": "buy",
                        "directive_id": "EXE_1",
                        "symbol": "KO",
                        "quantity": "1",
                        "reference_price": "50",
                    }
                ],
                "execution_mode": "ATOMIC",
                "exclusion_key": exclusion_key("main"),
            }
        )
        with pytest.raises(PortfolioStale):
            await house.engine.submit(batch)
        assert await house.store.journal(batch.batch_id) == ()


async def test_a_stale_portfolio_still_takes_deposits(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await made_stale(house)
        before = await house.main.cash()
        await house.main.deposit(Decimal(1000))
        assert await house.main.cash() == before + 1000


@pytest.mark.requirement("B6")
async def test_two_batches_cannot_spend_the_same_cash(tmp_path: Path) -> None:
    async with open_house(tmp_path, cash=Decimal(10_000)) as house:
        main = house.main
        # A limit far below the market stays open, and so does its reservation.
        resting = await main.buy("KO", Decimal(100), limit_price=Decimal(30), terms=AT_ONCE)
        books = await main.books()
        assert books.cash == 10_000
        assert books.reserved_cash == Decimal("3001.5")  # 100 at 30, 0.005 each and 1
        with pytest.raises(InsufficientCash, match=f"open batches: {resting}") as raised:
            await main.buy("KO", Decimal(150))
        assert raised.value.free == Decimal("6998.5")
        with pytest.raises(InsufficientCash, match="deposit cash"):
            await main.withdraw(Decimal(7000))
        await main.deposit(Decimal(1000))  # it does not wait for the batch
        assert (await main.books()).free_cash == Decimal("7998.5")
        await house.engine.cancel(resting, by="ada", reason="it rests too long")
        assert (await main.wait(resting)).state == "ROLLED_BACK"
        assert (await main.books()).free_cash == 11_000
        await main.withdraw(Decimal(1000))
        assert (await main.wait(await main.buy("KO", Decimal(150)))).state == "COMPLETED"


@pytest.mark.requirement("B6", "B11")
async def test_a_reservation_outlives_the_process_and_plans_leave_it_alone(tmp_path: Path) -> None:
    async with open_house(tmp_path, cash=Decimal(10_000)) as house:
        resting = await house.main.buy("KO", Decimal(100), limit_price=Decimal(30), terms=AT_ONCE)
    async with open_house(tmp_path) as house:
        assert (await house.main.books()).free_cash == Decimal("6998.5")
        assert (await house.main.plan_rebalance({"PG": Decimal(1)})).equity == Decimal("6998.5")
        await house.engine.cancel(resting, by="ada", reason="it rests too long")
        await house.main.wait(resting)
        assert (await house.main.books()).free_cash == 10_000


@pytest.mark.scenario("F5")
@pytest.mark.requirement("B6")
async def test_two_batches_cannot_sell_the_same_shares(tmp_path: Path) -> None:
    async with open_house(tmp_path, cash=Decimal(10_000)) as house:
        main = house.main
        await main.wait(await main.buy("KO", Decimal(100), terms=AT_ONCE))
        resting = await main.sell("KO", Decimal(60), limit_price=Decimal(90), terms=AT_ONCE)
        assert (await main.books()).holdings["KO"].reserved == 60
        with pytest.raises(InsufficientShares, match="sells 41 KO") as raised:
            await main.sell("KO", Decimal(41))
        assert (raised.value.symbol, raised.value.free) == ("KO", Decimal(40))
        with pytest.raises(InsufficientShares):
            await main.sell("PG", Decimal(1))
        await house.engine.cancel(resting, by="ada", reason="no longer wanted")
        await main.wait(resting)
        assert (await main.wait(await main.sell("KO", Decimal(41)))).state == "COMPLETED"


@pytest.mark.requirement("S9")
async def test_a_fill_that_is_told_twice_changes_the_books_once(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.exchange.script(FaultRule(fault=Fault.DUPLICATES, on="place", times=None))
        await initialised(house)
        await house.exchange.script()
        assert await books_equal_the_exchanges(house)
        assert len(await house.main.ledger()) == 1 + len(SOME)


@pytest.mark.requirement("S10", "O7")
async def test_only_what_was_filled_is_booked_and_undone(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        rule = FaultRule(fault=Fault.PARTIAL_THEN_SILENCE, symbol="KO", quantity=Decimal(7))
        await house.exchange.script(rule)
        batch_id = await house.main.buy("KO", Decimal(100), terms=AT_ONCE)
        while not await house.main.holdings():
            await _one_look(house, batch_id)
        books = await house.main.books()
        assert books.holdings["KO"].quantity == 7
        assert books.holdings["KO"].free == 0  # what a running batch bought is its own
        await house.engine.cancel(batch_id, by="ada", reason="the rest never fills")
        row = await house.main.wait(batch_id)
        assert row.state == "ROLLED_BACK"
        assert await house.main.holdings() == {}
        assert await books_equal_the_exchanges(house)
        assert [entry.kind for entry in await house.main.ledger()] == ["transfer", "trade", "undo"]


async def _one_look(house: House, batch_id: str) -> None:
    async for record in house.engine.events(batch_id=batch_id):
        if record.event.kind == "reported":
            return


@pytest.mark.requirement("E11")
async def test_an_emergency_exit_sells_everything(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await initialised(house)
        row = await house.main.wait(await house.main.exit(["KO"]))
        assert (row.state, row.priority, row.mode) == ("COMPLETED", "HIGH", "ATOMIC")
        row = await house.main.wait(await house.main.exit(terms=Terms(ExecutionMode.PARALLEL)))
        assert row.state == "COMPLETED"
        assert await house.main.holdings() == {}
        assert await books_equal_the_exchanges(house)
        with pytest.raises(CannotPlan, match="nothing is free to be sold of any symbol"):
            await house.main.exit()


@pytest.mark.requirement("B6", "E11")
async def test_an_exit_from_everything_passes_over_what_another_batch_may_need_and_says_so(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        main = house.main
        await initialised(house)
        held = await main.holdings()
        terms = Terms(ExecutionMode.SEQUENTIAL)
        resting = [
            await main.sell("KO", held["KO"], limit_price=Decimal(900), terms=terms),
            # It waits for the first, and needs its share all the same.
            await main.sell("PG", Decimal(1), limit_price=Decimal(900), terms=terms),
        ]
        before = await main.books()
        assert before.free_shares("KO") == 0
        with pytest.raises(CannotPlan, match="nothing is free to be sold of KO in portfolio"):
            await main.exit(["AAPL", "KO"])
        assert (await main.books()).open_batches == before.open_batches

        leaving = await main.exit(
            terms=Terms(ExecutionMode.PARALLEL, metadata={"reason": "FLASH_CRASH"})
        )

        (submitted, *_) = await house.store.journal(leaving)
        assert isinstance(submitted.event, Submitted)
        batch = submitted.event.batch
        assert batch.model_dump()["metadata"] == {
            "reason": "FLASH_CRASH",
            "left_out": {"KO": str(held["KO"]), "PG": "1"},
        }
        assert [(each.subject, each.amount) for each in batch.directives] == [
            ("AAPL", held["AAPL"]),
            ("PG", held["PG"] - 1),
        ]
        with pytest.raises(CannotPlan, match="nothing is free to be sold of AAPL, KO, PG"):
            await main.exit()
        for batch_id in resting:
            await house.engine.cancel(batch_id, by="ada", reason="no longer wanted")
        assert (await main.wait(leaving)).state == "COMPLETED"
        assert await main.holdings() == {"KO": held["KO"], "PG": Decimal(1)}


async def test_an_exit_needs_no_price_but_the_last(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await initialised(house)
        blind = Portfolio("main", house.engine, house.exchange, prices=FixedPrices({}))
        assert (await blind.wait(await blind.exit())).state == "COMPLETED"
        with pytest.raises(CannotPlan, match="price of KO is missing"):
            await blind.buy("KO", Decimal(1))


async def test_a_portfolio_that_holds_something_is_not_initialised_again(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await initialised(house)
        with pytest.raises(AlreadyInitialised, match="rebalance it instead"):
            await house.main.initialise(SOME)
        house.main.rules = Rules(drift_band=Decimal("0.01"))
        with pytest.raises(CannotPlan, match="nothing is to be traded"):
            await house.main.rebalance(SOME)


def twins(house: House) -> tuple[Portfolio, Portfolio]:
    """Return two objects of one portfolio, as two requests of a desk may have them."""
    return house.main, Portfolio("main", house.engine, house.exchange, prices=house.main._prices)


async def at_the_same_moment(*calls: Callable[[], Awaitable[str]]) -> list[str | Exception]:
    """Return what each call returned or raised, those that were carried out first."""
    told: list[str | Exception] = []

    async def one(call: Callable[[], Awaitable[str]]) -> None:
        try:
            told.append(await call())
        except NotAllowed as error:
            told.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)
    return sorted(told, key=lambda each: isinstance(each, Exception))


@pytest.mark.requirement("B6", "O9")
async def test_a_portfolio_is_initialised_once_however_often_it_is_asked_for_at_once(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        weights = {"AAPL": Decimal("0.4")}
        done, refused = await at_the_same_moment(
            *(partial(each.initialise, weights, AT_ONCE) for each in twins(house))
        )
        assert isinstance(done, str)
        assert isinstance(refused, AlreadyInitialised)
        await house.main.wait(done)
        assert CASH * Decimal("0.6") <= await house.main.cash() < CASH * Decimal("0.62")


@pytest.mark.requirement("B6", "O9")
async def test_a_rebalance_plans_with_what_one_that_came_just_before_leaves_free(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        weights = {"AAPL": Decimal("0.4")}
        first, second = await at_the_same_moment(
            *(partial(each.rebalance, weights, AT_ONCE) for each in twins(house))
        )
        assert isinstance(first, str)
        assert isinstance(second, str)
        for batch_id in (first, second):
            assert (await house.main.wait(batch_id)).state == "COMPLETED"
        assert CASH * Decimal("0.36") <= await house.main.cash() < CASH * Decimal("0.39")


@pytest.mark.requirement("B6", "E11")
async def test_no_share_is_sold_twice_by_two_exits_at_once(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await initialised(house)
        done, refused = await at_the_same_moment(
            *(partial(each.exit, terms=Terms(ExecutionMode.PARALLEL)) for each in twins(house))
        )
        assert isinstance(done, str)
        assert isinstance(refused, InsufficientShares)
        assert (await house.main.wait(done)).state == "COMPLETED"
        assert await house.main.holdings() == {}
        assert await books_equal_the_exchanges(house)


async def test_planning_submits_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        before = await house.store.last_sequence()
        plan = await house.main.plan_rebalance(SOME)
        assert [trade.side for trade in plan.trades] == [Side.BUY] * 3
        assert await house.store.last_sequence() == before


async def test_books_are_opened_by_the_first_deposit_in_their_currency(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        other = Portfolio("other", house.engine, house.exchange, prices=house.main._prices)
        with pytest.raises(NoSuchPortfolio, match="open them with a deposit"):
            await other.buy("KO", Decimal(1))
        with pytest.raises(NoSuchPortfolio):
            await other.withdraw(Decimal(1))
        await other.deposit(Decimal("0.01"))
        assert await other.cash() == Decimal("0.01")
        other.currency = "EUR"
        with pytest.raises(InvalidInput, match=r"moves EUR, but portfolio 'other' is kept in USD"):
            await other.deposit(Decimal(1))
        assert await other.cash() == Decimal("0.01")
        assert await house.main.cash() == CASH


@pytest.mark.parametrize("cash", [Decimal(0), Decimal(-1), Decimal("NaN"), 0.5])
async def test_a_wrong_deposit_is_refused(tmp_path: Path, cash: Decimal) -> None:
    async with open_house(tmp_path) as house:
        with pytest.raises(InvalidInput, match="cash: "):
            await house.main.deposit(cash)


@pytest.mark.parametrize(
    ("symbol", "quantity"), [("KO", Decimal(0)), ("KO", Decimal("1.5")), ("KO", 1.0)]
)
async def test_a_wrong_order_is_refused(tmp_path: Path, symbol: str, quantity: Decimal) -> None:
    async with open_house(tmp_path) as house:
        with pytest.raises(InvalidInput, match="quantity"):
            await house.main.buy(symbol, quantity)
        with pytest.raises(InvalidInput, match="NOPE is not listed"):
            await house.main.buy("NOPE", Decimal(1))


async def test_a_portfolio_needs_a_name_that_a_key_can_bear(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        with pytest.raises(CannotPlan, match="portfolio name 'a b'"):
            Portfolio("a b", house.engine, house.exchange, prices=house.main._prices)


async def test_its_batches_bear_the_ids_and_the_times_that_it_was_handed(tmp_path: Path) -> None:
    """Whoever owns time and chance, as a simulation does, gets the same batches again."""
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    ids = [f"BAT_20261121_120000_given{number}" for number in range(3)]
    made = iter(ids)

    class Noon(SystemClock):
        def now(self) -> datetime:
            return noon

    async with open_house(tmp_path) as house:
        owner = Portfolio(
            "handed",
            house.engine,
            house.exchange,
            prices=FixedPrices({"AAPL": Decimal(100)}),
            clock=Noon(),
            new_id=lambda: next(made),
        )
        told = [await owner.deposit(Decimal(1000)), await owner.withdraw(Decimal(1))]
        told.append(await owner.buy("AAPL", Decimal(1), terms=AT_ONCE))
        await owner.wait(told[-1])
        journals = [await house.store.journal(each) for each in told]
        assert told == ids
        begun = [journal[0].event for journal in journals]
        assert [each.batch.created_at for each in begun if isinstance(each, Submitted)] == [
            noon
        ] * 3
        timed = Portfolio(
            "handed", house.engine, house.exchange, prices=FixedPrices({}), clock=Noon()
        )
        assert (await timed.deposit(Decimal(1))).startswith("BAT_20261121_120000_")
