"""The door: whether a batch may come in at all. Pure; asks nobody and changes nothing.

What passes here can be carried out and, where it is to be undone on failure, undone. What does not
is refused whole, with a sentence that names the field, the value, the rule, and what to do.
"""

from collections.abc import Generator, Mapping
from functools import cache
from typing import Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from saga.directive import Directive
from saga.errors import AdmissionRefused, InvalidInput, NotServed
from saga.events import WrittenBatch
from saga.limits import Limits
from saga.model import Batch, ExecutionMode, parse_batch
from saga.participant import Participant, account_of
from saga.policy import Capabilities, FailurePolicy, OnFailure
from saga.quick_dataclass import dataclass
from saga.wording import explain, shown


def checked_again(batch: Batch) -> Batch:
    """Return the batch as a restart will read it, held to every rule of its type once more.

    `model_copy` and `model_construct` let a batch past its rules; nothing lets it past the door.
    Nor does what the journal cannot give back as it was: no restart could go on with it.

    Raises:
        InvalidInput: it breaks a rule, or would not come back equal.
    """
    if (kept := _read_back(batch)) == batch:
        return kept
    try:
        whole = parse_batch(batch.model_dump(warnings=False))
    except ValueError:  # a value that holds itself
        raise InvalidInput(_why_not_kept(batch)) from None
    if (kept := _read_back(whole)) == whole:
        return kept
    raise InvalidInput(_why_not_kept(whole))


@cache
def _written() -> TypeAdapter[Batch]:
    return TypeAdapter(WrittenBatch)


def _read_back(batch: Batch) -> Batch | None:
    """Return what the journal would give back; None if it cannot be written, or not be read."""
    try:
        return _written().validate_json(_written().dump_json(batch, warnings=False))
    except ValueError:  # a ValidationError too
        return None


def _why_not_kept(batch: Batch) -> str:
    for directive in batch.directives:
        why = _why_not_read_back(directive)
        if why is not None:
            return f"directive {directive.directive_id}: {why}"
    return f"{batch.batch_id} would come back from the journal as another; hand it in as JSON"


def _why_not_read_back(directive: Directive) -> str | None:
    """Return which field the journal would not give back as it is; None if there is none."""
    for name, value in directive:
        try:
            directive.model_dump_json(include={name}, warnings=False)
        except ValueError:
            return (
                f"{name}: {shown(value)} cannot be kept in the journal, which is JSON text; "
                "write it as a string"
            )
    try:
        fields = from_json(directive.model_dump_json(warnings=False))
        kept = type(directive).model_validate(fields)
    except ValidationError as error:
        return f"it could not be read back from the journal: {explain(error)}"
    for name, value in directive:
        if (back := getattr(kept, name)) != value:
            return (
                f"{name}: {shown(value)} would come back from the journal as {shown(back)}; "
                "write it as JSON has it: a string, a finite number, a list or an object"
            )
    return None


def policy_checked_again(policy: FailurePolicy) -> FailurePolicy:
    """Return the policy, held to every rule of its type once more; see `checked_again`.

    Raises:
        InvalidInput: it breaks a rule.
    """
    try:
        return FailurePolicy.model_validate(policy.model_dump(warnings=False))
    except ValidationError as error:
        raise InvalidInput(explain(error)) from None


@dataclass(frozen=True, slots=True)
class Accepted:
    """On what terms a batch may come in.

    Attributes:
        policy: what is to happen when it fails, with its default filled in.
        capabilities: of the participant of each kind that it may send, its undo included.
        accounts: the fingerprint of the account of each of them, where one is known.
    """

    policy: FailurePolicy
    capabilities: dict[str, Capabilities]
    accounts: dict[str, str]


def check_submission(
    batch: Batch,
    policy: FailurePolicy,
    participants: Mapping[str, Participant],
    limits: Limits,
) -> Generator[None, None, Accepted]:
    """Return the terms on which the batch may come in; yields behind each leg, see `saga.turns`.

    Args:
        batch: what is handed in.
        policy: what the submitter wants when it fails.
        participants: who carries out which kind of directive.
        limits: the engine's bounds.

    Raises:
        AdmissionRefused: it has too many directives.
        InvalidInput: it could never be carried out, or not be undone as it must be.
        AccountUnknown: a participant cannot say now in which account it acts.
    """
    if len(batch.directives) > limits.max_directives:
        raise AdmissionRefused(
            f"directives: {len(batch.directives)} are more than the bound max_directives "
            f"{limits.max_directives}; split the batch"
        )
    resolved = resolved_policy(batch, policy)
    undone = frozenset() if resolved.on_failure is OnFailure.KEEP else batch.rolled_back_ids()
    kinds: set[str] = set()
    for directive in batch.directives:
        _served(directive, directive.kind, participants).check(directive)
        kinds.add(directive.kind)
        if directive.directive_id in undone:
            kinds.add(_kind_of_undo(directive, participants))
        yield
    accounts = {kind: account_of(participants[kind]) for kind in sorted(kinds)}
    return Accepted(
        resolved,
        {kind: participants[kind].capabilities for kind in sorted(kinds)},
        {kind: account for kind, account in accounts.items() if account is not None},
    )


def resolved_policy(batch: Batch, policy: FailurePolicy) -> FailurePolicy:
    """Return what is to happen when the batch fails, with its mode's default filled in.

    Raises:
        InvalidInput: the policy does not go with the batch.
    """
    default = OnFailure.UNDO if batch.rollback_on_failure else OnFailure.KEEP
    on_failure = policy.on_failure or default
    if on_failure is OnFailure.KEEP and batch.execution_mode is ExecutionMode.ATOMIC:
        raise InvalidInput(
            "on_failure: 'keep' is not allowed for ATOMIC, which rolls back what took effect; "
            "use SEQUENTIAL or PARALLEL"
        )
    if on_failure is not OnFailure.KEEP and not batch.rollback_on_failure:
        raise InvalidInput(
            f"on_failure: {on_failure.value!r} needs rollback_on_failure to be True, not False; "
            "set it in the batch"
        )
    if on_failure is OnFailure.COMPLETE_FORWARD and batch.timeout_seconds is None:
        raise InvalidInput(
            "on_failure: 'complete_forward' needs timeout_seconds, which is not given; "
            "say until when refused directives are sent again"
        )
    if policy.undo_budget is not None and on_failure is OnFailure.KEEP:
        raise InvalidInput(
            f"undo_budget: {policy.undo_budget} has no meaning when nothing is undone; leave it out"
        )
    if policy.undo_budget is None:
        return _WITHOUT_BUDGET[on_failure]
    return policy.model_copy(update={"on_failure": on_failure})


_WITHOUT_BUDGET: Final = {each: FailurePolicy(on_failure=each) for each in OnFailure}
"""The policies of nearly all sagas, which share them."""


def _served(
    directive: Directive, kind: str, participants: Mapping[str, Participant]
) -> Participant:
    """Return who carries out the directive's kind, or the kind of what undoes it."""
    participant = participants.get(kind)
    if participant is None:
        served = ", ".join(sorted(participants)) or "none"
        raise NotServed(
            f"directive {directive.directive_id}: no participant carries out kind "
            f"{kind!r} (served: {served}); hand one to the Orchestrator"
        )
    return participant


def _kind_of_undo(directive: Directive, participants: Mapping[str, Participant]) -> str:
    kind = directive.kind_of_undo
    if kind is None:
        raise InvalidInput(
            f"directive {directive.directive_id}: kind {directive.kind!r} cannot be undone, but "
            "the batch rolls back on failure; leave it out of rollback_only, or do not roll back"
        )
    _served(directive, kind, participants)
    return kind
