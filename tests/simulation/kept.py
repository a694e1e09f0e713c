"""A long run that is written down as it goes, so that it can be ended and gone on with.

What is written down holds for one program alone: the digest of every source that has a part in a
seed is kept beside it, and a run of another program begins anew.
"""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.simulation.evidence import Violation
from tests.simulation.sum import Sum
from tests.sources import digest_of, files_of
from tests.written_down import write_down

PLAYED: Final = (
    *("saga", "brokers", "portfolio"),
    *("tests/simulation", "tests/sources.py", "tests/written_down.py", "tests/written_form.py"),
)
"""The files, and the folders of files, that have a part in a seed."""


class NotThisRun(Exception):
    """What is written down belongs to another run; the sentence says why, and what to do."""


def load(path: Path, first: int) -> Sum:
    """Return what this program's run that began with the seed `first` has come to.

    Raises:
        NotThisRun: the file is of a run from another seed, or holds something else.
    """
    if not path.exists():
        return Sum()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        written, begun, told = kept["program"], kept["first"], _sum_of(kept["sum"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotThisRun(f"{path} does not hold a run ({error!r}); name another file") from None
    if begun != first:
        raise NotThisRun(f"{path} holds a run from seed {begun}, not {first}; name another file")
    return told if written == program() else Sum()


def save(path: Path, first: int, found: Sum) -> None:
    """Write down what a run that began with the seed `first` has come to."""
    write_down(path, {"program": program(), "first": first, "sum": found.as_json()})


@cache
def program() -> str:
    """Return the digest of every source that has a part in a seed, as they were first asked for."""
    return digest_of(sources())


def sources() -> list[Path]:
    """Return every source that has a part in a seed."""
    return files_of(PLAYED)


def _sum_of(told: dict[str, Any]) -> Sum:
    return Sum(
        seeds=told["seeds"],
        sagas=told["sagas"],
        crashes=told["crashes"],
        orders=told["orders"],
        seconds=told["seconds"],
        violations=[Violation(**each) for each in told["violations"]],
        faults=Counter(told["faults"]),
    )
