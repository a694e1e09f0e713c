"""Reads the three so that they can be compared, beside a living owner or at rest.

The order of reading makes the comparison sure: an order is intended before it is at the broker, and
a trade is at the broker before it is in the journal. So the broker is asked before the journal is
read and once more after it, and journal and books are read as of one instant.
"""

import sqlite3
from collections.abc import Awaitable, Callable

from portfolio.books import BooksReader
from portfolio.breaks.broker_side import BrokerSide
from portfolio.breaks.compare import compare
from portfolio.breaks.journal_side import JournalSide
from portfolio.breaks.ledgers import Ledgers, read_ledgers
from portfolio.breaks.record import BreakReport
from saga.errors import Quarantined
from saga.store.chain import as_record
from saga.store.journal import read_page


async def find_breaks(
    reader: BooksReader, look: Callable[[], Awaitable[BrokerSide]] | None
) -> BreakReport:
    """Compare journal, broker and portfolios; changes nothing.

    Args:
        reader: of the store.
        look: asks the broker; None compares without one.
    """
    before = await look() if look is not None else None
    journal = JournalSide()
    after = 0
    # Page by page, so that no reading lasts long; records are only ever added.
    while (last := await reader.read(_note_page, journal, after)) > after:
        after = last
    ledgers = await reader.read(_note_rest, journal, after)
    now = await look() if look is not None else None
    seen = None if before is None else frozenset(order.number for order in before.orders)
    return compare(journal, ledgers, now, seen_before=seen)


def _note_page(connection: sqlite3.Connection, journal: JournalSide, after: int) -> int:
    for batch_id, stored in read_page(connection, after, None):
        after = stored.sequence
        try:
            record = as_record(batch_id, stored)
        except Quarantined as error:
            journal.unreadable.setdefault(batch_id, str(error))
        else:
            journal.note(batch_id, record.number, record.at, record.event)
    return after


def _note_rest(connection: sqlite3.Connection, journal: JournalSide, after: int) -> Ledgers | None:
    """Read what came meanwhile, and the books, as of one instant."""
    while (last := _note_page(connection, journal, after)) > after:
        after = last
    return read_ledgers(connection)
