"""What the history says of the active batches, of one batch, its trades, results and errors."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from saga.directive import Directive, directive_kind
from saga.errors import InvalidInput, NoSuchBatch, Quarantined
from saga.events import Event, Paused, Started, Unpaused
from saga.history import History, Progress, TradeEffect, TradeError
from saga.model import Batch, ExecutionMode
from saga.outcome import Fill
from saga.query import BatchQuery
from saga.store.bridge import InlineBridge
from saga.store.protocol import Append, Change
from saga.store.sqlite import SqliteStore
from saga.views import TradeResult, TradeRow
from tests.history.batch_samples import NOON, a_batch, a_trade, batch_id, write_store


@directive_kind
class Nothing(Directive):
    """A directive that does nothing."""

    kind: Literal["history_nothing"] = "history_nothing"


FILL: Final = Fill("F-1", Decimal(37), Decimal("125.25"), Decimal("0.37"), NOON)
RESULT: Final = (
    '{"fills":[{"fill_id":"F-1","quantity":"37","price":"125.25","fee":"0.37",'
    '"at":"2026-11-21T12:00:00Z"}],"references":["X-9"]}'
)
TRADES: Final[tuple[TradeRow, ...]] = (
    a_trade(0, "AAPL", done=Decimal(37), value=Decimal("4634.25"), result=RESULT),
    a_trade(1, "MSFT", status="error", state="REFUSED", done=Decimal(0), error="no such symbol"),
    a_trade(
        2, "XOM", status="partial", state="PARTIAL", done=Decimal(37), result=RESULT, error="ended"
    ),
    a_trade(3, None, status="not_sent", state="PENDING", done=Decimal(0)),
)
RUNNING: Final = a_batch(
    1,
    state="RUNNING",
    outcome=None,
    status="running",
    total_trades=4,
    processed_trades=3,
    failed_trades=2,
    waits_for="an answer",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_store(
        tmp_path / "saga.db",
        [
            (RUNNING, TRADES),
            (a_batch(2), (a_trade(),)),
            (a_batch(3, state="STALE", status="stale", outcome=None), (a_trade(),)),
            (a_batch(4, state="COMPENSATING", status="running", outcome=None), (a_trade(),)),
            (a_batch(5, state="PENDING", status="pending", outcome=None), (a_trade(),)),
        ],
    )


@pytest.fixture
async def history(path: Path) -> AsyncIterator[History]:
    async with History(path, bridge=InlineBridge) as history:
        yield history


@pytest.mark.requirement("B7", "T7")
async def test_active_batches_are_those_that_the_engine_works_on_oldest_first(
    history: History,
) -> None:
    rows = await history.active()
    assert [row.batch_id for row in rows] == [batch_id(1), batch_id(4), batch_id(5)]
    assert Progress.of(rows[0]) == Progress(total=4, processed=3, failed=2, undone=0)


@pytest.mark.requirement("B1", "B3", "B7", "T3")
async def test_one_batch_has_its_status_and_times(history: History) -> None:
    assert await history.batch(batch_id(1)) == RUNNING


@pytest.mark.requirement("B7", "T7")
async def test_progress_counts_trades_exactly_and_never_says_too_much(history: History) -> None:
    progress = await history.progress(batch_id(1))
    assert progress.fraction == Fraction(3, 4)
    assert progress.percent == 75
    assert Progress(total=1_000, processed=999, failed=0, undone=0).percent == 99
    assert Progress(total=3, processed=3, failed=0, undone=3).percent == 100


@pytest.mark.requirement("B2", "T3", "T7")
async def test_the_trades_of_a_batch_come_in_its_order(history: History) -> None:
    assert await history.trades(batch_id(1)) == TRADES


@pytest.mark.requirement("T7", "T8")
async def test_trades_are_read_in_pages_behind_a_position(history: History) -> None:
    assert await history.trades(batch_id(1), limit=2) == TRADES[:2]
    assert await history.trades(batch_id(1), after=1, limit=2) == TRADES[2:]
    assert await history.trades(batch_id(1), after=3) == ()


@pytest.mark.requirement("B1", "B2", "T7", "E15")
async def test_results_are_what_took_effect_each_with_its_batch(history: History) -> None:
    whole, part = await history.results(batch_id(1))
    assert whole == TradeEffect(
        batch_id=batch_id(1),
        position=0,
        directive_id="EXE_0",
        symbol="AAPL",
        status="success",
        done=Decimal(37),
        undone=Decimal(0),
        value=Decimal("4634.25"),
        result=TradeResult(fills=(FILL,), references=("X-9",)),
    )
    assert (part.batch_id, part.position, part.status) == (batch_id(1), 2, "partial")


@pytest.mark.requirement("B1", "B2", "T7", "E15")
async def test_errors_are_why_trades_failed_each_with_its_batch(history: History) -> None:
    assert await history.errors(batch_id(1)) == (
        TradeError(batch_id(1), 1, "EXE_1", "MSFT", "error", "no such symbol"),
        TradeError(batch_id(1), 2, "EXE_2", "XOM", "partial", "ended"),
    )
    assert await history.errors(batch_id(2)) == ()


@pytest.mark.requirement("B2", "E15")
async def test_the_batch_of_any_trade_is_found_by_its_directive(history: History) -> None:
    page = await history.batches(BatchQuery(directive_id="EXE_3"))
    assert [row.batch_id for row in page.rows] == [batch_id(1)]


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("ask", ["batch", "progress", "trades", "results", "errors", "journal"])
async def test_an_unknown_batch_is_said_to_be_unknown(history: History, ask: str) -> None:
    with pytest.raises(NoSuchBatch, match="batch_id 'BAT_x' is not in the store; choose one"):
        await getattr(history, ask)("BAT_x")


@pytest.mark.parametrize("bad", [None, 7, "é", "B" * 500])
@pytest.mark.parametrize("ask", ["batch", "trades", "journal"])
async def test_what_cannot_be_an_id_is_refused(history: History, ask: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match="batch_id must be a batch's id, not "):
        await getattr(history, ask)(bad)


async def test_bounds_of_pages_are_named(history: History) -> None:
    with pytest.raises(InvalidInput, match="count must be a whole number from 1 to 1000, not 0"):
        await history.recent(0)
    with pytest.raises(InvalidInput, match="limit must be a whole number from 1 to 10000, not 0"):
        await history.trades(batch_id(1), limit=0)
    with pytest.raises(InvalidInput, match="after must be a whole number of 0 or more, not -1"):
        await history.trades(batch_id(1), after=-1)
    with pytest.raises(InvalidInput, match="after must be a whole number of 0 or more, not -1"):
        await history.records(after=-1)


async def test_a_result_that_does_not_decode_is_told(tmp_path: Path) -> None:
    path = write_store(tmp_path / "saga.db", [(a_batch(1), (a_trade(result='{"fills": 1}'),))])
    async with History(path, bridge=InlineBridge) as history:
        with pytest.raises(Quarantined, match=r"result of trade 0 of batch .* does not decode"):
            await history.results(batch_id(1))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "live.db") as store:
        await store.acquire()
        yield store


@pytest.mark.requirement("B7", "B11")
async def test_the_journal_is_read_beside_the_owner_as_the_owner_reads_it(
    store: SqliteStore,
) -> None:
    for number in (1, 2):
        await store.append(append_of(number))
    async with History(store.path, bridge=InlineBridge) as history:
        assert await history.journal(batch_id(1)) == await store.journal(batch_id(1))
        records = await history.records()
        assert [record.sequence for record in records] == [1, 2, 3, 4, 5, 6]
        assert await history.records(after=4) == records[4:]
        assert await history.records(batch_id=batch_id(2), after=4) == records[4:]
        assert await history.records(batch_id=batch_id(1)) == records[:3]
        assert await history.records(after=6) == ()


@pytest.mark.requirement("B5")
async def test_a_batch_moves_from_active_to_past_with_its_last_record(store: SqliteStore) -> None:
    history = History(store)
    await store.append(append_of(1, state="RUNNING", status="running"))
    assert [row.batch_id for row in await history.active()] == [batch_id(1)]
    batch = append_of(1).batch
    at = NOON + timedelta(minutes=3)
    over = a_batch(1, completed_at=at)
    await store.append(Append(batch, (Change(4, at, Paused("a", "b")),), over, ()))
    assert await history.active() == ()
    assert await history.recent(1) == (over,)


async def test_a_batch_that_is_set_aside_is_listed_with_its_reason_and_not_as_active(
    store: SqliteStore,
) -> None:
    for number in (1, 2):
        await store.append(append_of(number, state="RUNNING", status="running"))
    await store.quarantine(batch_id(1), "its journal was altered")
    history = History(store)
    assert await history.quarantined() == {batch_id(1): "its journal was altered"}
    assert [row.batch_id for row in await history.active()] == [batch_id(2)]
    assert len(await history.recent()) == 2


def append_of(number: int, **changes: Any) -> Append:
    """Return the first records of a batch; what they say is of no account here."""
    batch = Batch(
        batch_id=batch_id(number),
        directives=(Nothing(directive_id="EXE_0"),),
        execution_mode=ExecutionMode.ATOMIC,
    )
    events: tuple[Event, ...] = (Started(), Paused("a trader", "lunch"), Unpaused("a trader", "on"))
    moments = (Change(place, NOON, event) for place, event in enumerate(events, start=1))
    return Append(batch, tuple(moments), a_batch(number, **changes), (a_trade(),))
