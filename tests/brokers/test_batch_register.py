"""A broker answers for batches from the durable register, and has none of its own."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from brokers import OperationStatus
from saga.errors import NoSuchBatch
from saga.model import Batch, ExecutionMode
from saga.views import TradeRow, TradeStatus
from tests.brokers.samples import BATCH_ID, buy, new_exchange, sell


def _row(position: int, status: TradeStatus, **changes: object) -> TradeRow:
    row = TradeRow(
        position=position,
        directive_id=f"EXE_{position + 1}",
        kind="buy",
        symbol="AAPL",
        direction=1,
        status=status,
        state="",
        rollback=False,
        amount=Decimal(100),
        done=Decimal(0),
        undone=Decimal(0),
        value=Decimal(0),
        attempts=0,
        result=None,
        error=None,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


class InMemoryRegister:
    """The smallest register: one batch whose undo succeeds or not."""

    def __init__(self, rows: Sequence[TradeRow], *, undo_succeeds: bool = True) -> None:
        self._rows = tuple(rows)
        self._undo_succeeds = undo_succeeds
        self._batch = Batch(
            batch_id=BATCH_ID,
            directives=tuple((buy, sell)[n % 2](100, number=n + 1) for n in range(len(rows))),
            execution_mode=ExecutionMode.ATOMIC,
        )

    async def batch(self, batch_id: str) -> Batch:
        if batch_id != BATCH_ID:
            raise NoSuchBatch(f"no batch has the id {batch_id}")
        return self._batch

    async def trades(self, batch_id: str) -> Sequence[TradeRow]:
        await self.batch(batch_id)
        return self._rows

    async def undo(self, batch_id: str) -> bool:
        await self.batch(batch_id)
        if self._undo_succeeds:
            self._rows = tuple(
                replace(row, status=TradeStatus.UNDONE, rollback=True, undone=row.done)
                if row.done
                else row
                for row in self._rows
            )
        return self._undo_succeeds


@pytest.mark.requirement("O3", "O4")
async def test_operations_are_told_by_id_with_status_and_error(tmp_path: Path) -> None:
    broker = new_exchange(tmp_path)
    full, part = Decimal(100), Decimal(40)
    broker.attach(
        InMemoryRegister(
            [
                _row(0, TradeStatus.SUCCESS, done=full),
                _row(1, TradeStatus.ERROR, error="refused: halted"),
                _row(2, TradeStatus.PARTIAL, done=part, error="cancelled"),
                _row(3, TradeStatus.PENDING),
                _row(4, TradeStatus.RUNNING),
                _row(5, TradeStatus.UNKNOWN, error="timed out"),
                _row(6, TradeStatus.NOT_SENT),
                _row(7, TradeStatus.UNDOING, done=full, rollback=True),
                _row(8, TradeStatus.UNDONE, done=part, rollback=True),
                _row(9, TradeStatus.STUCK, done=full, rollback=True, error="no buyers"),
            ]
        )
    )

    operations = await broker.batch_operations(BATCH_ID)

    assert list(operations) == [f"EXE_{n}" for n in range(1, 11)]
    assert all(operation.directive.directive_id == key for key, operation in operations.items())
    assert [str(operation.status) for operation in operations.values()] == [
        *("success", "error", "error", "pending", "running", "unknown", "pending"),
        *("success", "error", "success"),
    ]
    assert operations["EXE_2"].error == "refused: halted"
    assert [key for key, operation in operations.items() if operation.rollback] == [
        *("EXE_8", "EXE_9", "EXE_10")
    ]


@pytest.mark.requirement("O6", "O7", "O8")
async def test_a_rollback_that_succeeds_is_true_and_marks_what_took_effect(tmp_path: Path) -> None:
    broker = new_exchange(tmp_path)
    broker.attach(
        InMemoryRegister(
            [_row(0, TradeStatus.SUCCESS, done=Decimal(100)), _row(1, TradeStatus.ERROR)]
        )
    )

    succeeded = await broker.batch_rollback(BATCH_ID)
    operations = await broker.batch_operations(BATCH_ID)

    assert succeeded is True
    assert operations["EXE_1"].rollback
    assert operations["EXE_1"].status is OperationStatus.SUCCESS
    assert not operations["EXE_2"].rollback


@pytest.mark.requirement("O6")
async def test_a_rollback_that_leaves_something_is_false(tmp_path: Path) -> None:
    broker = new_exchange(tmp_path)
    broker.attach(InMemoryRegister([_row(0, TradeStatus.STUCK)], undo_succeeds=False))

    assert await broker.batch_rollback(BATCH_ID) is False


@pytest.mark.requirement("O3", "O6")
async def test_an_unknown_batch_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    broker = new_exchange(tmp_path)
    broker.attach(InMemoryRegister([_row(0, TradeStatus.PENDING)]))

    with pytest.raises(NoSuchBatch):
        await broker.batch_operations("BAT_20261120_120000_99999")
    with pytest.raises(NoSuchBatch):
        await broker.batch_rollback("BAT_20261120_120000_99999")
