"""Runs the sides of a comparison in turn, each run in a process of its own, and compares them."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

SIDES: Final[Mapping[str, tuple[str, str]]] = {
    "engine steps": ("engine", "steps"),
    "engine undo": ("engine", "undo"),
    "engine resume": ("engine", "resume"),
    "engine size": ("engine", "size"),
    "engine memory": ("engine", "memory"),
    "engine stall": ("engine", "stall"),
    "engine taking in": ("engine", "taking_in"),
    "engine carrying out": ("engine", "carrying_out"),
    "engine overtaking": ("engine", "overtaking"),
    "engine profile": ("profile", "shares"),
    "history answers": ("history", "answers"),
    "history shared answers": ("history", "shared_answers"),
    "simulation seeds": ("simulation", "seeds"),
    "store records": ("store", "records"),
    "peer steps": ("peer", "steps"),
    "peer resume": ("peer", "resume"),
    "peer history": ("peer_history", "answers"),
    "disk single commits": ("disk", "single_commits"),
    "disk rows": ("disk", "rows"),
    "parts alone": ("limits", "alone"),
    "start libraries": ("start", "libraries"),
    "start engine": ("start", "engine"),
}
"""Where each side is: its module in `benchmarks.sides`, and its function there."""

LONGEST_RUN_SECONDS: Final = 1_800.0
"""A run of one side that takes longer is ended, and is an error."""


class RunFailed(Exception):
    """A side did not come to its end; the sentence says what it printed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side: what is run, with which arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Run it once, and return what it tells.

        Raises:
            RunFailed: it ended with an error, or did not end.
        """
        # Not in the system's folder for temporary files, which may lie in memory.
        with TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as folder:
            done = self._run_in(folder)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
            raise RunFailed(f"{self.name} ended with status {done.returncode}: {last[0]}")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    def _run_in(self, folder: str) -> "subprocess.CompletedProcess[str]":
        words = (self.name, json.dumps(self.arguments), folder)
        try:
            return subprocess.run(  # noqa: S603 - this program again
                [sys.executable, "-m", "benchmarks.sides", *words],
                capture_output=True,
                text=True,
                timeout=LONGEST_RUN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{self.name} did not end in {LONGEST_RUN_SECONDS:g} s") from None


@dataclass(frozen=True, slots=True)
class Spread:
    """Several figures of one thing: the middle, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Return the spread of at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))


Run = Callable[[Side], dict[str, Any]]
"""Runs a side once, and returns what it tells."""


def in_turn(sides: Sequence[Side], times: int, run: Run) -> list[list[dict[str, Any]]]:
    """Run the sides in turn, so many times each; return what each told, run by run."""
    told: list[list[dict[str, Any]]] = [[] for _ in sides]
    for _ in range(times):
        for number, side in enumerate(sides):
            told[number].append(run(side))
    return told
