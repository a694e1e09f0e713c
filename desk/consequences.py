"""What an operator's wish will do to live orders, in sentences, before it is done.

Read from the journal as it is now; whatever happens between the sentence and the deed is the
engine's to decide. Pure.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from desk.closing import signed
from desk.exposure import InPlace, residual
from desk.foremost import few
from desk.orders_told import side_of
from desk.output import instant, money
from desk.wishes import Change, Retry
from saga.alerts import in_sentence
from saga.core import why_stopped
from saga.directive import Directive
from saga.errors import NotAllowed
from saga.exact import ZERO, minus, plain, plus, times, total
from saga.ids import Purpose
from saga.ledger import AttemptRecord, AttemptState, Saga, Step
from saga.machine import SAGA_AT_REST, SAGA_ENDS, SagaState
from saga.model import Batch
from saga.remedy import refuse_to_undo_twice
from saga.wording import counted

_SHOWN = 5
"""Most orders that a sentence names."""


def of_cancel(saga: Saga) -> list[str]:
    """Return what cancelling does.

    Raises:
        NotAllowed: it is being undone already, or over.
    """
    if saga.state is SagaState.PENDING:
        return [f"{saga.batch_id} has sent nothing; cancelling it withdraws it whole."]
    if saga.state is not SagaState.RUNNING:
        return [_too_late_to_cancel(saga)]
    if not saga.paused:
        return _stopped(saga)
    so_that = ", so that the undo is sent" if saga.undoes else ""
    return [f"It is paused; the cancel lifts the pause{so_that}.", *_stopped(saga)]


def _stopped(saga: Saga) -> list[str]:
    """Return what becomes of a batch that goes no further."""
    sentences = [*_open_orders(saga, "are cancelled", "is cancelled"), *_unsent(saga)]
    filled = [step for step in saga.steps if step.done]
    if not saga.undoes:
        legs = counted(len(filled), "leg")
        sentences.append(f"What fills stays: {legs} as of now; nothing is undone.")
        return sentences
    undone = [step for step in reversed(filled) if step.rolls_back and step.left_to_undo > 0]
    if undone:
        names = _few([_undo(step) for step in undone])
        sentences.append(f"What filled is undone at the market, newest first: {names}.")
    else:
        sentences.append(
            "Nothing has filled as far as is known: as of now nothing is to be undone."
        )
    return [*sentences, *_undone_if_filled(saga)]


def _unsent(saga: Saga) -> list[str]:
    """Return how many legs were not sent, and how many of them will be nevertheless."""
    unsent = sum(not step.forward for step in saga.steps)
    if not unsent:
        return []
    legs = f"{unsent} of {len(saga.steps)} legs"
    if saga.paused or saga.cancel is not None:
        return [f"{legs} were not sent, and will not be."]
    fate = "is undone too" if saga.undoes else "stays too"
    return [
        f"As of now {legs} are not sent. More may go out until the cancel takes effect, and what "
        f"they fill {fate}; the rest is never sent."
    ]


def _too_late_to_cancel(saga: Saga) -> str:
    """Return that a cancel changes nothing, as it was asked for before.

    Raises:
        NotAllowed: it was not, and a cancel is refused.
    """
    if saga.cancel is not None:
        return f"{saga.batch_id} is {saga.state}, and was cancelled by {saga.cancel.by} before."
    if saga.state is SagaState.COMPENSATING:
        raise NotAllowed(
            f"{saga.batch_id} is COMPENSATING: it is being undone already, and that is not "
            f"cancelled; `saga show {saga.batch_id}` says how far it is"
        )
    raise NotAllowed(f"{saga.batch_id} is {saga.state}; there is nothing to stop")


def _undone_if_filled(saga: Saga) -> list[str]:
    """Return what else is undone if an order in the air turns out to have filled."""
    names = []
    for attempt in saga.live.values():
        step = saga.steps[attempt.step]
        if attempt.purpose is Purpose.FORWARD and step.rolls_back and attempt.open_amount:
            side = side_of(step.directive, Purpose.COMPENSATION)
            what = f"{side} up to {plain(attempt.open_amount)} {step.directive.subject or ''}"
            names.append(what.rstrip() + _about(attempt.open_amount, _price_of(step)))
    if not names:
        return []
    return [
        f"What of the others did fill, or fills before it is over, is undone too: {_few(names)}."
    ]


def _price_of(step: Step) -> Decimal | None:
    planned: Decimal | None = getattr(step.directive, "limit_price", None) or getattr(
        step.directive, "reference_price", None
    )
    return step.last_price if step.last_price is not None else planned


def _about(amount: Decimal, price: Decimal | None) -> str:
    return f" for about {money(times(amount, price))} USD" if price else ""


def of_look_again(saga: Saga) -> list[str]:
    """Return what looking again does."""
    if saga.state not in SAGA_AT_REST:
        raise NotAllowed(f"{saga.batch_id} is {saga.state}, and asks its broker by itself")
    attempts = [each for step in saga.steps for each in step.every_attempt]
    # One that was withheld never left, so that the broker is not asked about it.
    asked = [
        each
        for each in attempts
        if each.state is not AttemptState.OVER or each.acknowledged or each.absent
    ]
    sentences = [
        f"The broker is asked again about {counted(len(asked), 'order')} of {saga.batch_id}. What "
        "is new is booked, and is an incident; the batch's state and outcome stay."
    ]
    if saga.undoes:
        sentences.append("An order of it that is found open is cancelled.")
    elif any(each.absent for each in asked):
        sentences.append("An order that never arrived, as far as is known, is cancelled if open.")
    return sentences


def of_close_incidents(saga: Saga, changes: Sequence[Change] = ()) -> list[str]:
    """Return what closing the open incidents does."""
    incidents = saga.open_incidents
    if not incidents:
        raise NotAllowed(f"{saga.batch_id} has no open incident; there is nothing to close")
    sentences = [f"{in_sentence(saga, each)}." for each in incidents[:_SHOWN]]
    if len(incidents) > _SHOWN:
        sentences.append(f"And {len(incidents) - _SHOWN} more.")
    verb = "is" if len(incidents) == 1 else "are"
    many = counted(len(incidents), "open incident")
    sentences += map(_booked, changes)
    return [*sentences, f"{many} of {saga.batch_id} {verb} closed by this."]


def of_pause(saga: Saga) -> list[str]:
    """Return what pausing does."""
    sentences = [f"Nothing new is sent for {saga.batch_id}, its undo included."]
    sentences += _open_orders(
        saga,
        "stay open and may fill",
        "stays open and may fill",
        unknown="Looked up meanwhile, as their fate is not known",
        sending="About to be sent, and held back unless they are out already",
    )
    if saga.submitted.deadline is not None and saga.state not in SAGA_ENDS:
        sentences.append(f"Its deadline goes on: {saga.submitted.deadline:%Y-%m-%d %H:%M:%S}Z.")
    return sentences


def of_unpause(saga: Saga, now: datetime, *, halted: str | None = None) -> list[str]:
    """Return what letting go on does.

    Args:
        saga: the batch.
        now: the present instant: a deadline may have gone by while nobody had it.
        halted: that trading is HALTED, and by whom; None if it is not. What runs is cancelled then.
    """
    batch_id = saga.batch_id
    if saga.state is SagaState.COMPENSATING:
        return [f"{batch_id} goes on: its undo goes on."]
    stop = stopped_by_now(saga, now)
    if saga.state is SagaState.PENDING and stop is not None:
        return [f"{batch_id} has sent nothing, and is withdrawn: {stop}."]
    if saga.state is SagaState.RUNNING and stop is None and halted is not None:
        stop = f"it is cancelled, as {halted}"
    if saga.state is SagaState.RUNNING and stop is not None:
        return [f"{batch_id} sends nothing forward any more: {stop}.", *_stopped(saga)]
    unsent = sum(not step.forward for step in saga.steps)
    left = "no leg is" if unsent == 0 else "1 leg is" if unsent == 1 else f"{unsent} legs are"
    again = [
        step.directive.for_amount(step.rest)
        for step in (saga.steps[position] for position in saga.retrying)
    ]
    sentences = [f"{batch_id} goes on: {left} still to be sent."]
    if again:
        names = _few([_leg(leg) for leg in again])
        sentences.append(f"Tried again, as the last try did not do it all: {names}.")
    return sentences + _open_orders(
        saga,
        "stay open and may fill",
        "stays open and may fill",
        unknown="Looked up first, as their fate is not known, and sent again if they never arrived",
        sending="Sent now, unless they are out already",
    )


def stopped_by_now(saga: Saga, now: datetime) -> str | None:
    """Return why a batch sends nothing forward any more, at the latest once it is carried on."""
    if (why := why_stopped(saga)) is not None:
        return why
    deadline = saga.submitted.deadline
    if deadline is None or now < deadline:
        return None
    return f"its deadline {instant(deadline)} has passed"


def of_retry(saga: Saga, wish: Retry) -> list[str]:
    """Return what trying the rollback of a STALE batch again does.

    Raises:
        NotAllowed: it is not STALE, it undoes nothing, something of it was dealt with by hand, or
            the undo's budget is spent and no new one is given.
    """
    if saga.state is not SagaState.STALE:
        raise NotAllowed(
            f"{saga.batch_id} is {saga.state}; only one that is over or STALE is tried again: wait "
            "until it is at rest"
        )
    if not saga.undoes:
        raise NotAllowed(
            f"{saga.batch_id} keeps what it did, and has no rollback to try again; `saga incident "
            f"look {saga.batch_id}` asks the broker once more what is unknown; then resolve it"
        )
    refuse_to_undo_twice(saga)
    budget = saga.undo_budget if wish.keep_budget else wish.undo_budget
    spent = money(saga.undo_cost)
    if budget is not None and saga.undo_cost > budget:
        raise NotAllowed(
            f"the undo of {saga.batch_id} has cost {spent} USD, past its budget of "
            f"{money(budget)} USD; give more with --undo-budget N or --no-undo-budget, or resolve "
            "it by hand"
        )
    sent = _undone_again(saga)
    left = _few([_amount(each) for each in residual(saga)]) or "nothing known"
    sentences = [f"What is left: {left}. No order is known that would undo it."]
    if sent or saga.lost:
        sentences = [
            f"Orders are sent to undo what is left: {left}.",
            f"At the market: {sent or 'nothing known'}. Each is tried at least three times.",
        ]
    over = [step for step in saga.steps if step.rolls_back and step.left_to_undo < 0]
    if over:
        names = _few(
            [f"{plain(-each.left_to_undo)} of {each.directive.describe()}" for each in over]
        )
        sentences.append(
            f"More was undone than took effect, which no retry sets right: {names}. It is left to "
            "you, and the batch will be STALE again."
        )
    if saga.lost:
        verb = "is" if len(saga.lost) == 1 else "are"
        orders = counted(len(saga.lost), "order")
        sentences.append(f"{orders} of unknown fate {verb} looked up first.")
    if budget is not None or saga.undo_budget is not None:
        sentences.append(
            f"Undo budget: {_budget(saga.undo_budget)} until now, {_budget(budget)} from now on; "
            f"{spent} USD is spent. It is checked before each undo, not foretold."
        )
    return sentences


def _undone_again(saga: Saga) -> str:
    """Return the orders that the engine sends to undo what is left; empty if it knows of none."""
    undone = [step for step in saga.steps if step.rolls_back and step.left_to_undo > 0]
    return _few([_undo(step) for step in undone])


def flattening(saga: Saga) -> str:
    """Return the orders by which a person makes flat what is left, as far as it is known.

    Empty if nothing is, or nothing is to be: of a batch that keeps what it did.
    """
    if not saga.undoes:
        return ""
    orders = []
    for each in residual(saga):
        # So much is left whatever came of the orders of unknown fate.
        amount = max(each.low, minus(ZERO, each.high))
        if amount > 0:
            side = "sell" if each.low > 0 else "buy"
            orders.append(f"{side} {plain(amount)} {each.symbol}{_about(amount, each.price)}")
    return _few(orders)


def of_retry_failed(saga: Saga, again: Batch) -> list[str]:
    """Return what sending again does of a batch that is over.

    Args:
        saga: the batch that is over.
        again: the new batch that is made of it.
    """
    legs = again.directives
    anew = [leg.amount for leg in legs] == [step.amount for step in saga.steps]
    if saga.state is SagaState.ROLLED_BACK and anew:
        what = f"All {len(legs)} legs are sent anew"
    else:
        what = f"What was not carried out is sent, {len(legs)} of {len(saga.steps)} legs"
    limit = again.timeout_seconds
    return [
        f"{saga.batch_id} is over and stays as it is. {what}, as the new batch {again.batch_id}.",
        f"{again.execution_mode}: {_few([_leg(leg) for leg in legs])}.",
        "It has no deadline."
        if limit is None
        else f"It must be over {limit:g} seconds after it is accepted.",
    ]


def _leg(leg: Directive) -> str:
    price: Decimal | None = getattr(leg, "limit_price", None) or getattr(
        leg, "reference_price", None
    )
    return f"{leg.describe()}{_about(leg.amount, price)}"


def _undo(step: Step) -> str:
    side = side_of(step.directive, Purpose.COMPENSATION)
    what = f"{side} {plain(step.left_to_undo)} {step.directive.subject or ''}".rstrip()
    return what + _about(step.left_to_undo, step.last_price)


def _budget(budget: Decimal | None) -> str:
    return "none" if budget is None else f"{money(budget)} USD"


def of_resolve(saga: Saga, changes: Sequence[Change]) -> list[str]:
    """Return what resolving does, and what it leaves open."""
    if saga.state is not SagaState.STALE:
        return [f"{saga.batch_id} is {saga.state}; only a STALE batch is resolved."]
    sentences = ["No order is sent. The batch is closed, and its portfolio trades again."]
    sentences += map(_booked, changes)
    left_over = residual(saga)
    tell = _kept if saga.undoes else _found_out
    sentences += [tell(left, changes) for left in left_over]
    symbols = {left.symbol for left in left_over}
    sentences += [
        f"Nothing of {change.subject} is left over by this batch; is the symbol right?"
        for change in changes
        if change.subject not in symbols
    ]
    sentences.append("Afterwards run `saga check`: it compares the books with the broker's.")
    return sentences


def why_not_resolved(saga: Saga, changes: Sequence[Change]) -> str | None:
    """Return which difference resolving would leave in the books; None if it leaves none."""
    if saga.state is not SagaState.STALE:
        return None
    left_over = residual(saga)
    if not saga.undoes:
        return _why_not_found_out([left for left in left_over if _is_open(left, changes)])
    kept = [left for left in left_over if _difference(left, changes)]
    if not kept:
        return None
    names = [
        f"{signed(_in_books(left, changes))} {left.symbol}"
        if left.is_known or _is_named(left, changes)
        else f"{_range(left)} {left.symbol}"
        for left in kept
    ]
    first = kept[0]
    how = f"--adjust {first.symbol},{signed(_flattening(first))},CASH,TRADE_ID"
    return (
        f"a difference would remain in the books: {_few(names)}; nothing was done: give what was "
        f"done by hand, as {how} ({_CASH_IS}), or close it with the difference by "
        "--keep-difference"
    )


def _is_open(left: InPlace, changes: Sequence[Change]) -> bool:
    """Tell whether nobody said what filled of a batch that keeps it, or it cannot be so."""
    if left.is_known:
        return False
    return not (_is_named(left, changes) and left.low <= _in_books(left, changes) <= left.high)


def _why_not_found_out(left_open: Sequence[InPlace]) -> str | None:
    if not left_open:
        return None
    first = left_open[0]
    names = [f"{_range(left)} {left.symbol}" for left in left_open]
    return (
        f"it is not known what is in place: {_few(names)}, of which the books have "
        f"{signed(_in_books(first, ()))} {first.symbol}; nothing was done: give what filled beyond "
        f"that, as --adjust {first.symbol},QUANTITY,CASH,TRADE_ID ({_CASH_IS}; {first.symbol},0,0 "
        "if nothing did), or close it as it stands by --keep-difference"
    )


def _found_out(left: InPlace, changes: Sequence[Change]) -> str:
    """Return what the books will say of a symbol of which a batch keeps what filled."""
    told = f"Not known how much is in place: {_amount(left)}."
    after = f"the books will say {signed(_in_books(left, changes))} {left.symbol} of this batch"
    if _is_named(left, changes):
        return f"{told} With --adjust {after}."
    return f"{told} No --adjust names it: {after}, and are wrong if the broker says otherwise."


_CASH_IS = "CASH is signed, fees included: a sale brings it in, a purchase pays it out"


def _difference(left: InPlace, changes: Sequence[Change]) -> bool:
    """Tell whether the books go on saying something of a symbol that is left over."""
    return not _is_named(left, changes) or bool(_in_books(left, changes))


def _is_named(left: InPlace, changes: Sequence[Change]) -> bool:
    return any(change.subject == left.symbol for change in changes)


def _in_books(left: InPlace, changes: Sequence[Change]) -> Decimal:
    """Return what the books will say of the batch: the fills that are known, and the changes."""
    known = left.low if left.is_known or left.sure is None else left.sure
    return plus(known, total(each.quantity for each in changes if each.subject == left.symbol))


def _flattening(left: InPlace) -> Decimal:
    """Return the change that makes the books flat, as far as the fills are known."""
    return minus(ZERO, _in_books(left, ()))


def _range(left: InPlace) -> str:
    if left.is_known:
        return signed(left.low)
    return f"{signed(left.low)} to {signed(left.high)}"


def _kept(left: InPlace, changes: Sequence[Change]) -> str:
    """Return what the books and the broker will say of a symbol that is left over."""
    before, after = _in_books(left, ()), _in_books(left, changes)
    told = f"Left over: {_amount(left)}."
    mine = total(each.quantity for each in changes if each.subject == left.symbol)
    if not _is_named(left, changes):
        told += (
            f" No --adjust names it: the books will go on saying {signed(after)} {left.symbol} of "
            f"this batch. The broker holds {_range(left)} {left.symbol} of it if nobody has traded "
            "by hand, and 0 if somebody has made it flat: then the books are wrong by "
            f"{signed(after)} {left.symbol}."
        )
    elif after:
        wrong = bool(before) and (mine > 0) is (before > 0)
        told += (
            f" --adjust changes it by {signed(mine)}; the difference becomes {signed(after)} "
            f"{left.symbol}: so much the books will say, and the broker holds so much only if "
            f"{signed(mine)} was really traded."
        )
        if wrong:
            many = "doubled" if after == times(before, Decimal(2)) else "more than was left"
            told += (
                f" WARNING: the sign is that of what is left over, so that it is {many}; to make "
                f"it flat takes {signed(_flattening(left))}."
            )
    else:
        told += f" With --adjust the books will say 0 {left.symbol} of this batch."
    return told


def doubts_about(changes: Sequence[Change]) -> list[str]:
    """Return what is so likely a slip that nobody books it without having been asked."""
    return [
        f"--adjust {change.subject}: {doubt}" for change in changes if (doubt := _doubt(change))
    ]


def _doubt(change: Change) -> str | None:
    if not change.quantity or not change.cash or (change.quantity > 0) is not (change.cash > 0):
        return None
    expected = "a sale brings cash in" if change.quantity < 0 else "a purchase pays cash out"
    return f"the sign of the cash does not fit, as {expected}"


def _booked(change: Change) -> str:
    cash = f"{'+' if change.cash > 0 else ''}{money(change.cash)} USD"
    told = f"The books change: {change.subject} {signed(change.quantity)}, cash {cash}."
    if change.quantity and not change.cash:
        told += " A trade without cash? Give the money, fees included."
    elif doubt := _doubt(change):
        told += f" WARNING: {doubt}."
    return told


def _open_orders(
    saga: Saga,
    many: str,
    one: str,
    *,
    unknown: str = "Looked up first, as their fate is not known",
    sending: str | None = None,
) -> list[str]:
    """Return what becomes of the orders in the air.

    Args:
        saga: the batch.
        many: of several that are open at the broker.
        one: of one that is.
        unknown: of those of unknown fate.
        sending: of those that are about to be sent, or whose call is under way; by default that of
            those of unknown fate.
    """
    live = list(saga.live.values())
    working = [each for each in live if each.state is AttemptState.WORKING]
    sentences = []
    if working:
        verb = many if len(working) > 1 else one
        sentences.append(f"Open at the broker, and {verb}: {_few([*map(_order, working)])}.")
    told: dict[str, list[str]] = {}
    for each in live:
        if each.state is not AttemptState.WORKING:
            is_sent = each.state is AttemptState.SENDING and sending is not None
            told.setdefault((sending or "") if is_sent else unknown, []).append(_order(each))
    return sentences + [f"{what}: {_few(names)}." for what, names in told.items()]


def _order(attempt: AttemptRecord) -> str:
    filled = f", {plain(attempt.done)} filled" if attempt.done else ""
    return f"{attempt.directive.describe()} ({attempt.key}{filled})"


def _amount(each: InPlace) -> str:
    if each.is_known:
        return f"{plain(each.low)} {each.symbol} (known)"
    return f"{plain(each.low)} to {plain(each.high)} {each.symbol} ({each.certainty})"


def _few(names: Sequence[str]) -> str:
    return few(names, _SHOWN)
