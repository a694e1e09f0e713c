"""Scene 3: a process that gets out of positions is killed in the middle; another one finishes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final

import anyio

import desk
from brokers.paper import PaperExchange
from brokers.venue import OrderStatus
from desk.demo.follow import books_agree, follow, report_of, show_standing
from desk.demo.progress import interval
from desk.demo.report import Checks, SceneReport
from desk.demo.screen import Show, Watch
from desk.demo.stage import Spoilt, Stage, open_house
from desk.exposure import in_place
from desk.home import Home
from saga.history import History
from saga.ids import batch_of_key
from saga.ledger import Saga
from saga.machine import SagaState

POSITIONS: Final = 12
"""So many of the 20 are closed."""
KILL_AFTER: Final = (3, 6)
"""The kill comes when so many orders are at the exchange, at least and at most."""
_LOOK_SECONDS: Final = 0.005
_START_SECONDS: Final = 30.0
"""The process must have sent its orders by then."""
_PACKAGES: Final = Path(desk.__file__).parents[1]
_MAX_COMPLAINT: Final = 2_000


async def play(stage: Stage, show: Show) -> SceneReport:
    """Kill it, and finish it."""
    symbols = sorted(stage.chance.sample(stage.market.stocks, POSITIONS))
    count = stage.chance.randint(*KILL_AFTER)
    show.heading(
        3,
        "Emergency exit, killed",
        f"PAPER. A process of its own sells {POSITIONS} positions as one ATOMIC batch. After "
        f"{count} orders it is killed with SIGKILL: it can tidy up nothing. The exchange would "
        "take an order twice if it were sent twice.",
    )
    checks = Checks()
    exchange = PaperExchange(stage.home.exchange)
    before = len((await exchange.books()).orders)
    with show.watching() as watch:
        async with History(stage.home.store) as history:
            seen = await _last_sequence(history)
            with _process(stage.home, symbols) as process:
                seen = await _watched(history, exchange, process, watch, seen, before + count)
                process.kill()
                process.wait()
        # Opened anew: what it wrote last is in the file, but it did not live to announce it to
        # those who had the file open.
        async with History(stage.home.store) as history:
            await _told(history, watch, seen)
    if process.returncode != -signal.SIGKILL:
        raise Spoilt(_why_it_ended(stage.home, process))
    saga = watch.progress.saga
    batch_id, told = saga.batch_id, saga.number
    _show_what_is_known(saga, process.pid, show)
    sent = len((await exchange.books()).orders) - before
    checks.that(
        count <= sent < POSITIONS and saga.state is SagaState.RUNNING,
        f"SIGKILL came in the middle, when {sent} of {POSITIONS} orders were at the exchange",
    )
    show.line()
    show.line(
        f"Process {os.getpid()} opens the same store. It finds an unfinished batch, and asks the "
        "exchange about every order whose fate is open before it sends another."
    )
    show.line()
    async with open_house(stage.home) as house:
        saga = await follow(house, show, batch_id, told=told)
        books = await house.exchange.books()
        keys = [o.client_order_id for o in books.orders if _is_of(o.client_order_id, batch_id)]
        sold = [
            order.symbol
            for order in books.orders
            if _is_of(order.client_order_id, batch_id) and order.status is OrderStatus.FILLED
        ]
        held = await house.main.holdings()
        checks.that(saga.state is SagaState.COMPLETED, "the batch is COMPLETED")
        checks.that(len(keys) == len(set(keys)), "no order is in the exchange's books twice")
        checks.that(
            sorted(sold) == symbols, f"each of the {POSITIONS} positions was sold, and sold once"
        )
        checks.that(not held.keys() & set(symbols), "none of them is held any more")
        checks.that(await books_agree(house), "holdings and cash are what the exchange's books say")
        stage.played[batch_id] = "3"
        await show_standing(house, show)
        return await report_of(house, "exit_killed", batch_id, checks, show)


def _is_of(key: str | None, batch_id: str) -> bool:
    return batch_of_key(key or "") == batch_id


@contextmanager
def _process(home: Home, symbols: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process that sells; whatever happens here, it does not outlive this."""
    with _log_of(home) as log:
        process = subprocess.Popen(  # noqa: S603 - this program's own module
            [sys.executable, "-m", "desk.demo.worker", str(home.folder), *symbols],
            cwd=_PACKAGES,  # not where we are, in which there may be another `desk`
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; we end it ourselves, by its own pid.
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if home.log.stat().st_size == 0:
            home.log.unlink()


@contextmanager
def _log_of(home: Home) -> Iterator[IO[bytes]]:
    """Open the desk's log, for its user alone."""
    with open(home.log, "ab", opener=partial(os.open, mode=0o600)) as log:
        yield log


async def _last_sequence(history: History) -> int:
    seen = 0
    while page := await history.records(after=seen):
        seen = page[-1].sequence
    return seen


async def _watched(
    history: History,
    exchange: PaperExchange,
    process: subprocess.Popen[bytes],
    watch: Watch,
    seen: int,
    orders: int,
) -> int:
    """Watch the process from outside until so many orders are in the exchange's books.

    Returns:
        The sequence number of the last record that was seen.

    Raises:
        TimeoutError: they never came.
    """
    with anyio.fail_after(_START_SECONDS):
        while process.poll() is None:
            arrived = len((await exchange.books()).orders)
            if arrived >= orders:
                break
            if arrived < orders - 1:
                seen = await _told(history, watch, seen)
                await anyio.sleep(_LOOK_SECONDS)
            # The last order is waited for without a pause: the nearer to its arrival the kill
            # comes, the less its process has written down of it.
    return seen


async def _told(history: History, watch: Watch, seen: int) -> int:
    """Take in what the journal says behind a record; nobody else writes into it meanwhile."""
    for record in await history.records(after=seen):
        watch.take(record)
        seen = record.sequence
    return seen


def _why_it_ended(home: Home, process: subprocess.Popen[bytes]) -> str:
    text = home.log.read_bytes() if home.log.exists() else b""
    complaint = text[-_MAX_COMPLAINT:].decode(errors="replace").strip()
    last = complaint.splitlines()[-1] if complaint else "it said nothing"
    return (
        f"the process that was to be killed ended by itself with status {process.returncode} "
        f"({last}); play it again"
    )


def _show_what_is_known(saga: Saga, pid: int, show: Show) -> None:
    show.event("error", f"Process {pid} is dead. At this moment the store knows:")
    places = in_place(saga)
    known = sum(each.is_known for each in places)
    show.fact("known", f"{known} of {len(saga.steps)} positions are sold")
    guess = [interval(each) for each in places if not each.is_known]
    show.fact("a guess", "; ".join(guess) or "nothing: no order was in the air")
