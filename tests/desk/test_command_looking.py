"""`saga list`, `show`, `events`, `portfolio`, `diagram`, `config`: what people look at, and how."""

import csv
import io
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from saga.events import Started
from tests.desk.conftest import Invoke
from tests.desk.taken_in import a_batch, taken_in
from tests.desk.terminal import SAGA, Desk, environment


def _latest(invoke: Invoke) -> str:
    batch_id: str = invoke("list", "--json").data["batches"][0]["batch_id"]
    return batch_id


@pytest.mark.requirement("B7", "T7", "T8")
def test_the_list_is_the_same_in_every_form(traded: Desk, invoke: Invoke) -> None:
    as_json = invoke("list", "--json").data["batches"]
    as_lines = [json.loads(x) for x in invoke("list", "--output", "jsonl").out.splitlines()]
    as_csv = list(csv.DictReader(io.StringIO(invoke("list", "--output", "csv").out)))
    as_table = invoke("list").out

    ids = [row["batch_id"] for row in as_json]
    assert len(ids) == 2, "the deposit, and the batch"
    assert as_lines == as_json
    assert [row["batch_id"] for row in as_csv] == ids
    assert all(batch_id in as_table for batch_id in ids)


@pytest.mark.requirement("B7", "T8")
def test_the_list_is_filtered_sorted_and_paged(traded: Desk, invoke: Invoke) -> None:
    by_symbol = invoke("list", "--symbol", "KO", "--json").data["batches"]
    failed = invoke("list", "--status", "failed", "--json").data["batches"]
    future = invoke("list", "--from", "2999-01-01", "--json").data["batches"]
    first = invoke("list", "--limit", "1", "--sort", "size", "--ascending", "--json").data
    page = ("list", "--limit", "1", "--sort", "size", "--ascending", "--json", "--cursor")
    second = invoke(*page, first["next_cursor"]).data

    assert [row["total_trades"] for row in by_symbol] == [2]
    assert failed == future == []
    assert [row["total_trades"] for row in first["batches"] + second["batches"]] == [1, 2]


@pytest.mark.requirement("B7", "T15")
def test_the_list_counts_all_that_is_unfinished_and_names_what_is_not_on_its_page(
    traded: Desk, invoke: Invoke
) -> None:
    batches = [a_batch() for _ in range(6)]
    taken_in(traded.home, [(batch, (Started(),)) for batch in batches])
    first, second, third, *_ = (batch.batch_id for batch in batches)

    whole = invoke("list")
    short = invoke("list", "--limit", "1")
    filtered = invoke("list", "--status", "failed", "--json")

    assert "6 unfinished: no saga process carries it on" in whole.err
    assert "not on this page" not in whole.err
    assert "6 unfinished: no saga process carries it on" in short.err
    named = f"Unfinished, and not on this page: {first}, {second}, {third} and "
    assert f"{named}2 more." in short.err
    assert f"{named}3 more." in filtered.err
    assert filtered.data["batches"] == []


@pytest.mark.requirement("B7", "T11", "E15")
def test_a_batch_is_shown_with_its_trades_and_what_to_do_now(traded: Desk, invoke: Invoke) -> None:
    batch_id = _latest(invoke)

    shown = invoke("show", batch_id)

    assert shown.code == 0
    for words in ("✓ success", "COMPLETED", "PAPER", "buy 50 KO", "known", "Now: nothing"):
        assert words in shown.out


@pytest.mark.requirement("B7")
def test_a_batch_that_does_not_exist_has_a_status_of_its_own(traded: Desk, invoke: Invoke) -> None:
    for command in (("show",), ("cancel", "--reason", "x"), ("diagram",), ("events",)):
        done = invoke(command[0], "BAT_20261121_093000_zzzzz", *command[1:])
        assert done.code == 6, command
        assert "BAT_20261121_093000_zzzzz" in done.err
        assert done.out == ""


@pytest.mark.requirement("S15")
def test_events_can_be_taken_up_behind_a_sequence_number(traded: Desk, invoke: Invoke) -> None:
    every = [json.loads(line) for line in invoke("events", "--json").out.splitlines()]
    middle = every[len(every) // 2]["sequence"]
    rest = invoke("events", "--json", "--after", str(middle)).out.splitlines()

    assert [event["sequence"] for event in every] == list(range(1, len(every) + 1))
    assert [json.loads(line) for line in rest] == every[middle:]
    assert every[0]["kind"] == "submitted"
    assert "accepted from owner" in invoke("events").out


@pytest.mark.requirement("D7")
def test_a_diagram_says_where_it_is(traded: Desk, invoke: Invoke, tmp_path: Path) -> None:
    batch_id = _latest(invoke)

    default = invoke("diagram", batch_id)
    named = invoke("diagram", batch_id, "-o", tmp_path / "way.mmd", "--json")
    to_stdout = invoke("diagram", batch_id, "-o", "-")

    assert Path(default.out.strip()).read_text().startswith("<svg")
    assert Path(named.data["file"]).read_text().startswith(("stateDiagram", "---", "%%", "flow"))
    assert to_stdout.out == Path(default.out.strip()).read_text()
    refused = invoke("diagram", batch_id, "-o", tmp_path / "no" / "way.svg")
    assert refused.code == 2
    assert "cannot be written" in refused.err


@pytest.mark.requirement("B7")
def test_a_portfolio_is_shown_to_the_cent(traded: Desk, invoke: Invoke) -> None:
    books = invoke("portfolio", "--json").data

    # 50 at 62.839 and 10 at 146.504, and 1.00 of fees each.
    assert books["cash"] == "995391.01"
    assert [(row["symbol"], row["quantity"]) for row in books["holdings"]] == [
        ("KO", "50"),
        ("PG", "10"),
    ]
    assert invoke("portfolio", "other").code == 2


def test_a_reader_that_leaves_early_is_no_error(traded: Desk) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*SAGA, "events", "--follow"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment({"SAGA_HOME": str(traded.home)}),
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert traded.run("run", "-", text="symbol,side,quantity\nKO,buy,1\n").code == 0

    _, err = process.communicate(timeout=30)

    assert process.returncode == 0
    assert err == b""


@pytest.mark.parametrize("width", [60, 100])
def test_nothing_is_cut_off_on_a_narrow_terminal(traded: Desk, invoke: Invoke, width: int) -> None:
    batch_id = _latest(invoke)

    code, listed = traded.on_terminal("list", width=width)
    _, shown = traded.on_terminal("show", batch_id, width=width)

    assert code == 0
    for text in (listed, shown):
        assert batch_id in text
        assert "…" not in text
        assert max(len(line) for line in _plain(text).splitlines()) <= width
    assert "success" in shown


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def test_a_terminal_shows_colour_unless_told_not_to_and_asks_before_it_sends(
    desk: Desk, orders: Path
) -> None:
    code, screen = desk.on_terminal("run", orders, width=80, typed="n\n")

    assert code == 1
    assert "Send it?" in screen
    assert "Nothing was done." in screen
    assert desk.batches() == []
    code, screen = desk.on_terminal("run", orders, "--yes", width=80)
    assert code == 0
    assert "\x1b[1m" in screen
    listed = desk.on_terminal("list", width=100, env={"NO_COLOR": "1"})[1]
    assert "\x1b[3" not in listed


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_at_a_question_leaves_at_once_and_nothing_was_done(
    desk: Desk, orders: Path, by: signal.Signals
) -> None:
    code, screen = desk.on_terminal("run", orders, width=80, interrupted_at=("Send it?", by))

    assert code == 130
    assert "Nothing was done." in screen
    assert desk.batches() == []


@pytest.mark.requirement("T4")
def test_output_into_a_file_is_whole_and_plain(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    target = tmp_path / "out put.txt"
    with target.open("wb") as file:
        subprocess.run(
            [*SAGA, "show", _latest(invoke)],
            stdout=file,
            env=environment({"SAGA_HOME": str(traded.home), "COLUMNS": "40"}),
            check=True,
        )

    text = target.read_text()
    assert "\x1b" not in text
    assert any(line.startswith("1  buy 50 KO  ") for line in text.splitlines())


@pytest.mark.requirement("B9")
def test_what_an_operator_asks_of_a_batch_that_is_done_is_refused(
    traded: Desk, invoke: Invoke
) -> None:
    done_id = _latest(invoke)

    cancelled = invoke("cancel", done_id, "--reason", "too late")
    nothing = invoke("retry", done_id, "--reason", "again")
    resolved = invoke(*("resolve", done_id, "--reason", "x", "--action", "y", "--evidence", "z"))

    assert (cancelled.code, nothing.code, resolved.code) == (6, 6, 6)
    assert "COMPLETED" in cancelled.err
    assert "carried everything out" in nothing.err
