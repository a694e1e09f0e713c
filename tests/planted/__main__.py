"""`make planted`: is each bug found that was planted on purpose?

Each is looked for where it was found before (`found.json`: the seed, and the invariant that broke).
`--search` looks anew for those that are not found there any more, and writes down where they are.
The exit status is zero only when all are found, at seeds that show nothing without the bug.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.planted import garden
from tests.planted.bug import Bug
from tests.planted.bugs import BUGS
from tests.planted.finding import (
    CHUNK,
    MAX_SEEDS,
    Finding,
    Verdict,
    record,
    recorded,
    search,
    unsound,
    verify,
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make planted", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--search", action="store_true", help="look anew for what is not found")
    parser.add_argument("--seeds", type=int, default=MAX_SEEDS, help="so many at most")
    parser.add_argument("--only", default="", help="only bugs with this in their name")
    parser.add_argument("--new", action="store_true", help="only bugs that were never found")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


@contextmanager
def _snapshot() -> Iterator[Path]:
    """Yield a copy of the checkout, so that an edit meanwhile changes nothing."""
    with TemporaryDirectory(prefix="trade-saga-program-") as name:
        folder = Path(name)
        for package in garden.PACKAGES:
            shutil.copytree(garden.CHECKOUT / package, folder / package)
        for file in garden.FILES:
            shutil.copy2(garden.CHECKOUT / file, folder / file)
        yield folder


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _look_for(
    bug: Bug, program: Path, known: Finding | None, asked: argparse.Namespace, skipped: set[int]
) -> Verdict:
    is_known = known is not None and known.seed not in skipped
    verdict = verify(bug, program, known if is_known else None)
    if verdict.finding is None and asked.search:
        return search(bug, program, asked.seeds, skipped)
    return verdict


def main() -> int:
    """Look for every bug, and return the exit status."""
    asked = _arguments()
    known = recorded()
    bugs = [bug for bug in BUGS if asked.only in bug.name]
    if not bugs:
        _say(f"--only: there is no planted bug with {asked.only!r} in its name; nothing was run")
        return 2
    bugs = [bug for bug in bugs if not (asked.new and bug.name in known)]
    began = time.monotonic()
    verdicts: list[Verdict] = []
    with _snapshot() as program, ThreadPoolExecutor(max(1, asked.jobs)) as pool:
        before = [known[bug.name].seed for bug in bugs if bug.name in known]
        seeds = {seed for seed in before if seed is not None}
        broken = unsound(
            program, sorted(seeds | set(range(min(CHUNK, asked.seeds) if asked.search else 0)))
        )
        for seed, finding in broken.items():
            _say(f"seed {seed} breaks {finding.invariant} without any bug: {finding.sentence}")
        looks = [
            pool.submit(_look_for, bug, program, known.get(bug.name), asked, set(broken))
            for bug in bugs
        ]
        for look in as_completed(looks):
            verdict = look.result()
            verdicts.append(verdict)
            _tell(verdict, len(verdicts), len(bugs))
            if asked.search and verdict.finding is not None:
                known[verdict.bug.name] = verdict.finding
                record(known)
        found = {each.bug.name: each.finding for each in verdicts if each.finding is not None}
    missed = [each.bug.name for each in verdicts if each.finding is None]
    seconds = round(time.monotonic() - began, 1)
    if asked.json:
        figures = {"planted": len(bugs), "found": len(found), "missed": missed, "seconds": seconds}
        sys.stdout.write(json.dumps(figures) + "\n")
    _say(f"{len(found)} of {len(bugs)} planted bugs found in {seconds:.0f} s")
    return 0 if bugs and not missed else 1


def _tell(verdict: Verdict, number: int, of: int) -> None:
    found = verdict.finding
    if found is None:
        _say(f"{number}/{of} MISSED {verdict.bug.name}: {verdict.note}")
        return
    where = "" if found.seed is None else f" by seed {found.seed}"
    note = f" ({verdict.note})" if verdict.note else ""
    _say(f"{number}/{of} {verdict.bug.name}{where}: {found.invariant}: {found.sentence}{note}")


if __name__ == "__main__":
    sys.exit(main())
