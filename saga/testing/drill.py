"""One cell of the crash matrix: the real engine runs a batch, dies, is started again, and rests.

Each life is a new engine over the same file, with a new connection of the adapter to the same
venue. Nothing but the file and the venue outlives a death.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from saga.clock import Clock
from saga.errors import Quarantined
from saga.fold import saga_of
from saga.ids import generate_batch_id
from saga.ledger import Saga
from saga.limits import Limits
from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.testing.chronicle import Chronicle
from saga.testing.fate import Fate
from saga.testing.harness import Harness, VenueOrder
from saga.testing.mortal_store import MortalStore
from saga.testing.plots import Plot
from saga.testing.wire import Disturbance, Wire

_LIMITS: Final = Limits(grace_seconds=0.0)
"""The dead are not waited for."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Which batch, what goes wrong on the wire, and when the process dies.

    Attributes:
        deaths: the moments at which the first, the second, ... process dies; the next one lives.
    """

    plot: Plot
    disturbance: Disturbance | None = None
    deaths: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return it as a clause."""
        parts = [f"a batch {self.plot.name!r}"]
        if self.disturbance is not None:
            parts.append(self.disturbance.describe())
        parts.extend(f"the process dies {moment}" for moment in self.deaths)
        return "; ".join(parts)


@dataclass(slots=True)
class Course:
    """What became of a cell.

    Attributes:
        moments: those of the first life, in order.
        moments_of_the_last_life: those of the life that came to rest.
        called: which calls the adapter got, by call and attempt, in order.
        waits: how often each of them waited at most.
        died: how many of the chosen deaths were met.
        saga: what the journal tells in the end; None if nothing was ever durable.
        unrest: why the saga did not come to rest; None if it did.
        books: what the venue accepted since the cell began.
    """

    cell: Cell
    adapter: str
    chronicle: Chronicle
    batch: Batch
    moments: list[str] = field(default_factory=list)
    moments_of_the_last_life: list[str] = field(default_factory=list)
    called: list[tuple[str, str]] = field(default_factory=list)
    waits: dict[tuple[str, str], int] = field(default_factory=dict)
    died: int = 0
    saga: Saga | None = None
    unrest: str | None = None
    books: tuple[VenueOrder, ...] = ()

    def believed(self) -> list[str]:
        """Return what the engine believes in the end, as lines."""
        if self.saga is None:
            return ["nothing: no record was ever durable"]
        return [
            f"the saga is {self.saga.state}{f': {self.saga.reason}' if self.saga.reason else ''}",
            *(
                f"step {step.position} ({step.directive.describe()}) is {step.state}: "
                f"{step.done} took effect, {step.undone} undone"
                for step in self.saga.steps
            ),
            *(
                f"{left.subject}: between {left.low} and {left.high} may be left"
                for left in self.saga.residual
            ),
        ]


class Drill:
    """Runs one cell.

    Args:
        harness: of the adapter under test, fresh for this cell.
        folder: empty; the engine's store is made there.
        clock: the loop's.
        patience_seconds: how long a saga may take to come to rest.
    """

    def __init__(
        self, harness: Harness, folder: Path, clock: Clock, *, patience_seconds: float
    ) -> None:
        self._harness = harness
        self._store_path = folder / "saga.db"
        self._clock = clock
        self._patience = patience_seconds

    async def run(self, cell: Cell) -> Course:
        """Run the cell to its end."""
        before = {order.order_id for order in await self._harness.books()}
        chronicle = Chronicle(self._clock)
        batch = cell.plot.batch(self._harness).model_copy(
            update={"batch_id": generate_batch_id(self._clock.now())}
        )
        course = Course(cell, "the adapter", chronicle, batch)
        async with anyio.create_task_group() as later:
            for number, dies_at in enumerate((*cell.deaths, None)):
                if number:
                    chronicle.tell("a new process takes the store up")
                if not await self._live(course, dies_at, later):
                    break
                course.died += 1
        course.books = tuple(o for o in await self._harness.books() if o.order_id not in before)
        return course

    async def _live(self, course: Course, dies_at: str | None, later: TaskGroup) -> bool:
        """Live one life; tell whether it ended in death."""
        fate = Fate(dies_at, course.chronicle.tell)
        adapter = await self._harness.connect()
        course.adapter = repr(adapter.name)
        wire = Wire(
            adapter,
            self._harness,
            fate,
            course.chronicle,
            disturbance=None if course.died else course.cell.disturbance,
            later=later,
        )
        store = MortalStore(self._store_path, self._clock, fate)
        engine = Orchestrator(store, [wire], clock=self._clock, limits=_LIMITS)
        with fate.scope:
            await self._run_engine(engine, course, fate)
        await self._harness.disconnect(adapter)
        if not course.died:
            course.moments = fate.moments
        course.moments_of_the_last_life = fate.moments
        course.called.extend(call for call in wire.called if call not in course.called)
        for call, count in wire.waits.items():
            course.waits[call] = max(count, course.waits.get(call, 0))
        return fate.dead

    async def _run_engine(self, engine: Orchestrator, course: Course, fate: Fate) -> None:
        try:
            async with engine:
                await self._until_rest(engine, course)
        except Exception as error:
            if not fate.dead:  # whatever a dying engine raises is nobody's business
                raise
            course.chronicle.tell(f"(it died with {type(error).__name__})")

    async def _until_rest(self, engine: Orchestrator, course: Course) -> None:
        await engine.submit(course.batch, by="the kit")  # twice gives the same saga
        batch_id = course.batch.batch_id
        course.unrest = None
        try:
            await engine.wait(batch_id, timeout=self._patience)
        except TimeoutError:
            course.unrest = f"it did not come to rest within {self._patience} s"
        except Quarantined as error:
            course.unrest = f"it was set aside: {error}"
        records = await engine.store.journal(batch_id)
        course.saga = saga_of(records)
        row = course.unrest or f"the saga rests as {course.saga.state}"
        course.chronicle.tell(row)
        if not course.unrest:
            await self._let_the_venue_settle(course.saga)

    async def _let_the_venue_settle(self, saga: Saga) -> None:
        """Give what the venue takes time to show the time that the adapter declares for it."""
        windows = [each.visibility_seconds for each in saga.submitted.capabilities.values()]
        await anyio.sleep(max(windows, default=0.0))
