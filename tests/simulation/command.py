"""What the command does: runs seeds, in processes where asked to, adds them up, and says so."""

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from shutil import rmtree
from typing import Any, Final

from tests.simulation.disk import scratch
from tests.simulation.evidence import Violation
from tests.simulation.plan import BEHAVIOURS, POINTS
from tests.simulation.run import run_seed
from tests.simulation.story import shrink, told
from tests.simulation.world import ACCIDENTS

FAULTS: Final = (*BEHAVIOURS, *ACCIDENTS, *(f"crash at {point}" for point in POINTS))
"""Everything that has to have struck in a run that is long enough to show something."""
ENOUGH_SEEDS: Final = 2_000
CHUNK: Final = 25
MAX_TOLD: Final = 20
"""So many violations are told with their seed and sentence; the rest are counted."""


@dataclass(slots=True)
class Sum:
    """What a run came to."""

    seeds: int = 0
    sagas: int = 0
    crashes: int = 0
    orders: int = 0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Sum") -> None:
        """Add another run, but for its time."""
        self.seeds += other.seeds
        self.sagas += other.sagas
        self.crashes += other.crashes
        self.orders += other.orders
        self.violations += other.violations
        self.faults.update(other.faults)

    @property
    def missing(self) -> list[str]:
        """What never struck, in a run that is long enough to say so."""
        if self.seeds < ENOUGH_SEEDS:
            return []
        return [name for name in FAULTS if not self.faults[name]]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "seeds": self.seeds,
            "sagas": self.sagas,
            "crashes": self.crashes,
            "orders": self.orders,
            "violations": [
                {
                    "seed": each.seed,
                    "invariant": each.invariant,
                    "at": each.at,
                    "sentence": each.sentence,
                }
                for each in self.violations
            ],
            "seconds": round(self.seconds, 2),
            "faults": {name: self.faults[name] for name in sorted({*FAULTS, *self.faults})},
        }


def run_seeds(seeds: Iterable[int]) -> Sum:
    """Run seeds one after the other in this process."""
    found = Sum()
    folder = scratch()
    try:
        for seed in seeds:
            result = run_seed(seed, folder)
            found.add(
                Sum(
                    seeds=1,
                    sagas=result.sagas,
                    crashes=result.crashes,
                    orders=result.orders,
                    violations=list(result.violations[:1]),
                    faults=result.fired,
                )
            )
    finally:
        rmtree(folder, ignore_errors=True)
    return found


def _chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, CHUNK):
        yield range(start, min(start + CHUNK, first + count))


def run_all(first: int, count: int, jobs: int, *, progress: bool) -> Sum:
    """Run seeds `first` to `first + count - 1`."""
    found = Sum()
    began = time.monotonic()
    chunks = list(_chunks(first, count))
    if jobs == 1:
        parts: Iterable[Sum] = map(run_seeds, chunks)
        _gather(parts, found, count, progress=progress)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            _gather(pool.imap(run_seeds, chunks), found, count, progress=progress)
    found.seconds = time.monotonic() - began
    return found


def _gather(parts: Iterable[Sum], found: Sum, count: int, *, progress: bool) -> None:
    for part in parts:
        found.add(part)
        if progress:
            bad = len({each.seed for each in found.violations})
            sys.stderr.write(f"\r{found.seeds} of {count} seeds, {bad} with a violation ")
            sys.stderr.flush()
    if progress:
        sys.stderr.write("\n")


def main(arguments: Sequence[str]) -> int:
    """Run the command, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many")
    parser.add_argument("--from", type=int, default=0, metavar="K", dest="first", help="the first")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument("--trace", type=int, metavar="SEED", help="show one seed, event by event")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="so many processes")
    parser.add_argument(
        "--without", default="", metavar="NAMES", help="leave these elements of the seed out"
    )
    asked = parser.parse_args(arguments)
    if fault := _fault_of(asked):
        sys.stderr.write(f"python -m tests.simulation: {fault}\n")
        return 2
    if asked.trace is not None:
        names = frozenset(name for name in asked.without.split(",") if name)
        return _show_trace(asked.trace, names)
    found = run_all(asked.first, asked.seeds, asked.jobs, progress=sys.stderr.isatty())
    if asked.json:
        sys.stdout.write(json.dumps(found.as_json(), indent=1) + "\n")
    else:
        _say(found)
        _tell_first(found)
        sys.stdout.write(f"{verdict(found)}\n")
    return 1 if found.violations or found.missing else 0


def _fault_of(asked: argparse.Namespace) -> str | None:
    for option, number, least in (
        ("--seeds", asked.seeds, 1),
        ("--jobs", asked.jobs, 1),
        ("--from", asked.first, 0),
    ):
        if number < least:
            return f"{option} must be {least} or more, not {number}; nothing was run"
    return None


def _say(found: Sum) -> None:
    rate = found.seeds / found.seconds if found.seconds else 0.0
    lines = [
        f"{found.seeds} seeds, {found.sagas} sagas, {found.crashes} crashes, {found.orders} orders "
        f"in {found.seconds:.1f} s ({rate:.0f} seeds a second)",
        "faults: " + ", ".join(f"{name} {found.faults[name]}" for name in sorted(found.faults)),
    ]
    lines.extend(
        f"seed {each.seed} breaks {each.invariant}: {each.sentence}"
        for each in found.violations[:MAX_TOLD]
    )
    if found.missing:
        lines.append(f"never struck, so this run shows too little: {', '.join(found.missing)}")
    sys.stdout.write("\n".join(lines) + "\n")


def verdict(found: Sum) -> str:
    """Return in one line whether the promises were kept."""
    bad = len({each.seed for each in found.violations})
    if bad:
        return f"{bad} of {found.seeds} seeds break{'' if bad > 1 else 's'} a promise"
    in_seeds = f"in {found.seeds} seeds" if found.seeds > 1 else "in 1 seed"
    if found.missing:
        return f"every promise was kept {in_seeds}, but not every fault struck: no success"
    return f"every promise was kept {in_seeds}"


def _tell_first(found: Sum) -> None:
    """Tell the story of the first seed that failed, made small."""
    if not found.violations:
        return
    first = found.violations[0]
    folder = scratch()
    try:
        result, without = shrink(first.seed, first.invariant, folder)
    finally:
        rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n" + told(result, without) + "\n")


def _show_trace(seed: int, without: frozenset[str]) -> int:
    folder = scratch()
    try:
        result = run_seed(seed, folder, without)
    finally:
        rmtree(folder, ignore_errors=True)
    for at, *what in result.trace:
        sys.stdout.write(f"{at:12.6f}  {' '.join(str(each) for each in what)}\n")
    sys.stdout.write(f"trace hash {result.trace_hash}\n")
    return 1 if result.violations else 0
