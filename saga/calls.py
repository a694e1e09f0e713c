"""Calls to a participant: whatever comes back, late, broken or not at all, is an answer to judge.

A participant is somebody else's program. What it raises proves nothing (rule 3), and what it
returns is believed only if it can be true and can be kept in the journal. Nothing that it does, or
that a library under it does, may end more than the one call.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import anyio
from pydantic_core import PydanticCustomError

from saga.amounts import to_decimal
from saga.complaints import Complaints
from saga.errors import SagaError
from saga.outcome import Fill, Report
from saga.participant import Attempt, Participant
from saga.wording import shown

_LOG = Complaints("saga.calls")

OVERDUE_SECONDS: Final = 5.0
"""A call that outlives its timeout by so long does not let itself be cancelled; that is logged."""
MAX_FILLS: Final = 10_000
"""More fills of one attempt than this are taken for garbage."""
MAX_WORDS: Final = 500
"""A participant's own words are cut to this length."""
_MAX_ID_LENGTH: Final = 200


class Unusable(Exception):
    """The call ended, and says nothing about the attempt."""


async def answer_of(
    call: Callable[[], Awaitable[object]],
    seconds: float,
    whose: Callable[[], str],
    *,
    hosts_task: bool = False,
) -> object:
    """Return what the call returned, or the exception that says why it returned nothing.

    Only a wish to end this task, or the program, is raised.

    Args:
        call: begins the call.
        seconds: how long it may take.
        whose: says who is called, and about what, should it not let itself be cancelled.
        hosts_task: this task may be the host's, who may cancel it. The engine ends its own tasks by
            their scopes alone: who cancels such a task is the call itself, or a library under it.
    """
    loop = asyncio.get_running_loop()
    scope = anyio.CancelScope()
    timer: asyncio.TimerHandle

    def time_out() -> None:
        nonlocal timer
        scope.cancel()
        timer = loop.call_later(OVERDUE_SECONDS, _complain, whose, seconds)

    timer = loop.call_later(seconds, time_out)
    try:
        with scope:
            return await call()
        return TimeoutError()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except Exception as error:
        return error
    except BaseException as error:
        # A library that loses its connection cancels the futures that wait on it. Only a
        # cancellation that was asked of this task is ours to follow.
        if _is_being_cancelled(hosts_task=hosts_task):
            raise
        return Unusable(f"the call ended with {in_words(error)}")
    finally:
        timer.cancel()


def _complain(whose: Callable[[], str], seconds: float) -> None:
    _LOG.error(
        "%s: a call does not end %s s after its timeout of %s s, because it does not let itself be "
        "cancelled; what it concerns waits for it, and so does leaving the engine",
        whose(),
        OVERDUE_SECONDS,
        seconds,
    )


def _is_being_cancelled(*, hosts_task: bool) -> bool:
    if anyio.current_effective_deadline() == -math.inf:
        return True
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    if not hosts_task:
        while task.uncancel():
            pass
    return hosts_task


def named(participant: Participant, attempt: Attempt) -> str:
    """Return who is called, and about what."""
    return f"participant {participant.name!r}, attempt {attempt.key}"


def in_words(error: BaseException) -> str:
    """Return the kind and the words of an exception, harmless and short.

    Our own errors are whole sentences, which their kind would only make harder to read.
    """
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # even its words are somebody else's program
        text = "its own words cannot be read"
    if text and isinstance(error, SagaError):
        return harmless(text)
    return f"{name}: {harmless(text)}" if text else name


def harmless(text: str) -> str:
    """Return somebody else's words without control characters, broken Unicode or undue length."""
    text = text[:MAX_WORDS]
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)


def told_by(answer: object) -> Report | Exception | None:
    """Return what a participant's answer tells, or the exception that says why it tells nothing.

    Args:
        answer: what `answer_of` returned.
    """
    if isinstance(answer, Exception):
        return answer
    try:
        return believed(answer)
    except Unusable as error:
        return error


def believed(told: object) -> Report | None:
    """Return what a participant returned, if it can be true, made of our own types alone.

    What a subclass of its own says of itself, the journal and the memory might keep differently.

    Raises:
        Unusable: it cannot; the sentence says what is wrong with it.
    """
    if told is None:
        return None
    if not isinstance(told, Report):
        raise Unusable(f"the answer is no report but {_shown(told)}")
    try:
        return _copy_of(told)
    except (Unusable, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # its types are somebody else's program, as its calls are
        raise Unusable(f"the report cannot be read: {type(error).__name__}") from None


def _copy_of(told: Report) -> Report:
    final: object = told.final
    if not isinstance(final, bool):
        raise Unusable(f"whether it is final is {_shown(final)}")
    return Report(
        final, _fills(told.fills), _words(told.reason), _words(told.reference), _ids(told.reversed)
    )


def _fills(told: object) -> tuple[Fill, ...]:
    if not isinstance(told, (tuple, list)) or len(told) > MAX_FILLS:
        raise Unusable(f"its fills are not a list of at most {MAX_FILLS}")
    by_id: dict[str, Fill] = {}
    for each in told:
        if not isinstance(each, Fill):
            raise Unusable(f"{_shown(each)} is no fill")
        fill = _copy_of_fill(each)
        if by_id.setdefault(fill.fill_id, fill) != fill:
            raise Unusable(f"fill {fill.fill_id} stands there with two contents")
    return tuple(by_id.values())


def _ids(told: object) -> tuple[str, ...]:
    if not isinstance(told, (tuple, list)) or len(told) > MAX_FILLS:
        raise Unusable(f"what it has reversed is not a list of at most {MAX_FILLS}")
    return tuple(dict.fromkeys(map(_id, told)))


def _copy_of_fill(told: Fill) -> Fill:
    fill_id = _id(told.fill_id)
    return Fill(
        fill_id,
        _exact(told.quantity, "quantity", fill_id),
        _exact(told.price, "price", fill_id),
        _exact(told.fee, "fee", fill_id),
        _instant(told.at, fill_id),
    )


def _id(told: object) -> str:
    fill_id = _text(told)
    if fill_id is None or not fill_id.isprintable():
        raise Unusable(f"fill_id {_shown(told)} is not a name")
    if not 0 < len(fill_id) <= _MAX_ID_LENGTH:
        raise Unusable(f"fill_id {_shown(told)} is empty, or longer than {_MAX_ID_LENGTH}")
    return fill_id


def _exact(told: object, name: str, fill_id: str) -> Decimal:
    if not isinstance(told, Decimal):
        raise Unusable(f"fill {fill_id} has the {name} {_shown(told)}, which is not exact")
    try:
        return to_decimal(told)
    except PydanticCustomError as error:
        raise Unusable(f"the {name} of fill {fill_id}: {error.message()}") from None


def _instant(told: object, fill_id: str) -> datetime | None:
    if told is None:
        return None
    try:
        return _in_utc(told)
    except Exception:  # its time zone is somebody else's program too
        raise Unusable(
            f"at {_shown(told)} of fill {fill_id} is no instant with a time zone"
        ) from None


def _in_utc(told: object) -> datetime:
    if not isinstance(told, datetime) or told.utcoffset() is None:
        raise ValueError(told)
    at = told.astimezone(UTC)
    return datetime(
        *(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond), tzinfo=UTC
    )


def _words(told: object) -> str | None:
    # An id that is a number and should be text is a slip on which no money hangs.
    if told is None:
        return None
    text = _text(told)
    return harmless(_shown(told) if text is None else text)


def _text(told: object) -> str | None:
    """Return a text, of a subclass as well, as a plain one; None for what is none."""
    return str.__str__(told) if isinstance(told, str) else None


def _shown(value: object) -> str:
    try:
        return harmless(shown(value))
    except Exception:  # even its repr is somebody else's program
        return f"a {type(value).__name__}"
