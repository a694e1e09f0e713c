"""`saga config show`: what is set, and where each value came from."""

import typer

from desk.command.options import HomeOption, JsonOption, OutputOption
from desk.output import Column, Value
from desk.session import Given, Session
from saga.errors import InvalidInput

config_app = typer.Typer(
    help="What is set, and where. docs/settings.md has all limits of [risk], with their units.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

COLUMNS = (Column("name", "setting"), Column("value", "value"), Column("source", "from"))


@config_app.callback()
def _config(
    context: typer.Context,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """What is set, and where; the same as `saga config show`.

    docs/settings.md has an example with every limit of [risk], and its unit.
    """
    if context.invoked_subcommand is None:
        show(context, home, as_json, output)
        return
    if as_json or output is not None:
        raise InvalidInput(
            f"--json and --output stand behind {context.invoked_subcommand!r}; put them there"
        )
    given = context.obj if isinstance(context.obj, Given) else Given()
    context.obj = Given(home or given.home, given.config)


@config_app.command("show")
def show(
    context: typer.Context,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Show every setting, its value, and where that came from.

    A setting paper.cash is the environment's SAGA_PAPER__CASH, and cash under [paper] in the file.
    Those under paper hold when the account is made; its books then keep them.
    Example: SAGA_PAPER__CASH=5000 saga config show
    """
    session = Session(context, home, as_json=as_json, output=output)
    rows: list[dict[str, Value]] = [
        {"name": each.name, "value": each.value or None, "source": each.source}
        for each in session.configured.origins
    ]
    session.screen.rows(COLUMNS, rows, wrapper="settings")
