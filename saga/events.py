"""What can happen to a saga. Each event is one journal record, and the journal is the truth.

Three sorts of event stand here. *Requests* come from people: submitted, paused, cancelled, retried,
resolved. *Observations* come from the outside world: reports, silence, late truth. *Decisions*
come from the core: intents, and every change of the saga's state. All are facts once they are
durable; none is ever changed or removed.

Events carry their names and fields into the file, so both are a format: add fields with defaults,
never rename or remove one. A default is a format too, for what has it is not written: it is what
says nothing (None, false, zero, empty), and never changes. Only what was agreed on submission is
written in full.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, SerializerFunctionWrapHandler, WrapSerializer

from saga.codec import Codec
from saga.ids import Purpose
from saga.many_alike import fold_alike, unfold_alike
from saga.model import Batch, kept_small
from saga.outcome import Exposure, Fill
from saga.policy import Capabilities, FailurePolicy
from saga.quick_dataclass import dataclass


def _folded(batch: Batch, to_json: SerializerFunctionWrapHandler) -> dict[str, Any]:
    written: dict[str, Any] = to_json(batch)
    return {**written, "directives": fold_alike(written["directives"])}


def _unfolded(value: Any) -> Any:
    if isinstance(value, Mapping) and "directives" in value:
        return {**value, "directives": unfold_alike(value["directives"])}
    return value


WrittenBatch = Annotated[
    Batch, WrapSerializer(_folded), BeforeValidator(_unfolded), AfterValidator(kept_small)
]
"""A batch whose directives are written as what they have in common and a row for each."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch was accepted; always the first record.

    Attributes:
        policy: what the submitter wants when it fails, with its defaults filled in.
        capabilities: of the participant of each kind of directive, as they were then.
        deadline: the instant by which the batch must be over; None has no bound.
        program: name and version of the program that accepted it.
        by: who submitted it.
        accounts: the fingerprint of the account in which each kind of directive is carried out,
            where its participant knows one.
    """

    kind: ClassVar[str] = "submitted"
    batch: WrittenBatch
    policy: FailurePolicy
    capabilities: dict[str, Capabilities]
    deadline: datetime | None
    program: str
    by: str
    accounts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Started:
    """Admission let it run."""

    kind: ClassVar[str] = "started"


@dataclass(frozen=True, slots=True)
class Resumed:
    """A new owner took the saga up; what was being sent is unknown from here on.

    Attributes:
        taken_over: the last owner was fenced, but may live: a call of it may still arrive.
    """

    kind: ClassVar[str] = "resumed"
    program: str
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing new is to be sent, compensations included; deadlines go on."""

    kind: ClassVar[str] = "paused"
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unpaused:
    """Sending may go on."""

    kind: ClassVar[str] = "unpaused"
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the batch stopped, and undone as its mode says."""

    kind: ClassVar[str] = "cancel_requested"
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The deadline went by while the saga was not over."""

    kind: ClassVar[str] = "deadline_passed"


@dataclass(frozen=True, slots=True)
class Intended:
    """An attempt is about to be sent; it is sent only once this record is durable.

    Attributes:
        step: the step's place in the batch, from 0.
        number: the attempt's number for its purpose, from 1.
        amount: how much is asked, in the directive's unit.
        limits: the digest of the limits in force, as the logbook knows them; None without a gate.
    """

    kind: ClassVar[str] = "intended"
    step: int
    purpose: Purpose
    number: int
    amount: Decimal
    limits: str | None = None


@dataclass(frozen=True, slots=True)
class SentAgain:
    """The same attempt is about to be sent once more, after proof that it never arrived.

    Attributes:
        limits: the digest of the limits in force, as the logbook knows them; None without a gate.
    """

    kind: ClassVar[str] = "sent_again"
    step: int
    purpose: Purpose
    number: int
    limits: str | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """The gate did not let the attempt pass: it was intended, and nothing of it was sent.

    Attributes:
        limit: the name of the limit that it would have broken.
        reason: the limit, the value, and who may change it.
    """

    kind: ClassVar[str] = "withheld"
    step: int
    purpose: Purpose
    number: int
    limit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reported:
    """The participant told something new about an attempt.

    Attributes:
        final: nothing more will happen to the attempt.
        fills: the fills that were not known before.
    """

    kind: ClassVar[str] = "reported"
    step: int
    purpose: Purpose
    number: int
    final: bool
    fills: tuple[Fill, ...] = ()
    reason: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class LateTruth:
    """The participant told something new about an attempt of a saga at rest: an incident.

    Attributes:
        final: nothing more will happen to the attempt.
        by: who looked.
        fills: the fills that were not known before.
        reversed: ids of known fills that the participant says it has taken back.
    """

    kind: ClassVar[str] = "late_truth"
    step: int
    purpose: Purpose
    number: int
    final: bool
    by: str
    fills: tuple[Fill, ...] = ()
    reversed: tuple[str, ...] = ()
    reason: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """What became of a send is not known: a timeout, a broken connection, garbage."""

    kind: ClassVar[str] = "answer_lost"
    step: int
    purpose: Purpose
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """A look-up did not find the attempt, which alone proves nothing.

    Attributes:
        tombstone: the key was withdrawn before, and can never be accepted any more.
    """

    kind: ClassVar[str] = "not_found"
    step: int
    purpose: Purpose
    number: int
    tombstone: bool = False


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A look-up or a withdrawal got no answer that can be used."""

    kind: ClassVar[str] = "no_answer"
    step: int
    purpose: Purpose
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class ProvenAbsent:
    """Enough look-ups over a long enough time: the attempt was never accepted."""

    kind: ClassVar[str] = "proven_absent"
    step: int
    purpose: Purpose
    number: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The fate of an attempt cannot be found out; it stays unknown until an operator retries."""

    kind: ClassVar[str] = "gave_up"
    step: int
    purpose: Purpose
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class StepStuck:
    """Undoing a step has failed for good."""

    kind: ClassVar[str] = "step_stuck"
    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The saga is over, and nothing is to be undone.

    Attributes:
        reason: why a part of it was never sent; None if all of it was.
    """

    kind: ClassVar[str] = "completed"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The saga is over before anything was sent."""

    kind: ClassVar[str] = "withdrawn"
    reason: str


@dataclass(frozen=True, slots=True)
class CompensationStarted:
    """What took effect is to be undone, for this reason."""

    kind: ClassVar[str] = "compensation_started"
    reason: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Everything that took effect has been undone.

    Attributes:
        cost: what the forward fills and their undo cost together, in the account's currency.
    """

    kind: ClassVar[str] = "rolled_back"
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The undo could not be finished; this is what is left."""

    kind: ClassVar[str] = "abandoned"
    reason: str
    residual: tuple[Exposure, ...]


@dataclass(frozen=True, slots=True)
class LostTrack:
    """An outcome cannot be found out; this is what may be left of it."""

    kind: ClassVar[str] = "lost_track"
    reason: str
    residual: tuple[Exposure, ...]


@dataclass(frozen=True, slots=True)
class Retried:
    """The rollback is tried again.

    Attributes:
        undo_budget: the bound on the undo's whole cost from now on; None is no bound.
        seen: the journal's last record that whoever wants it had seen; None where he did not say.
    """

    kind: ClassVar[str] = "retried"
    by: str
    reason: str
    undo_budget: Decimal | None = None
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change of holdings that an operator made by hand.

    Attributes:
        subject: the symbol.
        quantity: signed change of what is held.
        cash: signed change of cash, fees included, in the account's currency.
        reference: the participant's own id of the trade, where there was one.
    """

    subject: str
    quantity: Decimal
    cash: Decimal
    reference: str | None = None

    def names(self, subject: str | None, fill_id: str) -> bool:
        """Tell whether it was booked under the id of a fill, and of the same subject."""
        return (self.subject, self.reference) == (subject, fill_id)


@dataclass(frozen=True, slots=True)
class Resolved:
    """An operator has dealt with what was left.

    Attributes:
        by: who.
        reason: why it is right to close the saga.
        action: what was done.
        evidence: where that can be seen, for example a ticket or a trade confirmation.
        adjustments: how holdings and cash changed by it.
        seen: the journal's last record that the operator had seen; None where he did not say.
    """

    kind: ClassVar[str] = "resolved"
    by: str
    reason: str
    action: str
    evidence: str
    adjustments: tuple[Adjustment, ...] = ()
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """An operator has dealt with the late truth that he had seen.

    Attributes:
        seen: the journal's record up to which he had; incidents of later records stay open.
        action: what was done; empty where nothing had to be.
        adjustments: how holdings and cash changed by it.
    """

    kind: ClassVar[str] = "incident_closed"
    by: str
    reason: str
    seen: int
    action: str = ""
    adjustments: tuple[Adjustment, ...] = ()


Event = (
    Submitted
    | Paused
    | Unpaused
    | CancelRequested
    | Retried
    | Resolved
    | IncidentClosed
    | Withheld
    | Reported
    | LateTruth
    | AnswerLost
    | NotFound
    | NoAnswer
    | Resumed
    | Started
    | DeadlinePassed
    | Intended
    | SentAgain
    | ProvenAbsent
    | GaveUp
    | StepStuck
    | Completed
    | Withdrawn
    | CompensationStarted
    | RolledBack
    | Abandoned
    | LostTrack
)
"""In this order: requests, observations, decisions."""

EVENT_TYPES: Final[dict[str, type[Event]]] = {
    event_type.kind: event_type
    for event_type in (
        *(Submitted, Started, Resumed, Paused, Unpaused, CancelRequested, DeadlinePassed),
        *(
            Intended,
            SentAgain,
            Withheld,
            Reported,
            AnswerLost,
            NotFound,
            NoAnswer,
            ProvenAbsent,
            GaveUp,
        ),
        *(StepStuck, Completed, Withdrawn, CompensationStarted, RolledBack, Abandoned),
        *(LostTrack, Retried, Resolved, LateTruth, IncidentClosed),
    )
}

_CODEC: Final[Codec[Event]] = Codec("journal record", EVENT_TYPES.values(), in_full=(Submitted,))
encode: Final = _CODEC.encode
decode: Final = _CODEC.decode
