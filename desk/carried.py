"""What else is unfinished in a store: what its next owner carries on, and what waits for a person.

Whoever becomes the owner of a store takes up all that is unfinished, and may so send orders of
other batches than the one he named. Here that is put in words beforehand. Only reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from desk.consequences import stopped_by_now
from desk.foremost import few
from desk.reading import read_or_why
from saga.exact import ZERO, plain
from saga.history import History
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.machine import SAGA_AT_REST, SagaState
from saga.query import MAX_PAGE_ROWS, BatchQuery
from saga.views import BatchRow


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One unfinished batch.

    Attributes:
        row: its row.
        saga: its journal, folded.
    """

    row: BatchRow
    saga: Saga

    @property
    def waits_for_a_person(self) -> bool:
        """It is paused or STALE, so that nothing is sent for it until somebody says so."""
        return self.row.paused or self.row.state in SAGA_AT_REST


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An unfinished batch that is set aside, as nobody can read what it has done (S18).

    Attributes:
        row: its row, as it was before.
        why: what is wrong with its journal, a sentence.
    """

    row: BatchRow
    why: str

    @property
    def sentence(self) -> str:
        """Say it, and what that means."""
        return (
            f"{self.row.batch_id} ({self.row.state}) is set aside and waits for a person: "
            f"{self.why}. Nothing is sent or undone for it; what it has at the broker stays there."
        )


@dataclass(frozen=True, slots=True)
class AllUnfinished:
    """What is unfinished in a store.

    Attributes:
        batches: STALE ones included, in the order of acceptance.
        unreadable: those of which nobody can tell what they would do.
    """

    batches: tuple[Unfinished, ...]
    unreadable: tuple[Unreadable, ...]


async def unfinished(history: History, besides: str | None = None) -> AllUnfinished:
    """Return what is unfinished; one batch that cannot be read hides no other."""
    stale = await history.batches(
        BatchQuery(states=(SagaState.STALE,), descending=False, limit=MAX_PAGE_ROWS)
    )
    found: list[Unfinished] = []
    unreadable: list[Unreadable] = []
    for batch_id, why in (await history.quarantined()).items():
        row = await history.batch(batch_id)
        if row.state not in SAGA_AT_REST and batch_id != besides:
            unreadable.append(Unreadable(row, why))
    for row in sorted((*await history.active(), *stale.rows), key=lambda row: row.created_at):
        if row.batch_id == besides:
            continue
        read = await read_or_why(history.journal, row.batch_id)
        if isinstance(read, str):
            unreadable.append(Unreadable(row, read))
        else:
            found.append(Unfinished(row, read[0]))
    return AllUnfinished(tuple(found), tuple(unreadable))


def also_carried_on(found: Sequence[Unfinished]) -> list[str]:
    """Return what is carried on beside what was asked for, a sentence for each batch."""
    now = datetime.now(UTC)
    return [
        f"This also carries on: {each.row.batch_id} ({each.row.state}; {may_send(each.saga, now)})."
        for each in found
        if not each.waits_for_a_person
    ]


def waits_for_a_person(each: Unfinished) -> str:
    """Return that a batch waits, what of it is at the broker, and what can be done about it."""
    batch_id, saga = each.row.batch_id, each.saga
    orders = [_named(live) for live in saga.live.values()]
    at_broker = f"At the broker: {few(orders)}." if orders else "No order of it is open."
    if each.row.paused:
        what = f"`saga unpause {batch_id} --reason ...` lets it go on"
        if saga.state is not SagaState.COMPENSATING:
            what += f", `saga cancel {batch_id} --reason ...` stops it"
        return (
            f"{batch_id} is paused ({each.row.state}) and waits for a person. {at_broker} {what}."
        )
    if saga.lost:
        at_broker = f"Nobody knows what became of {few([_named(it) for it in saga.lost.values()])}."
    then = "`saga retry` or `saga resolve`" if saga.undoes else "`saga incident look` or `resolve`"
    return (
        f"{batch_id} is STALE and waits for a person. {at_broker} `saga show {batch_id}`, then "
        f"{then}."
    )


def may_send(saga: Saga, now: datetime) -> str:
    """Return which orders of a batch may go out once somebody carries it on.

    Args:
        saga: what its journal tells.
        now: the present instant: its deadline may have gone by while nobody had it.
    """
    if saga.state is not SagaState.COMPENSATING:
        stop = stopped_by_now(saga, now)
        if stop is not None and saga.state is SagaState.PENDING:
            return f"it is withdrawn: {stop}"
        if stop is not None:
            fate = "what filled may be undone" if saga.undoes else "what filled stays"
            return f"it is stopped: {stop}; {fate}"
    if saga.state is SagaState.COMPENSATING:
        undone = [
            f"{plain(step.left_to_undo)} of {step.directive.describe()}"
            for step in reversed(saga.steps)
            if step.rolls_back and step.left_to_undo > ZERO
        ]
        return f"may send the undo of {few(undone)}" if undone else "it is being undone"
    unsent = [
        *(saga.steps[position].directive.describe() for position in saga.retrying),
        *(step.directive.describe() for step in saga.steps if not step.forward),
    ]
    live = saga.live.values()
    unsure = [each.directive.describe() for each in live if each.state is AttemptState.WORKING]
    lost = [each.directive.describe() for each in live if each.state is not AttemptState.WORKING]
    parts = []
    if unsent:
        parts.append(f"may send {few(unsent)}")
    if lost:
        parts.append(f"looks up {few(lost)}, and may send it again if it never arrived")
    if unsure:
        parts.append(f"looks up {few(unsure)}")
    return ", ".join(parts) or "looks whether it is over"


def _named(attempt: AttemptRecord) -> str:
    return f"{attempt.directive.describe()} ({attempt.key})"
