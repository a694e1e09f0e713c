"""What a change of a saga is on its way to the store: its records, and the views as they are then.

Plain functions: the one way from events that were folded into a saga to what is written of them,
for whoever writes: the runner, the intake, an operator's command on a store without an engine.
"""

from collections.abc import Sequence
from datetime import datetime

from saga.events import Event, Submitted
from saga.fold import AttemptEvent, begin
from saga.ledger import Saga
from saga.store.protocol import Append, Change
from saga.views import batch_row, changed_steps, trade_row


def begun(event: Submitted, at: datetime) -> tuple[Saga, Append]:
    """Return the saga that a submission makes, and what is to be written of it."""
    saga = begin(event, at)
    return saga, append_of(saga, [event], at)


def append_of(saga: Saga, events: Sequence[Event], at: datetime) -> Append:
    """Return what is to be written of a saga into which these events were folded last."""
    first = saga.number - len(events) + 1
    return Append(
        batch=saga.batch,
        changes=tuple(
            [_change_of(saga, number, at, event) for number, event in enumerate(events, first)]
        ),
        batch_row=batch_row(saga),
        trade_rows=tuple([trade_row(saga, step) for step in changed_steps(saga, events)]),
    )


def _change_of(saga: Saga, number: int, at: datetime, event: Event) -> Change:
    """Return the event with what a projection needs to understand it."""
    if not isinstance(event, AttemptEvent):
        return Change(number, at, event)
    attempt = saga.steps[event.step].attempts(event.purpose)[event.number - 1]
    return Change(number, at, event, attempt.directive, attempt.key)
