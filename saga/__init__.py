"""The saga orchestrator for trading batches.

    async with Orchestrator(SqliteStore("desk.db"), [broker]) as engine:
        row = await engine.run(batch)

This is the whole surface for everyday use; each name's module has the rest.
"""

from saga.alerts import Alert, AlertKind
from saga.directive import Directive, directive_kind
from saga.errors import (
    AdmissionRefused,
    BatchConflict,
    IllegalTransition,
    InvalidInput,
    NoSuchBatch,
    NotAllowed,
    NotServed,
    OwnershipLost,
    Quarantined,
    SagaError,
    StoreError,
    StoreHeld,
    StorePoisoned,
    StoreUnusable,
    UnknownKind,
)
from saga.events import Adjustment, LateTruth
from saga.history import History, Page, Progress
from saga.ids import generate_batch_id
from saga.limits import Limits
from saga.model import Batch, ExecutionMode, Priority, parse_batch
from saga.orchestrator import KEEP, Orchestrator
from saga.outcome import Exposure, Fill, Outcome, Report
from saga.participant import Attempt, KeyTaken, Participant
from saga.policy import Capabilities, FailurePolicy, OnFailure, RetryPolicy
from saga.query import BatchQuery
from saga.store.protocol import CheckpointStore, JournalRecord
from saga.store.sqlite import SqliteStore
from saga.version import VERSION as __version__
from saga.views import BatchRow, BatchStatus, SagaOutcome, TradeRow, TradeStatus

__all__ = [
    "KEEP",
    "Adjustment",
    "AdmissionRefused",
    "Alert",
    "AlertKind",
    "Attempt",
    "Batch",
    "BatchConflict",
    "BatchQuery",
    "BatchRow",
    "BatchStatus",
    "Capabilities",
    "CheckpointStore",
    "Directive",
    "ExecutionMode",
    "Exposure",
    "FailurePolicy",
    "Fill",
    "History",
    "IllegalTransition",
    "InvalidInput",
    "JournalRecord",
    "KeyTaken",
    "LateTruth",
    "Limits",
    "NoSuchBatch",
    "NotAllowed",
    "NotServed",
    "OnFailure",
    "Orchestrator",
    "Outcome",
    "OwnershipLost",
    "Page",
    "Participant",
    "Priority",
    "Progress",
    "Quarantined",
    "Report",
    "RetryPolicy",
    "SagaError",
    "SagaOutcome",
    "SqliteStore",
    "StoreError",
    "StoreHeld",
    "StorePoisoned",
    "StoreUnusable",
    "TradeRow",
    "TradeStatus",
    "UnknownKind",
    "__version__",
    "directive_kind",
    "generate_batch_id",
    "parse_batch",
]
