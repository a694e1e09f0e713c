"""What can be wished of an engine, as data: so that another process can hand it to the owner.

`grant` carries a wish out, whoever had it. Nothing is shown here, and nobody waits for the end.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from desk.foremost import few
from saga.amounts import Amount, NonNegativeAmount
from saga.errors import SagaError
from saga.events import Adjustment
from saga.logbook import TradingState
from saga.machine import SAGA_AT_REST
from saga.model import Batch
from saga.orchestrator import KEEP, Orchestrator
from saga.policy import FailurePolicy
from saga.wording import counted

_SHOWN = 5
"""Most orders that a sentence names."""

_Said = Annotated[str, Field(min_length=1, max_length=2_000)]


class _Wish(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    by: _Said


class Submit(_Wish):
    """Take a batch in."""

    do: Literal["submit"] = "submit"
    batch: Batch
    policy: FailurePolicy | None = None


class _OfBatch(_Wish):
    batch_id: str
    reason: _Said


class Cancel(_OfBatch):
    """Stop a batch, and undo it as its mode says; a pause would hold the undo up, so it ends."""

    do: Literal["cancel"] = "cancel"


class Pause(_OfBatch):
    """Send nothing new for a batch."""

    do: Literal["pause"] = "pause"


class Unpause(_OfBatch):
    """Let a paused batch go on."""

    do: Literal["unpause"] = "unpause"


class Retry(_OfBatch):
    """Try the rollback of a STALE batch again.

    Attributes:
        seen: the last record of its journal that the operator has seen.
        keep_budget: the undo's budget stays what it was; else it becomes `undo_budget`.
    """

    do: Literal["retry"] = "retry"
    seen: Annotated[int, Field(ge=1)]
    keep_budget: bool = True
    undo_budget: NonNegativeAmount | None = None


class RetryFailed(_OfBatch):
    """Submit what a finished batch did not carry out as a new batch."""

    do: Literal["retry_failed"] = "retry_failed"


class Change(BaseModel):
    """What an operator changed by hand; see `saga.events.Adjustment`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: _Said
    quantity: Amount
    cash: Amount = Decimal(0)
    reference: str | None = None


class Resolve(_OfBatch):
    """Close a STALE batch whose residual exposure was dealt with by hand.

    Attributes:
        seen: the last record of its journal that the operator has seen.
    """

    do: Literal["resolve"] = "resolve"
    seen: Annotated[int, Field(ge=1)]
    action: _Said
    evidence: _Said
    changes: tuple[Change, ...] = ()


class LookAgain(_Wish):
    """Ask the broker again about the orders of a batch at rest."""

    do: Literal["look_again"] = "look_again"
    batch_id: str


class CloseIncidents(_OfBatch):
    """Close the open incidents of a batch.

    Attributes:
        seen: the last record of its journal that the operator has seen.
        action: what was done; empty where nothing had to be.
    """

    do: Literal["close_incidents"] = "close_incidents"
    seen: Annotated[int, Field(ge=1)]
    action: Annotated[str, Field(max_length=2_000)] = ""
    changes: tuple[Change, ...] = ()


class Look(BaseModel):
    """Ask what a live batch waits for; changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: Literal["look"] = "look"
    batch_id: str


class SetTrading(_Wish):
    """Let orders out again: all, or only those that lower an exposure.

    Attributes:
        reason: why.
    """

    do: Literal["set_trading"] = "set_trading"
    state: Literal[TradingState.ACTIVE, TradingState.REDUCING]
    reason: _Said


Wish = (
    Submit | Cancel | Pause | Unpause | Retry | RetryFailed | Resolve | LookAgain | CloseIncidents
)
Request = Wish | Look | SetTrading
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="do")])


async def grant(engine: Orchestrator, wish: Wish) -> str:
    """Carry a wish out; it is durable when this returns.

    Returns:
        The id of the batch to watch: the wish's own, or the new one that was made.

    Raises:
        Unanswered: the broker was asked again, and did not say all.
        SagaError: it cannot be granted; nothing was changed.
    """
    if isinstance(wish, Submit):
        return await engine.submit(wish.batch, policy=wish.policy, by=wish.by)
    if isinstance(wish, RetryFailed):
        return await engine.retry_failed(wish.batch_id, by=wish.by, reason=wish.reason)
    if isinstance(wish, Cancel):
        row = await engine.cancel(wish.batch_id, by=wish.by, reason=wish.reason)
        if row.paused:
            await _lift_pause(engine, wish)
    elif isinstance(wish, Pause):
        await engine.pause(wish.batch_id, by=wish.by, reason=wish.reason)
    elif isinstance(wish, Unpause):
        await engine.unpause(wish.batch_id, by=wish.by, reason=wish.reason)
    elif isinstance(wish, Retry):
        budget = KEEP if wish.keep_budget else wish.undo_budget
        await engine.retry(
            wish.batch_id, by=wish.by, reason=wish.reason, undo_budget=budget, seen=wish.seen
        )
    elif isinstance(wish, LookAgain):
        await _look_again(engine, wish)
    elif isinstance(wish, CloseIncidents):
        await engine.close_incidents(
            wish.batch_id,
            by=wish.by,
            reason=wish.reason,
            seen=wish.seen,
            action=wish.action,
            adjustments=_adjustments(wish.changes),
        )
    else:
        await engine.resolve(
            wish.batch_id,
            by=wish.by,
            reason=wish.reason,
            action=wish.action,
            evidence=wish.evidence,
            adjustments=_adjustments(wish.changes),
            seen=wish.seen,
        )
    return wish.batch_id


class Unanswered(SagaError):
    """The broker gave no answer about orders that it was asked about; what it did say is booked."""


async def _look_again(engine: Orchestrator, wish: LookAgain) -> None:
    unanswered: set[str] = set()
    await engine.look_again(wish.batch_id, by=wish.by, unanswered=unanswered)
    if unanswered:
        keys = sorted(unanswered)
        raise Unanswered(
            f"no answer that can be used came about {counted(len(keys), 'order')} of "
            f"{wish.batch_id} ({few(keys, _SHOWN)}), so that nothing new is known of "
            f"{'it' if len(keys) == 1 else 'them'}; what was told of the others is booked; look "
            "again once the broker answers"
        )


def _adjustments(changes: tuple[Change, ...]) -> tuple[Adjustment, ...]:
    return tuple(
        Adjustment(each.subject, each.quantity, each.cash, each.reference) for each in changes
    )


async def grant_trading(engine: Orchestrator, wish: SetTrading) -> None:
    """Let orders out again; it is durable when this returns.

    Raises:
        NotAllowed: the state is that already, or somebody halts meanwhile.
    """
    if wish.state is TradingState.ACTIVE:
        await engine.activate(by=wish.by, reason=wish.reason)
    else:
        await engine.reduce(by=wish.by, reason=wish.reason)


async def _lift_pause(engine: Orchestrator, wish: Cancel) -> None:
    """Let a cancelled batch be undone; a second record, made after the cancel is durable."""
    reason = f"the cancel by {wish.by} lifts the pause: {wish.reason}"
    try:
        await engine.unpause(wish.batch_id, by=wish.by, reason=reason)
    except SagaError:
        # It may have come to rest, or somebody else may have lifted it, in the meantime.
        row = await engine.batch(wish.batch_id)
        if row.paused and row.state not in SAGA_AT_REST:
            raise
