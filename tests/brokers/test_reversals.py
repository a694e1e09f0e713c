"""What a venue has taken back is told by name, wherever the venue says it."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.errors import OutcomeUnknown
from brokers.paper import Fault, FaultRule, PaperExchange
from brokers.venue import OrderState
from tests.brokers.samples import attempt, buy, new_exchange
from tests.manual_clock import ManualClock


async def busted(exchange: PaperExchange, clock: ManualClock, *more: FaultRule) -> str:
    """Buy, let the exchange take it back, and return the id of the fill that is gone."""
    await exchange.script(FaultRule(fault=Fault.BUSTS, delay_seconds=1), *more)
    report = await exchange.send(attempt(buy()))
    clock.turn(1)
    return report.fills[0].fill_id


@pytest.mark.requirement("S9")
async def test_a_look_up_names_what_was_taken_back(tmp_path: Path) -> None:
    clock = ManualClock()
    exchange = new_exchange(tmp_path, clock)
    gone = await busted(exchange, clock)
    report = await exchange.look_up(attempt(buy()))
    assert report is not None
    assert (report.final, report.fills, report.reversed) == (True, (), (gone,))


@pytest.mark.requirement("S9")
async def test_a_venue_that_says_it_only_in_its_list_of_trades_is_read_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    exchange = new_exchange(tmp_path, clock)
    gone = await busted(exchange, clock)
    find = exchange.find_order

    async def find_without(key: str) -> OrderState | None:
        state = await find(key)
        return None if state is None else replace(state, reversed=())

    monkeypatch.setattr(exchange, "find_order", find_without)
    report = await exchange.look_up(attempt(buy()))
    assert report is not None
    assert report.reversed == (gone,)


@pytest.mark.requirement("S9")
@pytest.mark.parametrize("price", [None, Decimal(50)], ids=["bust", "correction"])
async def test_an_order_that_is_forgotten_and_was_taken_back_is_still_told_of(
    tmp_path: Path, price: Decimal | None
) -> None:
    clock = ManualClock()
    exchange = new_exchange(tmp_path, clock)
    await exchange.script(
        FaultRule(fault=Fault.BUSTS, delay_seconds=1, price=price),
        FaultRule(fault=Fault.FORGETS_CLOSED, times=None),
    )
    first = await exchange.send(attempt(buy()))
    clock.turn(1)
    report = await exchange.look_up(attempt(buy()))
    assert report is not None
    assert report.reversed == (first.fills[0].fill_id,)
    assert [fill.price for fill in report.fills] == ([] if price is None else [price])


@pytest.mark.requirement("S6")
async def test_a_filled_order_whose_fills_are_behind_its_trades_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    exchange = new_exchange(tmp_path, clock)
    part = FaultRule(fault=Fault.PARTIAL_THEN_FULL, quantity=Decimal(40), delay_seconds=1)
    await exchange.script(part)
    await exchange.send(attempt(buy()))
    clock.turn(1)
    find, behind = exchange.find_order, [True]

    async def find_behind(key: str) -> OrderState | None:
        state = await find(key)
        if state is None or not behind:
            return state
        return replace(state, filled=state.fills[0].quantity, fills=state.fills[:1])

    monkeypatch.setattr(exchange, "find_order", find_behind)
    with pytest.raises(OutcomeUnknown, match="40 of 100 only"):
        await exchange.look_up(attempt(buy()))
    behind.clear()
    report = await exchange.look_up(attempt(buy()))
    assert report is not None
    assert (report.final, sum(fill.quantity for fill in report.fills)) == (True, Decimal(100))
