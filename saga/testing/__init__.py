"""A kit for whoever writes a broker adapter: one pytest class, and the whole contract is tried.

    class TestMyBroker(ParticipantContract):
        def harness(self, folder: Path, clock: Clock) -> Harness:
            return MyHarness(folder, clock)

It tries every promise of `saga.participant`, and then runs the real engine over the adapter, kills
it at every moment, loses, holds back and doubles its answers, and judges by the venue's own books.
It needs pytest (`pip install 'trade-saga[testing]'`); nothing else in this package imports it.
"""

from importlib.util import find_spec

if find_spec("pytest") is None:
    raise ModuleNotFoundError(
        "saga.testing needs pytest, which is not installed; "
        "install it with: pip install 'trade-saga[testing]'",
        name="pytest",
    )

from saga.testing.contract import ParticipantContract
from saga.testing.crash_matrix import CrashMatrix
from saga.testing.drill import Cell, Course
from saga.testing.harness import (
    BrokenPromise,
    Harness,
    HarnessIncomplete,
    KeyScope,
    Trouble,
    VenueOrder,
)
from saga.testing.plots import (
    ONE_LEG,
    PART_FILLED,
    PLOTS,
    ROLLED_BACK,
    TWO_LEGS,
    WITHDRAWN,
    Plot,
)
from saga.testing.wire import Disturbance, How

__all__ = [
    "ONE_LEG",
    "PART_FILLED",
    "PLOTS",
    "ROLLED_BACK",
    "TWO_LEGS",
    "WITHDRAWN",
    "BrokenPromise",
    "Cell",
    "Course",
    "CrashMatrix",
    "Disturbance",
    "Harness",
    "HarnessIncomplete",
    "How",
    "KeyScope",
    "ParticipantContract",
    "Plot",
    "Trouble",
    "VenueOrder",
]
