"""Compares the three, and gives every difference to the saga that owns it. Pure.

Each fill has an identity, its order's key and the broker's id of it, and each of the three says of
it how many shares and how much cash it moved. What two say differently is a break, with the gap
that it makes between broker and books; what the gaps leave of the totals belongs to nobody's fill.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from portfolio.breaks.adjustments import compare_adjustments
from portfolio.breaks.broker_side import BrokerSide
from portfolio.breaks.fills import Fills
from portfolio.breaks.journal_side import JournalSaga, JournalSide
from portfolio.breaks.ledgers import Ledgers, compare_ledgers
from portfolio.breaks.orders import compare_orders
from portfolio.breaks.record import Break, BreakReport, Kind, Says, SymbolTotal
from portfolio.breaks.trades import BrokerTrades, TradeId
from saga.exact import ZERO, plain, plus
from saga.ids import batch_of_key


def compare(
    journal: JournalSide,
    ledgers: Ledgers | None,
    broker: BrokerSide | None,
    *,
    seen_before: frozenset[str] | None = None,
) -> BreakReport:
    """Return every difference.

    Args:
        journal: what the journal says.
        ledgers: what the portfolios' books say, as of the same instant; None if they are not to be
            compared.
        broker: what the broker said after that instant; None if it is not to be compared.
        seen_before: the broker's numbers of the orders that it had before that instant; any other
            order that no record knows may simply be younger. None if everything was at rest.
    """
    found: list[Break] = []
    found += [_unreadable(batch_id, why) for batch_id, why in journal.unreadable.items()]
    found += _incidents(journal.sagas.values())
    trades = BrokerTrades(broker.trades if broker else ())
    claimed: set[TradeId] = set()
    if ledgers is not None or broker is not None:
        found += compare_adjustments(journal, ledgers, trades if broker else None, claimed)
    gone: set[str] = set()
    young: set[str] = set()
    if broker is not None:
        order_breaks, gone, young = compare_orders(journal, broker, trades, seen_before)
        found += order_breaks
    fills = Fills(journal, ledgers, trades if broker else None, claimed, gone, young)
    found += fills.compare()
    if ledgers is not None:
        found += compare_ledgers(journal, ledgers)
    breaks: list[Break] = []
    explained: list[Break] = []
    for each in found:
        is_more = each.kind is not Kind.UNREADABLE and each.gap == Says(ZERO, ZERO)
        if each.batch_id in journal.unreadable and is_more:
            continue  # one break says it; only what changes a total is told beside it
        (explained if each.explained else breaks).append(each)
    totals = _totals(ledgers, broker, breaks, explained)
    breaks += [_remainder(each) for each in totals if each.unexplained]
    return BreakReport(
        breaks=tuple(sorted(breaks, key=_place)),
        explained=tuple(sorted(explained, key=_place)),
        totals=totals,
        sagas=len(journal.sagas),
        orders=None if broker is None else sum(_is_ours(o.client_order_id) for o in broker.orders),
        fills=sum(len(attempt.fills) for attempt in journal.attempts.values()),
    )


def _place(each: Break) -> tuple[str, str, str, str]:
    return each.owner, each.kind, each.symbol or "", each.trade_id or each.client_order_id or ""


def _is_ours(key: str | None) -> bool:
    return key is not None and batch_of_key(key) is not None


def _unreadable(batch_id: str, why: str) -> Break:
    return Break(Kind.UNREADABLE, batch_id, None, f"its journal cannot be read: {why}")


def _incidents(sagas: Iterable[JournalSaga]) -> list[Break]:
    return [
        Break(Kind.OPEN_INCIDENT, saga.batch_id, None, f"late truth, and open: {words}", since=at)
        for saga in sagas
        for _, words, at in saga.incidents
    ]


# --- totals --------------------------------------------------------------------------------------


def _totals(
    ledgers: Ledgers | None,
    broker: BrokerSide | None,
    breaks: Iterable[Break],
    explained: Iterable[Break],
) -> tuple[SymbolTotal, ...]:
    if not ledgers or broker is None or broker.positions is None or broker.cash is None:
        return ()  # without books, the account's cash and shares are nobody's as yet
    held: dict[str, Decimal] = defaultdict(lambda: ZERO)
    cash = ZERO
    for books, _ in ledgers.values():
        if books is not None:
            cash = plus(cash, books.cash)
            for holding in books.holdings.values():
                held[holding.symbol] = plus(held[holding.symbol], holding.quantity)
    broken, fine = _gaps(breaks), _gaps(explained)
    symbols = {*held, *broker.positions, *broken, *fine} - {None}
    rows = [
        SymbolTotal(
            symbol,
            held[symbol],
            broker.positions.get(symbol, ZERO),
            fine[symbol],
            broken[symbol],
        )
        for symbol in sorted(str(each) for each in symbols)
    ]
    return (*rows, SymbolTotal(None, cash, broker.cash, fine[None], broken[None]))


def _gaps(breaks: Iterable[Break]) -> dict[str | None, Decimal]:
    gaps: dict[str | None, Decimal] = defaultdict(lambda: ZERO)
    for each in breaks:
        if each.symbol is not None:
            gaps[each.symbol] = plus(gaps[each.symbol], each.gap.quantity or ZERO)
        gaps[None] = plus(gaps[None], each.gap.cash or ZERO)
    return gaps


def _remainder(row: SymbolTotal) -> Break:
    """What no fill accounts for: somebody moved it at the broker, or altered the books."""
    of = "cash" if row.symbol is None else row.symbol
    is_cash = row.symbol is None
    return Break(
        Kind.CASH_DIFFERS if is_cash else Kind.QUANTITY_DIFFERS,
        None,
        row.symbol,
        f"{of}: {plain(row.unexplained)} more at the broker than any trade or booking accounts for",
        broker=Says(None, row.broker) if is_cash else Says(row.broker),
        portfolio=Says(None, row.portfolio) if is_cash else Says(row.portfolio),
        gap=Says(ZERO, row.unexplained) if is_cash else Says(row.unexplained, ZERO),
    )
