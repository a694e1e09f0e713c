"""`saga config show`: what is set, and where each value came from."""

import typer

from brokers.paper import BooksUnusable, PaperExchange, PaperSettings
from desk.command.options import HomeOption, JsonOption, OutputOption
from desk.exit_codes import ExitCode
from desk.given import Given
from desk.output import Column, Value
from desk.session import Session
from desk.settings import PaperPart
from saga.errors import InvalidInput

config_app = typer.Typer(
    help="What is set, and where. docs/settings.md has all limits of [risk], with their units.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

COLUMNS = (Column("name", "setting"), Column("value", "value"), Column("source", "from"))
_KEPT = Column("account_has", "the account has")


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
    Those under paper hold when the account is made; its books then keep them, and where they have
    another value, that is shown too.
    Example: SAGA_PAPER__CASH=5000 saga config show
    """
    session = Session(context, home, as_json=as_json, output=output)

    async def work() -> ExitCode:
        kept = await _kept_otherwise(session)
        rows: list[dict[str, Value]] = [
            {
                "name": each.name,
                "value": each.value or None,
                "source": each.source,
                "account_has": kept.get(each.name),
            }
            for each in session.configured.origins
        ]
        columns = (*COLUMNS, _KEPT) if kept else COLUMNS
        session.screen.rows(columns, rows, wrapper="settings")
        for name, value in kept.items():
            session.screen.say(
                f"{name} does not hold: the PAPER account in {session.configured.home.folder} was "
                f"made with {value}, and keeps that; for another, make an account in a new --home.",
                style="yellow",
            )
        return ExitCode.DONE

    session.run(work)


async def _kept_otherwise(session: Session) -> dict[str, str]:
    """Return by name what the account was made with, where that is not what is set now.

    Its trading day is no matter of this: it moves on.
    """
    home, paper = session.configured.home, session.configured.settings.paper
    if not home.exchange.exists():
        return {}
    try:
        books = await PaperExchange(home.exchange).books()
    except BooksUnusable as error:
        session.screen.say(f"What the PAPER account was made with cannot be read: {error}.")
        return {}
    made = {
        name: getattr(books.settings, name)
        for name in PaperPart.model_fields
        if name in PaperSettings.model_fields
    }
    if books.cash_entries:
        made["cash"] = books.cash_entries[0].amount
    return {
        f"paper.{name}": "no bound" if value is None else str(value)
        for name, value in made.items()
        if value != getattr(paper, name)
    }
