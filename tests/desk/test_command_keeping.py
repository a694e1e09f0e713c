"""`saga backup` and `saga accept-copy`: a copy is whole, and going back to one is said aloud."""

import json
import re
import shutil
from pathlib import Path

import anyio
import pytest

from brokers.paper import Fault, FaultRule, PaperExchange
from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk

LOST = "BAT_20261121_120000_abcde"


@pytest.mark.requirement("S1", "S13")
def test_a_backup_put_back_is_refused_until_it_is_accepted_and_then_trading_is_halted(
    traded: Desk, invoke: Invoke, orders: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "monday.db"
    assert invoke("backup", copy).code == 0
    assert invoke("run", orders, "-y").code == 0
    shutil.copy(copy, traded.home / "saga.db")
    refused = invoke("run", orders, "-y")
    assert refused.code == 5
    assert "was rolled back" in refused.err
    assert "saga accept-copy" in refused.err
    assert "SqliteStore" not in refused.err
    accepted = invoke("accept-copy", "--reason", "disk died", "--yes")
    assert accepted.code == 0, accepted.err
    assert accepted.err.count("was rolled back") == 1
    assert "Trading is HALTED" in accepted.out
    halted = invoke("run", orders, "-y")
    assert halted.code == 6
    said = halted.err.replace("\n", " ")
    assert re.search(
        r"an older copy of the store was accepted \(disk died\): records \d+ to \d+ are not in it;",
        said,
    ), said
    assert "accept-copy" not in said
    assert invoke("activate", "--reason", "compared", "-y").code == 0


def test_a_backup_is_told_as_json_and_never_takes_the_place_of_a_file(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    copy = tmp_path / "monday.db"
    done = invoke("backup", copy, "--json")
    assert done.data == {"file": str(copy), "bytes": copy.stat().st_size}
    content = copy.read_bytes()
    again = invoke("backup", copy)
    assert again.code == 5
    assert "is there already" in again.err
    assert copy.read_bytes() == content


def test_there_is_nothing_to_accept_in_the_newest_copy(traded: Desk, invoke: Invoke) -> None:
    done = invoke("accept-copy", "--reason", "why not", "--yes")
    assert done.code == 6
    assert "is the newest copy of itself" in done.err


@pytest.mark.requirement("S1")
def test_off_a_terminal_an_accepted_copy_is_told_of_once(
    traded: Desk, orders: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "monday.db"
    assert traded.run("backup", copy).code == 0
    assert traded.run("run", orders, "-y").code == 0
    shutil.copy(copy, traded.home / "saga.db")

    accepted = traded.run("accept-copy", "--reason", "disk died")

    assert accepted.code == 0, accepted.err
    assert accepted.err.count("was rolled back") == 1, accepted.err
    assert "accepted as it is" in (traded.home / "saga.log").read_text()


@pytest.mark.requirement("S6", "S13")
def test_what_was_under_way_in_a_copy_is_paused_and_neither_sent_nor_undone(
    desk: Desk, invoke: Invoke, several: Path, tmp_path: Path
) -> None:
    first = desk.start("run", several, env={"SAGA_PAPER__LATENCY_SECONDS": "1.0"})
    batch = first.until(lambda batches: batches[0]["processed_trades"] >= 1)
    copy = tmp_path / "under way.db"
    assert invoke("backup", copy).code == 0
    assert first.finish().code == 0
    shutil.copy(copy, desk.home / "saga.db")

    accepted = invoke("accept-copy", "--reason", "disk died", "--yes", "--json")
    before = invoke("check", "--json").data["orders"]
    carried = invoke("run")
    after = invoke("check", "--json").data["orders"]

    assert accepted.code == 0, accepted.err
    assert accepted.data["paused"] == [batch["batch_id"]]
    assert carried.code == 4
    assert f"{batch['batch_id']} is paused" in carried.err
    assert after == before, "nothing was sent, and nothing undone"

    (waits,) = invoke("check", "--json").data["unattended"]
    assert "it asks the broker first" in waits["what_to_do"], "a halt lifts no pause"


@pytest.mark.requirement("S1", "S3")
@pytest.mark.scenario("D5")
def test_what_was_under_way_in_a_copy_learns_from_the_broker_what_it_has_done_since(
    desk: Desk, invoke: Invoke, several: Path, tmp_path: Path
) -> None:
    first = desk.start("run", several, env={"SAGA_PAPER__LATENCY_SECONDS": "1.0"})
    batch = first.until(lambda batches: batches[0]["processed_trades"] >= 1)
    copy = tmp_path / "under way.db"
    assert invoke("backup", copy).code == 0
    assert first.finish().code == 0
    shutil.copy(copy, desk.home / "saga.db")

    accepted = invoke("accept-copy", "--reason", "disk died", "--yes")
    before = invoke("check", "--json").data
    assert invoke("activate", "--reason", "compared", "-y").code == 0
    unpaused = invoke("unpause", batch["batch_id"], "--reason", "learn what it did", "-y")
    after = invoke("check", "--json")

    assert "After `saga activate`, `saga unpause` asks the broker" in accepted.out
    (waits,) = before["unattended"]
    assert "it asks the broker first what became of its orders" in waits["what_to_do"]
    (advice,) = {each["what_to_do"] for each in before["breaks"]}
    assert f"`saga unpause {batch['batch_id']}`, which finds it by its client order id" in advice
    assert unpaused.code == 0, unpaused.err
    assert (after.code, after.data["orders"]) == (0, before["orders"]), after.data["verdict"]


@pytest.mark.requirement("S1", "S3")
@pytest.mark.scenario("D5")
@pytest.mark.parametrize("refused", [False, True])
def test_a_batch_that_an_accepted_copy_lacks_is_booked_from_the_brokers_own_orders(
    traded: Desk, invoke: Invoke, tmp_path: Path, *, refused: bool
) -> None:
    legs = [("sell", "KO", "10"), ("buy", "AAPL", "5")]
    file = tmp_path / "lost.json"
    orders = [
        {
            "kind": kind,
            "directive_id": f"EXE_{symbol}",
            "symbol": symbol,
            "quantity": quantity,
            "retry": {"attempts": 1, "backoff_seconds": 0},
        }
        for kind, symbol, quantity in legs
    ]
    file.write_text(
        json.dumps({"batch_id": LOST, "execution_mode": "ATOMIC", "directives": orders})
    )
    copy = tmp_path / "monday.db"
    assert invoke("backup", copy).code == 0
    if refused:
        exchange = PaperExchange(traded.home / "exchange.db")
        anyio.run(exchange.script, FaultRule(fault=Fault.REFUSES, symbol="AAPL"))
    assert invoke("run", file, "-y").code == (1 if refused else 0)
    before = invoke("check", "--json").data["orders"]
    shutil.copy(copy, traded.home / "saga.db")

    not_accepted = invoke("check", "--json").data
    accepted = invoke("accept-copy", "--reason", "disk died", "--yes")
    lacking = invoke("check", "--json").data
    assert invoke("activate", "--reason", "compared", "-y").code == 0
    again = invoke("run", file, "-y")
    healed = invoke("check", "--json")

    said = {each["what_to_do"] for each in (*not_accepted["breaks"], *not_accepted["findings"])}
    assert len(said) == 2
    for advice in said:
        assert "put the right copy back" in advice
        assert "`saga accept-copy`" in advice
        assert "send nothing more" not in advice
    assert "Next, `saga check`: it names each order at the broker that this copy lacks" in (
        accepted.out
    )
    (advice,) = {each["what_to_do"] for each in lacking["breaks"]}
    assert f'`saga run FILE` with "batch_id": "{LOST}"' in advice
    assert lacking["copy_accepted_at"] is not None
    assert lacking["findings"] == []
    assert again.code == (1 if refused else 0), again.err
    assert (healed.code, healed.data["orders"]) == (0, before), "nothing was sent a second time"


@pytest.mark.requirement("S1")
@pytest.mark.scenario("D5")
def test_who_only_looks_is_told_of_an_old_copy_and_what_to_do_in_one_line(
    traded: Desk, invoke: Invoke, orders: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "monday.db"
    assert invoke("backup", copy).code == 0
    assert invoke("run", orders, "-y").code == 0
    shutil.copy(copy, traded.home / "saga.db")

    listed, held, machine = (invoke(each) for each in ("list", "portfolio", "doctor"))
    as_json = {each: invoke(each, "--json") for each in ("list", "portfolio", "doctor")}
    assert invoke("accept-copy", "--reason", "disk died", "--yes").code == 0
    accepted = [invoke("list", "--json"), invoke("portfolio", "--json"), invoke("doctor")]

    for done, said in ((listed, listed.err), (held, held.out), (machine, machine.out)):
        (line,) = [line for line in said.splitlines() if "was rolled back" in line]
        assert "put the right copy back" in line
        assert "`saga accept-copy`" in line
        assert done.code == (1 if done is machine else 4)
    assert "was rolled back" in as_json["list"].data["old_copy"]
    assert as_json["portfolio"].data["standing"].startswith("an old copy of the store")
    assert as_json["doctor"].data["ok"] is False
    assert [each.code for each in accepted] == [0, 0, 0], accepted[1].out
    assert accepted[0].data["old_copy"] is None


@pytest.mark.requirement("S1")
def test_a_store_that_is_gone_beside_its_mark_is_not_taken_for_a_desk_that_never_traded(
    traded: Desk, invoke: Invoke
) -> None:
    for file in ("saga.db", "saga.db-wal", "saga.db-shm"):
        (traded.home / file).unlink(missing_ok=True)

    listed, checked, machine = invoke("list"), invoke("check"), invoke("doctor")

    assert (listed.code, checked.code, machine.code) == (5, 5, 1)
    for said in (listed.err, checked.err, machine.out):
        assert "is not there, but it held" in said
        assert "run a batch first" not in said
