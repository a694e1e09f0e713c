"""`saga logbook`: what happened to the engine itself, newest first, page by page."""

import sqlite3

import pytest

from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk


@pytest.mark.requirement("S13", "O11")
def test_the_logbook_tells_starts_limits_and_trading_states_newest_first(
    traded: Desk, invoke: Invoke
) -> None:
    assert invoke("halt", "--reason", "prices are wrong").code == 0
    assert invoke("activate", "--reason", "right again", "--by", "ann", "-y").code == 0
    (traded.home / "saga.toml").write_text('[risk]\nsymbols = ["KO", "PG"]\n')
    assert invoke("run").code == 0

    told = invoke("logbook", "--json")
    shown = invoke("logbook")

    entries = told.data["entries"]
    assert told.code == shown.code == 0, told.err
    assert told.data["next_cursor"] is None
    numbers = [each["number"] for each in entries]
    assert numbers == list(range(len(numbers), 0, -1))
    limits, start, active, halted, *_, first = entries
    assert [each["kind"] for each in (limits, start, first)] == [
        *("limits_set", "engine_started", "engine_started")
    ]
    assert "symbols KO, PG" in limits["words"]
    assert active["words"] == "ACTIVE by ann: right again"
    assert halted["words"].startswith("HALTED by ")
    assert halted["words"].endswith(": prices are wrong"), "although nobody owned the store"
    assert active["data"]["automatic"] is False
    assert "began as process" in first["words"]
    assert "ACTIVE by ann: right again" in shown.out


def test_the_pages_of_the_logbook_follow_one_another_without_a_gap(
    traded: Desk, invoke: Invoke
) -> None:
    for number in range(3):
        assert invoke("reduce", "--reason", f"r{number}", "-y").code == 0
        assert invoke("activate", "--reason", f"a{number}", "-y").code == 0
    whole = [each["number"] for each in invoke("logbook", "--json").data["entries"]]

    seen: list[int] = []
    cursor: tuple[str, ...] = ()
    for _ in whole:
        page = invoke("logbook", "--limit", "3", "--json", *cursor).data
        seen += [each["number"] for each in page["entries"]]
        if page["next_cursor"] is None:
            break
        cursor = ("--cursor", page["next_cursor"])

    assert seen == whole
    assert len(whole) > 6
    assert f"--cursor {whole[2]}" in invoke("logbook", "--limit", "3").err


def test_an_entry_that_cannot_be_read_hides_no_other(traded: Desk, invoke: Invoke) -> None:
    with sqlite3.connect(traded.home / "saga.db") as store:
        store.execute("DROP TRIGGER logbook_is_never_changed")
        store.execute("UPDATE logbook SET data = '{}' WHERE number = 1")
    store.close()

    entries = invoke("logbook", "--json").data["entries"]

    assert entries[-1]["words"] == "cannot be read; `saga check` says more"
    assert entries[-1]["data"] is None
    assert len(entries) > 1
