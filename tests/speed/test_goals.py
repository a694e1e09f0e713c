"""What each goal compares: which sides, at which size, measured by which sources. Nothing runs."""

import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.goals import GOALS
from benchmarks.kept_runs import MEASURED
from benchmarks.measuring import SIDES, Side
from benchmarks.sides.store import bytes_a_record
from tests.sources import ROOT, files_of

Size = dict[str, Any]

_BARE: Final[tuple[str, Size, Size]] = ("disk single commits", {"count": 2_000}, {"count": 500})
_LONG: Final[tuple[str, Size, Size]] = (
    "engine steps",
    {"concurrent": 1, "sagas": 1, "legs": 10_000},
    {},
)

SIZES: Final[dict[str, list[tuple[str, Size, Size]]]] = {
    "durable steps, 64 sagas at once, beside DBOS": [
        ("engine steps", {"concurrent": 64, "sagas": 640, "legs": 10}, {"sagas": 192}),
        ("peer steps", {"concurrent": 64, "sagas": 128, "legs": 10}, {"sagas": 64}),
    ],
    "durable steps, one saga alone, beside DBOS": [
        ("engine steps", {"concurrent": 1, "sagas": 100, "legs": 10}, {"sagas": 15}),
        ("peer steps", {"concurrent": 1, "sagas": 50, "legs": 10}, {"sagas": 10}),
    ],
    "a step alone, beside a bare commit": [
        ("engine steps", {"concurrent": 1, "sagas": 1, "legs": 500}, {"legs": 100}),
        _BARE,
    ],
    "records, 100 waiting, beside sqlite3": [
        ("store records", {"waiting": 100, "legs": 10}, {}),
        (
            "disk rows",
            {"count": 50_000, "a_commit": 100, "size": bytes_a_record(legs=10)},
            {"count": 10_000},
        ),
    ],
    "refused leg to first undo, beside a bare commit": [
        ("engine undo", {"times": 15}, {"times": 5}),
        _BARE,
    ],
    "resume of half-way sagas, beside DBOS": [
        ("engine resume", {"sagas": 10_000, "legs": 10}, {"sagas": 200}),
        ("peer resume", {"sagas": 100, "legs": 10}, {"sagas": 30}),
    ],
    "resume a saga, many beside few": [
        ("engine resume", {"sagas": 10_000, "legs": 10}, {"sagas": 800}),
        ("engine resume", {"sagas": 1_000, "legs": 10}, {"sagas": 200}),
    ],
    "import and an open store, beside the libraries": [
        ("start engine", {}, {}),
        ("start libraries", {}, {}),
    ],
    "kB of memory a saga, 100,000 in flight": [("engine memory", {"sagas": 100_000}, {})],
    "bytes a step on disk": [("engine size", {"sagas": 1_000, "legs": 10}, {})],
    "history, 1 M batches beside 10 k": [
        ("history answers", {"batches": 1_000_000, "trades": 10, "times": 15}, {}),
        ("history answers", {"batches": 10_000, "trades": 10, "times": 15}, {}),
    ],
    "ms that the loop stands still, p99, 1,000 sagas": [
        ("engine stall", {"sagas": 1_000, "legs": 10}, {})
    ],
    "ms that the loop stands still, p99, 10,000 legs taken in": [
        ("engine taking in", {"legs": 10_000}, {})
    ],
    "ms that the loop stands still, p99, 10,000 legs carried out": [
        ("engine carrying out", {"legs": 10_000}, {})
    ],
    "a step, 10,000 sagas at once beside 10": [
        ("engine steps", {"concurrent": 10_000, "sagas": 10_000, "legs": 4}, {}),
        ("engine steps", {"concurrent": 10, "sagas": 1_000, "legs": 4}, {}),
    ],
    "a step of a saga alone, 10,000 legs beside 2": [
        _LONG,
        ("engine steps", {"concurrent": 1, "sagas": 500, "legs": 2}, {}),
    ],
    "a step of a saga alone, 10,000 legs beside 100": [
        _LONG,
        ("engine steps", {"concurrent": 1, "sagas": 20, "legs": 100}, {}),
    ],
    "commits that a HIGH batch waits behind 10,000 LOW ones": [
        ("engine overtaking", {"low": 10_000}, {})
    ],
    "seeds of the simulation a second and core": [("simulation seeds", {"count": 300}, {})],
}
"""Of each goal its sides: at full size, and what is fewer with `--quick`."""


@pytest.mark.parametrize("quick", [False, True], ids=["full size", "quick"])
def test_each_goal_is_measured_at_the_size_that_it_names(quick: bool) -> None:
    found = {}
    for goal in GOALS:
        ran: list[tuple[str, Size]] = []

        def run(side: Side, ran: list[tuple[str, Size]] = ran) -> dict[str, Any]:
            ran.append((side.name, dict(side.arguments)))
            return defaultdict(lambda: 1.0)

        goal.measure(quick=quick, run=run)
        found[goal.name] = ran[: goal.sides]
    assert found == {
        name: [(side, {**full, **(fewer if quick else {})}) for side, full, fewer in sides]
        for name, sides in SIZES.items()
    }


_LOADED: Final = """
import sys
from importlib import import_module
for module in sys.argv[1:]:
    import_module(f"benchmarks.sides.{module}")
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None))
"""


def test_whatever_a_side_loads_of_the_project_is_in_the_digest_of_the_runs() -> None:
    modules = sorted({module for module, _ in SIDES.values()})
    if find_spec("dbos") is None:  # an extra, which only the benchmark needs
        modules = [module for module in modules if not module.startswith("peer")]
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {Path(line) for line in done.stdout.splitlines()}
    libraries = Path(sys.prefix)  # may lie in the project
    ours = {file for file in loaded if ROOT in file.parents and libraries not in file.parents}
    assert len(ours) > 100
    # What lies in `tests` itself reads and writes files, which no side does in the time.
    beside = {file for file in ours - {*files_of(MEASURED)} if file.parent != ROOT / "tests"}
    assert beside == set()
