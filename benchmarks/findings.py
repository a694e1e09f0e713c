"""What a goal came to: as JSON, in words, and as a row of the page."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.goals import Goal
from benchmarks.measuring import Run, RunFailed


def found(goal: Goal, run: Run, *, quick: bool) -> dict[str, Any]:
    """Measure a goal, and return what came of it; `ratio` is None where a side failed."""
    head = {
        "id": goal.number,
        "name": goal.name,
        "goal": goal.wanted,
        "at_least": goal.at_least,
    }
    try:
        finding = goal.measure(quick=quick, run=run)
    except RunFailed as error:
        return {**head, "ratio": None, "met": False, "error": str(error)}
    return {
        **head,
        "ratio": finding.ratio.median,
        "lowest": finding.ratio.low,
        "highest": finding.ratio.high,
        "met": goal.is_met_by(finding.ratio.median),
        "figures": dict(finding.figures),
    }


def in_words(told: Mapping[str, Any], *, quick: bool) -> Iterator[str]:
    """Return the lines that say so to a person."""
    if told["ratio"] is None:
        yield f"{told['id']:>2}  {told['name']}: {told['error']}"
        return
    spread = "one coarse run" if quick else _spread(told)
    verdict = "met" if told["met"] else "NOT met"
    yield f"{told['id']:>2}  {told['name']}:"
    yield f"      {told['ratio']:.3g} ({spread}), wanted {_wanted(told)}: {verdict}"
    for name, figure in told["figures"].items():
        yield f"      {figure:,.4g} {name}"


def as_row(told: Mapping[str, Any], *, quick: bool) -> str:
    """Return the row of the page's table that says so."""
    head = f"| {told['id']} | {told['name']}"
    if told["ratio"] is None:
        return f"{head} | {_wanted(told)} | not measured | | {told['error']} |"
    behind = ", ".join(f"{figure:,.4g} {unit}" for unit, figure in told["figures"].items())
    spread = "one run" if quick else _spread(told)
    verdict = "met" if told["met"] else "**not met**"
    if "commit" in told:
        behind += f"; at commit `{told['commit']}`, {told['ended']}"
    return f"{head} ({behind}) | {_wanted(told)} | {told['ratio']:.3g} | {spread} | {verdict} |"


def _wanted(told: Mapping[str, Any]) -> str:
    return f"{'at least' if told['at_least'] else 'at most'} {told['goal']:.4g}"


def _spread(told: Mapping[str, Any]) -> str:
    return f"{told['lowest']:.3g} to {told['highest']:.3g}"
