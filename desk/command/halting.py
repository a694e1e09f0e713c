"""`saga halt`: the kill switch. What only tells of it is loaded when the file is there."""

import typer

from desk.command.operating import operators_session, said
from desk.command.options import ByOption, HomeOption, JsonOption, LoggedReasonOption
from desk.exit_codes import ExitCode
from saga.store.halt_file import HaltedAllTheSame, HaltFile, HaltOrder


def halt(
    context: typer.Context,
    reason: LoggedReasonOption,
    by: ByOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop trading at once: no forward order goes out, now or after a restart.

    What runs is cancelled, and undone as its mode says; what waits goes on waiting. Nothing is
    asked first, and settings that cannot be used do not matter. `saga activate` is the way back.
    When nothing else works, make the file beside the store, in the desk's folder: `touch
    saga.db.halt` does the same. Example: saga halt --reason "prices are wrong"
    """
    session = operators_session(context, home, as_json=as_json)
    order = HaltOrder(by or session.operator, said(reason, kept_in="logbook"))
    file = HaltFile(session.configured.home.store)

    async def work() -> ExitCode:
        lost = None
        try:
            file.put(order)
        except HaltedAllTheSame as error:
            lost = error
        session.screen.say("No new order goes out from now on.", style="bold red")
        if lost is not None:
            session.screen.say(f"Trading is halted all the same: {lost}.", style="bold red")
        from desk.command.trading import tell_halted

        return await tell_halted(session)

    session.refuse_without_store()
    session.run(work)
