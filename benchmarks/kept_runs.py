"""Runs that are written down as they end, so that a long measurement can be broken off and gone on.

What is written down holds for one program and one machine: the digest of all sources that are
measured, or that measure, is kept beside it, and what the machine is.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import lasting
from benchmarks.measuring import Run, Side
from tests.reliability.written_page import instant_at_hand
from tests.sources import digest_of, files_of
from tests.written_down import write_down

MEASURED: Final = ("saga", "brokers", "portfolio", "benchmarks", "tests/simulation")
_Kept = dict[str, list[dict[str, Any]]]


class NotRuns(Exception):
    """The file cannot be gone on with; the sentence says why, and what to do."""


class KeptRuns:
    """Runs sides, and remembers what each told.

    Args:
        path: where the runs are written down, and gone on from; None is nowhere.
        on_run: called after each run, and for each that need not be made again.
        machine: on what they are made, see `machine.described`.

    Attributes:
        begun: when the first of them was begun, in UTC.
        known: how many there were already.

    Raises:
        NotRuns: the file holds something else, or runs of another program or machine, or it cannot
            be written.
    """

    def __init__(
        self, path: Path | None, on_run: Callable[[], None], machine: Mapping[str, Any]
    ) -> None:
        self._path = path
        self._on_run = on_run
        self._machine = lasting(machine)
        self.begun = instant_at_hand()
        self._kept: _Kept = {}
        if path is not None:
            self._load(path)
        self.known = sum(map(len, self._kept.values()))

    def of(self, what: str, sides: int = 1) -> Run:
        """Return what runs the sides of one goal or plot, in their order.

        Args:
            what: its name.
            sides: so many run in turn; a turn that was broken off is taken again as a whole.
        """
        kept = self._kept.setdefault(what, [])
        del kept[len(kept) - len(kept) % sides :]
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
            whole = {"program": program(), "machine": self._machine, "begun": self.begun}
            write_down(self._path, {**whole, "runs": self._kept})

    def _load(self, path: Path) -> None:
        try:
            if path.exists():
                self._take(path, json.loads(path.read_text(encoding="utf-8")))
            self._save()  # rather now than behind the first run
        except OSError as error:
            why = error.strerror or "it cannot be written"
            raise NotRuns(f"{path}: {why}; name another file") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NotRuns(f"{path} does not hold runs; name another file") from None

    def _take(self, path: Path, kept: Any) -> None:
        runs: _Kept = kept["runs"]
        for each in (run for runs_of_one in runs.values() for run in runs_of_one):
            if not (isinstance(each["side"], str) and {**each["arguments"]} and {**each["told"]}):
                raise ValueError(each)
        for what, now, then in (
            ("other sources", program(), kept["program"]),
            ("another machine", self._machine, kept["machine"]),
        ):
            if now != then:
                raise NotRuns(f"{path} holds runs of {what}; name another file, or remove it")
        self._kept, self.begun = runs, str(kept["begun"])


@cache
def program() -> str:
    """Return the digest of every source that has a part in a figure."""
    return digest_of(files_of(MEASURED))
