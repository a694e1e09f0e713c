"""Do the books follow from the journal? Works every entry out again from the records, and compares.

It only reads, and shares no arithmetic with the projection, whose work it judges.
The journal has to be at rest meanwhile, or the last records may be missing on one side.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeVar, TypeVarTuple

from portfolio.books import Books, LedgerEntry, read_books, read_ledger, read_names
from portfolio.naming import portfolio_of
from portfolio.transfer import CashTransfer
from saga.events import (
    Abandoned,
    Completed,
    IncidentClosed,
    LateTruth,
    LostTrack,
    Reported,
    Resolved,
    RolledBack,
    Submitted,
    Withdrawn,
)
from saga.exact import ZERO, minus, plain, plus, times, total
from saga.ids import Purpose, attempt_key
from saga.model import Batch
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


@dataclass(frozen=True, slots=True)
class _Line:
    """What one ledger entry must say."""

    batch_id: str
    key: str | None
    fill_id: str | None
    symbol: str | None
    quantity: Decimal
    cash: Decimal
    reverses: str | None = None

    def __str__(self) -> str:
        what = f"{plain(self.quantity)} {self.symbol or ''} for {plain(self.cash)} cash"
        return f"{what} by batch {self.batch_id} (order {self.key}, fill {self.fill_id})"


@dataclass(slots=True)
class _Expected:
    """What the journal says of one portfolio."""

    lines: Counter[_Line] = field(default_factory=Counter)
    open_batches: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)


async def books_errors(store: AuditedStore) -> tuple[str, ...]:
    """Return every way in which the books do not follow from the journal; empty if they do.

    Raises:
        Quarantined: a record does not decode.
    """
    expected: dict[str, _Expected] = defaultdict(_Expected)
    batches: dict[str, tuple[Batch, str]] = {}
    async for record in store.records():
        event = record.event
        if isinstance(event, Submitted):
            name = portfolio_of(event.batch)
            if name is not None:
                batches[record.batch_id] = (event.batch, name)
        if record.batch_id in batches:
            batch, name = batches[record.batch_id]
            _fold(expected[name], batch, record)
    found: list[str] = []
    for name in sorted(expected.keys() | set(await store.read(read_names))):
        books, ledger = await store.read(_read_both, name)
        if books is None:
            found.append(f"portfolio {name!r} is in the journal, but has no books")
        else:
            found += _errors(expected[name], books, ledger)
    return tuple(found)


def _read_both(
    connection: sqlite3.Connection, name: str
) -> tuple[Books | None, tuple[LedgerEntry, ...]]:
    return read_books(connection, name), read_ledger(connection, name)


def _fold(expected: _Expected, batch: Batch, record: JournalRecord) -> None:
    event, batch_id = record.event, record.batch_id
    if isinstance(event, Submitted):
        expected.open_batches.add(batch_id)
    elif isinstance(event, (Reported, LateTruth)):
        for line in _lines_of(batch, event):
            expected.lines[line] = 1  # S9: once, however often it is told
        for line in _reversals_of(expected, batch, event):
            expected.lines[line] = 1
    elif isinstance(event, IncidentClosed):
        _adjust(expected, batch_id, event)
    elif isinstance(event, (Abandoned, LostTrack)):
        expected.stale.add(batch_id)
    elif isinstance(event, (Completed, RolledBack, Withdrawn, Resolved)):
        expected.open_batches.discard(batch_id)
        expected.stale.discard(batch_id)
        if isinstance(event, Resolved):
            _adjust(expected, batch_id, event)


def _adjust(expected: _Expected, batch_id: str, event: Resolved | IncidentClosed) -> None:
    for each in event.adjustments:
        expected.lines[_Line(batch_id, None, None, each.subject, each.quantity, each.cash)] += 1


def _reversals_of(expected: _Expected, batch: Batch, event: Reported | LateTruth) -> list[_Line]:
    if not isinstance(event, LateTruth):
        return []
    key = attempt_key(batch.batch_id, event.step, event.purpose, event.number)
    booked = {each.fill_id: each for each in expected.lines if each.key == key}
    return [
        _Line(
            batch_id=batch.batch_id,
            key=key,
            fill_id=None,
            symbol=booked[fill_id].symbol,
            quantity=minus(ZERO, booked[fill_id].quantity),
            cash=minus(ZERO, booked[fill_id].cash),
            reverses=fill_id,
        )
        for fill_id in event.reversed
    ]


def _lines_of(batch: Batch, event: Reported | LateTruth) -> list[_Line]:
    directive = batch.directives[event.step]
    key = attempt_key(batch.batch_id, event.step, event.purpose, event.number)
    sign = Decimal(1 if event.purpose is Purpose.FORWARD else -1)
    lines = []
    for fill in event.fills:
        symbol, quantity = None, ZERO
        if isinstance(directive, CashTransfer):
            value = times(times(sign, Decimal(directive.signed)), fill.quantity)
        else:
            quantity = times(times(sign, Decimal(directive.direction)), fill.quantity)
            symbol = directive.subject if directive.direction else None
            value = times(minus(ZERO, quantity), fill.price)
        cash = minus(value, fill.fee)
        lines.append(_Line(batch.batch_id, key, fill.fill_id, symbol, quantity, cash))
    return lines


def _errors(expected: _Expected, books: Books, ledger: tuple[LedgerEntry, ...]) -> list[str]:
    name = books.name
    there = Counter(
        _Line(
            each.batch_id,
            each.client_order_id,
            each.fill_id,
            each.symbol,
            each.quantity,
            each.cash,
            each.reverses,
        )
        for each in ledger
    )
    found = [f"ledger of {name!r} lacks {line}" for line in expected.lines - there]
    found += [
        f"ledger of {name!r} has {line}, which the journal does not know"
        for line in there - expected.lines
    ]
    cash = total(each.cash for each in ledger)
    if cash != books.cash:
        found.append(f"cash of {name!r} is {plain(books.cash)}, its ledger says {plain(cash)}")
    held: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for each in ledger:
        if each.symbol is not None:
            held[each.symbol] = plus(held[each.symbol], each.quantity)
    for symbol in sorted(held.keys() | books.holdings.keys()):
        holding = books.holdings.get(symbol)
        quantity = holding.quantity if holding else ZERO
        if quantity != held[symbol]:
            found.append(
                f"holding of {symbol} in {name!r} is {plain(quantity)}, "
                f"its ledger says {plain(held[symbol])}"
            )
    for what, says, journal in (
        ("open batches", set(books.open_batches), expected.open_batches),
        ("stale batches", {mark.batch_id for mark in books.stale}, expected.stale),
    ):
        found += [f"{what} of {name!r} lack {each}" for each in sorted(journal - says)]
        found += [f"{what} of {name!r} have {each} in excess" for each in sorted(says - journal)]
    return found
