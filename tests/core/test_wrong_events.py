"""An event that may not follow is refused, and nothing has changed."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from saga.errors import IllegalTransition, NotAllowed
from saga.events import (
    Abandoned,
    AnswerLost,
    CancelRequested,
    CompensationStarted,
    Completed,
    DeadlinePassed,
    Event,
    GaveUp,
    Intended,
    LostTrack,
    NoAnswer,
    NotFound,
    Paused,
    ProvenAbsent,
    Reported,
    Resolved,
    Resumed,
    Retried,
    RolledBack,
    SentAgain,
    Started,
    StepStuck,
    Unpaused,
    Withdrawn,
)
from saga.fold import apply, fold
from saga.model import ExecutionMode
from saga.policy import Capabilities, OnFailure
from tests.core.telling import (
    FORWARD,
    NOON,
    UNDO,
    Telling,
    batch_of,
    dump,
    fill,
    started,
    submitted,
)

CANCEL = CancelRequested("ann", "mind changed")
PAUSE, UNPAUSE = Paused("ann", "lunch"), Unpaused("ann", "back")
RETRY = Retried("ann", "the venue is back")
RESOLVE = Resolved("ann", "sold by hand", "sold 5 AAA", "ticket 7")
FIRST = (0, FORWARD, 1)


def pending() -> Telling:
    return Telling(submitted(batch_of(5, 5)))


def sending() -> Telling:
    return started(batch_of(5, 5))


def working() -> Telling:
    return sending().report(final=False, fills=[fill("a", 2)])


def unknown() -> Telling:
    return sending().tell(AnswerLost(*FIRST, "timeout"))


def undoing() -> Telling:
    return sending().filled(5, 0).refused(1)


def stale() -> Telling:
    telling = started(batch_of(5, 5), capabilities=Capabilities(look_up=False))
    telling.tell(AnswerLost(*FIRST, "timeout")).go_on()
    return telling


def kept_stale() -> Telling:
    telling = started(
        batch_of(5, mode=ExecutionMode.PARALLEL),
        on_failure=OnFailure.KEEP,
        capabilities=Capabilities(look_up=False),
    )
    telling.tell(AnswerLost(*FIRST, "timeout")).go_on()
    return telling


def completed() -> Telling:
    return started(batch_of(5)).filled(5)


def rolled_back() -> Telling:
    return started(batch_of(5)).refused()


CASES: list[tuple[str, Callable[[], Telling], list[Event]]] = [
    (
        "pending",
        pending,
        [
            Completed(),
            CompensationStarted("x"),
            RolledBack(Decimal(0)),
            Abandoned("x", ()),
            LostTrack("x", ()),
            RETRY,
            RESOLVE,
            UNPAUSE,
            Intended(*FIRST, Decimal(5)),
            Reported(*FIRST, final=True),
            StepStuck(0, "x"),
            submitted(batch_of(5)),
        ],
    ),
    (
        "sending",
        sending,
        [
            Started(),
            Withdrawn("x"),
            Completed(),
            RETRY,
            UNPAUSE,
            NotFound(*FIRST),
            SentAgain(*FIRST),
            ProvenAbsent(*FIRST),
            StepStuck(0, "x"),
            Intended(0, FORWARD, 2, Decimal(5)),
            Intended(1, FORWARD, 2, Decimal(5)),
            Intended(1, FORWARD, 1, Decimal(4)),
            Intended(2, FORWARD, 1, Decimal(5)),
            Intended(-1, FORWARD, 1, Decimal(5)),
            Intended(0, UNDO, 1, Decimal(5)),
            Reported(0, FORWARD, 2, final=True),
            Reported(0, FORWARD, 0, final=True),
            Reported(0, UNDO, 1, final=True),
            Reported(7, FORWARD, 1, final=True),
            Reported(*FIRST, final=True, fills=(fill("x", 0),)),
            Reported(*FIRST, final=True, fills=(fill("x", 1), fill("y", "1E+300"))),
            Reported(*FIRST, final=True, fills=(fill("x", 1), fill("y", 1, "1E-300"))),
            Reported(*FIRST, final=True, fills=(fill("x", 1), fill("y", 1, 10, "-1E+28"))),
            Reported(*FIRST, final=True, fills=(fill("x", "NaN"),)),
            Reported(*FIRST, final=True, fills=(fill("x", 1, "sNaN"),)),
            Reported(*FIRST, final=True, fills=(fill("x", 1, 10, "Infinity"),)),
        ],
    ),
    (
        "working",
        working,
        [
            Reported(*FIRST, final=False, fills=(fill("a", 2),)),
            SentAgain(*FIRST),
            ProvenAbsent(*FIRST),
        ],
    ),
    ("unknown", unknown, [AnswerLost(*FIRST, "again"), Intended(0, FORWARD, 2, Decimal(5))]),
    (
        "undoing",
        undoing,
        [
            CANCEL,
            RolledBack(Decimal(0)),
            Completed(),
            RETRY,
            RESOLVE,
            NotFound(*FIRST),
            GaveUp(*FIRST, "x"),
            Intended(0, UNDO, 2, Decimal(5)),
            Intended(1, UNDO, 1, Decimal(5)),
            Intended(1, FORWARD, 2, Decimal(5)),
        ],
    ),
    (
        "stale",
        stale,
        [CANCEL, PAUSE, UNPAUSE, Resumed("x"), DeadlinePassed(), Reported(*FIRST, final=True)],
    ),
    ("kept_stale", kept_stale, [RETRY]),
    ("completed", completed, [CANCEL, PAUSE, RETRY, RESOLVE, NoAnswer(*FIRST, "x")]),
    ("rolled_back", rolled_back, [CANCEL, PAUSE, RETRY, RESOLVE, Completed()]),
]
WRONG = [(name, make(), event) for name, make, events in CASES for event in events]


@pytest.mark.requirement("S8", "S4", "S5", "S9")
@pytest.mark.parametrize(
    ("telling", "event"),
    [(telling, event) for _, telling, event in WRONG],
    ids=[f"{name}-{event.kind}-{number}" for number, (name, _, event) in enumerate(WRONG)],
)
def test_a_wrong_event_is_refused_and_changes_nothing(telling: Telling, event: Event) -> None:
    before = dump(telling.saga)

    with pytest.raises(NotAllowed) as refusal:
        apply(telling.saga, telling.saga.number + 1, telling.now, event)

    assert dump(telling.saga) == before
    assert len(str(refusal.value)) > 20


@pytest.mark.parametrize("twice", [PAUSE, CANCEL, DeadlinePassed()])
def test_what_is_so_already_cannot_become_so_again(twice: Event) -> None:
    telling = sending().tell(twice)
    before = dump(telling.saga)

    with pytest.raises(NotAllowed):
        telling.tell(twice)

    assert dump(telling.saga) == before


def test_an_attempt_that_was_given_up_tells_nothing_until_the_saga_is_retried() -> None:
    telling = started(
        batch_of(5, 5, mode=ExecutionMode.PARALLEL), capabilities=Capabilities(look_up=False)
    )
    telling.tell(AnswerLost(*FIRST, "timeout")).go_on()
    before = dump(telling.saga)

    with pytest.raises(NotAllowed, match="was given up; retry the saga"):
        telling.tell(Reported(*FIRST, final=True))

    assert dump(telling.saga) == before


@pytest.mark.requirement("S8")
@pytest.mark.parametrize("number", [1, 3, 0])
def test_a_record_out_of_its_place_is_refused(number: int) -> None:
    telling = pending()

    with pytest.raises(NotAllowed, match=f"record {number} does not follow on record 1"):
        apply(telling.saga, number, NOON, Started())

    assert telling.saga.number == 1


def test_a_trigger_without_an_arrow_names_the_state() -> None:
    with pytest.raises(IllegalTransition, match="a saga cannot start from RUNNING"):
        sending().tell(Started())


def test_a_journal_begins_with_its_submission() -> None:
    first = submitted(batch_of(5))

    with pytest.raises(NotAllowed, match="begins with record 1, 'submitted', not 1, 'started'"):
        fold([(1, NOON, Started())])
    with pytest.raises(NotAllowed, match="not 2, 'submitted'"):
        fold([(2, NOON, first)])
    with pytest.raises(NotAllowed, match="without records"):
        fold([])


@pytest.mark.requirement("S11")
def test_a_saga_is_the_fold_of_its_journal() -> None:
    telling = undoing()

    assert dump(telling.replayed()) == dump(telling.saga)
