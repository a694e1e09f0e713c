"""What the tests of the core tell a saga with: test directives, and a saga told event by event.

A `Telling` is the engine's loop without the engine: whatever is told is appended to a journal and
folded in, and its clock is a plain instant that only the test moves.
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

from saga.amounts import PositiveAmount
from saga.core import Ask, Decision, decide, observe
from saga.directive import Directive, directive_kind
from saga.events import (
    CancelRequested,
    Event,
    Resolved,
    Started,
    Submitted,
    decode,
    encode,
)
from saga.fold import apply, begin, fold
from saga.ids import Purpose
from saga.ledger import AttemptRecord, Saga, Step
from saga.machine import SagaState
from saga.model import Batch, ExecutionMode
from saga.outcome import Exposure, Fill, Outcome, Report
from saga.policy import Capabilities, FailurePolicy, OnFailure, RetryPolicy
from saga.views import TradeRow, changed_steps, trade_row

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BATCH_ID = "BAT_20261120_120000_k3v9x"
FORWARD = Purpose.FORWARD
UNDO = Purpose.COMPENSATION


@directive_kind
class Take(Directive):
    """Adds to what is held; undone by a `Give`."""

    kind: Literal["core_test_take"] = "core_test_take"
    quantity: PositiveAmount
    symbol: str = "AAA"

    @property
    def amount(self) -> Decimal:
        return self.quantity

    @property
    def subject(self) -> str:
        return self.symbol

    @property
    def direction(self) -> int:
        return 1

    @property
    def can_be_undone(self) -> bool:
        return True

    def inverse(self, outcome: Outcome) -> "Directive":
        return Give(
            directive_id=self.directive_id,
            quantity=outcome.done,
            symbol=self.symbol,
            rollback=True,
            retry=self.retry,
        )

    def for_amount(self, amount: Decimal) -> "Take":
        return self.model_copy(update={"quantity": amount})


@directive_kind
class Give(Directive):
    """Takes away from what is held; undone by a `Take`."""

    kind: Literal["core_test_give"] = "core_test_give"
    quantity: PositiveAmount
    symbol: str = "AAA"

    @property
    def amount(self) -> Decimal:
        return self.quantity

    @property
    def subject(self) -> str:
        return self.symbol

    @property
    def direction(self) -> int:
        return -1

    @property
    def can_be_undone(self) -> bool:
        return True

    def inverse(self, outcome: Outcome) -> "Directive":
        return Take(
            directive_id=self.directive_id,
            quantity=outcome.done,
            symbol=self.symbol,
            rollback=True,
            retry=self.retry,
        )


@directive_kind
class Tell(Directive):
    """Cannot be divided and cannot be undone; changes nothing that is held, whatever it names."""

    kind: Literal["core_test_tell"] = "core_test_tell"
    symbol: str | None = None

    @property
    def subject(self) -> str | None:
        return self.symbol


KINDS = ("core_test_take", "core_test_give", "core_test_tell")


def batch_of(
    *directives: Directive | int | str,
    mode: ExecutionMode = ExecutionMode.ATOMIC,
    retry: RetryPolicy | None = None,
    **more: Any,
) -> Batch:
    """Return a batch; a number stands for a `Take` of so many, each with a symbol of its own."""
    made = [
        directive
        if isinstance(directive, Directive)
        else Take(
            directive_id=f"EXE_{position}",
            quantity=Decimal(directive),
            symbol="ABCDEFGHIJ"[position % 10] * 3,
            retry=retry,
        )
        for position, directive in enumerate(directives)
    ]
    return Batch(
        batch_id=BATCH_ID, created_at=NOON, directives=tuple(made), execution_mode=mode, **more
    )


def submitted(
    batch: Batch,
    *,
    on_failure: OnFailure | None = None,
    undo_budget: Decimal | None = None,
    capabilities: Capabilities | None = None,
    deadline: datetime | None = None,
) -> Submitted:
    """Return the first record of a saga, with the policy's defaults filled in."""
    default = OnFailure.UNDO if batch.rollback_on_failure else OnFailure.KEEP
    if deadline is None and batch.timeout_seconds is not None:
        deadline = NOON + timedelta(seconds=batch.timeout_seconds)
    return Submitted(
        batch=batch,
        policy=FailurePolicy(on_failure=on_failure or default, undo_budget=undo_budget),
        capabilities={kind: capabilities or Capabilities() for kind in KINDS},
        deadline=deadline,
        program="trade-saga test",
        by="test",
    )


def fill(fill_id: str, quantity: int | str, price: int | str = 10, fee: int | str = 0) -> Fill:
    return Fill(fill_id, Decimal(quantity), Decimal(price), Decimal(fee))


class Telling:
    """A saga that is told event by event."""

    def __init__(self, first: Submitted, at: datetime = NOON) -> None:
        self.now = at
        self.journal: list[tuple[int, datetime, Event]] = [(1, at, first)]
        self.saga = begin(first, at)

    def tell(self, *events: Event) -> "Telling":
        """Append each event and fold it in."""
        for event in events:
            rows = trade_rows(self.saga)
            apply(self.saga, self.saga.number + 1, self.now, event)
            judge_views(self.saga, event, rows)
            self.journal.append((self.saga.number, self.now, event))
        return self

    def later(self, seconds: float) -> "Telling":
        """Let time go by."""
        self.now += timedelta(seconds=seconds)
        return self

    def decide(self) -> Decision:
        """Ask the core, without recording what it says."""
        return decide(self.saga, self.now)

    def go_on(self) -> Decision:
        """Record what the core decides until it decides nothing more; return its last word."""
        while (decision := self.decide()).events:
            self.tell(*decision.events)
        return decision

    def state(self) -> SagaState:
        """Return the saga's state; a call, because a type checker thinks that a state stays."""
        return self.saga.state

    def step(self, position: int = 0) -> Step:
        return self.saga.steps[position]

    def attempt(
        self, step: int = 0, purpose: Purpose = FORWARD, number: int | None = None
    ) -> AttemptRecord:
        """Return an attempt; the last one if no number is given."""
        attempts = self.step(step).attempts(purpose)
        return attempts[-1 if number is None else number - 1]

    def report(
        self,
        step: int = 0,
        purpose: Purpose = FORWARD,
        number: int | None = None,
        *,
        fills: Iterable[Fill] = (),
        final: bool = True,
        reason: str | None = None,
        reference: str | None = None,
    ) -> "Telling":
        """Let the participant tell of an attempt, then record what the core decides."""
        report = Report(final, tuple(fills), reason, reference)
        self.tell(*observe(self.attempt(step, purpose, number), report))
        self.go_on()
        return self

    def filled(
        self, quantity: int | str, step: int = 0, purpose: Purpose = FORWARD, price: int | str = 10
    ) -> "Telling":
        """Let the last attempt be over with one fill."""
        key = self.attempt(step, purpose).key
        return self.report(step, purpose, fills=[fill(f"{key}/1", quantity, price)])

    def refused(self, step: int = 0, purpose: Purpose = FORWARD) -> "Telling":
        """Let the last attempt be over without effect."""
        return self.report(step, purpose, reason="no margin")

    def ask(self) -> Ask:
        """Return the one question that is to be asked next."""
        (ask,) = self.decide().asks
        return ask

    def replayed(self) -> Saga:
        """Return the saga that the journal tells once it has been written down and read back."""
        return fold((n, at, decode(e.kind, encode(e))) for n, at, e in self.journal)


def trade_rows(saga: Saga) -> list[TradeRow]:
    """Return the views of a saga's steps; of a long batch, of the first ten."""
    return [trade_row(saga, step) for step in saga.steps[:10]]


def judge_views(saga: Saga, event: Event, before: list[TradeRow]) -> None:
    """A trade's view that changes with an event is among those that are written anew."""
    written = {step.position for step in changed_steps(saga, [event])}
    for old, new in zip(before, trade_rows(saga), strict=True):
        assert new == old or new.position in written, f"{event.kind} left {old} behind, not {new}"


def started(batch: Batch, **how: Any) -> Telling:
    """Return a saga that was submitted with these words, and admitted; its first sends are due."""
    telling = Telling(submitted(batch, **how)).tell(Started())
    telling.go_on()
    return telling


_ATOMS = frozenset({str, int, float, bool, Decimal, datetime, timedelta, type(None)})
_FROZEN = frozenset({Submitted, CancelRequested, Resolved, Fill, Exposure})
_FIELDS: dict[type, tuple[str, ...]] = {}


def dump(value: object) -> object:
    """Return everything that is known, as nested tuples that can be compared."""
    kind = type(value)
    if kind in _ATOMS or isinstance(value, Enum):
        return value
    if kind in _FROZEN or isinstance(value, Batch | Directive):
        return value  # frozen, and compared by their fields
    if isinstance(value, list | tuple):
        return tuple([dump(item) for item in value])
    if isinstance(value, dict):
        return tuple([(key, dump(item)) for key, item in value.items()])  # order has a meaning
    if isinstance(value, set):
        return tuple(sorted(value))
    if is_dataclass(value):
        if kind not in _FIELDS:
            _FIELDS[kind] = tuple(field.name for field in fields(value))
        return tuple([dump(getattr(value, name)) for name in _FIELDS[kind]])
    raise TypeError(f"what is a {kind.__name__}?")


def copied(saga: Saga) -> Saga:
    """Return a saga that can go another way; much faster than folding its journal anew."""
    records: dict[str, AttemptRecord] = {}

    def of(attempt: AttemptRecord) -> AttemptRecord:
        twin = records[attempt.key] = copy(attempt)
        twin.fills, twin.fill_ids = list(attempt.fills), set(attempt.fill_ids)
        return twin

    def of_step(step: Step) -> Step:
        twin = copy(step)
        twin.forward = [of(attempt) for attempt in step.forward]
        twin.undo = [of(attempt) for attempt in step.undo]
        twin.effects, twin.taken_back = list(step.effects), list(step.taken_back)
        return twin

    twin = copy(saga)
    twin.steps = tuple(of_step(step) for step in saga.steps)
    twin.live, twin.lost, twin.unconfirmed = (
        {key: records[key] for key in known} for known in (saga.live, saga.lost, saga.unconfirmed)
    )
    twin.failed, twin.stuck = (
        {position: twin.steps[position] for position in known}
        for known in (saga.failed, saga.stuck)
    )
    twin.incidents = [copy(incident) for incident in saga.incidents]
    twin.retrying, twin.to_undo = dict(saga.retrying), dict(saga.to_undo)
    return twin
