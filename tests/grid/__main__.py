"""`python -m tests.grid`: plays the whole fault grid, or one cell, and says what is wrong.

The exit status is 0 only when nothing is. `--json` prints one object with `cells`, `runs`,
`unreached`, `violations` and `seconds`; progress goes to the standard error.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.grid.cells import Cell, all_cells, one_of_each
from tests.grid.judge import story, violations
from tests.grid.players import Result, play_all
from tests.grid.theatre import Theatre

MAX_STORIES: Final = 5
"""So many failing cells are told whole; the others by name."""


def main(arguments: list[str] | None = None) -> int:
    """Play what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.grid", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cell", help="play one, such as K5-B6-L2-4-ATOMIC, and tell it whole")
    parser.add_argument("--once", action="store_true", help="each of the 1,404 cells once")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    if asked.cell is not None:
        return _tell_one(asked.cell)
    began = time.perf_counter()
    cells = list(one_of_each() if asked.once else all_cells())
    results = play_all(cells, asked.processes, progress=True)
    wrong = [result for result in results if result.wrong]
    unreached = Counter(result.unreached for result in results if result.unreached is not None)
    summary = {
        "cells": len({cell.name for cell in cells}),
        "runs": len(results),
        "unreached": dict(sorted(unreached.items())),
        "violations": [{"cell": str(result.cell), "wrong": list(result.wrong)} for result in wrong],
        "seconds": round(time.perf_counter() - began, 1),
    }
    if asked.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        _tell(summary, wrong)
    return 1 if wrong else 0


def _tell(summary: dict[str, object], wrong: list[Result]) -> None:
    out = sys.stdout
    out.write(f"{summary['cells']} cells, {summary['runs']} runs, {summary['seconds']} s\n")
    unreached = summary["unreached"]
    assert isinstance(unreached, dict)
    for why, count in unreached.items():
        out.write(f"  not to be reached in {count} runs: {why}\n")
    if not wrong:
        out.write("no violations\n")
    for result in wrong[:MAX_STORIES]:
        out.write(f"\n{result.story}\n")
    for result in wrong[MAX_STORIES:]:
        out.write(f"{result.cell}: {result.wrong[0]}\n")


def _tell_one(name: str) -> int:
    try:
        cell = Cell.parse(name)
    except ValueError:
        sys.stderr.write(f"cell: there is no {name!r}; write it as K5-B6-L2-4-ATOMIC\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        seen = Theatre(Path(folder)).play(cell)
    wrong = violations(seen)
    sys.stdout.write(story(seen, wrong) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
