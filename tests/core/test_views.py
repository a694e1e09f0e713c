"""What people see of a saga: derived from its state, and never a truth of its own."""

import json
from collections.abc import Callable

import pytest

from saga.events import (
    AnswerLost,
    CancelRequested,
    Completed,
    Event,
    Intended,
    NoAnswer,
    NotFound,
    Paused,
    Reported,
    Resumed,
    Retried,
    RolledBack,
    Started,
    StepStuck,
)
from saga.exact import ZERO
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.policy import Capabilities
from saga.views import batch_row, changed_steps, trade_row, waits_for
from tests.core.telling import FORWARD, UNDO, Telling, batch_of, fill, started, submitted

SEQUENTIAL, PARALLEL, ATOMIC = ExecutionMode
CANCEL = CancelRequested("ann", "mind changed")


def pending() -> Telling:
    return Telling(submitted(batch_of(5, 5)))


def sending() -> Telling:
    return started(batch_of(5, 5, mode=SEQUENTIAL))


def undoing() -> Telling:
    return started(batch_of(5, 5, 5)).filled(5, 0).refused(1)


def unknown() -> Telling:
    return sending().tell(AnswerLost(0, FORWARD, 1, "timeout"))


def stuck() -> Telling:
    telling = undoing()
    for _ in range(3):
        telling.refused(0, UNDO).later(100).go_on()
    return telling


def cancelled() -> Telling:
    telling = pending().tell(CANCEL)
    telling.go_on()
    return telling


STATUS: list[tuple[Callable[[], Telling], str, str | None]] = [
    (pending, "pending", None),
    (sending, "running", None),
    (undoing, "running", None),
    (stuck, "stale", None),
    (lambda: sending().filled(5, 0).filled(5, 1), "success", "SUCCESS"),
    (lambda: sending().filled(5, 0).refused(1), "partial_success", "PARTIAL_SUCCESS"),
    (lambda: sending().filled(2, 0).refused(1), "partial_success", "PARTIAL_SUCCESS"),
    (lambda: sending().refused(0), "failed", "FAILED"),
    (lambda: undoing().filled(5, 0, UNDO), "failed", "FAILED"),
    (cancelled, "cancelled", "CANCELLED"),
    (lambda: sending().tell(CANCEL).refused(0), "cancelled", "CANCELLED"),
]


@pytest.mark.requirement("B3", "B5")
@pytest.mark.parametrize(("make", "status", "outcome"), STATUS)
def test_a_batchs_status_follows_from_its_state(
    make: Callable[[], Telling], status: str, outcome: str | None
) -> None:
    row = batch_row(make().saga)

    assert row.status == status
    assert row.outcome == outcome


@pytest.mark.requirement("B5", "B1")
def test_progress_is_counted_as_trades_finish() -> None:
    telling = started(batch_of(1, 1, 1, mode=PARALLEL))
    seen = []
    for tell in (telling.filled, telling.refused, telling.filled):
        row = batch_row(telling.saga)
        seen.append((row.processed_trades, row.failed_trades))
        assert row.completed_at is None
        telling.later(1)
        if tell == telling.refused:
            telling.refused(1)
        else:
            telling.filled(1, 0 if len(seen) == 1 else 2)

    row = batch_row(telling.saga)
    assert [*seen, (row.processed_trades, row.failed_trades)] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert row.total_trades == 3
    assert row.completed_at == telling.now


@pytest.mark.requirement("B1", "B2")
def test_a_batchs_row_tells_its_undo_and_what_is_left() -> None:
    row = batch_row(undoing().filled(5, 0, UNDO).saga)
    assert row.undone_trades == 1
    assert row.undo_cost == 0
    assert row.residual is None

    row = batch_row(stuck().saga)
    assert row.residual is not None
    (left,) = json.loads(row.residual)
    assert (left["subject"], left["low"], left["high"]) == ("AAA", "5", "5")
    assert batch_row(sending().saga).undo_cost is None


@pytest.mark.requirement("O4", "B2", "E15")
@pytest.mark.parametrize(
    ("make", "statuses"),
    [
        (pending, ["pending", "pending"]),
        (sending, ["running", "pending"]),
        (unknown, ["unknown", "pending"]),
        (lambda: sending().report(final=False), ["running", "pending"]),
        (lambda: sending().filled(5, 0), ["success", "running"]),
        (lambda: sending().filled(2, 0), ["partial", "running"]),
        (lambda: sending().refused(0), ["error", "not_sent"]),
        (undoing, ["undoing", "error", "not_sent"]),
        (stuck, ["stuck", "error", "not_sent"]),
        (lambda: undoing().filled(5, 0, UNDO), ["undone", "error", "not_sent"]),
    ],
)
def test_a_trades_status_follows_from_its_step(
    make: Callable[[], Telling], statuses: list[str]
) -> None:
    saga = make().saga

    assert [trade_row(saga, step).status for step in saga.steps] == statuses


@pytest.mark.requirement("O4", "O8", "B2")
def test_a_trades_row_tells_result_and_error() -> None:
    telling = sending().report(final=False, fills=[fill("a", 2, price=7)], reference="V-1")
    row = trade_row(telling.saga, telling.step(0))
    assert row.result is not None
    assert json.loads(row.result)["references"] == ["V-1"]
    assert row.value == 14
    assert row.error is None

    row = trade_row(telling.saga, telling.step(1))
    assert row.result is None

    telling = sending().refused(0)
    assert trade_row(telling.saga, telling.step(0)).error == "no margin"
    telling = started(batch_of(5)).report(fills=[fill("a", 2)])
    assert trade_row(telling.saga, telling.step(0)).error == "ended with 2 done"


# --- what a saga waits for -----------------------------------------------------------------------

KEY = "20261120_120000_k3v9x-0F1"
UNDO_KEY = "20261120_120000_k3v9x-0C1"


def silent() -> Telling:
    return unknown().tell(*[NoAnswer(0, FORWARD, 1, "no route")] * 2)


def two_at_work() -> Telling:
    telling = started(batch_of(5, 5, mode=PARALLEL))
    return telling.report(0, final=False).report(1, final=False)


def two_in_the_air() -> Telling:
    return started(batch_of(5, 5, mode=PARALLEL)).report(0, final=False)


def unconfirmed() -> Telling:
    capabilities = Capabilities(visibility_seconds=0.0, tombstone=True)
    telling = started(batch_of(5, mode=SEQUENTIAL), capabilities=capabilities)
    telling.tell(AnswerLost(0, FORWARD, 1, "timeout"))
    telling.tell(*[NotFound(0, FORWARD, 1, tombstone=True)] * 3).go_on()
    return telling.filled(5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (pending, "admission"),
        (lambda: pending().tell(Paused("ann", "lunch")), "to be unpaused"),
        (sending, f"the answer to core_test_take AAA ({KEY})"),
        (two_in_the_air, f"core_test_take AAA to fill ({KEY})"),
        (lambda: sending().filled(5, 0).tell(Paused("ann", "lunch")), None),
        (unknown, f"the fate of core_test_take AAA ({KEY}): timeout"),
        (
            silent,
            f"the fate of core_test_take AAA ({KEY}): no route; 2 questions without an answer",
        ),
        (
            lambda: two_at_work().tell(NoAnswer(0, FORWARD, 1, "no route")),
            f"an answer about core_test_take AAA ({KEY}): no route",
        ),
        (
            lambda: sending().report(final=False),
            f"core_test_take AAA to fill ({KEY})",
        ),
        (two_at_work, f"core_test_take AAA to fill ({KEY}) and 1 more"),
        (
            lambda: two_at_work().tell(CancelRequested("ann", "enough")),
            f"core_test_take AAA to be cancelled ({KEY}) and 1 more",
        ),
        (unconfirmed, "the confirmation that nothing arrived late"),
        (undoing, f"the answer to core_test_give AAA ({UNDO_KEY})"),
        (
            lambda: undoing().report(0, UNDO, final=False),
            f"core_test_give AAA to fill ({UNDO_KEY})",
        ),
        (
            lambda: undoing().tell(AnswerLost(0, UNDO, 1, "timeout")),
            f"the fate of core_test_give AAA ({UNDO_KEY}): timeout",
        ),
        (
            lambda: undoing().report(0, UNDO, final=False).tell(NoAnswer(0, UNDO, 1, "no route")),
            f"an answer about core_test_give AAA ({UNDO_KEY}): no route",
        ),
    ],
)
def test_a_saga_says_what_it_waits_for(make: Callable[[], Telling], sentence: str | None) -> None:
    saga = make().saga
    if saga.paused and saga.live:
        sentence = "to be unpaused"

    assert waits_for(saga) == sentence
    assert batch_row(saga).waits_for == sentence


def test_a_saga_at_rest_waits_for_nothing() -> None:
    assert batch_row(stuck().saga).waits_for is None


# --- which trades to write -----------------------------------------------------------------------


def test_only_the_trades_that_an_event_concerns_are_shown_anew() -> None:
    telling = undoing()
    events: list[Event] = [
        Started(),
        Intended(1, FORWARD, 1, telling.step(1).directive.amount),
        Reported(1, FORWARD, 1, final=True),
        StepStuck(2, "x"),
        Paused("ann", "lunch"),
    ]

    assert [step.position for step in changed_steps(telling.saga, events)] == [1, 2]
    assert list(changed_steps(telling.saga, [Paused("ann", "lunch")])) == []
    assert len(list(changed_steps(telling.saga, [Retried("ann", "again")]))) == 3


def test_a_restart_shows_anew_only_what_is_in_flight() -> None:
    wide = started(batch_of(1, 1, 1, mode=PARALLEL)).filled(1, 0)
    wide.tell(Resumed("next"))

    assert [step.position for step in changed_steps(wide.saga, [Resumed("next")])] == [1, 2]


def test_an_end_shows_anew_only_what_was_never_sent() -> None:
    ended = started(batch_of(5, 5, 5, mode=SEQUENTIAL)).filled(5, 0).refused(1)

    assert ended.state() is SagaState.COMPLETED
    assert [step.position for step in changed_steps(ended.saga, [Completed()])] == [2]
    assert list(changed_steps(ended.saga, [RolledBack(ZERO)])) == []
