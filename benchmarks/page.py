"""Keeps what was measured, and writes it into `docs/performance.md` between two marks."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.sweeps import SWEEPS

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "figures"
KEPT: Final = FIGURES / "performance.json"
PAGE: Final = ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- figures: written by `make benchmark ARGS=--keep`, not by hand -->"
END: Final = "<!-- end of the figures -->"


def keep(
    goals: Sequence[Mapping[str, Any]],
    machine: Mapping[str, Any],
    lines: Mapping[str, Any],
    *,
    runs: int,
) -> None:
    """Write down what was measured, when, and at which commit.

    Args:
        goals: what each goal came to.
        machine: on what.
        lines: of the plots, by name; empty where none were taken.
        runs: so many runs of each side the figures are the middle of.
    """
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    kept = {
        "commit": done.stdout.strip() or "unknown",
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine,
        "runs": runs,
        "goals": goals,
        "lines": lines,
    }
    FIGURES.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def page_with_figures(text: str, kept: Mapping[str, Any]) -> str:
    """Return the page with the kept figures in it.

    Raises:
        ValueError: a mark is missing.
    """
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"docs/performance.md has lost one of its marks: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{_figures(kept)}\n\n{END}{after}"


def write_page() -> None:
    """Write the kept figures into the page."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(page_with_figures(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")


def _figures(kept: Mapping[str, Any]) -> str:
    machine = kept["machine"]
    lines = [
        f"At commit `{kept['commit']}`, {kept['at']}, on {machine['cores']} cores of "
        f"{machine['processor']}, {machine['system']}, Python {machine['python']}, SQLite "
        f"{machine['sqlite']}; the middle of {kept['runs']} run{'s' * (kept['runs'] > 1)} each.",
        "",
        "| # | goal | wanted | measured | spread | |",
        "| --- | --- | ---: | ---: | --- | --- |",
        *(_row(goal) for goal in kept["goals"]),
    ]
    for sweep in SWEEPS:
        if sweep.name in kept["lines"]:
            lines += ["", f"![{sweep.title}](figures/{sweep.name}.svg)"]
    return "\n".join(lines)


def _row(goal: Mapping[str, Any]) -> str:
    wanted = f"{'at least' if goal['at_least'] else 'at most'} {goal['goal']:.4g}"
    if goal["ratio"] is None:
        return f"| {goal['id']} | {goal['name']} | {wanted} | not measured | | {goal['error']} |"
    behind = ", ".join(f"{figure:,.4g} {unit}" for unit, figure in goal["figures"].items())
    verdict = "met" if goal["met"] else "**not met**"
    return (
        f"| {goal['id']} | {goal['name']} ({behind}) | {wanted} | {goal['ratio']:.3g} | "
        f"{goal['lowest']:.3g} to {goal['highest']:.3g} | {verdict} |"
    )
