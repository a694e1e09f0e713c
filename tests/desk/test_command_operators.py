"""A rollback that fails, and what an operator does about it, from the command line alone."""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from brokers import Side
from brokers.paper import Fault, FaultRule, PaperExchange
from desk.session import Session
from desk.wiring import open_desk
from saga.ids import Purpose
from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk, orders_csv

QUICK = {"attempts": 1, "backoff_seconds": 0}
UNDO_REFUSED = FaultRule(
    fault=Fault.REFUSES, purpose=Purpose.COMPENSATION, times=None, reason="trading is halted"
)
CLOSED = ("--reason", "x", "--action", "y", "--evidence", "z")
LATE_LEG_REFUSED = FaultRule(fault=Fault.REFUSES, symbol="PG", reason="not today")


def _script(desk: Desk, *rules: FaultRule) -> None:
    exchange = PaperExchange(desk.home / "exchange.db")

    async def work() -> None:
        await exchange.script(*rules)

    anyio.run(work)


def _by_hand(desk: Desk, side: Side, quantity: int, symbol: str) -> str:
    exchange = PaperExchange(desk.home / "exchange.db")

    async def work() -> str:
        await exchange.trade_by_hand(side, Decimal(quantity), symbol)
        return (await exchange.trades())[-1].fill_id

    return anyio.run(work)


@pytest.fixture
def stale(traded: Desk, invoke: Invoke, tmp_path: Path) -> str:
    """A batch that could not be undone; its id."""
    orders = [
        {"kind": "buy", "directive_id": f"EXE_{s}", "symbol": s, "quantity": "40", "retry": QUICK}
        for s in ("AAPL", "PG")
    ]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps({"execution_mode": "ATOMIC", "directives": orders}))
    _script(traded, UNDO_REFUSED, LATE_LEG_REFUSED)
    done = invoke("run", file, "--json")
    assert done.code == 4, done.err
    assert done.data["batch"]["state"] == "STALE"
    return str(done.data["batch"]["batch_id"])


@pytest.mark.requirement("O10", "S6")
def test_what_is_left_is_shown_and_said_to_be_known(invoke: Invoke, stale: str) -> None:
    shown = invoke("show", stale)
    as_json = invoke("show", stale, "--json").data

    assert "! stale" in shown.out
    assert "LEFT OVER: what could not be undone or found out" in shown.out
    now = " ".join(shown.out.split()).partition("Now: ")[2]
    assert f"`saga resolve {stale} --reason ... --action ... --evidence ... --adjust" in now
    assert "--adjust SYMBOL,QUANTITY,CASH,TRADE_ID` closes it" in now
    assert re.search(
        r"make flat what is known to be left: sell 40 AAPL for about [0-9,.]+ USD", now
    )
    (left,) = as_json["residual"]
    assert (left["symbol"], left["low"], left["high"], left["known"]) == ("AAPL", "40", "40", True)
    assert Decimal(left["value_low"]) == 40 * Decimal(left["last_price"])


@pytest.mark.requirement("O10", "O11")
def test_a_stale_portfolio_says_so_and_trades_nothing(
    desk: Desk, invoke: Invoke, stale: str, orders: Path
) -> None:
    books = invoke("portfolio")
    refused = invoke("run", orders)

    assert books.code == 4
    assert f"STALE because of {stale}" in books.out
    assert refused.code == 6
    assert "is stale since" in refused.err
    checked = invoke("check", "--json")
    assert (checked.code, checked.data["breaks"]) == (4, []), "nothing is broken, but it waits"
    assert "1 batch is STALE and waits for a person" in checked.data["verdict"]
    assert [each["batch_id"] for each in checked.data["unattended"]] == [stale]


@pytest.mark.requirement("B9", "T15")
def test_carrying_on_names_what_waits_for_a_person(invoke: Invoke, stale: str) -> None:
    done = invoke("run")

    assert done.code == 4, "something is unfinished, and nothing of it could be carried on"
    assert "Nothing can be carried on: 1 waits for a person." in done.out
    assert f"{stale} is STALE and waits for a person" in done.err


@pytest.mark.requirement("B9", "O7")
def test_a_retry_undoes_what_was_left_once_the_broker_lets_it(
    desk: Desk, invoke: Invoke, stale: str
) -> None:
    _script(desk)

    done = invoke("retry", stale, "--reason", "the halt is lifted", "--json")

    assert "Orders are sent to undo what is left: 40 AAPL (known)" in done.err
    assert done.code == 1, "it did not do what it was made for: it was rolled back"
    assert done.data["batch"]["state"] == "ROLLED_BACK"
    assert done.data["in_place"] == []
    assert invoke("check").code == 0
    assert "sends all its legs (2), the undone ones included, as a new batch" in " ".join(
        invoke("show", stale).out.split()
    )


@pytest.mark.requirement("B9", "O10")
def test_an_operator_closes_it_with_evidence_and_the_books_follow(
    desk: Desk, invoke: Invoke, stale: str, orders: Path
) -> None:
    _script(desk)
    trade_id = _by_hand(desk, Side.SELL, 40, "AAPL")
    external = invoke("check", "--json")
    adjust = f"AAPL,-40,{_cash_of(desk, trade_id)},{trade_id}"

    done = invoke(
        *("resolve", stale, "--reason", "sold by phone", "--action", "sold 40 AAPL"),
        *("--evidence", "ticket 4711", "--adjust", adjust, "--json"),
    )

    assert [each["owner"] for each in external.data["breaks"]] == ["external"]
    assert f"saga resolve {stale} --adjust" in external.data["breaks"][0]["what_to_do"]
    assert done.code == 0, done.err
    assert done.data["batch"]["state"] == "ROLLED_BACK"
    assert done.data["in_place"] == [], "what was done by hand counts too"
    assert invoke("portfolio").code == 0
    checked = invoke("check", "--json")
    assert (checked.code, checked.data["breaks"], checked.data["findings"]) == (0, [], [])
    (explained,) = checked.data["explained"]
    assert (explained["kind"], explained["owner"]) == ("resolved", stale)
    assert explained["trade_id"] == trade_id
    assert invoke("run", orders).code == 0, "it trades again"
    told = invoke("events", stale).out
    assert "sold by phone; sold 40 AAPL (evidence: ticket 4711)" in told


@pytest.mark.requirement("B9", "S6")
def test_what_has_changed_before_the_answer_is_not_resolved_by_it(
    invoke: Invoke, stale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def somebody_retries(session: Session, *_: object, **__: object) -> None:
        async with open_desk(session.configured) as other:
            await other.engine.retry(stale, by="bob", reason="the halt is lifted")
            await other.engine.wait(stale, timeout=20)

    monkeypatch.setattr(Session, "confirm", somebody_retries)
    refused = invoke("resolve", stale, *CLOSED, "--adjust", "AAPL,-40,6280.00", "--yes")
    again = invoke("retry", stale, "--reason", "again", "--yes", "--no-wait")
    monkeypatch.undo()

    assert (refused.code, again.code) == (6, 6)
    assert "look at it again" in refused.err
    assert "look at it again" in again.err
    assert invoke("show", stale, "--json").data["resolved"] is None


def _cash_of(desk: Desk, trade_id: str) -> Decimal:
    with sqlite3.connect(desk.home / "exchange.db") as books:
        (amount,) = books.execute(
            "SELECT amount FROM cash WHERE fill_id = ?", (trade_id,)
        ).fetchone()
    books.close()
    return Decimal(amount)


@pytest.mark.requirement("B9", "O10", "S6")
def test_a_batch_closed_by_hand_says_by_whom_what_was_done_and_what_remains(
    desk: Desk, invoke: Invoke, stale: str
) -> None:
    said = ("--reason", "sold by phone", "--action", "sold 30 AAPL", "--evidence", "ticket 4711")
    done = invoke(
        "resolve",
        stale,
        *said,
        "--adjust",
        "AAPL,-30,6000.50,T-1",
        "--by",
        "anna",
        "--keep-difference",
    )
    assert done.code == 0, done.err

    shown = invoke("show", stale).out
    data = invoke("show", stale, "--json").data
    listed = invoke("list").out
    refused = invoke("retry", stale, "--reason", "again", "--yes")

    assert "failed, closed by hand" in shown
    assert "by hand by anna at " in shown
    assert re.search(r"AAPL +\+40 +-30 +\+10", shown)
    assert "cash by hand  +6,000.50 USD, as anna said" in shown
    assert "saga retry" not in shown
    assert "a difference remains in the books" in shown
    assert "failed, closed by hand" in listed
    resolved = data["resolved"]
    assert (resolved["by"], resolved["action"]) == ("anna", "sold 30 AAPL")
    assert (resolved["evidence"], resolved["cash"]) == ("ticket 4711", "6000.5")
    (settled,) = resolved["symbols"]
    assert (settled["left_low"], settled["adjusted"], settled["remains_low"]) == ("40", "-30", "10")
    assert data["batch"]["closed_by_hand"] is True
    assert refused.code == 6
    assert "closed by hand by anna" in refused.err
    assert "Orders are sent" not in refused.err


@pytest.mark.requirement("O10", "T11")
def test_every_order_is_shown_as_the_broker_knows_it(invoke: Invoke, stale: str) -> None:
    shown = invoke("show", stale).out
    orders = invoke("show", stale, "--json").data["orders"]
    events = [json.loads(line) for line in invoke("events", stale, "--json").out.splitlines()]

    assert [(o["side"], o["symbol"], o["purpose"]) for o in orders[:2]] == [
        ("buy", "AAPL", "forward"),
        ("buy", "PG", "forward"),
    ]
    assert {(o["side"], o["symbol"], o["filled"]) for o in orders[2:]} == {("sell", "AAPL", "0")}
    assert all(o["client_order_id"] in shown and o["sent_at"] for o in orders)
    assert (orders[0]["status"], orders[0]["filled"]) == ("filled", "40")
    assert orders[0]["average_price"] is not None
    assert (orders[1]["status"], orders[1]["reason"]) == ("refused", "not today")
    (filled,) = [e for e in events if e["order"] and e["order"]["fill_ids"]]
    assert filled["order"]["client_order_id"] == orders[0]["client_order_id"]
    assert filled["order"]["broker_order_id"] == orders[0]["broker_order_id"] is not None
    assert (filled["order"]["side"], filled["order"]["symbol"]) == ("buy", "AAPL")


@pytest.mark.requirement("B9", "O10")
def test_a_spent_undo_budget_is_named_and_a_retry_is_refused_before_it_asks(
    desk: Desk, traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    legs = [
        {"kind": "buy", "directive_id": f"EXE_{s}", "symbol": s, "quantity": "40", "retry": QUICK}
        for s in ("AAPL", "KO", "PG")
    ]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps({"execution_mode": "ATOMIC", "max_parallel": 1, "directives": legs}))
    _script(desk, LATE_LEG_REFUSED)
    done = invoke("run", file, "--undo-budget", "0.5", "--json")
    assert done.code == 4, done.err
    batch_id = done.data["batch"]["batch_id"]

    shown = invoke("show", batch_id).out
    drawn = invoke("diagram", batch_id, "-o", "-").out
    refused = invoke("retry", batch_id, "--reason", "again")
    granted = invoke("retry", batch_id, "--reason", "again", "--undo-budget", "500")
    rolled_back = invoke("show", batch_id, "--json").data
    again = invoke("retry", batch_id, "--reason", "once more", "--json")

    assert re.search(r"undo budget +0\.50 USD, spent [0-9.]+ \(past it\)", shown)
    assert f"`saga retry {batch_id} --reason ... --undo-budget N` (N more than" in shown
    assert re.search(r"buy 40 AAPL +! not undone", shown), "what was not reversed is no success"
    assert re.search(r"buy 40 KO +↶ undone", shown)
    assert drawn.count("✗ not undone") == 1, "the leg that was not reversed; the other one was"
    assert refused.code == 6
    assert "past its budget of 0.50 USD" in refused.err
    assert "Orders are sent" not in refused.err
    assert re.search(r"At the market: sell 40 AAPL for about [0-9,.]+ USD", granted.err)
    assert "Undo budget: 0.50 USD until now, 500.00 USD from now on" in granted.err
    assert rolled_back["batch"]["state"] == "ROLLED_BACK"
    assert re.search(r"undo budget +500.00 USD, spent [0-9.]+\n", granted.out)
    assert "All 3 legs are sent anew" in again.err
    assert re.search(r"buy 40 AAPL for about [0-9,.]+ USD, buy 40 KO for about", again.err)
    assert "It has no deadline." in again.err or "must be over" in again.err


@pytest.mark.requirement("B9")
def test_a_resolution_repeats_what_the_books_will_change_and_doubts_a_wrong_sign(
    invoke: Invoke, stale: str
) -> None:
    action = " ".join(f"word{number}" for number in range(100))
    said = ("--reason", "x", "--action", action, "--evidence", "ticket 4711")

    wrong = ("resolve", stale, *said, "--adjust", "AAPL,-40,-6280.00")
    refused = invoke(*wrong)
    before = invoke("show", stale, "--json").data["batch"]["state"]
    done = invoke(*wrong, "-y")
    drawn = invoke("diagram", stale, "-o", "-").out

    assert (refused.code, before) == (2, "STALE"), refused.err
    assert "nothing was done: correct it, or insist with --yes (-y)" in refused.err
    assert done.code == 0
    assert all(word in drawn for word in (*action.split(), ">ticket 4711<")), "nothing is cut off"
    assert "The books change: AAPL -40, cash -6,280.00 USD." in done.err
    assert "the sign of the cash does not fit, as a sale brings cash in" in done.err
    assert "Afterwards run `saga check`" in done.err


@pytest.mark.requirement("E15")
@pytest.mark.parametrize(
    "words",
    [
        ("portfolio", "--json"),
        ("portfolio", "-O", "csv"),
        ("portfolio", "-O", "jsonl"),
        ("list", "--json"),
        ("list", "-O", "csv"),
        ("show", "ID", "--json"),
        ("show", "ID", "-O", "csv"),
        ("events", "--json"),
        ("check", "--json"),
    ],
)
def test_no_number_in_data_has_its_thousands_set_apart(
    invoke: Invoke, stale: str, words: tuple[str, ...]
) -> None:
    done = invoke(*(stale if word == "ID" else word for word in words))

    rows = [json.loads(line) for line in done.out.splitlines()] if "csv" not in words else []
    cells = [cell for row in csv.reader(io.StringIO(done.out)) for cell in row] if not rows else []
    found = [*cells, *_texts(rows)]
    assert found
    assert [text for text in found if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text)] == []


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


@pytest.mark.requirement("B9")
def test_resolving_without_an_adjustment_says_what_the_books_will_keep(
    invoke: Invoke, stale: str
) -> None:
    done = invoke("resolve", stale, *CLOSED, "--keep-difference")

    told = " ".join(done.err.split())
    assert "Left over: 40 AAPL (known). No --adjust names it: the books will go on saying +40" in (
        told
    )
    assert "The broker holds +40 AAPL of it if nobody has traded by hand, and 0 if somebody" in told
    assert done.code == 0


@pytest.mark.requirement("B9")
@pytest.mark.parametrize(
    ("adjust", "said", "remains"),
    [
        ((), "the books are wrong by +40 AAPL", "+40 AAPL"),
        (("--adjust", "AAPL,-30,6000"), "the difference becomes +10 AAPL", "+10 AAPL"),
        (("--adjust", "AAPL,40,-8000"), "so that it is doubled; to make it flat takes -40", "+80"),
    ],
)
def test_a_batch_is_closed_with_a_difference_only_by_who_says_that_he_keeps_it(
    invoke: Invoke, stale: str, adjust: tuple[str, ...], said: str, remains: str
) -> None:
    refused = invoke("resolve", stale, *CLOSED, *adjust, "--yes")
    state = invoke("show", stale, "--json").data["batch"]["state"]
    kept = invoke("resolve", stale, *CLOSED, *adjust, "--yes", "--keep-difference")

    assert (refused.code, state, kept.code) == (2, "STALE", 0), refused.err
    told = " ".join(refused.err.split())
    assert said in told
    assert f"a difference would remain in the books: {remains}" in told
    assert "as --adjust AAPL,-40,CASH,TRADE_ID" in told
    assert "or close it with the difference by --keep-difference" in told


@pytest.mark.requirement("B9")
def test_a_wrong_sign_on_a_short_says_that_the_difference_doubles(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    legs = [
        {"kind": kind, "directive_id": f"EXE_{s}", "symbol": s, "quantity": "20", "retry": QUICK}
        for kind, s in (("sell", "KO"), ("buy", "PG"))
    ]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps({"execution_mode": "ATOMIC", "max_parallel": 1, "directives": legs}))
    _script(traded, UNDO_REFUSED, LATE_LEG_REFUSED)
    batch_id = invoke("run", file, "--json").data["batch"]["batch_id"]

    refused = invoke("resolve", batch_id, *CLOSED, "--adjust", "KO,-20,1200", "--yes")
    flat = invoke("resolve", batch_id, *CLOSED, "--adjust", "KO,20,-1200", "--yes")

    told = " ".join(refused.err.split())
    assert refused.code == 2
    assert "Left over: -20 KO (known). --adjust changes it by -20" in told
    assert "the difference becomes -40 KO" in told
    assert "so that it is doubled; to make it flat takes +20" in told
    assert "give what was done by hand, as --adjust KO,+20,CASH,TRADE_ID" in told
    assert flat.code == 0
    assert "With --adjust the books will say 0 KO of this batch." in flat.err


@pytest.mark.requirement("B9", "T14")
def test_the_failed_trades_of_a_batch_are_sent_again_as_a_new_batch_once(
    desk: Desk, traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    _script(desk, LATE_LEG_REFUSED)
    file = orders_csv(tmp_path / "three.csv", ("KO", "buy", 5), ("PG", "buy", 5))
    partly = invoke("run", file, "--mode", "PARALLEL", "--json")
    parent = partly.data["batch"]["batch_id"]

    again = invoke("retry", parent, "--reason", "it trades again", "--json")
    twice = invoke("retry", parent, "--reason", "it trades again", "--json")

    assert partly.code == 3
    assert again.code == 0, again.err
    assert again.data["batch"]["parent_id"] == parent
    assert [trade["symbol"] for trade in again.data["trades"]] == ["PG"]
    assert twice.data["batch"]["batch_id"] == again.data["batch"]["batch_id"]


@pytest.mark.requirement("S8", "S11")
def test_a_check_lists_every_problem_with_its_saga(traded: Desk, invoke: Invoke) -> None:
    latest = invoke("list", "--json").data["batches"][0]["batch_id"]
    with sqlite3.connect(traded.home / "saga.db") as store:
        store.execute("UPDATE batches SET failed_trades = 1 WHERE batch_uid = ?", (latest,))
        store.execute("UPDATE portfolio_books SET cash = '5'")
    store.close()

    done = invoke("check", "--json")

    assert done.code == 1
    found = {(each["batch_id"], each["rule"]) for each in done.data["findings"]}
    assert (latest, "S11") in found
    (cash,) = done.data["breaks"]
    assert (cash["kind"], cash["owner"]) == ("cash differs", "external")
    assert "has cash 5.00, its ledger adds up to" in cash["sentence"]
    assert "failed_trades is 1, the journal says 0" in invoke("check").out


@pytest.mark.requirement("S8")
def test_a_check_sees_a_journal_that_was_altered(traded: Desk, invoke: Invoke) -> None:
    with sqlite3.connect(traded.home / "saga.db") as store:
        store.execute("DROP TRIGGER journal_is_never_changed")
        store.execute("UPDATE journal SET at = at + 1 WHERE number = 2")
    store.close()

    done = invoke("check", "--json")

    assert done.code == 1
    assert any("was altered" in each["sentence"] for each in done.data["findings"])


@pytest.mark.requirement("S2", "S10")
def test_a_check_sees_a_trade_that_no_saga_made(traded: Desk, invoke: Invoke) -> None:
    trade_id = _by_hand(traded, Side.BUY, 3, "KO")

    done = invoke("check", "--json")

    assert done.code == 1
    assert done.data["findings"] == []
    (found,) = done.data["breaks"]
    assert (found["kind"], found["owner"], found["trade_id"]) == ("external", "external", trade_id)
    assert f"trade {trade_id} (buy 3 KO)" in found["sentence"]
    assert "saga resolve" not in found["what_to_do"], "no batch is STALE that it could be for"


@pytest.mark.requirement("S2", "S3")
def test_a_check_sees_an_order_that_was_doubled_or_never_intended(
    traded: Desk, invoke: Invoke
) -> None:
    columns = "symbol, side, quantity, time_in_force, status, filled, day, placed_at, visible_at"
    with sqlite3.connect(traded.home / "exchange.db") as books:
        for key in ("client_order_id", "'20261121_093000_zzzzz-0F1'"):
            books.execute(
                f"INSERT INTO orders (client_order_id, {columns}, asleep) "
                f"SELECT {key}, {columns}, asleep FROM orders WHERE number = 1"
            )
    books.close()

    breaks = invoke("check", "--json").data["breaks"]

    kinds = {(each["kind"], each["owner"]) for each in breaks}
    assert ("missing in journal", "BAT_20261121_093000_zzzzz") in kinds
    assert any(each["kind"] == "sent twice" for each in breaks)


def test_doctor_finds_a_file_that_others_can_read(traded: Desk, invoke: Invoke) -> None:
    well = invoke("doctor", "--json")
    (traded.home / "saga.db").chmod(0o644)

    ill = invoke("doctor", "--json")

    assert (well.code, well.data["ok"]) == (0, True)
    assert (ill.code, ill.data["ok"]) == (1, False)
    assert any("others can read it: chmod 600" in each["sentence"] for each in ill.data["points"])
    assert {each["name"] for each in well.data["points"]} >= {"python", "sqlite", "disk", "clock"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("directory", "saga.db"),
        ("text", "saga.db"),
        ("newer", "newer"),
    ],
)
@pytest.mark.requirement("T2")
def test_a_store_that_cannot_be_used_is_named_with_status_5(
    traded: Desk, invoke: Invoke, orders: Path, spoil: str, words: str
) -> None:
    store = traded.home / "saga.db"
    if spoil == "newer":
        with sqlite3.connect(store) as connection:
            connection.execute(
                "INSERT INTO migrations SELECT component, 99, name, applied_at "
                "FROM migrations LIMIT 1"
            )
        connection.close()
    else:
        for side_file in traded.home.glob("saga.db*"):
            side_file.unlink()
        if spoil == "directory":
            store.mkdir()
        else:
            store.write_text("this is no database, but it is long enough to be one" * 200)

    done = invoke("run", orders)

    assert done.code == 5, done.err
    assert words in done.err
    assert "Traceback" not in done.err
