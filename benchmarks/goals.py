"""The goals: which sides are compared for each, by what figure, and what ratio is wanted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from benchmarks.measuring import Side, Spread, in_turn

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

    def __call__(self, *, quick: bool, on_run: Callable[[], None]) -> Finding:
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


def _compared(
    sides: Sequence[Side], quick: bool, on_run: Callable[[], None]
) -> list[list[dict[str, Any]]]:
    return in_turn(sides, QUICK_RUNS if quick else RUNS, on_run)


def _ratios(
    left: Sequence[Mapping[str, float]], right: Sequence[Mapping[str, float]], figure: str
) -> Spread:
    return Spread.of([a[figure] / b[figure] for a, b in zip(left, right, strict=True)])


def _middle(runs: Sequence[Mapping[str, float]], figure: str) -> float:
    return Spread.of([run[figure] for run in runs]).median


def _steps_at_once(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    ours = Side("engine steps", {"concurrent": 64, "sagas": 192 if quick else 640, "legs": 10})
    peer = Side("peer steps", {"concurrent": 64, "sagas": 64 if quick else 128, "legs": 10})
    engine, dbos = _compared((ours, peer), quick, on_run)
    return Finding(
        _ratios(engine, dbos, "rate"),
        {"steps/s": _middle(engine, "rate"), "steps/s of DBOS": _middle(dbos, "rate")},
    )


def _steps_alone(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    ours = Side("engine steps", {"concurrent": 1, "sagas": 15 if quick else 100, "legs": 10})
    peer = Side("peer steps", {"concurrent": 1, "sagas": 10 if quick else 50, "legs": 10})
    engine, dbos = _compared((ours, peer), quick, on_run)
    return Finding(
        _ratios(engine, dbos, "rate"),
        {"steps/s": _middle(engine, "rate"), "steps/s of DBOS": _middle(dbos, "rate")},
    )


def _step_beside_commit(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    ours = Side("engine steps", {"concurrent": 1, "sagas": 1, "legs": 100 if quick else 500})
    bare = Side("disk single commits", {"count": 500 if quick else 2_000})
    engine, disk = _compared((ours, bare), quick, on_run)
    ratios = [a["seconds_a_step"] / b["seconds"] for a, b in zip(engine, disk, strict=True)]
    return Finding(
        Spread.of(ratios),
        {
            "ms a step": _middle(engine, "seconds_a_step") * 1e3,
            "ms a bare aiosqlite commit": _middle(disk, "seconds") * 1e3,
        },
    )


def _records_waiting(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    ours = Side("store records", {"waiting": 100, "legs": 10})
    size = int(ours.run()["bytes"])
    raw = Side("disk rows", {"count": 10_000 if quick else 50_000, "a_commit": 100, "size": size})
    store, disk = _compared((ours, raw), quick, on_run)
    return Finding(
        _ratios(store, disk, "rate"),
        {
            "records/s": _middle(store, "rate"),
            "rows/s of sqlite3": _middle(disk, "rate"),
            "bytes a record": size,
        },
    )


def _undo_begins(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    ours = Side("engine undo", {"times": 5 if quick else 15})
    bare = Side("disk single commits", {"count": 500 if quick else 2_000})
    engine, disk = _compared((ours, bare), quick, on_run)
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(engine, disk, strict=True)]
    return Finding(
        Spread.of(ratios),
        {
            "ms to the first undo": _middle(engine, "seconds") * 1e3,
            "ms a bare aiosqlite commit": _middle(disk, "seconds") * 1e3,
        },
    )


def _resume(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    ours = Side("engine resume", {"sagas": 200 if quick else 10_000, "legs": 10})
    peer = Side("peer resume", {"sagas": 30 if quick else 100, "legs": 10})
    engine, dbos = _compared((ours, peer), quick, on_run)
    return Finding(
        _ratios(engine, dbos, "rate"),
        {"sagas/s": _middle(engine, "rate"), "workflows/s of DBOS": _middle(dbos, "rate")},
    )


def _resume_many(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    few, many = (200, 800) if quick else (1_000, 10_000)
    sides = [Side("engine resume", {"sagas": count, "legs": 10}) for count in (few, many)]
    small, large = _compared(sides, quick, on_run)
    return Finding(
        _ratios(large, small, "seconds_a_saga"),
        {
            f"ms a saga at {few:,}": _middle(small, "seconds_a_saga") * 1e3,
            f"ms a saga at {many:,}": _middle(large, "seconds_a_saga") * 1e3,
        },
    )


def _start(*, quick: bool, on_run: Callable[[], None]) -> Finding:
    engine, libraries = _compared((Side("start engine"), Side("start libraries")), quick, on_run)
    return Finding(
        _ratios(engine, libraries, "seconds"),
        {
            "ms to an open store": _middle(engine, "seconds") * 1e3,
            "ms to import the libraries": _middle(libraries, "seconds") * 1e3,
        },
    )


def _figure(side: Side, figure: str, unit: str, scale: float = 1.0) -> Measure:
    """Return how a goal is measured that is one figure, and no ratio."""

    def measure(*, quick: bool, on_run: Callable[[], None]) -> Finding:
        (runs,) = _compared((side,), quick, on_run)
        found = Spread.of([run[figure] * scale for run in runs])
        return Finding(found, {unit: found.median})

    return measure


def _larger(small: Side, large: Side, figure: str, units: tuple[str, str]) -> Measure:
    """Return how a goal is measured that compares a large run of a side with a small one."""

    def measure(*, quick: bool, on_run: Callable[[], None]) -> Finding:
        few, many = _compared((small, large), quick, on_run)
        return Finding(
            _ratios(many, few, figure),
            {
                f"ms {units[0]}": _middle(few, figure) * 1e3,
                f"ms {units[1]}": _middle(many, figure) * 1e3,
            },
        )

    return measure


def _steps(sagas: int, legs: int) -> Side:
    return Side("engine steps", {"concurrent": sagas, "sagas": sagas, "legs": legs})


def _history(batches: int) -> Side:
    return Side("history answers", {"batches": batches, "trades": 10, "times": 15})


_MANY_SAGAS: Final = _larger(
    _steps(10, 100), _steps(10_000, 4), "seconds_a_step", ("at 10 sagas", "at 10,000 sagas")
)
_MANY_LEGS: Final = _larger(
    _steps(500, 2), _steps(1, 10_000), "seconds_a_step", ("with 2 legs", "with 10,000 legs")
)

GOALS: Final = (
    Goal(1, "durable steps, 64 sagas at once, beside DBOS", 60, True, 2, _steps_at_once, True),
    Goal(2, "durable steps, one saga alone, beside DBOS", 8, True, 2, _steps_alone, True),
    Goal(2, "a step alone, beside a bare commit", 1.5, False, 2, _step_beside_commit, True),
    Goal(3, "records, 100 waiting, beside sqlite3", 1 / 8, True, 2, _records_waiting, True),
    Goal(4, "refused leg to first undo, beside a bare commit", 2, False, 2, _undo_begins),
    Goal(5, "resume of half-way sagas, beside DBOS", 60, True, 2, _resume, True),
    Goal(5, "resume a saga, many beside few", 1.3, False, 2, _resume_many),
    Goal(5, "import and an open store, beside the libraries", 1.5, False, 2, _start),
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
        _larger(_history(10_000), _history(1_000_000), "p99", ("p99 at 10 k", "p99 at 1 M")),
    ),
    Goal(
        *(8, "ms that the loop stands still, p99, 1,000 sagas", 5, False, 1),
        _figure(Side("engine stall", {"sagas": 1_000, "legs": 10}), "p99", "ms late", 1e3),
    ),
    Goal(9, "a step, 10,000 sagas at once beside 10", 1.5, False, 2, _MANY_SAGAS),
    Goal(9, "a step, 10,000 legs beside 2", 1.5, False, 2, _MANY_LEGS),
    Goal(
        *(9, "commits that a HIGH batch waits behind 10,000 LOW ones", 2, False, 1),
        _figure(Side("engine overtaking", {"low": 10_000}), "commits", "commits"),
    ),
    Goal(
        *(10, "seeds of the simulation a second and core", 150, True, 1),
        _figure(Side("simulation seeds", {"count": 300}), "rate", "seeds/s"),
    ),
)
