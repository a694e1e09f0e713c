"""What a person does about a break, where that depends on more than the break itself. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from portfolio.breaks import Break, Kind


@dataclass(frozen=True, slots=True)
class Situation:
    """What advice depends on.

    Attributes:
        batches: the batches that are in the store.
        stale: those that are STALE.
        to_learn: those that are paused, and go on from what the broker says once they are not.
        old_copy: why the store is an older copy of itself; None if it is not.
        copy_accepted_at: when an operator accepted such a copy last; None if nobody did.
    """

    batches: Collection[str] = frozenset()
    stale: tuple[str, ...] = ()
    to_learn: Collection[str] = frozenset()
    old_copy: str | None = None
    copy_accepted_at: datetime | None = None


def advice_on(each: Break, situation: Situation) -> str:
    """Return what a person does about a break."""
    if each.kind is Kind.EXTERNAL:
        return _on_external(situation.stale)
    if each.kind is not Kind.MISSING_IN_JOURNAL:
        return each.what_to_do
    if situation.old_copy is not None:
        return (
            "this store is an older copy of itself: put the right copy back, with its -wal and its "
            ".mark file; if that is really lost, `saga accept-copy`, and check again"
        )
    accepted = situation.copy_accepted_at
    if accepted is None or each.batch_id is None or each.since is None or each.since > accepted:
        return each.what_to_do
    return _lacking_in_copy(each.batch_id, situation)


def _lacking_in_copy(batch_id: str, situation: Situation) -> str:
    """Return what brings back what an accepted copy does not have: the broker's own record.

    An order's id is made of its batch, leg and try, so that the same batch asks for the same
    orders, and is told what became of them.
    """
    if batch_id not in situation.batches:
        return (
            "the copy that was accepted lacks this batch; if the broker has an order for every leg "
            f'of it, then, once trading is active, `saga run FILE` with "batch_id": "{batch_id}" '
            "and the same legs in the same order finds these orders and books them; a leg that the "
            "broker has no order for would be sent, so else settle it with the broker by hand: "
            "docs/runbook.md says how"
        )
    if batch_id in situation.to_learn:
        return (
            "the copy that was accepted is older than this order; `saga activate`, then "
            f"`saga unpause {batch_id}`, which finds it by its client order id and books it; a "
            "cancel undoes only what the copy knows"
        )
    return (
        f"the copy that was accepted is older than this order; `saga show {batch_id}` says what "
        "the copy knows; settle the rest with the broker by hand: no command books it"
    )


def _on_external(stale: tuple[str, ...]) -> str:
    """Only what a STALE batch left over can be booked by hand."""
    if not stale:
        return (
            "find out who did it at the broker, and have it set right there; no batch is "
            "STALE, so that there is none for which it could be booked by hand"
        )
    return (
        f"find out who did it at the broker; if it dealt with what {' or '.join(stale[:3])} left "
        f"over, `saga resolve {stale[0] if len(stale) == 1 else 'ID'} --adjust "
        "SYMBOL,QUANTITY,CASH,TRADE_ID` books it"
    )
