"""The checkpoint store: what the engine needs of a durable place, whatever it is made of.

The journal is the truth: an append-only list of records for each saga, numbered without gaps and
chained by hashes, and all of them in one global sequence without gaps. The views (one row for each
batch, one for each step) are derived from it, and written in the same transaction.

What must change together with a record, such as a portfolio's holdings after a fill, is written by
a `Projection` inside that same transaction.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from saga.directive import Directive
from saga.events import Event
from saga.gate import PastIntent
from saga.logbook import LogEntry, LogRecord
from saga.model import Batch
from saga.quick_dataclass import dataclass
from saga.store.halt_file import HaltFile
from saga.views import BatchRow, TradeRow


@dataclass(frozen=True, slots=True)
class Change:
    """One event on its way into the journal, with what a projection needs to understand it.

    Attributes:
        number: its place in the saga's journal, from 1.
        at: when it was decided, UTC.
        event: what happened.
        directive: what was (or is to be) carried out, for events that concern one attempt: the
            directive itself for a forward attempt, its inverse for a compensation.
        key: the client order id, for events that concern one attempt.
    """

    number: int
    at: datetime
    event: Event
    directive: Directive | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """What is written for one saga at once; all of it or nothing.

    Attributes:
        batch: the saga's batch.
        changes: the new records, in order; their numbers follow on what is stored.
        batch_row: the batch's view after them.
        trade_rows: the views of the steps that they changed (of all steps, for a new saga).
    """

    batch: Batch
    changes: tuple[Change, ...]
    batch_row: BatchRow
    trade_rows: tuple[TradeRow, ...]


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One durable record.

    Attributes:
        sequence: its place among the records of all sagas, from 1, without gaps.
        batch_id: the saga it belongs to.
        number: its place in that saga's journal, from 1, without gaps.
        at: when it was decided, UTC.
        event: what happened.
        digest: SHA-256 over the previous record's digest and this record's content.
    """

    sequence: int
    batch_id: str
    number: int
    at: datetime
    event: Event
    digest: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns the store.

    Attributes:
        epoch: grows by one with every owner; every write names it.
        pid: the owner's process.
        host: the machine it runs on.
        acquired_at: since when, UTC.
        heartbeat_at: when it last said that it lives, UTC.
        released: it has left in good order.
        namespace: the PID namespace in which its number counts; None where it is not known.
        last_may_live: whoever had the store before was fenced, but may live: a call of it may still
            arrive. Told to the owner itself by `acquire`, and to nobody else.
    """

    epoch: int
    pid: int
    host: str
    acquired_at: datetime
    heartbeat_at: datetime
    released: bool
    namespace: int | None = None
    last_may_live: bool = False


class Projection(Protocol):
    """Tables that another package keeps in step with the journal."""

    @property
    def name(self) -> str:
        """Its name; the prefix of its tables."""
        ...

    @property
    def migrations(self) -> Sequence["Migration"]:
        """The steps that make and change its tables."""
        ...

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        """Apply one change, inside the transaction that writes its journal record.

        It may be told the same change again, once all that it wrote for it has been undone.

        Args:
            connection: the store's own connection (`sqlite3.Connection` for SQLite).
            batch: the saga's batch.
            change: the event and what it concerns.

        Raises:
            SagaError: the change must not be; the whole append is undone, and the error reaches
                the caller of `append`. Only ever for the first record of a saga.
        """
        ...


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of a schema, and the way back.

    Attributes:
        number: from 1, without gaps.
        name: what it does, in a few words.
        up: SQL statements that take it.
        down: SQL statements that take it back.
        in_the_way: a query that counts what the version before could not carry on, and a few words
            that say what it counts; it is taken back only where there is none. None: it always is.
    """

    number: int
    name: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    in_the_way: tuple[str, str] | None = None


class CheckpointStore(Protocol):
    """A durable journal with one owner. Every write is durable when the call returns."""

    @property
    def halt_file(self) -> HaltFile | None:
        """The file that halts whoever owns the store; None where it has no place for one."""
        ...

    async def __aenter__(self) -> Self:
        """Open it, after checking that it can be trusted.

        Raises:
            StoreUnusable: it cannot; the sentence says why and what to do.
        """
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; no thread outlives this."""
        ...

    async def acquire(self, *, take_over: bool = False) -> Owner:
        """Become the owner, with a new epoch.

        Args:
            take_over: do so even when another owner seems to live; it is fenced.

        Raises:
            StoreHeld: another owner lives; the sentence names its process and machine.
        """
        ...

    async def heartbeat(self) -> None:
        """Say that the owner lives.

        Raises:
            OwnershipLost: another owner has taken the store over.
        """
        ...

    async def verify_owner(self) -> None:
        """Make sure, by reading, that this process is still the owner.

        Raises:
            OwnershipLost: another owner has taken the store over.
        """
        ...

    async def release(self) -> None:
        """Give the store up in good order; harmless when it is not held."""
        ...

    async def owner(self) -> Owner | None:
        """Return who owns the store, or owned it last; None if nobody ever did."""
        ...

    async def append(self, append: Append) -> int:
        """Write the records and views of one saga, and return the last global sequence number.

        Calls that wait at the same time share one commit. A cancelled caller still learns what
        became of its write. A refused append changes nothing.

        Raises:
            OwnershipLost: another owner has taken the store over.
            BatchConflict: the first record of a saga whose id is taken.
            StoreError: the numbers do not follow on what is stored.
            StorePoisoned: the disk or the database failed; nothing more can be written.
            SagaError: a projection refused the change.
        """
        ...

    async def quarantine(self, batch_id: str, reason: str) -> None:
        """Set a saga aside: it is not resumed, and is listed with this reason."""
        ...

    async def lift_quarantine(self, batch_id: str) -> None:
        """Take a saga back that was set aside; harmless if it was not."""
        ...

    async def quarantined(self) -> dict[str, str]:
        """Return the reason for each saga that is set aside."""
        ...

    async def unfinished(self) -> dict[str, str | None]:
        """Return the exclusion key of each saga not over, by id, oldest submission first.

        STALE ones are among them: they wait for an operator, and keep their key. It is told
        without the journal, so that a saga whose journal cannot be read keeps its key as well.
        """
        ...

    async def alerting(self) -> tuple[str, ...]:
        """Return the batches that need a person: STALE, or with open incidents; oldest first."""
        ...

    async def journal(self, batch_id: str) -> tuple[JournalRecord, ...]:
        """Return a saga's whole journal, in order; empty if there is none.

        Raises:
            Quarantined: a record is missing, altered, or does not decode.
        """
        ...

    async def journals(
        self, batch_ids: Sequence[str]
    ) -> Sequence[tuple[JournalRecord, ...] | Exception]:
        """Return the journals of the first of many sagas, as many as are read at once.

        It is the first one's at least. In the place of one that cannot be read is the error that
        `journal` raises of it.
        """
        ...

    def records(
        self, *, after: int = 0, batch_id: str | None = None
    ) -> AsyncIterator[JournalRecord]:
        """Yield the durable records behind a global sequence number, in order, then end.

        Raises:
            Quarantined: a record does not decode.
        """
        ...

    async def last_sequence(self) -> int:
        """Return the global sequence number of the last durable record; 0 if there is none."""
        ...

    def intents(self, *, since: datetime) -> AsyncIterator[PastIntent]:
        """Yield what was handed over since an instant, oldest first, then end."""
        ...

    async def note(self, entry: LogEntry) -> LogRecord:
        """Add an entry to the logbook; durable when this returns.

        Raises:
            OwnershipLost: another owner has taken the store over.
            StorePoisoned: the disk or the database failed.
        """
        ...

    async def log_entries(
        self, kind: str | None, count: int, *, since: datetime | None = None
    ) -> tuple[LogRecord, ...]:
        """Return the logbook's last entries of a kind (None: of all), newest first.

        Args:
            kind: which.
            count: so many of the last are looked at.
            since: of these, only those noted at this instant or later; None is all.
        """
        ...
