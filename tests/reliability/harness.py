"""The harnesses, how each is run, and what a reader wants to see of what it says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

SEEDS: Final = 200_000
"""So many lives the simulation plays for the page."""
FIRST: Final = 1
RUN: Final = "build/simulation.json"
"""Where that run is written down as it goes."""

Figures = Mapping[str, Any]
"""What a harness printed as JSON."""


@dataclass(frozen=True, slots=True)
class Harness:
    """One way of trying to break the engine.

    Attributes:
        name: how it is called on the command line and in the file of its figures.
        title: how it is called on the page.
        module: run as `python -m MODULE ARGUMENTS --json`.
        arguments: at the size that the page promises.
        quick: at a size that shows that everything works.
        shown: lines of the page: what, and the figure.
        command: what a reader types to have it again.
    """

    name: str
    title: str
    module: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    shown: Callable[[Figures], list[tuple[str, str]]]
    command: str

    def with_seeds(self, seeds: int, first: int) -> "Harness":
        """Return the harness at another number of seeds, from another one on, if it has any."""
        if "--from" not in self.arguments or (seeds, first) == (SEEDS, FIRST):
            return self
        others = {f"{SEEDS}": f"{seeds}", f"{FIRST}": f"{first}", RUN: f"build/from-{first}.json"}
        return replace(
            self,
            arguments=tuple(others.get(each, each) for each in self.arguments),
            command=f"python -m tests.simulation --seeds {seeds} --from {first}",
        )


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def _simulation(told: Figures) -> list[tuple[str, str]]:
    faults = told["faults"]
    rarest = min(faults, key=lambda name: faults[name])
    return [
        ("seeds, each a life of its own", _number(told["seeds"])),
        ("sagas", _number(told["sagas"])),
        ("crashes", _number(told["crashes"])),
        ("orders at the model exchange", _number(told["orders"])),
        ("kinds of fault", _number(len(faults))),
        ("faults that fired", _number(sum(faults.values()))),
        (f"the rarest of them ({rarest})", _number(faults[rarest])),
        ("**invariants broken**", f"**{_count(told['violations'])}**"),
    ]


def _count(value: Any) -> str:
    return _number(value if isinstance(value, int) else len(value))


def _grid(told: Figures) -> list[tuple[str, str]]:
    return [
        ("cells (crash point x behaviour x loss)", _number(told["cells"])),
        ("runs (with 1, 2 and 4 legs, in every mode)", _number(told["runs"])),
        (
            "runs whose crash point cannot come, by the rules",
            _number(sum(told["unreached"].values())),
        ),
        (
            "**runs that came out otherwise than the rules say**",
            f"**{_count(told['violations'])}**",
        ),
    ]


def _power(told: Figures) -> list[tuple[str, str]]:
    full, normal = told["FULL"], told["NORMAL"]
    return [
        ("images of the disk, `synchronous=FULL`", _number(full["images"])),
        ("**acknowledged commits lost**", f"**{_number(full['lost'])}**"),
        ("**files damaged**", f"**{_number(full['corrupt'])}**"),
        ("images, `synchronous=NORMAL` (the control)", _number(normal["images"])),
        ("of those, images in which a commit was lost", _number(normal["lost"])),
    ]


def _kill(told: Figures) -> list[tuple[str, str]]:
    return [
        ("kills, stops and other strikes", _number(told["kills"])),
        ("named points at which they came", _number(len(told["points"]))),
        ("batches", _number(told["batches"])),
        ("orders at the exchange", _number(told["orders"])),
        ("starts refused, as they should be", _number(told["refused_starts"])),
        ("**lost**", f"**{_number(told['lost'])}**"),
        ("**doubled**", f"**{_number(told['doubled'])}**"),
        ("**unexplained**", f"**{_count(told['unexplained'])}**"),
    ]


def _planted(told: Figures) -> list[tuple[str, str]]:
    return [
        ("bugs planted", _number(told["planted"])),
        ("**found**", f"**{_number(told['found'])}**"),
        ("missed", _count(told["missed"])),
    ]


def _mutation(told: Figures) -> list[tuple[str, str]]:
    return [
        ("mutants of core and machine", _number(told["mutants"])),
        ("killed by a test that fails", _number(told["killed"])),
        ("killed by a test that does not end any more", _number(told["timeout"])),
        ("survivors, each with a reason", _count(told["survived"])),
        ("survivors without a reason", _count(told["unexplained"])),
        ("**killed, of all**", f"**{told['score']:.1%}**"),
    ]


HARNESSES: Final = (
    Harness(
        "simulation",
        "Simulation",
        "tests.simulation",
        ("--seeds", f"{SEEDS}", "--from", f"{FIRST}", "--jobs", "2", "--resume", RUN),
        ("--seeds", "2000", "--from", "1", "--jobs", "2"),
        _simulation,
        f"make simulate SEEDS={SEEDS}",
    ),
    Harness("grid", "The fault grid", "tests.grid", (), (), _grid, "make grid"),
    Harness("power_loss", "Power loss", "tests.power_loss", (), (), _power, "make power-loss"),
    Harness(
        "kill",
        "kill -9",
        "tests.crash.drill",
        ("--kills", "200", "--jobs", "2"),
        ("--kills", "12", "--jobs", "2"),
        _kill,
        "make kill N=200",
    ),
    Harness("planted", "Planted bugs", "tests.planted", (), (), _planted, "make planted"),
    Harness("mutation", "Mutation", "tests.mutation", (), (), _mutation, "make mutate"),
)
