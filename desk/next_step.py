"""What a person can do about a batch now, in one sentence. Pure."""

from desk.carrier import Carrier
from desk.closing import Closing
from desk.consequences import flattening
from desk.output import money
from saga.ledger import Saga
from saga.machine import SagaState
from saga.views import BatchRow


def past_budget(saga: Saga) -> bool:
    """Tell whether the undo has cost more than its budget, so that nothing more is undone."""
    return saga.undo_budget is not None and saga.undo_cost > saga.undo_budget


def what_now(
    row: BatchRow, saga: Saga, closing: Closing | None = None, carrier: Carrier | None = None
) -> str:
    """Return what a person can do about a batch.

    Args:
        row: its row.
        saga: what its journal tells.
        closing: how it was closed by hand, if it was.
        carrier: who carries on what is unfinished; None if nobody looked.
    """
    words = _what_now(row, saga, closing, carrier)
    if not saga.open_incidents:
        return words
    return (
        f"look at what is held beside what was wanted (`saga check`), set it right, then `saga "
        f"incident close {row.batch_id} --reason ...`. Beside that, {words}"
    )


def _what_now(row: BatchRow, saga: Saga, closing: Closing | None, carrier: Carrier | None) -> str:
    batch_id = row.batch_id
    if closing is not None:
        return _closed(closing)
    if saga.state is SagaState.STALE:
        return _stale(saga)
    if row.status in ("failed", "cancelled", "partial_success"):
        return (
            f"it is over. `saga retry {batch_id} --reason ...` sends {_sent_again(saga)} as a new "
            f"batch; `saga diagram {batch_id}` draws its way."
        )
    if saga.state is SagaState.COMPLETED:
        return f"nothing; it is done. `saga diagram {batch_id}` draws its way."
    return _under_way(row, carrier)


def _sent_again(saga: Saga) -> str:
    if saga.state is not SagaState.ROLLED_BACK:
        return "what was not carried out"
    if any(not step.rolls_back for step in saga.steps):
        return "what was not carried out, the undone legs included,"
    undone = ", the undone ones included," if any(step.undone for step in saga.steps) else ""
    return f"all its legs ({len(saga.steps)}){undone}"


def _closed(closing: Closing) -> str:
    if closing.has_difference:
        return (
            "it was closed by hand, and a difference remains in the books: look at `saga check` "
            "and `saga portfolio`, and at the broker's account."
        )
    return "nothing; it was closed by hand. `saga check` compares the books with the broker's."


def _stale(saga: Saga) -> str:
    option = more = ""
    if saga.undo_budget is not None and past_budget(saga):
        option = " --undo-budget N"
        more = (
            f" (N more than the {money(saga.undo_cost)} that it has cost, or --no-undo-budget in "
            "its place)"
        )
    return (
        f"a person has to act: `saga retry {saga.batch_id} --reason ...{option}`{more} tries the "
        f"rollback again; `saga resolve {saga.batch_id} --reason ... --action ... --evidence ... "
        "--adjust SYMBOL,QUANTITY,CASH,TRADE_ID` closes it once it was dealt with by hand. "
        f"{_what_flattens(saga)}Its portfolio trades nothing until then."
    )


def _what_flattens(saga: Saga) -> str:
    orders = flattening(saga)
    unknown = ", once what became of the others is known" if saga.lost else ""
    return (
        f"To make flat what is known to be left: {orders}, at the market{unknown}. "
        if orders
        else ""
    )


def _under_way(row: BatchRow, carrier: Carrier | None) -> str:
    if carrier is None:
        who = "it is under way while a saga process runs; `saga run` without a file carries it on"
    elif carrier.pid is None:
        who = carrier.sentence
    else:
        who = f"it is {carrier.sentence}"
    unpause = f"`saga unpause {row.batch_id} --reason ...`"
    cancel = f"`saga cancel {row.batch_id} --reason ...`"
    undone = row.state == SagaState.COMPENSATING
    if row.paused and carrier is not None and carrier.pid is None:
        helps = f"only {unpause} (it goes on) or {cancel} (it is stopped) helps"
        if undone:
            helps = f"only {unpause} (its undo goes on) helps"
        return f"it is paused, and no saga process has it: {helps}."
    if row.paused:
        return f"it is paused: {unpause} lets it go on; {who}."
    if undone:
        return (
            f"{who}; what filled is being undone, and that is not cancelled; `saga pause "
            f"{row.batch_id} --reason ...` holds it."
        )
    return f"{who}; {cancel} stops it."
