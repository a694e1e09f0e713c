"""What the command does: measures the goals that are asked for, and says how they stand."""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.goals import GOALS, QUICK_RUNS, RUNS, Finding, Goal
from benchmarks.kept_runs import KeptRuns, NotRuns
from benchmarks.machine import described
from benchmarks.measuring import Run, RunFailed
from benchmarks.parts import measured_parts, runs_of_parts
from benchmarks.plots import draw
from benchmarks.sweeps import SWEEPS, measured
from tests.reliability.written_page import FIGURES


class Progress:
    """How many of the runs are over, on one line of a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0
        self._name = ""
        self._shows = sys.stderr.isatty()

    def begin(self, name: str) -> None:
        """Say what is measured now."""
        self._name = name
        self._show()

    def step(self) -> None:
        """One more run is over."""
        self._over += 1
        self._show()

    def end(self) -> None:
        """Leave the line."""
        if self._shows:
            sys.stderr.write("\r\x1b[K")

    def _show(self) -> None:
        if self._shows:
            width = 24
            full = width * self._over // max(1, self._total)
            bar = "#" * full + "." * (width - full)
            sys.stderr.write(f"\r\x1b[K[{bar}] {self._over}/{self._total} {self._name}")
            sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Run the command, and return the exit status: 0, or 3 where a run failed."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.keep and asked.names:
        parser.error("--keep is for a whole run: leave out the names")
    plots = asked.keep and not asked.quick
    if plots and find_spec("matplotlib") is None:
        parser.error("--keep draws with matplotlib: .venv/bin/python -m pip install -e '.[plots]'")
    chosen = [goal for goal in GOALS if _is_asked_for(goal, asked.names, quick=asked.quick)]
    if not chosen:
        parser.error(f"no goal is named {' '.join(asked.names)!r}; the goals are:\n" + _listed())
    machine = described()
    times = QUICK_RUNS if asked.quick else RUNS
    plotted = sum(sweep.runs for sweep in SWEEPS) if plots else 0
    parted = runs_of_parts(times) if asked.keep else 0
    progress = Progress(sum(goal.runs(quick=asked.quick) for goal in chosen) + plotted + parted)
    try:
        runs = KeptRuns(asked.resume, progress.step)
    except NotRuns as error:
        parser.error(str(error))
    told = []
    for goal in chosen:
        progress.begin(goal.name)
        told.append(_told(goal, runs.of(goal.name), quick=asked.quick))
    unmeasured: dict[str, str] = {}
    if asked.keep:
        page.keep(told, machine, runs=times)  # before what takes long, and may fail
        progress.begin("the parts of a step")
        try:
            parts = measured_parts(runs.of("parts"), times)
            page.keep(told, machine, parts=parts, runs=times)
        except RunFailed as error:
            parts, unmeasured["parts"] = None, str(error)
        if plots:
            lines, unplotted = measured(progress.begin, runs)
            unmeasured |= unplotted
            page.keep(told, machine, parts=parts, lines=lines, runs=times)
            draw(lines, FIGURES)
    progress.end()
    if asked.json:
        whole = {"goals": told, "unmeasured": unmeasured, "machine": machine}
        sys.stdout.write(json.dumps(whole, indent=1) + "\n")
    else:
        _show(told, unmeasured, machine)
    return 3 if unmeasured or any(goal["ratio"] is None for goal in told) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a goal's number, or words of its name"
    )
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument("--quick", action="store_true", help="coarser, in under a minute")
    parser.add_argument(
        "--keep", action="store_true", help="keep the figures, and write docs/performance.md anew"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="write the runs down there, and go on from it"
    )
    return parser


def _is_asked_for(goal: Goal, names: Sequence[str], *, quick: bool) -> bool:
    if names:
        return any(_names(name, goal) for name in names)
    return goal.is_quick or not quick


def _names(name: str, goal: Goal) -> bool:
    return goal.number == int(name) if name.isdecimal() else name.lower() in goal.name.lower()


def _listed() -> str:
    return "\n".join(f"  {goal.number}  {goal.name}" for goal in GOALS)


def _head(goal: Goal) -> dict[str, Any]:
    return {
        "id": goal.number,
        "name": goal.name,
        "goal": goal.wanted,
        "at_least": goal.at_least,
    }


def _told(goal: Goal, run: Run, *, quick: bool) -> dict[str, Any]:
    try:
        finding = goal.measure(quick=quick, run=run)
    except RunFailed as error:
        return {**_head(goal), "ratio": None, "met": False, "error": str(error)}
    return _as_json(goal, finding)


def _as_json(goal: Goal, finding: Finding) -> dict[str, Any]:
    return {
        **_head(goal),
        "ratio": finding.ratio.median,
        "lowest": finding.ratio.low,
        "highest": finding.ratio.high,
        "met": goal.is_met_by(finding.ratio.median),
        "figures": dict(finding.figures),
    }


def _show(
    told: Sequence[dict[str, Any]], unmeasured: dict[str, str], machine: dict[str, Any]
) -> None:
    for each in told:
        if each["ratio"] is None:
            sys.stdout.write(f"{each['id']:>2}  {each['name']}: {each['error']}\n")
            continue
        sign = "at least" if each["at_least"] else "at most"
        verdict = "met" if each["met"] else "NOT met"
        sys.stdout.write(
            f"{each['id']:>2}  {each['name']}: {each['ratio']:.3g} "
            f"({each['lowest']:.3g} to {each['highest']:.3g}), "
            f"wanted {sign} {each['goal']:.3g}: {verdict}\n"
        )
        for name, figure in each["figures"].items():
            sys.stdout.write(f"      {figure:,.4g} {name}\n")
    for name, error in unmeasured.items():
        sys.stdout.write(f"    {name} not measured, and left out of the page: {error}\n")
    sys.stdout.write(
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        f"SQLite {machine['sqlite']}, load {machine['load_before']}\n"
    )
