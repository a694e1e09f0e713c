"""The register of a batch's operations: the durable store, as a broker sees it.

A broker keeps no dictionary of its own. Every operation is registered in the store before it is
executed; a broker answers from there, and hands a rollback to the engine that owns it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from saga.directive import Directive
from saga.errors import SagaError
from saga.model import Batch
from saga.views import TradeRow, TradeStatus


class NoRegister(SagaError):
    """The broker was asked about a batch before a register was attached to it."""


class BatchRegister(Protocol):
    """What a broker needs of the engine to answer for batches."""

    async def batch(self, batch_id: str) -> Batch:
        """Return the batch as it was accepted.

        Raises:
            NoSuchBatch: no batch has this id.
        """
        ...

    async def trades(self, batch_id: str) -> Sequence[TradeRow]:
        """Return one row for each operation of the batch, in list order.

        Raises:
            NoSuchBatch: no batch has this id.
        """
        ...

    async def undo(self, batch_id: str) -> bool:
        """Undo everything of the batch that took effect, each inverse tried at least three times.

        Returns once the rollback is over.

        Returns:
            True if nothing of the batch is left, False if something is.

        Raises:
            NoSuchBatch: no batch has this id.
        """
        ...


class OperationStatus(StrEnum):
    """How an operation itself came out, whatever was undone since."""

    PENDING = "pending"
    """Registered, and not executed."""
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    """It took no effect, or only a part of it."""
    UNKNOWN = "unknown"
    """An error that proves nothing; it is being looked up."""


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """One operation of a batch.

    Attributes:
        directive: what was to be done.
        status: how it came out.
        error: why it failed; None if it did not.
        rollback: its undo has been executed, or tried.
    """

    directive: Directive
    status: OperationStatus
    error: str | None
    rollback: bool


_PLAIN = {
    TradeStatus.PENDING: OperationStatus.PENDING,
    TradeStatus.NOT_SENT: OperationStatus.PENDING,
    TradeStatus.RUNNING: OperationStatus.RUNNING,
    TradeStatus.UNKNOWN: OperationStatus.UNKNOWN,
}


def _status_of(row: TradeRow) -> OperationStatus:
    plain = _PLAIN.get(TradeStatus(row.status))
    if plain is not None:
        return plain
    # While and after it is undone, the row tells of the undo; the effect itself is in its amounts.
    return OperationStatus.SUCCESS if row.done >= row.amount else OperationStatus.ERROR


def operations_of(batch: Batch, rows: Sequence[TradeRow]) -> dict[str, BatchOperation]:
    """Return the operations of a batch by directive id, in list order."""
    directives = {directive.directive_id: directive for directive in batch.directives}
    return {
        row.directive_id: BatchOperation(
            directive=directives[row.directive_id],
            status=_status_of(row),
            error=row.error,
            rollback=row.rollback,
        )
        for row in rows
    }
