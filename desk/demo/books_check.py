"""The exchange's own books against the sagas' journal: is every order one that a saga sent, once?

The comparison is that of `portfolio.breaks`; here its breaks are counted as the demo tells them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from brokers.paper import Books
from portfolio.breaks import JournalSide, Kind, compare, of_books
from saga.store.protocol import JournalRecord

_DUPLICATES: Final = (Kind.SENT_TWICE, Kind.OVERDONE)


@dataclass(frozen=True, slots=True)
class BooksCheck:
    """What the comparison found.

    Attributes:
        orders: how many orders are in the exchange's books, refused ones included.
        duplicates: orders that came twice, and legs that traded more than they asked for.
        missing: orders of which the journal tells something that the books do not have.
        unexplained: what the books have, and no saga accounts for.
        findings: each of these in words.
    """

    orders: int
    duplicates: int
    missing: int
    unexplained: int
    findings: tuple[str, ...]


def check_books(books: Books, records: Iterable[JournalRecord]) -> BooksCheck:
    """Compare the exchange's books with the journal of every saga that traded there.

    Args:
        books: everything in the exchange's books.
        records: the journal records of all sagas, each saga's in their order; all at rest.
    """
    journal = JournalSide()
    for record in records:
        journal.note(record.batch_id, record.number, record.at, record.event)
    breaks = compare(journal, None, of_books("exchange", books, with_account=False)).breaks
    duplicates = sum(each.kind in _DUPLICATES for each in breaks)
    gone = [each for each in breaks if each.kind is Kind.MISSING_AT_BROKER]
    missing = len({each.client_order_id or each.trade_id for each in gone})
    return BooksCheck(
        orders=len(books.orders),
        duplicates=duplicates,
        missing=missing,
        unexplained=len(breaks) - duplicates - len(gone),
        findings=tuple(f"{each.kind}: {each.sentence}" for each in breaks),
    )
