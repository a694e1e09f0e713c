"""The crash matrix: every batch of the plots, dead at every moment, under every disturbance.

What the cells are is found out by rehearsal: a run in which nothing dies lists the moments, the
calls and how often each waits. Each cell then gets a venue and a store of its own.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from saga.clock import Clock
from saga.testing.chronicle import Breach, story
from saga.testing.drill import Cell, Course, Drill
from saga.testing.fate import MAX_WAITS
from saga.testing.harness import BrokenPromise, Harness, HarnessIncomplete, Trouble
from saga.testing.judgement import judge
from saga.testing.plots import Plot
from saga.testing.wire import LOOK_UP, SEND, WITHDRAW, Disturbance, How

MAX_CELLS: Final = 500
"""One test has at most so many cells; an adapter that waits without end would have more."""

_OUTSIDE: Final = (How.REQUEST_LOST, How.ANSWER_LOST, How.LATE, How.DOUBLED)
_AT_THE_VENUE: Final = (
    (How.VENUE_REQUEST_LOST, Trouble.REQUEST_LOST),
    (How.VENUE_ANSWER_LOST, Trouble.ANSWER_LOST),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How much was run, for people who want to see that something was.

    Attributes:
        cells: runs, rehearsals included.
        deaths: processes that died.
    """

    cells: int = 0
    deaths: int = 0


class CrashMatrix:
    """Runs cells, and raises the story of the first that breaks a promise.

    Args:
        harness: makes the harness of one cell, in a folder of its own.
        folder: where cells get their folders.
        clock: the loop's.
        patience_seconds: how long one saga may take to come to rest.
    """

    def __init__(
        self,
        harness: Callable[[Path, Clock], Harness],
        folder: Path,
        clock: Clock,
        *,
        patience_seconds: float,
    ) -> None:
        self._harness = harness
        self._folder = folder
        self._clock = clock
        self._patience = patience_seconds
        self.tally = Tally()
        self._folders = 0

    async def kill_everywhere(self, plot: Plot, disturbance: Disturbance | None = None) -> None:
        """Die at every moment that the rehearsal of the plot has, once each.

        Raises:
            BrokenPromise: with the story of the first cell in which one broke.
        """
        rehearsal = await self.run(Cell(plot, disturbance))
        for moment in _apart(rehearsal.moments):
            await self.run(Cell(plot, disturbance, (moment,)))

    async def kill_in_recovery(self, plot: Plot) -> None:
        """Die after the first send or the last, and again at every moment of what follows.

        Raises:
            BrokenPromise: as above.
        """
        rehearsal = await self.run(Cell(plot))
        sends = [moment for moment in rehearsal.moments if f"after the {SEND}" in moment]
        for first in dict.fromkeys((sends[0], sends[-1])):
            again = await self._moments_after(plot, first)
            for second in _apart(again):
                await self.run(Cell(plot, None, (first, second)))

    async def _moments_after(self, plot: Plot, death: str) -> list[str]:
        course = await self.run(Cell(plot, None, (death, "never")))
        return course.moments_of_the_last_life

    async def disturb_everywhere(self, plot: Plot) -> None:
        """Lose, hold back and double each call and each answer of the plot, once each.

        Raises:
            BrokenPromise: as above.
        """
        rehearsal = await self.run(Cell(plot))
        for disturbance in self._disturbances(rehearsal):
            await self.run(Cell(plot, disturbance))
        for how, trouble in _AT_THE_VENUE:
            if await self._can(trouble):
                for _, attempt in self._calls(rehearsal, SEND):
                    await self.run(Cell(plot, Disturbance(how, SEND, attempt)))

    def _disturbances(self, rehearsal: Course) -> Iterator[Disturbance]:
        for call, attempt in self._calls(rehearsal, SEND, LOOK_UP, WITHDRAW):
            for how in _OUTSIDE:
                if how is not How.LATE or call == SEND:
                    yield Disturbance(how, call, attempt)
            waits = min(rehearsal.waits.get((call, attempt), 0), MAX_WAITS)
            for wait in range(waits, 0, -1):  # the last one first: it loses the answer
                yield Disturbance(How.WAIT_FAILS, call, attempt, wait)
        for call, attempt in self._calls(rehearsal, SEND):
            yield Disturbance(How.OUTAGE, call, attempt)

    def _calls(self, rehearsal: Course, *calls: str) -> list[tuple[str, str]]:
        return [each for each in rehearsal.called if each[0] in calls]

    async def _can(self, trouble: Trouble) -> bool:
        async with self._cell_of_its_own() as (harness, _):
            return await harness.interfere(trouble)

    async def run(self, cell: Cell) -> Course:
        """Run one cell and judge it.

        Raises:
            BrokenPromise: with its story.
        """
        if self.tally.cells >= MAX_CELLS:
            raise HarnessIncomplete(
                f"the plot {cell.plot.name!r} has more than {MAX_CELLS} cells, because the adapter "
                "waits so often in one call; test it over a client that waits less often, or run "
                "`CrashMatrix` on cells of your own choice"
            )
        async with self._cell_of_its_own() as (harness, folder):
            drill = Drill(harness, folder, self._clock, patience_seconds=self._patience)
            course = await drill.run(cell)
        self.tally = Tally(self.tally.cells + 1, self.tally.deaths + course.died)
        breaches = judge(course)
        if breaches:
            raise BrokenPromise(self._story(course, breaches))
        return course

    def _story(self, course: Course, breaches: list[Breach]) -> str:
        return story(
            course.adapter,
            breaches,
            setting=f"{course.cell.describe()} (cell {self.tally.cells} of this test)",
            chronicle=course.chronicle,
            books=course.books,
            journal=course.believed(),
        )

    @asynccontextmanager
    async def _cell_of_its_own(self) -> AsyncIterator[tuple[Harness, Path]]:
        self._folders += 1
        folder = self._folder / f"cell-{self._folders:03}"
        folder.mkdir()
        harness = self._harness(folder, self._clock)
        try:
            yield harness, folder
        finally:
            await harness.close()


def _apart(moments: Sequence[str]) -> list[str]:
    """Return the moments, but of two between which nothing happens only the second."""
    followed_by = zip(moments, (*moments[1:], ""), strict=True)
    return [
        moment
        for moment, following in followed_by
        if not (moment.startswith("after ") and following.startswith("before "))
    ]
