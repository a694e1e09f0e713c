"""Plays cells, one or many, in several processes; what comes out is results to be told."""

import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.grid.cells import Cell
from tests.grid.expected import Unreached, expected
from tests.grid.judge import story, violations
from tests.grid.theatre import Theatre

FAST: Final = Path("/dev/shm")


@dataclass(frozen=True)
class Result:
    """What came of one run: what is wrong, told whole, and why its point was not reached."""

    cell: Cell
    wrong: tuple[str, ...] = ()
    story: str = ""
    unreached: str | None = None


_theatre: Theatre


def _open(folder: str) -> None:
    global _theatre
    _theatre = Theatre(Path(tempfile.mkdtemp(dir=folder)))


def result_of(theatre: Theatre, cell: Cell) -> Result:
    """Play one cell and judge it."""
    wanted = expected(cell)
    unreached = wanted.why if isinstance(wanted, Unreached) else None
    try:
        seen = theatre.play(cell)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        sentence = f"L5: the run ended with {error!r}"
        return Result(cell, (sentence,), f"{cell}: {cell.story}\n  WRONG {sentence}", unreached)
    wrong = violations(seen)
    return Result(cell, tuple(wrong), story(seen, wrong) if wrong else "", unreached)


def _play(cell: Cell) -> Result:
    return result_of(_theatre, cell)


def play_all(cells: Iterable[Cell], processes: int, *, progress: bool) -> list[Result]:
    """Play cells in so many processes, in any order."""
    wanted = list(cells)
    fast = str(FAST) if os.access(FAST, os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="grid-", dir=fast)
    results: list[Result] = []
    try:
        context = multiprocessing.get_context("forkserver")
        with context.Pool(processes, _open, (folder,)) as pool:
            for count, result in enumerate(pool.imap_unordered(_play, wanted, chunksize=16), 1):
                results.append(result)
                if progress and (count % 250 == 0 or count == len(wanted)):
                    failed = sum(bool(each.wrong) for each in results)
                    sys.stderr.write(f"\r{count} of {len(wanted)} runs, {failed} wrong")
                    sys.stderr.flush()
    finally:
        shutil.rmtree(folder)
    if progress:
        sys.stderr.write("\n")
    return sorted(results, key=lambda result: result.cell)
