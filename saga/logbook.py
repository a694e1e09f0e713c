"""What happens to the engine itself, as opposed to one saga: starts, halts, limits, alerts told.

The logbook stands beside the journal in the store: append-only, numbered without gaps, chained by
hashes. Its last `TradingStateSet` says whether orders may go out, whoever restarts what.

Like the events of a saga, entries are a format: add fields with defaults, never rename or remove.
Pure: no store, no clock.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from saga.codec import Codec
from saga.quick_dataclass import dataclass


class TradingState(StrEnum):
    """Which orders may go out."""

    ACTIVE = "ACTIVE"
    """All that pass the limits."""
    REDUCING = "REDUCING"
    """Only such as make an exposure smaller, and compensations."""
    HALTED = "HALTED"
    """No forward order; what runs is cancelled, and undone as its mode says."""


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """An engine became the owner of the store.

    Attributes:
        program: its name and version.
        epoch: the owner's number.
        pid: its process.
        host: the machine it runs on.
        clean: the owner before it had left in good order, or there was none.
    """

    kind: ClassVar[str] = "engine_started"
    program: str
    epoch: int
    pid: int
    host: str
    clean: bool


@dataclass(frozen=True, slots=True)
class TradingStateSet:
    """Somebody, or the engine itself, has said which orders may go out from here on.

    Attributes:
        state: which.
        by: who said so.
        reason: why.
        automatic: no person has said so, whatever name it bears.
    """

    kind: ClassVar[str] = "trading_state_set"
    state: TradingState
    by: str
    reason: str
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class LimitsSet:
    """The limits that orders are judged by from here on.

    Attributes:
        digest: a short name of exactly these limits, which every intent bears.
        limits: all of them, as JSON text.
    """

    kind: ClassVar[str] = "limits_set"
    digest: str
    limits: str


@dataclass(frozen=True, slots=True)
class AlertTold:
    """An alert has reached whoever is to hear of it."""

    kind: ClassVar[str] = "alert_told"
    alert_id: str


LogEntry = EngineStarted | TradingStateSet | LimitsSet | AlertTold

ENTRY_TYPES: Final[dict[str, type[LogEntry]]] = {
    entry_type.kind: entry_type
    for entry_type in (EngineStarted, TradingStateSet, LimitsSet, AlertTold)
}

_CODEC: Final[Codec[LogEntry]] = Codec(
    "logbook entry", ENTRY_TYPES.values(), in_full=ENTRY_TYPES.values()
)
encode_entry: Final = _CODEC.encode
decode_entry: Final = _CODEC.decode


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One durable entry.

    Attributes:
        number: its place in the logbook, from 1, without gaps.
        at: when it was noted, UTC.
        entry: what happened.
        digest: SHA-256 over the previous entry's digest and this one's content.
    """

    number: int
    at: datetime
    entry: LogEntry
    digest: bytes
