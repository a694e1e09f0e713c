"""Do the books follow from the journal? The break report, of journal and books alone.

It only reads, and shares no arithmetic with the projection, whose work it judges.
The journal has to be at rest meanwhile, or the last records may be missing on one side.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar, TypeVarTuple

from portfolio.breaks.compare import compare
from portfolio.breaks.journal_side import JournalSide
from portfolio.breaks.ledgers import read_ledgers
from portfolio.breaks.record import Kind
from saga.store.protocol import JournalRecord

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class AuditedStore(Protocol):
    """A store whose journal and whose books can be read."""

    def records(
        self, *, after: int = 0, batch_id: str | None = None
    ) -> AsyncIterator[JournalRecord]:
        """Yield the durable records, in order."""
        ...

    async def read(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run a function on a connection that can only read."""
        ...


async def books_errors(store: AuditedStore) -> tuple[str, ...]:
    """Return every way in which the books do not follow from the journal; empty if they do.

    Raises:
        Quarantined: a record does not decode.
    """
    journal = JournalSide()
    async for record in store.records():
        journal.note(record.batch_id, record.number, record.at, record.event)
    breaks = compare(journal, await store.read(read_ledgers) or {}, None).breaks
    return tuple(
        f"{each.owner}: {each.kind}: {each.sentence}"
        for each in breaks
        if each.kind is not Kind.OPEN_INCIDENT  # it is booked, which is all that is asked here
    )
