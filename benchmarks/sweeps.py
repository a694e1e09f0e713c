"""What the plots show: one figure against another, for the engine and for its peer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.kept_runs import KeptRuns
from benchmarks.measuring import RunFailed, Side, Spread, in_turn

RUNS_A_POINT: Final = 3
OURS: Final = "trade-saga"
ON_UVLOOP: Final = "trade-saga on uvloop"
PEER: Final = "DBOS on SQLite"


@dataclass(frozen=True, slots=True)
class Sweep:
    """One plot.

    Attributes:
        name: of its file.
        title: what it says above.
        across: what the horizontal axis counts.
        up: what the vertical axis measures, with the unit.
        figures: of a run, each a line of its own, by name; scaled into the unit.
        points: of each who takes part: the side to run for each place on the horizontal axis.
    """

    name: str
    title: str
    across: str
    up: str
    figures: Mapping[str, tuple[str, float]]
    points: Mapping[str, Mapping[int, Side]]

    @property
    def runs(self) -> int:
        """How many processes it takes."""
        return RUNS_A_POINT * sum(map(len, self.points.values()))

    def measure(self, runs: KeptRuns) -> dict[str, list[list[float]]]:
        """Run the sides in turn, place by place; return for each line its points, across and up."""
        lines: dict[str, list[list[float]]] = {
            _line(who, name): [] for who in self.points for name in self.figures
        }
        for place in sorted({place for sides in self.points.values() for place in sides}):
            there = {who: sides[place] for who, sides in self.points.items() if place in sides}
            run = runs.of(f"{self.name} at {place}", len(there))
            told = in_turn(list(there.values()), RUNS_A_POINT, run)
            for who, of_side in zip(there, told, strict=True):
                for name, (figure, scale) in self.figures.items():
                    middle = Spread.of([each[figure] for each in of_side]).median
                    lines[_line(who, name)].append([place, middle * scale])
        return lines


def _line(who: str, name: str) -> str:
    return f"{who}, {name}" if name else who


def _steps(side: str, concurrent: int, sagas: int, **more: Any) -> Side:
    return Side(side, {"concurrent": concurrent, "sagas": sagas, "legs": 10, **more})


def _resume(side: str, sagas: int) -> Side:
    return Side(side, {"sagas": sagas, "legs": 10})


def _history(side: str, batches: int) -> Side:
    return Side(side, {"batches": batches, "trades": 10, "times": 15})


SWEEPS: Final[Sequence[Sweep]] = (
    Sweep(
        "throughput",
        "Durable steps a second",
        "sagas at once",
        "steps/s",
        {"": ("rate", 1.0)},
        {
            OURS: {n: _steps("engine steps", n, max(40, 5 * n)) for n in (1, 4, 16, 64, 256)},
            ON_UVLOOP: {
                n: _steps("engine steps", n, max(40, 5 * n), uvloop=True) for n in (1, 16, 64)
            },
            PEER: {n: _steps("peer steps", n, max(10, n)) for n in (1, 4, 16, 64)},
        },
    ),
    Sweep(
        "latency",
        "How long a saga of ten steps takes",
        "sagas at once",
        "ms",
        {"median": ("median", 1e3), "99th percentile": ("p99", 1e3)},
        {
            OURS: {n: _steps("engine steps", n, max(100, 5 * n)) for n in (1, 16, 64)},
            PEER: {n: _steps("peer steps", n, max(30, 2 * n)) for n in (1, 16, 64)},
        },
    ),
    Sweep(
        "resume",
        "Until sagas that were left half-way are at their end",
        "sagas",
        "s",
        {"": ("seconds", 1.0)},
        {
            OURS: {n: _resume("engine resume", n) for n in (100, 1_000, 10_000)},
            PEER: {n: _resume("peer resume", n) for n in (25, 100)},
        },
    ),
    Sweep(
        "history",
        "How long a question to the history takes",
        "batches, ten trades each",
        "ms",
        {"median": ("median", 1e3), "99th percentile": ("p99", 1e3)},
        {
            OURS: {
                n: _history("history shared answers", n)
                for n in (1_000, 10_000, 100_000, 1_000_000)
            },
            PEER: {n: _history("peer history", n) for n in (1_000, 10_000, 100_000)},
        },
    ),
)


def measured(
    on_begin: Callable[[str], None], runs: KeptRuns
) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure all of them; return the lines of each plot by name, and why a plot has none."""
    lines: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for sweep in SWEEPS:
        on_begin(sweep.title)
        try:
            lines[sweep.name] = sweep.measure(runs)
        except RunFailed as error:
            failed[sweep.name] = str(error)
    return lines, failed
