"""The books outlive the process, whenever and however it ends."""

import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from brokers import OrderStatus, TimeInForce
from brokers.paper import (
    BooksUnusable,
    PaperExchange,
    conservation_errors,
    read_books,
    rows,
)
from brokers.paper.books import transaction
from tests.brokers.samples import CASH, DAY, attempt, buy, limited, new_exchange

ROUNDS_OF_KILLING = 5

_CHILD = """
import sys
from decimal import Decimal
from pathlib import Path
import anyio
from brokers import OrderRequest, Side
from brokers.paper import PaperExchange

async def main() -> None:
    exchange = PaperExchange(Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        side = Side.SELL if number % 3 == 0 else Side.BUY
        key = f"{sys.argv[2]}-{number}"
        await exchange.place_order(OrderRequest(key, "KO", side, Decimal(1)))
        print(key, flush=True)

anyio.run(main)
"""


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    first = new_exchange(tmp_path)
    sent = await first.send(attempt(buy()))
    await first.send(attempt(limited(buy(), "1", TimeInForce.GTC), step=1))

    again = PaperExchange(tmp_path / "books.sqlite")

    assert await again.look_up(attempt(buy())) == sent
    assert (await again.day(), again.settings) == (DAY, first.settings)
    assert [state.status for state in await again.open_orders()] == [OrderStatus.ACCEPTED]


async def test_two_connections_share_one_account(tmp_path: Path) -> None:
    first = new_exchange(tmp_path)
    second = PaperExchange(tmp_path / "books.sqlite")

    await first.send(attempt(buy(10)))
    await second.send(attempt(buy(5), step=1))

    assert (await first.positions())[0].quantity == 15
    assert await first.account() == await second.account()


def test_a_process_killed_at_any_moment_leaves_whole_books(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    new_exchange(tmp_path)
    acknowledged: list[str] = []
    for round_number in range(ROUNDS_OF_KILLING):
        acknowledged += _killed_after(path, name=f"R{round_number}", calls=3 + 4 * round_number)

    books = read_books(path)
    keys = [order.client_order_id for order in books.orders]
    assert len(keys) == len(set(keys))
    assert set(acknowledged) <= set(keys)
    assert len(keys) <= len(acknowledged) + ROUNDS_OF_KILLING
    assert conservation_errors(books) == ()
    assert books.cash < CASH


def _killed_after(path: Path, *, name: str, calls: int) -> list[str]:
    """Let a process trade, kill it after so many answers, and return the keys that it told of."""
    command = [sys.executable, "-c", _CHILD, str(path), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(calls)]
        child.send_signal(signal.SIGKILL)
        told += [line.strip() for line in child.stdout if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    return told


def test_the_books_are_for_their_owner_alone(tmp_path: Path) -> None:
    new_exchange(tmp_path)

    assert stat.S_IMODE((tmp_path / "books.sqlite").stat().st_mode) == 0o600


def test_a_commit_is_synced_and_journalled_for_rollback(tmp_path: Path) -> None:
    new_exchange(tmp_path)

    with transaction(tmp_path / "books.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_a_call_that_fails_half_way_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = new_exchange(tmp_path)
    before = await exchange.books()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(rows, "book_cash", fail)
    with pytest.raises(sqlite3.OperationalError):
        await exchange.send(attempt(buy()))

    assert await exchange.books() == before


def test_books_that_are_not_there_are_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"

    with pytest.raises(BooksUnusable, match="is not there"):
        read_books(path)
    with pytest.raises(BooksUnusable, match="is not there"):
        PaperExchange(path)

    assert not path.exists()


def test_books_that_cannot_be_made_say_why(tmp_path: Path) -> None:
    folder = tmp_path / "missing"

    with pytest.raises(BooksUnusable, match="cannot be made: No such file or directory"):
        new_exchange(folder)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    path.write_text("symbol,quantity\n" * 100)

    with pytest.raises(BooksUnusable, match="cannot be used"):
        PaperExchange(path)


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_another_database_is_refused_and_left_as_it_was(tmp_path: Path, journal_mode: str) -> None:
    path = tmp_path / "books.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute("CREATE TABLE somebody_elses (x)")
    before = path.read_bytes()

    with pytest.raises(BooksUnusable, match="no books file"):
        read_books(path)

    assert path.read_bytes() == before
