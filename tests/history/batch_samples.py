"""Stores full of batches, some of them hand-made one by one, the others by a seeded draw."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

from saga.machine import SagaState
from saga.model import ExecutionMode, Priority
from saga.store import database, schema
from saga.store.chain import beginning
from saga.store.migration import migrate
from saga.store.rows import BATCH_COLUMNS, TRADE_COLUMNS, values_of
from saga.views import BatchRow, BatchStatus, TradeRow

_BATCH_VALUES: Final = values_of(BATCH_COLUMNS)
_TRADE_VALUES: Final = values_of(TRADE_COLUMNS)

NOON: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SYMBOLS: Final = ("AAPL", "MSFT", "XOM", "KO")
KEYS: Final = ("growth", "income")
STATUS_AND_STATE: Final = (
    (BatchStatus.PENDING, SagaState.PENDING),
    (BatchStatus.RUNNING, SagaState.RUNNING),
    (BatchStatus.RUNNING, SagaState.COMPENSATING),
    (BatchStatus.SUCCESS, SagaState.COMPLETED),
    (BatchStatus.PARTIAL_SUCCESS, SagaState.COMPLETED),
    (BatchStatus.FAILED, SagaState.COMPLETED),
    (BatchStatus.FAILED, SagaState.ROLLED_BACK),
    (BatchStatus.CANCELLED, SagaState.ROLLED_BACK),
    (BatchStatus.STALE, SagaState.STALE),
)


def batch_id(number: int) -> str:
    return f"BAT_20261121_120000_{number:08d}"


def a_batch(number: int = 1, **changes: object) -> BatchRow:
    row = BatchRow(
        batch_id=batch_id(number),
        state="COMPLETED",
        outcome="SUCCESS",
        status="success",
        mode="ATOMIC",
        priority="NORMAL",
        exclusion_key=None,
        parent_id=None,
        total_trades=1,
        processed_trades=1,
        failed_trades=0,
        undone_trades=0,
        created_at=NOON + timedelta(minutes=number),
        started_at=None,
        updated_at=NOON + timedelta(minutes=number),
        completed_at=None,
        deadline=None,
        paused=False,
        program="0",
        reason=None,
        waits_for=None,
        undo_cost=None,
        residual=None,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def a_trade(position: int = 0, symbol: str | None = "AAPL", **changes: object) -> TradeRow:
    row = TradeRow(
        position=position,
        directive_id=f"EXE_{position}",
        kind="buy",
        symbol=symbol,
        direction=1,
        status="success",
        state="DONE",
        rollback=False,
        amount=Decimal(10),
        done=Decimal(10),
        undone=Decimal(0),
        value=Decimal("1250.5"),
        attempts=1,
        result=None,
        error=None,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


Made = tuple[BatchRow, tuple[TradeRow, ...]]


def drawn(count: int, *, seed: int = 7) -> list[Made]:
    """Draw batches whose times and sizes often coincide, so that ties are met."""
    random = Random(seed)
    made: list[Made] = []
    for number in range(1, count + 1):
        status, state = random.choice(STATUS_AND_STATE)
        created = NOON + timedelta(minutes=number + random.randrange(-3, 4))
        updated = created + timedelta(minutes=random.randrange(4))
        symbols = random.sample(SYMBOLS, random.randint(1, len(SYMBOLS)))
        row = a_batch(
            number,
            status=status.value,
            state=state.value,
            mode=random.choice(list(ExecutionMode)).value,
            priority=random.choice(list(Priority)).value,
            exclusion_key=random.choice((None, *KEYS)),
            parent_id=batch_id(random.randint(1, 3)) if random.random() < 0.3 else None,
            created_at=created,
            updated_at=updated,
            completed_at=updated if random.random() < 0.6 else None,
            total_trades=len(symbols),
            processed_trades=len(symbols),
            reason=random.choice((None, "leg 2 was refused", "Cancelled by the owner")),
        )
        trades = tuple(
            a_trade(place, symbol, directive_id=f"EXE_{symbol}_{number % 5}")
            for place, symbol in enumerate(symbols)
        )
        made.append((row, trades))
    return made


def write_store(path: Path, made: Iterable[Made]) -> Path:
    """Make a store at rest that holds these batches, without journals."""
    database.create_if_missing(path)
    connection = database.connect_writer(path)
    try:
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
        connection.execute("BEGIN")
        insert(connection, made)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return path


def insert(connection: sqlite3.Connection, made: Iterable[Made]) -> None:
    for row, trades in made:
        digest = beginning(row.batch_id).digest
        number = _insert(
            connection,
            "batches",
            (*BATCH_COLUMNS, "head_number", "head_digest"),
            (*_BATCH_VALUES(row), 1, digest),
        )
        for trade in trades:
            values = (*_TRADE_VALUES(trade), number)
            _insert(connection, "trades", (*TRADE_COLUMNS, "batch_id"), values)


def _insert(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], values: Sequence[object]
) -> int:
    marks = ", ".join("?" for _ in columns)
    cursor = connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
