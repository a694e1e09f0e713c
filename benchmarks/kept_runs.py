"""Runs that are written down as they end, so that a long measurement can be broken off and gone on.

What is written down holds for one program alone: the digest of all sources that are measured, or
that measure, is kept beside it, and another program begins anew.
"""

import json
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import Run, Side
from tests.sources import digest_of, files_of
from tests.written_down import write_down

MEASURED: Final = ("saga", "brokers", "portfolio", "benchmarks", "tests/simulation")

_Kept = dict[str, list[dict[str, Any]]]


class NotRuns(Exception):
    """The file holds something else; the sentence says what to do."""


class KeptRuns:
    """Runs sides, and remembers what each told.

    Args:
        path: where the runs are written down, and gone on from; None is nowhere.
        on_run: called after each run, and for each that need not be made again.

    Raises:
        NotRuns: the file does not hold runs.
    """

    def __init__(self, path: Path | None, on_run: Callable[[], None]) -> None:
        self._path = path
        self._on_run = on_run
        self._kept = _load(path)

    def of(self, what: str) -> Run:
        """Return what runs the sides of one goal or plot, in their order."""
        kept = self._kept.setdefault(what, [])
        places = count()

        def run(side: Side) -> dict[str, Any]:
            place, asked = next(places), {"side": side.name, "arguments": dict(side.arguments)}
            if place >= len(kept) or any(kept[place][each] != asked[each] for each in asked):
                del kept[place:]  # of another size, as all behind it
                kept.append({**asked, "told": side.run()})
                self._save()
            self._on_run()
            told: dict[str, Any] = kept[place]["told"]
            return told

        return run

    def _save(self) -> None:
        if self._path is not None:
            write_down(self._path, {"program": program(), "runs": self._kept})


def _load(path: Path | None) -> _Kept:
    if path is None or not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        written, runs = kept["program"], kept["runs"]
        for run in (each for runs_of_one in runs.values() for each in runs_of_one):
            run["side"], run["arguments"], run["told"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotRuns(f"{path} does not hold runs ({error!r}); name another file") from None
    return runs if written == program() else {}


@cache
def program() -> str:
    """Return the digest of every source that has a part in a figure."""
    return digest_of(files_of(MEASURED))
