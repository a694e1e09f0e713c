"""What stands between the engine and the adapter under test: it listens, and it disturbs.

Every call is told to the chronicle and has moments at which the process may die: before it, at
each place where it waits, and after its answer. A disturbance changes the fate of one call.
"""

from collections.abc import Awaitable, Callable, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

import anyio
from anyio.abc import TaskGroup

from saga.directive import Directive
from saga.outcome import Report
from saga.participant import Attempt, Participant
from saga.policy import Capabilities
from saga.testing.chronicle import Chronicle, told
from saga.testing.fate import MAX_WAITS, Fate, Stepped
from saga.testing.harness import Harness, HarnessIncomplete, Trouble
from saga.testing.mortal_store import of_attempt

T = TypeVar("T")

SEND: Final = "send"
LOOK_UP: Final = "look_up"
WITHDRAW: Final = "withdraw"


class How(StrEnum):
    """What is done to a call."""

    REQUEST_LOST = "the call never reaches the adapter"
    ANSWER_LOST = "the adapter's answer never reaches the engine"
    LATE = "the call reaches the adapter only after the engine has stopped waiting for it"
    DOUBLED = "the answer tells everything twice, and a question is asked twice"
    WAIT_FAILS = "the adapter itself loses an answer of its venue"
    OUTAGE = "its answer is lost, and the adapter gets no answer to its next look-ups either"
    VENUE_REQUEST_LOST = "the adapter's request is lost on its way to the venue"
    VENUE_ANSWER_LOST = "the venue's answer is lost on its way to the adapter"


OUTAGE_LOOK_UPS: Final = 4
"""So many look-ups get no answer of the venue in an outage."""

_AT_THE_VENUE: Final = {
    How.VENUE_REQUEST_LOST: Trouble.REQUEST_LOST,
    How.VENUE_ANSWER_LOST: Trouble.ANSWER_LOST,
}


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens to one call, or to the first of its kind for every attempt.

    Attributes:
        call: send, look_up or withdraw.
        attempt: as `of_attempt` names it; None is the first call about every attempt.
        wait: which of the adapter's own waits fails, from 1.
    """

    how: How
    call: str
    attempt: str | None = None
    wait: int = 1

    def describe(self) -> str:
        """Return it as a clause."""
        where = "every attempt" if self.attempt is None else self.attempt
        at = f", at its wait {self.wait}" if self.how is How.WAIT_FAILS else ""
        return f"on the first {self.call} of {where}{at}, {self.how}"


class Wire:
    """A participant that hands every call on to the adapter under test.

    Args:
        adapter: the participant under test.
        harness: its harness.
        fate: of the process that uses it.
        chronicle: hears of every call.
        disturbance: what goes wrong; None is nothing.
        later: runs what arrives late; needed where something does.
    """

    def __init__(
        self,
        adapter: Participant,
        harness: Harness,
        fate: Fate,
        chronicle: Chronicle,
        *,
        disturbance: Disturbance | None = None,
        later: TaskGroup | None = None,
    ) -> None:
        self.adapter = adapter
        self._harness = harness
        self._fate = fate
        self._chronicle = chronicle
        self._disturbance = disturbance
        self._later = later
        self._disturbed: set[tuple[str, str]] = set()
        self._silent_look_ups = 0
        self.called: dict[tuple[str, str], None] = {}
        """The calls that were made, by call and attempt, in order."""
        self.waits: dict[tuple[str, str], int] = {}
        """How often each of them waited at most."""

    @property
    def name(self) -> str:
        """The adapter's."""
        return self.adapter.name

    @property
    def kinds(self) -> Set[str]:
        """The adapter's."""
        return self.adapter.kinds

    @property
    def capabilities(self) -> Capabilities:
        """The adapter's."""
        return self.adapter.capabilities

    def check(self, directive: Directive) -> None:
        """Ask the adapter."""
        self.adapter.check(directive)

    async def send(self, attempt: Attempt) -> Report:
        """Hand the attempt over."""
        what = f"{SEND} {attempt.directive.describe()} ({attempt.key})"
        return await self._call(SEND, attempt, what, lambda: self.adapter.send(attempt))

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Ask about the attempt."""
        what = f"{LOOK_UP} {attempt.key}"
        return await self._call(LOOK_UP, attempt, what, lambda: self.adapter.look_up(attempt))

    async def withdraw(self, attempt: Attempt) -> None:
        """Cancel what is open of the attempt."""
        what = f"{WITHDRAW} {attempt.key}"
        return await self._call(WITHDRAW, attempt, what, lambda: self.adapter.withdraw(attempt))

    async def _call(
        self, call: str, attempt: Attempt, what: str, begin: Callable[[], Awaitable[T]]
    ) -> T:
        whose = of_attempt(attempt.step, attempt.purpose, attempt.number)
        await self._fate.survive(f"before the {call} of {whose}")
        self.called[call, whose] = None
        how, wait = self._due(call, whose)
        again = f"{SEND} {attempt.key}" if call == SEND else what
        if how is not None or call == SEND:
            self._chronicle.tell(what if how is None else f"{what}: {how}")
        try:
            answer = await self._answer(call, whose, begin, how, wait)
        except Exception as error:
            self._chronicle.tell(f"{again} -> {told(error)}")
            raise
        self._chronicle.tell(f"{again} -> {'done' if call == WITHDRAW else told(answer)}")
        await self._fate.survive(f"after the {call} of {whose} is answered")
        return answer

    def _due(self, call: str, whose: str) -> tuple[How | None, int]:
        due = self._disturbance
        if due is None or due.call != call or due.attempt not in (None, whose):
            return None, 0
        if (call, whose) in self._disturbed:
            return None, 0
        self._disturbed.add((call, whose))
        return due.how, due.wait

    async def _answer(
        self, call: str, whose: str, begin: Callable[[], Awaitable[T]], how: How | None, wait: int
    ) -> T:
        if how is How.REQUEST_LOST:
            raise TimeoutError("the kit lost the call before it reached the adapter")
        if how is How.LATE:
            assert self._later is not None, "what arrives late needs somebody to bring it"
            self._later.start_soon(self._bring_later, call, whose, begin)
            raise TimeoutError("the kit holds the call back, and nobody waits for it any more")
        trouble = None if how is None else _AT_THE_VENUE.get(how)
        if trouble is not None and not await self._harness.interfere(trouble):
            raise HarnessIncomplete(
                f"{type(self._harness).__name__}.interfere({trouble.name}) returned False after it "
                "had returned True for this trouble; let it say the same each time"
            )
        fails = wait if how is How.WAIT_FAILS else 0
        silent = call == LOOK_UP and self._silent_look_ups > 0
        if silent:
            self._silent_look_ups -= 1
            self._chronicle.tell(f"(the venue does not answer this {call} of {whose})")
        answer = await self._stepped(call, whose, begin, fails, silent=silent)
        if how is How.OUTAGE:
            self._silent_look_ups = OUTAGE_LOOK_UPS
        if how in (How.ANSWER_LOST, How.OUTAGE):
            self._chronicle.tell(f"(the adapter answered the {call}: {told(answer)})")
            raise TimeoutError("the kit lost the adapter's answer")
        if how is How.DOUBLED:
            if call != SEND:
                answer = await begin()
            if isinstance(answer, Report):
                return replace(answer, fills=answer.fills * 2)
        return answer

    def _stepped(
        self,
        call: str,
        whose: str,
        begin: Callable[[], Awaitable[T]],
        fails: int,
        *,
        silent: bool = False,
    ) -> Stepped[T]:
        def at_wait(number: int) -> bool:
            self.waits[call, whose] = max(number, self.waits.get((call, whose), 0))
            if number > MAX_WAITS:
                return self._fate.dead
            return self._fate.reach(f"during the {call} of {whose}, at its wait {number}")

        def after_wait(number: int) -> Exception | None:
            return self._harness.lost_connection() if silent or number == fails else None

        return Stepped(begin(), at_wait=at_wait, after_wait=after_wait)

    async def _bring_later(
        self, call: str, whose: str, begin: Callable[[], Awaitable[object]]
    ) -> None:
        await anyio.sleep(self.capabilities.visibility_seconds / 2)
        self._chronicle.tell(f"(the late {call} of {whose} reaches the adapter)")
        with suppress(Exception):  # nobody hears of it any more
            await begin()
