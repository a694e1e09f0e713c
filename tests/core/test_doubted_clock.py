"""While the wall is in doubt the core judges no deadline and sends nothing, and goes on asking."""

from decimal import Decimal

from saga.core import Question, decide
from saga.events import AnswerLost, DeadlinePassed, Intended, NotFound, Reported, SentAgain, Started
from tests.core.telling import FORWARD, UNDO, Telling, batch_of, fill, submitted


def test_no_deadline_is_judged_while_the_clock_is_in_doubt_and_it_is_afterwards() -> None:
    telling = Telling(submitted(batch_of(1, timeout_seconds=60)))
    telling.tell(Started())
    telling.later(86_400)
    assert decide(telling.saga, telling.now, in_doubt=True).events == ()
    assert decide(telling.saga, telling.now).events == (DeadlinePassed(),)


def test_nothing_is_sent_forward_while_the_clock_is_in_doubt() -> None:
    telling = Telling(submitted(batch_of(1)))
    telling.tell(Started())
    assert decide(telling.saga, telling.now, in_doubt=True).events == ()
    assert decide(telling.saga, telling.now).events == (Intended(0, FORWARD, 1, Decimal(1)),)


def test_what_is_open_is_asked_about_while_the_clock_is_in_doubt_and_not_sent_again() -> None:
    telling = Telling(submitted(batch_of(1)))
    telling.tell(Started())
    telling.go_on()
    telling.tell(AnswerLost(0, FORWARD, 1, "timeout"))
    (ask,) = decide(telling.saga, telling.now, in_doubt=True).asks
    assert ask.question is Question.LOOK_UP
    for _ in range(3):
        telling.later(3)
        telling.tell(NotFound(0, FORWARD, 1))
    assert decide(telling.saga, telling.now, in_doubt=True).events == ()
    assert decide(telling.saga, telling.now).events == (SentAgain(0, FORWARD, 1),)


def test_nothing_is_undone_while_the_clock_is_in_doubt() -> None:
    telling = Telling(submitted(batch_of(1, 1)))
    telling.tell(Started())
    telling.go_on()
    telling.tell(Reported(0, FORWARD, 1, True, (fill("a", 1),)))
    telling.go_on()
    telling.tell(Reported(1, FORWARD, 1, True, reason="no"))
    (started,) = decide(telling.saga, telling.now, in_doubt=True).events
    telling.tell(started)
    assert decide(telling.saga, telling.now, in_doubt=True).events == ()
    assert decide(telling.saga, telling.now).events == (Intended(0, UNDO, 1, Decimal(1)),)
