"""Real prices: the daily closes of 20 US stocks, 1990 to 2022, and whatever else is listed.

A close is parsed from its text into an exact `Decimal` when it is asked for. Other symbols, such as
the options of the examples, can be listed at a fixed price. This module knows no order and no
account.
"""

import gzip
from bisect import bisect_right
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from saga.errors import InvalidInput

DATA_FILE: Final = "sp500-20-stocks-daily.csv.gz"
DATA_SHA256: Final = "ee21cac28befb1d0a739a9ceb22184f995394726aa0cfde9a21941d1ac04ac0d"

EXAMPLE_OPTIONS: Final[Mapping[str, Decimal]] = MappingProxyType(
    {
        "AAPL-20221216-C150": Decimal("4.85"),
        "AAPL-20221216-C160": Decimal("1.92"),
        "AAPL-20221216-P130": Decimal("2.14"),
        "AAPL-20221216-P120": Decimal("0.97"),
    }
)
"""Synthetic options for the example of a spread, at made-up prices that never change."""


class Market:
    """Which symbols are listed, on which days they trade, and at which close.

    Args:
        listed: further symbols, each with its fixed price in US dollars.

    Raises:
        InvalidInput: a further symbol is one of the stocks already.
    """

    def __init__(self, listed: Mapping[str, Decimal] | None = None) -> None:
        stocks, self._days, self._lines = _table()
        self._columns = {symbol: column for column, symbol in enumerate(stocks, start=1)}
        self._fixed = dict(listed or {})
        for symbol in self._fixed:
            if symbol in self._columns:
                raise InvalidInput(
                    f"symbol {symbol} is a listed stock; list the other by its own name"
                )

    @property
    def stocks(self) -> tuple[str, ...]:
        """The symbols with real prices, in alphabetical order."""
        return tuple(self._columns)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every listed symbol."""
        return (*self._columns, *self._fixed)

    @property
    def days(self) -> tuple[date, ...]:
        """Every trading day, in order."""
        return self._days

    def close(self, symbol: str, day: date) -> Decimal:
        """Return the close in US dollars per share (or contract).

        Raises:
            InvalidInput: the symbol is not listed, or the day is no trading day.
        """
        line = self._lines[self._place_of(day)]
        if symbol in self._fixed:
            return self._fixed[symbol]
        if symbol not in self._columns:
            raise InvalidInput(
                f"symbol {symbol} is not listed; listed are {', '.join(self.symbols)}"
            )
        return Decimal(line.split(",")[self._columns[symbol]])

    def trading_day(self, wanted: date) -> date:
        """Return the last trading day that is not after `wanted`.

        Raises:
            InvalidInput: the data begins later.
        """
        place = bisect_right(self._days, wanted)
        if place == 0:
            raise InvalidInput(f"day {wanted} is before the first trading day, {self._days[0]}")
        return self._days[place - 1]

    def days_between(self, after: date, until: date) -> tuple[date, ...]:
        """Return the trading days behind `after`, up to and with `until`."""
        return self._days[bisect_right(self._days, after) : bisect_right(self._days, until)]

    def _place_of(self, day: date) -> int:
        place = bisect_right(self._days, day) - 1
        if place < 0 or self._days[place] != day:
            raise InvalidInput(
                f"day {day} is not a trading day between {self._days[0]} and {self._days[-1]}; "
                "take one from Market.trading_day"
            )
        return place


def data() -> bytes:
    """Return the packaged file as it stands, compressed."""
    return (resources.files("brokers.paper") / "data" / DATA_FILE).read_bytes()


@cache
def _table() -> tuple[tuple[str, ...], tuple[date, ...], tuple[str, ...]]:
    """Return symbols, days, and one line of text for each day; the lines stay text until needed."""
    header, *lines = gzip.decompress(data()).decode("ascii").splitlines()
    days = tuple(date.fromisoformat(line.partition(",")[0]) for line in lines)
    return tuple(header.split(",")[1:]), days, tuple(lines)
