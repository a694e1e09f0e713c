"""Looks a whole store over: its file, every saga, and the books, against one another.

It changes nothing, and may run beside the owner. What it cannot see at rest is named in `UNSEEN`.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from anyio import to_thread

from brokers.orders import Order
from brokers.paper import BookedOrder, Books, PaperExchange, conservation_errors
from brokers.venue import OrderStatus
from desk.home import Home
from desk.saga_rules import broken_rules
from portfolio.books import Books as PortfolioBooks
from portfolio.books import LedgerEntry, read_books, read_ledger, read_names
from portfolio.reconcile import Origin, UnbookedTrade, reconcile
from saga.errors import Quarantined, SagaError, StoreError
from saga.exact import ZERO, plain, plus, total
from saga.fold import fold
from saga.ids import batch_of_key
from saga.ledger import Saga
from saga.machine import SAGA_ENDS
from saga.store import journal, sqlite_history
from saga.store.protocol import JournalRecord
from saga.store.sqlite_reader import SqliteReader
from saga.store.verification import verify
from saga.views import BatchRow, TradeRow, batch_row, trade_row

MAX_FINDINGS: Final = 1_000
"""No more findings than this are listed."""
RECONCILIATIONS: Final = 3
"""So often books and broker are compared before a difference is believed."""
SEEN: Final = "S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S18"
UNSEEN: Final = "S1 S12 S13 S14 S15 S16 S17"
"""What only a running system can break, and only its tests can show."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        batch_id: the saga that it concerns; None if it concerns the store or the books.
        rule: the invariant that is broken.
        sentence: what is wrong.
    """

    batch_id: str | None
    rule: str
    sentence: str

    @property
    def what_to_do(self) -> str:
        """What a person does about it."""
        return WHAT_TO_DO.get(self.rule, _BY_DEFAULT)


_BY_DEFAULT: Final = (
    "send nothing more from this store, keep a copy of its folder, and report it with `saga events`"
)
_AT_THE_BROKER: Final = (
    "compare it with the broker's own list; if it dealt with what a STALE batch left over, "
    "`saga resolve ID --adjust SYMBOL,QUANTITY,CASH,TRADE_ID` books it; if not, trade nothing in "
    "that symbol until it is explained"
)
WHAT_TO_DO: Final = {
    "S8": "send nothing more from this store; keep a copy of its folder, and go back to a backup",
    "S10": _AT_THE_BROKER,
    "S18": "`saga events ID` shows how far it came; settle its orders with the broker by hand",
}
"""By the rule that is broken."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found.

    Attributes:
        sagas: how many were folded anew.
        orders: how many orders of the exchange's books were compared; None without books.
    """

    sagas: int
    orders: int | None
    findings: tuple[Finding, ...]


async def check_home(home: Home, on_saga: Callable[[int, int], None]) -> Checked:
    """Look everything over.

    Args:
        home: the folder.
        on_saga: told after each saga how many are done, and how many there are.

    Raises:
        StoreUnusable: there is no store to read.
    """
    problems = await to_thread.run_sync(verify, home.store)
    findings = [Finding(each.batch_id, "S8", each.sentence) for each in problems]
    orders: int | None = None
    async with SqliteReader(home.store) as reader:
        # The exchange's books before the sagas: the intent of an order is older than the order.
        exchange = PaperExchange(home.exchange) if home.exchange.exists() else None
        books = await exchange.books() if exchange is not None else None
        ids = await reader.read(_batch_ids)
        sagas: dict[str, Saga] = {}
        for number, batch_id in enumerate(ids, start=1):
            findings.extend([each async for each in _of_saga(reader, batch_id, sagas)])
            on_saga(number, len(ids))
        findings.extend(await _quarantined(reader))
        findings.extend(await reader.read(_of_ledgers, sagas))
        if exchange is not None and books is not None:
            found, orders = _of_exchange(books, sagas)
            findings.extend([*found, *await _reconciled(reader, exchange)])
    unique = tuple(dict.fromkeys(findings))
    return Checked(len(ids), orders, unique[:MAX_FINDINGS])


def _batch_ids(connection: sqlite3.Connection) -> tuple[str, ...]:
    return tuple(uid for (uid,) in connection.execute("SELECT batch_uid FROM batches ORDER BY id"))


async def _of_saga(
    reader: SqliteReader, batch_id: str, sagas: dict[str, Saga]
) -> AsyncIterator[Finding]:
    try:
        # One reading: the views have to fit the journal as of one instant.
        records, row, trades = await reader.read(_whole, batch_id)
        saga = fold((record.number, record.at, record.event) for record in records)
    except Quarantined as error:
        yield Finding(batch_id, "S8", str(error))
        return
    except (SagaError, ValueError, ArithmeticError) as error:
        yield Finding(batch_id, "S8", f"its journal breaks the machine: {error}")
        return
    sagas[batch_id] = saga
    for sentence in _differing_views(saga, row, trades):
        yield Finding(batch_id, "S11", sentence)
    for rule, sentence in broken_rules(saga):
        yield Finding(batch_id, rule, sentence)


def _whole(
    connection: sqlite3.Connection, batch_id: str
) -> tuple[tuple[JournalRecord, ...], BatchRow, tuple[TradeRow, ...]]:
    return (
        journal.read_journal(connection, batch_id),
        sqlite_history.find_batch(connection, batch_id),
        sqlite_history.find_trades(connection, batch_id, -1, -1),
    )


def _differing_views(saga: Saga, row: BatchRow, trades: Iterable[TradeRow]) -> Iterator[str]:
    expected = batch_row(saga)
    for name in BatchRow.__slots__:
        told, true = getattr(row, name), getattr(expected, name)
        if told != true:
            yield f"the table says {name} is {told!r}, the journal says {true!r}"
    for trade in trades:
        if not 0 <= trade.position < len(saga.steps):
            yield f"the table has a trade at place {trade.position}, the batch has none there"
            continue
        true_trade = trade_row(saga, saga.steps[trade.position])
        for name in TradeRow.__slots__:
            told, true = getattr(trade, name), getattr(true_trade, name)
            if told != true:
                yield f"trade {trade.position + 1}: the table says {name} is {told!r}, not {true!r}"


async def _quarantined(reader: SqliteReader) -> list[Finding]:
    aside = await reader.read(sqlite_history.read_quarantined)
    return [Finding(uid, "S18", f"it is set aside: {reason}") for uid, reason in aside.items()]


# --- the portfolios' books -----------------------------------------------------------------------


def _of_ledgers(connection: sqlite3.Connection, sagas: dict[str, Saga]) -> list[Finding]:
    try:
        names = read_names(connection)
    except sqlite3.OperationalError:
        return []  # a store without portfolios
    findings: list[Finding] = []
    for name in names:
        books = read_books(connection, name)
        if books is not None:
            ledger = read_ledger(connection, name)
            findings += _ledger_adds_up(books, ledger)
            findings += _ledger_is_the_journal(name, ledger, _as_of_now(connection, sagas))
    return findings


def _as_of_now(connection: sqlite3.Connection, sagas: dict[str, Saga]) -> dict[str, Saga]:
    """Fold again, inside this reading, what may have gone on since it was folded."""
    fresh = dict(sagas)
    for batch_id, saga in sagas.items():
        if saga.state not in SAGA_ENDS:
            records = journal.read_journal(connection, batch_id)
            fresh[batch_id] = fold((each.number, each.at, each.event) for each in records)
    return fresh


def _ledger_adds_up(books: PortfolioBooks, ledger: Iterable[LedgerEntry]) -> Iterator[Finding]:
    """S10: cash and holdings are the sums of what was booked."""
    entries = tuple(ledger)
    cash = total(entry.cash for entry in entries)
    if cash != books.cash:
        yield Finding(
            None,
            "S10",
            f"portfolio {books.name} has cash {plain(books.cash)}, its ledger adds up to "
            f"{plain(cash)}",
        )
    held: dict[str, Decimal] = {}
    for entry in entries:
        if entry.symbol is not None:
            held[entry.symbol] = plus(held.get(entry.symbol, ZERO), entry.quantity)
    for symbol in sorted(held.keys() | books.holdings.keys()):
        holding = books.holdings.get(symbol)
        told = holding.quantity if holding else ZERO
        if told != held.get(symbol, ZERO):
            yield Finding(
                None,
                "S10",
                f"portfolio {books.name} holds {plain(told)} {symbol}, its ledger adds up to "
                f"{plain(held.get(symbol, ZERO))}",
            )


def _ledger_is_the_journal(
    name: str, ledger: Iterable[LedgerEntry], sagas: dict[str, Saga]
) -> Iterator[Finding]:
    """S9: every fill of the journal is booked once, and nothing else is."""
    booked: dict[tuple[str | None, str | None], str] = {}
    for entry in ledger:
        if entry.fill_id is None:
            continue
        key: tuple[str | None, str | None] = (entry.client_order_id, entry.fill_id)
        if key in booked:
            yield Finding(entry.batch_id, "S9", f"fill {entry.fill_id} is booked twice in {name}")
        booked[key] = entry.batch_id
    batches = set(booked.values())
    told: set[tuple[str | None, str | None]] = {
        (attempt.key, fill.fill_id)
        for batch_id in batches
        if batch_id in sagas
        for step in sagas[batch_id].steps
        for attempt in (*step.forward, *step.undo)
        for fill in attempt.fills
    }
    for key, batch_id in booked.items():
        if batch_id in sagas and key not in told:
            yield Finding(
                batch_id, "S9", f"fill {key[1]} of {key[0]} is booked, not in the journal"
            )
    for missing in told - booked.keys():
        yield Finding(
            batch_of_key(missing[0] or ""), "S9", f"fill {missing[1]} of {missing[0]} is not booked"
        )


# --- the exchange's books ------------------------------------------------------------------------


def _of_exchange(books: Books, sagas: dict[str, Saga]) -> tuple[list[Finding], int]:
    findings = [Finding(None, "S10", f"exchange: {each}") for each in conservation_errors(books)]
    ours = [order for order in books.orders if batch_of_key(order.client_order_id or "")]
    for order in ours:
        findings += _order_was_intended(order, sagas)
    accepted: dict[str | None, int] = {}
    for order in ours:
        if order.status is not OrderStatus.REJECTED:
            accepted[order.client_order_id] = accepted.get(order.client_order_id, 0) + 1
    for key, count in accepted.items():
        if count > 1:
            findings.append(
                Finding(batch_of_key(key or ""), "S3", f"the exchange took {key} {count} times")
            )
    return findings, len(ours)


def _order_was_intended(order: BookedOrder, sagas: dict[str, Saga]) -> Iterator[Finding]:
    """S2: behind every order of ours there is an intent with the same parameters."""
    key = order.client_order_id or ""
    batch_id = batch_of_key(key)
    saga = sagas.get(batch_id or "")
    if saga is None:
        yield Finding(batch_id, "S2", f"order {key} is at the exchange, but no such batch is known")
        return
    for step in saga.steps:
        for attempt in (*step.forward, *step.undo):
            if attempt.key != key:
                continue
            sent = saga.attempt(attempt).directive
            if isinstance(sent, Order) and (sent.symbol, sent.side, sent.quantity) != (
                order.symbol,
                order.side,
                order.quantity,
            ):
                yield Finding(
                    batch_id,
                    "S2",
                    f"order {key} is {order.side} {plain(order.quantity)} {order.symbol} at the "
                    f"exchange, but {sent.describe()} was intended",
                )
            return
    yield Finding(batch_id, "S2", f"order {key} is at the exchange, but was never intended")


async def _reconciled(reader: SqliteReader, exchange: PaperExchange) -> list[Finding]:
    """S10: what the portfolios' books say is what the broker says.

    Where batches run meanwhile, one reading may fall between a trade and its booking; what is wrong
    is wrong each time.
    """
    found = await _reconciled_once(reader, exchange)
    for _ in range(RECONCILIATIONS - 1):
        if not found:
            break
        again = await _reconciled_once(reader, exchange)
        found = [each for each in found if each in again]
    return found


async def _reconciled_once(reader: SqliteReader, exchange: PaperExchange) -> list[Finding]:
    try:
        names = await reader.read(read_names)
    except StoreError:
        return []  # a store that never knew portfolios
    if not names:
        return []  # the account's cash is in no books as yet
    found = await reconcile(reader, exchange, names)
    return [
        *(_unbooked(each) for each in found.unbooked if _is_wrong(each)),
        *(
            Finding(
                entry.batch_id,
                "S10",
                f"fill {entry.fill_id} of {entry.client_order_id} is booked, but the exchange "
                "does not know it",
            )
            for entry in found.unknown_to_broker
        ),
        *(
            Finding(
                None,
                "S10",
                f"{each.symbol or 'cash'}: the books say {plain(each.books)}, the exchange says "
                f"{plain(each.broker)}; {plain(each.unexplained)} is unexplained",
            )
            for each in found.differences
            if each.unexplained
        ),
    ]


def _is_wrong(trade: UnbookedTrade) -> bool:
    return trade.explained_by is None and trade.origin is not Origin.IN_FLIGHT


def _unbooked(trade: UnbookedTrade) -> Finding:
    whose = "no saga made it" if trade.origin is Origin.EXTERNAL else "nobody waits for it any more"
    return Finding(
        batch_of_key(trade.client_order_id or ""),
        "S10",
        f"trade {trade.trade_id} ({trade.side} {plain(trade.quantity)} {trade.symbol}) is at the "
        f"exchange and in no books: {whose}",
    )
