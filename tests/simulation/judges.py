"""The invariants of docs/reliability.md, each a function with its name.

They are judged from the venue's own books, from the file, and from what clients were told: never
through what the engine thinks of itself. The first half is asked while things happen, the second
at rest and at the end. What a venue does against its own word (an execution beyond the quantity, a
request beyond the declared window) is counted out by name, and nothing else is.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from brokers.venue import OrderRequest
from saga.fold import saga_of
from saga.policy import FENCE_CHECK_SECONDS
from saga.store.journal import read_journal
from saga.views import batch_row
from tests.simulation import file
from tests.simulation.evidence import Evidence
from tests.simulation.file import AT_REST, Key, Story, parsed
from tests.simulation.life import Life
from tests.simulation.model_exchange import ModelOrder

ZERO: Final = Decimal(0)
MAX_SENDS_OF_ONE_KEY: Final = 3
"""L3: one key is handed over at most so often by one owner."""

_PATHS: Final = {
    ("PENDING", "started"): "RUNNING",
    ("PENDING", "withdrawn"): "ROLLED_BACK",
    ("RUNNING", "completed"): "COMPLETED",
    ("RUNNING", "compensation_started"): "COMPENSATING",
    ("RUNNING", "lost_track"): "STALE",
    ("COMPENSATING", "rolled_back"): "ROLLED_BACK",
    ("COMPENSATING", "abandoned"): "STALE",
    ("STALE", "retried"): "COMPENSATING",
    ("STALE", "resolved"): "ROLLED_BACK",
}
_MOVES: Final = frozenset(kind for _, kind in _PATHS)


# --- while it happens ----------------------------------------------------------------------------


def s2_intent_before_effect(evidence: Evidence, request: OrderRequest) -> None:
    """S2: before the first byte leaves, the same order stands in the file as intended."""
    key = parsed(request.client_order_id)
    if key is None:
        evidence.blame("S2", f"order {request.client_order_id} bears no key of a saga")
        return
    intents = evidence.disk.look(file.records_of, key.batch_id, "intended")
    intent = next(
        (
            each
            for each in intents
            if (each["step"], each["purpose"], each["number"])
            == (key.step, key.purpose, key.number)
        ),
        None,
    )
    if intent is None:
        evidence.blame(
            "S2", f"order {request.client_order_id} is sent, but no intent of it is in the file"
        )
        return
    leg = leg_of(evidence, key)
    forward = key.purpose == "forward"
    side = leg["kind"] if forward else {"buy": "sell", "sell": "buy"}[leg["kind"]]
    limit = Decimal(leg["limit_price"]) if forward and leg["limit_price"] is not None else None
    expected = (leg["symbol"], side, Decimal(intent["amount"]), limit)
    sent = (request.symbol, request.side.value, request.quantity, request.limit_price)
    if sent != expected:
        evidence.blame(
            "S2",
            f"order {request.client_order_id} is sent as {sent}, but what is in the file is "
            f"{expected}",
        )


def s3_one_order_per_intent(evidence: Evidence, order: ModelOrder) -> None:
    """S3: the venue takes at most one order for one attempt."""
    same = evidence.exchange.orders[order.key]
    if len(same) > 1:
        evidence.blame("S3", f"the venue has taken {len(same)} orders for the attempt {order.key}")


def s4_no_over_commitment(evidence: Evidence, order: ModelOrder) -> None:
    """S4: forward fills and open quantity of a leg together never exceed what was wanted."""
    key = parsed(order.key)
    if key is None or key.purpose != "forward":
        return
    leg = leg_of(evidence, key)
    orders = [each for each in _orders_of(evidence, key, "forward") if not each.after_window]
    committed = sum((each.filled + each.open_quantity for each in orders), ZERO)
    beyond = sum((each.overfilled for each in orders), ZERO)
    if committed > Decimal(leg["quantity"]) + beyond:
        evidence.blame(
            "S4",
            f"step {key.step} of {key.batch_id} wants {leg['quantity']}, but {committed} is open "
            f"or traded in {[each.key for each in orders]}",
        )


def s4_one_attempt_at_a_time(evidence: Evidence, order: ModelOrder) -> None:
    """S4: an attempt exists only once the one before it is over, in the books or in the network."""
    key = parsed(order.key)
    if key is None:
        return
    for number in range(1, key.number):
        earlier = _key_text(Key(key.batch_id, key.step, key.purpose, number))
        still_open = any(
            each.is_open and not each.after_window
            for each in evidence.exchange.orders.get(earlier, [])
        )
        if still_open or evidence.exchange.on_the_way[earlier] > 0:
            evidence.blame("S4", f"attempt {order.key} begins while {earlier} is not over")


def s5_compensation_bound(evidence: Evidence, order: ModelOrder) -> None:
    """S5: what is undone of a leg, or may be, never exceeds what was really done."""
    key = parsed(order.key)
    if key is None or key.purpose != "compensation":
        return
    forward = list(_orders_of(evidence, key, "forward"))
    undoing = [each for each in _orders_of(evidence, key, "compensation") if not each.after_window]
    done = sum((each.filled for each in forward), ZERO)
    # An undo that the venue took back has undone nothing, and may be tried again.
    undone = sum((each.standing + each.open_quantity for each in undoing), ZERO)
    beyond = sum((each.overfilled for each in undoing), ZERO)
    if undone > done + beyond:
        evidence.blame(
            "S5",
            f"step {key.step} of {key.batch_id} did {done}, but {undone} of it is undone or may be",
        )


def s5_undo_after_the_end(evidence: Evidence, order: ModelOrder) -> None:
    """Rule 5: an undo begins only once no forward order of its leg is open or on its way."""
    key = parsed(order.key)
    if key is None or key.purpose != "compensation":
        return
    for each in _orders_of(evidence, key, "forward"):
        if each.is_open and not each.after_window:
            evidence.blame("S5", f"{order.key} undoes while {each.key} is open")


def s12_one_owner_sends(evidence: Evidence, life: Life, key: str) -> None:
    """S12: nobody sends who could have known that somebody else owns the store."""
    epoch = evidence.disk.look(file.owner_epoch)
    silent = evidence.loop.time() - life.proof_at
    if life.epoch and epoch != life.epoch and silent > FENCE_CHECK_SECONDS + 1e-6:
        evidence.blame(
            "S12",
            f"process {life.number} (epoch {life.epoch}) sends {key} although epoch {epoch} owns "
            f"the store, {silent:.3f} s after it last saw that it was the owner",
        )


def s13_kill_switch(
    evidence: Evidence, halted: tuple[float, int] | None, life: Life, key: str
) -> None:
    """S13, L4: once the kill switch is durable no forward order starts; elsewhere within 1 s."""
    found = parsed(key)
    if halted is None or found is None or found.purpose != "forward":
        return
    since, number = halted
    silent = evidence.loop.time() - since
    if life.number == number or silent > FENCE_CHECK_SECONDS + 1e-6:
        evidence.blame("S13", f"{key} is sent {silent:.3f} s after trading was halted")


def s12_one_owner_writes(evidence: Evidence, life: Life, epoch: int) -> None:
    """S12: nothing of an owner's commits once the next one's epoch, read behind it, has."""
    if life.epoch and epoch != life.epoch:
        evidence.blame(
            "S12", f"process {life.number} (epoch {life.epoch}) commits under epoch {epoch}"
        )


def s14_shown_is_durable(evidence: Evidence, batch_id: str, state: str) -> None:
    """S14: a state that somebody was shown stands in the file at that moment."""
    kinds = {
        "COMPLETED": ("completed",),
        "ROLLED_BACK": ("rolled_back", "withdrawn", "resolved"),
        "STALE": ("abandoned", "lost_track"),
        "COMPENSATING": ("compensation_started", "retried"),
        "RUNNING": ("started",),
        "PENDING": ("submitted",),
    }[state]
    if not evidence.disk.look(file.records_of, batch_id, *kinds):
        evidence.blame("S14", f"{batch_id} was shown as {state}, of which the file has no record")


def s15_stream_order(evidence: Evidence, last: int, sequence: int) -> None:
    """S15: a subscriber sees every sequence number once, in order."""
    if sequence != last + 1:
        evidence.blame("S15", f"a subscriber sees record {sequence} behind record {last}")
    if evidence.disk.look(file.last_sequence) < sequence:
        evidence.blame("S14", f"record {sequence} was shown before it was in the file")


# --- at rest and at the end ----------------------------------------------------------------------


def s1_no_lost_saga(evidence: Evidence, stories: dict[str, Story]) -> None:
    """S1: every saga whose acceptance was told is in the file, with the same content."""
    for uid, bodies in evidence.accepted.items():
        story = stories.get(uid)
        if story is None:
            evidence.blame("S1", f"{uid} was accepted, and is not in the file")
        elif story.body not in [body.model_dump(mode="json") for body in bodies]:
            evidence.blame("S1", f"{uid} is in the file with other content than was accepted")


def s6_terminal_truth(evidence: Evidence, story: Story) -> None:
    """S6: what an ATOMIC saga says at rest is what the venue's books say."""
    if story.row["mode"] != "ATOMIC" or story.state not in AT_REST or _moves_cash(story):
        return
    if "resolved" in story.kinds():
        return  # an operator has answered for it; his adjustments are booked
    steps = range(len(story.body["directives"]))
    with_late = story.state == "STALE"  # an end stands as it was; a residual follows late truth
    net = {step: _net(evidence, story, step, with_late=with_late) for step in steps}
    for step, leg in enumerate(story.body["directives"]):
        target = Decimal(leg["quantity"])
        if story.state == "COMPLETED" and net[step] != target:
            evidence.blame(
                "S6", f"{story.batch_id} is COMPLETED, but step {step} is {net[step]}, not {target}"
            )
        if story.state == "ROLLED_BACK" and net[step] != 0:
            evidence.blame(
                "S6", f"{story.batch_id} is ROLLED_BACK, but {net[step]} of step {step} is left"
            )
    _judge_open_orders(evidence, story)
    if story.state == "STALE":
        left = {step: net[step] - _taken_back(evidence, story, step) for step in net}
        _judge_residual(evidence, story, left)


def _judge_open_orders(evidence: Evidence, story: Story) -> None:
    for key, told in _keys_of(story):
        for order in evidence.exchange.orders.get(key, []):
            if order.is_open and not told.lost and not order.after_window:
                evidence.blame("S6", f"{story.batch_id} is {story.state}, but {key} is open")


def _judge_residual(evidence: Evidence, story: Story, net: dict[int, Decimal]) -> None:
    """The interval holds what the books say, and is a point where nothing is unproven."""
    residual = {each["subject"]: each for each in json.loads(story.row["residual"] or "[]")}
    by_symbol: dict[str, Decimal] = {}
    for step, leg in enumerate(story.body["directives"]):
        sign = 1 if leg["kind"] == "buy" else -1
        by_symbol[leg["symbol"]] = by_symbol.get(leg["symbol"], ZERO) + sign * net[step]
    for symbol, left in by_symbol.items():
        told = residual.get(symbol)
        low = Decimal(told["low"]) if told else ZERO
        high = Decimal(told["high"]) if told else ZERO
        slack = _beyond_unproven(evidence, told["unproven"]) if told else ZERO
        if not low - slack <= left <= high + slack:
            evidence.blame(
                "S6",
                f"{story.batch_id} is STALE and says that it holds {low} to {high} {symbol}, but "
                f"the venue says {left}",
            )
        if low != high and told is not None and not told["unproven"]:
            evidence.blame(
                "S6", f"{story.batch_id} tells {low} to {high} {symbol}, with nothing unproven"
            )


def s7_terminal_truth(evidence: Evidence, story: Story) -> None:
    """S7: a saga that keeps what it did records exactly that, and why it did not do the rest."""
    if story.row["mode"] == "ATOMIC" or story.state != "COMPLETED" or _moves_cash(story):
        return
    for step, leg in enumerate(story.body["directives"]):
        orders = _orders_of(evidence, Key(story.batch_id, step, "forward", 0), "forward")
        filled = sum(
            (
                each.filled
                for each in orders
                if not each.after_window or _knows(story, each, with_late=True)
            ),
            ZERO,
        )
        filled -= _taken_back(evidence, story, step)
        row = story.trades[step]
        if Decimal(row["done"]) != filled and not _has_late(evidence, story, step):
            evidence.blame(
                "S7", f"step {step} of {story.batch_id} says {row['done']}, the venue {filled}"
            )
        # What was busted since is told by an incident, and not by why the leg ended as it did.
        filled += _taken_back(evidence, story, step)
        if filled < Decimal(leg["quantity"]) and not (row["error"] or story.row["reason"]):
            evidence.blame("S7", f"step {step} of {story.batch_id} is not whole, and says no why")


def s8_legal_history(evidence: Evidence, story: Story) -> None:
    """S8: the records are numbered without gaps, and lead along the arrows to the state shown."""
    numbers = [line.number for line in story.lines]
    if numbers != list(range(1, len(numbers) + 1)):
        evidence.blame("S8", f"the records of {story.batch_id} are numbered {numbers}")
    state = "PENDING"
    for line in story.lines:
        if line.kind in _MOVES:
            after = _PATHS.get((state, line.kind))
            if after is None:
                evidence.blame("S8", f"{story.batch_id} goes from {state} by {line.kind}")
                return
            state = after
    if state != story.state:
        evidence.blame("S8", f"{story.batch_id} shows {story.state}, its journal says {state}")


def s8_one_sequence(evidence: Evidence, all_stories: Iterable[Story], after: int) -> None:
    """S8: all records of all sagas stand in one sequence without gaps."""
    sequences = sorted(line.sequence for story in all_stories for line in story.lines)
    if sequences != list(range(after + 1, after + 1 + len(sequences))):
        evidence.blame("S8", "the sequence of all records has a gap")


def s9_fills_are_the_venues(evidence: Evidence, story: Story) -> None:
    """S9: what is known of an attempt that is over is what the venue's books say, once each."""
    if _moves_cash(story):
        return
    for key, told in _keys_of(story):
        orders = evidence.exchange.orders.get(key, [])
        real = {
            fill.fill_id: (fill.quantity, fill.price, fill.fee)
            for order in orders
            for fill in order.fills
        }
        for fill_id, content in told.fills.items():
            if real.get(fill_id) != content:
                evidence.blame("S9", f"{key} is told fill {fill_id} {content}, which never was")
        busted = {each for order in orders for each in order.busted}
        late = any(order.after_window for order in orders)
        missing = real.keys() - told.fills.keys() - busted
        if missing and not told.lost and not late and story.state in AT_REST:
            evidence.blame("S9", f"{story.batch_id} is at rest, and of {key} misses {missing}")


def s16_idempotent_intake(evidence: Evidence, story: Story) -> None:
    """S16: one id is one saga, however often it was handed in."""
    if story.kinds().count("submitted") != 1:
        evidence.blame("S16", f"{story.batch_id} was submitted {story.kinds()}")
    bodies = {body.model_dump_json() for body in evidence.accepted.get(story.batch_id, [])}
    if len(bodies) > 1:
        evidence.blame("S16", f"{story.batch_id} was accepted with {len(bodies)} different bodies")


def s10_books_agree(
    evidence: Evidence, stories: Iterable[Story], books: dict[str, Any], first: dict[str, Any]
) -> None:
    """S10: holdings and cash of each portfolio are what its known fills add up to, exactly."""
    sums: dict[str, Any] = {
        name: {
            "cash": Decimal(each["cash"]),
            "held": {symbol: Decimal(held) for symbol, held in each["held"].items()},
        }
        for name, each in first.items()
    }
    for story in stories:
        _add_up(story, sums)
    for name, each in sums.items():
        found = books[name]
        held = {symbol: amount for symbol, amount in each["held"].items() if amount}
        there = {symbol: Decimal(amount) for symbol, amount in found["held"].items()}
        there = {symbol: amount for symbol, amount in there.items() if amount}
        if Decimal(found["cash"]) != each["cash"] or there != held:
            evidence.blame(
                "S10",
                f"portfolio {name} shows {found['cash']} and {there}, but its fills come to "
                f"{each['cash']} and {held}",
            )


def _add_up(story: Story, sums: dict[str, Any]) -> None:
    legs = story.body["directives"]
    if _moves_cash(story):
        name = legs[0]["portfolio"]
    else:
        key = story.body["exclusion_key"] or ""
        name = key.removeprefix("portfolio:") if key.startswith("portfolio:") else None
    if name not in sums:
        return
    each = sums[name]
    for key, told in story.attempts.items():
        leg = legs[key.step]
        way = 1 if key.purpose == "forward" else -1
        for fill_id, (quantity, price, fee) in told.fills.items():
            if fill_id in told.reversed:
                continue
            if _moves_cash(story):
                sign = way if leg["way"] == "deposit" else -way
                each["cash"] += sign * quantity - fee
            else:
                sign = way if leg["kind"] == "buy" else -way
                held = each["held"].get(leg["symbol"], ZERO)
                each["held"][leg["symbol"]] = held + sign * quantity
                each["cash"] -= sign * quantity * price + fee
    for line in story.lines:
        for change in line.data.get("adjustments", ()):
            held = each["held"].get(change["subject"], ZERO)
            each["held"][change["subject"]] = held + Decimal(change["quantity"])
            each["cash"] += Decimal(change["cash"])


def s11_replay(evidence: Evidence) -> None:
    """S11: every prefix of a journal that was shown folds into what was shown then."""
    journals: dict[str, Any] = {}
    for uid, number, row in evidence.live_rows or ():
        if uid not in journals:
            journals[uid] = evidence.disk.look(read_journal, uid)
        records = journals[uid]
        if len(records) < number:
            continue  # it was shown to nobody: its commit was lost with its process
        again = batch_row(saga_of(records[:number]))
        if again != row:
            evidence.blame("S11", f"record {number} of {uid} does not fold into what was live")


def l3_no_storm(evidence: Evidence, seconds: float) -> None:
    """L3: the venue is not asked more often than polling and retrying explain."""
    poll = evidence.plan.venue.poll_seconds
    for uid, count in evidence.calls.items():
        batch = evidence.handed_in.get(uid)
        legs = len(batch.directives) if batch is not None else 6
        most = 60 * legs + 8 * legs * seconds / min(poll, 0.25)
        if count > most:
            evidence.blame("L3", f"{uid} made {count} calls to the venue; {most:.0f} is the bound")


# --- what they share -----------------------------------------------------------------------------


def leg_of(evidence: Evidence, key: Key) -> dict[str, Any]:
    """Return the directive of a key as the file has it, which S1 compares with what was wanted."""
    legs = evidence.legs.get(key.batch_id)
    if legs is None:
        (submitted,) = evidence.disk.look(file.records_of, key.batch_id, "submitted")
        legs = evidence.legs[key.batch_id] = submitted["batch"]["directives"]
    leg: dict[str, Any] = legs[key.step]
    return leg


def _orders_of(evidence: Evidence, key: Key, purpose: str) -> Iterable[ModelOrder]:
    stem = f"{key.batch_id.removeprefix('BAT_')}-{key.step}{purpose[0].upper()}"
    for text, orders in evidence.exchange.orders.items():
        if text.startswith(stem):
            yield from orders


def _key_text(key: Key) -> str:
    letter = key.purpose[0].upper()
    return f"{key.batch_id.removeprefix('BAT_')}-{key.step}{letter}{key.number}"


def _keys_of(story: Story) -> list[tuple[str, file.Told]]:
    return [(_key_text(key), told) for key, told in story.attempts.items()]


def _net(evidence: Evidence, story: Story, step: int, *, with_late: bool) -> Decimal:
    """What the venue's books say is left of a leg; late arrivals only where they are known."""
    net = ZERO
    for purpose, sign in (("forward", 1), ("compensation", -1)):
        for order in _orders_of(evidence, Key(story.batch_id, step, purpose, 0), purpose):
            if not order.after_window or _knows(story, order, with_late=with_late):
                net += sign * order.filled
    return net


def _taken_back(evidence: Evidence, story: Story, step: int) -> Decimal:
    """How much of what a leg did was busted since, as far as the journal knows (B11)."""
    back = ZERO
    for key, told in story.attempts.items():
        if key.step == step:
            sign = 1 if key.purpose == "forward" else -1
            back += sign * sum((told.fills[each][0] for each in told.reversed), ZERO)
    return back


def _beyond_unproven(evidence: Evidence, keys: list[str]) -> Decimal:
    """How much more than was asked for the venue has traded under keys that nobody can know."""
    return sum(
        (order.overfilled for key in keys for order in evidence.exchange.orders.get(key, [])), ZERO
    )


def _knows(story: Story, order: ModelOrder, *, with_late: bool) -> bool:
    key = parsed(order.key)
    told = story.attempts.get(key) if key is not None else None
    if told is None:
        return False
    known = told.fills.keys() if with_late else told.fills.keys() - told.late
    return {fill.fill_id for fill in order.fills} <= known


def _has_late(evidence: Evidence, story: Story, step: int) -> bool:
    orders = _orders_of(evidence, Key(story.batch_id, step, "forward", 0), "forward")
    return any(each.after_window for each in orders)


def _moves_cash(story: Story) -> bool:
    return bool(story.body["directives"][0]["kind"] == "cash_transfer")
