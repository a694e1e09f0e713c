"""What a run of seeds came to: how much was played, what struck, and what broke."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.simulation.evidence import Violation
from tests.simulation.plan import BEHAVIOURS, POINTS
from tests.simulation.world import ACCIDENTS

FAULTS: Final = (*BEHAVIOURS, *ACCIDENTS, *(f"crash at {point}" for point in POINTS))
"""Everything that has to have struck in a run that is long enough to show something."""
ENOUGH_SEEDS: Final = 2_000


@dataclass(slots=True)
class Sum:
    """What a run came to."""

    seeds: int = 0
    sagas: int = 0
    crashes: int = 0
    orders: int = 0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Sum") -> None:
        """Add another run, but for its time."""
        self.seeds += other.seeds
        self.sagas += other.sagas
        self.crashes += other.crashes
        self.orders += other.orders
        self.violations += other.violations
        self.faults.update(other.faults)

    @property
    def missing(self) -> list[str]:
        """What never struck, in a run that is long enough to say so."""
        if self.seeds < ENOUGH_SEEDS:
            return []
        return [name for name in FAULTS if not self.faults[name]]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "seeds": self.seeds,
            "sagas": self.sagas,
            "crashes": self.crashes,
            "orders": self.orders,
            "violations": [
                {
                    "seed": each.seed,
                    "invariant": each.invariant,
                    "at": each.at,
                    "sentence": each.sentence,
                }
                for each in self.violations
            ],
            "seconds": round(self.seconds, 2),
            "faults": {name: self.faults[name] for name in sorted({*FAULTS, *self.faults})},
        }
