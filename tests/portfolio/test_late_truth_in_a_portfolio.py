"""A portfolio whose broker changes its mind after the end: found, booked, and the books agree."""

from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from brokers.errors import OutcomeUnknown
from brokers.paper import Fault, FaultRule
from brokers.venue import OrderRequest, OrderState
from brokers.watcher import TradeWatcher
from portfolio import Origin, reconcile
from portfolio.audit import books_errors
from portfolio.breaks import BrokerSide, Kind, find_breaks, of_books
from saga import core
from saga.events import Adjustment
from tests.portfolio.house import AT_ONCE, House, books_equal_the_exchanges, open_house


async def busted(house: House, price: Decimal | None = None) -> str:
    """Buy, and let the exchange take it back (or correct it) at once, behind the answer."""
    await house.exchange.script(FaultRule(fault=Fault.BUSTS, delay_seconds=0.0, price=price))
    batch_id = await house.main.buy("KO", Decimal(100), terms=AT_ONCE)
    assert (await house.main.wait(batch_id)).state == "COMPLETED"
    with anyio.fail_after(20):
        while not any(t.reverses for t in await house.exchange.trades()):  # noqa: ASYNC110
            await anyio.sleep(0.005)
    return batch_id


@pytest.mark.requirement("S9", "S10", "L6")
@pytest.mark.scenario("B-12")
@pytest.mark.parametrize("price", [None, Decimal(50)], ids=["bust", "correction"])
async def test_what_is_taken_back_after_the_end_is_found_booked_and_then_explained(
    tmp_path: Path, price: Decimal | None
) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await busted(house, price)
        before = await reconcile(house.store, house.exchange)
        assert not before.agrees
        assert {trade.origin for trade in before.unbooked} == {Origin.LATE}
        (truth,) = await TradeWatcher(house.exchange, house.engine).look()
        assert len(truth.reversed) == 1
        assert len(truth.fills) == (0 if price is None else 1)
        assert (await reconcile(house.store, house.exchange)).agrees
        assert await books_equal_the_exchanges(house)
        assert await books_errors(house.store) == ()
        assert (await house.engine.batch(batch_id)).incidents == 1
    async with open_house(tmp_path) as house:
        assert await TradeWatcher(house.exchange, house.engine).look() == ()
        assert await books_errors(house.store) == ()


@pytest.mark.requirement("S10")
async def test_what_an_operator_did_about_it_by_hand_is_booked_with_the_closing(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await busted(house)
        await house.engine.look_again(batch_id, by="ann")
        records = [r async for r in house.store.records(batch_id=batch_id)]
        bought = Adjustment("KO", Decimal(100), Decimal(-5000), "T-hand")
        await house.engine.close_incidents(
            batch_id, by="ann", reason="made good", seen=records[-1].number, adjustments=(bought,)
        )
        assert await house.main.holdings() == {"KO": Decimal(100)}
        assert await books_errors(house.store) == ()


async def lost_and_filled(house: House, monkeypatch: pytest.MonkeyPatch) -> str:
    """Buy; the exchange fills it, and then answers neither that nor any question."""
    monkeypatch.setattr(core, "MAX_SILENCES", 1)
    place_order = house.exchange.place_order

    async def place(request: OrderRequest) -> OrderState:
        await place_order(request)
        raise OutcomeUnknown("the line is dead")

    async def find(key: str) -> None:
        raise OutcomeUnknown(f"the line is dead, also about {key}")

    with monkeypatch.context() as away:
        away.setattr(house.exchange, "place_order", place)
        away.setattr(house.exchange, "find_order", find)
        batch_id = await house.main.buy("KO", Decimal(100), terms=AT_ONCE)
        assert (await house.main.wait(batch_id)).state == "STALE"
    return batch_id


@pytest.mark.requirement("S9", "S10", "L6")
async def test_a_trade_that_an_operator_has_booked_is_not_booked_again_when_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await lost_and_filled(house, monkeypatch)
        (trade,) = await house.exchange.trades()
        paid = trade.quantity * trade.price + trade.fee
        by_hand = Adjustment("KO", trade.quantity, -paid, trade.fill_id)
        await house.engine.resolve(
            batch_id,
            by="ann",
            reason="it was filled",
            action="kept 100 KO",
            evidence="the exchange's list",
            adjustments=(by_hand,),
        )
        assert await books_equal_the_exchanges(house)

        (truth,) = await TradeWatcher(house.exchange, house.engine).look()

        assert [fill.fill_id for fill in truth.fills] == [trade.fill_id]
        assert await books_equal_the_exchanges(house)
        assert (await reconcile(house.store, house.exchange)).agrees
        assert await books_errors(house.store) == ()

        async def look() -> BrokerSide:
            return of_books(house.exchange.name, await house.exchange.books())

        found = await find_breaks(house.store, look)
        assert {(each.kind, each.batch_id) for each in found.breaks} == {
            (Kind.OPEN_INCIDENT, batch_id)
        }
        assert (await house.main.wait(await house.main.exit(terms=AT_ONCE))).state == "COMPLETED"
        assert await books_equal_the_exchanges(house)
