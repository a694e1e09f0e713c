"""The history: what batches there are and were, how far they are, what came of them, and why.

It only reads the views and the journal, from the store that this process owns or, in any other
process, from the file alone. It changes nothing and asks no participant; what it says of a running
batch is what is durable of it.

    async with History("desk.db") as history:
        page = await history.batches(BatchQuery(statuses=(BatchStatus.FAILED,), symbol="AAPL"))
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from fractions import Fraction
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar, TypeVarTuple

from pydantic import TypeAdapter, ValidationError

from saga.errors import InvalidInput, Quarantined
from saga.query import PAGE_ROWS, BatchQuery, checked_limit
from saga.quick_dataclass import dataclass
from saga.store import journal, sqlite_history
from saga.store.bridge import Bridge, ThreadBridge
from saga.store.chain import as_record
from saga.store.protocol import JournalRecord
from saga.store.sqlite_reader import SqliteReader
from saga.views import BatchRow, TradeResult, TradeRow
from saga.wording import explain, shown

MAX_TRADES_PER_PAGE: Final = 10_000
"""Most trades of one page."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_RESULT: Final = TypeAdapter(TradeResult)


class ReadableStore(Protocol):
    """A SQLite store that runs functions on its connection that can only read."""

    async def read(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run the function with the connection and return what it returns."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """One page of batches.

    Attributes:
        rows: in the order that was asked for. Where a filter leaves out very many batches, a page
            may be short, or even empty, although more follow; only `next_cursor` tells.
        next_cursor: asks for the page that follows; None if this is the last.
    """

    rows: tuple[BatchRow, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is, in trades.

    Attributes:
        total: how many it has.
        processed: how many of them have a final outcome.
        failed: how many of those did not take their whole effect.
        undone: how many have been undone.
    """

    total: int
    processed: int
    failed: int
    undone: int

    @property
    def fraction(self) -> Fraction:
        """The processed share of all trades, exactly."""
        return Fraction(self.processed, self.total)

    @property
    def percent(self) -> int:
        """The processed share in whole percent, rounded down: 100 only when none is left."""
        return self.processed * 100 // self.total

    @classmethod
    def of(cls, row: BatchRow) -> "Progress":
        """Return how far a batch is whose row is at hand."""
        return cls(row.total_trades, row.processed_trades, row.failed_trades, row.undone_trades)


@dataclass(frozen=True, slots=True)
class TradeEffect:
    """What one trade of a batch really did.

    Attributes:
        batch_id: its batch.
        position: its place in the batch, from 0.
        directive_id: the directive that it carries out.
        symbol: what it acts on; None if nothing can be named.
        status: what people see.
        done: how much took effect.
        undone: how much of that was undone.
        value: sum of price times quantity of what took effect, in the account's currency.
        result: each fill, and the participant's references.
    """

    batch_id: str
    position: int
    directive_id: str
    symbol: str | None
    status: str
    done: Decimal
    undone: Decimal
    value: Decimal
    result: TradeResult


@dataclass(frozen=True, slots=True)
class TradeError:
    """Why one trade of a batch failed, is unknown or stuck.

    Attributes:
        batch_id: its batch.
        position: its place in the batch, from 0.
        directive_id: the directive that it carries out.
        symbol: what it acts on; None if nothing can be named.
        status: what people see.
        error: why.
    """

    batch_id: str
    position: int
    directive_id: str
    symbol: str | None
    status: str
    error: str


class History:
    """Answers questions about the batches of one store.

    Args:
        store: a store that is open in this process, or the path of its file, which is then opened
            for reading by `async with` and may belong to another process meanwhile.
        bridge: where a path is read: on a thread, or (in a simulation) in the caller.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | ReadableStore,
        *,
        bridge: Callable[[], Bridge] = ThreadBridge,
    ) -> None:
        self._opened_here: SqliteReader | None = None
        if isinstance(store, str | os.PathLike):
            self._opened_here = SqliteReader(store, bridge=bridge)
            self._store: ReadableStore = self._opened_here
        else:
            self._store = store
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the file; does nothing for a store that is open already.

        Raises:
            StoreUnusable: there is none, it is no store, or one of another version.
        """
        if self._opened_here is not None:
            await self._exits.enter_async_context(self._opened_here)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what was opened here; no thread outlives this."""
        await self._exits.aclose()

    async def active(self) -> tuple[BatchRow, ...]:
        """Return all batches that are neither at rest nor set aside, in the order of acceptance.

        There are no more of them than the engine admits and queues.
        """
        return await self._store.read(sqlite_history.active_batches)

    async def recent(self, count: int = PAGE_ROWS) -> tuple[BatchRow, ...]:
        """Return the batches that were accepted last, the latest first.

        Raises:
            InvalidInput: the count is not 1 to `MAX_PAGE_ROWS`.
        """
        page = await self.batches(BatchQuery(limit=checked_limit(count, name="count")))
        return page.rows

    async def batches(self, query: BatchQuery | None = None) -> Page:
        """Return one page of the batches that a query asks for; without one, the latest."""
        query = query or BatchQuery()
        found = await self._store.read(sqlite_history.find_batches, query)
        more_after = found.more_after
        return Page(found.rows, None if more_after is None else query.cursor_after(more_after))

    async def count(self, query: BatchQuery | None = None) -> int:
        """Return exactly how many batches all pages of a query hold.

        It takes time for each of them, unlike a page: ask only where somebody wants to know.
        """
        return await self._store.read(sqlite_history.count_batches, query or BatchQuery())

    async def batch(self, batch_id: str) -> BatchRow:
        """Return one batch.

        Raises:
            NoSuchBatch: there is none with this id.
        """
        return await self._store.read(sqlite_history.find_batch, _checked_id(batch_id))

    async def progress(self, batch_id: str) -> Progress:
        """Return how far a batch is.

        Raises:
            NoSuchBatch: there is none with this id.
        """
        return Progress.of(await self.batch(batch_id))

    async def trades(
        self, batch_id: str, *, after: int | None = None, limit: int | None = None
    ) -> tuple[TradeRow, ...]:
        """Return a batch's trades, in its order.

        Args:
            batch_id: the batch.
            after: only those behind this position.
            limit: at most so many, 1 to `MAX_TRADES_PER_PAGE`; None is all that there are.

        Raises:
            NoSuchBatch: there is none with this id.
            InvalidInput: `after` or `limit` is out of its bounds.
        """
        if limit is not None:
            checked_limit(limit, most=MAX_TRADES_PER_PAGE)
        return await self._store.read(
            sqlite_history.find_trades,
            _checked_id(batch_id),
            -1 if after is None else _checked_place("after", after),
            -1 if limit is None else limit,
        )

    async def results(self, batch_id: str) -> tuple[TradeEffect, ...]:
        """Return what those trades of a batch really did that took effect, in its order.

        Raises:
            NoSuchBatch: there is none with this id.
            Quarantined: a result in the views does not decode.
        """
        rows = await self._store.read(sqlite_history.trades_with_results, _checked_id(batch_id))
        return tuple(_effect(batch_id, row) for row in rows)

    async def errors(self, batch_id: str) -> tuple[TradeError, ...]:
        """Return why trades of a batch failed, are unknown or stuck, in its order.

        Why the batch as a whole was stopped or rolled back is its row's `reason`.

        Raises:
            NoSuchBatch: there is none with this id.
        """
        rows = await self._store.read(sqlite_history.trades_with_errors, _checked_id(batch_id))
        return tuple(
            TradeError(
                batch_id, row.position, row.directive_id, row.symbol, row.status, row.error or ""
            )
            for row in rows
        )

    async def journal(self, batch_id: str) -> tuple[JournalRecord, ...]:
        """Return a batch's whole journal, with its chain of hashes verified.

        Raises:
            NoSuchBatch: there is none with this id.
            Quarantined: a record is missing, altered, or does not decode.
        """
        records = await self._store.read(journal.read_journal, _checked_id(batch_id))
        if not records:
            await self.batch(batch_id)
        return records

    async def records(
        self, *, after: int = 0, batch_id: str | None = None
    ) -> tuple[JournalRecord, ...]:
        """Return the next journal records behind a sequence number, of one batch or of all.

        At most `saga.store.journal.RECORDS_PER_PAGE`; none when there are no more as yet.

        Raises:
            InvalidInput: `after` is out of its bounds.
            Quarantined: a record does not decode.
        """
        page = await self._store.read(
            journal.read_page,
            _checked_place("after", after),
            None if batch_id is None else _checked_id(batch_id),
        )
        return tuple(as_record(uid, stored) for uid, stored in page)

    async def quarantined(self) -> dict[str, str]:
        """Return the reason for each batch that is set aside, the earliest first."""
        return await self._store.read(sqlite_history.read_quarantined)


_MAX_ID_LENGTH: Final = 100
_MAX_PLACE: Final = 2**63 - 1


def _checked_id(batch_id: object) -> str:
    # The id need not have the right form to be looked for; it has to be something to look for.
    if not isinstance(batch_id, str) or not batch_id.isascii() or len(batch_id) > _MAX_ID_LENGTH:
        raise InvalidInput(
            f"batch_id must be a batch's id, not {shown(batch_id)}; write it like "
            "BAT_20261121_093000_k3v9x"
        )
    return batch_id


def _checked_place(name: str, place: object) -> int:
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place <= _MAX_PLACE:
        raise InvalidInput(
            f"{name} must be a whole number of 0 or more, not {shown(place)}; leave it out to "
            "begin at the start"
        )
    return place


def _effect(batch_id: str, row: TradeRow) -> TradeEffect:
    try:
        result = _RESULT.validate_json(row.result or "")
    except ValidationError as error:
        raise Quarantined(
            f"the result of trade {row.position} of batch {batch_id} does not decode: "
            f"{explain(error)}; compare the store with a backup"
        ) from error
    return TradeEffect(
        *(batch_id, row.position, row.directive_id, row.symbol, row.status),
        *(row.done, row.undone, row.value),
        result=result,
    )
