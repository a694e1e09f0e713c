"""A deposit or a withdrawal is booked when the call returns, or it says why it was not."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from portfolio import TransferNotBooked
from portfolio import portfolio as portfolio_module
from tests.portfolio.house import CASH, open_house


@pytest.mark.requirement("S10")
async def test_a_transfer_that_the_trading_state_refuses_is_an_error_that_says_so(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        await house.engine.reduce(by="ops", reason="drift")
        for transfer in (house.main.withdraw, house.main.deposit):
            with pytest.raises(
                TransferNotBooked, match=r"of 5000 USD was not .*REDUCING"
            ) as raised:
                await transfer(Decimal(5000))
            assert raised.value.batch_id is not None
            assert (await house.engine.batch(raised.value.batch_id)).outcome == "FAILED"
        assert await house.main.cash() == CASH
        await house.engine.activate(by="ops", reason="looked into")
        await house.main.withdraw(Decimal(5000))
        assert await house.main.cash() == CASH - 5000


@pytest.mark.requirement("S10")
async def test_a_transfer_while_trading_is_halted_is_refused_at_once_and_stores_nothing(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        await house.engine.halt(by="ops", reason="fire drill")
        before = await house.store.last_sequence()
        for transfer in (house.main.withdraw, house.main.deposit):
            with anyio.fail_after(20), pytest.raises(TransferNotBooked, match="fire drill") as told:
                await transfer(Decimal(1))
            assert told.value.batch_id is None
        assert await house.store.last_sequence() == before
        assert await house.main.cash() == CASH


@pytest.mark.requirement("S10")
async def test_a_transfer_that_is_overtaken_by_a_halt_ends_and_is_not_booked_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio_module, "HALT_LOOK_SECONDS", 0.05)
    async with open_house(tmp_path) as house:
        submit = house.engine.submit

        async def halted_meanwhile(*batch: Any, **said: Any) -> str:
            await house.engine.halt(by="ops", reason="fire drill")
            return await submit(*batch, **said)

        with monkeypatch.context() as meanwhile, anyio.fail_after(20):
            meanwhile.setattr(house.engine, "submit", halted_meanwhile)
            with pytest.raises(TransferNotBooked, match="cancelled") as raised:
                await house.main.deposit(Decimal(7))
        await house.engine.activate(by="ops", reason="over")
        assert raised.value.batch_id is not None
        assert (await house.engine.batch(raised.value.batch_id)).outcome == "CANCELLED"
        await house.main.deposit(Decimal(1))
        assert await house.main.cash() == CASH + 1
