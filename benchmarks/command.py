"""Measures how fast the engine is: each goal beside the disk or a peer, as a ratio taken in one go.

The store lies in the folder in which it is started, on whose disk all figures depend.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks import page
from benchmarks.findings import found, in_words
from benchmarks.goals import GOALS, QUICK_RUNS, RUNS, Goal
from benchmarks.kept_runs import KeptRuns, NotRuns
from benchmarks.machine import described
from benchmarks.measuring import RunFailed
from benchmarks.parts import measured_parts, runs_of_parts
from benchmarks.plots import draw
from benchmarks.progress import Progress
from benchmarks.sweeps import SWEEPS, measured
from tests.reliability.written_page import FIGURES

INTERRUPTED: Final = 130
FAILED: Final = 3
_STATUSES: Final = f"Exit status: 0; 2 bad usage; {FAILED} a run failed; {INTERRUPTED} interrupted."


def main(arguments: Sequence[str]) -> int:
    """Run the command, and return its exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.keep and asked.names and asked.quick:
        parser.error(
            "--keep of some goals is for runs at full size: leave out --quick, or the names"
        )
    if asked.keep and not (asked.names or asked.quick) and find_spec("matplotlib") is None:
        parser.error("--keep draws with matplotlib: make setup ARGS=--plots")
    unknown = [name for name in asked.names if not any(_names(name, goal) for goal in GOALS)]
    if unknown:
        names = ", ".join(map(repr, unknown))
        parser.error(f"no goal is named {names}; the goals are:\n{_listed()}")
    machine = described()
    if machine["load_before"] > machine["cores"] / 2:
        sys.stderr.write(f"This machine is busy (load {machine['load_before']}): expect noise.\n")
    try:
        if asked.keep and asked.names:
            page.check_renewable(machine)
        measurement = _Measurement(asked, machine)
    except (NotRuns, page.NotRenewable) as error:
        parser.error(str(error))
    try:
        return measurement.take()
    except KeyboardInterrupt:
        measurement.progress.end()
        sys.stderr.write(f"Interrupted. {measurement.how_to_go_on()}\n")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"The goals:\n{_listed()}\n\n{_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a goal's number, or words of its name, quoted; all goals if none is given",
    )
    parser.add_argument("--json", action="store_true", help="say it as JSON, once all is measured")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_RUNS} run instead of {RUNS}, of fewer sagas where that tells much the same; "
        "without a NAME only the goals beside a peer or the disk, in under a minute",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the figures, and write docs/performance.md anew; with a NAME, only the rows of "
        "those goals, each with its commit",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="write each run down there as it ends, and go on from those that are there already",
    )
    return parser


def _names(name: str, goal: Goal) -> bool:
    if name.isdecimal():
        return goal.number == int(name)
    return bool(name.strip()) and name.lower() in goal.name.lower()


def _listed() -> str:
    return "\n".join(f"  {goal.number:>2}  {goal.name}" for goal in GOALS)


class _Measurement:
    """What was asked for, from the first run to the last.

    Raises:
        NotRuns: the runs that are there already cannot be gone on with.
    """

    def __init__(self, asked: argparse.Namespace, machine: dict[str, Any]) -> None:
        self._asked = asked
        self._quick: bool = asked.quick
        self._times = QUICK_RUNS if asked.quick else RUNS
        self._whole = asked.keep and not asked.names
        self._plots = self._whole and not asked.quick
        self._machine = machine
        self._goals = [goal for goal in GOALS if self._is_asked_for(goal)]
        self.progress = Progress(self._count())
        self._runs = KeptRuns(asked.resume, self.progress.step, machine)

    def _is_asked_for(self, goal: Goal) -> bool:
        if self._asked.names:
            return any(_names(name, goal) for name in self._asked.names)
        return goal.is_quick or not self._quick

    def _count(self) -> int:
        """Return how many runs there will be."""
        of_goals = sum(goal.runs(quick=self._quick) for goal in self._goals)
        of_parts = runs_of_parts(self._times) if self._whole else 0
        of_plots = sum(sweep.runs for sweep in SWEEPS) if self._plots else 0
        return of_goals + of_parts + of_plots

    def _say_what_is_known(self) -> None:
        if self._runs.known:
            sys.stderr.write(
                f"{self._runs.known} runs are taken from {self._asked.resume}, "
                f"begun {self._runs.begun}.\n"
            )

    def how_to_go_on(self) -> str:
        """Say what became of the runs that are over."""
        if self._asked.resume is None:
            return "Nothing was kept; with --resume FILE it could be gone on with."
        return f"What is over is kept: go on with --resume {self._asked.resume}."

    def take(self) -> int:
        """Measure, say what came of it, and return the exit status."""
        self._say_what_is_known()
        told = []
        for goal in self._goals:
            self.progress.begin(goal.name)
            told.append(found(goal, self._runs.of(goal.name, goal.sides), quick=self._quick))
            if not self._asked.json:
                self._say(*in_words(told[-1], quick=self._quick))
        unmeasured: dict[str, str] = {}
        if self._whole:
            unmeasured = self._keep(told)
        elif self._asked.keep:
            page.renew(told)
        self.progress.end()
        if self._asked.json:
            self._say(json.dumps(self._as_json(told, unmeasured), indent=1))
        else:
            self._say(*self._last_words(unmeasured))
        failed = unmeasured or any(goal["ratio"] is None for goal in told)
        return FAILED if failed else 0

    def _keep(self, told: list[dict[str, Any]]) -> dict[str, str]:
        """Keep what was found, and measure what else is on the page; return what could not be."""

        def keep(parts: Any = None, lines: Any = None) -> None:
            page.keep(
                *(told, self._machine),
                runs=self._times,
                quick=self._quick,
                begun=self._runs.begun,
                parts=parts,
                lines=lines,
            )

        keep()  # before what takes long, and may fail
        unmeasured: dict[str, str] = {}
        parts = None
        self.progress.begin("the parts of a step")
        try:
            parts = measured_parts(self._runs.of("parts", 2), self._times)
            keep(parts)
        except RunFailed as error:
            unmeasured["the parts of a step"] = str(error)
        if self._plots:
            lines, unplotted = measured(self.progress.begin, self._runs)
            unmeasured |= unplotted
            keep(parts, lines)
            draw(lines, FIGURES)
        return unmeasured

    def _as_json(self, told: list[dict[str, Any]], unmeasured: dict[str, str]) -> dict[str, Any]:
        return {
            "goals": told,
            "quick": self._quick,
            "runs": self._times,
            "begun": self._runs.begun,
            "unmeasured": unmeasured,
            "machine": self._machine,
        }

    def _last_words(self, unmeasured: dict[str, str]) -> list[str]:
        machine = self._machine
        words = [f"{name}: not measured, and left out: {why}" for name, why in unmeasured.items()]
        words.append(
            f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
            f"SQLite {machine['sqlite']}, load {machine['load_before']}"
        )
        if self._quick:
            words.append(f"One coarse run of each: no verdict yet. Without --quick it is {RUNS}.")
        if self._asked.keep:
            words.append(f"Written anew: docs/{page.PAGE.name}, and what it shows of docs/figures")
        return words

    def _say(self, *lines: str) -> None:
        self.progress.end()
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
