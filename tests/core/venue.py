"""The outside world of the exhaustive walk: every answer that a participant can give.

A `Held` is what the venue itself holds of one order, which the engine never sees but through
answers. `answers_to_a_send` and `answers_to_a_question` list everything that can come next, each
with the event that the engine makes of it.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from saga.core import Ask, Question, observe
from saga.events import AnswerLost, Event, NoAnswer, NotFound
from saga.ledger import AttemptRecord, AttemptState
from saga.outcome import Fill, Report


class Place(StrEnum):
    """Where an order stands in the venue's own books."""

    NOWHERE = "never arrived"
    OPEN = "open"
    OVER = "over"
    LATE = "arrived and filled, but not to be seen until it has been called absent"
    MUTE = "nothing is ever said about it, until an operator has it tried again"
    FORGOTTEN = "filled, and known no longer"


@dataclass(frozen=True)
class Held:
    """One order in the venue's books: the truth."""

    asked: int
    filled: int = 0
    place: Place = Place.NOWHERE

    @property
    def open_amount(self) -> int:
        return max(0, self.asked - self.filled) if self.place is Place.OPEN else 0


@dataclass(frozen=True)
class Answer:
    """One thing that can come next: what the venue holds then, what the engine is told.

    `faults` is how much of the walk's budget of faults it takes.
    """

    held: Held
    events: tuple[Event, ...]
    faults: int = 0


def _where(attempt: AttemptRecord) -> dict[str, object]:
    return {"step": attempt.step, "purpose": attempt.purpose, "number": attempt.number}


def _lost(attempt: AttemptRecord) -> Event:
    return AnswerLost(attempt.step, attempt.purpose, attempt.number, "timeout")


def _told(attempt: AttemptRecord, held: Held) -> tuple[Event, ...]:
    """What the engine makes of a report of all that the venue holds (one unit is one fill)."""
    fills = tuple(Fill(f"{attempt.key}/{n}", Decimal(1), Decimal(10)) for n in range(held.filled))
    final = held.place is not Place.OPEN
    return observe(attempt, Report(final, fills, "refused" if final and not fills else None))


def _news(attempt: AttemptRecord, held: Held, faults: int = 0) -> Answer:
    return Answer(held, _told(attempt, held), faults)


def _ends(held: Held) -> list[Held]:
    """Every way in which an open order can end."""
    return [
        replace(held, filled=filled, place=Place.OVER)
        for filled in range(held.filled, held.asked + 1)
    ]


def answers_to_a_send(attempt: AttemptRecord, held: Held, *, hides: bool) -> list[Answer]:
    """Everything that can come of a call: answers, and answers that are lost."""
    if held.place is Place.LATE:  # it is there; the same key is not accepted twice
        return [
            Answer(held, (_lost(attempt),)),
            _news(attempt, replace(held, place=Place.OVER)),
        ]
    if held.place is not Place.NOWHERE:
        raise AssertionError(f"{attempt.key} reached the venue twice")  # S3
    full = replace(held, filled=held.asked)
    answers = [_news(attempt, end) for end in _ends(held)]
    answers.append(_news(attempt, replace(held, place=Place.OPEN)))
    answers.append(_news(attempt, Held(held.asked, held.asked + 1, Place.OVER), 1))
    lost = [
        held,
        replace(held, place=Place.OPEN),
        replace(held, place=Place.MUTE),
        replace(full, place=Place.MUTE),
    ]
    if hides:
        lost.append(replace(full, place=Place.LATE))
    answers.extend(Answer(after, (_lost(attempt),), 1) for after in lost)
    return answers


def answers_to_a_question(
    ask: Ask, held: Held, *, tombstone: bool, operator_called: bool
) -> list[Answer]:
    """Everything that a question about an order can bring to light."""
    attempt = ask.attempt
    where = (attempt.step, attempt.purpose, attempt.number)
    nothing = Answer(held, (NotFound(*where, tombstone=tombstone),))
    if held.place is Place.NOWHERE:
        return [nothing]
    if held.place is Place.FORGOTTEN and not operator_called:
        return [nothing]
    if held.place is Place.MUTE and not operator_called:
        return [Answer(held, (NoAnswer(*where, "timeout"),))]
    if held.place is Place.LATE:
        return late_truth(attempt, held) if attempt.absent else [nothing]
    if held.place is not Place.OPEN:
        return [_news(attempt, replace(held, place=Place.OVER))]
    answers = [_news(attempt, end) for end in _ends(held)]
    if ask.question is Question.LOOK_UP:
        if attempt.state is AttemptState.UNKNOWN:
            answers.append(_news(attempt, held))
        if held.filled + 1 < held.asked:
            answers.append(_news(attempt, replace(held, filled=held.filled + 1)))
        if attempt.acknowledged and not operator_called:
            forgotten = Held(held.asked, held.asked, Place.FORGOTTEN)
            answers.append(Answer(forgotten, nothing.events, 1))
    return answers


def late_truth(attempt: AttemptRecord, held: Held) -> list[Answer]:
    """What can be told of an order that was called absent and is there after all."""
    opened = Held(held.asked, 0, Place.OPEN)
    return [_news(attempt, replace(held, place=Place.OVER)), _news(attempt, opened)]


def left_by_a_crash(held: Held) -> list[Held]:
    """What a call may have done that was under way when the engine died."""
    if held.place is not Place.NOWHERE:
        return [held]
    return [
        held,
        replace(held, place=Place.OPEN),
        replace(held, filled=held.asked, place=Place.OVER),
    ]
