"""Fill by fill: what journal, broker and ledger say of it, and whose it is. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from brokers.venue import Trade
from portfolio.books import LedgerEntry
from portfolio.breaks.journal_side import JournalAttempt, JournalFill, JournalSide
from portfolio.breaks.ledgers import Ledgers
from portfolio.breaks.record import Break, Kind, Says
from portfolio.breaks.trades import BrokerTrades, TradeId, cash_of, id_of, shares_of
from saga.exact import ZERO, minus, plain, times, total
from saga.ids import batch_of_key

NOTHING: Final = Says(ZERO, ZERO)
_Place = tuple[str, str, str, str | None]
"""Portfolio, client order id, fill id, symbol."""


class Fills:
    """The comparison of all fills.

    Args:
        journal: what the journal says.
        ledgers: the portfolios' books; None if they are not to be compared.
        trades: the broker's; None if they are not to be compared.
        claimed: the trades that operators have booked by hand.
        gone: keys of orders that the broker does not have any more.
        young: keys of orders that may be younger than what was read of the journal.
    """

    def __init__(
        self,
        journal: JournalSide,
        ledgers: Ledgers | None,
        trades: BrokerTrades | None,
        claimed: set[TradeId],
        gone: set[str],
        young: set[str],
    ) -> None:
        self._journal = journal
        self._trades = trades
        self._claimed = claimed
        self._gone = gone
        self._young = young
        self._has_books = ledgers is not None
        self._booked: dict[_Place, list[LedgerEntry]] = defaultdict(list)
        for name, (_, ledger) in (ledgers or {}).items():
            for entry in ledger:
                fill_id = entry.fill_id or entry.reverses  # a reversal is of the fill it reverses
                if fill_id is not None:
                    place = (name, entry.client_order_id or "", fill_id, entry.symbol)
                    self._booked[place].append(entry)

    def compare(self) -> Iterator[Break]:
        """Yield what differs."""
        told: set[tuple[str, str, str | None]] = set()
        places: set[_Place] = set()
        for attempt in self._journal.attempts.values():
            for fill in attempt.fills.values():
                told.add((attempt.key, fill.fill_id, attempt.symbol))
                places.add(self._place(attempt, fill))
                yield from self._told(attempt, fill)
        for place, entries in self._booked.items():
            if place not in places:
                yield self._unknown_entry(entries)
        for trade in self._trades.standing if self._trades else ():
            if (trade.client_order_id or "", trade.fill_id, trade.symbol) not in told:
                yield from self._untold(trade)

    def _told(self, attempt: JournalAttempt, fill: JournalFill) -> Iterator[Break]:
        """Compare a fill that the journal has."""
        trade = None  # of another symbol, it is somebody else's, and told of as such
        if self._trades is not None and attempt.symbol is not None:
            trade = self._trades.find(attempt.key, fill.fill_id, attempt.symbol)
        entries = self._booked.get(self._place(attempt, fill), [])
        journal, booked = Says(fill.shares, fill.cash), _sum(entries)
        broker = None if trade is None else _says(trade)
        base = Break(
            Kind.MISSING_AT_BROKER,
            attempt.batch_id,
            attempt.symbol,
            "",
            journal,
            broker,
            booked if entries else None,
            fill.at,
            attempt.key,
            fill.fill_id,
        )
        if self._trades is not None and attempt.is_order and (broker or NOTHING) != journal:
            yield self._differs_at_broker(base, fill, _less(broker or NOTHING, journal))
        keeps = self._journal.sagas[attempt.batch_id].portfolio is not None
        if keeps and self._has_books and booked != journal:
            yield _booked_wrong(base, fill, entries, booked, journal)
        elif not keeps and self._has_books and attempt.is_order:
            yield replace(
                base,
                kind=Kind.NO_PORTFOLIO,
                sentence=f"fill {fill.fill_id} of {attempt.key} is in no books",
                gap=journal,
                explained="its batch trades for no portfolio",
            )

    def _place(self, attempt: JournalAttempt, fill: JournalFill) -> _Place:
        portfolio = self._journal.sagas[attempt.batch_id].portfolio or ""
        return portfolio, attempt.key, fill.fill_id, attempt.symbol

    def _differs_at_broker(self, base: Break, fill: JournalFill, gap: Says) -> Break:
        assert self._trades is not None
        what = f"fill {fill.fill_id} of {base.client_order_id}"
        if base.broker is not None and base.journal is not None:
            kind = _kind(base.broker, base.journal)
            return replace(
                base, kind=kind, sentence=f"{what} is another one at the broker", gap=gap
            )
        taken = self._trades.taken_back(base.client_order_id or "", fill.fill_id)
        if taken is not None:
            sentence = f"{what} was taken back by {taken.fill_id}"
            return replace(base, kind=Kind.TAKEN_BACK, sentence=sentence, since=taken.at, gap=gap)
        why = ", as its order is not" if base.client_order_id in self._gone else ""
        return replace(base, sentence=f"{what} is not at the broker{why}", gap=gap)

    def _unknown_entry(self, entries: Sequence[LedgerEntry]) -> Break:
        first, booked = entries[0], _sum(entries)
        key, fill_id = first.client_order_id or "", first.fill_id or first.reverses or ""
        trade = self._trades.find(key, fill_id) if self._trades else None
        return Break(
            Kind.MISSING_IN_JOURNAL,
            first.batch_id,
            first.symbol,
            f"fill {fill_id} of {key} is booked so, and not in the journal",
            broker=None if trade is None else _says(trade),
            portfolio=booked,
            since=first.at,
            client_order_id=first.client_order_id,
            trade_id=fill_id,
            # What the broker has of it is counted where its own trade is told of.
            gap=_less(NOTHING, booked),
        )

    def _untold(self, trade: Trade) -> Iterator[Break]:
        """Say whose a trade is that the journal does not have."""
        if id_of(trade) in self._claimed:
            return  # an operator has booked it; what differs is said there
        key = trade.client_order_id
        words = f"trade {trade.fill_id} ({trade.side} {plain(trade.quantity)} {trade.symbol})"
        kind, why, explained = self._whose(key)
        says = _says(trade)
        yield Break(
            kind,
            None if kind is Kind.EXTERNAL else batch_of_key(key or ""),
            trade.symbol,
            f"{words} {why}",
            broker=says,
            since=trade.at,
            client_order_id=key,
            trade_id=trade.fill_id,
            gap=says,
            explained=explained,
        )

    def _whose(self, key: str | None) -> tuple[Kind, str, str | None]:
        batch_id = batch_of_key(key) if key is not None else None
        attempt = self._journal.attempts.get(key or "")
        if key is None or batch_id is None:
            return Kind.EXTERNAL, "was made by no saga, and no operator has named it", None
        if attempt is not None:
            return self._of_attempt(attempt)
        if key in self._young:
            why = "its order came while the books were compared"
            return Kind.IN_FLIGHT, "is younger than what was read of the journal", why
        known = batch_id in self._journal.sagas
        why = "its order was never intended" if known else "no such saga is in the store"
        return Kind.MISSING_IN_JOURNAL, f"bears the key {key}, but {why}", None

    def _of_attempt(self, attempt: JournalAttempt) -> tuple[Kind, str, str | None]:
        saga = self._journal.sagas[attempt.batch_id]
        if not saga.at_rest and not attempt.final:  # about what is over, nobody asks any more
            why = "its saga is under way, and asks about it"
            return Kind.IN_FLIGHT, "has not been heard of yet", why
        if saga.stale is not None and attempt.lost and not self._is_too_much(attempt):
            why = "its saga is STALE, and counts it as possible"
            return Kind.RESIDUAL, "is of an order whose fate its saga does not know", why
        return Kind.LATE, "came late: its saga waits for it no more", None

    def _is_too_much(self, attempt: JournalAttempt) -> bool:
        assert self._trades is not None
        return total(trade.quantity for trade in self._trades.of(attempt.key)) > attempt.amount


def _booked_wrong(
    base: Break, fill: JournalFill, entries: Sequence[LedgerEntry], booked: Says, journal: Says
) -> Break:
    what, gap = f"fill {fill.fill_id} of {base.client_order_id}", _less(journal, booked)
    if not entries:
        return replace(base, kind=Kind.NOT_BOOKED, sentence=f"{what} is in no books", gap=gap)
    times_over = len(entries)
    if times_over > 1 and booked == _many(journal, times_over):
        sentence = f"{what} is booked {times_over} times"
        return replace(base, kind=Kind.BOOKED_TWICE, sentence=sentence, gap=gap)
    sentence = f"{what} is booked otherwise than it was told"
    return replace(base, kind=_kind(booked, journal), sentence=sentence, gap=gap)


def _says(trade: Trade) -> Says:
    return Says(shares_of(trade), cash_of(trade))


def _kind(one: Says, other: Says) -> Kind:
    return Kind.CASH_DIFFERS if one.quantity == other.quantity else Kind.QUANTITY_DIFFERS


def _sum(entries: Sequence[LedgerEntry]) -> Says:
    return Says(total(entry.quantity for entry in entries), total(entry.cash for entry in entries))


def _less(one: Says, other: Says) -> Says:
    return Says(
        minus(one.quantity or ZERO, other.quantity or ZERO),
        minus(one.cash or ZERO, other.cash or ZERO),
    )


def _many(one: Says, count: int) -> Says:
    many = Decimal(count)
    return Says(times(one.quantity or ZERO, many), times(one.cash or ZERO, many))
