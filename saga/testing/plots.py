"""The batches that the crash matrix runs: the ways through the engine that an adapter is met on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from saga.directive import Directive
from saga.machine import SagaState
from saga.model import Batch, ExecutionMode
from saga.policy import RetryPolicy
from saga.testing.harness import Harness, HarnessIncomplete

_RETRY: Final = RetryPolicy(backoff_seconds=0.1, backoff_max_seconds=0.1)
"""One try forward, three of the undo, and next to no wait between those."""
_DEADLINE_SECONDS: Final = 1.0
"""When an order that rests is withdrawn."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A batch, and how it ends when nothing is wrong with the adapter.

    Attributes:
        name: for people and for the test's id.
        directives: makes the legs.
        ends_as: the saga's state in the end.
        deadline_seconds: when the batch is cancelled; None is never.
    """

    name: str
    directives: Callable[[Harness], tuple[Directive, ...]]
    ends_as: SagaState
    deadline_seconds: float | None = None

    def batch(self, harness: Harness) -> Batch:
        """Return the batch, with ids and retries of the kit's own."""
        legs = tuple(
            checked(leg).model_copy(update={"directive_id": f"EXE_LEG_{number}", "retry": _RETRY})
            for number, leg in enumerate(self.directives(harness))
        )
        return Batch(
            directives=legs,
            execution_mode=ExecutionMode.ATOMIC,
            timeout_seconds=self.deadline_seconds,
        )


def checked(leg: object) -> Directive:
    """Return what a harness gave, if it is a directive.

    Raises:
        HarnessIncomplete: it is none.
    """
    if not isinstance(leg, Directive):
        raise HarnessIncomplete(
            f"a harness must give directives, not {type(leg).__name__}; return a registered "
            "Directive from will_fill, will_be_refused and will_rest"
        )
    return leg


def resting(harness: Harness) -> Directive:
    """Return the directive that rests, where the harness has one.

    Raises:
        HarnessIncomplete: it has none.
    """
    rests = harness.will_rest()
    if rests is None:
        raise HarnessIncomplete("will_rest gives no directive")
    return rests


def part_filling(harness: Harness) -> Directive:
    """Return the directive of which a part fills, where the harness has one.

    Raises:
        HarnessIncomplete: it has none.
    """
    fills = harness.will_part_fill()
    if fills is None:
        raise HarnessIncomplete("will_part_fill gives no directive")
    return fills


ONE_LEG: Final = Plot("one leg", lambda h: (h.will_fill(0),), SagaState.COMPLETED)
TWO_LEGS: Final = Plot("two legs", lambda h: (h.will_fill(0), h.will_fill(1)), SagaState.COMPLETED)
ROLLED_BACK: Final = Plot(
    "rolled back",
    lambda h: (h.will_fill(0), h.will_fill(1), h.will_be_refused()),
    SagaState.ROLLED_BACK,
)
WITHDRAWN: Final = Plot(
    "withdrawn",
    lambda h: (h.will_fill(0), resting(h)),
    SagaState.ROLLED_BACK,
    deadline_seconds=_DEADLINE_SECONDS,
)
PART_FILLED: Final = Plot(
    "withdrawn with a part filled",
    lambda h: (part_filling(h),),
    SagaState.ROLLED_BACK,
    deadline_seconds=_DEADLINE_SECONDS,
)
PLOTS: Final = (ONE_LEG, TWO_LEGS, ROLLED_BACK, WITHDRAWN, PART_FILLED)
