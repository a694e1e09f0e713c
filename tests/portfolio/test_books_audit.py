"""The books follow from the journal, whatever the exchange does; where not, it is seen."""

import sqlite3
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from brokers.paper import Fault, FaultRule, conservation_errors
from portfolio import books_errors, reconcile
from portfolio.errors import CannotPlan, InsufficientCash
from saga.events import Adjustment
from saga.ids import Purpose
from tests.portfolio.house import AT_ONCE, House, books_equal_the_exchanges, open_house

SYMBOLS = ("AAPL", "KO", "PG", "WMT", "XOM")
ROUNDS = 6


def random_rule(random: Random) -> FaultRule:
    return FaultRule(
        fault=random.choice((Fault.REFUSES, Fault.REFUSES, Fault.FILLS_WRONGLY, Fault.DUPLICATES)),
        on="place",
        symbol=random.choice(SYMBOLS),
        purpose=random.choice((None, Purpose.COMPENSATION)),
        after=random.randrange(3),
        times=random.choice((1, 2, 5)),
    )


async def one_round(house: House, random: Random) -> None:
    await house.exchange.script(*(random_rule(random) for _ in range(random.randrange(4))))
    parts = {symbol: random.randrange(4) for symbol in SYMBOLS}
    weights = {symbol: Fraction(part, sum(parts.values()) or 1) for symbol, part in parts.items()}
    with suppress(CannotPlan, InsufficientCash):
        await house.main.wait(await house.main.rebalance(weights, AT_ONCE))


async def resolved_by_hand(house: House) -> None:
    """Give back the truth about a stale batch: nothing was done by hand, so nothing is adjusted."""
    await house.exchange.script()
    for mark in await house.main.why_stale():
        await house.engine.resolve(
            mark.batch_id,
            by="ada",
            reason="what is left is wanted",
            action="none",
            evidence="the exchange's own list",
        )


@pytest.mark.requirement("S9", "S10")
@pytest.mark.parametrize("seed", range(8))
async def test_books_journal_and_exchange_agree_after_any_misfortune(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    async with open_house(tmp_path) as house:
        for _ in range(ROUNDS):
            await one_round(house, random)
            assert await books_errors(house.store) == ()
            assert await books_equal_the_exchanges(house)
            assert (await reconcile(house.store, house.exchange)).agrees
            await resolved_by_hand(house)
        assert not conservation_errors(await house.exchange.books())
        books = await house.main.books()
        assert (books.open_batches, books.stale) == ((), ())
        assert books.reserved_cash == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE portfolio_books SET cash = '1'",
            "'main' has cash 1.00, its ledger adds up to",
        ),
        (
            "UPDATE portfolio_holdings SET quantity = '7'",
            "'main' holds 7 KO, its ledger adds",
        ),
        ("DELETE FROM portfolio_ledger WHERE symbol = 'KO'", "is in no books"),
        ("UPDATE portfolio_ledger SET cash = '5' WHERE symbol = 'KO'", "booked otherwise"),
        ("UPDATE portfolio_ledger SET fill_id = 'X' WHERE symbol = 'KO'", "not in the journal"),
        (
            "INSERT INTO portfolio_reservations VALUES ('BAT_X', 'main', '5', '0')",
            "BAT_X: reservation differs: open batches of 'main' have it in excess",
        ),
        (
            "INSERT INTO portfolio_stale VALUES ('BAT_X', 'main', 'why', 0)",
            "BAT_X: reservation differs: stale batches of 'main' have it in excess",
        ),
    ],
)
async def test_books_that_were_altered_are_seen(tmp_path: Path, statement: str, said: str) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(10), terms=AT_ONCE))
        assert await books_errors(house.store) == ()
    connection = sqlite3.connect(tmp_path / "saga.db")
    connection.execute(statement)
    connection.commit()
    connection.close()
    async with open_house(tmp_path) as house:
        assert any(said in error for error in await books_errors(house.store))


async def test_an_adjustment_is_expected_as_the_resolution_says_it(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.main.wait(await house.main.buy("KO", Decimal(10), terms=AT_ONCE))
        await house.exchange.script(
            FaultRule(fault=Fault.REFUSES, symbol="PG"),
            FaultRule(fault=Fault.REFUSES, purpose=Purpose.COMPENSATION, times=None),
        )
        batch_id = await house.main.rebalance({"PG": Decimal("0.5")}, AT_ONCE)
        assert (await house.main.wait(batch_id)).state == "STALE"
        assert await books_errors(house.store) == ()
        twice = (Adjustment("KO", Decimal(5), Decimal(-250)),) * 2
        await house.engine.resolve(
            batch_id, by="ada", reason="done", action="two trades", evidence="17", adjustments=twice
        )
        assert (await house.main.holdings())["KO"] == 10
        assert await books_errors(house.store) == ()
