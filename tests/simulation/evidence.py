"""What the judges of one seed know: the venue's books, the file, and what clients were told.

Collected by the world as it happens, and read by `judges`. It holds no opinion.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from saga.model import Batch
from saga.views import BatchRow
from tests.simulation.disk import Disk
from tests.simulation.loop import VirtualLoop
from tests.simulation.model_exchange import ModelExchange
from tests.simulation.plan import Plan

MAX_VIOLATIONS: Final = 8
"""More than this of one seed are not kept: the first one is what matters."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that broke.

    Attributes:
        at: virtual seconds since the beginning.
    """

    seed: int
    invariant: str
    sentence: str
    at: float


@dataclass(slots=True)
class Evidence:
    """What is known of one seed.

    Attributes:
        handed_in: every batch that a client tried to hand in, by id.
        accepted: those whose acceptance was told, with the bodies that were accepted.
        live_rows: what the engine showed of a saga as of a record, in the seeds that keep it.
        calls: how often each batch was asked about or sent for at the venue.
        corrupted: batches whose journal was damaged on purpose.
    """

    plan: Plan
    loop: VirtualLoop
    disk: Disk
    fired: Counter[str] = field(default_factory=Counter)
    trace: list[tuple[Any, ...]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    handed_in: dict[str, Batch] = field(default_factory=dict)
    accepted: dict[str, list[Batch]] = field(default_factory=dict)
    live_rows: list[tuple[str, int, BatchRow]] | None = None
    legs: dict[str, list[Any]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    sends: Counter[str] = field(default_factory=Counter)
    sagas: int = 0
    crashes: int = 0
    orders: int = 0
    exchange: ModelExchange = field(init=False)

    def tell(self, *what: Any) -> None:
        """Add to the trace."""
        self.trace.append((round(self.loop.time(), 6), *what))

    def blame(self, invariant: str, sentence: str) -> None:
        """Note that an invariant broke."""
        self.tell("VIOLATION", invariant, sentence)
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(
                Violation(self.plan.seed, invariant, sentence, round(self.loop.time(), 3))
            )
