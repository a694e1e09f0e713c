"""What an unfinished batch waits for that nobody can account for, as its journal tells it.

An order that is open at the broker, or whose call is under way, is accounted for. One whose answer
was lost, or about which the broker is silent, is not; nor is an undo that does not get through. One
that is about to be sent when its batch is paused is held at the gate: it is not out at all. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from desk.output import instant
from saga.events import (
    CompensationStarted,
    Event,
    GaveUp,
    Intended,
    NoAnswer,
    NotFound,
    ProvenAbsent,
    Reported,
    Resumed,
    Retried,
    SentAgain,
    Unpaused,
    Withheld,
)
from saga.exact import ZERO, plain
from saga.fold import saga_of
from saga.ids import Purpose
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.machine import SagaState
from saga.store.protocol import JournalRecord
from saga.views import BatchRow
from saga.wording import counted

PATIENCE_SECONDS: Final = 60
"""So long nobody has to look: the broker is asked again, and an undo takes its time."""

_Answers = Intended | SentAgain | Reported | NotFound
"""What ends a row of questions without an answer."""

_NOT_KNOWN: Final = ("the fate of ", "an answer about ")
_CALLED: Final = "the answer to "
"""How the engine says that a saga waits for what it does not know, and for a call."""

_LetsGoOn = CompensationStarted | Retried | Resumed | Unpaused
"""From here on a rollback can get on."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that an unfinished batch waits for, and that nobody can account for.

    Attributes:
        batch_id: the batch.
        what: what it waits for, behind "waits for".
        client_order_id: of the order; None for a rollback that no order in the air holds up.
        since: when its fate became unknown, or the broker silent; when the rollback last got on.
        questions: how many questions in a row had no answer.
        is_overdue: it has lasted too long, or no saga process has the batch; a person should look.
    """

    batch_id: str
    what: str
    client_order_id: str | None
    since: datetime
    questions: int
    is_overdue: bool

    @property
    def sentence(self) -> str:
        """It in words."""
        asked = f", {counted(self.questions, 'question')} without an answer"
        return (
            f"{self.batch_id} waits for {self.what}, since {instant(self.since)}"
            f"{asked if self.questions else ''}"
        )

    @property
    def what_to_do(self) -> str:
        """What a person does about it."""
        if not self.is_overdue:
            return f"look again once it has lasted {PATIENCE_SECONDS} seconds"
        about = f" about {self.client_order_id}" if self.client_order_id else ""
        return f"`saga show {self.batch_id}`, and ask the broker{about}"


def may_be_overdue(row: BatchRow, now: datetime) -> bool:
    """Tell from a batch's row alone whether its journal may tell of something that is overdue.

    A call, or an order of a rollback, is overdue only once nothing is written of its batch any
    more; an order of unknown fate may be while others of its batch go on.
    """
    waits_for = row.waits_for or ""
    if waits_for.startswith(_NOT_KNOWN):
        return True
    may_stand = row.state == SagaState.COMPENSATING or waits_for.startswith(_CALLED)
    return may_stand and row.updated_at <= now - timedelta(seconds=PATIENCE_SECONDS)


def waiting_of(
    records: Sequence[JournalRecord], now: datetime, *, is_carried_on: bool
) -> tuple[Waiting, ...]:
    """Return what a batch waits for that nobody can account for.

    Args:
        records: its journal.
        now: the present instant.
        is_carried_on: a saga process has it.
    """
    saga = saga_of(records)
    too_old = now - timedelta(seconds=PATIENCE_SECONDS)

    def is_overdue(since: datetime) -> bool:
        return not is_carried_on or since <= too_old

    holds_back = saga.paused and is_carried_on
    out = [a for a in saga.live.values() if not (holds_back and a.state is AttemptState.SENDING)]
    let_go_on = _let_go_on(records)
    found = [*_orders(saga, records)]
    # A call ends long before that, and that of a process that is gone nobody waits for.
    found += [
        (f"{_CALLED}{_named(each)}", each.key, since, 0)
        for each in out
        if each.state is AttemptState.SENDING and is_overdue(since := max(each.since, let_go_on))
    ]
    if not found and saga.state is SagaState.COMPENSATING and is_overdue(since := _got_on(records)):
        found += _rollback(saga, since, [each.key for each in out if is_overdue(each.since)])
    return tuple(
        Waiting(saga.batch_id, what, key, since, questions, is_overdue=is_overdue(since))
        for what, key, since, questions in found
    )


_Found = tuple[str, str | None, datetime, int]


def _orders(saga: Saga, records: Sequence[JournalRecord]) -> Iterator[_Found]:
    silent = _silent_since(saga, records)
    for each in saga.live.values():
        if each.state is AttemptState.UNKNOWN:
            yield f"the fate of {_named(each)}", each.key, each.since, each.silences
        elif each.silences:
            yield f"an answer about {_named(each)}", each.key, silent[each.key], each.silences


def _named(attempt: AttemptRecord) -> str:
    undo = "the undo " if attempt.purpose is Purpose.COMPENSATION else ""
    return f"{undo}{attempt.directive.describe()} ({attempt.key})"


def _silent_since(saga: Saga, records: Sequence[JournalRecord]) -> dict[str, datetime]:
    """Return by key when the row of questions without an answer began."""
    found: dict[str, datetime] = {}
    for record in records:
        event = record.event
        if isinstance(event, NoAnswer):
            found.setdefault(saga.key(event.step, event.purpose, event.number), record.at)
        elif isinstance(event, _Answers):
            found.pop(saga.key(event.step, event.purpose, event.number), None)
    return found


def _rollback(saga: Saga, since: datetime, held_up_by: Sequence[str]) -> Iterator[_Found]:
    """Yield a rollback that has not got on since then, with the order that holds it up.

    Args:
        saga: it.
        since: when it last got on.
        held_up_by: the orders that have been out for long. One that went out only just now holds
            nothing up, however long the rollback stood before.
    """
    left = [step for place in saga.to_undo if (step := saga.steps[place]).left_to_undo != ZERO]
    if not left:
        return
    first = left[-1]
    amount = plain(abs(first.left_to_undo))
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    key = next(iter(held_up_by), None)
    order = f" ({key})" if key else ""
    yield f"{amount} of {first.directive.describe()}{more} to be undone{order}", key, since, 0


def _let_go_on(records: Sequence[JournalRecord]) -> datetime:
    """Return from when on an order may go out: the end of the last pause, or the beginning."""
    unpaused = (each.at for each in reversed(records) if isinstance(each.event, Unpaused))
    return next(unpaused, records[0].at)


def _got_on(records: Sequence[JournalRecord]) -> datetime:
    """Return when a rollback last got on: an order of it had an outcome, or it began to go on."""
    return next(each.at for each in reversed(records) if _gets_on(each.event))


def _gets_on(event: Event) -> bool:
    if isinstance(event, Reported):
        return event.final or bool(event.fills)
    return isinstance(event, _LetsGoOn | Withheld | ProvenAbsent | GaveUp)
