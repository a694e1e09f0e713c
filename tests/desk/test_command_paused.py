"""A batch that is paused half-way: what carries it on, what stops it, and what waits behind it."""

import json
from pathlib import Path

import anyio
import pytest

from brokers.paper import PaperExchange
from desk.blocking import blocker_of, waiting_words
from saga.history import History
from tests.desk.conftest import SLOW, Invoke
from tests.desk.terminal import Desk, Running

SLOWER = {"SAGA_PAPER__LATENCY_SECONDS": "1.0"}
"""For what has to be met half-way by two processes, on a busy machine too."""


def _paused_half_way(desk: Desk, folder: Path) -> tuple[Running, str]:
    """Pause a batch with an order open at the broker; return the process that has it, and it."""
    orders = [
        {"kind": "buy", "directive_id": "EXE_1", "symbol": "KO", "quantity": "5"},
        {
            "kind": "buy",
            "directive_id": "EXE_2",
            "symbol": "PG",
            "quantity": "3",
            "limit_price": "1.00",
            "time_in_force": "GTC",
        },
    ]
    file = folder / "waits.json"
    file.write_text(json.dumps({"execution_mode": "ATOMIC", "directives": orders}))
    running = desk.start("run", file)
    batch = running.until(lambda rows: rows[0]["processed_trades"] == 1)
    batch_id = str(batch["batch_id"])
    assert desk.run("pause", batch_id, "--reason", "asking").code == 0
    return running, batch_id


@pytest.fixture
def paused(traded: Desk, tmp_path: Path) -> str:
    """A batch that is paused with an order open at the broker, and nobody carries it on."""
    running, batch_id = _paused_half_way(traded, tmp_path)
    running.process.kill()
    running.finish()
    return batch_id


def _open_orders(desk: Desk) -> int:
    async def count() -> int:
        return len(await PaperExchange(desk.home / "exchange.db").open_orders())

    return anyio.run(count)


@pytest.mark.requirement("B9", "O7")
def test_a_cancel_lifts_the_pause_says_so_and_undoes(
    traded: Desk, invoke: Invoke, paused: str
) -> None:
    done = invoke("cancel", paused, "--reason", "wrong file", "--by", "ann", "--json")

    assert "It is paused; the cancel lifts the pause, so that the undo is sent." in done.err
    assert done.code == 0, done.err
    assert done.data["batch"]["state"] == "ROLLED_BACK"
    assert done.data["in_place"] == []
    assert _open_orders(traded) == 0
    told = invoke("events", paused).out
    assert "cancel asked for by ann: wrong file" in told
    assert "unpaused by ann: the cancel by ann lifts the pause: wrong file" in told


@pytest.mark.requirement("B9", "T15")
def test_a_paused_batch_that_nobody_has_is_not_said_to_be_carried_on_by_a_run(
    invoke: Invoke, paused: str
) -> None:
    shown, listed, books = invoke("show", paused), invoke("list"), invoke("portfolio")
    checked = invoke("check")
    halted = " ".join(invoke("halt", "--reason", "stop").err.split())

    for text in (shown.out, listed.err, books.out):
        assert "`saga run` without a file" not in text
        words = " ".join(text.split())
        assert f"only `saga unpause {paused} --reason ...`" in words
        assert f"or `saga cancel {paused} --reason ...`" in words
    assert checked.code == 4
    assert "1 batch is paused and waits for a person" in checked.out
    assert f"NOTHING is being undone until `saga cancel {paused} --reason ...`" in halted


@pytest.mark.requirement("B9", "T15")
def test_carrying_on_names_what_is_paused_and_its_open_order(
    traded: Desk, invoke: Invoke, paused: str
) -> None:
    done = invoke("run")

    assert _open_orders(traded) == 1
    assert done.code == 4
    assert "Nothing is unfinished" not in done.out
    assert f"{paused} is paused (RUNNING) and waits for a person. At the broker: buy 3 PG" in (
        done.err
    )
    assert f"`saga unpause {paused} --reason ...` lets it go on" in done.err


@pytest.mark.requirement("B9", "T15")
def test_the_next_owner_says_what_else_it_carries_on(
    traded: Desk, invoke: Invoke, paused: str, orders: Path
) -> None:
    behind = traded.start("run", orders)
    said = behind.until_said("waits for BAT_")
    waiting = str(behind.until(lambda rows: rows[0]["batch_id"] != paused)["batch_id"])
    behind.process.kill()
    behind.finish()

    shown = invoke("show", waiting)
    listed = invoke("list")
    blocked_by = invoke("show", waiting, "--json").data["blocked_by"]
    done = invoke("cancel", paused, "--reason", "enough")

    words = f"waits for {paused} (paused), which runs alone on portfolio:main, to be over"
    assert words in shown.out
    assert f"{waiting} {words}." in listed.err
    assert f"{paused} paused: waits for `saga unpause`" in listed.err
    assert blocked_by == paused

    assert (
        f"{waiting} PENDING, 0 of 2 trades over; waits for {paused} (paused), which runs " in said
    )
    assert "alone on portfolio:main, to be over" in said
    assert f"This also carries on: {waiting} (PENDING; may send buy 50 KO, buy 10 PG)." in done.err
    assert done.code == 0, done.err


@pytest.mark.requirement("B9", "L1")
def test_carrying_on_does_not_wait_behind_what_waits_for_a_person(
    traded: Desk, paused: str, orders: Path
) -> None:
    behind = _waiting_behind(traded, orders, paused)

    done = traded.run("run", "-y")
    data = traded.run("run", "--json").data

    assert done.code == 4, done.err
    for batch_id in behind:
        assert (
            f"{batch_id} is not carried on: it waits for {paused} (paused), which runs alone on "
            "portfolio:main, to be over." in done.err
        )
        assert f"Carrying on {batch_id}" not in done.err
    assert "Nothing can be carried on: 1 waits for a person, and 2 behind it." in done.out
    assert [row["batch_id"] for row in data["behind"]] == behind
    assert [row["batch_id"] for row in data["waiting"]] == [paused]


def _waiting_behind(desk: Desk, orders: Path, paused: str) -> list[str]:
    """Leave two batches behind that wait for the paused one, and nobody who carries them on."""
    owner = desk.start("run", orders)
    owner.until_said("waits for BAT_")
    other = desk.start("run", orders)
    other.until(lambda rows: sum(row["state"] == "PENDING" for row in rows) == 2)
    for running in (other, owner):
        running.process.kill()
        running.finish()
    return [r["batch_id"] for r in reversed(desk.batches()) if r["state"] == "PENDING"]


@pytest.mark.requirement("B9")
def test_carrying_on_names_all_that_it_carries_on(desk: Desk, several: Path, orders: Path) -> None:
    owner = desk.start("run", several, env=SLOWER)
    owner.until(lambda rows: rows[0]["state"] == "RUNNING")
    other = desk.start("run", orders)
    other.until(lambda rows: len(rows) == 2)
    for running in (other, owner):
        running.process.kill()
        running.finish()

    done = desk.run("run", "--json")

    carried = [row["batch_id"] for row in done.data["batches"]]
    assert done.code == 0, done.err
    assert len(carried) == 2
    said = done.err.index
    assert said(f"Carrying on {carried[0]}.") < said(f"Carrying on {carried[1]}.")
    assert said(f"Carrying on {carried[1]}.") < said(f"{carried[0]} RUNNING")


@pytest.mark.requirement("B9")
def test_letting_go_on_says_what_is_left_and_what_is_open(
    traded: Desk, invoke: Invoke, paused: str
) -> None:
    done = invoke("unpause", paused, "--reason", "the broker is back", "--no-wait")

    assert f"{paused} goes on: no leg is still to be sent." in done.err
    assert "Open at the broker, and stays open and may fill: buy 3 PG" in done.err


@pytest.mark.requirement("B9", "T15")
def test_what_a_paused_batch_waits_for_is_said_in_the_desks_own_words(
    traded: Desk, paused: str
) -> None:
    async def words() -> str | None:
        async with History(traded.home / "saga.db") as history:
            row = await history.batch(paused)
            return waiting_words(row, await blocker_of(history, row))

    assert anyio.run(words) == "paused: waits for `saga unpause`"


@pytest.mark.requirement("B5", "D5")
def test_what_a_batch_would_wait_for_is_said_before_it_is_handed_in(
    traded: Desk, invoke: Invoke, orders: Path, paused: str
) -> None:
    wait = (
        f"It will wait for {paused} (RUNNING (paused), 1 of 2 trades over), which runs alone on "
        "portfolio:main, to be over; no priority lets it go first"
    )
    urgent = ("run", orders, "--priority", "HIGH")

    planned = invoke(*urgent, "--dry-run", "--json")
    shown = invoke(*urgent, "--timeout", "8", "--dry-run")
    code, asked = traded.on_terminal(*urgent, "--timeout", "8", width=300, typed="n\n")

    in_time = f"{wait}, and its 8 seconds go by meanwhile."
    assert planned.data["would_wait"] == f"{wait}."
    assert in_time in " ".join(shown.out.split())
    assert in_time in asked
    assert asked.index(in_time) < asked.index("Send it?")
    assert (planned.code, shown.code, code) == (0, 0, 1)
    assert len(traded.batches()) == 2, "nothing was handed in"


@pytest.mark.requirement("B5", "D5")
def test_nothing_is_said_of_a_wait_where_nothing_runs_on_the_portfolio(
    traded: Desk, invoke: Invoke, orders: Path
) -> None:
    assert invoke("run", orders, "--dry-run", "--json").data["would_wait"] is None
    assert "will wait" not in invoke("run", orders, "--dry-run").out


@pytest.mark.requirement("B9")
def test_who_only_watched_is_told_who_cancelled_and_what_it_cost(desk: Desk, several: Path) -> None:
    running = desk.start("run", several, env=SLOWER)
    batch = running.until(
        lambda rows: rows[0]["state"] == "RUNNING" and rows[0]["processed_trades"] > 0
    )

    desk.run("cancel", batch["batch_id"], "--reason", "too many", "--by", "ann")
    done = running.finish()

    assert f"{batch['batch_id']} was cancelled by ann: too many; its undo cost " in done.err
    assert done.code == 1


@pytest.mark.requirement("B2", "B5")
def test_a_terminal_of_eighty_columns_shows_what_a_batch_waits_for(
    desk: Desk, orders: Path
) -> None:
    code, seen = desk.on_terminal("run", orders, "--yes", width=80, env=SLOW)

    assert code == 0
    assert "waits for the answer to buy 50 KO" in seen


@pytest.mark.requirement("B9", "O7")
def test_a_halt_does_not_say_that_it_cancels_what_is_paused_nor_unpause_that_it_is_sent(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    running, batch_id = _paused_half_way(traded, tmp_path)

    halted = invoke("halt", "--reason", "prices")
    still = traded.batches()[0]
    let_go = invoke("unpause", batch_id, "--reason", "go on", "--no-wait")
    running.finish()

    assert f"{batch_id} is RUNNING: it is paused, and a halt does not cancel it: " in halted.err
    assert "NOTHING of it is undone" in halted.err
    assert still["state"] == "RUNNING"
    assert (
        f"{batch_id} sends nothing forward any more: it is cancelled, as trading is HALTED by"
        in (let_go.err)
    )
    assert "What filled is undone at the market, newest first: " in let_go.err
    assert traded.batches()[0]["status"] == "cancelled"
