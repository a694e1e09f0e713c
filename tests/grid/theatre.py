"""Plays one cell: processes that live one after the other, on virtual time, until all is at rest.

The engine, its store and its files are the real ones, the venue is the paper exchange with its
books on disk. What comes out is evidence: the journal, the views, the venue's own books, and what
the client was told. Nothing is judged here.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio

from brokers.paper import Books, PaperExchange
from brokers.paper.running import Inline
from saga import orchestrator
from saga.errors import NotAllowed, SagaError
from saga.limits import Limits
from saga.orchestrator import Orchestrator
from saga.store.bridge import InlineBridge
from saga.store.protocol import JournalRecord
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow, TradeRow
from tests.grid.cells import Cell
from tests.grid.plan import (
    BATCH_ID,
    BUST_AT,
    CASH,
    DAY,
    OPERATOR_AT,
    SETTINGS,
    batch_of,
    external_orders,
    operator_cancels,
    script_of,
)
from tests.grid.points import (
    STORE,
    Inside,
    MortalExchange,
    MortalStore,
    NewTables,
    Reaper,
    Rule,
    strikes_at,
)
from tests.simulation.clock import VirtualClock
from tests.simulation.loop import VirtualLoop, virtual_loop

MAX_LIVES: Final = 6
"""No cell needs more processes than this."""
LONGEST_SECONDS: Final = 8_000.0
"""No saga may take longer than this in virtual time (L1): the longest asks 120 times in vain."""
LIMITS: Final = Limits(max_crashes_per_minute=None, heartbeat_seconds=600.0)
"""It dies more often than a healthy engine may, and says seldom that it lives: nobody asks."""
DOWNTIME: Final = timedelta(seconds=5)
BOOKS: Final = "exchange.db"
DEATHS: Final = {21: 4, 23: 2, 25: 2}
"""How often a process dies in a cell; once, where nothing is said."""


@dataclass
class Evidence:
    """What is left when a cell has been played.

    Attributes:
        told: what each process told its client of the batch, where it came to that.
        deaths: how often a process was struck.
        calls: how many calls reached the venue.
        seconds: of virtual time until the batch was at rest.
    """

    cell: Cell
    journal: tuple[JournalRecord, ...] = ()
    row: BatchRow | None = None
    trades: tuple[TradeRow, ...] = ()
    books: Books | None = None
    submitted_again: str | None = None
    records_after: int = 0
    told: list[str] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    deaths: int = 0
    calls: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


class Theatre:
    """Plays cells in a folder, from templates of the store and of the venue's books.

    Args:
        folder: an empty one, on a fast file system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template"
        self._template.mkdir()
        with virtual_loop(None) as loop:
            loop.run_until_complete(self._make_template(VirtualClock(loop)))

    async def _make_template(self, clock: VirtualClock) -> None:
        exchange = PaperExchange.create(
            self._template / BOOKS,
            day=DAY,
            cash=CASH,
            settings=SETTINGS,
            clock=clock,
            runner=Inline(),
            durable=False,
        )
        for side, quantity, symbol in external_orders():
            await exchange.trade_by_hand(side, quantity, symbol)
        store = SqliteStore(self._template / STORE, clock=clock, bridge=InlineBridge)
        async with store:
            await store.acquire()
            await store.release()

    def play(self, cell: Cell, rules: Callable[[Cell, int], Rule] = strikes_at) -> Evidence:
        """Play a cell from its beginning to its end; a process dies where the rules say."""
        stage = self._folder / "stage"
        stage.mkdir()
        try:
            with virtual_loop(None) as loop, _quiet():
                return loop.run_until_complete(_Play(cell, stage, loop, rules).play(self._template))
        finally:
            shutil.rmtree(stage)


@contextmanager
def _quiet() -> Iterator[None]:
    """The dead complain in the log; nobody has to hear it, nor to look for a halt all the time."""
    before = logging.root.manager.disable
    seconds = orchestrator.HALT_WATCH_SECONDS
    logging.disable(logging.CRITICAL)
    setattr(orchestrator, "HALT_WATCH_SECONDS", 60.0)  # noqa: B010 - a constant of the program
    try:
        yield
    finally:
        setattr(orchestrator, "HALT_WATCH_SECONDS", seconds)  # noqa: B010
        logging.disable(before)


class _Play:
    def __init__(
        self, cell: Cell, stage: Path, loop: VirtualLoop, rules: Callable[[Cell, int], Rule]
    ) -> None:
        self.cell = cell
        self.rules = rules
        self.stage = stage
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.seen = Evidence(cell)
        self.acknowledged = False
        self.shadows: list[asyncio.Task[None]] = []

    async def play(self, template: Path) -> Evidence:
        folder = self.stage / "life-1"
        folder.mkdir()
        for name in (STORE, f"{STORE}.mark"):
            if (template / name).exists():
                shutil.copyfile(template / name, folder / name)
        shutil.copyfile(template / BOOKS, self.stage / BOOKS)
        books = PaperExchange(self.stage / BOOKS, clock=self.clock, runner=Inline(), durable=False)
        await books.script(*script_of(self.cell))
        for life in range(1, MAX_LIVES + 1):
            folder, rests = await self._live(folder, life)
            if rests:
                break
            await anyio.sleep(DOWNTIME.total_seconds())
        else:
            self.seen.failures.append(f"the batch is not at rest after {MAX_LIVES} processes")
        for shadow in self.shadows:
            shadow.cancel()
        await asyncio.gather(*self.shadows, return_exceptions=True)
        await books.account()  # what is due at the venue happens when it is called
        self.seen.books = await books.books()
        return self.seen

    async def _live(self, folder: Path, life: int) -> tuple[Path, bool]:
        """Let one process live; return where the next one looks, and whether all is at rest."""
        host: asyncio.Task[None]
        next_folder = self.stage / f"life-{life + 1}"
        reaper = Reaper(self.cell, folder, next_folder, life, lambda: host.cancel(), self.rules)
        host = self.loop.create_task(self._process(folder, reaper))
        death = self.loop.create_task(reaper.died.wait())
        await asyncio.wait([host, death], return_when=asyncio.FIRST_COMPLETED)
        self.seen.deaths += reaper.struck
        if reaper.is_dead:
            host.cancel()
            self.shadows.append(host)
            return next_folder, False
        death.cancel()
        if host.cancelled():
            return folder, False
        error = host.exception()
        if error is not None:
            first: BaseException = error
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self.seen.failures.append(f"process {life} ended with {first!r}")
        return folder, error is None and self.seen.row is not None

    async def _process(self, folder: Path, reaper: Reaper) -> None:
        projections = [Inside(reaper)]
        newer = [NewTables(reaper)] if self.cell.crash == 23 and reaper.life > 1 else []
        store = MortalStore(
            folder / STORE,
            clock=self.clock,
            bridge=InlineBridge,
            projections=[*projections, *newer],
        )
        store.reaper = reaper
        exchange = MortalExchange(
            self.stage / BOOKS, clock=self.clock, runner=Inline(), durable=False
        )
        exchange.reaper = reaper
        engine = Orchestrator(store, [exchange], clock=self.clock, limits=LIMITS)
        try:
            async with engine:
                mark = folder / f"{STORE}.mark"
                if mark.exists():
                    shutil.copyfile(mark, self.stage / f"synced-{reaper.life}")
                await self._host(engine, reaper)
        finally:
            self.seen.calls += exchange.calls

    async def _host(self, engine: Orchestrator, reaper: Reaper) -> None:
        batch = batch_of(self.cell)
        if not self.acknowledged:
            await engine.submit(batch)
            if not reaper.is_dead:
                self.acknowledged = True
            reaper.passing("acknowledged")
        row: BatchRow | None = None
        async with anyio.create_task_group() as tasks:
            if operator_cancels(self.cell):
                tasks.start_soon(self._operate, engine)
            if self.cell.crash == 24 and reaper.life == 1:
                tasks.start_soon(_leave, reaper, tasks)
            row = await engine.wait(BATCH_ID, timeout=LONGEST_SECONDS)
            tasks.cancel_scope.cancel()
        if row is None or reaper.is_dead:
            return
        self.seen.seconds = self.loop.time()
        self.seen.told.append(row.state)
        await anyio.sleep(1)
        if self.cell.behaviour == 11:
            await anyio.sleep(max(0.0, BUST_AT + 300 - self.loop.time()))
            await engine.look_again(BATCH_ID, by="alice")
        before = len(await engine.store.journal(BATCH_ID))
        self.seen.submitted_again = await engine.submit(batch)
        self.seen.journal = await engine.store.journal(BATCH_ID)
        self.seen.records_after = len(self.seen.journal) - before
        self.seen.trades = await engine.trades(BATCH_ID)
        self.seen.quarantined = await engine.store.quarantined()
        self.seen.row = await engine.batch(BATCH_ID)

    async def _operate(self, engine: Orchestrator) -> None:
        await anyio.sleep(max(0.0, OPERATOR_AT - self.loop.time()))
        while True:
            try:
                await engine.cancel(BATCH_ID, by="alice", reason="it has been open for too long")
            except NotAllowed:
                return
            except SagaError:
                await anyio.sleep(1)
            else:
                return


async def _leave(reaper: Reaper, tasks: anyio.abc.TaskGroup) -> None:
    await reaper.leave.wait()
    tasks.cancel_scope.cancel()
