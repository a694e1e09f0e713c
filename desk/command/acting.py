"""`saga cancel`, `pause`, `unpause`, `retry`, `resolve`, `incident`: what operators do.

Each says first what it will do to live orders, and only then does it. It is done by the owner of
the store, which may be another process.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from desk import batch_report
from desk.carrier import carrier_of
from desk.command.operating import operators_session, said
from desk.command.options import (
    BatchArgument,
    ByOption,
    HomeOption,
    JsonOption,
    NoInputOption,
    ReasonOption,
    YesOption,
)
from desk.consequences import (
    doubts_about,
    of_cancel,
    of_close_incidents,
    of_look_again,
    of_pause,
    of_resolve,
    of_retry,
    of_retry_failed,
    of_unpause,
    why_not_resolved,
)
from desk.driving import drive, tell_others
from desk.exit_codes import ExitCode
from desk.exit_status import of_row
from desk.session import Session
from desk.trading_state import standing_of
from desk.wishes import (
    Cancel,
    Change,
    CloseIncidents,
    LookAgain,
    Pause,
    Resolve,
    Retry,
    RetryFailed,
    Unpause,
    Wish,
)
from saga.errors import InvalidInput
from saga.fold import saga_of
from saga.ledger import Saga
from saga.logbook import TradingState
from saga.machine import SAGA_ENDS
from saga.remedy import failed_trades_again
from saga.wording import explain, shown

WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until the batch is at rest.")
]
AdjustOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SYMBOL,QUANTITY,CASH[,TRADE_ID]",
        help="How it changed holdings and cash, both signed; may be repeated.",
    ),
]


def cancel(
    context: typer.Context,
    batch_id: BatchArgument,
    reason: ReasonOption,
    by: ByOption = None,
    wait: WaitOption = True,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a batch: open orders are cancelled, and what filled is undone as its mode says.

    Exit status 0 if that is how it ended. Example: saga cancel ID --reason "wrong file"
    """
    session = operators_session(context, home, as_json=as_json)
    wish = Cancel(batch_id=batch_id, by=by or session.operator, reason=said(reason))
    _act(
        session,
        batch_id,
        wish,
        of_cancel,
        wait=wait,
        yes=yes,
        no_input=no_input,
        ends_well="cancelled",
    )


def pause(
    context: typer.Context,
    batch_id: BatchArgument,
    reason: ReasonOption,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send nothing new for a batch; what is open stays open, and its deadline goes on.

    Example: saga pause ID --reason "asking the broker"
    """
    session = operators_session(context, home, as_json=as_json)
    wish = Pause(batch_id=batch_id, by=by or session.operator, reason=said(reason))
    _act(session, batch_id, wish, of_pause, wait=False, yes=yes, no_input=no_input)


def unpause(
    context: typer.Context,
    batch_id: BatchArgument,
    reason: ReasonOption,
    by: ByOption = None,
    wait: WaitOption = True,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused batch go on. While trading is HALTED that cancels it.

    Example: saga unpause ID --reason "the broker is back"
    """
    session = operators_session(context, home, as_json=as_json)
    wish = Unpause(batch_id=batch_id, by=by or session.operator, reason=said(reason))

    async def consequence(saga: Saga) -> list[str]:
        said = (await standing_of(session.configured.home)).said
        is_halted = said.state is TradingState.HALTED
        halted = f"trading is HALTED by {said.by}: {said.reason}" if is_halted else None
        return of_unpause(saga, datetime.now(UTC), halted=halted)

    _act(session, batch_id, wish, consequence, wait=wait, yes=yes, no_input=no_input)


def retry(
    context: typer.Context,
    batch_id: BatchArgument,
    reason: ReasonOption,
    undo_budget: Annotated[
        str | None,
        typer.Option(
            metavar="MONEY",
            help="STALE: a new bound on the undo's whole cost, checked before each undo against "
            "what the undo has cost so far; the one that passes it is already paid; then the "
            "batch is STALE again.",
        ),
    ] = None,
    no_undo_budget: Annotated[
        bool, typer.Option("--no-undo-budget", help="STALE: no bound on the undo's cost.")
    ] = False,
    by: ByOption = None,
    wait: WaitOption = True,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try again: the rollback of a STALE batch, or the failed trades of one that is over.

    What is over is never changed: its failed trades become a new batch, which names it as its
    parent; asking twice gives one batch. Example: saga retry ID --reason "the halt is lifted"
    """
    session = operators_session(context, home, as_json=as_json)
    who, why = by or session.operator, said(reason)
    if undo_budget is not None and no_undo_budget:
        raise InvalidInput("--undo-budget and --no-undo-budget contradict each other; give one")

    def wish_for(saga: Saga) -> Wish:
        if saga.state in SAGA_ENDS:
            if undo_budget is not None or no_undo_budget:
                raise InvalidInput(
                    f"--undo-budget is for a STALE batch, and {batch_id} is {saga.state}; "
                    "leave it out"
                )
            return RetryFailed(batch_id=batch_id, by=who, reason=why)
        keep = undo_budget is None and not no_undo_budget
        try:
            return Retry.model_validate(
                {
                    "batch_id": batch_id,
                    "by": who,
                    "reason": why,
                    "seen": saga.number,
                    "keep_budget": keep,
                    "undo_budget": undo_budget,
                }
            )
        except ValidationError as error:
            raise InvalidInput(f"--undo-budget: {explain(error)}") from None

    def consequence(saga: Saga) -> list[str]:
        wish = wish_for(saga)
        if isinstance(wish, Retry):
            return of_retry(saga, wish)
        return of_retry_failed(saga, failed_trades_again(saga, why, datetime.now(UTC)))

    _act(session, batch_id, wish_for, consequence, wait=wait, yes=yes, no_input=no_input)


def resolve(
    context: typer.Context,
    batch_id: BatchArgument,
    reason: ReasonOption,
    action: Annotated[str, typer.Option(metavar="TEXT", help="What was done by hand.")],
    evidence: Annotated[
        str, typer.Option(metavar="TEXT", help="Where that can be seen: a ticket, a trade id.")
    ],
    adjust: AdjustOption = None,
    keep_difference: Annotated[
        bool,
        typer.Option(
            "--keep-difference",
            help="Close it though the books go on saying what --adjust does not account for.",
        ),
    ] = False,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a STALE batch whose left-over exposure you have dealt with by hand.

    What was left over and --adjust does not make flat stays in the books, and is only kept with
    --keep-difference. Example: saga resolve ID --reason "sold by phone" --action "sold 40 KO at
    63.10" --evidence "ticket 4711" --adjust KO,-40,2524.00,T-4711
    """
    session = operators_session(context, home, as_json=as_json)
    why, done = said(reason), said(action, "--action")
    proof, changes = said(evidence, "--evidence"), tuple(_change(text) for text in adjust or ())

    def wish_for(saga: Saga) -> Wish:
        return Resolve(
            batch_id=batch_id,
            by=by or session.operator,
            reason=why,
            seen=saga.number,
            action=done,
            evidence=proof,
            changes=changes,
        )

    def consequence(saga: Saga) -> list[str]:
        return of_resolve(saga, changes)

    def refuse(saga: Saga) -> str | None:
        return None if keep_difference else why_not_resolved(saga, changes)

    _act(
        session,
        batch_id,
        wish_for,
        consequence,
        wait=False,
        yes=yes,
        no_input=no_input,
        doubts=doubts_about(changes),
        refuse=refuse,
    )


incident_app = typer.Typer(
    name="incident",
    help="Late truth: what the broker tells of a batch after its end.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@incident_app.command("look")
def look_again(
    context: typer.Context,
    batch_id: BatchArgument,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the broker again about all orders of a batch at rest; what is new is an incident.

    Exit status 4 if no answer came about some of them. Example: saga incident look ID
    """
    session = operators_session(context, home, as_json=as_json)
    wish = LookAgain(batch_id=batch_id, by=by or session.operator)
    _act(session, batch_id, wish, of_look_again, wait=False, yes=yes, no_input=no_input)


@incident_app.command("close")
def close_incidents(
    context: typer.Context,
    batch_id: BatchArgument,
    reason: ReasonOption,
    action: Annotated[
        str, typer.Option(metavar="TEXT", help="What was done by hand, if anything was.")
    ] = "",
    adjust: AdjustOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close the open incidents of a batch, once what was told late has been dealt with.

    What comes to light after they were shown stays open. Example: saga incident close ID --reason
    "sold by phone" --action "sold 40 KO at 63.10" --adjust KO,-40,2524.00,T-4711
    """
    session = operators_session(context, home, as_json=as_json)
    why, done = said(reason), said(action, "--action") if action else ""
    changes = tuple(_change(text) for text in adjust or ())

    def wish_for(saga: Saga) -> Wish:
        return CloseIncidents(
            batch_id=batch_id,
            by=by or session.operator,
            reason=why,
            seen=saga.number,
            action=done,
            changes=changes,
        )

    _act(
        session,
        batch_id,
        wish_for,
        lambda saga: of_close_incidents(saga, changes),
        wait=False,
        yes=yes,
        no_input=no_input,
        doubts=doubts_about(changes),
    )


def _change(text: str) -> Change:
    parts = [part.strip() for part in text.split(",")]
    if not 3 <= len(parts) <= 4:
        raise InvalidInput(
            f"--adjust: {shown(text)} must be SYMBOL,QUANTITY,CASH[,TRADE_ID]; for example "
            "KO,-40,2524.00,T-4711"
        )
    subject, quantity, cash, *reference = parts
    fields = {"subject": subject, "quantity": quantity, "cash": cash}
    try:
        return Change.model_validate({**fields, "reference": reference[0] if reference else None})
    except ValidationError as error:
        raise InvalidInput(f"--adjust {shown(text)}: {explain(error)}") from None


def _act(
    session: Session,
    batch_id: str,
    wish: Wish | Callable[[Saga], Wish],
    consequence: Callable[[Saga], list[str] | Awaitable[list[str]]],
    *,
    wait: bool,
    yes: bool,
    no_input: bool,
    ends_well: str | None = None,
    doubts: Sequence[str] = (),
    refuse: Callable[[Saga], str | None] = lambda _saga: None,
) -> None:
    """Say what a wish will do, get it done, and show what became of the batch.

    What is in doubt is done only if somebody was asked, or said --yes. What `refuse` gives a
    reason against is not done at all.
    """

    async def work() -> ExitCode:
        async with session.history() as history:
            records = await history.journal(batch_id)
        saga = saga_of(records)
        wanted = wish(saga) if callable(wish) else wish
        sentences = consequence(saga)
        for sentence in sentences if isinstance(sentences, list) else await sentences:
            session.screen.say(sentence)
        if (why := refuse(saga)) is not None:
            raise InvalidInput(why)
        if doubts and not yes and not session.asks(yes=yes, no_input=no_input):
            raise InvalidInput(
                f"{'; '.join(doubts)}; nothing was done: correct it, or insist with --yes (-y)"
            )
        await tell_others(session, batch_id)
        await session.confirm("Do it?", yes=yes, no_input=no_input)
        driven = await drive(session, wanted, wait=wait)
        async with session.history() as history:
            carrier = await carrier_of(session.configured.home)
            report = await batch_report.read_report(history, driven.row.batch_id, carrier)
        if session.screen.is_for_people:
            batch_report.show(report, session.screen)
        else:
            session.screen.json(batch_report.as_json(report))
        if not wait or report.row.status == ends_well:
            return ExitCode.DONE
        return of_row(report.row)

    session.run(work)
