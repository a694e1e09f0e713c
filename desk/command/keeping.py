"""`saga backup` copies a store that is in use; `saga accept-copy` goes on from an old copy."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from desk.command.options import (
    ByOption,
    HomeOption,
    JsonOption,
    LoggedReasonOption,
    NoInputOption,
    YesOption,
)
from desk.exit_codes import ExitCode
from desk.format import Format
from desk.old_copy import COPY_ACCEPTED
from desk.reading import read_or_why
from desk.session import Session
from saga.appending import append_of
from saga.clock import utc_now
from saga.errors import NotAllowed, StoreUnusable
from saga.events import Paused
from saga.fold import apply
from saga.logbook import TradingState, TradingStateSet
from saga.machine import SAGA_AT_REST
from saga.store.backup import back_up
from saga.store.halt_file import HaltedAllTheSame, HaltFile, HaltOrder
from saga.store.mark import read_mark
from saga.store.sqlite import SqliteStore

FORMS = (Format.TABLE, Format.JSON)


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; not there yet.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store as of one instant; it may be in use. Never copy it with `cp`.

    Putting a copy back is to be said: see `saga accept-copy`. Example: saga backup monday.db
    """
    session = Session(context, home, as_json=as_json, forms=FORMS)

    async def work() -> ExitCode:
        copy = await asyncio.to_thread(back_up, session.configured.home.store, file)
        size = copy.stat().st_size
        if session.screen.is_for_people:
            session.screen.text(f"{copy}: {size:,} bytes, checked.")
        else:
            session.screen.json({"file": str(copy), "bytes": size})
        return ExitCode.DONE

    session.run(work)


def accept_copy(
    context: typer.Context,
    reason: LoggedReasonOption,
    by: ByOption = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on from a store that is an older copy of itself; trading is HALTED until it is activated.

    Orders may be at the broker of which the copy knows nothing: `saga check` names them, and what
    to do about each; docs/runbook.md has it step by step.
    Example: saga accept-copy --reason "disk died, monday's backup"
    """
    session = Session(context, home, as_json=as_json, forms=FORMS)
    place = session.configured.home.store

    async def work() -> ExitCode:
        if not place.exists():
            raise StoreUnusable(f"there is no store {place}; put the copy there first")
        session.keep_log()  # what the store says of it is said here, and once
        found, missing = await _found(place)
        session.screen.say(found)
        await session.confirm("Go on from this copy?", yes=yes, no_input=no_input)
        operator = by or session.operator
        why = f"{COPY_ACCEPTED} ({reason}): {missing}"
        # First the file: a copy must not be accepted for one moment without being halted.
        try:
            HaltFile(session.configured.home.store).put(HaltOrder(operator, why))
        except HaltedAllTheSame as error:
            session.screen.say(f"Trading is halted all the same: {error}.", style="bold red")
        async with SqliteStore(place, accept_rollback=True) as store:
            await store.acquire()
            await store.note(TradingStateSet(TradingState.HALTED, operator, why))
            paused, unreadable = await _pause_all(store, operator, why)
            last = await store.last_sequence()
            await store.release()
        if session.screen.is_for_people:
            session.screen.text(
                f"Accepted: the journal goes on behind record {last}. Trading is HALTED. Next, "
                "`saga check`: it names each order at the broker that this copy lacks, and what to "
                "do about it; then `saga activate`, what it named, and `saga check` again."
            )
            for batch_id in paused:
                session.screen.text(
                    f"{batch_id} was not over in this copy, and is paused: nothing is sent or "
                    "undone for it. After `saga activate`, `saga unpause` asks the broker what "
                    "became of its orders; do not cancel it, nor unpause it while trading is "
                    "HALTED: a cancel undoes only what this copy knows."
                )
            for sentence in unreadable:
                session.screen.text(sentence)
        else:
            session.screen.json(
                {
                    "accepted": found,
                    "last_sequence": last,
                    "trading": "HALTED",
                    "paused": paused,
                    "unreadable": unreadable,
                }
            )
        return ExitCode.UNCERTAIN if unreadable else ExitCode.DONE

    session.run(work)


async def _pause_all(store: SqliteStore, by: str, reason: str) -> tuple[list[str], list[str]]:
    """Pause what was not over in the copy: what became of it since, the copy does not know.

    A halt alone would cancel and undo it, and so undo orders of batches that may be over.

    Returns:
        What was paused; and what cannot be read, a sentence each: that is set aside at every start.
    """
    paused: list[str] = []
    unreadable: list[str] = []
    for batch_id in await store.unfinished():
        read = await read_or_why(store.journal, batch_id)
        if isinstance(read, str):
            unreadable.append(f"{batch_id} is set aside, as it cannot be read: {read}")
            continue
        saga, _ = read
        if saga.state in SAGA_AT_REST or saga.paused:
            continue
        event, now = Paused(by, reason), utc_now()
        apply(saga, saga.number + 1, now, event)
        await store.append(append_of(saga, [event], now))
        paused.append(batch_id)
    return paused, unreadable


async def _found(place: Path) -> tuple[str, str]:
    """Return why a store is refused as an older copy of itself, and what is not in it.

    Raises:
        NotAllowed: it is not.
    """
    try:
        async with SqliteStore(place):
            pass
    except StoreUnusable as refusal:
        async with SqliteStore(place, accept_rollback=True) as store:
            if store.rolled_back is not None:
                return store.rolled_back, _missing(place, await store.last_sequence())
        raise refusal from None
    raise NotAllowed(
        f"the store {place} is the newest copy of itself, as far as its mark tells; there is "
        "nothing to accept"
    )


def _missing(place: Path, last: int) -> str:
    """Return in a few words which records a copy does not have that ends at the record `last`."""
    try:
        mark = read_mark(place)
    except StoreUnusable:
        mark = None
    if mark is None:
        return "which records are not in it, nobody can tell"
    durable = mark.journal.number
    if last + 1 < durable:
        return f"records {last + 1} to {durable} are not in it"
    if last < durable:
        return f"record {durable} is not in it"
    return f"not all its records are those that were durable at record {durable}"
