"""What is said before anything is done: help, wrong calls, settings."""

import os
import pwd
from pathlib import Path

import pytest

from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk


@pytest.mark.parametrize(
    "command",
    [
        *("run", "list", "show", "events", "portfolio", "cancel", "pause", "unpause", "retry"),
        *("resolve", "diagram", "check", "doctor", "backup", "accept-copy", "config show"),
        *("halt", "reduce", "activate", "logbook", "incident look", "incident close"),
    ],
)
def test_every_command_has_help_with_an_example(invoke: Invoke, command: str) -> None:
    done = invoke(*command.split(), "--help")

    assert done.code == 0
    assert "xample: " in done.out
    assert "saga " in done.out
    assert done.err == ""


def test_the_demo_knows_the_short_word_for_help_as_all_others_do(invoke: Invoke) -> None:
    done = invoke("demo", "-h")

    assert (done.code, done.err) == (0, "")
    assert "--keep" in done.out


def test_what_is_kept_in_the_logbook_is_not_said_to_be_in_the_journal(invoke: Invoke) -> None:
    assert "kept in the logbook" in " ".join(invoke("accept-copy", "--help").out.split())


def test_the_main_help_says_what_each_exit_status_means(invoke: Invoke) -> None:
    done = invoke("--help")

    words = " ".join(done.out.split())
    for meaning in ("0 done", "2 bad usage", "4 STALE", "5 the store is held", "130 interrupted"):
        assert meaning in words


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nonsense",), 2, "No such command 'nonsense'"),
        (("list", "--nonsense"), 2, "--nonsense"),
        (("list", "--status", "odd"), 2, "'odd' is not one of"),
        (("list", "--limit", "0"), 2, "limit must be"),
        (("list", "--from", "yesterday"), 2, "'yesterday' is no date"),
        (("list", "--json", "--output", "csv"), 2, "contradict each other"),
        (("list",), 5, "there is no store"),
        (("logbook",), 5, "there is no store"),
        (("logbook", "--limit", "0"), 2, "limit must be"),
        (("logbook", "--cursor", "-1"), 2, "is not where a page of the logbook ended"),
        (("run", "missing.csv"), 2, "cannot be read: No such file"),
        (("run", "."), 2, "cannot be read: Is a directory"),
        (("cancel", "BAT_1"), 2, "--reason"),
        (("--home", "/dev/null", "list"), 2, "is no folder"),
        (("--config", "/nowhere.toml", "config", "show"), 2, "/nowhere.toml is not there"),
    ],
)
def test_a_wrong_call_is_one_sentence_on_stderr(
    invoke: Invoke, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = invoke(*arguments)

    assert done.code == code, done.err
    assert words in done.err
    assert done.out == ""
    assert len(done.err.splitlines()) == 1


def test_settings_say_where_they_come_from(
    invoke: Invoke, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.home.mkdir()
    (desk.home / "saga.toml").write_text("[paper]\ncash = 5000.10\nday = 2022-12-05\n")
    monkeypatch.setenv("SAGA_PAPER__CASH", "7000.10")

    shown = invoke("config", "show", "--json").data["settings"]

    found = {row["name"]: (row["value"], row["source"]) for row in shown}
    assert found["paper.cash"] == ("7000.10", "SAGA_PAPER__CASH")
    assert found["paper.day"] == ("2022-12-05", str(desk.home / "saga.toml"))
    assert found["portfolio"] == ("main", "default")
    assert found["home"] == (str(desk.home), "SAGA_HOME")


def test_settings_that_the_account_was_not_made_with_are_told_beside_what_it_has(
    traded: Desk, invoke: Invoke
) -> None:
    as_made = invoke("config", "show")
    (traded.home / "saga.toml").write_text("[paper]\ncash = 5000\nfee_minimum = 2\n")

    told = invoke("config", "show", "--json")
    shown = invoke("config", "show")

    assert "the account has" not in as_made.out
    assert as_made.err == ""
    kept = {row["name"]: row["account_has"] for row in told.data["settings"] if row["account_has"]}
    assert kept == {"paper.cash": "1000000", "paper.fee_minimum": "1"}
    assert told.code == shown.code == 0
    assert "paper.cash does not hold: the PAPER account in" in shown.err
    assert "was made with 1000000, and keeps that" in shown.err
    assert "the account has" in shown.out


@pytest.mark.parametrize(
    "words", [("--home", "X"), ("--home", "X", "--json"), ("--home", "X", "show"), ("show",)]
)
def test_the_settings_of_a_folder_are_shown_wherever_it_is_named(
    invoke: Invoke, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = str(tmp_path / "elsewhere")
    done = invoke("config", *(folder if word == "X" else word for word in words))

    assert done.code == 0, done.err
    assert ("elsewhere" in done.out) is ("X" in words)


@pytest.mark.scenario("G10")
@pytest.mark.parametrize(
    ("toml", "env", "words"),
    [
        ("[paper]\ncahs = 1\n", {}, "paper.cahs: is not a known field"),
        ("[papper]\ncash = 1\n", {}, "papper: is not a known field"),
        ("[paper]\ncash = 1 2\n", {}, "is no TOML"),
        ("[paper]\ncash = -1\n", {}, "paper.cash: -1 is not positive"),
        ("", {"SAGA_PAPR__CASH": "1"}, "environment variable SAGA_PAPR__CASH is not a known"),
        ("", {"SAGA_PAPER__CASH": "much"}, "settings (SAGA_PAPER__CASH): paper.cash: 'much'"),
        ('[risk]\nsymbols = "AAPL"\n', {}, "must be a list, not 'AAPL'; write a list: [\"AAPL\"]"),
        ("[risk]\nprice_collar = 5\n", {}, "at most 1, not 5; 0.05 is 5 %"),
        (
            "[engine]\nmax_running = 0\n",
            {},
            "engine.max_running: must be greater than or equal to 1",
        ),
        ('portfolio = "a b"\n', {}, "portfolio name 'a b'"),
    ],
)
def test_a_loose_setting_is_refused(
    invoke: Invoke,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    toml: str,
    env: dict[str, str],
    words: str,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    desk.home.mkdir()
    (desk.home / "saga.toml").write_text(toml)

    done = invoke("config", "show")

    assert done.code == 2
    assert words in done.err


@pytest.mark.requirement("B9")
def test_the_operator_is_the_login_name_even_where_no_variable_says_it(desk: Desk) -> None:
    login = pwd.getpwuid(os.getuid()).pw_name

    done = desk.run("config", "show", "--json", env={"USER": "", "LOGNAME": ""})

    assert done.code == 0, done.err
    assert login in done.out
    assert f"login name of user id {os.getuid()}" in done.out
