"""Batches, changes and views for the tests of the store, built by hand: no core is needed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from saga.directive import Directive, directive_kind
from saga.events import Completed, Event, Intended, Reported, Started, Submitted
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from saga.outcome import Fill
from saga.policy import Capabilities, FailurePolicy
from saga.store.protocol import Append, Change
from saga.views import BatchRow, TradeRow

NOON = datetime(2026, 11, 20, 12, 0, 0, 250_001, tzinfo=UTC)


@directive_kind
class Sample(Directive):
    """A directive of no market."""

    kind: Literal["store_sample"] = "store_sample"


def batch_id(number: int) -> str:
    return f"BAT_20261120_120000_{number:05d}"


def sample_batch(number: int = 1) -> Batch:
    return Batch(
        batch_id=batch_id(number),
        directives=(Sample(directive_id="EXE_1"), Sample(directive_id="EXE_2")),
        execution_mode=ExecutionMode.ATOMIC,
        created_at=NOON,
        metadata={"reason": "größer als 5 %\u202e"},
        exclusion_key="main",
    )


def submitted(batch: Batch) -> Submitted:
    return Submitted(
        batch=batch,
        policy=FailurePolicy(),
        capabilities={"store_sample": Capabilities()},
        deadline=NOON + timedelta(minutes=5),
        program="trade-saga 0",
        by="a test",
    )


def intended(step: int) -> Intended:
    return Intended(step=step, purpose=Purpose.FORWARD, number=1, amount=Decimal(1))


def reported(step: int) -> Reported:
    fill = Fill(f"F-{step}", Decimal("0.10"), Decimal("101.25"), Decimal("-0.01"), NOON)
    return Reported(step, Purpose.FORWARD, 1, final=True, fills=(fill,), reference="é-1")


def batch_row(batch: Batch, state: str = "PENDING", status: str = "pending") -> BatchRow:
    return BatchRow(
        batch_id=batch.batch_id,
        state=state,
        outcome="SUCCESS" if state == "COMPLETED" else None,
        status=status,
        mode=batch.execution_mode.value,
        priority=batch.priority.value,
        exclusion_key=batch.exclusion_key,
        parent_id=None,
        total_trades=len(batch.directives),
        processed_trades=0,
        failed_trades=0,
        undone_trades=0,
        created_at=NOON,
        started_at=None,
        updated_at=NOON,
        completed_at=None,
        deadline=NOON + timedelta(minutes=5),
        paused=False,
        program="trade-saga 0",
        reason=None,
        waits_for=None,
        undo_cost=None,
        residual=None,
    )


def trade_row(position: int, state: str = "PENDING", status: str = "pending") -> TradeRow:
    return TradeRow(
        position=position,
        directive_id=f"EXE_{position + 1}",
        kind="store_sample",
        symbol="AAPL",
        direction=1,
        status=status,
        state=state,
        rollback=False,
        amount=Decimal(1),
        done=Decimal(0),
        undone=Decimal(0),
        value=Decimal(0),
        attempts=0,
        result=None,
        error=None,
    )


def first(number: int = 1) -> Append:
    """Return the append that accepts a batch: one record, all views."""
    batch = sample_batch(number)
    trades = tuple(trade_row(position) for position in range(len(batch.directives)))
    return Append(batch, (Change(1, NOON, submitted(batch)),), batch_row(batch), trades)


def following(number: int, from_record: int, *events: Event) -> Append:
    """Return an append of further records, the views of a running saga with it."""
    batch = sample_batch(number)
    changes = tuple(
        Change(place, NOON + timedelta(microseconds=place), event)
        for place, event in enumerate(events, start=from_record)
    )
    row = replace(batch_row(batch, "RUNNING", "running"), started_at=NOON, waits_for="an answer")
    return Append(batch, changes, row, (trade_row(0, "SENDING", "running"),))


def whole_life(number: int = 1) -> tuple[Append, ...]:
    """Return every append of a saga that completes: seven records in four appends."""
    batch = sample_batch(number)
    done = replace(
        trade_row(0, "DONE", "success"),
        done=Decimal("0.10"),
        value=Decimal("10.125"),
        attempts=1,
        result='{"fills": 1}',
    )
    completed = replace(
        batch_row(batch, "COMPLETED", "success"),
        processed_trades=2,
        started_at=NOON,
        completed_at=NOON,
        undo_cost=Decimal("-12.50"),
    )
    last = Append(
        batch,
        (Change(6, NOON, reported(1)), Change(7, NOON, Completed())),
        completed,
        (done, replace(done, position=1, directive_id="EXE_2")),
    )
    return (
        first(number),
        following(number, 2, Started(), intended(0)),
        following(number, 4, reported(0), intended(1)),
        last,
    )
