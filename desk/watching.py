"""Live progress of one batch, on stderr: a bar on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from desk.blocking import blocker_of, progress_words, waiting_words
from desk.output import Screen
from saga.history import History
from saga.machine import SAGA_AT_REST
from saga.views import BatchRow

LOOK_SECONDS: Final = 0.1
"""How often a batch is looked at while somebody waits for it."""
LINE_SECONDS: Final = 1.0
"""Off a terminal, progress within one state is told at most so often."""
_NARROW: Final = 90


async def _never() -> bool:
    return False


async def watch(
    look: Callable[[], Awaitable[BatchRow]],
    screen: Screen,
    history: History,
    *,
    gives_up: Callable[[], Awaitable[bool]] = _never,
) -> BatchRow:
    """Show a batch's progress until it comes to rest, and return its last row.

    Args:
        look: gives the batch's row as it is now.
        screen: where it is shown.
        history: of its store; it tells what the batch waits behind.
        gives_up: asked each time whether to return although the batch is not at rest.
    """
    with _progress(screen) as show:
        while True:
            row = await look()
            show(row, waiting_words(row, await blocker_of(history, row)))
            if row.state in SAGA_AT_REST or await gives_up():
                return row
            await anyio.sleep(LOOK_SECONDS)


Show = Callable[[BatchRow, str | None], None]
"""Shows a batch, and what it waits for."""


@contextmanager
def _progress(screen: Screen) -> Iterator[Show]:
    if not screen.errors.is_terminal:
        yield _Lines(screen).show
        return
    narrow = screen.errors.width < _NARROW
    with _BarAndWords(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10 if narrow else 30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        console=screen.errors,
        transient=True,
    ) as progress:
        yield _Bar(progress).show


class _BarAndWords(Progress):
    """A bar, and below it what the batch waits for, on as many lines as that takes."""

    waits: str | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar and the words."""
        yield from super().get_renderables()
        if self.waits:
            yield Text(f"  {self.waits}")


class _Bar:
    def __init__(self, progress: _BarAndWords) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def show(self, row: BatchRow, waits: str | None) -> None:
        undoing = row.state == "COMPENSATING"
        words = f"{row.state}{' (paused)' if row.paused else ''}"
        if self._task is None:
            self._task = self._progress.add_task(words, total=row.total_trades)
        self._progress.waits = waits
        self._progress.update(
            self._task,
            description=words + (f", {row.undone_trades} undone" if undoing else ""),
            completed=row.processed_trades,
        )


class _Lines:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last_state: tuple[str, bool] | None = None
        self._told: tuple[str, str | None] | None = None
        self._at = 0.0

    def show(self, row: BatchRow, waits: str | None) -> None:
        words = progress_words(row)
        state = (row.state, row.paused)
        is_due = time.monotonic() - self._at >= LINE_SECONDS
        told = (words, waits)
        if state == self._last_state and (told == self._told or not is_due):
            return
        self._last_state, self._told, self._at = state, told, time.monotonic()
        self._screen.say(f"{row.batch_id} {words}{f'; {waits}' if waits else ''}")
