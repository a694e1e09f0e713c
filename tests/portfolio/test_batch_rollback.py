"""`batch_rollback(batch_uuid) -> bool` on the real engine, whatever state the batch is in."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.engine_register import undo_batch_id
from brokers.paper import Fault, FaultRule
from brokers.register import OperationStatus
from portfolio import InsufficientShares
from saga.errors import NoSuchBatch
from saga.ids import Purpose
from saga.model import ExecutionMode
from tests.portfolio.house import (
    AT_ONCE,
    CASH,
    House,
    books_equal_the_exchanges,
    is_stale,
    open_house,
)


async def bought(house: House, quantity: int = 100) -> str:
    batch_id = await house.main.buy("KO", Decimal(quantity), terms=AT_ONCE)
    assert (await house.main.wait(batch_id)).state == "COMPLETED"
    return batch_id


@pytest.mark.requirement("O5", "O6", "O7", "O9")
async def test_a_completed_batch_is_undone_by_a_batch_of_inverses_that_names_it(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await bought(house)
        assert await house.main.rollback(batch_id) is True
        assert await house.main.holdings() == {}
        assert await books_equal_the_exchanges(house)
        undo = await house.engine.batch(undo_batch_id(batch_id, 1))
        assert (undo.state, undo.mode, undo.parent_id) == ("COMPLETED", "ATOMIC", batch_id)


@pytest.mark.requirement("O6")
async def test_a_deposit_is_undone_by_a_withdrawal(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await house.main.deposit(Decimal(1000))
        assert await house.main.rollback(batch_id) is True
        assert await house.main.rollback(batch_id) is True
        assert await house.main.cash() == CASH


@pytest.mark.requirement("O6")
async def test_undoing_twice_undoes_once(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await bought(house)
        assert await house.exchange.batch_rollback(batch_id) is True
        assert await house.exchange.batch_rollback(batch_id) is True
        assert len((await house.exchange.books()).orders) == 2


@pytest.mark.requirement("O6", "O7")
async def test_an_undo_that_is_refused_says_so_and_can_be_tried_again(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await bought(house)
        await house.exchange.script(FaultRule(fault=Fault.REFUSES, symbol="KO", times=3))
        assert await house.main.rollback(batch_id) is False
        assert await house.main.holdings() == {"KO": Decimal(100)}
        assert len((await house.exchange.books()).orders) == 1 + 3  # at least three attempts
        assert await house.main.rollback(batch_id) is True
        assert await house.main.holdings() == {}
        assert await books_equal_the_exchanges(house)


@pytest.mark.requirement("O7")
async def test_a_running_batch_is_cancelled_and_undone(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await house.main.buy("KO", Decimal(9), limit_price=Decimal(30), terms=AT_ONCE)
        assert await house.main.rollback(batch_id) is True
        assert (await house.engine.batch(batch_id)).state == "ROLLED_BACK"
        assert await house.main.rollback(batch_id) is True


@pytest.mark.requirement("O7")
async def test_a_running_batch_that_keeps_what_it_did_is_cancelled_and_then_undone(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        rule = FaultRule(fault=Fault.PARTIAL_THEN_SILENCE, quantity=Decimal(4))
        await house.exchange.script(rule)
        batch_id = await house.main.buy(
            "KO", Decimal(9), terms=replace(AT_ONCE, mode=ExecutionMode.SEQUENTIAL)
        )
        async for record in house.engine.events(batch_id=batch_id):
            if record.event.kind == "reported":
                break
        assert await house.main.rollback(batch_id) is True
        assert await house.main.holdings() == {}
        assert await books_equal_the_exchanges(house)


@pytest.mark.requirement("O6", "O10")
async def test_a_stale_batch_is_tried_again_and_the_answer_is_the_truth(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await bought(house)
        rules = (
            FaultRule(fault=Fault.REFUSES, symbol="PG"),
            FaultRule(fault=Fault.REFUSES, purpose=Purpose.COMPENSATION, times=6),
        )
        await house.exchange.script(*rules)
        batch_id = await house.main.rebalance({"PG": Decimal("0.5")}, AT_ONCE)
        assert (await house.main.wait(batch_id)).state == "STALE"
        assert await house.main.rollback(batch_id) is False
        assert is_stale(house.main) is True
        assert await house.main.rollback(batch_id) is True
        assert is_stale(house.main) is False
        assert await house.main.holdings() == {"KO": Decimal(100)}
        operations = await house.exchange.batch_operations(batch_id)
        assert [each.rollback for each in operations.values()] == [True, False]
        assert [each.status for each in operations.values()] == [
            OperationStatus.SUCCESS,
            OperationStatus.ERROR,
        ]


async def test_what_was_bought_and_sold_since_cannot_be_undone(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await bought(house)
        await house.main.wait(await house.main.sell("KO", Decimal(1), terms=AT_ONCE))
        with pytest.raises(InsufficientShares, match="sells 100 KO"):
            await house.main.rollback(batch_id)


@pytest.mark.requirement("O3")
async def test_an_unknown_batch_is_an_error(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        with pytest.raises(NoSuchBatch):
            await house.exchange.batch_rollback("BAT_20261121_093000_k3v9x")
        with pytest.raises(NoSuchBatch):
            await house.exchange.batch_operations("BAT_20261121_093000_k3v9x")
