"""How the command starts: what it loads before it does anything, and that it hears signals then."""

import subprocess
import sys

import pytest

from desk.command.later import Later
from desk.command.tree import COMMANDS
from tests.desk.terminal import LONGEST_SECONDS, Desk, Done, environment

LOADED_AT_THE_END = """
import atexit
atexit.register(lambda: print("loaded:", *sys.modules))
"""
LOADED_AT_THE_HALT = """
def hear(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".halt"):
        print("loaded:", *sys.modules)
sys.addaudithook(hear)
"""
INTERRUPTED_WHILE_IT_LOADS = """
import signal
class Interrupting:
    def find_spec(self, name, *_):
        if name == "desk.command.halting":
            exec("signal.raise_signal(signal.SIGINT)")  # as some packages make their classes
sys.meta_path.insert(0, Interrupting())
"""


def _run(desk: Desk, beforehand: str, *words: str) -> Done:
    """Run the command as `python -m` does, in a process in which something was done beforehand."""
    folder = desk.home.parent
    script = f"import sys\n{beforehand}\nfrom desk.__main__ import main\nsys.exit(main())\n"
    (folder / "prepared.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "prepared", *words],
        cwd=folder,
        capture_output=True,
        env=environment({"SAGA_HOME": str(desk.home)}),
        timeout=LONGEST_SECONDS,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def _loaded(done: Done) -> set[str]:
    assert done.code == 0, done.err
    return set(done.out.partition("loaded: ")[2].splitlines()[0].split())


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_what_needs_no_store_loads_neither_the_engine_nor_any_command(
    desk: Desk, word: str
) -> None:
    loaded = _loaded(_run(desk, LOADED_AT_THE_END, word))

    assert "typer" in loaded
    assert not loaded & {"saga", "brokers", "portfolio", "pydantic", "rich", "anyio", "asyncio"}
    assert not loaded & {each.place.partition(":")[0] for each in COMMANDS}


@pytest.mark.requirement("S13")
def test_the_halt_file_is_there_before_what_only_tells_of_the_halt_is_loaded(traded: Desk) -> None:
    loaded = _loaded(_run(traded, LOADED_AT_THE_HALT, "halt", "--reason", "x"))

    assert (traded.home / "saga.db.halt").exists()
    assert "saga.store.halt_file" in loaded
    assert not loaded & {"portfolio", "brokers.paper", "desk.trading_state", "desk.control"}


@pytest.mark.parametrize("words", [("halt", "--reason", "x"), ("list",), ("check",)])
def test_a_command_loads_no_other_one(traded: Desk, words: tuple[str, ...]) -> None:
    loaded = _loaded(_run(traded, LOADED_AT_THE_END, *words))

    assert not loaded & {"desk.command.running", "desk.command.acting", "desk.driving"}
    assert not loaded & {"desk.wiring", "desk.demo", "saga.diagrams"}


@pytest.mark.requirement("D6")
def test_an_interruption_while_a_command_is_loaded_is_heard_as_one(desk: Desk) -> None:
    done = _run(desk, INTERRUPTED_WHILE_IT_LOADS, "halt", "--reason", "x")

    assert (done.code, done.out, done.err) == (130, "", "")


@pytest.mark.parametrize("command", ["show", "events", "diagram"])
def test_every_command_that_reads_a_journal_knows_the_kinds_in_it(
    traded: Desk, command: str
) -> None:
    batches = traded.run("list", "--json").data["batches"]
    opened = next(each["batch_id"] for each in batches if each["exclusion_key"] is None)

    done = traded.run(command, opened)

    assert done.code == 0, done.err


@pytest.mark.parametrize(
    "command",
    [each for each in COMMANDS if each.name != "demo"],  # whose help is of the play itself
    ids=lambda command: command.name,
)
def test_the_line_of_a_command_is_how_its_own_help_begins(command: Later) -> None:
    itself = command.make_context(command.name, [], resilient_parsing=True).command

    assert command.help is not None
    assert " ".join(itself.help.split()).startswith(command.help)
