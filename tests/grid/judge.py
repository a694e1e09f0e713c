"""Judges what came of a cell: by the reference model, and by the invariants that every run keeps.

Each judge returns what is wrong, in whole sentences; nothing is wrong where it returns nothing.
The venue's own books are the truth (S2 to S7); the journal has to agree with them.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from brokers.orders import Side
from brokers.paper import conservation_errors
from brokers.paper.rows import BookedOrder
from brokers.venue import OrderStatus
from saga.events import Abandoned, Intended, LateTruth, LostTrack, Reported, Resumed, Submitted
from saga.fold import saga_of
from saga.ids import Purpose, attempt_key
from saga.machine import SAGA_AT_REST
from saga.outcome import Exposure
from saga.views import batch_row, trade_row
from tests.grid.cells import QUANTITY, Cell
from tests.grid.expected import Expected, Unreached, expected
from tests.grid.plan import BATCH_ID, HELD_BEFORE, SYMBOLS, batch_of
from tests.grid.theatre import DEATHS, Evidence

CALLS_PER_LEG = 400
"""No leg needs so many calls, not even one that is asked about 120 times in vain (L3)."""


def violations(seen: Evidence) -> list[str]:
    """Return everything that is wrong with what came of a cell."""
    cell = seen.cell
    wanted = expected(cell)
    wrong = list(seen.failures)
    if isinstance(wanted, Unreached):
        if seen.deaths:
            wrong.append(f"the crash point was reached, although {wanted.why}")
        wrong.extend(_invariants(seen))
        return wrong
    if seen.deaths != DEATHS.get(cell.crash, 1):
        wrong.append(
            f"the crash point was reached {seen.deaths} times, not {DEATHS.get(cell.crash, 1)}"
        )
    wrong.extend(_by_the_model(seen, wanted))
    wrong.extend(_invariants(seen))
    return wrong


# --- by the reference model ----------------------------------------------------------------------


def _by_the_model(seen: Evidence, wanted: Expected) -> Iterator[str]:
    if seen.row is None:
        return
    if seen.row.state != wanted.state:
        yield f"the batch is {seen.row.state}, and must be {wanted.state}"
    for position, leg in enumerate(wanted.legs):
        forward = _accepted(seen, position, Purpose.FORWARD)
        undo = _accepted(seen, position, Purpose.COMPENSATION)
        if len(forward) != leg.bought:
            yield f"leg {position}: {len(forward)} orders were accepted, and must be {leg.bought}"
        if len(undo) != leg.sold:
            yield f"leg {position}: {len(undo)} undos were accepted, and must be {leg.sold}"
        net, busted = _net(seen, position)
        if net != leg.net:
            yield f"leg {position} holds {net}, and must hold {leg.net}"
        if busted != leg.busted:
            yield f"leg {position}: a bust took {busted}, and must take {leg.busted}"
        reversals = _reversed(seen, position)
        if bool(reversals) is not (leg.busted != 0):
            yield f"rule 4, leg {position}: late truth took back {reversals} fills of it"
    told = {SYMBOLS.index(each.subject): (each.low, each.high) for each in _residual(seen)}
    must = {
        position: tuple(map(Decimal, leg.interval))
        for position, leg in enumerate(wanted.legs)
        if leg.interval is not None
    }
    if told != must:
        yield f"the residual exposure is {told}, and must be {must}"


def _orders(seen: Evidence, position: int, purpose: Purpose) -> list[BookedOrder]:
    assert seen.books is not None
    start = attempt_key(BATCH_ID, position, purpose, 1)[:-1]
    return [o for o in seen.books.orders if (o.client_order_id or "").startswith(start)]


def _accepted(seen: Evidence, position: int, purpose: Purpose) -> list[BookedOrder]:
    orders = _orders(seen, position, purpose)
    return [order for order in orders if order.status is not OrderStatus.REJECTED]


def _net(seen: Evidence, position: int) -> tuple[Decimal, Decimal]:
    """What the leg holds by the books without busts, and what busts took away."""
    assert seen.books is not None
    net, busted = -HELD_BEFORE, Decimal(0)
    for trade in seen.books.executions:
        if trade.symbol == SYMBOLS[position]:
            signed = trade.quantity if trade.side is Side.BUY else -trade.quantity
            if trade.reverses is None:
                net += signed
            else:
                original = next(t for t in seen.books.executions if t.fill_id == trade.reverses)
                busted += original.quantity if original.side is Side.BUY else -original.quantity
    return net, busted


def _reversed(seen: Evidence, position: int) -> int:
    """How many fills of the leg the saga has learnt to have been taken back (rule 4)."""
    return sum(
        len(record.event.reversed)
        for record in seen.journal
        if isinstance(record.event, LateTruth) and record.event.step == position
    )


def _residual(seen: Evidence) -> tuple[Exposure, ...]:
    last = [r.event for r in seen.journal if isinstance(r.event, Abandoned | LostTrack)]
    return last[-1].residual if last else ()


# --- invariants ----------------------------------------------------------------------------------


def _invariants(seen: Evidence) -> Iterator[str]:
    if seen.row is None:
        yield "L2: no process came to the end of the batch"
        return
    if seen.quarantined:
        yield f"L2: the batch was set aside: {seen.quarantined}"
    yield from _intake(seen)
    yield from _orders_and_intents(seen)
    yield from _commitment(seen)
    yield from _history(seen)
    yield from _truth(seen)
    assert seen.books is not None
    yield from (f"the venue's own books are wrong: {e}" for e in conservation_errors(seen.books))
    if seen.calls > CALLS_PER_LEG * seen.cell.legs:
        yield f"L3: the venue was called {seen.calls} times"


def _intake(seen: Evidence) -> Iterator[str]:
    first = seen.journal[0].event
    batch = batch_of(seen.cell).model_copy(update={"created_at": None})
    if not isinstance(first, Submitted):
        yield "S1: the journal does not begin with the batch"
    elif first.batch.model_copy(update={"created_at": None}) != batch:
        yield "S1: the batch in the journal is not the one that was submitted"
    if seen.submitted_again != BATCH_ID or seen.records_after:
        yield f"S16: submitted again, it is {seen.submitted_again}, {seen.records_after} records on"


def _orders_and_intents(seen: Evidence) -> Iterator[str]:
    assert seen.books is not None
    intents = {
        attempt_key(BATCH_ID, e.step, e.purpose, e.number): (record.at, e)
        for record in seen.journal
        if isinstance(e := record.event, Intended)
    }
    keys = [o.client_order_id for o in seen.books.orders if o.client_order_id is not None]
    for key, count in Counter(keys).items():
        if count > 1:
            yield f"S3: order {key} was taken {count} times"
    for order in seen.books.orders:
        if order.client_order_id is None:
            continue
        if order.client_order_id not in intents:
            yield f"S2: order {order.client_order_id} was never intended"
            continue
        at, intent = intents[order.client_order_id]
        side = Side.BUY if intent.purpose is Purpose.FORWARD else Side.SELL
        meant = (SYMBOLS[intent.step], side, intent.amount)
        if (order.symbol, order.side, order.quantity) != meant:
            yield f"S2: order {order.client_order_id} is not what was intended, {meant}"
        if order.placed_at < at:
            yield f"S2: order {order.client_order_id} was there before its intent"


def _commitment(seen: Evidence) -> Iterator[str]:
    for position in range(seen.cell.legs):
        forward = _accepted(seen, position, Purpose.FORWARD)
        undo = _accepted(seen, position, Purpose.COMPENSATION)
        # A bust takes fills back from the order; what is over has no open amount.
        asked = sum((o.quantity for o in forward if not o.status.is_final), Decimal(0))
        over = asked + _filled(seen, forward)
        if over > QUANTITY and seen.cell.behaviour != 14:
            yield f"S4: {over} of {QUANTITY} are committed on leg {position}"
        undone = _filled(seen, undo)
        if undone > _filled(seen, forward) and seen.cell.behaviour != 14:
            yield f"S5: {undone} were undone on leg {position}, more than were filled"
        if any(not order.status.is_final for order in (*forward, *undo)):
            yield f"S6: an order of leg {position} is still open"


def _filled(seen: Evidence, orders: list[BookedOrder]) -> Decimal:
    assert seen.books is not None
    keys = {order.client_order_id for order in orders}
    return sum(
        (
            trade.quantity
            for trade in seen.books.executions
            if trade.client_order_id in keys and trade.reverses is None
        ),
        Decimal(0),
    )


def _history(seen: Evidence) -> Iterator[str]:
    if [record.number for record in seen.journal] != list(range(1, len(seen.journal) + 1)):
        yield "S8: the journal has gaps"
    sequences = [record.sequence for record in seen.journal]
    if sequences != sorted(set(sequences)):
        yield "S8: the journal is not in order"
    saga = saga_of(seen.journal)
    if seen.row != batch_row(saga):
        yield "S11: the batch's view is not what the journal tells"
    if seen.trades != tuple(trade_row(saga, step) for step in saga.steps):
        yield "S11: the trades' views are not what the journal tells"
    if saga.state not in SAGA_AT_REST:
        yield f"L1: the batch is {saga.state}"
    told = set(seen.told)
    if told and told != {saga.state}:
        yield f"S14: clients were told {told}, and the batch is {saga.state}"
    if seen.cell.crash in (5, 6, 7, 16) and seen.cell.loss != 1 and seen.deaths:
        resumed = sum(isinstance(record.event, Resumed) for record in seen.journal)
        if resumed != 1:
            yield f"L2: the batch was resumed {resumed} times"


def _truth(seen: Evidence) -> Iterator[str]:
    assert seen.books is not None
    reported = [
        fill.fill_id
        for record in seen.journal
        if isinstance(record.event, Reported)
        for fill in record.event.fills
    ]
    if len(reported) != len(set(reported)):
        yield "S9: a fill was booked twice"
    ours = {
        trade.fill_id
        for trade in seen.books.executions
        if trade.client_order_id is not None and trade.reverses is None
    }
    unknown = set(reported) - ours
    if unknown:
        yield f"S10: fills {sorted(unknown)} are not in the venue's books"
    untold = ours - set(reported)
    if untold and seen.row is not None and seen.row.state != "STALE":
        yield f"S7: fills {sorted(untold)} were never learnt of"


def story(seen: Evidence, wrong: list[str]) -> str:
    """Return what happened in a cell, for people: what went wrong, the journal, the books."""
    cell: Cell = seen.cell
    lines = [f"{cell}: {cell.story}; leg {cell.target} is struck"]
    lines += [f"  {sentence}" for sentence in _verdict(seen, wrong)]
    lines += [f"  WRONG {sentence}" for sentence in wrong]
    lines.append("  the journal:")
    for record in seen.journal:
        text = str(record.event)
        lines.append(f"    {record.number:3} {record.at:%H:%M:%S.%f} {text[:150]}")
    if seen.books is not None:
        lines.append("  the venue's books:")
        for order in seen.books.orders:
            if order.client_order_id is not None:
                lines.append(
                    f"    {order.placed_at:%H:%M:%S.%f} {order.client_order_id} {order.side} "
                    f"{order.quantity} {order.symbol}: {order.status}, {order.filled} filled"
                )
    return "\n".join(lines)


def _verdict(seen: Evidence, wrong: list[str]) -> Iterator[str]:
    """Say what had to come of the cell, and whether it came so."""
    wanted = expected(seen.cell)
    if isinstance(wanted, Unreached):
        yield f"EXPECTED that the crash point is not reached: {wanted.why}"
    else:
        yield f"EXPECTED that the batch ends {wanted.state}"
        for position, leg in enumerate(wanted.legs):
            between = ""
            if leg.interval is not None:
                between = f", and it says it may hold {leg.interval[0]} to {leg.interval[1]}"
            bust = f", of which a bust takes {leg.busted}" if leg.busted else ""
            yield (
                f"EXPECTED of leg {position}: {_many(leg.bought, 'order')} and "
                f"{_many(leg.sold, 'undo')} accepted, {leg.net} held{bust}{between}"
            )
    state = "nothing of the batch" if seen.row is None else f"the batch {seen.row.state}"
    met = f"NOT as expected: {len(wrong)} wrong" if wrong else "as expected, and every rule kept"
    yield f"CAME {state}: {met}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
