"""The runbook: every command in it is one, and every state, alert and exit status is in it."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from desk.command.app import app
from desk.exit_codes import ExitCode
from saga.logbook import TradingState
from saga.trading import BRAKE
from saga.views import BatchStatus
from tests.desk.terminal import REPOSITORY

PAGE = REPOSITORY / "docs" / "runbook.md"
COMMANDS = re.findall(r"`(saga [^`]+)`|^ +(saga .+?)(?: +#.*)?$", PAGE.read_text(), re.MULTILINE)


def _command(words: Iterator[str]) -> tuple[Any, str]:
    command: Any = typer.main.get_command(app)
    name = "saga"
    while hasattr(command, "commands"):
        name = next(words)
        command = command.commands[name]
    return command, name


@pytest.mark.parametrize("line", sorted({code or block for code, block in COMMANDS}))
def test_every_command_of_the_runbook_is_taken_by_the_program(line: str) -> None:
    if line == "saga COMMAND --help":
        return
    _, *words = shlex.split(line)
    rest = iter(words)

    command, name = _command(rest)

    command.make_context(name, list(rest))


def test_a_command_that_the_program_does_not_know_would_be_seen() -> None:
    command, name = _command(iter(["incident", "close"]))

    with pytest.raises(Exception, match="No such option"):
        command.make_context(name, ["ID", "--reason", "x", "--nonsense"])
    with pytest.raises(KeyError):
        _command(iter(["nonsense"]))


def test_the_runbook_names_every_status_every_state_and_every_alert() -> None:
    page = PAGE.read_text()

    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \|", page, re.MULTILINE), code
    for status in BatchStatus:
        assert re.search(rf"^\| [^|]*\b{status.value}\b", page, re.MULTILINE), status
    for state in set(TradingState) - {TradingState.ACTIVE}:
        assert re.search(rf"^\| {state.value}\b", page, re.MULTILINE), state
    for words in ("is STALE", "it may have left", "when late truth was told of", BRAKE):
        assert words in page


def test_the_runbook_is_found_from_the_readme() -> None:
    assert "(docs/runbook.md)" in (REPOSITORY / "README.md").read_text()
