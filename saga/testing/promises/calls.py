"""Calls that go wrong: answers that are lost inside the adapter, and calls that are cancelled."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from saga.calls import OVERDUE_SECONDS
from saga.outcome import Report
from saga.participant import Attempt
from saga.testing.bench import Bench
from saga.testing.fate import MAX_WAITS, Stepped
from saga.testing.harness import Trouble
from saga.testing.mortal_store import of_attempt
from saga.testing.promises.promise import Promises
from saga.testing.wire import LOOK_UP, SEND, Disturbance, How, Wire

PROMISES = Promises()

_UNPROVEN = (
    "The adapter takes a timeout or a lost connection for a refusal. Whether the order was "
    "accepted is unknown: let the exception out, and the engine looks the attempt up by its key."
)
_RESENDS = (
    "The adapter (or its HTTP library) sends an order again by itself after a timeout, under the "
    "same key or a new one. It must not: let `send` raise, and the engine looks the attempt up by "
    "its key first. Switch retries off for everything that places orders."
)


@PROMISES.promise
async def a_lost_answer_is_unknown(bench: Bench) -> None:
    """An answer that was lost is unknown: never a refusal, never a second order."""
    wire = await bench.connect()
    attempt = bench.will_fill()
    await bench.send(wire, attempt)
    whose = of_attempt(attempt.step, attempt.purpose, attempt.number)
    waits = min(wire.waits.get((SEND, whose), 0), MAX_WAITS)
    for wait in range(waits, 0, -1):  # the last one first: it is the answer
        await _lose(bench, Disturbance(How.WAIT_FAILS, SEND, wait=wait))
    for how, trouble in (
        (How.VENUE_ANSWER_LOST, Trouble.ANSWER_LOST),
        (How.VENUE_REQUEST_LOST, Trouble.REQUEST_LOST),
    ):
        if await bench.harness.interfere(trouble):
            await _spend(bench, how)
            await _lose(bench, Disturbance(how, SEND))


async def _spend(bench: Bench, how: How) -> None:
    """Use up the trouble that was asked for only to learn whether there can be any."""
    bench.tell(f"(the harness is tried out: {how})")
    await _send_anyhow(await bench.connect(), bench.will_fill())


async def _send_anyhow(wire: Wire, attempt: Attempt) -> Report | None:
    try:
        return await wire.send(attempt)
    except Exception:  # unknown, which is what it ought to be
        return None


async def _lose(bench: Bench, disturbance: Disturbance) -> None:
    attempt = bench.will_fill()
    wire = await bench.connect(disturbance)
    report = await _send_anyhow(wire, attempt)
    await bench.become_visible()
    await _no_strangers(bench)
    orders = await bench.orders(attempt)
    if len(orders) > 1:
        await bench.broken(
            f"one answer was lost, and {attempt.key} stands {len(orders)} times in the books",
            _RESENDS,
            orders,
        )
    if report is not None and report.final and not report.fills and orders:
        await bench.broken(
            f"an answer was lost, and send told it as a refusal ({report.reason!r}); the venue has "
            "the order",
            _UNPROVEN,
            orders,
        )
    if wire.capabilities.look_up:
        bench.tell("a new process connects")
        found = await bench.look_up(await bench.connect(), attempt)
        if (found is None or (found.final and not found.fills)) and orders:
            await bench.broken(
                f"{attempt.key} is at the venue, and look_up says "
                f"{'that it is not' if found is None else 'that it had no effect'}",
                "Ask the venue for the one order by its client order id; do not answer from what "
                "this process remembers of its own sends.",
                orders,
            )


async def _no_strangers(bench: Bench) -> None:
    strangers = [order for order in await bench.books() if order.key not in bench.keys]
    if strangers:
        first = strangers[0]
        await bench.broken(
            f"one answer was lost, and the venue has an order {first.order_id} under the key "
            f"{first.key or '(none)'}, which nobody gave it: the order was sent again under a new "
            "id, and what was one order is now two",
            _RESENDS,
            strangers,
        )


@PROMISES.promise
async def a_look_up_without_an_answer_raises(bench: Bench) -> None:
    """A look-up that gets no answer raises: it does not say that nothing was found."""
    wire = await bench.connect()
    if not wire.capabilities.look_up:
        return
    attempt = bench.will_fill()
    await bench.send(wire, attempt)
    await bench.become_visible()
    await bench.look_up(wire, attempt)
    whose = of_attempt(attempt.step, attempt.purpose, attempt.number)
    for wait in range(min(wire.waits.get((LOOK_UP, whose), 0), MAX_WAITS), 0, -1):
        asked = await bench.connect(Disturbance(How.WAIT_FAILS, LOOK_UP, wait=wait))
        try:
            found = await asked.look_up(attempt)
        except Exception as error:
            bench.tell(f"(which is no answer, as it ought to be: {type(error).__name__})")
            continue
        if found is None or (found.final and not found.fills):
            await bench.broken(
                f"{attempt.key} is at the venue, the answer to its look-up was lost, and look_up "
                f"says {'that it is not there' if found is None else 'that it had no effect'}",
                "`except Exception: return None` around the request. None says that the venue was "
                "asked and knows no such order, and the engine may then send it again. Let every "
                "timeout, lost connection and 5xx out.",
                await bench.orders(attempt),
            )


@PROMISES.promise
async def every_call_can_be_cancelled(bench: Bench) -> None:
    """Every call lets itself be cancelled, wherever it waits."""
    calls: tuple[tuple[str, Callable[[Wire, Attempt], Awaitable[object]]], ...] = (
        ("send", lambda wire, attempt: wire.adapter.send(attempt)),
        ("look_up", lambda wire, attempt: wire.adapter.look_up(attempt)),
        ("withdraw", lambda wire, attempt: wire.adapter.withdraw(attempt)),
    )
    for name, call in calls:
        for wait in range(1, MAX_WAITS + 1):
            attempt = bench.will_fill()
            wire = await bench.connect()
            if name != "send":
                await bench.send(wire, attempt)
            if not await _cancelled_at(bench, name, partial(call, wire, attempt), wait):
                break
            await _no_strangers(bench)
            await bench.send(await bench.connect(), bench.will_fill())


async def _cancelled_at(
    bench: Bench, name: str, begin: Callable[[], Awaitable[object]], wait: int
) -> bool:
    """Cancel a call at one of its waits; tell whether it came to that wait at all."""
    reached = asyncio.Event()

    def at_wait(number: int) -> bool:
        if number == wait:
            reached.set()
        return False

    async def call() -> None:
        await Stepped(begin(), at_wait=at_wait)

    task = asyncio.create_task(call())
    arrival = asyncio.create_task(reached.wait())
    await asyncio.wait((task, arrival), return_when=asyncio.FIRST_COMPLETED)
    arrival.cancel()
    if not reached.is_set():
        await asyncio.wait((task,))
        task.exception()
        return False
    bench.tell(f"{name} is cancelled at its wait {wait}")
    task.cancel()
    with anyio.move_on_after(OVERDUE_SECONDS):
        while not task.done():
            await asyncio.wait((task,))
    if not task.done():
        await bench.broken(
            f"{name} goes on {OVERDUE_SECONDS} s after it was cancelled at its wait {wait}",
            "`except BaseException` or `except CancelledError` around a retry loop, or a blocking "
            "library called on a thread that is waited for. Let CancelledError out, and call "
            "blocking code with `anyio.to_thread.run_sync(..., abandon_on_cancel=True)`.",
        )
    if not task.cancelled():
        task.exception()
    return True
