"""The key: whole, never adopted from somebody else, and taken once where that is declared."""

from collections.abc import Iterator
from contextlib import suppress

from saga.ids import MAX_KEY_LENGTH
from saga.outcome import Fill, Outcome
from saga.participant import Attempt, KeyTaken
from saga.testing.bench import Bench
from saga.testing.harness import KeyScope
from saga.testing.promises.promise import Promises

PROMISES = Promises()

_LARGEST_STEP = 99_999
_LARGEST_NUMBER = 100


@PROMISES.promise
async def the_longest_key_arrives_whole(bench: Bench) -> None:
    """A key is the identity of an order, up to its longest."""
    attempt = bench.attempt(bench.harness.will_fill(0), step=_LARGEST_STEP, number=_LARGEST_NUMBER)
    wire = await bench.connect()
    await bench.send(wire, attempt)
    books = await bench.books()
    if [order.key for order in books] != [attempt.key]:
        await bench.broken(
            f"the key {attempt.key} ({len(attempt.key)} characters) stands in the books as "
            f"{', '.join(str(order.key) for order in books) or 'nothing'}",
            f"The adapter cuts or rewrites keys. They have up to {MAX_KEY_LENGTH} characters of "
            "a-z, A-Z, 0-9, _ and -; a venue that takes fewer needs a mapping that is kept "
            "for ever, and not in memory.",
            books,
        )


@PROMISES.promise
async def a_key_that_was_never_sent_is_not_found(bench: Bench) -> None:
    """A key that was never sent is not found."""
    wire = await bench.connect()
    if not wire.capabilities.look_up:
        return
    other = bench.will_fill()
    await bench.send(wire, other)
    found = await bench.look_up(wire, bench.will_fill())
    if found is not None:
        await bench.broken(
            "look_up of a key that was never sent returned a report",
            "The adapter returns the newest order, or makes an empty one up. Return None, and "
            "leave it to the engine what that proves.",
        )


@PROMISES.promise
async def another_order_is_never_adopted(bench: Bench) -> None:
    """An order with other parameters is never adopted: KeyTaken."""
    wire = await bench.connect()
    if not wire.capabilities.look_up:
        return
    attempt = bench.will_fill()
    await bench.send(wire, attempt)
    await bench.become_visible()
    for other in _with_other_parameters(bench, attempt):
        try:
            await wire.look_up(other)
        except KeyTaken:
            continue
        except Exception as error:
            said = f"look_up raised {type(error).__name__}"
        else:
            said = "look_up answered as if it were the same order"
        await bench.broken(
            f"{attempt.key} names the order {attempt.directive.describe()}; asked with it about "
            f"{other.directive.describe()}, {said}",
            "Compare instrument, side and quantity with what the venue tells of the order, and "
            "raise `saga.participant.KeyTaken` if one differs: the order may be of an older "
            "installation.",
        )


def _with_other_parameters(bench: Bench, attempt: Attempt) -> Iterator[Attempt]:
    directive = attempt.directive
    other_leg = bench.harness.will_fill(1)
    with suppress(NotImplementedError):  # it cannot be divided: its amount is always the same
        yield bench.attempt(directive.for_amount(directive.amount * 2), step=attempt.step)
    if directive.can_be_undone:
        whole = Outcome((Fill("1", directive.amount),))
        yield bench.attempt(directive.inverse(whole), step=attempt.step)
    if (other_leg.subject, other_leg.kind) != (directive.subject, directive.kind):
        yield bench.attempt(other_leg, step=attempt.step)


@PROMISES.promise
async def a_key_is_taken_once(bench: Bench) -> None:
    """A key is taken once, for as long as key_scope says."""
    scope = bench.harness.key_scope
    if scope is KeyScope.NONE:
        return
    rests = bench.harness.will_rest()
    if rests is not None:
        await _send_twice(bench, bench.attempt(rests), scope)
    if scope is KeyScope.FOREVER:
        await _send_twice(bench, bench.will_fill(), scope)


async def _send_twice(bench: Bench, attempt: Attempt, scope: KeyScope) -> None:
    await bench.send(await bench.connect(), attempt)
    await bench.become_visible()
    bench.tell("the same attempt is sent again")
    try:
        await (await bench.connect()).send(attempt)
    except Exception as error:
        bench.tell(f"(the second send was turned away: {type(error).__name__})")
    orders = await bench.orders(attempt)
    if len(orders) != 1:
        await bench.broken(
            f"key_scope is {scope!s}, and the venue accepted {attempt.key} {len(orders)} times",
            "Many venues refuse a client order id only while the first order is open, or for some "
            "minutes. Declare what is true at yours; the engine does not need more.",
            orders,
        )
