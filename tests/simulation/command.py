"""What the command does: runs seeds, in processes where asked to, adds them up, and says so."""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Final

from tests.simulation.disk import scratch
from tests.simulation.kept import NotThisRun, load, save
from tests.simulation.plan import draw
from tests.simulation.run import Result, run_seed
from tests.simulation.story import shrink, told
from tests.simulation.streams import Streams
from tests.simulation.sum import Sum

CHUNK: Final = 25
MAX_TOLD: Final = 20
"""So many violations are told with their seed and sentence; the rest are counted."""


def of_one(result: Result) -> Sum:
    """Return what one seed came to."""
    return Sum(
        seeds=1,
        sagas=result.sagas,
        crashes=result.crashes,
        orders=result.orders,
        violations=list(result.violations[:1]),
        faults=result.fired,
    )


def run_seeds(seeds: Iterable[int]) -> Sum:
    """Run seeds one after the other in this process."""
    found = Sum()
    folder = scratch()
    try:
        for seed in seeds:
            result = run_seed(seed, folder)
            found.add(of_one(result))
    finally:
        rmtree(folder, ignore_errors=True)
    return found


def _chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, CHUNK):
        yield range(start, min(start + CHUNK, first + count))


def run_all(first: int, count: int, jobs: int, *, progress: bool, kept: Path | None = None) -> Sum:
    """Run seeds `first` to `first + count - 1`.

    Args:
        kept: where the run is written down as it goes, and gone on from; None is nowhere.

    Raises:
        NotThisRun: what is written down there belongs to another run.
    """
    found = Sum() if kept is None else load(kept, first)
    before, began = found.seconds, time.monotonic()

    def on_part(part: Sum) -> None:
        found.add(part)
        found.seconds = before + time.monotonic() - began
        if kept is not None:
            save(kept, first, found)
        if progress:
            _show(found, count)

    chunks = list(_chunks(first + found.seeds, max(0, count - found.seeds)))
    if jobs == 1:
        for chunk in chunks:
            on_part(run_seeds(chunk))
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for part in pool.imap(run_seeds, chunks):
                on_part(part)
    if progress:
        sys.stderr.write("\n")
    return found


def _show(found: Sum, count: int) -> None:
    bad = len({each.seed for each in found.violations})
    sys.stderr.write(f"\r{found.seeds} of {count} seeds, {bad} with a violation ")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Run the command, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many")
    parser.add_argument("--from", type=int, default=0, metavar="K", dest="first", help="the first")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument("--trace", type=int, metavar="SEED", help="show one seed, event by event")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="so many processes")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="write the run down there, and go on from it"
    )
    parser.add_argument(
        "--without", default="", metavar="NAMES", help="leave these elements of the seed out"
    )
    asked = parser.parse_args(arguments)
    if fault := _fault_of(asked):
        sys.stderr.write(f"python -m tests.simulation: {fault}\n")
        return 2
    if asked.trace is not None:
        names = frozenset(name for name in asked.without.split(",") if name)
        if strange := sorted(names - set(draw(asked.trace, Streams(asked.trace)).elements())):
            sys.stderr.write(
                f"python -m tests.simulation: --without: seed {asked.trace} has no element "
                f"{strange[0]!r}; nothing was run\n"
            )
            return 2
        return _show_trace(asked.trace, names)
    try:
        found = run_all(
            *(asked.first, asked.seeds, asked.jobs),
            progress=sys.stderr.isatty(),
            kept=asked.resume,
        )
    except NotThisRun as error:
        sys.stderr.write(f"python -m tests.simulation: {error}\n")
        return 2
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
    sys.stdout.write(f"trace hash {result.trace_hash}\n{verdict(of_one(result))}\n")
    return 1 if result.violations else 0
