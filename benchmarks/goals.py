"""The goals: which sides are compared for each, by what figure, and what ratio is wanted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from benchmarks.measuring import Run, Side, Spread, in_turn
from benchmarks.sides.store import bytes_a_record

RUNS: Final = 5
QUICK_RUNS: Final = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What a measurement came to.

    Attributes:
        ratio: of the two sides, run by run.
        figures: what was measured, in words that carry the unit.
    """

    ratio: Spread
    figures: Mapping[str, float]


class Measure(Protocol):
    """How a goal is measured."""

    def __call__(self, *, quick: bool, run: Run) -> Finding:
        """Take the figures; `quick` makes them coarser."""
        ...


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        wanted: the ratio that is wanted.
        at_least: the ratio is to be at least that; else at most.
        sides: how many processes one run of it takes.
        is_quick: it is measured with `--quick` as well.
    """

    number: int
    name: str
    wanted: float
    at_least: bool
    sides: int
    measure: Measure
    is_quick: bool = False

    def runs(self, *, quick: bool) -> int:
        """Return how many processes it takes."""
        return self.sides * (QUICK_RUNS if quick else RUNS)

    def is_met_by(self, ratio: float) -> bool:
        """Tell whether a ratio is good enough."""
        return ratio >= self.wanted if self.at_least else ratio <= self.wanted


def _compared(sides: Sequence[Side], quick: bool, run: Run) -> list[list[dict[str, Any]]]:
    return in_turn(sides, QUICK_RUNS if quick else RUNS, run)


def _middle(runs: Sequence[Mapping[str, float]], figure: str) -> float:
    return Spread.of([run[figure] for run in runs]).median


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the two that a ratio is made of: which figure of which side, and how it is called."""

    side: Side
    figure: str
    unit: str


def _beside(parts: Callable[[bool], tuple[_Part, _Part]], scale: float = 1.0) -> Measure:
    """Return how a goal is measured that is the ratio of the first part to the second.

    Args:
        parts: of a quick run, or of one at full size.
        scale: of the figures into their units.
    """

    def measure(*, quick: bool, run: Run) -> Finding:
        left, right = parts(quick)
        ours, others = _compared((left.side, right.side), quick, run)
        return Finding(
            Spread.of(
                [a[left.figure] / b[right.figure] for a, b in zip(ours, others, strict=True)]
            ),
            {
                left.unit: _middle(ours, left.figure) * scale,
                right.unit: _middle(others, right.figure) * scale,
            },
        )

    return measure


def _steps(concurrent: int, sagas: int, legs: int, of: str = "engine") -> Side:
    return Side(f"{of} steps", {"concurrent": concurrent, "sagas": sagas, "legs": legs})


def _steps_at_once(quick: bool) -> tuple[_Part, _Part]:
    return (
        _Part(_steps(64, 192 if quick else 640, 10), "rate", "steps/s"),
        _Part(_steps(64, 64 if quick else 128, 10, "peer"), "rate", "steps/s of DBOS"),
    )


def _steps_alone(quick: bool) -> tuple[_Part, _Part]:
    return (
        _Part(_steps(1, 15 if quick else 100, 10), "rate", "steps/s"),
        _Part(_steps(1, 10 if quick else 50, 10, "peer"), "rate", "steps/s of DBOS"),
    )


def _bare_commit(quick: bool) -> _Part:
    bare = Side("disk single commits", {"count": 500 if quick else 2_000})
    return _Part(bare, "seconds", "ms a bare aiosqlite commit")


def _step_beside_commit(quick: bool) -> tuple[_Part, _Part]:
    alone = _steps(1, 1, 100 if quick else 500)
    return _Part(alone, "seconds_a_step", "ms a step"), _bare_commit(quick)


def _undo_begins(quick: bool) -> tuple[_Part, _Part]:
    undo = Side("engine undo", {"times": 5 if quick else 15})
    return _Part(undo, "seconds", "ms to the first undo"), _bare_commit(quick)


def _records_waiting(*, quick: bool, run: Run) -> Finding:
    ours = Side("store records", {"waiting": 100, "legs": 10})
    size = bytes_a_record(legs=10)
    count = 10_000 if quick else 50_000
    raw = Side("disk rows", {"count": count, "a_commit": 100, "size": size})
    parts = _Part(ours, "rate", "records/s"), _Part(raw, "rate", "rows/s of sqlite3")
    found = _beside(lambda _: parts)(quick=quick, run=run)
    return Finding(found.ratio, {**found.figures, "bytes a record": size})


def _resumed(sagas: int, figure: str, unit: str, of: str = "engine") -> _Part:
    return _Part(Side(f"{of} resume", {"sagas": sagas, "legs": 10}), figure, unit)


def _resume(quick: bool) -> tuple[_Part, _Part]:
    return (
        _resumed(200 if quick else 10_000, "rate", "sagas/s"),
        _resumed(30 if quick else 100, "rate", "workflows/s of DBOS", "peer"),
    )


def _resume_many(quick: bool) -> tuple[_Part, _Part]:
    few, many = (200, 800) if quick else (1_000, 10_000)
    return (
        _resumed(many, "seconds_a_saga", f"ms a saga at {many:,}"),
        _resumed(few, "seconds_a_saga", f"ms a saga at {few:,}"),
    )


def _start(_: bool) -> tuple[_Part, _Part]:
    return (
        _Part(Side("start engine"), "seconds", "ms to an open store"),
        _Part(Side("start libraries"), "seconds", "ms to import the libraries"),
    )


def _history(_: bool) -> tuple[_Part, _Part]:
    def part(batches: int, unit: str) -> _Part:
        asked = Side("history answers", {"batches": batches, "trades": 10, "times": 15})
        return _Part(asked, "p99", unit)

    return part(1_000_000, "ms p99 at 1 M"), part(10_000, "ms p99 at 10 k")


def _many_sagas(_: bool) -> tuple[_Part, _Part]:
    return (
        _Part(_steps(10_000, 10_000, 4), "seconds_a_step", "ms at 10,000 sagas"),
        _Part(_steps(10, 1_000, 4), "seconds_a_step", "ms at 10 sagas"),
    )


def _many_legs(_: bool) -> tuple[_Part, _Part]:
    return (
        _Part(_steps(1, 1, 10_000), "seconds_a_step", "ms with 10,000 legs"),
        _Part(_steps(1, 500, 2), "seconds_a_step", "ms with 2 legs"),
    )


def _many_legs_beside_some(_: bool) -> tuple[_Part, _Part]:
    return (
        _Part(_steps(1, 1, 10_000), "seconds_a_step", "ms with 10,000 legs"),
        _Part(_steps(1, 20, 100), "seconds_a_step", "ms with 100 legs"),
    )


def _figure(side: Side, figure: str, unit: str, scale: float = 1.0) -> Measure:
    """Return how a goal is measured that is one figure, and no ratio."""
    return _figures(side, {figure: unit}, scale)


def _figures(side: Side, units: Mapping[str, str], scale: float) -> Measure:
    """Return how a goal is measured that is the first of some figures; the others are told."""

    def measure(*, quick: bool, run: Run) -> Finding:
        (runs,) = _compared((side,), quick, run)
        found = [Spread.of([run[figure] * scale for run in runs]) for figure in units]
        told = {unit: each.median for unit, each in zip(units.values(), found, strict=True)}
        return Finding(found[0], told)

    return measure


def _lateness(side: Side) -> Measure:
    return _figures(side, {"p99": "ms late", "longest": "ms late at the longest"}, 1e3)


GOALS: Final = (
    Goal(
        1,
        "durable steps, 64 sagas at once, beside DBOS",
        60,
        True,
        2,
        _beside(_steps_at_once),
        True,
    ),
    Goal(2, "durable steps, one saga alone, beside DBOS", 8, True, 2, _beside(_steps_alone), True),
    Goal(
        2,
        "a step alone, beside a bare commit",
        1.5,
        False,
        2,
        _beside(_step_beside_commit, 1e3),
        True,
    ),
    Goal(3, "records, 100 waiting, beside sqlite3", 1 / 8, True, 2, _records_waiting, True),
    Goal(
        4,
        "refused leg to first undo, beside a bare commit",
        2,
        False,
        2,
        _beside(_undo_begins, 1e3),
    ),
    Goal(5, "resume of half-way sagas, beside DBOS", 60, True, 2, _beside(_resume), True),
    Goal(5, "resume a saga, many beside few", 1.3, False, 2, _beside(_resume_many, 1e3)),
    Goal(5, "import and an open store, beside the libraries", 1.5, False, 2, _beside(_start, 1e3)),
    Goal(
        *(6, "kB of memory a saga, 100,000 in flight", 12, False, 1),
        _figure(Side("engine memory", {"sagas": 100_000}), "bytes", "kB a saga", 1e-3),
    ),
    Goal(
        *(6, "bytes a step on disk", 600, False, 1),
        _figure(Side("engine size", {"sagas": 1_000, "legs": 10}), "bytes", "bytes a step"),
    ),
    Goal(
        *(7, "history, 1 M batches beside 10 k", 2, False, 2),
        _beside(_history, 1e3),
    ),
    Goal(
        *(8, "ms that the loop stands still, p99, 1,000 sagas", 5, False, 1),
        _lateness(Side("engine stall", {"sagas": 1_000, "legs": 10})),
    ),
    Goal(
        *(8, "ms that the loop stands still, p99, 10,000 legs taken in", 5, False, 1),
        _lateness(Side("engine taking in", {"legs": 10_000})),
    ),
    Goal(
        *(8, "ms that the loop stands still, p99, 10,000 legs carried out", 5, False, 1),
        _lateness(Side("engine carrying out", {"legs": 10_000})),
    ),
    Goal(9, "a step, 10,000 sagas at once beside 10", 1.5, False, 2, _beside(_many_sagas, 1e3)),
    Goal(
        9, "a step of a saga alone, 10,000 legs beside 2", 1.5, False, 2, _beside(_many_legs, 1e3)
    ),
    Goal(
        *(9, "a step of a saga alone, 10,000 legs beside 100", 1.5, False, 2),
        _beside(_many_legs_beside_some, 1e3),
    ),
    Goal(
        *(9, "commits that a HIGH batch waits behind 10,000 LOW ones", 2, False, 1),
        _figure(Side("engine overtaking", {"low": 10_000}), "commits", "commits"),
    ),
    Goal(
        *(10, "seeds of the simulation a second and core", 150, True, 1),
        _figure(Side("simulation seeds", {"count": 300}), "rate", "seeds/s"),
    ),
)
