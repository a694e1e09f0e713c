"""How orders end by a withdrawal, and that an end is an end."""

from saga.exact import total
from saga.testing.bench import Bench
from saga.testing.harness import HarnessIncomplete
from saga.testing.promises.promise import Promises

PROMISES = Promises()


@PROMISES.promise
async def a_resting_order_ends_by_its_withdrawal(bench: Bench) -> None:
    """An order that rests is open until it is withdrawn, and then it is over."""
    rests = bench.harness.will_rest()
    wire = await bench.connect()
    if rests is None or not wire.capabilities.look_up:
        return
    attempt = bench.attempt(rests)
    report = await bench.send(wire, attempt)
    orders = await bench.orders(attempt)
    if report.final or len(orders) != 1 or not orders[0].is_open:
        await bench.broken(
            f"an order that rests is told as final={report.final}, and stands {len(orders)} times "
            f"in the books, {sum(order.is_open for order in orders)} of them open",
            "`final` means that nothing more will happen to the order; one that the venue works "
            "on is not final. If it did not rest, `Harness.will_rest` gives the wrong directive.",
            orders,
        )
    if not wire.capabilities.cancel:
        return
    bench.tell("a new process connects")
    fresh = await bench.connect()
    await bench.withdraw(fresh, attempt)
    ended = await bench.until_final(fresh, attempt)
    orders = await bench.orders(attempt)
    if ended.fills or any(order.is_open for order in orders):
        await bench.broken(
            f"look_up says that the withdrawn order is over with {len(ended.fills)} fills, and "
            f"{sum(order.is_open for order in orders)} order is open in the books",
            "`withdraw` cancels by the key, on any connection, and `look_up` says `final` only "
            "once the venue does.",
            orders,
        )


@PROMISES.promise
async def a_part_that_filled_is_told(bench: Bench) -> None:
    """What filled of an order before its withdrawal is told, while it is open and in the end."""
    part = bench.harness.will_part_fill()
    wire = await bench.connect()
    if part is None or not wire.capabilities.look_up or not wire.capabilities.cancel:
        return
    attempt = bench.attempt(part)
    await bench.send(wire, attempt)
    await bench.become_visible()
    open_ = await bench.look_up(wire, attempt)
    await bench.withdraw(wire, attempt)
    ended = await bench.until_final(wire, attempt)
    orders = await bench.orders(attempt)
    filled = total(order.filled for order in orders)
    if not 0 < filled < part.amount:
        raise HarnessIncomplete(
            f"of {part.amount} that will_part_fill gives, {filled} filled; give a directive of "
            "which a part fills at once, while the rest stays open until it is withdrawn"
        )
    told = total(fill.quantity for fill in ended.fills)
    if told != filled:
        await bench.broken(
            f"{filled} of {part.amount} are filled in the books, and the order was withdrawn: its "
            f"final report's fills add up to {told}",
            "A cancelled or expired order may have filled in part: read its executions, whatever "
            "its state is, and tell every one of them.",
            orders,
        )
    if open_ is not None and not set(open_.fills) <= set(ended.fills):
        await bench.broken(
            "a fill that was told while the order was open is another one in its final report",
            "An execution never changes: tell one fill for each, under the venue's own id of it, "
            "and no sum that grows.",
            orders,
        )


@PROMISES.promise
async def withdrawing_is_harmless(bench: Bench) -> None:
    """Withdrawing is harmless: twice, too late, and where nothing was sent."""
    wire = await bench.connect()
    if not wire.capabilities.cancel:
        return
    await bench.withdraw(wire, bench.will_fill())
    if await bench.books():
        await bench.broken(
            "withdrawing a key that was never sent left an order behind",
            "`withdraw` makes no order.",
            await bench.books(),
        )
    attempt = bench.will_fill()
    await bench.send(wire, attempt)
    await bench.withdraw(wire, attempt)
    await bench.withdraw(wire, attempt)


@PROMISES.promise
async def a_final_report_stays_what_it_is(bench: Bench) -> None:
    """A final report stays what it is."""
    wire = await bench.connect()
    if not wire.capabilities.look_up:
        return
    attempt = bench.will_fill()
    await bench.send(wire, attempt)
    final = await bench.until_final(wire, attempt)
    if wire.capabilities.cancel:
        await bench.withdraw(wire, attempt)
    await bench.become_visible()
    for _ in range(3):
        again = await bench.look_up(wire, attempt)
        if again is None or not again.final or again.fills != final.fills:
            told = "not found" if again is None else f"final={again.final}, {again.fills}"
            await bench.broken(
                f"{attempt.key} was final with {final.fills}, and is now {told}",
                "A status such as 'pending cancel' that comes after the end, a list of open "
                "orders that forgets closed ones, or a `final` that was told too early.",
                await bench.orders(attempt),
            )


@PROMISES.promise
async def a_tombstone_holds(bench: Bench) -> None:
    """A key that was withdrawn before it arrived is dead, where tombstone is declared."""
    wire = await bench.connect()
    if not wire.capabilities.tombstone:
        return
    attempt = bench.will_fill()
    await bench.withdraw(wire, attempt)
    bench.tell("the order arrives after its own withdrawal")
    try:
        await (await bench.connect()).send(attempt)
    except Exception as error:
        bench.tell(f"(it was turned away: {type(error).__name__})")
    orders = await bench.orders(attempt)
    if orders:
        await bench.broken(
            f"tombstone is declared, {attempt.key} was withdrawn first, and the venue accepted it "
            "all the same",
            "Few venues remember a cancel for an order that they do not know. Declare "
            "`tombstone=False`: the engine then waits for the visibility window instead.",
            orders,
        )
