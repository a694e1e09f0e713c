"""What is told of one batch belongs to one instant, and a long one shows first what matters."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import pytest

from desk.batch_report import as_json, read_report
from saga.appending import append_of
from saga.events import LateTruth, Submitted
from saga.fold import apply, begin
from saga.history import History
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.core.telling import BATCH_ID, FORWARD, UNDO, Telling, batch_of, started

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
    async with _store(tmp_path) as store:
        for append in _appends(told):
            await store.append(append)

        report = await read_report(History(store), BATCH_ID)

    assert [each.low for each in report.in_place] == [-1]
    assert report.cash.cash == Decimal(9), "one was sold at 9, and no purchase stands"
