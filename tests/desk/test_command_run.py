"""`saga run` as a user meets it: files, streams, exit statuses, dry runs."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from brokers import Side, TimeInForce
from brokers.paper import PaperExchange
from saga.model import parse_batch
from saga.orchestrator import Orchestrator
from saga.store.sqlite import SqliteStore
from tests.brokers.samples import request
from tests.desk.conftest import Invoke
from tests.desk.terminal import EXAMPLES, REPOSITORY, Desk, orders_csv


@pytest.mark.requirement("T4", "B4", "B5")
def test_a_csv_file_becomes_a_batch_that_is_done(desk: Desk, orders: Path) -> None:
    done = desk.run("run", orders, "--json")

    assert done.code == 0, done.err
    assert done.data["batch"]["status"] == "success"
    assert done.data["account"] == "PAPER"
    assert [trade["done"] for trade in done.data["trades"]] == ["50", "10"]
    assert done.data["metadata"] == {"source": "two orders.csv"}
    assert "New PAPER account" in done.err
    assert "No real money is traded" in done.err


@pytest.mark.requirement("B1", "B2")
def test_people_get_a_table_on_stdout_and_progress_on_stderr(desk: Desk, orders: Path) -> None:
    done = desk.run("run", orders)

    assert done.code == 0
    assert "✓ success" in done.out
    assert "In place: what this batch has changed of the holdings" in done.out
    assert "COMPLETED, 2 of 2 trades over" in done.err
    assert "COMPLETED, 2 of 2" not in done.out
    assert "\x1b" not in done.out + done.err, "no colour off a terminal"


@pytest.mark.requirement("T4")
def test_orders_come_from_stdin_with_options_that_a_csv_cannot_say(desk: Desk) -> None:
    options = ("--mode", "SEQUENTIAL", "--priority", "HIGH", "--timeout", "30", "--json")
    done = desk.run("run", "-", *options, text="symbol,side,quantity\nKO,buy,5\n")

    batch = done.data["batch"]
    assert (batch["mode"], batch["priority"]) == ("SEQUENTIAL", "HIGH")
    assert batch["deadline"] is not None


@pytest.mark.requirement("T4")
def test_json_comes_from_stdin_as_well(desk: Desk) -> None:
    batch = {
        "execution_mode": "ATOMIC",
        "directives": [{"kind": "buy", "directive_id": "EXE_1", "symbol": "KO", "quantity": "5"}],
    }

    done = desk.run("run", "-", "--json", text=json.dumps(batch))

    assert done.code == 0, done.err
    assert done.data["batch"]["total_trades"] == 1


@pytest.mark.requirement("E8", "S16")
def test_the_same_file_with_an_id_is_one_saga_however_often_it_is_handed_in(
    desk: Desk, tmp_path: Path
) -> None:
    order = {"kind": "buy", "directive_id": "EXE_1", "symbol": "KO", "quantity": "5"}
    batch = {
        "batch_id": "BAT_20261121_093000_k3v9x",
        "execution_mode": "ATOMIC",
        "directives": [order],
    }
    file = tmp_path / "batch.json"
    file.write_text(json.dumps(batch))

    first = desk.run("run", file, "--json")
    again = desk.run("run", file, "--json")

    assert (first.code, again.code) == (0, 0), again.err
    assert again.data == first.data
    file.write_text(json.dumps({**batch, "directives": [{**order, "quantity": "6"}]}))
    other = desk.run("run", file)
    assert other.code == 2
    assert "is taken by a batch with other content" in other.err


@pytest.mark.requirement("E9")
def test_an_undo_budget_below_zero_is_one_sentence_with_status_2(
    desk: Desk, invoke: Invoke, orders: Path
) -> None:
    done = invoke("run", orders, "--undo-budget", "-1")

    assert done.code == 2
    assert "--undo-budget: " in done.err
    assert "unexpected" not in done.err
    assert len(done.err.splitlines()) == 1
    assert desk.batches() == []


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "bad.json: "),
        ("[]", "bad.json: "),
        ('{"execution_mode":"ATOMIC","directives":[]}', "directives list cannot be empty"),
        (
            '{"execution_mode":"ATOMIC","directives":[{"kind":"buy","directive_id":"EXE_1",'
            '"symbol":"KO","quantity":1.5}]}',
            "is a float, which is not exact",
        ),
        (
            '{"execution_mode":"ATOMIC","directives":[{"kind":"buy","directive_id":"EXE_1",'
            '"symbol":"NOPE","quantity":"1"}]}',
            "symbol 'NOPE' of directive EXE_1 is not listed on paper:PAPER-1",
        ),
        (
            '{"execution_mode":"ATOMIC","directives":[{"kind":"dance","directive_id":"EXE_1"}]}',
            "dance",
        ),
    ],
)
def test_bad_input_is_one_sentence_with_status_2_and_nothing_is_stored(
    desk: Desk, invoke: Invoke, tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)

    done = invoke("run", file, "--json")

    assert done.code == 2
    assert words in done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert desk.batches() == []


@pytest.mark.requirement("S10")
def test_a_batch_that_would_trade_beside_the_books_is_refused(
    desk: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    order = {"kind": "buy", "directive_id": "EXE_1", "symbol": "KO", "quantity": "5"}
    batch = {"execution_mode": "ATOMIC", "directives": [order], "exclusion_key": "mine"}
    file = tmp_path / "batch.json"
    file.write_text(json.dumps(batch))

    done = invoke("run", file)

    assert done.code == 2
    assert "names no portfolio, so that its trades would be in no books" in done.err


@pytest.mark.requirement("O11")
def test_what_the_portfolio_does_not_hold_is_not_sold(
    desk: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    file = orders_csv(tmp_path / "sell.csv", ("KO", "sell", 5))

    done = invoke("run", file)

    assert done.code == 6
    assert "sells 5 KO at worst, but portfolio 'main' has 0 free" in done.err
    assert done.err.splitlines()[-1].startswith("saga: ")


@pytest.mark.requirement("D5")
def test_a_dry_run_shows_each_inverse_and_what_a_death_after_each_leg_costs(
    desk: Desk, invoke: Invoke, orders: Path
) -> None:
    done = invoke("run", orders, "--dry-run", "--json")

    assert done.code == 0, done.err
    first, second = done.data["legs"]
    assert (first["leg"], first["inverse"]) == ("buy 50 KO", "sell 50 KO")
    assert first["after"]["exposure"] == {"KO": "50"}
    assert second["after"]["exposure"] == {"KO": "50", "PG": "10"}
    assert second["after"]["exposure_known"] is True
    assert second["after"]["worst_undo_known"] is False
    # 50 shares at 62.826, bought 0.5 % dearer and sold 1 % cheaper: 47.1195; and fees of
    # 0.005 a share and 1 an order, each way: 2.50.
    assert first["after"]["worst_undo"] == "49.6195"
    assert not desk.home.exists(), "a dry run leaves nothing"


@pytest.mark.requirement("D5")
def test_a_dry_run_refuses_what_a_run_would_refuse(
    desk: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    file = orders_csv(tmp_path / "odd.csv", ("NOPE", "buy", 5))

    done = invoke("run", file, "--dry-run")

    assert done.code == 2
    assert "is not listed" in done.err


@pytest.mark.requirement("B9")
def test_a_run_without_a_file_and_without_a_store_says_what_to_give(
    desk: Desk, invoke: Invoke
) -> None:
    done = invoke("run")

    assert done.code == 2
    assert "FILE is missing" in done.err
    assert not desk.home.exists()


@pytest.mark.requirement("T4")
def test_a_brokers_export_tells_which_rows_were_left_out(desk: Desk, invoke: Invoke) -> None:
    done = invoke("run", REPOSITORY / "tests/desk/data/schwab.csv", "--dry-run")

    assert "Schwab: 2 rows are no trade, left out:" in done.err
    assert "line 4: MoneyLink Transfer" in done.err
    assert done.code == 2, "these symbols are not listed on the paper exchange"


@pytest.mark.requirement("E11", "T16")
@pytest.mark.parametrize(
    ("example", "mode", "trades"),
    [
        ("emergency_exit", "ATOMIC", 5),
        ("rebalance", "ATOMIC", 10),
        ("hedge", "SEQUENTIAL", 2),
        ("options_spread", "ATOMIC", 4),
    ],
)
def test_an_example_runs_end_to_end_from_its_file(
    desk: Desk, invoke: Invoke, example: str, mode: str, trades: int
) -> None:
    opened = invoke("run", EXAMPLES / "holdings.csv", "--json")
    assert opened.code == 0, opened.err

    done = invoke("run", EXAMPLES / f"{example}.json", "--json")

    assert done.code == 0, done.err
    assert done.data["batch"]["mode"] == mode
    assert [trade["status"] for trade in done.data["trades"]] == ["success"] * trades
    checked = invoke("check", "--json")
    assert (checked.code, checked.data["findings"]) == (0, [])


@pytest.mark.requirement("E11", "T16")
def test_twenty_open_orders_are_cancelled_at_once_from_the_file(desk: Desk, invoke: Invoke) -> None:
    assert invoke("run", EXAMPLES / "holdings.csv").code == 0
    anyio.run(_twenty_open_orders, desk)

    done = invoke("run", EXAMPLES / "bulk_cancel.json", "--json")

    assert done.code == 0, done.err
    assert [trade["status"] for trade in done.data["trades"]] == ["success"] * 20


async def _twenty_open_orders(desk: Desk) -> None:
    exchange = PaperExchange(desk.home / "exchange.db")
    for number in range(1, 21):
        key = f"DESK-ORDER-{number:02}"
        await exchange.place_order(request(key, Side.BUY, 1, "KO", "1.00", TimeInForce.GTC))


@pytest.mark.requirement("D5", "O11")
def test_a_dry_run_says_that_the_portfolio_would_refuse_and_why(
    desk: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    file = orders_csv(tmp_path / "sell.csv", ("KO", "sell", 5))

    for_people = invoke("run", file, "--dry-run")
    as_json = invoke("run", file, "--dry-run", "--json")

    assert (for_people.code, as_json.code) == (6, 6)
    last = for_people.err.splitlines()[-1]
    assert last.startswith("saga: It would be refused: quantity: batch BAT_")
    assert "sells 5 KO at worst, but portfolio 'main' has 0 free" in last
    assert "sell 5 KO" in for_people.out, "the plan is shown all the same"
    assert "portfolio 'main' has 0 free" in as_json.data["would_be_refused"]
    assert not desk.home.exists()


@pytest.mark.requirement("D5", "O11")
def test_a_dry_run_counts_what_is_held_and_names_a_portfolio_that_is_not_there(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    file = orders_csv(tmp_path / "sell.csv", ("KO", "sell", 5))
    dear = orders_csv(tmp_path / "dear.csv", ("KO", "buy", 100_000))

    assert invoke("run", file, "--dry-run").code == 0
    refused = invoke("run", dear, "--dry-run")
    nowhere = invoke("run", file, "--dry-run", "--portfolio", "other")

    assert refused.code == 6
    assert "It would be refused: cash: batch BAT_" in refused.err
    assert nowhere.code == 2
    assert "It would be refused: portfolio 'other' has no books" in nowhere.err
    ran = invoke("run", file, "--portfolio", "other")
    assert ran.code == nowhere.code, ran.err


@pytest.mark.requirement("B5", "O11")
def test_a_refused_run_names_no_batch_as_its_own_and_says_what_is_left(
    desk: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    file = orders_csv(tmp_path / "sell.csv", ("KO", "sell", 5))

    first = invoke("run", file)
    again = invoke("run", file)

    assert (first.code, again.code) == (6, 6)
    assert not [line for line in again.err.splitlines() if line.startswith("PAPER BAT_")]
    assert first.err.rstrip().endswith(
        f"nothing was sent; the new PAPER account in {desk.home} stays"
    )
    assert again.err.rstrip().endswith("; nothing was stored or sent")


@pytest.mark.requirement("E9")
def test_a_store_that_another_program_made_gets_no_account(
    desk: Desk, invoke: Invoke, orders: Path
) -> None:
    desk.home.mkdir()
    anyio.run(_store_of_another_program, desk.home / "saga.db")

    alone = invoke("run", orders)
    carried = invoke("run")
    PaperExchange.create(desk.home / "exchange.db", day=date(2022, 12, 1), cash=Decimal(1))
    beside = invoke("run", orders)

    assert (alone.code, carried.code, beside.code) == (5, 5, 5)
    assert "was not made by this command: exchange.db is not beside it" in alone.err
    assert "it has batches, but no portfolio's books" in beside.err
    assert "Nothing was changed in it" in carried.err


async def _store_of_another_program(path: Path) -> None:
    exchange = PaperExchange.create(
        path.parent / "other.db", day=date(2022, 12, 1), cash=Decimal(1000)
    )
    order = {"kind": "buy", "directive_id": "EXE_1", "symbol": "KO", "quantity": "1"}
    batch = parse_batch(json.dumps({"execution_mode": "SEQUENTIAL", "directives": [order]}))
    async with Orchestrator(SqliteStore(path), [exchange]) as engine:
        await engine.run(batch)


@pytest.mark.requirement("T4")
@pytest.mark.parametrize("mode", ["PARALLEL", "SEQUENTIAL", "ATOMIC"])
def test_a_csv_can_be_completed_forward_in_every_mode(
    desk: Desk, invoke: Invoke, orders: Path, mode: str
) -> None:
    options = ("--mode", mode, "--on-failure", "complete_forward", "--timeout", "60", "--json")

    done = invoke("run", orders, *options)

    assert done.code == 0, done.err
    assert (done.data["batch"]["mode"], done.data["on_failure"]) == (mode, "complete_forward")


@pytest.mark.requirement("B2", "T4")
@pytest.mark.parametrize(
    ("option", "fails"),
    [
        ((), "1 of its 2 legs is undone if it fails"),
        (("--on-failure", "keep"), "what fills stays"),
    ],
)
def test_what_is_undone_if_it_fails_is_said_as_it_was_asked_for(
    traded: Desk, invoke: Invoke, tmp_path: Path, option: tuple[str, ...], fails: str
) -> None:
    legs = [
        {"kind": "buy", "directive_id": f"EXE_{symbol}", "symbol": symbol, "quantity": "1"}
        for symbol in ("KO", "PG")
    ]
    batch = {
        "execution_mode": "PARALLEL",
        "rollback_on_failure": True,
        "rollback_only": ["EXE_KO"],
        "directives": legs,
    }
    file = tmp_path / "some.json"
    file.write_text(json.dumps(batch))

    done = invoke("run", file, *option)

    assert done.code == 0, done.err
    assert "2 to buy for about " in done.err
    assert f"; {fails}." in done.err
