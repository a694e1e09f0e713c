"""`make mutate`: does a test notice when the pure core is wrong?

Every mutant of the modules is run against the core's own tests. The exit status is zero only when
at least 95 % of each group of modules are killed, and each survivor is explained in
`survivors.toml`.

Why not a tool that exists. mutmut 3.8 (BSD, with libcst and textual) runs here at a good speed, but
switches its mutants on when a function is called. The state machines are tables that are built on
import, and so are constants, enums, defaults and properties: 34 of its 55 mutants of `machine`
survived without ever having been run, and no arrow was touched. cosmic-ray 8.7 (MIT, with
SQLAlchemy, aiohttp and GitPython) does mutate them, but by writing into the checkout, and with a
new process of several seconds for each.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation import killing, operators
from tests.mutation.killing import Fate
from tests.mutation.operators import Mutant, Site
from tests.mutation.survivors import FILE, as_toml, entries, explanations

WANTED_SCORE: Final = 0.95
PROMISED: Final = "core and machine"
"""What decides; the rest is run where it is asked for."""
GROUPS: Final = {
    PROMISED: ("saga.core", "saga.machine"),
    "fold and ledger": ("saga.fold", "saga.ledger"),
}
TESTS: Final = (
    *killing.MACHINE_TESTS,
    "tests/core",
    "--ignore=tests/core/test_exhaustive_walk.py",  # half a minute for each mutant
)


@dataclass(slots=True)
class Count:
    """What became of the mutants of some modules."""

    fates: Counter[Fate] = field(default_factory=Counter)
    unexplained: list[Site] = field(default_factory=list)

    @property
    def mutants(self) -> int:
        return self.fates.total()

    @property
    def score(self) -> float:
        if not self.mutants:
            return 0.0
        return (self.fates[Fate.KILLED] + self.fates[Fate.TIMEOUT]) / self.mutants

    @property
    def is_enough(self) -> bool:
        return self.score >= WANTED_SCORE and not self.unexplained

    def as_json(self) -> dict[str, object]:
        return {
            "mutants": self.mutants,
            "killed": self.fates[Fate.KILLED],
            "survived": self.fates[Fate.SURVIVED],
            "timeout": self.fates[Fate.TIMEOUT],
            "score": round(self.score, 4),
            "unexplained": len(self.unexplained),
        }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--all", action="store_true", help="fold and ledger as well")
    parser.add_argument("--modules", help="only these, with commas between them: fold,ledger")
    parser.add_argument("--lines", help="only mutants of these lines: 120-180")
    parser.add_argument("--again", type=Path, help="only those that this file of survivors names")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--survivors", type=Path, help="write the unexplained survivors here")
    return parser.parse_args()


def _say(text: str, *, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


def main() -> int:
    """Run the mutants; return the exit status."""
    asked = _arguments()
    with killing.snapshot() as copy:
        return _mutate(asked, copy)


def _mutate(asked: argparse.Namespace, copy: Path) -> int:
    explained = explanations()
    modules = [module for group in GROUPS.values() for module in group]
    if not (asked.modules or asked.all):
        modules = list(GROUPS[PROMISED])
    if asked.modules:
        wanted = {f"saga.{name.strip()}" for name in asked.modules.split(",")}
        if unknown := wanted - set(modules):
            _say(f"{min(unknown)} is not mutated; choose from {', '.join(modules)}")
            return 2
        modules = [module for module in modules if module in wanted]
    enums = operators.enums_of(copy / "saga")
    low, _, high = (asked.lines or "1-1000000").partition("-")
    again = None if asked.again is None else {site for site, _ in entries(asked.again)}
    chosen = [
        mutant
        for module in modules
        for mutant in operators.mutants_of(module, _source(copy, module), enums)
        if int(low) <= mutant.line <= int(high or low) and (again is None or mutant.site in again)
    ]
    began = time.monotonic()
    counts = {module: Count() for module in modules}
    fates: Counter[Fate] = Counter()

    def told(mutant: Mutant, fate: Fate) -> None:
        fates[fate] += 1
        counts[mutant.module].fates[fate] += 1
        if fate is Fate.SURVIVED and mutant.site not in explained:
            counts[mutant.module].unexplained.append(mutant.site)
            _say(f"\r{_in_words(mutant)}")
        done = f"{fates.total()} of {len(chosen)}, {fates[Fate.SURVIVED]} survived"
        _say(f"\r{done}, {time.monotonic() - began:.0f} s  ", end="")

    with redirect_stdout(sys.stderr):
        is_sound = killing.kill(chosen, TESTS, told, at_once=asked.at_once)
    _say("")
    if not is_sound:
        _say("the tests fail without any mutant; mend that first")
        return 2
    if asked.all and not (asked.lines or asked.again):
        for site in explained.keys() - {mutant.site for mutant in chosen}:
            _say(f"{FILE.name} explains what is no longer there: {site}")
    return _report(asked, counts, time.monotonic() - began)


def _source(copy: Path, module: str) -> str:
    return (copy / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


def _in_words(mutant: Mutant) -> str:
    site = mutant.site
    return f"survived: {site.where}, line {mutant.line}\n  - {site.was}\n  + {site.became}"


def _report(asked: argparse.Namespace, counts: dict[str, Count], seconds: float) -> int:
    if asked.survivors:
        entries = [as_toml(site) for count in counts.values() for site in count.unexplained]
        asked.survivors.write_text("\n\n".join(entries) + "\n", encoding="utf-8")
    groups = {
        name: _sum([counts[module] for module in group if module in counts])
        for name, group in GROUPS.items()
    }
    groups = {name: count for name, count in groups.items() if count.mutants}
    everything = _sum(list(counts.values()))
    if asked.json:
        figures = {
            **everything.as_json(),
            "seconds": round(seconds, 1),
            "groups": {name: count.as_json() for name, count in groups.items()},
        }
        sys.stdout.write(json.dumps(figures) + "\n")
    for name, count in groups.items():
        _say(
            f"{name}: {count.mutants} mutants, {count.fates[Fate.KILLED]} killed, "
            f"{count.fates[Fate.TIMEOUT]} timed out, {count.fates[Fate.SURVIVED]} survived, "
            f"{len(count.unexplained)} of them unexplained: {count.score:.1%}"
        )
    return 0 if groups and all(count.is_enough for count in groups.values()) else 1


def _sum(counts: list[Count]) -> Count:
    total = Count()
    for count in counts:
        total.fates.update(count.fates)
        total.unexplained.extend(count.unexplained)
    return total


if __name__ == "__main__":
    sys.exit(main())
