"""Runs one seed from beginning to end, and returns what came of it."""

import asyncio
import gc
import hashlib
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.simulation import file, judges, policy_judges
from tests.simulation.disk import Disk
from tests.simulation.evidence import Evidence, Violation
from tests.simulation.file import AT_REST, Story
from tests.simulation.loop import GoesRoundForEver, SleepsForEver, VirtualLoop, virtual_loop
from tests.simulation.plan import Plan, draw
from tests.simulation.streams import Streams
from tests.simulation.template import books_of, template
from tests.simulation.world import World, silence

REPLAYED_ONE_IN = 16
"""One seed of so many keeps every live row, and folds every prefix again (S11)."""
COLLECT_ONE_IN = 20
"""Garbage of several seeds is collected before one seed of so many."""
YOUNGER_THAN_THE_PROGRAM = 1
"""The oldest generation is the program itself: what every seed walks through would be in vain."""

LONGEST_SECONDS: Final = 60.0
"""Of processor time, a thousand times what a seed takes: one that takes longer hangs."""
FRAMES_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one seed."""

    plan: Plan
    violations: tuple[Violation, ...]
    fired: Counter[str]
    trace: tuple[tuple[Any, ...], ...]
    sagas: int
    crashes: int
    orders: int
    seconds: float

    @property
    def trace_hash(self) -> str:
        """What two runs of the same seed have to agree on."""
        return hashlib.sha256(repr(self.trace).encode()).hexdigest()


def run_seed(seed: int, folder: Path, without: Set[str] = frozenset()) -> Result:
    """Run one seed.

    Args:
        folder: an empty one, in memory if possible; empty again afterwards.
        without: names of elements of the plan that are left out.
    """
    if seed % COLLECT_ONE_IN == 0:
        gc.collect(YOUNGER_THAN_THE_PROGRAM)
    collects = gc.isenabled()
    gc.disable()  # within a seed it would take a fifth of the time
    try:
        with warnings.catch_warnings(), silence():
            # A process that is killed right after it has begun a call never takes its first step.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            result = _run(seed, folder, without)
            if result.crashes:
                gc.collect(0)
            return result
    finally:
        if collects:
            gc.enable()


def _run(seed: int, folder: Path, without: Set[str]) -> Result:
    files, last, books = template()
    streams = Streams(seed)
    plan = draw(seed, streams, without)
    with virtual_loop(streams.schedule) as loop:
        disk = Disk(folder, files, streams.disk)
        try:
            evidence = Evidence(plan, loop, disk)
            if seed % REPLAYED_ONE_IN == 0:
                evidence.live_rows = []
            _live(World(plan, streams, loop, disk, evidence), loop)
            _judge(evidence, last, books)
        finally:
            disk.close()
        seconds = loop.time()
    return Result(
        plan=plan,
        violations=tuple(evidence.violations),
        fired=evidence.fired,
        trace=tuple(evidence.trace),
        sagas=evidence.sagas,
        crashes=evidence.crashes,
        orders=evidence.orders,
        seconds=seconds,
    )


def _live(world: World, loop: VirtualLoop) -> None:
    with _watched(loop):
        try:
            loop.run_until_complete(world.run())
        except SleepsForEver as error:
            world.evidence.blame("L5", f"the loop sleeps for ever: {error}")
        except GoesRoundForEver as error:
            world.evidence.blame("L5", f"the loop never lets time pass: {error}")
        finally:
            _clear_away(world, loop)


@contextmanager
def _watched(loop: VirtualLoop) -> Iterator[None]:
    """Interrupt a seed that takes far longer than any: within a round no round is counted."""

    def interrupt(_: int, frame: FrameType | None) -> None:
        last = traceback.extract_stack(frame)[-FRAMES_TOLD:]
        loop.interrupt(
            f"within one round, after {LONGEST_SECONDS:g} s of processor time, at "
            + ", called by ".join(
                f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in reversed(last)
            )
        )

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_SECONDS, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _clear_away(world: World, loop: VirtualLoop) -> None:
    """End whatever a seed that failed left behind, and close every connection."""
    for life in world.lives:
        life.die()
    loop.holds_back = None
    loop.forgive()
    left = [task for task in asyncio.all_tasks(loop) if not task.done()]
    left.sort(key=hash)
    if left:
        for task in left:
            task.cancel()
        end = _gone(left)
        try:
            loop.run_until_complete(end)
        except (SleepsForEver, GoesRoundForEver, asyncio.CancelledError):
            world.evidence.tell("tasks do not end")
        for coroutine in [task.get_coro() for task in left if not task.done()]:
            with suppress(RuntimeError, BaseExceptionGroup):  # some will not hear of it
                coroutine.close()
    world.close()


async def _gone(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        for _ in range(200):
            if task.done():
                break
            await asyncio.sleep(0.01)


def _judge(evidence: Evidence, last: int, books: Any) -> None:
    found: list[Story] = evidence.disk.look(file.stories, last)
    by_id = {story.batch_id: story for story in found}
    evidence.sagas = len(found)
    aside = evidence.disk.look(file.quarantined)
    judges.s1_no_lost_saga(evidence, by_id)
    judges.s8_one_sequence(evidence, found, last)
    for story in found:
        if story.batch_id in aside:
            evidence.blame("S18", f"{story.batch_id} is set aside, and nothing was wrong with it")
        judges.s8_legal_history(evidence, story)
        judges.s16_idempotent_intake(evidence, story)
        judges.s9_fills_are_the_venues(evidence, story)
        policy_judges.l3_attempts_are_counted(evidence, story)
        policy_judges.s3_a_tombstone_stands(evidence, story)
        if story.state in AT_REST:
            judges.s6_terminal_truth(evidence, story)
            judges.s7_terminal_truth(evidence, story)
    judges.s10_books_agree(evidence, found, evidence.disk.look(books_of), books)
    judges.s11_replay(evidence)
    judges.l3_no_storm(evidence, evidence.loop.time())
    for story in found:
        for line in story.lines[1:]:
            evidence.tell(
                "record", line.sequence, story.batch_id, line.number, line.kind, line.data
            )
        evidence.tell("end", story.batch_id, story.state, story.row["residual"])
