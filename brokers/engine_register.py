"""How a broker's questions about batches are answered: from the engine and its journal.

A broker keeps no register of its own. `batch_rollback(batch_id)` ends here, where it becomes what
the batch's state allows: a cancel, a retry of its rollback, or, once it is COMPLETED, a new ATOMIC
batch of inverses that names it as its parent. The new batch's id is derived from the old one's, so
that asking twice does not undo twice.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Final

from saga.errors import BatchConflict, NoSuchBatch, NotAllowed
from saga.exact import ZERO, minus, plus
from saga.fold import saga_of
from saga.ledger import Saga
from saga.machine import SagaState
from saga.model import Batch, ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Outcome
from saga.policy import MIN_COMPENSATION_ATTEMPTS, RetryPolicy
from saga.views import BatchRow, TradeRow

MAX_UNDO_BATCHES: Final = 16
"""So often a completed batch can be undone, each time after the one before was rolled back."""
MAX_STEPS: Final = 8
"""Changes of state that one call follows; a batch passes through fewer."""
BY: Final = "batch_rollback"
_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_SUFFIX_LENGTH: Final = 8


class EngineRegister:
    """A `brokers.BatchRegister` over an orchestrator."""

    def __init__(self, engine: Orchestrator) -> None:
        self._engine = engine

    async def batch(self, batch_id: str) -> Batch:
        """Return the batch as it was accepted.

        Raises:
            NoSuchBatch: no batch has this id.
        """
        return (await self._saga(batch_id)).batch

    async def trades(self, batch_id: str) -> tuple[TradeRow, ...]:
        """Return one row for each operation of the batch, in list order.

        Raises:
            NoSuchBatch: no batch has this id.
        """
        return await self._engine.trades(batch_id)

    async def undo(self, batch_id: str) -> bool:
        """Undo everything of the batch that took effect; return once that is over.

        What its state says is not believed: late truth may have come after its end, or an operator
        have closed it by hand with something left. That is not traded here; the answer says it.

        Returns:
            True if nothing of the batch is left, or may be, undone or dealt with by hand.

        Raises:
            NoSuchBatch: no batch has this id.
            SagaError: it is COMPLETED, and whoever keeps books refuses its undo: not enough cash
                or shares is free, or an operator is waited for.
        """
        retried = False
        for _ in range(MAX_STEPS):
            row = await self._engine.batch(batch_id)
            if row.state == SagaState.ROLLED_BACK:
                return nothing_left(await self._saga(batch_id))
            if row.state == SagaState.COMPLETED:
                return await self._undo_completed(batch_id)
            if row.state == SagaState.STALE:
                if retried:
                    return False
                retried = True
                await self._retry(batch_id)
            else:
                await self._stop(row)
            await self._engine.wait(batch_id)
        return False

    async def _stop(self, row: BatchRow) -> None:
        """Cancel what is pending or running; what is being undone already is left alone."""
        if row.state == SagaState.COMPENSATING:
            return
        try:
            await self._engine.cancel(row.batch_id, by=BY, reason="the batch is to be undone")
        except NotAllowed:
            return  # It went on in between; the next look says where to.

    async def _retry(self, batch_id: str) -> None:
        try:
            await self._engine.retry(batch_id, by=BY, reason="the batch is to be undone")
        except NotAllowed:
            return  # Somebody was faster, or its undo budget is spent; the next look says which.

    async def _undo_completed(self, batch_id: str) -> bool:
        saga = await self._saga(batch_id)
        undo_ids: list[str] = []
        for number in range(1, MAX_UNDO_BATCHES + 1):
            undo_id = undo_batch_id(batch_id, number)
            batch = undo_batch(saga, undo_id)
            if batch is None:
                return nothing_left(saga)
            undo_ids.append(undo_id)
            try:
                state = (await self._engine.batch(undo_id)).state
            except NoSuchBatch:
                with suppress(BatchConflict):  # Another call submitted it in between.
                    await self._engine.submit(batch, by=BY)
            else:
                if state == SagaState.ROLLED_BACK and nothing_left(await self._saga(undo_id)):
                    continue  # it had no effect
            state = (await self._engine.wait(undo_id)).state
            if state not in (SagaState.COMPLETED, SagaState.ROLLED_BACK):
                return False
            undoes = [await self._saga(each) for each in undo_ids]
            return nothing_left(await self._saga(batch_id), *undoes)
        return False

    async def _saga(self, batch_id: str) -> Saga:
        records = await self._engine.store.journal(batch_id)
        if not records:
            raise NoSuchBatch(f"batch_id: there is no batch {batch_id!r}; list the batches to see")
        return saga_of(records)


def nothing_left(saga: Saga, *undoes: Saga) -> bool:
    """Tell whether nothing is in place, or may be, of what can be undone, by hand or otherwise.

    Args:
        saga: of the batch that was to be undone.
        undoes: of the batches that were made to undo it.
    """
    least: dict[str, Decimal] = {}
    most: dict[str, Decimal] = {}
    for each in (saga, *undoes):
        for subject, low, high in _in_place(each, is_undo=each is not saga):
            least[subject] = plus(least.get(subject, ZERO), low)
            most[subject] = plus(most.get(subject, ZERO), high)
    return not any(least.values()) and not any(most.values())


def _in_place(saga: Saga, *, is_undo: bool) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Yield each signed change of something that a saga made: the least and the most of it."""
    for step in saga.steps:
        if step.directive.can_be_undone:
            low, high = step.possible_change()
            # What has no direction, such as a transfer, is undone by the same amount of its kind.
            if step.direction == 0 and is_undo:
                low, high = minus(ZERO, high), minus(ZERO, low)
            yield step.exposed_as, low, high
    for change in saga.by_hand:
        yield change.subject, change.quantity, change.quantity


def undo_batch(saga: Saga, undo_id: str) -> Batch | None:
    """Return the batch that undoes a completed saga, newest first; None if nothing took effect."""
    inverses = []
    for step in reversed(saga.steps):
        if step.left_to_undo > 0 and step.directive.can_be_undone:
            inverse = step.directive.inverse(Outcome(tuple(step.effects)))
            inverses.append(
                inverse.model_copy(update={"batch_id": undo_id, "retry": _retry(inverse.retry)})
            )
    if not inverses:
        return None
    return Batch(
        batch_id=undo_id,
        directives=tuple(inverses),
        execution_mode=ExecutionMode.ATOMIC,
        created_at=saga.batch.created_at,
        priority=saga.batch.priority,
        exclusion_key=saga.batch.exclusion_key,
        parent_id=saga.batch_id,
    )


def undo_batch_id(batch_id: str, number: int) -> str:
    """Return the id of the batch that undoes another, for the number-th time."""
    digest = int.from_bytes(hashlib.sha256(f"undo:{number}:{batch_id}".encode()).digest()[:8])
    suffix = ""
    for _ in range(_SUFFIX_LENGTH):
        digest, digit = divmod(digest, len(_BASE36))
        suffix += _BASE36[digit]
    return batch_id[: batch_id.rindex("_") + 1] + suffix


def _retry(retry: RetryPolicy | None) -> RetryPolicy:
    retry = retry or RetryPolicy()
    attempts = max(retry.attempts, MIN_COMPENSATION_ATTEMPTS)
    return retry.model_copy(update={"attempts": attempts})
