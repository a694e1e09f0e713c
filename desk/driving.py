"""Gets a wish carried out, and the batch watched to its end: by the store's owner, or as its owner.

Where another process owns the store, the wish is handed to it and the batch is watched from
outside; should that process go away, this one takes its place. Where nobody does, this process
becomes the owner, which takes up everything unfinished, and hears other processes meanwhile.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import anyio

from desk.blocking import blocker_of, waiting_words
from desk.carried import also_carried_on, unfinished, waits_for_a_person
from desk.control import NoOwner, ask, serving
from desk.output import money
from desk.session import Session
from desk.unknown_watch import UnknownWatch
from desk.watching import watch
from desk.wiring import Desk, open_desk
from desk.wishes import Cancel, Look, Submit, Wish, grant
from saga.alerts import Alert
from saga.errors import NotAllowed, Quarantined, SagaError, StoreHeld
from saga.fold import saga_of
from saga.history import History
from saga.logbook import TradingState
from saga.machine import SAGA_AT_REST, SagaState
from saga.views import BatchRow

PATIENCE_SECONDS: Final = 5.0
"""How long an owner may be neither listening nor gone, while it comes or leaves."""
KNOCK_SECONDS: Final = 0.1
ALIVE_SECONDS: Final = 1.0
"""How often a watcher from outside asks the owner for what it alone knows."""


@dataclass(frozen=True, slots=True)
class Driven:
    """What became of a wish.

    Attributes:
        row: the batch, at rest, or as it was when the wish was granted if nobody waited.
        owner_pid: the other process that carried it out; None if it was this one.
    """

    row: BatchRow
    owner_pid: int | None


async def drive(
    session: Session, wish: Wish, *, wait: bool = True, granted: Callable[[], None] | None = None
) -> Driven:
    """Get a wish carried out, and wait until its batch is at rest.

    Args:
        session: the settings and the screen.
        wish: what is wanted.
        wait: wait for the batch; else return as soon as the wish is durable.
        granted: called once the wish is durable.

    Raises:
        StoreHeld: another process owns the store and cannot be asked.
        SagaError: the wish was refused; nothing was changed.
    """
    pending: Wish | None = wish
    batch_id = wish.batch.batch_id if isinstance(wish, Submit) else wish.batch_id
    knocking_since = time.monotonic()
    while True:
        try:
            request = pending or Look(batch_id=batch_id)
            pid, row = await ask(session.configured.home, request)
        except NoOwner:
            pass
        else:
            if pending is not None and granted is not None:
                granted()
            pending, batch_id, knocking_since = None, row.batch_id, time.monotonic()
            session.when_interrupted = _goes_on_elsewhere(row, pid)
            if not wait:
                return Driven(row, pid)
            session.screen.say(f"Process {pid} owns the store and carries this out.")
            found = await _watch_from_outside(session, batch_id)
            if found is not None:
                await _tell_cancelled(session, found, wish)
                return Driven(found, pid)
            session.screen.say("That process is gone; this one takes its place.")
            await tell_others(session, batch_id)
        try:
            row = await _as_owner(session, pending, batch_id, wait=wait, granted=granted)
        except StoreHeld:
            if time.monotonic() - knocking_since > PATIENCE_SECONDS:
                raise
        else:
            if wait:
                await _tell_cancelled(session, row, wish)
            return Driven(row, None)
        await anyio.sleep(KNOCK_SECONDS)


async def tell_others(session: Session, batch_id: str) -> None:
    """Say which other batches this process will carry on if it becomes the owner of the store.

    Nothing is said where another process owns the store: it carries them on already.
    """
    home = session.configured.home
    if not home.store.exists():
        return
    async with session.history() as history:
        others = await unfinished(history, besides=batch_id)
    sentences = [
        *also_carried_on(others.batches),
        *(each.sentence for each in others.unreadable),
    ]
    if sentences and not await _is_owned(session, batch_id):
        for sentence in sentences:
            session.screen.say(sentence, style="yellow")


async def _is_owned(session: Session, batch_id: str) -> bool:
    try:
        await ask(session.configured.home, Look(batch_id=batch_id))
    except NoOwner:
        return False
    except SagaError:
        pass  # somebody answered
    return True


@dataclass(frozen=True, slots=True)
class CarriedOn:
    """What became of what was unfinished.

    Attributes:
        rows: what was carried on, at rest.
        waiting: what waits for a person.
        behind: what waits behind those, on the same portfolio.
    """

    rows: tuple[BatchRow, ...]
    waiting: tuple[BatchRow, ...]
    behind: tuple[BatchRow, ...]


async def carry_on(session: Session) -> CarriedOn:
    """Become the owner and wait until everything that can be carried on is at rest.

    Raises:
        StoreHeld: another process owns the store, and carries everything on already.
    """
    async with open_desk(session.configured) as desk:
        _tell_opened(session, desk)
        handed_in: list[str] = []
        async with serving(desk.home, desk.engine, handed_in.append):
            to_do = await _unfinished(desk)
            session.when_interrupted = _resumable()
            told = await _tell_waiting(session, desk)
            for batch_id in to_do:
                if not await _is_behind_a_person(desk, batch_id):
                    session.screen.say(f"Carrying on {batch_id}.")
            rows = await _carried_to_rest(session, desk, to_do)
            await _wait_for_others(session, desk, handed_in, None)
            waiting = await _tell_waiting(session, desk, told)
            rested = {row.batch_id for row in rows}
            left = [each for each in to_do if each not in rested]
            behind = [await _tell_behind(session, desk, batch_id) for batch_id in left]
        return CarriedOn(tuple(rows), waiting, tuple(behind))


async def _carried_to_rest(session: Session, desk: Desk, to_do: Sequence[str]) -> list[BatchRow]:
    """Watch each batch to its end; leave one alone while it is behind one that waits for a person.

    What is behind another batch now may be free later, and the other way about, so that all that
    are left are looked at again until none of them can go on.
    """
    rows: list[BatchRow] = []
    left = list(to_do)
    while going := [each for each in left if not await _is_behind_a_person(desk, each)]:
        for batch_id in going:
            stuck = partial(_is_behind_a_person, desk, batch_id)
            row = await watch(
                partial(_look, desk, batch_id), session.screen, desk.history, gives_up=stuck
            )
            if row.state in SAGA_AT_REST:
                left.remove(batch_id)
                rows.append(row)
                await _tell_cancelled(session, row, None)
    return rows


async def _is_behind_a_person(desk: Desk, batch_id: str) -> bool:
    row = await desk.engine.batch(batch_id)
    if row.state == SagaState.PENDING and desk.engine.trading_state is TradingState.HALTED:
        return True
    blocker = await blocker_of(desk.history, await desk.engine.batch(batch_id))
    return blocker is not None and (blocker.paused or blocker.state in SAGA_AT_REST)


async def _tell_behind(session: Session, desk: Desk, batch_id: str) -> BatchRow:
    row = await desk.engine.batch(batch_id)
    words = waiting_words(row, await blocker_of(desk.history, row))
    if row.state == SagaState.PENDING and desk.engine.trading_state is TradingState.HALTED:
        words = "waits for trading to be activated (`saga activate`)"
    session.screen.say(f"{batch_id} is not carried on: it {words}.", style="yellow")
    return row


async def _as_owner(
    session: Session,
    wish: Wish | None,
    batch_id: str,
    *,
    wait: bool,
    granted: Callable[[], None] | None,
) -> BatchRow:
    if wish is not None and not wait and isinstance(wish, Submit):
        raise NotAllowed(
            "--no-wait needs another process that owns the store and carries the batch on, and "
            "there is none; leave --no-wait out"
        )
    async with open_desk(session.configured) as desk:
        _tell_opened(session, desk)
        handed_in: list[str] = []
        others = await _unfinished(desk)
        async with serving(desk.home, desk.engine, handed_in.append):
            if wish is not None:
                batch_id = await grant(desk.engine, wish)
                if granted is not None:
                    granted()
            session.when_interrupted = _resumable()
            row = await desk.engine.batch(batch_id)
            if wait:
                row = await watch(partial(_look, desk, batch_id), session.screen, desk.history)
                await _wait_for_others(session, desk, handed_in, batch_id)
        left = [each for each in others if each != batch_id]
        await _tell_left(session, desk, left)
    return row


async def _look(desk: Desk, batch_id: str) -> BatchRow:
    row = await desk.engine.batch(batch_id)
    if row.state not in SAGA_AT_REST:
        aside = await desk.engine.store.quarantined()
        if batch_id in aside and all(each.batch_id != batch_id for each in desk.engine.active()):
            raise Quarantined(f"{batch_id} was set aside: {aside[batch_id]}")
    return row


async def _unfinished(desk: Desk) -> list[str]:
    """Return what is to be carried on: neither at rest nor waiting for a person."""
    found = []
    for batch_id in await desk.engine.store.unfinished():
        try:
            row = await desk.engine.batch(batch_id)
        except Quarantined:
            continue
        if row.state not in SAGA_AT_REST and not row.paused:
            found.append(batch_id)
    return found


async def _wait_for_others(
    session: Session, desk: Desk, handed_in: list[str], own: str | None
) -> None:
    """Stay the owner until what other terminals handed in is at rest."""
    seen = 0
    while seen < len(handed_in):
        batch_id = handed_in[seen]
        seen += 1
        if batch_id != own:
            session.screen.say(f"Staying for {batch_id}, which another terminal handed in.")
            await watch(partial(_look, desk, batch_id), session.screen, desk.history)


async def _tell_left(session: Session, desk: Desk, batch_ids: list[str]) -> None:
    for batch_id in batch_ids:
        row = await desk.engine.batch(batch_id)
        if row.state not in SAGA_AT_REST:
            session.screen.say(
                f"{batch_id} is still {row.state}; `saga run` without a file carries it on.",
                style="yellow",
            )


async def _tell_waiting(
    session: Session, desk: Desk, told: tuple[BatchRow, ...] = ()
) -> tuple[BatchRow, ...]:
    """Name what waits for a person, and is therefore not carried on; return its rows."""
    found = await unfinished(desk.history)
    waiting = [
        *(
            (each.row, waits_for_a_person(each))
            for each in found.batches
            if each.waits_for_a_person
        ),
        *((each.row, each.sentence) for each in found.unreadable),
    ]
    known = {row.batch_id for row in told}
    for row, sentence in waiting:
        if row.batch_id not in known:
            session.screen.say(sentence, style="yellow")
    return tuple(row for row, _ in waiting)


async def _tell_cancelled(session: Session, row: BatchRow, wish: Wish | None) -> None:
    """Say who cancelled a batch that this process only watched, why, and what that cost."""
    if isinstance(wish, Cancel):
        return
    async with session.history() as history:
        records = await history.journal(row.batch_id)
    cancel = saga_of(records).cancel
    if cancel is not None:
        undone = "nothing was to be undone"
        if row.undo_cost is not None:
            undone = f"its undo cost {money(row.undo_cost)} USD"
        if row.state == SagaState.STALE:
            undone = f"it is STALE: `saga show {row.batch_id}` says what is left"
        session.screen.say(
            f"{row.batch_id} was cancelled by {cancel.by}: {cancel.reason}; {undone}.",
            style="yellow",
        )


def _tell_opened(session: Session, desk: Desk) -> None:
    if desk.opened_with is not None:
        session.screen.say(
            f"New PAPER account {desk.exchange.name} in {desk.home.folder}: portfolio "
            f"{desk.portfolio.name!r} opened with {desk.opened_with}. No real money is traded."
        )
    session.keep_log()

    def say(sentence: str) -> None:
        session.screen.say(f"ALERT: {sentence}.", style="bold red")

    async def tell(alert: Alert) -> None:
        say(alert.sentence)

    desk.engine.on_alert(tell)
    desk.engine.beside(UnknownWatch(desk.history, say).run)


def _resumable() -> str:
    return (
        "Orders that were sent stay at the exchange. `saga run` without a file takes up what is "
        "unfinished; `saga list` shows it."
    )


def _goes_on_elsewhere(row: BatchRow, pid: int) -> str:
    goes_on = f"{row.batch_id} goes on in process {pid}"
    if row.state not in (SagaState.PENDING, SagaState.RUNNING):
        return f"{goes_on}; `saga show {row.batch_id}` says how far it is."
    return f"{goes_on}; `saga cancel {row.batch_id} --reason ...` stops it."


async def _watch_from_outside(session: Session, batch_id: str) -> BatchRow | None:
    """Watch a batch that another process runs; None if that process goes away before its end."""
    asked_at = 0.0
    waits_for: str | None = None
    async with History(session.configured.home.store) as history:

        async def look() -> BatchRow:
            nonlocal asked_at, waits_for
            row = await history.batch(batch_id)
            if row.state in SAGA_AT_REST:
                return row
            if time.monotonic() - asked_at >= ALIVE_SECONDS:
                asked_at = time.monotonic()
                if (why := (await history.quarantined()).get(batch_id)) is not None:
                    raise Quarantined(f"{batch_id} was set aside: {why}")
                _, live = await ask(session.configured.home, Look(batch_id=batch_id))
                waits_for = live.waits_for
            return replace(row, waits_for=waits_for or row.waits_for)

        try:
            return await watch(look, session.screen, history)
        except (NoOwner, StoreHeld):
            return None
