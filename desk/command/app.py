"""The command itself, and the one place where every error becomes a sentence and an exit status.

Every command waits for what is loaded here: each is loaded when it is called (`desk.command.tree`),
and what only an error needs when there is one.
"""

import os
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Annotated, Final

import typer

from desk.command.options import HomeOption
from desk.command.tree import ACTING, Tree
from desk.exit_codes import MEANINGS, ExitCode
from desk.given import Given
from desk.streams import SturdyStream, sturdy_streams

_STATUSES: Final = "Exit status: " + "; ".join(
    f"{code.value} {meaning}" for code, meaning in MEANINGS.items()
)
_EPILOG: Final = f"{_STATUSES}."
app = typer.Typer(
    name="saga",
    cls=Tree,
    help="Run batches of orders as sagas: whole, or undone, and never in the dark. PAPER only.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"trade-saga {_read_version()}\n")
        raise typer.Exit


def _read_version() -> str:
    """Read the version where it stands; to import it would be to load the engine."""
    engine = find_spec("saga")
    assert engine is not None
    assert engine.origin is not None
    version: str = run_path(str(Path(engine.origin).with_name("version.py")))["VERSION"]
    return version


@app.callback()
def _begin(
    context: typer.Context,
    home: HomeOption = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings as TOML. [default: $SAGA_CONFIG, or saga.toml in the folder]",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version
    if isinstance(context.obj, _Call):
        context.obj.command = context.invoked_subcommand
    context.obj = Given(home, config)


@dataclass(slots=True)
class _Call:
    """Which command was called, once that is known."""

    command: str | None = None


def run_app() -> int:
    """Run the command with the process's arguments, and return its exit status.

    A reader that leaves, or a disk that is full, never stops what the command does.
    """
    call = _Call()
    with sturdy_streams() as (out, err):
        code = _run(call)
        out.flush()
        code = _after_output(out, call, code)
        err.flush()
    return code


def _run(call: _Call) -> int:
    try:
        return _invoke(call)
    except Exception as error:
        return _told(error)


def _told(error: Exception) -> int:
    """Say what was wrong, and return the exit status of that."""
    from desk.exit_status import of_error
    from desk.signals import Interrupted
    from saga.errors import SagaError

    if isinstance(error, Interrupted):
        return ExitCode.INTERRUPTED
    if isinstance(error, SagaError):
        _complain(str(error))
        return of_error(error)
    return _unexpected(error)


def _complain(sentence: str) -> None:
    from desk.format import Format
    from desk.output import Screen

    Screen(Format.TABLE).complain(sentence)


def _after_output(out: SturdyStream, call: _Call, code: int) -> int:
    """Say that output was lost; what acts keeps its status, what only shows has failed."""
    if not out.was_cut_short or out.failure is None:
        return code
    acts = call.command in ACTING
    _complain(
        f"the output could not be written: {out.failure.strerror}; only the output failed"
        + ("; the exit status is that of what was done" if acts else "")
    )
    return code if acts or code else ExitCode.FAILED


def _invoke(call: _Call) -> int:
    command = typer.main.get_command(app)
    try:
        result = command.main(prog_name="saga", standalone_mode=False, obj=call)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Usage errors are of a family whose home has changed between versions of typer.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "saga"
        sentence = error.format_message().rstrip(".").replace("Value error, ", "")
        _complain(f"{sentence}; `{path} --help` says what there is")
        return ExitCode.USAGE
    return result if isinstance(result, int) else ExitCode.DONE


def _unexpected(error: Exception) -> int:
    """Keep what is needed to mend the program, and say where it is."""
    from desk.home import Home
    from desk.settings import default_folder

    path = Home(default_folder(sys.argv)).log
    text = "".join(traceback.format_exception(error))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC).isoformat()} {sys.argv[1:]!r}\n{text}")
        where = f"the log {path} says more"
    except OSError:
        where = "there is no folder to keep more about it"
    _complain(
        f"unexpected error: {type(error).__name__}: {error}; {where}. What is durable stays so; "
        "`saga check` looks it over"
    )
    return ExitCode.UNEXPECTED
