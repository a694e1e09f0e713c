"""What the broker did against what the books say."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.orders import Side
from brokers.paper import Fault, FaultRule
from brokers.venue import Account, OrderRequest, Trade
from portfolio import Difference, Origin, Reconciliation, reconcile
from portfolio.books import LedgerEntry
from portfolio.reconcile import compare
from saga.events import Adjustment
from saga.exact import ONE, ZERO
from saga.ids import Purpose, attempt_key
from tests.portfolio.house import AT_ONCE, House, open_house

BATCH = "BAT_20261121_120000_abcdefgh"
TEN = Decimal(10)


async def compared(house: House) -> Reconciliation:
    return await reconcile(house.store, house.exchange)


async def bought(house: House) -> str:
    batch_id = await house.main.buy("KO", Decimal(100), terms=AT_ONCE)
    assert (await house.main.wait(batch_id)).state == "COMPLETED"
    return batch_id


@pytest.mark.requirement("S10")
async def test_books_that_only_sagas_changed_agree(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await bought(house)
        await house.main.rollback(await bought(house))
        found = await compared(house)
        assert found.agrees
        assert found == Reconciliation(3, (), (), ())


@pytest.mark.scenario("C19")
@pytest.mark.requirement("S10")
async def test_a_trade_that_no_saga_made_is_external_and_never_taken_for_ours(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        await bought(house)
        by_hand = await house.exchange.trade_by_hand(Side.SELL, Decimal(30), "KO")
        found = await compared(house)
        assert not found.agrees
        assert found.matched == 1
        (trade,) = found.external
        assert (trade.symbol, trade.side, trade.quantity) == ("KO", Side.SELL, Decimal(30))
        assert (trade.price, trade.trade_id) == (by_hand.fills[0].price, by_hand.fills[0].fill_id)
        assert trade.explained_by is None
        shares, cash = found.differences
        assert shares == Difference("KO", Decimal(100), Decimal(70), Decimal(-30))
        assert shares.unexplained == 0
        assert cash.symbol is None
        assert cash.unexplained == 0
        assert await house.main.holdings() == {"KO": Decimal(100)}


async def test_an_order_with_somebody_else_s_key_is_external_too(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.exchange.place_order(OrderRequest("other-desk-1", "KO", Side.BUY, Decimal(5)))
        (trade,) = (await compared(house)).external
        assert trade.client_order_id == "other-desk-1"


async def test_a_key_of_our_form_that_no_batch_of_ours_made_is_late(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        key = "20261121_093000_k3v9x-0F1"
        await house.exchange.place_order(OrderRequest(key, "KO", Side.BUY, Decimal(5)))
        found = await compared(house)
        (trade,) = found.late
        assert (trade.client_order_id, trade.origin) == (key, Origin.LATE)
        assert found.external == ()
        assert not found.agrees


async def test_a_trade_that_is_taken_back_after_the_end_is_reported(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.exchange.script(FaultRule(fault=Fault.BUSTS))
        await bought(house)
        (trade,) = (found := await compared(house)).late
        assert trade.reverses == (await house.main.ledger())[-1].fill_id
        assert [each.unexplained for each in found.differences] == [0, 0]
        assert not found.agrees


async def test_cash_that_the_books_do_not_know_of_is_unexplained(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.exchange.deposit(Decimal(7))
        (cash,) = (await compared(house)).differences
        assert (cash.symbol, cash.unexplained) == (None, Decimal(7))


@pytest.mark.requirement("S10", "O10")
async def test_a_trade_that_a_resolution_names_is_explained_by_it(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await bought(house)
        await house.exchange.script(
            FaultRule(fault=Fault.REFUSES, symbol="PG"),
            FaultRule(fault=Fault.REFUSES, purpose=Purpose.COMPENSATION, times=None),
        )
        batch_id = await house.main.rebalance({"PG": Decimal("0.5")}, AT_ONCE)
        assert (await house.main.wait(batch_id)).state == "STALE"
        by_hand = (await house.exchange.trade_by_hand(Side.BUY, Decimal(100), "KO")).fills[0]
        assert not (await compared(house)).agrees
        paid = by_hand.quantity * by_hand.price + by_hand.fee
        await house.engine.resolve(
            batch_id,
            by="ada",
            reason="bought back by hand",
            action="bought 100 KO",
            evidence="ticket 17",
            adjustments=(Adjustment("KO", Decimal(100), -paid, by_hand.fill_id),),
        )
        found = await compared(house)
        assert found.agrees
        (trade,) = found.external
        assert trade.explained_by == batch_id
        await house.exchange.deposit(Decimal(7))
        (cash,) = (await compared(house)).differences
        assert (cash.by_trades, cash.unexplained) == (Decimal(0), Decimal(7))


async def test_a_trade_of_a_running_batch_that_nobody_told_us_yet_is_in_flight(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await house.main.buy("KO", Decimal(9), limit_price=Decimal(30), terms=AT_ONCE)
        key = batch_id.removeprefix("BAT_") + "-7F1"
        await house.exchange.place_order(OrderRequest(key, "KO", Side.BUY, Decimal(5)))
        found = await compared(house)
        assert [trade.origin for trade in found.unbooked] == [Origin.IN_FLIGHT]
        await house.engine.cancel(batch_id, by="ada", reason="enough")
        await house.main.wait(batch_id)
        assert [trade.origin for trade in (await compared(house)).unbooked] == [Origin.LATE]


async def test_entries_that_the_broker_lists_twice_are_one_trade(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await bought(house)
        await house.exchange.script(FaultRule(fault=Fault.DUPLICATES, on="list", times=None))
        assert (await compared(house)).agrees


def test_fills_that_each_order_numbers_for_itself_are_told_apart() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    first, second, third = (attempt_key(BATCH, step, Purpose.FORWARD, 1) for step in range(3))
    ledger = [
        LedgerEntry(BATCH, "trade", key, "1", "KO", TEN, ONE, ZERO, -TEN, None, at)
        for key in (first, second)
    ]
    ledger.append(
        LedgerEntry(BATCH, "reversal", first, None, "KO", -TEN, ONE, ZERO, TEN, None, at, "1")
    )
    trades = [
        Trade(number, "1", key, "KO", Side.BUY, TEN, ONE, ZERO, at)
        for number, key in enumerate((first, second, third), start=1)
    ]
    trades += [
        Trade(4, "x1", first, "KO", Side.SELL, TEN, ONE, ZERO, at, reverses="1"),
        Trade(5, "x2", second, "KO", Side.SELL, TEN, ONE, ZERO, at, reverses="1"),
    ]
    found = compare([], ledger, trades, [], Account(ZERO, "USD", "paper"))
    assert found.matched == 3
    assert [(each.client_order_id, each.trade_id) for each in found.unbooked] == [
        *((third, "1"), (second, "x2")),
    ]


def by_hand(batch_id: str, reference: str, shares: Decimal, symbol: str = "KO") -> LedgerEntry:
    return LedgerEntry(
        *(batch_id, "adjustment", None, None, symbol, shares, None, ZERO, -shares, reference, AT),
    )


AT = datetime(2026, 11, 21, tzinfo=UTC)
FIRST, SECOND = (attempt_key(BATCH, step, Purpose.FORWARD, 1) for step in range(2))
FOREIGN = attempt_key("BAT_20261121_120000_zzzzzzzz", 0, Purpose.FORWARD, 1)


@pytest.mark.requirement("S9", "S10", "O10")
@pytest.mark.parametrize(
    ("keys", "ledger", "explained"),
    [
        (("hand-1", "hand-2"), [by_hand(BATCH, "1", TEN)], ["hand-1"]),
        ((FIRST, SECOND), [by_hand(BATCH, "1", TEN)], [FIRST]),
        ((FIRST, SECOND), [by_hand("BAT_A", "1", TEN), by_hand(BATCH, "1", TEN)], [FIRST]),
        (("hand-1", SECOND), [by_hand(BATCH, "1", TEN)], [SECOND]),
        (("hand-1", "hand-2"), [by_hand("BAT_A", "1", TEN), by_hand(BATCH, "1", TEN)], None),
        ((None, FOREIGN), [by_hand(BATCH, "1", TEN)], [None]),
        ((FOREIGN,), [by_hand(BATCH, "1", TEN)], []),
        (("hand-1",), [by_hand(BATCH, "1", TEN, "PG")], []),
        (("hand-1",), [by_hand(BATCH, "1", -TEN)], []),
        (("hand-1",), [by_hand(BATCH, "1", TEN), by_hand(BATCH, "1", -TEN)], []),
        (("hand-1",), [by_hand(BATCH, "1", ONE)], ["hand-1"]),
    ],
    ids=[
        "one of two",
        "one of two of ours",
        "another batch's is none of ours",
        "ours before others",
        "one each",
        "the one without a key",
        "another batch's",
        "another symbol",
        "the other way",
        "taken back",
        "other figures",
    ],
)
def test_what_was_booked_by_hand_explains_one_trade_with_its_id_and_no_other(
    keys: tuple[str | None, ...], ledger: list[LedgerEntry], explained: list[str | None] | None
) -> None:
    trades = [
        Trade(number, "1", key, "KO", Side.BUY, TEN, ONE, ZERO, AT)
        for number, key in enumerate(keys, start=1)
    ]
    found = compare([], ledger, trades, [], Account(ZERO, "USD", "paper"))
    told = [each.client_order_id for each in found.unbooked if each.explained_by is not None]
    assert told == (list(keys) if explained is None else explained)


@pytest.mark.requirement("S10")
def test_of_two_trades_with_an_id_that_was_booked_by_hand_the_one_like_it_is_explained() -> None:
    trades = [
        Trade(1, "1", "hand-1", "KO", Side.BUY, ONE, ONE, ZERO, AT),
        Trade(2, "1", "hand-2", "KO", Side.BUY, TEN, TEN, ZERO, AT),
        Trade(3, "1", "hand-3", "KO", Side.BUY, TEN, ONE, ZERO, AT),
    ]
    ledger = [by_hand(BATCH, "1", TEN)]
    found = compare([], ledger, trades, [], Account(ZERO, "USD", "paper"))
    assert [each.explained_by for each in found.unbooked] == [None, None, BATCH]


@pytest.mark.requirement("S9", "S10")
def test_a_fill_that_was_taken_back_may_be_gone_from_the_broker_s_list_and_no_other() -> None:
    ledger = [
        LedgerEntry(BATCH, "trade", key, "1", "KO", TEN, ONE, ZERO, -TEN, None, AT)
        for key in (FIRST, SECOND)
    ]
    reversal = LedgerEntry(
        *(BATCH, "reversal", FIRST, None, "KO", -TEN, ONE, ZERO, TEN, None, AT, "1")
    )
    found = compare([], [*ledger, reversal], [], [], Account(ZERO, "USD", "paper"))
    assert found.unknown_to_broker == (ledger[1],)
    gone = compare([], [ledger[0], reversal], [], [], Account(ZERO, "USD", "paper"))
    assert gone.agrees
