"""Keeps what was measured, and writes it into `docs/performance.md` between two marks."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.findings import as_row
from benchmarks.machine import lasting
from benchmarks.parts import tables
from benchmarks.sweeps import SWEEPS
from tests.reliability.written_page import FIGURES, WrittenPage, commit_at_hand, instant_at_hand

KEPT: Final = FIGURES / "performance.json"
PAGE: Final = WrittenPage("performance.md", "make benchmark ARGS=--keep")


def keep(
    goals: Sequence[Mapping[str, Any]],
    machine: Mapping[str, Any],
    *,
    runs: int,
    quick: bool,
    begun: str,
    parts: Mapping[str, Any] | None = None,
    lines: Mapping[str, Any] | None = None,
) -> None:
    """Write down what was measured, when, and at which commit; and the page with it.

    Args:
        goals: what each goal came to.
        machine: on what.
        runs: so many runs of each side the figures are the middle of.
        quick: they are coarse, and not all goals were measured.
        begun: when the first of them was.
        parts: of a step, see `measured_parts`; None if they were not taken.
        lines: of the plots, by name; None if none were taken.
    """
    kept = {
        "commit": commit_at_hand(),
        "begun": begun,
        "ended": instant_at_hand(),
        "machine": machine,
        "runs": runs,
        "quick": quick,
        "goals": goals,
        "parts": parts,
        "lines": lines or {},
    }
    FIGURES.mkdir(exist_ok=True)
    _write(kept)


def _write(kept: Mapping[str, Any]) -> None:
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write(_figures(kept))


class NotRenewable(Exception):
    """The rows of some goals cannot be put among those that are kept; the sentence says why."""


def check_renewable(machine: Mapping[str, Any]) -> None:
    """Make sure that what is measured on this machine may stand among what is kept.

    Raises:
        NotRenewable: it may not, for it is nothing to compare it with.
    """
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else None
    if kept is None or kept["quick"]:
        raise NotRenewable("--keep of some goals: no whole run is kept yet; leave out the names")
    if lasting(kept["machine"]) != lasting(machine):
        raise NotRenewable(
            "--keep of some goals: the others were measured on another machine; leave out the names"
        )


def renew(goals: Sequence[Mapping[str, Any]]) -> None:
    """Put goals in the place of what is kept of them, each with its commit; and write the page."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    where = {"commit": commit_at_hand(), "ended": instant_at_hand()}
    anew = {goal["name"]: {**goal, **where} for goal in goals if goal["ratio"] is not None}
    kept["goals"] = [anew.get(goal["name"], goal) for goal in kept["goals"]]
    _write(kept)


def page_with_figures(text: str, kept: Mapping[str, Any]) -> str:
    """Return the page with the kept figures in it.

    Raises:
        ValueError: a mark is missing.
    """
    return PAGE.with_figures(text, _figures(kept))


def _figures(kept: Mapping[str, Any]) -> str:
    machine = kept["machine"]
    how = (
        "a coarse look, one run of each side (`--quick`): goals that are not here were not measured"
        if kept["quick"]
        else f"the middle of {kept['runs']} runs each"
    )
    lines = [
        f"At commit `{kept['commit']}`, {kept['begun']} to {kept['ended']}, on {machine['cores']} "
        f"cores of {machine['processor']} (load {machine['load_before']} before), "
        f"{machine['system']}, Python {machine['python']}, SQLite {machine['sqlite']}; {how}.",
        "",
        "| # | goal | wanted | measured | spread | |",
        "| --- | --- | ---: | ---: | --- | --- |",
        *(as_row(goal, quick=kept["quick"]) for goal in kept["goals"]),
    ]
    if kept["parts"] is not None:
        lines += ["", *tables(kept["parts"])]
    for sweep in SWEEPS:
        if sweep.name in kept["lines"]:
            lines += ["", f"![{sweep.title}](figures/{sweep.name}.svg)"]
    return "\n".join(lines)
