"""Plants each bug and has its harness look for it.

A finding is believed only if the same seed finds nothing in the program without the bug.
"""

import json
import subprocess
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.planted.bug import SIMULATION, Bug, Inapplicable
from tests.planted.garden import copy_with, run_in

FILE: Final = Path(__file__).with_name("found.json")
MAX_SEEDS: Final = 10_000
"""A bug that so many seeds do not find is missed."""
CHUNK: Final = 250
"""So many seeds are looked at by one process; the first so many are known to be sound or not."""
SEED_SECONDS: Final = 60.0
"""One seed takes a fraction of a second; a bug may make it go round in circles."""
HARNESS_SECONDS: Final = 180.0
"""Another harness takes at most so long."""
HANGS: Final = "L5"
"""What a seed breaks that does not come to an end."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How a bug was found: the seed, the invariant that broke, and what was said of it.

    `seed` is None for another harness than the simulation.
    """

    seed: int | None
    invariant: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of looking for one bug; `finding` is None where it was missed."""

    bug: Bug
    finding: Finding | None
    note: str = ""
    seeds: int = 0


def recorded() -> dict[str, Finding]:
    """Return what was found before, by the bug's name."""
    if not FILE.exists():
        return {}
    return {name: Finding(**each) for name, each in json.loads(FILE.read_text("utf-8")).items()}


def record(findings: Mapping[str, Finding]) -> None:
    """Write down what was found."""
    kept = {name: asdict(findings[name]) for name in sorted(findings)}
    FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class CannotBegin(Exception):
    """The program fails before a seed can begin: not even an empty store comes to be."""


def look_in(folder: Path, seeds: Sequence[int]) -> Finding | None:
    """Look at some seeds in a program; return the first finding, or None."""
    try:
        found = _look(folder, "first", seeds)
    except subprocess.TimeoutExpired:
        if len(seeds) == 1:
            return Finding(seeds[0], HANGS, "the seed does not come to an end")
        each = (look_in(folder, [seed]) for seed in seeds)
        return next((finding for finding in each if finding is not None), None)
    except CannotBegin as error:  # the bug shows before any seed has begun
        return Finding(seeds[0], HANGS, str(error).strip().splitlines()[-1])
    return found[0] if found else None


def unsound(program: Path, seeds: Sequence[int]) -> dict[int, Finding]:
    """Return what breaks in the program without any bug: such seeds show nothing."""
    return {each.seed: each for each in _look(program, "all", seeds) if each.seed is not None}


def _look(folder: Path, how: str, seeds: Sequence[int]) -> list[Finding]:
    arguments = ["-m", "tests.planted.look", how, *map(str, seeds)]
    done = run_in(folder, arguments, SEED_SECONDS + len(seeds))
    if done.returncode:
        raise CannotBegin(f"the simulation cannot run: {done.stderr[-1000:]}")
    return [Finding(**json.loads(line)) for line in done.stdout.splitlines()]


def verify(bug: Bug, program: Path, known: Finding | None) -> Verdict:
    """Look whether the bug is found where it was found before."""
    try:
        with copy_with(bug, program) as folder:
            if bug.harness != SIMULATION:
                return _by_harness(bug, folder)
            if known is None or known.seed is None:
                return Verdict(bug, None, "it was never found; look for it with --search")
            found = look_in(folder, [known.seed])
    except Inapplicable as error:
        return Verdict(bug, None, str(error))
    if found is None:
        return Verdict(bug, None, f"seed {known.seed} finds it no longer; use --search", 1)
    if found.invariant != known.invariant:
        return Verdict(bug, found, f"{known.invariant} broke when it was recorded", 1)
    return Verdict(bug, found, seeds=1)


def search(bug: Bug, program: Path, most: int, skipped: Container[int]) -> Verdict:
    """Look for a seed that finds the bug, from the first on, but for those that show nothing."""
    try:
        with copy_with(bug, program) as folder:
            if bug.harness != SIMULATION:
                return _by_harness(bug, folder)
            first = 0
            while first < most:
                behind = min(first + CHUNK, most)
                found = look_in(folder, [n for n in range(first, behind) if n not in skipped])
                if found is None or found.seed is None:
                    first = behind
                elif found.seed < CHUNK or not unsound(program, [found.seed]):
                    return Verdict(bug, found, seeds=found.seed + 1)
                else:
                    first = found.seed + 1
    except Inapplicable as error:
        return Verdict(bug, None, str(error))
    return Verdict(bug, None, f"{most} seeds do not find it", most)


def _by_harness(bug: Bug, folder: Path) -> Verdict:
    try:
        done = run_in(folder, bug.harness.split(), HARNESS_SECONDS)
    except subprocess.TimeoutExpired:
        return Verdict(bug, Finding(None, HANGS, f"{bug.harness} does not come to an end"))
    if done.returncode == 0:
        return Verdict(bug, None, f"{bug.harness} sees nothing")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "E  "))]
    said = (lines or (done.stdout + done.stderr).splitlines() or ["it failed"])[-1]
    return Verdict(bug, Finding(None, bug.harness, said.strip()[:200]))
