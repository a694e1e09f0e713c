"""The kill drill: `python -m tests.crash.drill --kills N [--json] [--seed S] [--jobs J]`.

Kills an engine (and now and then its exchange) N times, in every way that `strikes` lists, and says
what was lost, doubled or left unexplained. The exit status is 0 only if nothing was, and every kind
of strike was dealt. A lane is one engine and one exchange; it is given up for a fresh one after a
while, so that judging it stays quick.
"""

import argparse
import json
import secrets
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.crash.checker import Finding, Wrong
from tests.crash.lane import Lane, Tally
from tests.crash.processes import preload
from tests.crash.strikes import BY_NAME, EVERY_KIND_FROM, KINDS, Kind

ROUNDS_A_LANE: Final = 12
MAX_MISSES: Final = 3
"""A strike that is not dealt, because its place was not passed, is tried again so often."""
MAX_BAD_LANES: Final = 8
"""After so many lanes with findings there is something to mend, and no more to be learnt."""


@dataclass(slots=True)
class Progress:
    """What is still to be done, and what came of the rest; shared by all jobs."""

    kills: int
    left: deque[tuple[Kind, int]]
    points: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    orders: int = 0
    refused_starts: int = 0
    findings: list[Finding] = field(default_factory=list)
    rounds: int = 0
    bad_lanes: int = 0
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_given_up(self) -> bool:
        """No more strikes are dealt."""
        return bool(self.errors) or self.bad_lanes >= MAX_BAD_LANES

    def take(self) -> tuple[Kind, int] | None:
        """Return the next strike, and how often it was missed before; None if there is none."""
        with self.lock:
            return self.left.popleft() if self.left and not self.is_given_up else None

    def missed(self, kind: Kind, misses: int) -> None:
        """Have a strike that was not dealt tried again, later."""
        if misses < MAX_MISSES:
            with self.lock:
                self.left.append((kind, misses + 1))

    def add(self, tally: Tally) -> None:
        """Take in what came of a lane."""
        with self.lock:
            self.points += tally.points
            self.batches += tally.batches
            self.orders += tally.orders
            self.refused_starts += tally.refused_starts
            self.findings += tally.findings
            self.bad_lanes += bool(tally.findings)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a drill.

    Attributes:
        seed: of everything that was drawn.
        seconds: how long it took.
        missing: kinds of strike that were never dealt, and had to be.
    """

    seed: int
    seconds: float
    progress: Progress
    missing: tuple[str, ...]

    @property
    def kills(self) -> int:
        """How many strikes were dealt."""
        return self.progress.points.total()

    @property
    def is_good(self) -> bool:
        """Nothing was lost, doubled or left unexplained, and every kind of strike was dealt."""
        return not self.progress.findings and not self.missing

    def count(self, sort: Wrong) -> int:
        """Return how many findings are of a sort."""
        return sum(finding.sort is sort for finding in self.progress.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the result as it is printed."""
        progress = self.progress
        return {
            "kills": self.kills,
            "points": {kind.name: progress.points[kind.name] for kind in KINDS},
            "batches": progress.batches,
            "orders": progress.orders,
            "lost": self.count(Wrong.LOST),
            "doubled": self.count(Wrong.DOUBLED),
            "unexplained": self.count(Wrong.UNEXPLAINED),
            "refused_starts": progress.refused_starts,
            "seconds": round(self.seconds, 1),
            "seed": self.seed,
            "never_hit": list(self.missing),
            "findings": [f"{each.sort}: {each.sentence}" for each in progress.findings],
        }


def drill(
    kills: int,
    *,
    seed: int,
    jobs: int = 1,
    kinds: Sequence[Kind] = KINDS,
    plant: Callable[[], None] | None = None,
    show: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Deal so many strikes, of all kinds in turn, and return what came of them.

    Args:
        kills: how many strikes.
        seed: of everything that is drawn; how the machine schedules is not.
        jobs: how many lanes run side by side.
        kinds: which kinds; all of them must be dealt once there are `EVERY_KIND_FROM` strikes.
        plant: puts a bug into each process of the engine.
        show: told of the progress after each round.
    """
    preload()
    began = time.monotonic()
    chance = Random(seed)
    progress = Progress(kills, deque((kind, 0) for kind in _drawn(kills, kinds, chance)))
    seeds = iter(lambda: chance.getrandbits(64), None)
    workers = [
        threading.Thread(target=_work, args=(progress, seeds, plant, show)) for _ in range(jobs)
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException as stop:  # the strikes under way come to their end, and no more begin
        progress.errors.append(stop)
        for worker in workers:
            worker.join()
    for error in progress.errors:
        raise error
    missing = never_dealt(kills, progress.points, kinds)
    return Result(seed, time.monotonic() - began, progress, missing)


def never_dealt(
    kills: int, points: Mapping[str, int], kinds: Sequence[Kind] = KINDS
) -> tuple[str, ...]:
    """Return the kinds of strike that were not dealt although there were enough to deal them."""
    if kills < EVERY_KIND_FROM:
        return ()
    return tuple(kind.name for kind in kinds if not points.get(kind.name))


def _drawn(kills: int, kinds: Sequence[Kind], chance: Random) -> list[Kind]:
    """Return so many strikes, every kind as often as every other, in a drawn order."""
    drawn: list[Kind] = []
    while len(drawn) < kills:
        drawn += chance.sample(list(kinds), min(len(kinds), kills - len(drawn)))
    return drawn


def _work(
    progress: Progress,
    seeds: Iterable[int],
    plant: Callable[[], None] | None,
    show: Callable[[Progress], None],
) -> None:
    try:
        while progress.left and not progress.is_given_up:
            with progress.lock:
                seed = next(iter(seeds))
            with Lane(seed, plant=plant) as lane:
                _strike(progress, lane, show)
                progress.add(lane.tally)
    except BaseException as error:
        progress.errors.append(error)


def _strike(progress: Progress, lane: Lane, show: Callable[[Progress], None]) -> None:
    for _ in range(ROUNDS_A_LANE):
        taken = progress.take()
        if taken is None or lane.tally.findings:
            if taken is not None:
                progress.missed(*taken)
            return
        kind, misses = taken
        hit = lane.tally.points[kind.name]
        lane.round(kind)
        if lane.tally.points[kind.name] == hit:
            progress.missed(kind, misses)
        progress.rounds += 1
        show(progress)


def _live_line(progress: Progress) -> None:
    wrong = len(progress.findings)
    sys.stderr.write(
        f"\r\x1b[K{progress.rounds} strikes of {progress.kills}, "
        f"{len(progress.left)} to go, {wrong} findings"
    )
    sys.stderr.flush()


def _in_words(result: Result) -> str:
    told = result.as_json()
    findings = told.pop("findings")
    points = told.pop("points")
    lines = [
        ", ".join(f"{name} {count}" for name, count in points.items() if count),
        ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in told.items()),
        *findings,
        "nothing was lost or sent twice" if result.is_good else "THE DRILL FAILED",
    ]
    return "\n".join(lines)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.drill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many strikes (200)")
    parser.add_argument("--seed", type=int, default=None, help="of what is drawn (a fresh one)")
    parser.add_argument("--jobs", type=int, default=2, help="lanes side by side (2)")
    parser.add_argument("--only", choices=BY_NAME, action="append", help="only this kind; repeat")
    parser.add_argument("--json", action="store_true", help="one JSON object, and nothing else")
    options = parser.parse_args(arguments)
    for option, number in (("--kills", options.kills), ("--jobs", options.jobs)):
        if number < 1:
            sys.stderr.write(f"{option} must be 1 or more, not {number}; nothing was struck\n")
            return 2
    seed = secrets.randbits(32) if options.seed is None else options.seed
    kinds = [BY_NAME[name] for name in options.only] if options.only else KINDS
    signal.signal(signal.SIGTERM, _leave)
    on_screen = sys.stderr.isatty()
    result = drill(
        options.kills,
        seed=seed,
        jobs=options.jobs,
        kinds=kinds,
        show=_live_line if on_screen else lambda _: None,
    )
    if on_screen:
        sys.stderr.write("\r\x1b[K")
    sys.stdout.write((json.dumps(result.as_json()) if options.json else _in_words(result)) + "\n")
    return 0 if result.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
