"""`saga check` for a night shift and for a night job: the report, its shape and its exit status."""

import json
import re
import sqlite3
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from brokers import Side
from brokers.paper import Fault, FaultRule, Operation, PaperExchange
from desk import unaccounted
from desk.check import Checked, Finding
from desk.exit_codes import ExitCode
from desk.trading_state import Standing
from portfolio.breaks import Break, BreakReport, Kind
from saga.events import AnswerLost, GaveUp, Intended, LostTrack, Started
from saga.ids import Purpose
from saga.logbook import TradingState, TradingStateSet
from saga.outcome import Exposure
from saga.policy import FailurePolicy, OnFailure
from tests.desk.conftest import SLOW, Invoke
from tests.desk.taken_in import a_batch, taken_in
from tests.desk.terminal import LONGEST_SECONDS, Desk, Done

BREAK_FIELDS = {
    *("kind", "owner", "batch_id", "symbol", "sentence", "journal", "broker", "portfolio"),
    *("since", "client_order_id", "trade_id", "what_to_do", "explained"),
}


def _at_exchange(desk: Desk, side: Side | None = None, *rules: FaultRule) -> None:
    exchange = PaperExchange(desk.home / "exchange.db")

    async def work() -> None:
        await exchange.script(*rules)
        if side is not None:
            await exchange.trade_by_hand(side, Decimal(3), "KO")

    anyio.run(work)


@pytest.mark.requirement("S10", "L6")
def test_nothing_wrong_is_said_in_one_line_with_status_0(traded: Desk, invoke: Invoke) -> None:
    shown = invoke("check")
    told = invoke("check", "--json")

    assert shown.code == told.code == 0, shown.err
    assert shown.out.splitlines()[-1] == "All is well: journal, broker and books say the same."
    assert "2 sagas looked over; 3 fills and 2 orders of ours compared." in shown.out
    assert set(told.data) == {
        *("ok", "status", "verdict", "sagas", "orders", "fills", "checked", "not_seen_at_rest"),
        *("findings", "breaks", "explained", "trading", "unattended", "waiting", "totals"),
        *("old_copy", "copy_accepted_at"),
    }
    assert (told.data["ok"], told.data["status"], told.data["breaks"]) == (True, 0, [])
    assert {each["symbol"] for each in told.data["totals"]} == {"KO", "PG", None}
    assert all(each["difference"] == "0" for each in told.data["totals"])


@pytest.mark.requirement("S10", "L6")
def test_a_break_names_its_owner_its_exact_amounts_and_what_to_do_with_status_1(
    traded: Desk, invoke: Invoke
) -> None:
    batch_id = invoke("list", "--json").data["batches"][0]["batch_id"]
    _at_exchange(traded, Side.BUY)
    with sqlite3.connect(traded.home / "exchange.db") as books:
        books.execute("UPDATE orders SET quantity = '7' WHERE symbol = 'PG'")
    books.close()

    told = invoke("check", "--json")
    shown = invoke("check")

    assert told.code == shown.code == told.data["status"] == 1
    assert all(set(each) == BREAK_FIELDS for each in told.data["breaks"])
    ours, external = told.data["breaks"]
    assert (ours["kind"], ours["owner"], ours["batch_id"]) == ("order differs", batch_id, batch_id)
    assert (ours["journal"]["quantity"], ours["broker"]["quantity"]) == ("10", "7")
    assert (external["owner"], external["batch_id"]) == ("external", None)
    assert external["broker"]["quantity"] == "3"
    assert external["journal"] is external["portfolio"] is None
    assert external["since"]
    (ko,) = [each for each in told.data["totals"] if each["symbol"] == "KO"]
    assert (ko["portfolio"], ko["broker"], ko["by_breaks"]) == ("50", "53", "3")
    assert shown.out.splitlines()[-1] == (
        "NOT all is well: 2 breaks (1 saga, 1 external), 0 findings."
    )
    assert "1. order " in shown.out
    assert "To do: find out who did it at the broker" in shown.out
    amount = r"-?[\d,]+\.\d\d\d*"
    assert re.search(rf"cash +{amount} +{amount} +-{amount}", shown.out), "the totals that differ"
    assert re.search(rf"{amount} cash", shown.out), "money has two places at least"
    assert not re.search(r"\.\d cash", shown.out)
    assert "Looked for: orders that no journal intended; orders that were sent twice;" in (
        " ".join(shown.out.split())
    )
    assert not re.search(r"\bS\d+ S\d+", shown.out), "promises are named in words"


@pytest.mark.requirement("S10")
def test_without_the_brokers_books_nothing_is_certain_with_status_4(
    traded: Desk, invoke: Invoke
) -> None:
    (traded.home / "exchange.db").unlink()

    told = invoke("check", "--json")

    assert told.code == told.data["status"] == 4
    assert told.data["verdict"].startswith("Not certain: there are no books of the broker")
    assert (told.data["ok"], told.data["orders"]) == (False, None)


def test_what_cannot_be_read_has_status_5(desk: Desk, traded: Desk, invoke: Invoke) -> None:
    (traded.home / "exchange.db").write_bytes(b"no books")
    assert invoke("check").code == 5
    (traded.home / "saga.db").unlink()
    assert invoke("check").code == 5


@pytest.mark.requirement("S10")
@pytest.mark.parametrize(
    ("breaks", "explained", "findings", "trading", "code", "words"),
    [
        ((), (), (), "ACTIVE", ExitCode.DONE, "All is well: journal, broker and books say"),
        ((), (Kind.IN_FLIGHT,), (), "REDUCING", ExitCode.DONE, "and 1 explained difference."),
        ((), (Kind.RESIDUAL,), (), "ACTIVE", ExitCode.UNCERTAIN, "some wait for a person"),
        ((), (), (), "HALTED", ExitCode.UNCERTAIN, "but trading is HALTED and waits for a person"),
        ((Kind.LATE,), (Kind.RESIDUAL,), (), "HALTED", ExitCode.FAILED, "1 break (1 saga, 0 ext"),
        ((), (), ("S8",), "ACTIVE", ExitCode.FAILED, "0 breaks (0 sagas, 0 external), 1 finding."),
    ],
)
def test_the_worst_of_what_was_found_makes_the_status(
    breaks: tuple[Kind, ...],
    explained: tuple[Kind, ...],
    findings: tuple[str, ...],
    trading: str,
    code: ExitCode,
    words: str,
) -> None:
    def made(kinds: tuple[Kind, ...], why: str | None) -> tuple[Break, ...]:
        return tuple(Break(kind, "BAT_1", "KO", "so", explained=why) for kind in kinds)

    report = BreakReport(made(breaks, None), made(explained, "why"), (), 1, 1, 1)
    standing = Standing(TradingStateSet(TradingState(trading), "ann", "so"), None)
    checked = Checked(tuple(Finding(None, rule, "so") for rule in findings), report, standing)

    assert checked.code is code
    assert words in checked.verdict


@pytest.mark.requirement("S10", "L6")
def test_beside_a_living_owner_no_work_under_way_is_called_a_break(
    desk: Desk, several: Path
) -> None:
    running = desk.start("run", several, env=SLOW)
    running.until(lambda rows: rows[0]["processed_trades"] > 0)

    looks = [desk.run("check", "--json") for _ in range(3)]

    done = running.finish()
    assert done.code == 0, done.err
    for look in looks:
        assert (look.code, look.data["breaks"], look.data["findings"]) == (0, [], []), look.out


@pytest.mark.requirement("S13")
def test_a_halt_is_no_break_and_waits_for_a_person_with_status_4(
    traded: Desk, invoke: Invoke
) -> None:
    halt = traded.home / "saga.db.halt"
    halt.write_text("ann: the market is mad")

    told = invoke("check", "--json")
    shown = invoke("check")

    assert told.code == told.data["status"] == shown.code == 4
    assert (told.data["breaks"], told.data["explained"]) == ([], [])
    assert told.data["trading"] == {
        "trading_state": "HALTED",
        "by": "halt file",
        "reason": "ann: the market is mad",
        "since": None,
    }
    assert "Trading is HALTED, by halt file: ann: the market is mad" in shown.out
    assert shown.out.splitlines()[-1].startswith("Not certain: no break, but trading is HALTED")


LOST_AND_SILENT = (
    FaultRule(fault=Fault.TIMES_OUT_ACCEPTED, symbol="AAPL", times=1),
    FaultRule(fault=Fault.TIMES_OUT_NOT_ACCEPTED, on=Operation.FIND, symbol=None, times=None),
)
UNDO_HANGS = (
    FaultRule(fault=Fault.REFUSES, symbol="PG"),
    FaultRule(fault=Fault.PARTIAL_THEN_SILENCE, purpose=Purpose.COMPENSATION, quantity=Decimal(10)),
)


def _until(look: Callable[[], Done], is_so: Callable[[Done], bool]) -> Done:
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        if is_so(done := look()):
            return done
        time.sleep(0.1)
    raise AssertionError(f"it never came to that: {done}")


@pytest.mark.requirement("S10", "L6", "B9")
@pytest.mark.parametrize(
    ("rules", "what"),
    [
        (LOST_AND_SILENT, r"the fate of buy 40 AAPL \(\S+-0F1\), since 20\S+ \S+Z"),
        (UNDO_HANGS, r"30 of buy 40 AAPL to be undone \(\S+-0C1\), since 20\S+ \S+Z"),
    ],
)
def test_what_nobody_can_account_for_is_named_and_a_person_should_look_once_it_lasts(
    desk: Desk,
    traded: Desk,
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rules: tuple[FaultRule, ...],
    what: str,
) -> None:
    once = {"attempts": 1, "backoff_seconds": 0}
    legs = [
        {"kind": "buy", "directive_id": f"EXE_{s}", "symbol": s, "quantity": "40", "retry": once}
        for s in ("AAPL", "PG")
    ]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps({"execution_mode": "ATOMIC", "max_parallel": 1, "directives": legs}))
    _at_exchange(desk, None, *rules)
    running = desk.start("run", file)
    batch_id = running.until(lambda rows: len(rows) > 1)["batch_id"]
    told = _until(
        lambda: invoke("show", str(batch_id), "--json"),
        lambda done: any(
            order["filled"] == "10" or order["status"] == "not known"
            for order in done.data["orders"]
        ),
    )
    early = invoke("check")
    monkeypatch.setattr(unaccounted, "PATIENCE_SECONDS", 0)
    late = _until(lambda: invoke("check"), lambda done: done.code != 0)
    as_json = invoke("check", "--json").data
    running.process.kill()
    running.finish()

    assert early.code == 0, told.out
    assert late.code == as_json["status"] == 4
    assert "All is well" not in late.out
    words = " ".join(late.out.split())
    assert re.search(rf"{batch_id} waits for {what}", words), late.out
    assert "1 batch waits for what nobody can account for; `saga show ID`" in words
    (waits,) = as_json["waiting"]
    assert (waits["batch_id"], waits["is_overdue"]) == (batch_id, True)
    if rules is LOST_AND_SILENT:
        assert "not all is known yet: 1 batch waits for what nobody can account for" in early.out
        _until(lambda: invoke("check"), lambda done: "without an answer" in done.out)


@pytest.mark.requirement("O9", "T11")
def test_a_stale_batch_that_keeps_what_it_did_is_not_said_to_be_retried(
    traded: Desk, invoke: Invoke
) -> None:
    batch = a_batch("main")
    lost = (
        Started(),
        Intended(0, Purpose.FORWARD, 1, Decimal(5)),
        AnswerLost(0, Purpose.FORWARD, 1, "a timeout"),
        GaveUp(0, Purpose.FORWARD, 1, "nobody answers"),
        LostTrack("nobody answers", (Exposure("KO", Decimal(0), Decimal(5)),)),
    )
    policy = FailurePolicy(on_failure=OnFailure.KEEP)
    taken_in(traded.home, [(batch, lost)], policy)

    (left,) = invoke("check", "--json").data["unattended"]

    assert left["batch_id"] == batch.batch_id
    assert "saga retry" not in left["what_to_do"]
    assert "`saga incident look` or `saga resolve`" in left["what_to_do"]
