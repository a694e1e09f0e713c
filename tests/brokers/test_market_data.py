"""The real closes, as they are packaged."""

import hashlib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import brokers.paper
from brokers.paper import EXAMPLE_OPTIONS, Market
from brokers.paper.market import DATA_SHA256, data
from saga.errors import InvalidInput


def test_the_packaged_prices_are_the_ones_that_the_licence_note_names() -> None:
    note = (Path(brokers.paper.__file__).parent / "data" / "LICENSE.md").read_text()

    assert hashlib.sha256(data()).hexdigest() == DATA_SHA256
    assert DATA_SHA256 in note
    assert "BSD 3-Clause" in note
    assert "The skfolio developers" in note


def test_a_close_is_exactly_what_the_file_says() -> None:
    market = Market()

    assert market.close("AAPL", date(1990, 1, 2)) == Decimal("0.264")
    assert market.close("XOM", date(2022, 12, 28)) == Decimal("106.627")
    assert (len(market.days), len(market.stocks)) == (8313, 20)


def test_every_close_is_a_positive_decimal() -> None:
    market = Market()

    for day in market.days[:: len(market.days) // 50]:
        assert all(market.close(symbol, day) > 0 for symbol in market.stocks)


def test_a_weekend_falls_back_to_the_friday_before() -> None:
    assert Market().trading_day(date(2022, 12, 4)) == date(2022, 12, 2)


@pytest.mark.parametrize("day", [date(2022, 12, 4), date(1989, 12, 29), date(2023, 1, 3)])
def test_a_day_without_trading_is_refused_by_name(day: date) -> None:
    with pytest.raises(InvalidInput, match=str(day)):
        Market().close("AAPL", day)


def test_an_unknown_symbol_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="symbol TSLA is not listed; listed are AAPL, AMD"):
        Market().close("TSLA", date(2022, 12, 1))


def test_a_day_before_the_data_is_refused() -> None:
    with pytest.raises(InvalidInput, match="before the first trading day, 1990-01-02"):
        Market().trading_day(date(1989, 1, 1))


def test_further_symbols_have_a_fixed_price() -> None:
    market = Market(EXAMPLE_OPTIONS)

    prices = {market.close("AAPL-20221216-C150", day) for day in market.days[::1000]}
    assert prices == {Decimal("4.85")}


def test_a_stock_cannot_be_listed_a_second_time() -> None:
    with pytest.raises(InvalidInput, match="AAPL"):
        Market({"AAPL": Decimal(1)})
