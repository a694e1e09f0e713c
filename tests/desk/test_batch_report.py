"""What is told of one batch belongs to one instant, and a long one shows first what matters."""

import io
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import pytest

from desk.batch_report import as_json, read_report, show
from desk.carrier import Carrier
from desk.exposure import cash_effect, in_place, may_move_cash
from desk.format import Format
from desk.output import Screen
from portfolio.transfer import CashTransfer, Way
from saga.appending import append_of
from saga.events import (
    Adjustment,
    AnswerLost,
    GaveUp,
    IncidentClosed,
    LateTruth,
    Paused,
    Resolved,
    Retried,
    Submitted,
)
from saga.fold import apply, begin
from saga.history import History
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.policy import RetryPolicy
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.core.telling import BATCH_ID, FORWARD, UNDO, Telling, batch_of, fill, started

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def _appends(telling: Telling) -> Iterator[Append]:
    """Yield what the engine would have written, record by record."""
    (_, at, first), *others = telling.journal
    assert isinstance(first, Submitted)
    saga = begin(first, at)
    yield append_of(saga, [first], at)
    for number, at, event in others:
        apply(saga, number, at, event)
        yield append_of(saga, [event], at)


class GoesOn:
    """A store in which the batch goes one record further behind each read."""

    def __init__(self, store: SqliteStore, appends: Iterator[Append]) -> None:
        self._store = store
        self._appends = appends

    async def read(self, function: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        found = await self._store.read(function, *arguments)
        await self._store.append(next(self._appends))
        return found


@asynccontextmanager
async def _store(folder: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(folder / "saga.db") as store:
        await store.acquire()
        yield store
        await store.release()


@asynccontextmanager
async def _told(folder: Path, telling: Telling) -> AsyncIterator[History]:
    async with _store(folder) as store:
        for append in _appends(telling):
            await store.append(append)
        yield History(store)


async def _screen_of(history: History) -> str:
    out = io.StringIO()
    show(await read_report(history, BATCH_ID), Screen(Format.TABLE, out=out))
    return out.getvalue()


def _first_rows(text: str, heading: str, count: int = 4) -> list[str]:
    """Return the first cells of a table's first rows."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip().startswith(heading))
    return [line.split()[0] for line in lines[start + 1 :][:count]]


@pytest.mark.requirement("B7", "S10")
@pytest.mark.parametrize("seen", range(2, 8))
async def test_all_that_is_shown_of_a_batch_that_goes_on_belongs_to_one_instant(
    tmp_path: Path, seen: int
) -> None:
    whole = started(batch_of(1, 1, 1, 1))
    for step in range(4):
        whole.filled(1, step)
    appends = _appends(whole)
    async with _store(tmp_path) as store:
        for _ in range(seen):
            await store.append(next(appends))

        data = as_json(await read_report(History(GoesOn(store, appends)), BATCH_ID))

    done = data["batch"]["processed_trades"]
    assert sum(trade["done"] for trade in data["trades"]) == done
    assert sum(order["filled"] for order in data["orders"]) == done
    assert sum(each["low"] for each in data["in_place"]) == done
    assert data["cash_change"] == -10 * done


@pytest.mark.requirement("S10")
async def test_cash_counts_what_undid_a_trade_that_the_broker_then_took_back(
    tmp_path: Path,
) -> None:
    told = started(batch_of(1, 1)).filled(1).refused(1).filled(1, purpose=UNDO, price=9)
    (bought,) = told.attempt().fills
    told.tell(LateTruth(0, FORWARD, 1, reversed=(bought.fill_id,), final=True, by="a look"))
    async with _told(tmp_path, told) as history:
        report = await read_report(history, BATCH_ID)

    assert [each.low for each in report.in_place] == [-1]
    assert report.cash.cash == Decimal(9), "one was sold at 9, and no purchase stands"


ONCE = RetryPolicy(attempts=1, backoff_seconds=0)


@pytest.fixture
def long_and_stale() -> Telling:
    """Of 300 legs the 280th was refused, and the 250th cannot be undone."""
    telling = started(batch_of(*[1] * 300, retry=ONCE))
    while telling.saga.live:
        (attempt,) = telling.saga.live.values()
        if (attempt.step, attempt.purpose) in ((279, FORWARD), (249, UNDO)):
            telling.refused(attempt.step, attempt.purpose)
        else:
            telling.filled(1, attempt.step, attempt.purpose)
    return telling


@pytest.mark.requirement("B7", "O10", "T11")
async def test_of_a_long_batch_the_legs_that_failed_are_shown_first_with_their_orders(
    tmp_path: Path, long_and_stale: Telling
) -> None:
    async with _told(tmp_path, long_and_stale) as history:
        text = await _screen_of(history)

    assert _first_rows(text, "#") == ["250", "280", "1", "2"]
    assert "and 100 more (80 undone, 20 not_sent): `saga show" in text
    assert re.search(r"^280\. .*: no margin$", text, re.MULTILINE)
    orders = _first_rows(text, "client order id", 6)
    places = [key.partition("-")[2] for key in orders]
    assert places == ["249F1", "249C1", "249C2", "249C3", "279F1", "0F1"]
    assert f"{orders[4]}: no margin" in text
    assert "and 361 more (361 filled): `saga show" in text


@pytest.mark.requirement("B7", "T11")
async def test_of_a_long_batch_under_way_unknown_and_open_legs_are_shown_first(
    tmp_path: Path,
) -> None:
    telling = started(batch_of(*[1] * 300, mode=ExecutionMode.PARALLEL, retry=ONCE))
    for step in range(300):
        if step == 249:
            telling.report(step, final=False)
        elif step == 269:
            telling.tell(AnswerLost(step, FORWARD, 1, "a timeout"))
        elif step == 289:
            telling.refused(step)
        else:
            telling.filled(1, step)

    async with _told(tmp_path, telling) as history:
        text = await _screen_of(history)

    assert _first_rows(text, "#") == ["270", "290", "250", "1"]
    orders = _first_rows(text, "client order id")
    assert [key.partition("-")[2] for key in orders] == ["269F1", "289F1", "249F1", "0F1"]
    assert text.count("and 100 more (100 ") == 2


@pytest.mark.requirement("O10", "T11")
async def test_why_an_undo_began_is_said_beside_why_it_stopped(
    tmp_path: Path, long_and_stale: Telling
) -> None:
    async with _told(tmp_path, long_and_stale) as history:
        text = await _screen_of(history)
        data = as_json(await read_report(history, BATCH_ID))

    began = data["undo_began_because"]
    assert "refused: no margin" in began
    assert "could not be undone" in data["stopped_because"]
    assert re.search(rf"^undo began  .*Z: {re.escape(began)}$", text, re.MULTILINE)
    assert re.search(r"^because     .* could not be undone", text, re.MULTILINE)


@pytest.mark.requirement("T11")
async def test_why_an_undo_began_is_said_once_where_nothing_stopped_it(tmp_path: Path) -> None:
    telling = started(batch_of(1, 1, retry=ONCE)).filled(1).refused(1).filled(1, purpose=UNDO)

    async with _told(tmp_path, telling) as history:
        text = await _screen_of(history)

    assert text.count("refused: no margin") == 1
    assert "undo began" not in text


def _stuck() -> Telling:
    """Return a STALE batch: 5 AAA could not be undone, 5 BBB were refused."""
    telling = started(batch_of(5, 5, retry=ONCE)).filled(5).refused(1)
    for _ in range(3):
        telling.refused(0, UNDO)
    return telling


@pytest.mark.requirement("O10", "T11")
async def test_why_a_batch_is_undone_is_not_why_it_was_stale_before_its_undo_went_through(
    tmp_path: Path,
) -> None:
    telling = _stuck().tell(Retried("ann", "the halt is lifted"))
    telling.go_on()
    telling.filled(5, purpose=UNDO)
    assert telling.state() is SagaState.ROLLED_BACK

    async with _told(tmp_path, telling) as history:
        text = await _screen_of(history)
        data = as_json(await read_report(history, BATCH_ID))

    assert "could not be undone" not in text
    assert "refused: no margin" in data["stopped_because"]


@pytest.mark.requirement("S9", "S10")
async def test_cash_that_gave_way_to_a_fill_told_of_later_is_not_counted_twice(
    tmp_path: Path,
) -> None:
    sold = Adjustment("AAA", Decimal(-5), Decimal(45), "U1")
    telling = _stuck().tell(Resolved("ann", "by phone", "sold 5", "ticket 1", (sold,)))
    closed_at = telling.now
    telling.later(900)
    telling.tell(LateTruth(0, UNDO, 3, True, "a look", fills=(fill("U1", 5, 9),)))

    async with _told(tmp_path, telling) as history:
        report = await read_report(history, BATCH_ID)
        text = await _screen_of(history)

    data = as_json(report)
    assert data["cash_change"] == -5, "bought at 10, sold at 9"
    assert data["cash_by_hand"] == 0
    assert "as ann said, less what gave way to fills that were told of later" in text
    assert "cash in all   -5.00 USD" in text
    assert data["resolved"]["at"] == closed_at


@pytest.mark.requirement("S10")
async def test_cash_that_was_booked_with_an_incident_is_told(tmp_path: Path) -> None:
    telling = started(batch_of(5, mode=ExecutionMode.PARALLEL)).refused()
    telling.tell(LateTruth(0, FORWARD, 1, True, "a look", fills=(fill("L1", 5),)))
    sold = Adjustment("AAA", Decimal(-5), Decimal(49), "T-1")
    telling.tell(IncidentClosed("bob", "sold", telling.saga.number, "sold 5", (sold,)))

    async with _told(tmp_path, telling) as history:
        text = await _screen_of(history)
        data = as_json(await read_report(history, BATCH_ID))

    assert "cash by hand  +49.00 USD, as bob said" in text
    assert "cash in all   -1.00 USD" in text
    assert data["incidents"][0]["closed_by_action"] == "sold 5"


@pytest.mark.requirement("S9", "S10")
async def test_of_a_batch_that_was_closed_by_hand_with_nothing_left_both_forms_say_so(
    tmp_path: Path,
) -> None:
    telling = _stuck().tell(LateTruth(0, UNDO, 3, True, "a look", fills=(fill("U1", 5, 9),)))
    telling.tell(Resolved("ann", "it was sold", "nothing", "the broker's list"))

    async with _told(tmp_path, telling) as history:
        text = await _screen_of(history)
        data = as_json(await read_report(history, BATCH_ID))

    assert "failed, closed by hand" in text.splitlines()[0]
    assert data["batch"]["closed_by_hand"] is True


@pytest.mark.requirement("S10")
async def test_what_an_undo_of_unknown_fate_cost_is_not_called_known(tmp_path: Path) -> None:
    telling = started(batch_of(5, 5)).filled(5).refused(1)
    telling.tell(AnswerLost(0, UNDO, 1, "a timeout"), GaveUp(0, UNDO, 1, "nobody answers"))
    telling.go_on()

    async with _told(tmp_path, telling) as history:
        text = await _screen_of(history)

    assert "0.00 USD (as far as is known by now)" in text


@pytest.mark.requirement("B9", "O10", "S13")
@pytest.mark.parametrize(
    ("pid", "status", "is_asked_about"),
    [
        (7, "held back by the pause, or just being sent", False),
        (None, "not known, its process is gone", True),
    ],
)
async def test_nobody_is_sent_to_the_broker_about_an_order_that_a_pause_holds_back(
    tmp_path: Path, pid: int | None, status: str, *, is_asked_about: bool
) -> None:
    telling = started(batch_of(5)).tell(Paused("ann", "asking"))
    out = io.StringIO()

    async with _told(tmp_path, telling) as history:
        report = await read_report(history, BATCH_ID, Carrier(pid))
    show(report, Screen(Format.TABLE, out=out))

    assert [order.status for order in report.orders] == [status]
    assert ("Ask the broker about" in out.getvalue()) is is_asked_about


@pytest.mark.requirement("S10")
def test_cash_that_a_transfer_has_moved_or_may_move_is_cash() -> None:
    out = CashTransfer(
        directive_id="EXE_9", portfolio="main", way=Way.WITHDRAWAL, cash=Decimal(900)
    )
    telling = started(batch_of(out, mode=ExecutionMode.PARALLEL))

    assert may_move_cash(telling.saga) == (Decimal(-900), Decimal(0))
    telling.filled(900, price=0)
    assert may_move_cash(telling.saga) == (Decimal(0), Decimal(0))
    assert cash_effect(telling.saga).cash == -900


@pytest.mark.requirement("S10")
def test_what_was_booked_by_hand_does_not_widen_what_orders_may_still_change() -> None:
    telling = _stuck().tell(Retried("ann", "again"))
    telling.go_on()
    telling.refused(0, UNDO).refused(0, UNDO).refused(0, UNDO)
    telling.tell(LateTruth(1, FORWARD, 1, False, "a look"))
    sold = Adjustment("BBB", Decimal(-5), Decimal(50), "T-1")
    telling.tell(IncidentClosed("bob", "sold", telling.saga.number, "sold 5", (sold,)))

    (told,) = (each for each in in_place(telling.saga) if each.symbol == "BBB")

    assert (told.low, told.high) == (Decimal(-5), Decimal(0))
    assert told.sure == -5, "of the 5 that may yet fill none is sure"
