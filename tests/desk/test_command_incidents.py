"""The broker takes a trade back after the end, and a person deals with it from the command line."""

from pathlib import Path

import anyio
import pytest

from brokers.paper import Fault, FaultRule, Operation, PaperExchange
from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk, orders_csv


@pytest.fixture
def busted(traded: Desk, invoke: Invoke, tmp_path: Path) -> str:
    """A batch that is over, one trade of which the exchange takes back right behind its answer."""
    exchange = PaperExchange(traded.home / "exchange.db")
    rule = FaultRule(fault=Fault.BUSTS, symbol="KO", delay_seconds=0)
    anyio.run(exchange.script, rule)
    orders = orders_csv(tmp_path / "more orders.csv", ("KO", "buy", 20), ("PG", "buy", 5))
    done = invoke("run", orders, "--json")
    assert done.code == 0, done.err
    return str(done.data["batch"]["batch_id"])


@pytest.mark.requirement("S9", "S10")
@pytest.mark.scenario("B-12")
def test_what_the_broker_took_back_is_looked_up_shown_and_closed(
    busted: str, invoke: Invoke
) -> None:
    looked = invoke("incident", "look", busted, "--json")
    assert looked.code == 0, looked.err
    (incident,) = looked.data["incidents"]
    assert "taken back" in incident["sentence"]
    assert incident["closed_by"] is None
    assert looked.data["batch"]["status"] == "success"
    assert invoke("incident", "look", busted, "--json").data["incidents"] == [incident]

    listed = invoke("list")
    assert "success, 1 incident" in listed.out
    assert "1 has open incidents" in listed.err
    shown = invoke("show", busted)
    assert "INCIDENT" in shown.out
    assert "holdings differ from what its end says by -20 KO" in " ".join(shown.out.split())
    assert f"saga incident close {busted}" in " ".join(shown.out.split())
    assert "LATE, found by" in invoke("events", busted).out
    books = {each["symbol"]: each for each in invoke("portfolio", "--json").data["holdings"]}
    assert books["KO"]["quantity"] == "50", "the first batch's, and no more"
    told = invoke("portfolio")
    assert told.code == 4
    assert "Portfolio main, PAPER, open incident" in told.out
    assert f"{busted} has an open incident: `saga show {busted}`" in " ".join(told.out.split())

    closed = invoke(
        *("incident", "close", busted, "--reason", "bought it again", "--action", "bought 20 KO"),
        *("--adjust", "KO,20,-1100,T-9", "--by", "ann", "--json"),
    )
    assert closed.code == 0, closed.err
    assert closed.data["incidents"][0]["closed_by"] == "ann"
    assert closed.data["batch"]["incidents"] == 0
    books = {each["symbol"]: each for each in invoke("portfolio", "--json").data["holdings"]}
    assert books["KO"]["quantity"] == "70"
    again = invoke("incident", "close", busted, "--reason", "twice")
    assert again.code != 0
    assert "no open incident" in again.err


@pytest.mark.requirement("S8", "T11")
def test_a_look_about_which_the_broker_says_nothing_is_not_told_as_one_without_news(
    traded: Desk, invoke: Invoke
) -> None:
    batch_id = str(traded.batches()[0]["batch_id"])
    exchange = PaperExchange(traded.home / "exchange.db")
    anyio.run(exchange.script, FaultRule(fault=Fault.GARBAGE, on=Operation.FIND, times=2))

    looked = invoke("incident", "look", batch_id, "--yes")

    assert looked.code == 4
    assert f"no answer that can be used came about 2 orders of {batch_id} (" in looked.err
    assert "look again once the broker answers" in looked.err
