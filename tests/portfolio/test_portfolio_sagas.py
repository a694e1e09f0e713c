"""A whole portfolio on the real engine, store and paper exchange."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from house import AT_ONCE, CASH, books_equal_the_exchanges, open_house
from saga.views import BatchRow

LATER = date(2020, 6, 1)


@pytest.mark.requirement("O1", "O2", "O9", "S10")
async def test_a_portfolio_of_twenty_stocks_is_bought_from_cash(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        stocks = house.exchange.market.stocks
        weights = {symbol: Fraction(1, len(stocks)) for symbol in stocks}
        row: BatchRow = await house.main.wait(await house.main.initialise(weights, AT_ONCE))
        assert row.state == "COMPLETED", row
        assert set(await house.main.holdings()) == set(stocks)
        assert await books_equal_the_exchanges(house)
        books = await house.main.books()
        assert books.reserved_cash == 0
        assert books.open_batches == ()
        assert Decimal(0) < books.cash < CASH * Decimal("0.03")
