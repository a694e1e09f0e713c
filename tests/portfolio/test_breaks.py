"""Every kind of break is planted in real books and a real store, found, and given to its owner."""

import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from brokers.orders import Side
from brokers.paper import Fault, FaultRule, PaperExchange, read_books
from brokers.paper.running import Inline
from brokers.venue import OrderRequest, Trade
from portfolio.breaks import (
    Break,
    BreakReport,
    BrokerSide,
    JournalSide,
    Kind,
    compare,
    find_breaks,
    of_books,
)
from saga.events import (
    Adjustment,
    Completed,
    GaveUp,
    IncidentClosed,
    Intended,
    LateTruth,
    LostTrack,
    ProvenAbsent,
    Reported,
    Resolved,
    SentAgain,
    Submitted,
    Withheld,
)
from saga.ids import Purpose, attempt_key, batch_of_key
from saga.outcome import Fill
from saga.store.protocol import JournalRecord
from saga.store.sqlite_reader import SqliteReader
from tests.portfolio.house import AT_ONCE, House, open_house

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = datetime(2126, 11, 21, tzinfo=UTC)
"""After every trade of these tests."""
FORWARD = Purpose.FORWARD
TEN = Decimal(10)
COLUMNS = (
    "symbol, side, quantity, time_in_force, status, filled, day, placed_at, visible_at, asleep"
)
FOREIGN = "20261121_093000_zzzzz-0F1"


@pytest.fixture(scope="module")
async def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A house that bought KO and PG; the id of the batch that bought KO."""
    folder = tmp_path_factory.mktemp("house")
    async with open_house(folder) as house:
        batch_id = await house.main.buy("KO", Decimal(10), terms=AT_ONCE)
        await house.main.wait(batch_id)
        await house.main.wait(await house.main.buy("PG", Decimal(5), terms=AT_ONCE))
    return folder, batch_id


@pytest.fixture
def copy(once: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(once[0], tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def owner(once: tuple[Path, str]) -> str:
    return once[1]


def exchange_in(folder: Path) -> PaperExchange:
    return PaperExchange(folder / "exchange.db", runner=Inline(), durable=False)


async def found_in(folder: Path) -> BreakReport:
    exchange = exchange_in(folder)

    async def look() -> BrokerSide:
        return of_books(exchange.name, await exchange.books())

    async with SqliteReader(folder / "saga.db") as reader:
        return await find_breaks(reader, look)


def meddle(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def whose(breaks: Sequence[Break]) -> set[tuple[Kind, str]]:
    return {(each.kind, each.owner) for each in breaks}


@pytest.mark.requirement("S10", "L6")
async def test_a_clean_desk_has_no_break_and_nothing_to_explain(copy: Path) -> None:
    found = await found_in(copy)

    assert (found.breaks, found.explained) == ((), ())
    assert (found.sagas, found.orders, found.fills) == (3, 2, 3)
    assert {each.symbol for each in found.totals} == {"KO", "PG", None}
    assert all(each.difference == 0 for each in found.totals)
    assert not found.needs_a_person


OF_KO = "(SELECT number FROM orders WHERE symbol = 'KO')"
AT_THE_BROKER = {
    "fill gone": (
        ("DELETE FROM executions WHERE symbol = 'KO'",),
        {(Kind.MISSING_AT_BROKER, "saga"), (Kind.QUANTITY_DIFFERS, "external")}
        | {(Kind.CASH_DIFFERS, "external")},
    ),
    "order gone": (
        ("DELETE FROM orders WHERE symbol = 'KO'",),
        {(Kind.MISSING_AT_BROKER, "saga"), (Kind.QUANTITY_DIFFERS, "external")}
        | {(Kind.CASH_DIFFERS, "external")},
    ),
    "price": (
        ("UPDATE executions SET price = '1' WHERE symbol = 'KO'",),
        {(Kind.CASH_DIFFERS, "saga"), (Kind.CASH_DIFFERS, "external")},
    ),
    "quantity": (
        ("UPDATE executions SET quantity = '9' WHERE symbol = 'KO'",),
        {(Kind.QUANTITY_DIFFERS, "saga"), (Kind.QUANTITY_DIFFERS, "external")}
        | {(Kind.CASH_DIFFERS, "external")},
    ),
    "symbol": (
        ("UPDATE executions SET symbol = 'XOM' WHERE symbol = 'KO'",),
        {(Kind.MISSING_AT_BROKER, "saga"), (Kind.LATE, "saga")}
        | {(Kind.QUANTITY_DIFFERS, "external")},
    ),
    "altered order": (
        ("UPDATE orders SET quantity = '7' WHERE symbol = 'KO'",),
        {(Kind.ORDER_DIFFERS, "saga")},
    ),
    "taken twice": (
        (
            f"INSERT INTO orders (client_order_id, {COLUMNS}) SELECT client_order_id, {COLUMNS}"
            " FROM orders WHERE symbol = 'KO'",
        ),
        {(Kind.SENT_TWICE, "saga")},
    ),
    "never intended": (
        (
            f"INSERT INTO orders (client_order_id, {COLUMNS}) SELECT '{FOREIGN}', {COLUMNS}"
            " FROM orders WHERE symbol = 'KO'",
        ),
        {(Kind.MISSING_IN_JOURNAL, "BAT_20261121_093000_zzzzz")},
    ),
    "filled again": (
        (
            "INSERT INTO executions (fill_id, order_number, symbol, side, quantity, price, fee, at)"
            " SELECT 'AGAIN', order_number, symbol, side, quantity, price, fee, at"
            " FROM executions WHERE symbol = 'KO'",
            "UPDATE positions SET quantity = '20' WHERE symbol = 'KO'",
        ),
        {(Kind.LATE, "saga"), (Kind.OVERDONE, "saga"), (Kind.CASH_DIFFERS, "external")},
    ),
    "open again": (
        ("UPDATE orders SET status = 'accepted' WHERE symbol = 'KO'",),
        {(Kind.ORPHAN_ORDER, "saga")},
    ),
    "position": (
        ("UPDATE positions SET quantity = '13' WHERE symbol = 'KO'",),
        {(Kind.QUANTITY_DIFFERS, "external")},
    ),
}


@pytest.mark.requirement("S2", "S3", "S10", "L6")
@pytest.mark.parametrize("name", AT_THE_BROKER)
async def test_what_is_planted_at_the_broker_is_found_and_given_to_its_owner(
    copy: Path, owner: str, name: str
) -> None:
    statements, expected = AT_THE_BROKER[name]
    meddle(copy / "exchange.db", *statements)

    found = await found_in(copy)

    assert whose(found.breaks) == {(k, owner if who == "saga" else who) for k, who in expected}


LEDGER = "portfolio, batch, kind, client_order_id, fill_id, symbol, quantity, price, fee, cash, at"
IN_THE_BOOKS = {
    "not booked": (
        ("DELETE FROM portfolio_ledger WHERE symbol = 'KO'",),
        {(Kind.NOT_BOOKED, "saga"), (Kind.QUANTITY_DIFFERS, "external")}
        | {(Kind.CASH_DIFFERS, "external")},
    ),
    "booked twice": (
        (
            "ALTER TABLE portfolio_ledger RENAME TO once",
            "CREATE TABLE portfolio_ledger AS SELECT * FROM once",
            f"INSERT INTO portfolio_ledger ({LEDGER}) SELECT {LEDGER} FROM portfolio_ledger"
            " WHERE symbol = 'KO'",
        ),
        {(Kind.BOOKED_TWICE, "saga"), (Kind.QUANTITY_DIFFERS, "external")}
        | {(Kind.CASH_DIFFERS, "external")},
    ),
    "booked otherwise": (
        ("UPDATE portfolio_ledger SET cash = '5' WHERE symbol = 'KO'",),
        {(Kind.CASH_DIFFERS, "saga"), (Kind.CASH_DIFFERS, "external")},
    ),
    "booked under another id": (
        ("UPDATE portfolio_ledger SET fill_id = 'X' WHERE symbol = 'KO'",),
        {(Kind.NOT_BOOKED, "saga"), (Kind.MISSING_IN_JOURNAL, "saga")},
    ),
    "booked for another symbol": (
        ("UPDATE portfolio_ledger SET symbol = 'XOM' WHERE symbol = 'KO'",),
        {(Kind.NOT_BOOKED, "saga"), (Kind.MISSING_IN_JOURNAL, "saga")}
        | {(Kind.QUANTITY_DIFFERS, "external")},
    ),
    "cash": (
        ("UPDATE portfolio_books SET cash = '1'",),
        {(Kind.CASH_DIFFERS, "external")},
    ),
    "holding": (
        ("UPDATE portfolio_holdings SET quantity = '7' WHERE symbol = 'KO'",),
        {(Kind.QUANTITY_DIFFERS, "external")},
    ),
    "reservation": (
        ("INSERT INTO portfolio_reservations VALUES ('BAT_X', 'main', '5', '0')",),
        {(Kind.RESERVATION_DIFFERS, "BAT_X")},
    ),
    "stale mark": (
        ("INSERT INTO portfolio_stale VALUES ('BAT_X', 'main', 'why', 0)",),
        {(Kind.RESERVATION_DIFFERS, "BAT_X")},
    ),
    "unreadable": (
        (
            "DROP TRIGGER journal_is_never_changed",
            "UPDATE journal SET data = '{}' WHERE number = 1 AND batch_id ="
            " (SELECT id FROM batches WHERE exclusion_key IS NOT NULL ORDER BY id LIMIT 1)",
        ),
        {(Kind.UNREADABLE, "saga"), (Kind.MISSING_IN_JOURNAL, "saga")},
    ),
}


@pytest.mark.requirement("S9", "S10", "S18")
@pytest.mark.parametrize("name", IN_THE_BOOKS)
async def test_what_is_planted_in_the_books_is_found_and_given_to_its_owner(
    copy: Path, owner: str, name: str
) -> None:
    statements, expected = IN_THE_BOOKS[name]
    meddle(copy / "saga.db", *statements)

    found = await found_in(copy)

    assert whose(found.breaks) == {(k, owner if who == "saga" else who) for k, who in expected}


@pytest.mark.requirement("S10")
async def test_what_people_do_at_the_broker_is_external_and_says_exactly_what(copy: Path) -> None:
    exchange = exchange_in(copy)
    order = await exchange.trade_by_hand(Side.SELL, Decimal(3), "KO")
    await exchange.place_order(
        OrderRequest("other-desk-1", "PG", Side.BUY, Decimal(5), limit_price=Decimal(1))
    )
    await exchange.deposit(Decimal("7.25"))

    found = await found_in(copy)

    (fill,) = order.fills
    cash, *orders = sorted(found.breaks, key=lambda each: (each.symbol or "", each.sentence))
    trade, open_order = orders
    assert {each.owner for each in found.breaks} == {"external"}
    assert (cash.kind, cash.gap.cash) == (Kind.CASH_DIFFERS, Decimal("7.25"))
    assert (trade.kind, trade.trade_id) == (Kind.EXTERNAL, fill.fill_id)
    assert trade.broker is not None
    assert trade.broker.quantity == Decimal(-3)
    assert trade.broker.cash == fill.quantity * fill.price - fill.fee
    assert "is open: no saga placed it" in open_order.sentence
    assert "--adjust SYMBOL,QUANTITY,CASH,TRADE_ID" in trade.what_to_do
    (ko,) = [each for each in found.totals if each.symbol == "KO"]
    assert (ko.difference, ko.by_breaks, ko.unexplained) == (Decimal(-3), Decimal(-3), Decimal(0))


async def busted(house: House) -> str:
    """Buy, and let the exchange take it back behind the end."""
    await house.exchange.script(FaultRule(fault=Fault.BUSTS, delay_seconds=0.0))
    batch_id = await house.main.buy("KO", Decimal(10), terms=AT_ONCE)
    await house.main.wait(batch_id)
    with anyio.fail_after(20):
        while not any(t.reverses for t in await house.exchange.trades()):  # noqa: ASYNC110
            await anyio.sleep(0.005)
    return batch_id


@pytest.mark.requirement("S9", "S10")
async def test_a_trade_that_the_broker_has_taken_back_is_its_sagas(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await busted(house)

        found = await found_in(tmp_path)
        assert whose(found.breaks) == {(Kind.TAKEN_BACK, batch_id)}
        assert f"`saga incident look {batch_id}`" in found.breaks[0].what_to_do

        await house.engine.look_again(batch_id, by="ann")
        found = await found_in(tmp_path)
        assert whose(found.breaks) == {(Kind.OPEN_INCIDENT, batch_id)}, "booked, and to be closed"
        assert all(each.difference == 0 for each in found.totals)

        seen = (await house.store.journal(batch_id))[-1].number
        await house.engine.close_incidents(batch_id, by="ann", reason="seen", seen=seen)
        assert (await found_in(tmp_path)).breaks == ()


# --- what is explained ---------------------------------------------------------------------------


@pytest.fixture
async def records(copy: Path, owner: str) -> list[JournalRecord]:
    """The journal of the batch that bought KO."""
    async with open_house(copy) as house:
        return list(await house.store.journal(owner))


def judged(copy: Path, records: Sequence[JournalRecord], *more: object) -> BreakReport:
    """Compare a journal, and events behind it, with the broker's orders and trades of KO."""
    journal = JournalSide()
    for record in records:
        journal.note(record.batch_id, record.number, record.at, record.event)
    for number, event in enumerate(more, start=len(records) + 1):
        journal.note(records[0].batch_id, number, LATER, event)  # type: ignore[arg-type]
    broker = of_books("paper", read_books(copy / "exchange.db"), with_account=False)
    of_ko = replace(
        broker,
        orders=tuple(each for each in broker.orders if each.symbol == "KO"),
        trades=tuple(each for each in broker.trades if each.symbol == "KO"),
    )
    return compare(journal, None, of_ko)


def sent(records: Sequence[JournalRecord]) -> list[JournalRecord]:
    """Return the journal as it was when the order had been sent, and nothing was heard yet."""
    end = next(n for n, each in enumerate(records) if isinstance(each.event, Intended))
    return list(records[: end + 1])


@pytest.mark.requirement("S10", "L6")
async def test_what_is_in_flight_is_explained_and_no_break(
    copy: Path, records: list[JournalRecord], owner: str
) -> None:
    found = judged(copy, sent(records))

    assert found.breaks == ()
    assert whose(found.explained) == {(Kind.IN_FLIGHT, owner)}
    assert not found.needs_a_person


@pytest.mark.requirement("S6", "S10")
async def test_what_a_stale_saga_does_not_know_is_explained_and_waits_for_a_person(
    copy: Path, records: list[JournalRecord], owner: str
) -> None:
    stale = (GaveUp(0, FORWARD, 1, "no answer"), LostTrack("no answer", ()))

    found = judged(copy, sent(records), *stale)

    assert found.breaks == ()
    assert whose(found.explained) == {(Kind.RESIDUAL, owner)}
    assert found.needs_a_person
    meddle(copy / "exchange.db", "UPDATE executions SET quantity = '11' WHERE symbol = 'KO'")
    assert (Kind.LATE, owner) in whose(judged(copy, sent(records), *stale).breaks), (
        "more than it counts as possible"
    )


@pytest.mark.requirement("S10")
async def test_what_a_saga_at_rest_never_heard_of_is_late_and_its_order_an_orphan(
    copy: Path, records: list[JournalRecord], owner: str
) -> None:
    unheard = judged(copy, sent(records), Completed())
    denied = judged(copy, sent(records), ProvenAbsent(0, FORWARD, 1), Completed())

    for found in (unheard, denied):
        assert whose(found.breaks) == {(Kind.LATE, owner), (Kind.ORPHAN_ORDER, owner)}
    assert any("sure that it never arrived" in each.sentence for each in denied.breaks)


@pytest.mark.requirement("S10")
async def test_late_truth_is_an_open_incident_until_somebody_closes_it(
    copy: Path, records: list[JournalRecord], owner: str
) -> None:
    (trade,) = [t for t in read_books(copy / "exchange.db").executions if t.symbol == "KO"]
    fill = Fill(trade.fill_id, trade.quantity, trade.price, trade.fee, trade.at)
    late = LateTruth(0, FORWARD, 1, final=True, by="a watcher", fills=(fill,))
    before = [*sent(records)]
    ended = (ProvenAbsent(0, FORWARD, 1), Completed(), late)

    assert whose(judged(copy, before, *ended).breaks) == {(Kind.OPEN_INCIDENT, owner)}
    number = len(before) + len(ended)
    assert judged(copy, before, *ended, IncidentClosed("ann", "seen", number)).breaks == ()
    later = (*ended, late, IncidentClosed("ann", "seen", number))
    assert whose(judged(copy, before, *later).breaks) == {(Kind.OPEN_INCIDENT, owner)}


@pytest.mark.requirement("S9")
async def test_late_truth_that_takes_a_fill_back_agrees_with_a_broker_that_did(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        batch_id = await busted(house)
        records = list(await house.store.journal(batch_id))
    (fill,) = [f for r in records if isinstance(r.event, Reported) for f in r.event.fills]
    taken = LateTruth(0, FORWARD, 1, final=True, by="ann", reversed=(fill.fill_id,))
    closed = IncidentClosed("ann", "seen", len(records) + 1)

    assert whose(judged(tmp_path, records).breaks) == {(Kind.TAKEN_BACK, batch_id)}
    assert judged(tmp_path, records, taken, closed).breaks == ()


# --- what operators booked -----------------------------------------------------------------------


def resolved(*adjustments: Adjustment) -> tuple[object, ...]:
    what = Resolved("ann", "by hand", "sold", "ticket 17", adjustments)
    return (LostTrack("why", ()), what)


@pytest.mark.requirement("S10", "O10")
async def test_an_adjustment_is_compared_with_the_trade_that_it_names(
    copy: Path, records: list[JournalRecord], owner: str
) -> None:
    order = await exchange_in(copy).trade_by_hand(Side.SELL, Decimal(10), "KO")
    (fill,) = order.fills
    cash = fill.quantity * fill.price - fill.fee
    story = records[:-1]

    def kinds(*adjustments: Adjustment) -> set[tuple[Kind, str]]:
        return whose(judged(copy, story, *resolved(*adjustments)).breaks)

    told = Adjustment("KO", Decimal(-10), cash, fill.fill_id)
    assert kinds() == {(Kind.EXTERNAL, "external")}
    assert kinds(told) == set()
    assert kinds(replace(told, reference=None)) == set(), "the only one that it can be"
    assert kinds(replace(told, cash=cash + 1)) == {(Kind.CASH_DIFFERS, owner)}
    assert kinds(replace(told, quantity=Decimal(-9))) == {(Kind.QUANTITY_DIFFERS, owner)}
    assert kinds(replace(told, reference="NONE")) == {
        (Kind.MISSING_AT_BROKER, owner),
        (Kind.EXTERNAL, "external"),
    }
    assert kinds(told, Adjustment("PG", Decimal(1), Decimal(-60))) == {
        (Kind.UNPROVEN_ADJUSTMENT, owner)
    }
    (mine,) = [f for r in records if isinstance(r.event, Reported) for f in r.event.fills]
    again = Adjustment("KO", Decimal(10), Decimal(-600), mine.fill_id)
    assert kinds(told, again) == {(Kind.BOOKED_TWICE, owner)}


def with_trades(records: Sequence[JournalRecord], *trades: Trade) -> BreakReport:
    """Compare a journal with trades that the broker has, and no orders."""
    journal = JournalSide()
    for record in records:
        journal.note(record.batch_id, record.number, record.at, record.event)
    return compare(journal, None, BrokerSide("listing", (), trades))


def bought(fill_id: str, key: str | None, symbol: str = "KO", **other: object) -> Trade:
    trade = Trade(1, fill_id, key, symbol, Side.BUY, TEN, TEN, Decimal(0), NOW)
    return replace(trade, **other)  # type: ignore[arg-type]


@pytest.mark.requirement("S10", "O10")
async def test_an_adjustment_without_a_trade_is_not_borne_out_by_a_foreign_or_younger_one(
    records: list[JournalRecord], owner: str
) -> None:
    by_hand = Adjustment("KO", TEN, Decimal(-100))
    closed = Resolved("ann", "by hand", "bought", "ticket 17", (by_hand,))
    (submitted,) = [record for record in records if isinstance(record.event, Submitted)]
    booked = [
        submitted,
        replace(submitted, number=2, at=NOW, event=LostTrack("why", ())),
        replace(submitted, number=3, at=NOW, event=closed),
    ]
    unproven = (Kind.UNPROVEN_ADJUSTMENT, owner)

    assert with_trades(booked, bought("f1", None)).breaks == ()
    assert with_trades(booked, bought("f1", "typed by hand")).breaks == ()
    assert with_trades(booked, bought("f1", attempt_key(owner, 0, FORWARD, 1))).breaks == ()
    foreign = with_trades(booked, bought("f1", FOREIGN))
    assert whose(foreign.breaks) == {unproven, (Kind.MISSING_IN_JOURNAL, batch_of_key(FOREIGN))}
    young = with_trades(booked, bought("f1", None, at=NOW + timedelta(seconds=1)))
    assert whose(young.breaks) == {unproven, (Kind.EXTERNAL, "external")}


@pytest.mark.requirement("S10", "L6")
def test_trades_that_share_an_id_are_each_told_of() -> None:
    ko, pg, ours = bought("1", None), bought("1", None, "PG"), bought("1", FOREIGN)
    back = bought("2", FOREIGN, side=Side.SELL, reverses="1")

    assert {each.symbol for each in with_trades((), ko, pg, ko).breaks} == {"KO", "PG"}
    left = with_trades((), ko, pg, ours, back).breaks
    assert {(each.kind, each.symbol) for each in left} == {
        (Kind.EXTERNAL, "KO"),
        (Kind.EXTERNAL, "PG"),
    }, "what is taken back is the fill of the reversal's own order"
    keyless = replace(back, client_order_id=None)
    assert len(with_trades((), bought("1", FOREIGN), keyless).breaks) == 0


@pytest.mark.requirement("S10", "L6")
async def test_a_trade_of_an_attempt_that_is_over_is_late_though_its_saga_is_under_way(
    records: list[JournalRecord], owner: str
) -> None:
    key = attempt_key(owner, 0, FORWARD, 1)
    waiting = sent(records)
    number = len(waiting) + 1

    def found(*events: object) -> set[tuple[Kind, str]]:
        last = waiting[-1]
        more = [
            replace(last, number=number + n, event=event)  # type: ignore[arg-type]
            for n, event in enumerate(events)
        ]
        return whose(with_trades([*waiting, *more], bought("new", key)).breaks)

    late = (Kind.LATE, owner)
    absent = ProvenAbsent(0, FORWARD, 1)
    assert found() == set()
    assert late in found(Reported(0, FORWARD, 1, final=True))
    assert late in found(absent)
    assert late in found(Withheld(0, FORWARD, 1, "max_order_notional", "too much"))
    assert found(absent, SentAgain(0, FORWARD, 1)) == set(), "it is waited for again"


# --- beside a living engine ----------------------------------------------------------------------


@pytest.mark.requirement("S10", "L6")
async def test_beside_a_living_engine_there_is_never_a_false_break(tmp_path: Path) -> None:
    looks = 0
    async with open_house(tmp_path) as house:

        async def look() -> BrokerSide:
            await anyio.lowlevel.checkpoint()
            return of_books("paper", await house.exchange.books())

        async with anyio.create_task_group() as tasks:
            done = anyio.Event()

            async def trade() -> None:
                for symbol in ("KO", "PG", "WMT", "XOM", "AAPL"):
                    batch_id = await house.main.buy(symbol, Decimal(3), terms=AT_ONCE)
                    await house.main.wait(batch_id)
                    await house.main.rollback(batch_id)
                done.set()

            tasks.start_soon(trade)
            while not done.is_set():
                found = await find_breaks(house.store, look)
                assert found.breaks == (), found.breaks
                looks += 1
        found = await find_breaks(house.store, look)
    assert (found.breaks, found.explained) == ((), ())
    assert looks > 5


async def test_an_order_that_is_younger_than_what_was_read_is_no_break(
    copy: Path, records: list[JournalRecord], owner: str
) -> None:
    broker = of_books("paper", read_books(copy / "exchange.db"), with_account=False)
    journal = JournalSide()
    for record in records:
        journal.note(record.batch_id, record.number, record.at, record.event)
    before = frozenset(each.number for each in broker.orders if each.symbol == "KO")

    young = compare(journal, None, broker, seen_before=before)
    old = compare(journal, None, broker, seen_before=before | {o.number for o in broker.orders})

    assert young.breaks == ()
    assert {each.kind for each in young.explained} == {Kind.IN_FLIGHT}
    assert {each.kind for each in old.breaks} == {Kind.MISSING_IN_JOURNAL}


def test_the_keys_of_this_file_are_of_our_form() -> None:
    assert attempt_key("BAT_20261121_093000_zzzzz", 0, FORWARD, 1) == FOREIGN
