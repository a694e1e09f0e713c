"""What becomes of orders: they fill, are found again, are refused, rest and are undone."""

from anyio import create_task_group

from saga.exact import total
from saga.ids import Purpose
from saga.outcome import Outcome, Report
from saga.testing.bench import Bench
from saga.testing.harness import net
from saga.testing.promises.promise import Promises

PROMISES = Promises()

_NOT_BY_KEY = (
    "The adapter looks an order up by the venue's own id, which it keeps in memory, or in a list "
    "of open orders only. Ask for the one order by its client order id, whoever placed it."
)
_INVENTS_FILLS = (
    "`fill_id` is the venue's own execution id. An id made from a counter, a clock or a position "
    "in a list changes, and the engine then books one execution twice, or two as one."
)


@PROMISES.promise
async def a_fill_is_told_as_it_is(bench: Bench) -> None:
    """An order that fills is told as it is in the venue's books."""
    wire = await bench.connect()
    attempt = bench.will_fill()
    sent = await bench.send(wire, attempt)
    report = sent if sent.final else await bench.until_final(wire, attempt)
    orders = await bench.orders(attempt)
    if len(await bench.books()) != 1 or len(orders) != 1:
        await bench.broken(
            f"one order was sent, and the venue accepted {len(await bench.books())}, of which "
            f"{len(orders)} under its key {attempt.key}",
            "Hand `attempt.key` to the venue unchanged as its client order id, and place one "
            "order for one call of `send`. If the books are right, look at `Harness.books`.",
            await bench.books(),
        )
    (order,) = orders
    filled = total(fill.quantity for fill in report.fills)
    if not filled == order.filled == attempt.directive.amount:
        await bench.broken(
            f"{attempt.directive.amount} were ordered, the report's fills add up to {filled}, and "
            f"{order.filled} are filled in the books",
            "A report holds every fill so far, not only the new ones, each once.",
            orders,
        )
    if order.direction != attempt.directive.direction:
        await bench.broken(
            f"the directive's direction is {attempt.directive.direction}, the order's "
            f"{order.direction}",
            "Buy and sell are swapped, in the adapter or in `Harness.books`.",
            orders,
        )


@PROMISES.promise
async def an_order_is_found_after_a_restart(bench: Bench) -> None:
    """An order is found by its key, on a connection that did not place it."""
    if not (await bench.capabilities()).look_up:
        return
    attempt = bench.will_fill()
    sent = await bench.send(await bench.connect(), attempt)
    await bench.become_visible()
    bench.tell("a new process connects")
    found = await bench.look_up(await bench.connect(), attempt)
    if found is None:
        seconds = (await bench.capabilities()).visibility_seconds
        await bench.broken(
            f"{attempt.key} was accepted, and is not found {seconds} s later, which is all that "
            "visibility_seconds allows",
            _NOT_BY_KEY + " If the venue is merely slow, declare a longer visibility_seconds.",
            await bench.orders(attempt),
        )
    missing = {fill.fill_id for fill in sent.fills} - {fill.fill_id for fill in found.fills}
    if missing:
        await bench.broken(
            f"send told of the fills {sorted(missing)}, which look_up does not know",
            _INVENTS_FILLS,
        )


@PROMISES.promise
async def an_order_is_found_behind_many(bench: Bench) -> None:
    """An order is found when more orders came after it than the venue lists at once."""
    wire = await bench.connect()
    if not wire.capabilities.look_up or not bench.harness.orders_on_a_page:
        return
    first = bench.will_fill()
    await bench.send(wire, first)
    for _ in range(bench.harness.orders_on_a_page):
        await bench.send(wire, bench.will_fill())
    await bench.become_visible()
    if await bench.look_up(wire, first) is None:
        await bench.broken(
            f"{first.key} is not found once {bench.harness.orders_on_a_page} orders came after it",
            "`look_up` reads one page of a list. Ask for the one order by its client order id, or "
            "read on until the list ends.",
            await bench.orders(first),
        )


@PROMISES.promise
async def execution_ids_are_unique_and_stable(bench: Bench) -> None:
    """Executions keep their ids, whoever asks, and never share one."""
    if not (await bench.capabilities()).look_up:
        return
    wire = await bench.connect()
    seen: dict[str, str] = {}
    for leg in (0, 0, 1):
        attempt = bench.will_fill(leg)
        await bench.send(wire, attempt)
        first = await bench.until_final(wire, attempt)
        again = await bench.until_final(await bench.connect(), attempt)
        if first.fills != again.fills:
            await bench.broken(
                f"the fills of {attempt.key} were {_listed(first)}, and are {_listed(again)} when "
                "another connection asks",
                _INVENTS_FILLS,
            )
        for fill in first.fills:
            if seen.setdefault(fill.fill_id, attempt.key) != attempt.key:
                await bench.broken(
                    f"fill_id {fill.fill_id!r} stands in {seen[fill.fill_id]} and in {attempt.key}",
                    _INVENTS_FILLS,
                )


def _listed(report: Report) -> str:
    return ", ".join(f"{f.fill_id}: {f.quantity} at {f.price}" for f in report.fills) or "none"


@PROMISES.promise
async def a_refusal_is_final(bench: Bench) -> None:
    """An order that the venue refuses has a final report, with a reason and no fill."""
    attempt = bench.attempt(bench.harness.will_be_refused())
    wire = await bench.connect()
    report = await bench.send(wire, attempt)
    if not report.final and (await bench.capabilities()).look_up:
        report = await bench.until_final(wire, attempt)
    if not report.final or report.fills or not report.reason:
        await bench.broken(
            f"the refusal is told as final={report.final}, {len(report.fills)} fills, reason "
            f"{report.reason!r}",
            "Return `Report(final=True, reason=...)` with the venue's own words. If the venue "
            "did fill it, `Harness.will_be_refused` gives the wrong directive.",
            await bench.orders(attempt),
        )
    effect = [order for order in await bench.orders(attempt) if order.is_open or order.filled]
    if effect:
        await bench.broken(
            "the report says that nothing took effect, and the venue has the order",
            "A refusal is told only where the venue's reply proves it.",
            effect,
        )


@PROMISES.promise
async def what_filled_can_be_undone(bench: Bench) -> None:
    """What filled can be undone, to zero by the venue's books."""
    wire = await bench.connect()
    attempt = bench.will_fill()
    if not attempt.directive.can_be_undone or not wire.capabilities.look_up:
        return
    await bench.send(wire, attempt)
    report = await bench.until_final(wire, attempt)
    inverse = attempt.directive.inverse(Outcome(report.fills))
    undo = bench.attempt(inverse, step=attempt.step, purpose=Purpose.COMPENSATION)
    await bench.send(wire, undo)
    await bench.until_final(wire, undo)
    books = await bench.books()
    if net(books) != 0:
        await bench.broken(
            f"{attempt.directive.describe()} was undone by {inverse.describe()}, and "
            f"{net(books)} is left",
            "The inverse has to fill as surely as the order: check minimum lots and short "
            "selling. If it did fill, look at `direction` in `Harness.books`.",
            books,
        )


@PROMISES.promise
async def orders_sent_at_once_are_told_apart(bench: Bench) -> None:
    """Several orders sent at once are each told apart."""
    wire = await bench.connect()
    attempts = [bench.will_fill(number % 2) for number in range(4)]
    async with create_task_group() as sending:
        for attempt in attempts:
            sending.start_soon(bench.send, wire, attempt)
    for attempt in attempts:
        if len(await bench.orders(attempt)) != 1:
            await bench.broken(
                f"{attempt.key} was sent once, beside three others, and stands "
                f"{len(await bench.orders(attempt))} times in the books",
                "Answers that come back at the same time are given to the wrong caller, or a "
                "shared connection is used by two calls at once. Match answers by request.",
                await bench.books(),
            )
        if wire.capabilities.look_up:
            await bench.until_final(wire, attempt)
