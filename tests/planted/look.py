"""Runs seeds of the simulation in a copy with a bug, until one of them shows a violation.

    python -m tests.planted.look first|all SEED ...

Prints each seed that breaks something as one line of JSON, with the invariant and the sentence;
with `first` only the first of them. It is run by `finding`, and imports the program of its folder.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree

from tests.simulation.disk import scratch
from tests.simulation.run import run_seed

MAX_SENTENCE: int = 200


def main(seeds: Iterable[int], *, only_first: bool) -> int:
    """Look at the seeds; the exit status is 0 whatever they show."""
    folder = scratch()
    try:
        for seed in seeds:
            found = _broken_by(seed, folder)
            if found is not None:
                invariant, sentence = found
                told = {"seed": seed, "invariant": invariant, "sentence": sentence[:MAX_SENTENCE]}
                sys.stdout.write(json.dumps(told) + "\n")
                if only_first:
                    break
    finally:
        rmtree(folder, ignore_errors=True)
    return 0


def _broken_by(seed: int, folder: Path) -> tuple[str, str] | None:
    try:
        violations = run_seed(seed, folder).violations
    except Exception as error:  # the harness itself cannot go on: as good as a violation
        return type(error).__name__, str(error)
    return (violations[0].invariant, violations[0].sentence) if violations else None


if __name__ == "__main__":
    sys.exit(main(map(int, sys.argv[2:]), only_first=sys.argv[1] == "first"))
