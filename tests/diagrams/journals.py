"""Journals to be drawn, written event by event."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from saga.directive import Directive, directive_kind
from saga.events import Event, Intended, Reported, Started, Submitted
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from saga.outcome import Fill, Outcome
from saga.policy import Capabilities, FailurePolicy, OnFailure
from saga.store.protocol import JournalRecord

BATCH_ID = "BAT_20261121_093000_k3v9x"
BEGIN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
FORWARD, UNDO = Purpose.FORWARD, Purpose.COMPENSATION


@directive_kind
class DrawnTrade(Directive):
    """A trade that only pictures are drawn of; anything may stand in its symbol."""

    kind: Literal["drawn_trade"] = "drawn_trade"
    symbol: str = "AAPL"
    quantity: Decimal = Decimal(100)

    @property
    def amount(self) -> Decimal:
        return self.quantity

    @property
    def subject(self) -> str | None:
        return self.symbol

    @property
    def direction(self) -> int:
        return 1

    @property
    def can_be_undone(self) -> bool:
        return True

    def inverse(self, outcome: Outcome) -> Directive:
        return DrawnTrade(
            directive_id="EXE_undo", symbol=self.symbol, quantity=outcome.done, rollback=True
        )

    def describe(self) -> str:
        return f"buy {self.quantity} {self.symbol}"


class Journal:
    """A journal in the making, a quarter of a second a record."""

    def __init__(self, *symbols: str, reason: str = "test", by: str = "trader") -> None:
        self.now = BEGIN
        self.records: list[JournalRecord] = []
        batch = Batch(
            batch_id=BATCH_ID,
            execution_mode=ExecutionMode.ATOMIC,
            directives=tuple(
                DrawnTrade(directive_id=f"EXE_{place}", symbol=symbol)
                for place, symbol in enumerate(symbols)
            ),
        )
        self.add(
            Submitted(
                batch=batch,
                policy=FailurePolicy(on_failure=OnFailure.UNDO),
                capabilities={"drawn_trade": Capabilities()},
                deadline=BEGIN + timedelta(seconds=30),
                program="trade-saga 0.1.0",
                by=by,
            )
        )

    def add(self, *events: Event, seconds: float = 0.25) -> "Journal":
        for event in events:
            number = len(self.records) + 1
            self.records.append(JournalRecord(number, BATCH_ID, number, self.now, event, bytes(32)))
            self.now += timedelta(seconds=seconds)
        return self

    def start(self) -> "Journal":
        return self.add(Started())

    def intend(
        self, step: int, purpose: Purpose = FORWARD, number: int = 1, amount: str = "100"
    ) -> "Journal":
        return self.add(Intended(step, purpose, number, Decimal(amount)))

    def report(
        self,
        step: int,
        purpose: Purpose = FORWARD,
        number: int = 1,
        *fills: tuple[str, str],
        final: bool = True,
        reason: str | None = None,
    ) -> "Journal":
        made = tuple(
            Fill(f"{len(self.records)}-{place}", Decimal(quantity), Decimal(price))
            for place, (quantity, price) in enumerate(fills)
        )
        return self.add(Reported(step, purpose, number, final, made, reason))

    def fill(self, step: int, price: str = "150.25") -> "Journal":
        return self.intend(step).report(step, FORWARD, 1, ("100", price))
