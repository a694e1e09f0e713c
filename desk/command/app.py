"""The command's tree, and the one place where every error becomes a sentence and an exit status."""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from desk.command import acting, checking, configuring, drawing, keeping, looking, running, trading
from desk.command.options import HomeOption
from desk.exit_codes import MEANINGS, ExitCode, of_error
from desk.output import Format, Screen
from desk.session import Given
from desk.signals import Interrupted
from desk.streams import SturdyStream, sturdy_streams
from saga import __version__
from saga.errors import SagaError

_STATUSES: Final = "Exit status: " + "; ".join(
    f"{code.value} {meaning}" for code, meaning in MEANINGS.items()
)
_EPILOG: Final = f"{_STATUSES}."
app = typer.Typer(
    name="saga",
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
        sys.stdout.write(f"trade-saga {__version__}\n")
        raise typer.Exit


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


def _demo(context: typer.Context) -> object:
    """Play the five scenes on real prices, in half a minute.

    Example: saga demo --seed 7
    """
    from desk.demo.command import demo  # loaded only for this

    demo_app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    demo_app.command()(demo)
    return typer.main.get_command(demo_app).main(
        args=context.args, prog_name="saga demo", standalone_mode=False, obj=context.obj
    )


app.command(
    "demo",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(_demo)
_COMMANDS: Final[tuple[tuple[str, Callable[..., None], bool], ...]] = (
    ("run", running.run, True),
    ("list", looking.list_batches, False),
    ("show", looking.show, False),
    ("events", looking.events, False),
    ("logbook", looking.logbook, False),
    ("portfolio", looking.portfolio, False),
    ("cancel", acting.cancel, True),
    ("pause", acting.pause, True),
    ("unpause", acting.unpause, True),
    ("retry", acting.retry, True),
    ("resolve", acting.resolve, True),
    ("halt", trading.halt, True),
    ("reduce", trading.reduce, True),
    ("activate", trading.activate, True),
    ("diagram", drawing.diagram, False),
    ("check", checking.check, False),
    ("doctor", checking.doctor, False),
    ("backup", keeping.backup, True),
    ("accept-copy", keeping.accept_copy, True),
)
"""Each command, and whether it acts: then its exit status is that of what it did, whatever becomes
of its output; one that only shows has failed if nobody can read it."""
ACTING: Final = frozenset({"incident", *(name for name, _, acts in _COMMANDS if acts)})

for _name, _command, _ in _COMMANDS:
    app.command(_name)(_command)
app.add_typer(acting.incident_app, name="incident")
app.add_typer(configuring.config_app, name="config")


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
    screen = Screen(Format.TABLE)
    try:
        return _invoke(call)
    except Interrupted:
        return ExitCode.INTERRUPTED
    except SagaError as error:
        screen.complain(str(error))
        return of_error(error)
    except Exception as error:
        return _unexpected(error, screen)


def _after_output(out: SturdyStream, call: _Call, code: int) -> int:
    """Say that output was lost; what acts keeps its status, what only shows has failed."""
    if not out.was_cut_short or out.failure is None:
        return code
    acts = call.command in ACTING
    Screen(Format.TABLE).complain(
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
        Screen(Format.TABLE).complain(f"{sentence}; `{path} --help` says what there is")
        return ExitCode.USAGE
    return result if isinstance(result, int) else ExitCode.DONE


def _unexpected(error: Exception, screen: Screen) -> int:
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
    screen.complain(
        f"unexpected error: {type(error).__name__}: {error}; {where}. What is durable stays so; "
        "`saga check` looks it over"
    )
    return ExitCode.UNEXPECTED
