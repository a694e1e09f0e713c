"""What stands in the venue's books beside an order's identity: amounts, limits, prices, fees."""

from decimal import Decimal

from saga.directive import Directive
from saga.errors import InvalidInput
from saga.exact import times, total
from saga.testing.bench import Bench
from saga.testing.promises.promise import Promises

PROMISES = Promises()


@PROMISES.promise
async def an_odd_amount_arrives_whole_or_not_at_all(bench: Bench) -> None:
    """An amount arrives as it is, to its last digit, or is refused."""
    wire = await bench.connect()
    for amount in bench.harness.odd_amounts:
        try:
            directive = bench.harness.will_fill(0).for_amount(amount)
        except NotImplementedError:  # it cannot be divided
            return
        try:
            wire.check(directive)
        except InvalidInput as error:
            bench.tell(f"(check refuses {amount}: {error})")
            continue
        attempt = bench.attempt(directive)
        report = await bench.send(wire, attempt)
        orders = await bench.orders(attempt)
        filled = total(fill.quantity for fill in report.fills)
        if any(order.quantity != amount or order.filled < filled for order in orders):
            await bench.broken(
                f"{amount} were ordered; in the books the order is for "
                f"{', '.join(str(order.quantity) for order in orders)}",
                "The amount went through `int`, `float` or a rounding of its own. Write the "
                "Decimal out whole (`saga.exact.plain`), and let `check` refuse what the venue "
                "does not take.",
                orders,
            )


@PROMISES.promise
async def a_limit_stays_what_it_is(bench: Bench) -> None:
    """A limit price stands in the venue's books as it was given."""
    wire = await bench.connect()
    given = (bench.harness.will_fill(0), bench.harness.will_rest(), bench.harness.will_part_fill())
    for directive in given:
        if directive is None:
            continue
        attempt = bench.attempt(directive)
        await bench.send(wire, attempt)
        limit = _limit_of(directive)
        orders = await bench.orders(attempt)
        if any(order.limit_price not in (None, limit) for order in orders):
            await bench.broken(
                f"{directive.describe()} has the limit price {limit}; in the books it is "
                f"{', '.join(str(order.limit_price) for order in orders)}",
                "The price is in another unit at the venue (cents, ticks), or was rounded. If it "
                "is right, look at `limit_price` in `Harness.books`.",
                orders,
            )
        if wire.capabilities.cancel:
            await bench.withdraw(wire, attempt)


def _limit_of(directive: Directive) -> Decimal | None:
    limit: object = getattr(directive, "limit_price", None)
    return limit if isinstance(limit, Decimal) else None


@PROMISES.promise
async def prices_and_fees_are_told_as_they_are(bench: Bench) -> None:
    """What a fill came to, and its fees, are told as they are in the venue's books."""
    wire = await bench.connect()
    attempt = bench.will_fill()
    sent = await bench.send(wire, attempt)
    report = sent if sent.final else await bench.until_final(wire, attempt)
    value = total(times(fill.quantity, fill.price) for fill in report.fills)
    fees = total(fill.fee for fill in report.fills)
    for order in await bench.orders(attempt):
        for name, told, booked in (("value", value, order.value), ("fees", fees, order.fees)):
            if booked is not None and told != booked:
                await bench.broken(
                    f"by the report the {name} of the fills is {told}, and {booked} in the books",
                    "`price` is per unit and in the account's currency, not in cents and not the "
                    "total; `fee` is positive where it is paid. If they are right, look at "
                    f"`{name}` in `Harness.books`.",
                    (order,),
                )
