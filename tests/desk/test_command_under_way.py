"""What is shown of a batch while an order of it is open, and when nobody carries it on."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk

FAR_AWAY = {
    "kind": "buy",
    "directive_id": "EXE_far",
    "symbol": "KO",
    "quantity": "120",
    "limit_price": "1",
    "time_in_force": "GTC",
}
NEAR = {"kind": "buy", "directive_id": "EXE_near", "symbol": "KO", "quantity": "40"}


def _file(folder: Path, **more: object) -> Path:
    file = folder / "batch.json"
    file.write_text(json.dumps({"directives": [NEAR, FAR_AWAY], **more}))
    return file


@pytest.mark.requirement("O10", "S6", "T11")
def test_an_open_order_is_no_guess_and_a_batch_that_nobody_carries_on_says_so(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    running = traded.start("run", _file(tmp_path, execution_mode="PARALLEL"))
    batch_id = running.until(lambda batches: batches[0]["processed_trades"] == 1)["batch_id"]
    running.until(lambda _: "still open" in invoke("show", batch_id).out)  # that is acknowledged
    watched = invoke("show", batch_id)
    running.signal(signal.SIGKILL)
    running.finish()
    left = invoke("show", batch_id)
    listed = invoke("list")
    books = invoke("portfolio")
    held = invoke("portfolio", "--json").data["holdings"]
    checked = invoke("check")
    halted = " ".join(invoke("halt", "--reason", "stop").err.split())

    assert f"carried on by process {running.process.pid}" in watched.out
    for shown in (watched, left):
        assert re.search(
            r"KO +40 to 160 .*40 known, 120 still open as of \d\d:\d\d:\d\dZ", shown.out
        )
        assert "unproven" not in shown.out
        assert "Ask the broker" not in shown.out
    for done in (left.out, listed.err, books.out):
        assert "no saga process carries it on; `saga run` without a file does" in done
    (ko,) = [row for row in held if row["symbol"] == "KO"]
    assert (ko["quantity"], ko["at_least"], ko["at_most"]) == ("90", "90", "210")
    assert checked.code == 4, "an order is on the wire, and nobody has it"
    assert "1 batch is carried on by nobody; `saga run` without a file" in checked.out
    assert (
        "no saga process has it, so NOTHING is being undone until `saga run` without a file "
        "carries it on. In place meanwhile: 40 to 160 KO (40 known, 120 still open" in halted
    ), halted
    assert "it is cancelled" not in halted


@pytest.mark.requirement("O7", "T11")
def test_an_order_that_the_saga_cancelled_at_its_deadline_says_so(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    file = _file(tmp_path, execution_mode="PARALLEL", timeout_seconds=1)

    done = invoke("run", file, "--json")
    batch_id = done.data["batch"]["batch_id"]
    shown = invoke("show", batch_id)
    told = invoke("events", batch_id)

    assert done.code == 3, done.err
    for text in (shown.out, told.out):
        assert "cancelled by this saga: its deadline passed" in text
        assert "cancelled by the customer" not in text
    assert re.search(r"because +the deadline .* passed", shown.out)
    assert [order["status"] for order in done.data["orders"]] == ["filled", "cancelled"]
    assert [trade["time_in_force"] for trade in done.data["trades"]] == ["DAY", "GTC"]
