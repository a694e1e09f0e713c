"""Which exit status a batch ends with, and which an error does (`desk.exit_codes` says them)."""

from typing import Final

from brokers.errors import OrderRefused
from brokers.paper import BooksUnusable
from desk.exit_codes import ExitCode
from desk.wishes import Unanswered
from saga.errors import (
    AdmissionRefused,
    InvalidInput,
    NoSuchBatch,
    NotAllowed,
    Quarantined,
    SagaError,
    StoreError,
)
from saga.views import BatchRow, BatchStatus

_OF_STATUS: Final = {
    BatchStatus.SUCCESS: ExitCode.DONE,
    BatchStatus.PARTIAL_SUCCESS: ExitCode.PARTIAL,
    BatchStatus.FAILED: ExitCode.FAILED,
    BatchStatus.CANCELLED: ExitCode.FAILED,
    BatchStatus.STALE: ExitCode.UNCERTAIN,
    BatchStatus.PENDING: ExitCode.UNCERTAIN,
    BatchStatus.RUNNING: ExitCode.UNCERTAIN,
}

_OF_ERROR: Final[tuple[tuple[type[SagaError], ExitCode], ...]] = (
    (InvalidInput, ExitCode.USAGE),
    (NoSuchBatch, ExitCode.NOT_ALLOWED),
    (NotAllowed, ExitCode.NOT_ALLOWED),
    (AdmissionRefused, ExitCode.NOT_ALLOWED),
    (OrderRefused, ExitCode.NOT_ALLOWED),
    (Quarantined, ExitCode.UNCERTAIN),
    (Unanswered, ExitCode.UNCERTAIN),
    (StoreError, ExitCode.STORE),
    (BooksUnusable, ExitCode.STORE),
)


def of_row(row: BatchRow) -> ExitCode:
    """Return what a batch's status means for the exit status."""
    return _OF_STATUS[BatchStatus(row.status)]


def of_error(error: SagaError) -> ExitCode:
    """Return what an error means for the exit status."""
    for kind, code in _OF_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILED
