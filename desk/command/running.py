"""`saga run`: a file becomes a batch, the batch a saga, and the saga is watched to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from rich.text import Text

from desk import batch_report
from desk.blocking import wait_foreseen
from desk.command.dry_run import dry_run_of
from desk.command.options import (
    ByOption,
    HomeOption,
    JsonOption,
    NoInputOption,
    OutputOption,
    YesOption,
)
from desk.csv_import import TEMPLATE
from desk.driving import carry_on, drive, tell_others
from desk.exit_codes import ExitCode
from desk.exit_status import of_error, of_row
from desk.format import Format
from desk.intake import (
    CsvTerms,
    Read,
    for_portfolio,
    orders_of,
    priced,
    read_file,
    unpriced_symbols,
)
from desk.older_store import migrate_older
from desk.output import Screen, money
from desk.session import Session
from desk.trading_state import refuse_while_halted, say_trading
from desk.wiring import exchange_of
from desk.wishes import Submit
from saga.amounts import to_decimal
from saga.directive import Directive
from saga.errors import InvalidInput, SagaError
from saga.events import Submitted
from saga.exact import times, total
from saga.model import Batch, ExecutionMode, Priority
from saga.policy import FailurePolicy, OnFailure
from saga.wording import explain

_SKIPPED_SHOWN = 10


def run(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A batch as JSON, or orders as CSV; - is stdin. Without it, everything that is "
            "unfinished is carried on.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan; store nothing, send nothing.")
    ] = False,
    csv_template: Annotated[
        bool, typer.Option("--csv-template", help="Print a CSV file to begin with.")
    ] = False,
    on_failure: Annotated[
        OnFailure | None,
        typer.Option(
            help="What to do when it fails; a CSV's batch is then made one that rolls back, as "
            "undo and complete_forward need (the latter needs --timeout too).",
            show_default="by its mode",
        ),
    ] = None,
    undo_budget: Annotated[
        str | None,
        typer.Option(
            metavar="MONEY",
            help="Checked before each undo against what the undo has cost so far; the one that "
            "passes it is already paid; then the batch is STALE.",
        ),
    ] = None,
    portfolio: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose books it is. [default: main]")
    ] = None,
    mode: Annotated[
        ExecutionMode | None, typer.Option(help="CSV: how to run.", show_default="ATOMIC")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="CSV: it must be over by then.")
    ] = None,
    priority: Annotated[
        Priority | None,
        typer.Option(
            help="CSV: which of the batches that wait is admitted first, and whose records share "
            "the next commit. It passes no batch that runs on its portfolio; turns at the limits "
            "per second, and at the exchange, go by arrival.",
            show_default="NORMAL",
        ),
    ] = None,
    max_parallel: Annotated[
        int | None, typer.Option(metavar="N", help="CSV: most orders in the air at once.")
    ] = None,
    lot: Annotated[
        str | None, typer.Option(metavar="N", help="CSV: what quantities are multiples of.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the batch is at rest.")
    ] = True,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Run a batch of orders as a saga, on the PAPER account, and watch it.

    Example: saga run orders.csv --dry-run, then saga run orders.csv
    """
    forms = (Format.TABLE, Format.JSON)
    session = Session(context, home, as_json=as_json, output=output, forms=forms)
    if csv_template:
        session.screen.raw(TEMPLATE)
        return
    if file is None:
        session.run(lambda: _carry_on(session))
        return
    with _refusals(session, [], is_dry=dry_run):
        terms = CsvTerms(mode, timeout, priority, max_parallel, _amount("--lot", lot), on_failure)
        read = read_file(file, terms)
        _tell_skipped(read, session.screen)
        batch = for_portfolio(read.batch, portfolio, session.configured.settings.portfolio)
        policy = _policy(on_failure, undo_budget)
    if dry_run:
        session.run(lambda: dry_run_of(session, batch, policy))
        return

    async def work() -> ExitCode:
        accepted: list[str] = []
        sure = yes or str(file) == "-"
        with _refusals(session, accepted):
            await migrate_older(session)
            await refuse_while_halted(session.configured.home)
            ready = await _with_prices(session, batch)
            if session.asks(yes=sure, no_input=no_input):
                session.screen.say(f"PAPER: {_in_words(ready, policy)}.")
                if (wait_first := await wait_foreseen(session.configured.home, ready)) is not None:
                    session.screen.say(wait_first, style="yellow")
            await tell_others(session, ready.batch_id)
            await session.confirm("Send it?", yes=sure, no_input=no_input)

            def announce() -> None:
                accepted.append(ready.batch_id)
                session.screen.say(f"PAPER {ready.batch_id}: {_in_words(ready, policy)}.")

            wish = Submit(batch=ready, policy=policy, by=by or session.operator)
            driven = await drive(session, wish, wait=wait, granted=announce)
        async with session.history() as history:
            report = await batch_report.read_report(history, driven.row.batch_id)
        if session.screen.is_for_people:
            batch_report.show(report, session.screen)
        else:
            session.screen.json(batch_report.as_json(report))
        return of_row(report.row) if wait else ExitCode.DONE

    session.run(work)


async def _carry_on(session: Session) -> ExitCode:
    """Carry on with what is unfinished, and tell how it came out."""
    if not session.configured.home.store.exists():
        raise InvalidInput(
            f"FILE is missing, and there is no store in {session.configured.home.folder} with "
            "anything unfinished; name a file, for example orders.csv (`saga run --csv-template`)"
        )
    await migrate_older(session)
    await say_trading(session)
    carried = await carry_on(session)
    if session.screen.is_for_people:
        for row in carried.rows:
            session.screen.text(session.screen.cell(row.status) + Text(f"  {row.batch_id}"))
        if not carried.rows:
            session.screen.text(_why_nothing(len(carried.waiting), len(carried.behind)))
    else:
        session.screen.json(
            {
                "batches": [batch_report.batch_as_json(row) for row in carried.rows],
                "waiting": [batch_report.batch_as_json(row) for row in carried.waiting],
                "behind": [batch_report.batch_as_json(row) for row in carried.behind],
            }
        )
    codes = [of_row(row) for row in (*carried.rows, *carried.waiting, *carried.behind)]
    return max(codes, default=ExitCode.DONE)


def _why_nothing(waiting: int, behind: int) -> str:
    if not waiting:
        return "Nothing is unfinished."
    others = f", and {behind} behind {'it' if waiting == 1 else 'them'}" if behind else ""
    return (
        f"Nothing can be carried on: {waiting} wait{'' if waiting > 1 else 's'} for a person"
        f"{others}."
    )


async def _with_prices(session: Session, batch: Batch) -> Batch:
    """Give the orders the prices that are seen now, or those with which they were accepted."""
    exchange = exchange_of(session.configured)
    day = await exchange.day()
    listed = set(exchange.market.symbols)
    symbols = [symbol for symbol in unpriced_symbols(batch) if symbol in listed]
    prices = {symbol: exchange.market.close(symbol, day) for symbol in symbols}
    return priced(batch, prices, await _accepted_already(session, batch.batch_id))


async def _accepted_already(session: Session, batch_id: str) -> tuple[Directive, ...]:
    if not session.configured.home.store.exists():
        return ()
    try:
        async with session.history() as history:
            records = await history.journal(batch_id)
    except SagaError:
        return ()
    first = records[0].event
    return first.batch.directives if isinstance(first, Submitted) else ()


@contextmanager
def _refusals(session: Session, accepted: list[str], *, is_dry: bool = False) -> Iterator[None]:
    """Let each refusal before the batch is accepted end with what it has left behind."""
    home = session.configured.home
    had_account = home.exchange.exists()
    try:
        yield
    except SagaError as error:
        if accepted or is_dry or of_error(error) not in (ExitCode.USAGE, ExitCode.NOT_ALLOWED):
            raise
        left = "nothing was stored or sent"
        if home.exchange.exists() and not had_account:
            left = f"nothing was sent; the new PAPER account in {home.folder} stays"
        error.args = (f"{error}; {left}", *error.args[1:])
        raise


def _in_words(batch: Batch, policy: FailurePolicy) -> str:
    """Return what is about to be sent."""
    orders = orders_of(batch)
    parts = []
    for side in ("buy", "sell"):
        values = [
            times(each.quantity, price)
            for each in orders
            if each.side == side and (price := each.limit_price or each.reference_price)
        ]
        if values:
            parts.append(f"{len(values)} to {side} for about {money(total(values))} USD")
    others = len(batch.directives) - len(orders)
    if others:
        parts.append(f"{others} other{'s' if others > 1 else ''}")
    is_kept = policy.on_failure is OnFailure.KEEP or not batch.rollback_on_failure
    undone = len(batch.rolled_back_ids())
    fails = "what fills stays" if is_kept else "all is undone if it fails"
    if not is_kept and undone < len(batch.directives):
        verb = "is" if undone == 1 else "are"
        fails = f"{undone} of its {len(batch.directives)} legs {verb} undone if it fails"
    what = "; ".join(parts) or "no order"
    return f"{batch.execution_mode}, {what}; {fails}"


def _tell_skipped(read: Read, screen: Screen) -> None:
    if not read.skipped:
        return
    rows = len(read.skipped)
    screen.say(f"{read.layout}: {rows} row{'s are' if rows > 1 else ' is'} no trade, left out:")
    for row in read.skipped[:_SKIPPED_SHOWN]:
        screen.say(f"  line {row.line}: {row.reason}")
    if rows > _SKIPPED_SHOWN:
        screen.say(f"  and {rows - _SKIPPED_SHOWN} more")


def _policy(on_failure: OnFailure | None, undo_budget: str | None) -> FailurePolicy:
    budget = _amount("--undo-budget", undo_budget)
    try:
        return FailurePolicy(on_failure=on_failure, undo_budget=budget)
    except ValidationError as error:
        raise InvalidInput(f"--undo-budget: {explain(error)}") from None


def _amount(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return to_decimal(text)
    except PydanticCustomError as error:
        raise InvalidInput(f"{option}: {error}") from None
