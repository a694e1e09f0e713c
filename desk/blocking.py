"""What a batch waits for, in whole phrases: its operator, another batch, or the broker.

The engine says what one saga waits for. That a batch waits behind another one only shows in both of
them, and how a pause is lifted only the command knows. Reads the history, and changes nothing.
"""

from desk.home import Home
from saga.history import History
from saga.machine import SAGA_ENDS, SagaState
from saga.model import Batch
from saga.query import BatchQuery, BatchSort
from saga.views import BatchRow

_AT_THE_DOOR = (SagaState.RUNNING, SagaState.COMPENSATING, SagaState.STALE)
"""The states in which a batch keeps its exclusion key to itself."""


async def blocker_of(history: History, row: BatchRow) -> BatchRow | None:
    """Return the batch that has the exclusion key a batch waits for; None if none has it."""
    if row.state != SagaState.PENDING or row.exclusion_key is None:
        return None
    return await _holder_of(history, row.exclusion_key, besides=row.batch_id)


async def wait_foreseen(home: Home, batch: Batch) -> str | None:
    """Return what a batch would wait for if it were handed in now, as a sentence; None if nothing.

    A STALE one is waited for by none: what would come behind it is refused.
    """
    if batch.exclusion_key is None or not home.store.exists():
        return None
    async with History(home.store) as history:
        blocker = await _holder_of(history, batch.exclusion_key, besides=batch.batch_id)
    if blocker is None or blocker.state == SagaState.STALE:
        return None
    limit = batch.timeout_seconds
    meanwhile = "" if limit is None else f", and its {limit:g} seconds go by meanwhile"
    return (
        f"It will wait for {blocker.batch_id} ({progress_words(blocker)}), which runs alone on "
        f"{blocker.exclusion_key}, to be over; no priority lets it go first{meanwhile}."
    )


async def _holder_of(history: History, key: str, *, besides: str) -> BatchRow | None:
    page = await history.batches(
        BatchQuery(
            exclusion_key=key,
            states=_AT_THE_DOOR,
            sort=BatchSort.CREATED,
            descending=False,
            limit=1,
        )
    )
    return next((each for each in page.rows if each.batch_id != besides), None)


def waiting_words(row: BatchRow, blocker: BatchRow | None = None) -> str | None:
    """Return what a batch waits for, as a whole phrase; None if it goes on by itself.

    Args:
        row: the batch.
        blocker: what `blocker_of` gave for it.
    """
    if row.state in SAGA_ENDS or row.state == SagaState.STALE:
        return None
    if row.state == SagaState.PENDING and blocker is not None:
        behind = (
            f"waits for {blocker.batch_id} ({standing(blocker)}), which runs alone on "
            f"{blocker.exclusion_key}, to be over"
        )
        return f"paused; after that it {behind}" if row.paused else behind
    waits = row.waits_for
    if row.paused:
        what = "paused: waits for `saga unpause`"
        beside = waits if waits and waits != _UNPAUSED else None
        return f"{what}; and for {beside}" if beside else what
    return f"waits for {waits}" if waits else None


def progress_words(row: BatchRow) -> str:
    """Return how far a batch is, in words."""
    words = [f"{row.state}{' (paused)' if row.paused else ''}"]
    words.append(f"{row.processed_trades} of {row.total_trades} trades over")
    if row.failed_trades:
        words.append(f"{row.failed_trades} failed")
    if row.undone_trades:
        words.append(f"{row.undone_trades} undone")
    return ", ".join(words)


def standing(row: BatchRow) -> str:
    """Return how a batch stands, in a word."""
    return "paused" if row.paused else row.state


_UNPAUSED = "to be unpaused"
"""How the engine says that a saga is paused."""
