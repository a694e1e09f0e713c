"""`saga demo`: reads the command line, plays the scenes, leaves nothing behind that was not asked.

stdout has the one JSON object and nothing else, and that only with `--json`; everything that people
read is on stderr.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer

from desk.demo.performance import perform
from desk.demo.report import DemoReport
from desk.demo.screen import Show
from desk.demo.stage import FAST, WATCHED
from desk.exit_codes import ExitCode
from desk.home import Home
from desk.signals import SIGNALS
from saga.errors import InvalidInput
from saga.wording import shown

DEFAULT_SEED: Final = 1
MAX_SEED: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    as_json: bool = False
    seed: int = DEFAULT_SEED
    keep: Path | None = None
    fast: bool = False


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object last, on stdout.")
    ] = False,
    seed: Annotated[
        str,
        typer.Option(
            metavar="N", help="Draws the days, the refused orders, the moment of the kill."
        ),
    ] = str(DEFAULT_SEED),
    keep: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Keep store, books and diagrams in this new folder."),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Do not wait for people who watch.")] = False,
) -> None:
    """Play five scenes on a PAPER exchange with real prices: what sagas do when things go wrong.

    Exit status: 0 if everything was as it should be, 1 if not, 2 for a wrong option, 130 if
    interrupted.

    Example: saga demo --keep ./my-demo --seed 7
    """
    raise typer.Exit(run(as_json=as_json, seed=seed, keep=keep, fast=fast))


def run(*, as_json: bool, seed: str, keep: str | None, fast: bool) -> int:
    """Play the demo as the command line asks, and return the exit status."""
    try:
        wish = Wish(as_json, _seed(seed), _folder(keep), fast)
    except InvalidInput as error:
        return _refused(error)
    report: DemoReport | None
    try:
        report = anyio.run(_until_signal, wish)
    except KeyboardInterrupt:
        report = None
    except InvalidInput as error:
        return _refused(error)
    except BrokenPipeError:
        _stop_speaking()
        return ExitCode.FAILED
    if report is None:
        left = f"{wish.keep} has what there was by then" if wish.keep else "nothing is left of it"
        Show().line(f"saga: the demo was interrupted; {left}.")
        return ExitCode.INTERRUPTED
    if wish.as_json:
        sys.stdout.write(json.dumps(report.as_json()) + "\n")
        sys.stdout.flush()
    return ExitCode.DONE if report.ok else ExitCode.FAILED


async def _until_signal(wish: Wish) -> DemoReport | None:
    """Play until a signal comes; None if one came. Everything is tidied up before it ends."""
    report: DemoReport | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(*SIGNALS) as signals:

            async def listen() -> None:
                # Later ones change nothing: the tidying up is under way, and is short.
                async for _ in signals:
                    scope.cancel()

            with anyio.CancelScope() as scope:
                tasks.start_soon(listen)
                show = Show()
                with _place(wish) as home:
                    pace = FAST if wish.fast else WATCHED
                    report = await perform(home, wish.seed, pace, show, kept=wish.keep)
            tasks.cancel_scope.cancel()
    return report


@contextmanager
def _place(wish: Wish) -> Iterator[Home]:
    """Make the folder: the one that is to be kept, or one that goes away."""
    if wish.keep is not None:
        try:
            wish.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                f"--keep {wish.keep} cannot be made: {error.strerror}; name another folder"
            ) from None
        yield Home(wish.keep)
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="saga-demo-")
    except OSError as error:
        raise InvalidInput(
            f"no temporary folder can be made: {error.strerror}; set TMPDIR, or use --keep DIR"
        ) from None
    with folder as name:
        yield Home(Path(name))


def _refused(error: InvalidInput) -> ExitCode:
    Show().line(f"saga: {error}")
    return ExitCode.USAGE


def _stop_speaking() -> None:
    """Whoever listened has gone: nothing more is said, not even at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _seed(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SEED)):
        seed = int(text)
        if seed <= MAX_SEED:
            return seed
    raise InvalidInput(
        f"--seed must be a whole number from 0 to {MAX_SEED}, not {shown(text)}; leave it out for "
        f"{DEFAULT_SEED}"
    )


def _folder(text: str | None) -> Path | None:
    """Return the folder that is to be kept; nothing is made as yet."""
    if text is None:
        return None
    folder = Path(text).expanduser().absolute()
    try:
        is_used = any(folder.iterdir())
    except FileNotFoundError:
        return folder
    except NotADirectoryError:
        raise InvalidInput(
            f"--keep {folder} is a file; name a folder that is new or empty"
        ) from None
    except OSError as error:
        raise InvalidInput(
            f"--keep {folder} cannot be used: {error.strerror}; name another folder"
        ) from None
    if is_used:
        raise InvalidInput(f"--keep {folder} is not empty; name a folder that is new or empty")
    return folder
