"""What operators booked by hand: is it in the ledger, and does a trade at the broker bear it out?

Pure. An adjustment that names its trade is compared with that; one that names none is taken for a
trade, or for all trades, of its symbol that nobody else has named, if the shares are the same: not
for one that bears another saga's key, and not for one that was made after it was booked. What was
taken back, because the journal has the trade itself by now, is nothing any more.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from brokers.venue import Trade
from portfolio.books import Books, LedgerEntry
from portfolio.breaks.journal_side import JournalSaga, JournalSide
from portfolio.breaks.record import Break, Kind, Says, money
from portfolio.breaks.trades import BrokerTrades, TradeId, cash_of, id_of, shares_of
from saga.events import Adjustment
from saga.exact import ZERO, minus, plain, total
from saga.ids import batch_of_key

_Line = tuple[str, str | None, Decimal, Decimal, str | None]
"""Saga, symbol, quantity, cash, trade id."""


def compare_adjustments(
    journal: JournalSide,
    ledgers: Mapping[str, tuple[Books | None, tuple[LedgerEntry, ...]]] | None,
    trades: BrokerTrades | None,
    claimed: set[TradeId],
) -> Iterator[Break]:
    """Yield what differs.

    Args:
        journal: what the journal says.
        ledgers: the portfolios' ledgers; None if they are not to be compared.
        trades: the broker's; None if they are not to be compared.
        claimed: the trades that adjustments stand for are added to it.
    """
    if ledgers is not None:
        yield from _booked(journal, ledgers)
    if trades is not None:
        yield from _borne_out(journal, trades, claimed)


def _booked(
    journal: JournalSide, ledgers: Mapping[str, tuple[Books | None, tuple[LedgerEntry, ...]]]
) -> Iterator[Break]:
    expected: Counter[_Line] = Counter()
    for saga in journal.sagas.values():
        if saga.portfolio is not None:
            for each, _ in saga.adjustments:
                expected[_line(saga.batch_id, each)] += 1
    there: Counter[_Line] = Counter(
        (entry.batch_id, entry.symbol, entry.quantity, entry.cash, entry.reference)
        for _, ledger in ledgers.values()
        for entry in ledger
        if entry.fill_id is None and entry.reverses is None
    )
    for line in expected.keys() | there.keys():
        lacking = expected[line] - there[line]
        for _ in range(lacking):
            yield _booking(line, Kind.NOT_BOOKED, "is in no ledger", 1)
        for _ in range(-lacking):
            if line in expected:
                yield _booking(line, Kind.BOOKED_TWICE, "is booked more than once", -1)
            else:
                yield _booking(line, Kind.MISSING_IN_JOURNAL, "is booked, and in no journal", -1)


def _line(batch_id: str, each: Adjustment) -> _Line:
    return batch_id, each.subject, each.quantity, each.cash, each.reference


def _booking(line: _Line, kind: Kind, how: str, sign: int) -> Break:
    batch_id, symbol, quantity, cash, reference = line
    says = Says(quantity, cash)
    return Break(
        kind,
        batch_id,
        symbol,
        f"the adjustment {plain(quantity)} {symbol or ''} for {money(cash)} cash {how}",
        journal=says if sign > 0 else None,
        portfolio=None if sign > 0 else says,
        trade_id=reference,
        gap=says if sign > 0 else Says(minus(ZERO, quantity), minus(ZERO, cash)),
    )


def _borne_out(
    journal: JournalSide, trades: BrokerTrades, claimed: set[TradeId]
) -> Iterator[Break]:
    fills = {
        (attempt.key, fill_id) for attempt in journal.attempts.values() for fill_id in attempt.fills
    }
    unnamed: list[tuple[JournalSaga, Adjustment, datetime]] = []
    for saga in journal.sagas.values():
        named: dict[str, list[Adjustment]] = defaultdict(list)
        when: dict[str, datetime] = {}
        for each, at in saga.adjustments:
            if each.reference:
                named[each.reference].append(each)
                when[each.reference] = at
            elif each.quantity or each.cash:
                unnamed.append((saga, each, at))
        for reference, same in named.items():
            if _is_left(same):
                yield _named(saga, reference, same, when[reference], trades, fills, claimed)
    for saga, each, at in unnamed:
        free = [
            trade
            for trade in trades.standing
            if trade.symbol == each.subject
            and trade.at <= at
            and _batch_of(trade) in (None, saga.batch_id)
            and id_of(trade) not in claimed
            and (trade.client_order_id or "", trade.fill_id) not in fills
        ]
        yield _unnamed(saga, each, at, free, claimed)


def _is_left(same: Iterable[Adjustment]) -> bool:
    """Tell whether anything is left of what was booked under one id; it may be taken back."""
    same = list(same)
    return any((total(each.quantity for each in same), total(each.cash for each in same)))


def _named(
    saga: JournalSaga,
    reference: str,
    same: Iterable[Adjustment],
    at: datetime,
    trades: BrokerTrades,
    fills: set[tuple[str, str]],
    claimed: set[TradeId],
) -> Break:
    same = list(same)
    journal = Says(total(a.quantity for a in same), total(a.cash for a in same))
    symbol = same[0].subject
    alike = sorted(
        trades.by_id(reference),
        key=lambda trade: (
            trade.symbol != symbol,
            id_of(trade) in claimed,
            (trade.client_order_id or "", reference) in fills,
            shares_of(trade) != journal.quantity,
        ),
    )
    if not alike:
        sentence = f"trade {reference}, which an operator booked, is not at the broker"
        return _told(Kind.MISSING_AT_BROKER, saga, symbol, sentence, journal, None, at, reference)
    trade = alike[0]
    if (trade.client_order_id or "", reference) in fills:
        sentence = f"trade {reference} was booked as a fill, and by an operator once more"
        return _told(Kind.BOOKED_TWICE, saga, symbol, sentence, journal, None, at, reference)
    claimed.add(id_of(trade))
    return _against(saga, symbol, [trade], journal, at, reference)


def _batch_of(trade: Trade) -> str | None:
    """Return the saga whose key a trade bears; None if it bears none of ours."""
    return None if trade.client_order_id is None else batch_of_key(trade.client_order_id)


def _unnamed(
    saga: JournalSaga, each: Adjustment, at: datetime, free: list[Trade], claimed: set[TradeId]
) -> Break:
    journal = Says(each.quantity, each.cash)
    alike = [trade for trade in free if shares_of(trade) == each.quantity]
    best = [trade for trade in alike if cash_of(trade) == each.cash] or alike
    taken = best[:1]
    if not taken and free and total(map(shares_of, free)) == each.quantity:
        taken = free
    if not taken or not each.quantity:
        sentence = (
            f"an operator booked {plain(each.quantity)} {each.subject} for {money(each.cash)} "
            "cash and named no trade, and none at the broker is like that"
        )
        return _told(
            Kind.UNPROVEN_ADJUSTMENT, saga, each.subject, sentence, journal, None, at, None
        )
    claimed.update(map(id_of, taken))
    return _against(saga, each.subject, taken, journal, at, taken[0].fill_id)


def _against(
    saga: JournalSaga,
    symbol: str,
    taken: list[Trade],
    journal: Says,
    at: datetime,
    reference: str,
) -> Break:
    broker = Says(total(map(shares_of, taken)), total(map(cash_of, taken)))
    same_symbol = all(trade.symbol == symbol for trade in taken)
    what = f"trade {', '.join(trade.fill_id for trade in taken)}"
    if broker == journal and same_symbol:
        return Break(
            Kind.RESOLVED,
            saga.batch_id,
            symbol,
            f"{what} was booked by hand",
            journal,
            broker,
            journal,
            at,
            taken[0].client_order_id,
            reference,
            explained="an operator booked it when the saga was closed",
        )
    kind = Kind.CASH_DIFFERS if broker.quantity == journal.quantity else Kind.QUANTITY_DIFFERS
    sentence = f"{what} is another one at the broker than an operator booked"
    return _told(kind, saga, symbol, sentence, journal, broker, at, reference)


def _told(
    kind: Kind,
    saga: JournalSaga,
    symbol: str,
    sentence: str,
    journal: Says,
    broker: Says | None,
    at: datetime,
    reference: str | None,
) -> Break:
    there = broker or Says(ZERO, ZERO)
    gap = Says(
        minus(there.quantity or ZERO, journal.quantity or ZERO),
        minus(there.cash or ZERO, journal.cash or ZERO),
    )
    return Break(
        kind, saga.batch_id, symbol, sentence, journal, broker, journal, at, None, reference, gap
    )
