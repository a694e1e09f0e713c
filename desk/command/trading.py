"""`saga reduce`, `activate`, and what `saga halt` tells: which orders may go out at all."""

from pathlib import Path

import anyio
import typer

from desk import trading_state
from desk.carried import Unfinished, unfinished
from desk.carrier import carrier_of
from desk.command.operating import operators_session, said
from desk.command.options import (
    ByOption,
    HomeOption,
    JsonOption,
    LoggedReasonOption,
    NoInputOption,
    YesOption,
)
from desk.exit_codes import ExitCode
from desk.exposure import in_place
from desk.home import Home
from desk.session import Session
from desk.trading_state import Standing, standing_of
from desk.wishes import SetTrading
from saga.exact import plain
from saga.logbook import TradingState
from saga.machine import SAGA_UNDER_WAY, SagaState

_SHOWN = 5
"""Most symbols that a sentence names."""
NOTED_SECONDS = 2.0
"""How long `saga halt` waits to hear that the owner of the store has noted it."""


def reduce(
    context: typer.Context,
    reason: LoggedReasonOption,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let only such orders out as bring a holding nearer to zero, and compensations.

    From HALTED this lets orders out again. Example: saga reduce --reason "the books differ"
    """
    _ease(context, home, TradingState.REDUCING, by, reason, yes, no_input, as_json=as_json)


def activate(
    context: typer.Context,
    reason: LoggedReasonOption,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let all orders out again that pass the limits; what waits may then run.

    Example: saga activate --reason "prices are right again"
    """
    _ease(context, home, TradingState.ACTIVE, by, reason, yes, no_input, as_json=as_json)


def _ease(
    context: typer.Context,
    home: Path | None,
    state: TradingState,
    by: str | None,
    reason: str,
    yes: bool,
    no_input: bool,
    *,
    as_json: bool,
) -> None:
    session = operators_session(context, home, as_json=as_json)
    desk = session.configured.home
    wish = SetTrading(
        state=state, by=by or session.operator, reason=said(reason, kept_in="logbook")
    )

    async def work() -> ExitCode:
        before = await standing_of(desk)
        session.screen.say(f"Now {before.sentence}.")
        await _tell_waiting(session)
        await session.confirm(f"Make it {state}?", yes=yes, no_input=no_input)
        pid = await trading_state.ease(desk, wish)
        if pid is not None:
            session.screen.say(f"Process {pid} owns the store, and has noted it.")
        return _show(session, await standing_of(desk))

    session.refuse_without_store()
    session.run(work)


def _show(session: Session, standing: Standing) -> ExitCode:
    if session.screen.is_for_people:
        session.screen.text(f"{standing.sentence[0].upper()}{standing.sentence[1:]}.")
    else:
        session.screen.json(standing.as_json())
    return ExitCode.DONE


async def tell_halted(session: Session) -> ExitCode:
    """Say what a halt that holds means for the batches under way, once it is noted."""
    desk = session.configured.home
    with anyio.move_on_after(NOTED_SECONDS):
        # Another process writes it, and nobody tells us when.
        while await _is_not_noted(desk):  # noqa: ASYNC110
            await anyio.sleep(0.1)
    await _tell_running(session)
    return _show(session, await standing_of(desk))


async def _tell_running(session: Session) -> None:
    """Say which batches a halt concerns, and who undoes them."""
    async with session.history() as history:
        found = await unfinished(history)
    for unreadable in found.unreadable:
        session.screen.say(unreadable.sentence, style="bold red")
    running = [each for each in found.batches if each.row.state in SAGA_UNDER_WAY]
    if not running:
        if not found.unreadable:
            session.screen.say("Nothing was running.")
        return
    carrier = await carrier_of(session.configured.home)
    for each in running:
        words = f"{_by_a_halt(each)} ({carrier.sentence})."
        if carrier.pid is None:
            words = _left_alone(each)
        session.screen.say(
            f"{each.row.batch_id} is {each.row.state}: {words}",
            style="yellow" if carrier.pid is not None else "bold red",
        )


def _by_a_halt(each: Unfinished) -> str:
    """Return what a halt makes of a batch that a saga process has."""
    batch_id, saga = each.row.batch_id, each.saga
    is_undone = saga.state is SagaState.COMPENSATING
    if each.row.paused:
        or_cancel = "" if is_undone else f" or `saga cancel {batch_id} --reason ...`"
        return (
            "it is paused, and a halt does not cancel it: NOTHING of it is undone, and what is "
            f"open may fill, until `saga unpause {batch_id} --reason ...`{or_cancel}"
        )
    if is_undone and saga.cancel is None:
        return "it is being undone, and a halt does not hold that up"
    fate = "undone as its mode says" if saga.undoes else "what filled stays, as its mode says"
    return f"it is cancelled, and {fate}"


def _left_alone(each: Unfinished) -> str:
    """Return that nobody undoes a batch, what would, and what it has in place meanwhile."""
    row = each.row
    how = "`saga run` without a file carries it on"
    if row.paused:
        do = "unpause" if each.saga.state is SagaState.COMPENSATING else "cancel"
        how = f"`saga {do} {row.batch_id} --reason ...`, as it is paused"
    found = in_place(each.saga)
    held = [
        f"{plain(it.low) if it.is_known else f'{plain(it.low)} to {plain(it.high)}'} {it.symbol} "
        f"({it.certainty})"
        for it in found[:_SHOWN]
    ]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    meanwhile = f"{', '.join(held)}{more}" if held else "nothing"
    return (
        f"no saga process has it, so NOTHING is being undone until {how}. In place meanwhile: "
        f"{meanwhile}."
    )


async def _tell_waiting(session: Session) -> None:
    async with session.history() as history:
        active = await history.active()
    for row in active:
        if row.paused:
            session.screen.say(f"{row.batch_id} is paused, and stays so.", style="yellow")
        elif row.state == SagaState.PENDING:
            session.screen.say(f"{row.batch_id} waits, and may run then.", style="yellow")


async def _is_not_noted(home: Home) -> bool:
    standing = await standing_of(home)
    return standing.since is None and (await carrier_of(home)).pid is not None
