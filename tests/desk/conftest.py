"""What the command's tests share."""

from pathlib import Path

import pytest

from tests.desk.terminal import Desk, orders_csv

SLOW = {"SAGA_PAPER__LATENCY_SECONDS": "0.7"}
"""So long takes each call of the exchange, so that a batch can be met half-way."""
ELEVEN = tuple(
    (symbol, "buy", 10)
    for symbol in ("KO", "PG", "AAPL", "MSFT", "JPM", "XOM", "WMT", "MRK", "PFE", "BAC", "CVX")
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk in a folder with a space in its name; nothing is there yet."""
    return Desk(tmp_path / "my desk")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Two orders as CSV."""
    return orders_csv(tmp_path / "two orders.csv", ("KO", "buy", 50), ("PG", "buy", 10))


@pytest.fixture
def eleven(tmp_path: Path) -> Path:
    """Eleven orders as CSV."""
    return orders_csv(tmp_path / "eleven.csv", *ELEVEN)
