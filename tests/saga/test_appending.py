"""What is on its way to the store: each record beside what a projection needs to understand it."""

from saga.appending import append_of
from saga.events import Intended, Reported
from saga.policy import RetryPolicy
from tests.core.telling import FORWARD, batch_of, fill, started


def test_a_record_goes_with_the_key_and_the_directive_of_its_own_attempt() -> None:
    retry = RetryPolicy(attempts=2, backoff_seconds=0.0)
    telling = started(batch_of(5, 1, retry=retry))
    partly = Reported(0, FORWARD, 1, final=True, fills=(fill("first", 2),), reason="no more")
    telling.tell(partly)
    (again,) = telling.decide().events
    telling.tell(again)

    changes = append_of(telling.saga, [partly, again], telling.now).changes

    assert again == Intended(0, FORWARD, 2, telling.step(0).rest)
    assert [change.number for change in changes] == [telling.saga.number - 1, telling.saga.number]
    assert [change.key for change in changes] == [
        telling.saga.key(0, FORWARD, number) for number in (1, 2)
    ]
    assert [change.directive.amount for change in changes if change.directive] == [5, 3]
