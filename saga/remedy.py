"""What a finished batch did not carry out, as a new batch that names it as its parent.

The new id is derived from the parent's, so that asking for it twice gives one batch, not two:
sending the legs of a basket again is how the dearest accidents of this trade happened.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from itertools import product

from saga.errors import NotAllowed
from saga.events import Adjustment
from saga.exact import ZERO, minus, plain, plus
from saga.ids import Purpose
from saga.ledger import Saga
from saga.machine import SAGA_ENDS
from saga.model import Batch

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_SUFFIX_LENGTH = 8


def failed_trades_again(saga: Saga, reason: str, now: datetime) -> Batch:
    """Return a batch of what is not in place: it did not take effect, or was undone.

    What late truth has put in place, or has taken out again, counts (S4).

    Args:
        saga: a finished saga.
        reason: why it is tried again; kept in the new batch's metadata.
        now: when, UTC.

    Raises:
        NotAllowed: the saga is not over, it is not known what of it is in place, or all is.
    """
    if saga.state not in SAGA_ENDS:
        raise NotAllowed(
            f"the failed trades of {saga.batch_id} cannot be tried again while it is {saga.state}; "
            "wait until it is over, or resolve it first"
        )
    _require_known(saga)
    directives = []
    for step in saga.steps:
        # Where more was undone than done, no more than was asked for once is sent.
        left = min(step.amount, minus(step.amount, step.left_to_undo))
        if left > 0:
            again = step.directive.for_amount(left).model_copy(update={"batch_id": None})
            directives.append(again)
    if not directives:
        raise NotAllowed(
            f"{saga.batch_id} carried everything out, as far as is known now; there is nothing to "
            "try again"
        )
    return Batch.model_validate(
        {
            **{name: getattr(saga.batch, name) for name in _CARRIED_OVER},
            "batch_id": child_id(saga.batch_id),
            "directives": tuple(directives),
            "created_at": now,
            "metadata": {**(saga.batch.metadata or {}), "retry_reason": reason},
            "rollback_only": _still_there(saga, {d.directive_id for d in directives}),
            "parent_id": saga.batch_id,
        }
    )


def refuse_what_is_booked(saga: Saga, adjustments: Iterable[Adjustment]) -> None:
    """Refuse to book a fill by hand that is in the journal, and so in the books, already (S9).

    Raises:
        NotAllowed: an adjustment names such a fill.
    """
    named = [each for each in adjustments if each.reference is not None and each.quantity]
    for step in saga.steps if named else ():
        for attempt in step.every_attempt:
            adds = (step.direction > 0) is (attempt.purpose is Purpose.FORWARD)
            for each, fill in product(named, attempt.fills):
                if each.names(step.subject, fill.fill_id) and (each.quantity > 0) is adds:
                    raise NotAllowed(
                        f"adjustments: trade {each.reference!r} of {each.subject} is in the "
                        f"journal of {saga.batch_id} and in the books already; leave it out, or "
                        "name it otherwise if it is another trade"
                    )


def refuse_to_undo_twice(saga: Saga) -> None:
    """Refuse to try an undo again that might send what an operator has dealt with by hand (S5).

    An undo sends what took effect and is not undone, as the journal has it. It reckons with nothing
    that was sold or bought by hand meanwhile.

    Raises:
        NotAllowed: something was booked by hand of what a leg may have left to be undone.
    """
    booked: dict[str, Decimal] = {}
    for each in saga.by_hand:
        booked[each.subject] = plus(booked.get(each.subject, ZERO), each.quantity)
    for step in saga.steps if any(booked.values()) else ():
        change = booked.get(step.exposed_as, ZERO)
        _, most = step.possible_rest()
        if change != ZERO and step.rolls_back and most > ZERO:
            raise NotAllowed(
                f"{plain(change)} {step.exposed_as} was booked by hand for {saga.batch_id}, and "
                f"its undo would send {step.directive.describe()} back all the same; deal with "
                "what is left by hand as well, and resolve it"
            )


def _require_known(saga: Saga) -> None:
    """Refuse where the journal does not know how much of the batch is in place.

    Raises:
        NotAllowed: it does not.
    """
    batch_id = saga.batch_id
    if saga.resolved is not None:
        # What is held of it is what the operator made of it, which no journal knows.
        raise NotAllowed(
            f"{batch_id} was closed by hand by {saga.resolved.by}, so that what it left is "
            "not known here; look at the account, and submit a new batch of what is still wanted"
        )
    if saga.open_incidents:
        # Somebody may be setting right by hand what this would send as well.
        raise NotAllowed(
            f"incidents: {len(saga.open_incidents)} of {batch_id} are open (journal record "
            f"{saga.open_incidents[0].number} is the first), so that what is in place of it is "
            "being set right; close them, then try its failed trades again"
        )
    for incident in saga.incidents:
        closed = incident.closed
        if closed is not None and (closed.action or closed.adjustments):
            raise NotAllowed(
                f"an incident of {batch_id} was set right by hand by {closed.by}, so that what is "
                "in place of it is not known here; look at the account, and submit a new batch of "
                "what is still wanted"
            )
    for step in saga.steps:
        least, most = step.possible_rest()
        if least != most:
            raise NotAllowed(
                f"it is not known how much of {step.directive.describe()} of {batch_id} is in "
                f"place: {plain(least)} to {plain(most)}; look again at the batch until it is, or "
                "ask the broker"
            )


_CARRIED_OVER = (
    "execution_mode",
    "rollback_on_failure",
    "timeout_seconds",
    "priority",
    "max_parallel",
    "exclusion_key",
)


def child_id(batch_id: str) -> str:
    """Return the id of the batch that tries a batch's failed trades again."""
    number = int.from_bytes(hashlib.sha256(f"again:{batch_id}".encode()).digest()[:8])
    suffix = ""
    for _ in range(_SUFFIX_LENGTH):
        number, digit = divmod(number, len(_BASE36))
        suffix += _BASE36[digit]
    return batch_id[: batch_id.rindex("_") + 1] + suffix


def _still_there(saga: Saga, directive_ids: set[str]) -> tuple[str, ...] | None:
    scope = saga.batch.rollback_only
    return None if scope is None else tuple(i for i in scope if i in directive_ids)
