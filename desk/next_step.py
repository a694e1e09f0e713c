"""What a person can do about a batch now, in one sentence. Pure."""

from desk.carrier import Carrier
from desk.closing import Closing
from desk.consequences import flattening
from desk.output import money
from saga.errors import NotAllowed
from saga.ledger import Saga
from saga.machine import SagaState
from saga.remedy import failed_trades_again, refuse_to_undo_twice
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
        return f"it is over. {_tried_again(saga)}; `saga diagram {batch_id}` draws its way."
    if saga.state is SagaState.COMPLETED:
        return f"nothing; it is done. `saga diagram {batch_id}` draws its way."
    return _under_way(row, saga, carrier)


def _tried_again(saga: Saga) -> str:
    """Return what `saga retry` makes of a batch that is over, or why it is refused."""
    try:
        again = failed_trades_again(saga, "to see what it would be", saga.updated_at)
    except NotAllowed as error:
        return f"`saga retry` sends nothing of it: {error}"
    anew = [leg.amount for leg in again.directives] == [step.amount for step in saga.steps]
    what = _sent_again(saga, anew=anew)
    return f"`saga retry {saga.batch_id} --reason ...` sends {what} as a new batch"


def _sent_again(saga: Saga, *, anew: bool) -> str:
    if saga.state is not SagaState.ROLLED_BACK:
        return "what was not carried out"
    if not anew:
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
    resolve = (
        f"`saga resolve {saga.batch_id} --reason ... --action ... --evidence ... "
        "--adjust SYMBOL,QUANTITY,CASH,TRADE_ID`"
    )
    if not saga.undoes:
        return (
            f"a person has to act: `saga incident look {saga.batch_id}` asks the broker once more "
            f"what is unknown; {resolve} closes it, with what filled and is not in the books. It "
            "keeps what it did: there is no rollback to try again. Its portfolio trades nothing "
            "until then."
        )
    try:
        refuse_to_undo_twice(saga)
    except NotAllowed as error:
        return (
            f"a person has to act: {resolve} closes it; no retry is taken, as {error}. "
            f"{_what_flattens(saga)}Its portfolio trades nothing until then."
        )
    option = more = ""
    if saga.undo_budget is not None and past_budget(saga):
        option = " --undo-budget N"
        more = (
            f" (N more than the {money(saga.undo_cost)} that it has cost, or --no-undo-budget in "
            "its place)"
        )
    return (
        f"a person has to act: `saga retry {saga.batch_id} --reason ...{option}`{more} tries the "
        f"rollback again; {resolve} closes it once it was dealt with by hand. "
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


def _under_way(row: BatchRow, saga: Saga, carrier: Carrier | None) -> str:
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
    if saga.cancel is not None:
        return f"{who}; it was cancelled by {saga.cancel.by}, and is over once its orders are."
    return f"{who}; {cancel} stops it."
