"""What brokers export: which rows are trades, and what they say; the others, and why not.

An export tells of trades that were made. Taken as a batch, each is to be made again, as a market
order: the price of that day is gone. Formats as of the public samples in the tests.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from brokers.orders import Side

Record = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade of an export; `quantity` is the text as it stands, without a sign."""

    symbol: str
    side: Side
    quantity: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A broker's format.

    Attributes:
        name: for people.
        columns: by which it is known.
        quantity: the column of the quantity, for complaints.
        newest_first: the last trade stands first.
        read: gives the trade of a row, or why it is none.
    """

    name: str
    columns: frozenset[str]
    quantity: str
    newest_first: bool
    read: Callable[[Record], Trade | str]


_SIDE_OF_WORD: Final = {"buy": Side.BUY, "sell": Side.SELL}
_TRADING212_TRADE: Final = re.compile(r"(?:market|limit|stop|stop limit) (buy|sell)", re.IGNORECASE)
_US_NUMBER: Final = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")


def _trading212(record: Record) -> Trade | str:
    action = record["Action"]
    match = _TRADING212_TRADE.fullmatch(action)
    if match is None:
        return f"{action or 'an empty action'!s} is no trade"
    side = _SIDE_OF_WORD[match.group(1).lower()]
    return Trade(record["Ticker"], side, _unpadded(record["No. of shares"]))


def _schwab(record: Record) -> Trade | str:
    side = _SIDE_OF_WORD.get(record["Action"].lower())
    if side is None:
        return f"{record['Action'] or 'an empty action'} is no purchase or sale of shares"
    quantity = record["Quantity"]
    if _US_NUMBER.fullmatch(quantity):  # Its numbers are always written the American way.
        quantity = quantity.replace(",", "")
    return Trade(record["Symbol"], side, quantity)


def _ibkr_flex(record: Record) -> Trade | str:
    kind = record["TransactionType"]
    if kind != "ExchTrade":
        return f"{kind or 'an empty transaction type'} is no trade at an exchange"
    asset = record.get("AssetClass", "STK")
    if asset != "STK":
        return f"asset class {asset} is no stock"
    side = _SIDE_OF_WORD.get(record["Buy/Sell"].lower())
    if side is None:
        return f"{record['Buy/Sell'] or 'an empty side'} is neither BUY nor SELL"
    return Trade(record["Symbol"], side, record["Quantity"].removeprefix("-"))


def _unpadded(number: str) -> str:
    """`0.0290530000` says `0.029053`; a number without a point stays as it is."""
    return number.rstrip("0").rstrip(".") if "." in number else number


LAYOUTS: Final = (
    Layout(
        "Trading 212",
        frozenset({"Action", "Ticker", "No. of shares", "Price / share"}),
        "No. of shares",
        newest_first=False,
        read=_trading212,
    ),
    Layout(
        "Schwab",
        frozenset({"Date", "Action", "Symbol", "Quantity", "Fees & Comm"}),
        "Quantity",
        newest_first=True,
        read=_schwab,
    ),
    Layout(
        "IBKR Flex",
        frozenset({"Symbol", "TransactionType", "Quantity", "Buy/Sell"}),
        "Quantity",
        newest_first=False,
        read=_ibkr_flex,
    ),
)


def layout_of(names: tuple[str, ...]) -> Layout | None:
    """Return the broker's format that has these columns; None if it is none that is known."""
    return next((each for each in LAYOUTS if each.columns <= set(names)), None)
