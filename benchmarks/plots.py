"""Draws the plots of `docs/performance.md` from the figures that were kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.sweeps import SWEEPS, Sweep

_SIZE: Final = (7.0, 4.0)
_MARKERS: Final = ("o", "s", "^", "D")


def draw(lines: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every plot that has lines, and return where they are.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return [
        _draw(sweep, lines[sweep.name], folder / f"{sweep.name}.svg")
        for sweep in SWEEPS
        if sweep.name in lines
    ]


def _draw(sweep: Sweep, lines: Mapping[str, Any], path: Path) -> Path:
    import matplotlib as mpl  # only who draws needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # The same figures give the same file, and text stays text.
    with mpl.rc_context({"svg.hashsalt": sweep.name, "svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=_SIZE)
        for number, (name, points) in enumerate(lines.items()):
            across, up = zip(*points, strict=True)
            axes.plot(across, up, marker=_MARKERS[number % len(_MARKERS)], label=name)
        axes.set(title=sweep.title, xlabel=sweep.across, ylabel=sweep.up)
        axes.set(xscale="log", yscale="log")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend()
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
    return path
