"""What an operator's wish will do to live orders, in sentences, before it is done.

Read from the journal as it is now; whatever happens between the sentence and the deed is the
engine's to decide. Pure.
"""

from collections.abc import Sequence

from desk.exposure import InPlace
from desk.wishes import Change
from saga.exact import plain, plus
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.machine import SAGA_ENDS, SagaState

_SHOWN = 5
"""Most orders that a sentence names."""


def of_cancel(saga: Saga) -> list[str]:
    """Return what cancelling does."""
    if saga.state is SagaState.PENDING:
        return [f"{saga.batch_id} has sent nothing; cancelling it withdraws it whole."]
    if saga.state is not SagaState.RUNNING:
        return [f"{saga.batch_id} is {saga.state}; there is nothing to stop."]
    sentences = [*_open_orders(saga, "are cancelled", "is cancelled")]
    if saga.paused:
        sentences.insert(0, "It is paused; the cancel lifts the pause, so that the undo is sent.")
    unsent = sum(not step.forward for step in saga.steps)
    if unsent:
        sentences.append(f"{unsent} of {len(saga.steps)} legs were not sent, and will not be.")
    filled = [step for step in saga.steps if step.done]
    if saga.undoes:
        undone = [step for step in filled if step.rolls_back]
        if undone:
            names = _few([f"{plain(s.done)} of {s.directive.describe()}" for s in reversed(undone)])
            sentences.append(f"What filled is undone at the market, newest first: {names}.")
        else:
            sentences.append("Nothing has filled as far as is known, so nothing is to be undone.")
    else:
        sentences.append(f"What filled stays: {len(filled)} legs; nothing is undone.")
    return sentences


def of_pause(saga: Saga) -> list[str]:
    """Return what pausing does."""
    sentences = [f"Nothing new is sent for {saga.batch_id}, its undo included."]
    sentences += _open_orders(saga, "stay open and may fill", "stays open and may fill")
    if saga.submitted.deadline is not None and saga.state not in SAGA_ENDS:
        sentences.append(f"Its deadline goes on: {saga.submitted.deadline:%Y-%m-%d %H:%M:%S}Z.")
    return sentences


def of_unpause(saga: Saga) -> list[str]:
    """Return what letting go on does."""
    unsent = sum(not step.forward for step in saga.steps)
    what = "its undo goes on" if saga.state is SagaState.COMPENSATING else f"{unsent} legs are left"
    return [f"{saga.batch_id} goes on: {what}."]


def of_retry(saga: Saga) -> list[str]:
    """Return what trying again does."""
    if saga.state in SAGA_ENDS:
        return [
            f"{saga.batch_id} is over and stays as it is. What it left undone is sent again as a "
            "new batch that names it as its parent."
        ]
    if saga.state is SagaState.STALE:
        left = _few([_amount(each) for each in map(InPlace.of, saga.residual)]) or "nothing known"
        return [
            f"Orders are sent to undo what is left: {left}. Each is tried at least three times."
        ]
    return [f"{saga.batch_id} is {saga.state}; only one that is over or STALE is tried again."]


def of_resolve(saga: Saga, changes: Sequence[Change]) -> list[str]:
    """Return what resolving does, and what it leaves open."""
    if saga.state is not SagaState.STALE:
        return [f"{saga.batch_id} is {saga.state}; only a STALE batch is resolved."]
    sentences = ["No order is sent. The batch is closed, and its portfolio trades again."]
    for left in (InPlace.of(each) for each in saga.residual):
        done = next((c.quantity for c in changes if c.subject == left.symbol), None)
        if done is None:
            sentences.append(
                f"Left over: {_amount(left)}. No --adjust names it, so the books keep it as held."
            )
        elif left.is_known and plus(left.low, done):
            sentences.append(
                f"Left over: {_amount(left)}, but --adjust changes {plain(done)}; the difference "
                "stays in the books."
            )
    return sentences


def _open_orders(saga: Saga, many: str, one: str) -> list[str]:
    live = list(saga.live.values())
    working = [each for each in live if each.state is AttemptState.WORKING]
    unknown = [each for each in live if each.state is not AttemptState.WORKING]
    sentences = []
    if working:
        verb = many if len(working) > 1 else one
        names = _few([_order(saga, each) for each in working])
        sentences.append(f"Open at the broker, and {verb}: {names}.")
    if unknown:
        names = _few([_order(saga, each) for each in unknown])
        sentences.append(f"Looked up first, as their fate is not known: {names}.")
    return sentences


def _order(saga: Saga, attempt: AttemptRecord) -> str:
    filled = f", {plain(attempt.done)} filled" if attempt.done else ""
    return f"{saga.steps[attempt.step].directive.describe()} ({attempt.key}{filled})"


def _amount(each: InPlace) -> str:
    if each.is_known:
        return f"{plain(each.low)} {each.symbol} (known)"
    return f"{plain(each.low)} to {plain(each.high)} {each.symbol} (a guess)"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
