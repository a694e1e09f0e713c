"""What the demo shows of a batch while it runs, and what it says when a scene is spoilt."""

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from brokers.paper import Fault, FaultRule, PaperExchange, PaperSettings
from desk.demo import performance
from desk.demo.command import run
from desk.demo.progress import Progress, count, signed
from desk.demo.report import SceneReport
from desk.demo.screen import Show
from desk.demo.stage import FAST, Spoilt, Stage, open_house
from desk.home import Home
from portfolio import Terms
from saga.events import Intended, Reported
from saga.ids import Purpose
from saga.policy import RetryPolicy
from saga.store.protocol import JournalRecord

NARROW = 60
AT_ONCE = Terms(retry=RetryPolicy(backoff_seconds=0.0))


@pytest.fixture
async def journal(tmp_path: Path) -> tuple[JournalRecord, ...]:
    """The journal of twenty buys, the last of which is refused, so that all are undone."""
    home, cash = Home(tmp_path), Decimal(1_000_000)
    PaperExchange.create(
        home.exchange, day=date(2020, 1, 2), cash=cash, settings=PaperSettings(), durable=False
    )
    async with open_house(home) as house:
        await house.main.deposit(cash)
        stocks = house.exchange.market.stocks
        rule = FaultRule(fault=Fault.REFUSES, step=len(stocks) - 1, purpose=Purpose.FORWARD)
        await house.exchange.script(rule)
        batch_id = await house.main.initialise(
            {symbol: Fraction(1, len(stocks)) for symbol in stocks}, AT_ONCE
        )
        assert (await house.main.wait(batch_id)).state == "ROLLED_BACK"
        return await house.store.journal(batch_id)


async def test_no_line_of_a_running_batch_is_wider_than_a_narrow_terminal(
    journal: tuple[JournalRecord, ...],
) -> None:
    progress = Progress()
    for record in journal:
        progress.take(record)
        for line in progress.picture(NARROW).split("\n"):
            assert line.cell_len <= NARROW, line.plain


async def test_a_batch_is_legible_without_any_sign_beyond_ascii(
    journal: tuple[JournalRecord, ...],
) -> None:
    progress = Progress()
    for record in journal:
        progress.take(record)
        assert progress.picture(NARROW, ascii_only=True).plain.isascii()


async def test_an_order_in_the_air_is_shown_as_an_interval_and_never_as_known(
    journal: tuple[JournalRecord, ...],
) -> None:
    progress = Progress()
    for record in journal:
        progress.take(record)
        shown = progress.picture(NARROW).plain
        if isinstance(record.event, Intended):
            assert "not known yet" in shown
        elif isinstance(record.event, Reported) and record.event.fills:
            assert "in the air  nothing" in shown
    assert "nothing of this batch is in place: known" in progress.picture(NARROW).plain


async def test_what_happens_is_told_in_a_traders_words(
    journal: tuple[JournalRecord, ...],
) -> None:
    progress = Progress()
    told = []
    for record in journal:
        progress.take(record)
        words = progress.words(record.event)
        if words is not None:
            told.append(words[1])
    assert sum(line.startswith("bought ") for line in told) == 19
    assert sum(line.startswith("sold back ") and ", cost " in line for line in told) == 19
    assert sum("was REFUSED: " in line for line in told) == 1
    assert sum(line.startswith("COMPENSATING, newest first, because ") for line in told) == 1


def test_numbers_are_exact_and_their_thousands_are_set_apart() -> None:
    assert count(Decimal(-12726)) == "-12,726"
    assert count(Decimal("1000.5")) == "1,000.5"
    assert count(Decimal("-0.25")) == "-0.25"
    assert signed(Decimal("1234.5")) == "+1,234.50"
    assert signed(Decimal("-0.001")) == "-0.001"


async def test_the_seed_alone_decides_what_is_drawn(tmp_path: Path) -> None:
    first, again, other = (Stage(Home(tmp_path), seed, FAST) for seed in (7, 7, 8))
    assert first.start == again.start
    assert first.chance.random() == again.chance.random()
    assert first.start != other.start


def test_a_scene_that_is_spoilt_is_said_and_the_exit_status_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def spoilt(stage: Stage, show: Show) -> SceneReport:
        raise Spoilt("the curtain fell")

    monkeypatch.setattr(performance, "IN_ORDER", (spoilt,))
    status = run(as_json=True, seed="1", keep=None, fast=True)
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert status == 1
    assert report["ok"] is False
    assert "Spoilt: the curtain fell" in report["wrong"]
    assert report["books"] is None
    assert "NOT everything was as it should be" in told.err
