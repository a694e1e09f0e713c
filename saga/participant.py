"""The protocol for the outside world: what carries directives out, and what it must answer.

An attempt is one try to carry a directive out (or to undo it). Its key is its identity everywhere.
The engine makes each attempt durable before it calls `send`, and asks about it by key whenever an
answer was lost.

What the engine makes of a participant's answers:

    send returns a final report without fills     refused: proven that nothing took effect
    send returns any other report                 accepted; what the report says is believed
    send raises, or takes too long                unknown: looked up before anything else is decided
    look_up returns a report                      adopted
    look_up returns None                          not found, which alone proves nothing
    look_up raises                                no answer; asked again later
    look_up or send raises KeyTaken               the key names somebody else's order: no attempt of
                                                  ours may be matched to it, so its fate is unknown

A send that comes late is worse than one that never comes: right before it hands an order to the
wire, a participant looks whether `call_timeout_seconds` have gone by since it was called, and does
nothing if they have; between that look and the write it awaits nothing. A process that was frozen
in the middle of a call, while another one took its place, sends nothing then.

A participant must let itself be cancelled: that is how a call is ended that takes longer than
`call_timeout_seconds`, and one that is under way when the engine is left. A call that ignores it
keeps its saga waiting, and the engine from being left, for as long as it lasts; an error that names
it is logged. A library that blocks goes onto a thread that can be left behind:
`anyio.to_thread.run_sync(function, abandon_on_cancel=True)`; whatever such a thread still does is
found by the look-up of its key.
"""

from collections.abc import Iterable, Set
from typing import Protocol

from saga.directive import Directive
from saga.errors import AccountUnknown, InvalidInput
from saga.ids import Purpose
from saga.outcome import Report
from saga.policy import Capabilities
from saga.quick_dataclass import dataclass


class KeyTaken(Exception):
    """The participant knows the key, but for an order with other parameters."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to carry out a directive or its inverse.

    Attributes:
        key: the client order id; derived from the other fields, at most 36 characters.
        batch_id: the batch it belongs to.
        step: the step's place in the batch, from 0.
        purpose: forward or compensation.
        number: the attempt's number for that purpose, from 1.
        directive: what to carry out, for exactly the amount that is still to be done.
    """

    key: str
    batch_id: str
    step: int
    purpose: Purpose
    number: int
    directive: Directive


def account_of(participant: object) -> str | None:
    """Return the fingerprint of the account in which a participant acts; None if it knows none.

    A participant that knows it has it as `account_fingerprint`, as every `brokers.Broker` does. It
    holds no secret, and tells paper from live.

    Raises:
        AccountUnknown: it cannot say now, because it is not connected yet, for example.
    """
    try:
        fingerprint: object = getattr(participant, "account_fingerprint", None)
    except Exception as error:  # somebody else's program
        name = getattr(participant, "name", type(participant).__name__)
        raise AccountUnknown(
            f"participant {name!r} cannot say in which account it acts ({type(error).__name__}: "
            f"{error}), and nothing is asked or sent without that; connect it, or mend its "
            "account_fingerprint"
        ) from error
    return fingerprint if isinstance(fingerprint, str) and fingerprint else None


class Participant(Protocol):
    """What carries out directives of certain kinds in the outside world."""

    @property
    def name(self) -> str:
        """A name for people and for the journal."""
        ...

    @property
    def kinds(self) -> Set[str]:
        """The kinds of directive that it carries out, the inverses of each included."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, and how far its silence can be trusted."""
        ...

    def check(self, directive: Directive) -> None:
        """Refuse, at the door, a directive that could never be carried out.

        Called before a batch is stored; asks nobody and changes nothing.

        Raises:
            InvalidInput: it never can; the sentence names field, value, rule and what to do.
        """
        ...

    async def send(self, attempt: Attempt) -> Report:
        """Carry the attempt out, or begin to; any exception means that its outcome is unknown."""
        ...

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Return all that is known about the attempt, asked for directly by its key."""
        ...

    async def withdraw(self, attempt: Attempt) -> None:
        """Cancel what is still open of the attempt; its final report comes from `look_up`.

        May be called more than once, for a key that is over, and for one that was never received.
        """
        ...


def by_kind(participants: Iterable[Participant]) -> dict[str, Participant]:
    """Return who carries out each kind of directive.

    Raises:
        InvalidInput: two carry out one kind, or one declares what it cannot do.
    """
    served: dict[str, Participant] = {}
    for participant in participants:
        if participant.capabilities.tombstone and not participant.capabilities.cancel:
            raise InvalidInput(
                f"participants: {participant.name!r} declares tombstone without cancel, but a key "
                "is buried only by withdrawing it; declare tombstone=False"
            )
        for kind in participant.kinds:
            other = served.setdefault(kind, participant)
            if other is not participant:
                raise InvalidInput(
                    f"participants: both {other.name!r} and {participant.name!r} carry out kind "
                    f"{kind!r}; hand in one of them"
                )
    return served
