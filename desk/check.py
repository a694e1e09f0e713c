"""Looks a whole store over: its file, every saga, and journal, broker and books with one another.

It changes nothing, and may run beside the owner. What it cannot see at rest is named in `UNSEEN`.
Differences are found by `portfolio.breaks`; here is what else can be wrong, and what it all means.
"""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from anyio import to_thread

from brokers.paper import PaperExchange, conservation_errors
from desk.advice import Situation, advice_on
from desk.carrier import judged
from desk.exit_codes import ExitCode
from desk.home import Home
from desk.old_copy import COPY_ACCEPTED, copy_accepted_at, old_copy_of, why_gone
from desk.saga_rules import broken_rules
from desk.trading_state import Standing, read_standing
from desk.unaccounted import PATIENCE_SECONDS, Waiting, waiting_of
from portfolio.breaks import Break, BreakReport, BrokerSide, find_breaks, of_books
from saga.errors import Quarantined, SagaError, StoreUnusable
from saga.events import Paused
from saga.fold import saga_of
from saga.ledger import Saga
from saga.logbook import TradingState
from saga.machine import SagaState
from saga.query import MAX_PAGE_ROWS, BatchQuery
from saga.store import journal, sqlite_history
from saga.store.ownership import read_owner
from saga.store.protocol import JournalRecord
from saga.store.sqlite_reader import SqliteReader
from saga.store.verification import verify
from saga.views import BatchRow, TradeRow, batch_row, trade_row

MAX_FINDINGS: Final = 1_000
"""No more findings than this are listed."""
SEEN: Final = {
    "S2": "orders that no journal intended",
    "S3": "orders that were sent twice",
    "S4": "more filled than was asked",
    "S5": "more undone than filled",
    "S6": "an ATOMIC batch that ended half done",
    "S7": "fills that the broker and the journal tell differently",
    "S8": "a journal that was altered, has a gap or breaks its rules",
    "S9": "fills that were booked twice or not at all",
    "S10": "shares and cash that are not the sum of their trades",
    "S11": "tables that say otherwise than the journal",
    "S18": "batches that were set aside",
}
"""What is looked for, by the promise that it would break."""
UNSEEN: Final = {
    "S1": "a batch lost in a crash",
    "S12": "two owners at once",
    "S13": "an order past a limit or a halt",
    "S14": "news of what a crash undid",
    "S15": "an event told twice or never",
    "S16": "a batch accepted twice",
    "S17": "a password written down",
}
"""What only a running system can break, and only its tests can show."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        batch_id: the saga that it concerns; None if it concerns the store or the books.
        rule: the invariant that is broken.
        sentence: what is wrong.
        to_do: what a person does about it, where that is not as for all of this rule.
    """

    batch_id: str | None
    rule: str
    sentence: str
    to_do: str | None = None

    @property
    def what_to_do(self) -> str:
        """What a person does about it."""
        return self.to_do or WHAT_TO_DO.get(self.rule, _BY_DEFAULT)


_BY_DEFAULT: Final = (
    "send nothing more from this store, keep a copy of its folder, and report it with `saga events`"
)
WHAT_TO_DO: Final = {
    "S8": "send nothing more from this store; keep a copy of its folder, and go back to a backup, "
    "which `saga accept-copy` then takes",
    "old copy": "put the right copy back, and this is gone; if that is really lost, `saga "
    "accept-copy`, and check again: it then says of each order that this copy lacks what to do",
    "S10": "the broker's own books contradict themselves: ask the broker, and trade nothing",
    "S18": "`saga events ID` shows how far it came; settle its orders with the broker by hand",
    "STALE": "`saga show ID`, then `saga retry` or `saga resolve`",
    "STALE, kept": "`saga show ID`, then `saga incident look` or `saga resolve`: it keeps what it "
    "did, so that there is no rollback to try again",
    "paused": "`saga unpause ID` or `saga cancel ID`",
    "paused in a copy": "`saga activate`, and then `saga unpause ID`: it asks the broker first "
    "what became of its orders; do not cancel it, nor unpause it while trading is HALTED: a cancel "
    "undoes only what this copy knows",
    "cancelled in a copy": "it was cancelled meanwhile: `saga unpause ID` undoes what this copy "
    "knows; what it does not know is among the breaks",
    "nobody": "`saga run` without a file carries it on",
}
"""By the rule that is broken, or by why a batch does not go on."""


@dataclass(frozen=True, slots=True)
class Unattended:
    """One batch that does not go on by itself, though it is not over.

    Attributes:
        batch_id: the batch.
        why: what is the matter, behind "1 batch is".
        what_to_do: what a person does about it.
    """

    batch_id: str
    why: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found.

    Attributes:
        findings: what is wrong within the store or one saga's record, by invariant.
        report: what journal, broker and portfolios say differently.
        trading: which orders may go out; HALTED waits for a person.
        unattended: what does not go on by itself, though it is not over.
        waiting: what work under way waits for that nobody can account for.
        situation: what else the advice depends on.
    """

    findings: tuple[Finding, ...]
    report: BreakReport
    trading: Standing
    unattended: tuple[Unattended, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    situation: Situation = field(default_factory=Situation)

    @property
    def overdue(self) -> tuple[Waiting, ...]:
        """Of what nobody can account for, what a person should look at."""
        return tuple(each for each in self.waiting if each.is_overdue)

    @property
    def is_halted(self) -> bool:
        """No order goes out until a person says so."""
        return self.trading.said.state is TradingState.HALTED

    @property
    def code(self) -> ExitCode:
        """What the exit status says: see `verdict`."""
        if self.findings or self.report.breaks:
            return ExitCode.FAILED
        uncompared = self.report.orders is None and self.report.sagas
        waiting = self.report.needs_a_person or self.unattended or self.is_halted
        open_ends = uncompared or waiting or self.overdue
        return ExitCode.UNCERTAIN if open_ends else ExitCode.DONE

    @property
    def verdict(self) -> str:
        """One line for whoever reads nothing else."""
        breaks, findings = len(self.report.breaks), len(self.findings)
        if self.code is ExitCode.FAILED:
            external = sum(each.batch_id is None for each in self.report.breaks)
            sagas = len({each.batch_id for each in self.report.breaks} - {None})
            return (
                f"NOT all is well: {_count(breaks, 'break')} ({_count(sagas, 'saga')}, {external} "
                f"external), {_count(findings, 'finding')}."
            )
        if self.report.orders is None and self.report.sagas:
            return "Not certain: there are no books of the broker to compare with."
        explained = len(self.report.explained)
        if self.unattended or self.is_halted or self.overdue:
            why = Counter((each.why, each.what_to_do) for each in self.unattended)
            parts = [
                f"{_count(number, 'batch')} {'is' if number == 1 else 'are'} {what}; {to_do}"
                for (what, to_do), number in why.items()
            ]
            if self.overdue:
                parts.append(
                    f"{self._unaccounted(self.overdue)}; `saga show ID`, and ask the broker"
                )
            if self.is_halted:
                parts.append("trading is HALTED and waits for a person; `saga activate`")
            return f"Not certain: no break, but {'. '.join(parts)}."
        if self.code is ExitCode.UNCERTAIN:
            return (
                f"Not certain: no break, but of {_count(explained, 'explained difference')} some "
                "wait for a person."
            )
        if self.waiting:
            return (
                f"No break, but not all is known yet: {self._unaccounted(self.waiting)}; look "
                f"again in {PATIENCE_SECONDS} seconds."
            )
        if explained:
            return f"All is well: no break, and {_count(explained, 'explained difference')}."
        return "All is well: journal, broker and books say the same."

    def advice_on(self, each: Break) -> str:
        """What a person does about a break."""
        return advice_on(each, self.situation)

    def _unaccounted(self, waiting: tuple[Waiting, ...]) -> str:
        batches = {each.batch_id for each in waiting}
        verb = "waits" if len(batches) == 1 else "wait"
        return f"{_count(len(batches), 'batch')} {verb} for what nobody can account for"


def _count(number: int, what: str) -> str:
    ending = "es" if what.endswith("h") else "s"
    return f"{number} {what}{'' if number == 1 else ending}"


async def check_home(home: Home, on_saga: Callable[[int, int], None]) -> Checked:
    """Look everything over.

    Args:
        home: the folder.
        on_saga: told after each saga how many are done, and how many there are.

    Raises:
        StoreUnusable: there is no store to read.
    """
    older = await _old_copy(home)
    problems = await to_thread.run_sync(verify, home.store)
    findings = [
        Finding(
            each.batch_id,
            "S8",
            each.sentence,
            WHAT_TO_DO["old copy"] if older and each.sentence == older else None,
        )
        for each in problems
    ]
    exchange = PaperExchange(home.exchange) if home.exchange.exists() else None

    async def look() -> BrokerSide:
        assert exchange is not None
        books = await exchange.books()
        findings.extend(Finding(None, "S10", f"exchange: {e}") for e in conservation_errors(books))
        return of_books(exchange.name, books)

    async with SqliteReader(home.store) as reader:
        ids = await reader.read(_batch_ids)
        for number, batch_id in enumerate(ids, start=1):
            findings.extend([each async for each in _of_saga(reader, batch_id)])
            on_saga(number, len(ids))
        findings.extend(await _quarantined(reader))
        report = await find_breaks(reader, look if exchange is not None else None)
        trading = await reader.read(read_standing, home)
        unattended = await reader.read(_unattended)
        accepted_at = await reader.read(copy_accepted_at)
        unaccounted = await reader.read(_waiting, datetime.now(UTC))
    unique = tuple(dict.fromkeys(findings))
    situation = Situation(
        frozenset(ids),
        tuple(each.batch_id for each in unattended if each.why == _STALE),
        frozenset(
            each.batch_id
            for each in unattended
            if each.what_to_do == WHAT_TO_DO["paused in a copy"]
        ),
        older,
        accepted_at,
    )
    return Checked(unique[:MAX_FINDINGS], report, trading, unattended, unaccounted, situation)


async def _old_copy(home: Home) -> str | None:
    """Return why the store is an older copy; None if it is not, or what is wrong is told elsewhere.

    Raises:
        StoreUnusable: it is gone, though it held records.
    """
    if (gone := why_gone(home)) is not None:
        raise StoreUnusable(gone)
    try:
        return await old_copy_of(home)
    except SagaError:
        return None


def _waiting(connection: sqlite3.Connection, now: datetime) -> tuple[Waiting, ...]:
    """Return what work under way waits for that nobody can account for, as of one instant."""
    is_carried_on = judged(read_owner(connection)).pid is not None
    found: list[Waiting] = []
    for row in sqlite_history.active_batches(connection):
        try:
            records = journal.read_journal(connection, row.batch_id)
            found += waiting_of(records, now, is_carried_on=is_carried_on)
        except (SagaError, ValueError, ArithmeticError):
            continue  # a finding says so
    return tuple(found)


def _unattended(connection: sqlite3.Connection) -> tuple[Unattended, ...]:
    """Return what does not go on by itself, as of one instant: STALE, paused, or nobody's."""
    stale = sqlite_history.find_batches(
        connection, BatchQuery(states=(SagaState.STALE,), descending=False, limit=MAX_PAGE_ROWS)
    )
    found = [
        Unattended(row.batch_id, _STALE, WHAT_TO_DO[_kind_of_stale(connection, row.batch_id)])
        for row in stale.rows
    ]
    nobody = judged(read_owner(connection)).pid is None
    for row in sqlite_history.active_batches(connection):
        if row.paused:
            undone = row.state == SagaState.COMPENSATING
            to_do = "`saga unpause ID`" if undone else WHAT_TO_DO["paused"]
            to_do = _paused_in_copy(connection, row.batch_id) or to_do
            found.append(Unattended(row.batch_id, "paused and waits for a person", to_do))
        elif nobody:
            found.append(Unattended(row.batch_id, "carried on by nobody", WHAT_TO_DO["nobody"]))
    return tuple(found)


_STALE: Final = "STALE and waits for a person"


def _kind_of_stale(connection: sqlite3.Connection, batch_id: str) -> str:
    """Return what is done about a STALE batch, by whether there is a rollback to try again."""
    _, saga = _readable(connection, batch_id)
    return "STALE" if saga is None or saga.undoes else "STALE, kept"


def _paused_in_copy(connection: sqlite3.Connection, batch_id: str) -> str | None:
    """Return what is done about a batch that was paused as an older copy of the store was accepted.

    One that was cancelled as well does not go on from what the broker says once it is let go on,
    but undoes what the copy knows.
    """
    records, saga = _readable(connection, batch_id)
    pauses = [each.event for each in records if isinstance(each.event, Paused)]
    if saga is None or not pauses or not pauses[-1].reason.startswith(COPY_ACCEPTED):
        return None
    return WHAT_TO_DO["cancelled in a copy" if saga.cancel else "paused in a copy"]


def _readable(
    connection: sqlite3.Connection, batch_id: str
) -> tuple[tuple[JournalRecord, ...], Saga | None]:
    """Return a batch's journal, and what it tells; nothing where a finding says why not."""
    try:
        records = journal.read_journal(connection, batch_id)
        return records, saga_of(records)
    except (SagaError, ValueError, ArithmeticError):
        return (), None


def _batch_ids(connection: sqlite3.Connection) -> tuple[str, ...]:
    return tuple(uid for (uid,) in connection.execute("SELECT batch_uid FROM batches ORDER BY id"))


async def _of_saga(reader: SqliteReader, batch_id: str) -> AsyncIterator[Finding]:
    try:
        # One reading: the views have to fit the journal as of one instant.
        records, row, trades = await reader.read(_whole, batch_id)
        saga = saga_of(records)
    except Quarantined as error:
        yield Finding(batch_id, "S8", str(error))
        return
    except (SagaError, ValueError, ArithmeticError) as error:
        yield Finding(batch_id, "S8", f"its journal breaks the machine: {error}")
        return
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
