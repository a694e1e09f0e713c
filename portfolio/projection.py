"""Keeps the portfolio's books in step with the journal, in the same commit as each record.

On submission it refuses what the books do not allow, and reserves what they do. Behind the first
record it never refuses anything: what has happened is booked, whatever it is. It asks nobody,
knows no clock, and decides nothing about a saga. What an operator booked by hand gives way to the
fill that it names, once the journal has that: a trade stands in the books once (S9).

A stale portfolio takes in nothing but deposits. Selling is trading too, so it is refused like
buying; what an operator sells by hand he books by resolving the stale batch (rule 6).
"""

import sqlite3
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from portfolio.booking import (
    book,
    book_reversal,
    mark_stale,
    open_books,
    release,
    reserve,
    take_back_by_hand,
)
from portfolio.books import Books, StaleMark, read_books, read_last_price
from portfolio.errors import InsufficientCash, InsufficientShares, NoSuchPortfolio, PortfolioStale
from portfolio.naming import check_unmixed, checked_name, portfolio_of
from portfolio.reservation import Allowance, Need, need_of
from portfolio.schema import MIGRATIONS, PROJECTION
from portfolio.transfer import CashTransfer, Way
from saga.directive import Directive
from saga.errors import InvalidInput
from saga.events import (
    Abandoned,
    Completed,
    Event,
    IncidentClosed,
    LateTruth,
    LostTrack,
    Reported,
    Resolved,
    RolledBack,
    Submitted,
    Withdrawn,
)
from saga.exact import ZERO, minus, plain, times
from saga.ids import Purpose
from saga.model import Batch
from saga.outcome import Fill
from saga.policy import OnFailure
from saga.store.protocol import Change, Migration
from saga.store.rows import microseconds

_ENDS: Final = (Completed, RolledBack, Withdrawn, Resolved)


class PortfolioProjection:
    """The portfolio's tables, as a `saga.store.protocol.Projection`.

    Args:
        allowance: how much worse than planned prices may be, for reservations.
    """

    def __init__(self, allowance: Allowance | None = None) -> None:
        self._allowance = allowance or Allowance()

    @property
    def name(self) -> str:
        """The prefix of its tables."""
        return PROJECTION

    @property
    def migrations(self) -> Sequence[Migration]:
        """The steps that make and change its tables."""
        return MIGRATIONS

    @property
    def allowance(self) -> Allowance:
        """How much worse than planned prices may be, for reservations."""
        return self._allowance

    def project(self, connection: Any, batch: Batch, change: Change) -> None:
        """Apply one change.

        Raises:
            PortfolioStale: a new batch of a stale portfolio.
            InsufficientCash: a new batch that may need more cash than is free.
            InsufficientShares: a new batch that may sell more than is free.
            InvalidInput: a new batch that no books can be kept of.
        """
        event: Event = change.event
        if isinstance(event, Submitted):
            check_unmixed(batch)
            portfolio = portfolio_of(batch)
            if portfolio is not None:
                self._take_in(connection, portfolio, batch, event, microseconds(change.at))
            return
        apply = _APPLIED.get(type(event))
        if apply is None:
            return
        portfolio = portfolio_of(batch)
        if portfolio is not None:
            apply(connection, portfolio, batch, change)

    def _take_in(
        self,
        connection: sqlite3.Connection,
        portfolio: str,
        batch: Batch,
        event: Submitted,
        at: int,
    ) -> None:
        _open_on_first_deposit(connection, batch, at)
        books = read_books(connection, portfolio)
        if books is None:
            raise NoSuchPortfolio(
                f"portfolio {portfolio!r} of batch {batch.batch_id} has no books; "
                "open them with a deposit first"
            )
        _check_currency(books, batch)
        if books.stale and not _only_deposits(batch):
            raise stale_error(portfolio, books.stale)
        price_of = partial(read_last_price, connection, portfolio)
        on_failure = event.policy.on_failure or OnFailure.UNDO
        need = need_of(batch, on_failure, self._allowance, price_of)
        check_need(books, batch.batch_id, need)
        reserve(connection, portfolio, batch.batch_id, need)


def stale_error(portfolio: str, marks: Sequence[StaleMark]) -> PortfolioStale:
    """Return the error that says why a stale portfolio refuses, and what to do."""
    first = marks[0]
    more = f" (and {len(marks) - 1} more)" if len(marks) > 1 else ""
    return PortfolioStale(
        f"portfolio {portfolio!r} is stale since {first.since:%Y-%m-%d %H:%M:%S} UTC and trades "
        f"nothing new: batch {first.batch_id}{more} could not be undone ({first.reason}); "
        "retry or resolve that batch first",
        batch_id=first.batch_id,
    )


def check_need(books: Books, batch_id: str, need: Need) -> None:
    """Refuse a batch that may need more than is free.

    Raises:
        InsufficientCash: it may need more cash.
        InsufficientShares: it may sell more shares.
    """
    open_batches = ", ".join(books.open_batches[:3]) or "none"
    if need.cash > 0 and need.cash > books.free_cash:
        raise InsufficientCash(
            f"cash: batch {batch_id} needs {plain(need.cash)} {books.currency} at worst, its undo "
            f"included, but portfolio {books.name!r} has {plain(books.free_cash)} free "
            f"({plain(books.cash)} less {plain(books.reserved_cash)} reserved; open batches: "
            f"{open_batches}); trade less, keep a larger cash buffer, deposit cash, or wait until "
            "those are over",
            needed=need.cash,
            free=books.free_cash,
        )
    for symbol, needed in need.shares.items():
        free = books.free_shares(symbol)
        if needed > free:
            raise InsufficientShares(
                f"quantity: batch {batch_id} sells {plain(needed)} {symbol} at worst, but "
                f"portfolio {books.name!r} has {plain(free)} free (open batches: {open_batches}); "
                "sell less, or wait until those are over",
                symbol=symbol,
                needed=needed,
                free=free,
            )


def _only_deposits(batch: Batch) -> bool:
    return all(
        isinstance(each, CashTransfer) and each.way is Way.DEPOSIT for each in batch.directives
    )


def _open_on_first_deposit(connection: sqlite3.Connection, batch: Batch, at: int) -> None:
    first = batch.directives[0]
    if isinstance(first, CashTransfer) and first.way is Way.DEPOSIT:
        checked_name(first.portfolio)  # the key of trading batches will have to bear it
        open_books(connection, first.portfolio, first.currency, at)


def _check_currency(books: Books, batch: Batch) -> None:
    for directive in batch.directives:
        if isinstance(directive, CashTransfer) and directive.currency != books.currency:
            raise InvalidInput(
                f"currency: directive {directive.directive_id} moves {directive.currency}, but "
                f"portfolio {books.name!r} is kept in {books.currency}; give it in that currency"
            )


def _book_report(
    connection: sqlite3.Connection, portfolio: str, batch: Batch, change: Change
) -> None:
    event, directive, key = change.event, change.directive, change.key
    assert isinstance(event, (Reported, LateTruth))
    reversed_ids = event.reversed if isinstance(event, LateTruth) else ()
    if not (event.fills or reversed_ids):
        return
    assert directive is not None, "a report concerns one attempt"
    assert key is not None, "a report concerns one attempt"
    for fill_id in reversed_ids:
        book_reversal(
            connection,
            portfolio,
            batch.batch_id,
            client_order_id=key,
            reverses=fill_id,
            at=microseconds(change.at),
        )
    for fill in event.fills:
        _book_fill(connection, portfolio, batch, directive, event.purpose, key, fill, change)


def _book_fill(
    connection: sqlite3.Connection,
    portfolio: str,
    batch: Batch,
    directive: Directive,
    purpose: Purpose,
    key: str,
    fill: Fill,
    change: Change,
) -> None:
    kind = "trade" if purpose is Purpose.FORWARD else "undo"
    symbol: str | None = None
    quantity, price = ZERO, None
    if isinstance(directive, CashTransfer):
        kind = "transfer"
        cash = minus(times(Decimal(directive.signed), fill.quantity), fill.fee)
    else:
        cash = minus(ZERO, fill.fee)
        if directive.direction:
            symbol, price = directive.subject, fill.price
            quantity = times(Decimal(directive.direction), fill.quantity)
            cash = minus(cash, times(quantity, fill.price))
    is_new = book(
        connection,
        portfolio,
        batch.batch_id,
        kind,
        client_order_id=key,
        fill_id=fill.fill_id,
        symbol=symbol,
        quantity=quantity,
        price=price,
        fee=fill.fee,
        cash=cash,
        at=microseconds(fill.at or change.at),
    )
    if is_new and symbol is not None:
        take_back_by_hand(
            connection,
            portfolio,
            batch.batch_id,
            symbol=symbol,
            fill_id=fill.fill_id,
            change=quantity,
            at=microseconds(change.at),
        )


def _mark_stale(
    connection: sqlite3.Connection, portfolio: str, batch: Batch, change: Change
) -> None:
    event = change.event
    assert isinstance(event, (Abandoned, LostTrack))
    mark_stale(connection, portfolio, batch.batch_id, event.reason, microseconds(change.at))


def _end(connection: sqlite3.Connection, portfolio: str, batch: Batch, change: Change) -> None:
    """Apply what an operator did by hand; then the batch needs nothing any more."""
    _adjust(connection, portfolio, batch, change)
    release(connection, batch.batch_id)


def _adjust(connection: sqlite3.Connection, portfolio: str, batch: Batch, change: Change) -> None:
    """Apply what an operator did by hand."""
    event = change.event
    for adjustment in event.adjustments if isinstance(event, (Resolved, IncidentClosed)) else ():
        book(
            connection,
            portfolio,
            batch.batch_id,
            "adjustment",
            symbol=adjustment.subject,
            quantity=adjustment.quantity,
            cash=adjustment.cash,
            reference=adjustment.reference,
            at=microseconds(change.at),
        )


_APPLIED: Final[dict[type[Event], Callable[[sqlite3.Connection, str, Batch, Change], None]]] = {
    Reported: _book_report,
    LateTruth: _book_report,
    IncidentClosed: _adjust,
    Abandoned: _mark_stale,
    LostTrack: _mark_stale,
    **dict.fromkeys(_ENDS, _end),
}
