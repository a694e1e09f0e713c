"""The options that several commands share, said once."""

from pathlib import Path
from typing import Annotated

import typer

from desk.format import Format

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The desk's folder. [default: $SAGA_HOME, or ~/.local/share/trade-saga]",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="JSON on stdout and nothing else; same as --output json.")
]
OutputOption = Annotated[
    Format | None,
    typer.Option("--output", "-O", help="The form of the data.", show_default="table"),
]
CursorOption = Annotated[
    str | None, typer.Option(help="Where the page before ended.", metavar="CURSOR")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it is kept in the journal.", metavar="TEXT")
]
LoggedReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it is kept in the logbook.", metavar="TEXT")
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", help="Who wants it. [default: your login]", show_default=False),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, do it.")]
NoInputOption = Annotated[bool, typer.Option("--no-input", help="Never ask, as off a terminal.")]
BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="The batch: BAT_...")]
