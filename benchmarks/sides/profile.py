"""Where the processor's time of a step goes: a look every so often at what the program does."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.sides.engine import Instant, at_once, batch_of
from saga import Orchestrator, SqliteStore
from saga.store.bridge import InlineBridge

ROOT: Final = f"{Path(__file__).parents[2]}/"
SAMPLE_SECONDS: Final = 0.001
"""Of processor time from one look to the next, if the system's clock ticks as often."""

LOOP: Final = "the event loop: tasks, timers, scopes"
OF_OURS: Final[Mapping[str, str]] = {
    "saga/store/": "the store: rows, SQL, digests, marks",
    "saga/fold.py": "folding events, deciding",
    "saga/core.py": "folding events, deciding",
    "saga/machine.py": "folding events, deciding",
    "saga/ledger.py": "folding events, deciding",
    "saga/appending.py": "views, and events as JSON",
    "saga/views.py": "views, and events as JSON",
    "saga/codec.py": "views, and events as JSON",
    "saga/events.py": "views, and events as JSON",
    "saga/calls.py": "the call of the participant, its answer",
    "saga/under_way.py": "the call of the participant, its answer",
    "saga/trading.py": "the call of the participant, its answer",
    "saga/intake.py": "the submission: validation, reading back",
    "saga/model.py": "the submission: validation, reading back",
    "saga/directive.py": "the submission: validation, reading back",
    "saga/many_alike.py": "the submission: validation, reading back",
    "brokers/": "the submission: validation, reading back",
    "benchmarks/": "the call of the participant, its answer",
    "saga/": "the runner, and those around it",
}
"""The part of a step that a file, or a folder of files, of the project serves; the first that fits.

What other libraries do, and what Python makes of a dataclass, is its caller's. Of the benchmark
itself only the participant does anything: the batches are made beforehand.
"""
OF_ITS_CALLER: Final = ("saga/exact.py", "saga/amounts.py", "saga/quick_dataclass.py")
"""What every part is made with."""
OF_THE_LOOP: Final = ("/asyncio/", "/anyio/", "/selectors.py")
PARTS: Final = tuple(dict.fromkeys((*OF_OURS.values(), LOOP)))


def shares(folder: Path, *, concurrent: int, sagas: int, legs: int) -> dict[str, Any]:
    """Tell how the processor's time of a step is shared out among its parts.

    The database works on the loop's own thread here, so that one look sees everything.

    Returns:
        microseconds: of processor time a step.
        shares: of each part, from 0 to 1.
    """
    return asyncio.run(_shares(folder / "saga.db", concurrent, sagas, legs))


async def _shares(path: Path, concurrent: int, sagas: int, legs: int) -> dict[str, Any]:
    seen: Counter[str] = Counter()
    batches = [batch_of(legs) for _ in range(concurrent + sagas)]

    def look(_: int, frame: FrameType | None) -> None:
        seen[part_of(frame)] += 1

    async with Orchestrator(SqliteStore(path, bridge=InlineBridge), [Instant()]) as engine:

        async def one() -> None:
            await engine.run(batches.pop())

        await at_once(concurrent, concurrent, one)  # what is made once is made by now
        before = signal.signal(signal.SIGPROF, look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
        begun = time.process_time()
        try:
            await at_once(sagas, concurrent, one)
        finally:
            seconds = time.process_time() - begun
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
    return {
        "microseconds": seconds / (sagas * legs) * 1e6,
        "shares": {part: seen[part] / max(1, seen.total()) for part in PARTS},
    }


def part_of(frame: FrameType | None) -> str:
    """Return the part of a step that a frame serves."""
    while frame is not None:
        part = _part_of_file(frame.f_code.co_filename)
        if part is not None:
            return part
        frame = frame.f_back
    return LOOP


def _part_of_file(file: str) -> str | None:
    """Return None for what is its caller's."""
    if any(place in file for place in OF_THE_LOOP):
        return LOOP
    name = file.removeprefix(ROOT)
    if name.startswith(OF_ITS_CALLER):
        return None
    return next((part for place, part in OF_OURS.items() if name.startswith(place)), None)
