"""What the command's tests share."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.desk.terminal import Desk, Done, call, orders_csv

Invoke = Callable[..., Done]
"""Runs the command in this process."""

SLOW = {"SAGA_PAPER__LATENCY_SECONDS": "0.8"}
"""So long takes each call of the exchange, so that a batch can be met half-way."""
SEVERAL = tuple((symbol, "buy", 10) for symbol in ("KO", "PG", "AAPL", "MSFT", "JPM", "XOM", "WMT"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk in a folder with a space in its name; nothing is there yet."""
    return Desk(tmp_path / "my desk")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Two orders as CSV."""
    return orders_csv(tmp_path / "two orders.csv", ("KO", "buy", 50), ("PG", "buy", 10))


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Seven orders as CSV."""
    return orders_csv(tmp_path / "several.csv", *SEVERAL)


@pytest.fixture
def invoke(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Invoke:
    """Run the command in this process, which is quick; for what needs no process of its own."""

    def invoke(*words: str | Path) -> Done:
        return call(desk.home, monkeypatch, capsys, *map(str, words))

    return invoke


@pytest.fixture(scope="session")
def traded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a desk that has traded one batch of two orders."""
    folder = tmp_path_factory.mktemp("traded")
    orders = orders_csv(folder / "two orders.csv", ("KO", "buy", 50), ("PG", "buy", 10))
    done = Desk(folder / "desk").run("run", orders)
    assert done.code == 0, done.err
    return folder / "desk"


@pytest.fixture
def traded(desk: Desk, traded_once: Path) -> Desk:
    """A desk of its own that has traded one batch of two orders."""
    shutil.copytree(traded_once, desk.home)
    return desk
