"""A state machine as a graph to be drawn: the transition table, and nothing that is not in it.

States and arrows come from `saga.machine` alone. Ids are made of state and trigger names, so that
they stay the same from one version to the next and a review shows what really changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from saga.diagrams.text import identifier
from saga.machine import (
    SAGA_TRANSITIONS,
    STEP_TRANSITIONS,
    SagaState,
    StepState,
    Transition,
)


@dataclass(frozen=True, slots=True)
class Graph:
    """A machine to be drawn.

    Attributes:
        name: a short name, the beginning of all its ids.
        title: what it is, in a few words.
        states: all states; the first is where it begins.
        arrows: the transition table.
    """

    name: str
    title: str
    states: tuple[str, ...]
    arrows: tuple[Transition, ...]

    @property
    def initial(self) -> str:
        """Where it begins."""
        return self.states[0]

    @property
    def ends(self) -> frozenset[str]:
        """The states that nothing leads out of."""
        return frozenset(self.states) - {arrow.source for arrow in self.arrows}

    def state_id(self, state: str) -> str:
        """Return the id of a state's box."""
        return f"{self.name}-state-{identifier(state)}"

    def arrow_id(self, arrow: Transition) -> str:
        """Return the id of an arrow."""
        names = (arrow.trigger, arrow.source, arrow.dest)
        return f"{self.name}-arrow-" + "-".join(identifier(name) for name in names)

    def bundles(self) -> list[tuple[Transition, ...]]:
        """Return the arrows, those of one trigger into one state together: they share a label."""
        found: dict[tuple[str, str], list[Transition]] = {}
        for arrow in self.arrows:
            found.setdefault((arrow.trigger, arrow.dest), []).append(arrow)
        return [tuple(arrows) for arrows in found.values()]


def graph_of(name: str, title: str, states: type[StrEnum], table: Sequence[Transition]) -> Graph:
    """Return the graph of a transition table.

    Args:
        name: a short name, the beginning of all ids.
        title: what it is, in a few words.
        states: the states' names; a state that only the table names is added behind them.
        table: the arrows.
    """
    names = dict.fromkeys(state.value for state in states)
    for arrow in table:
        names.setdefault(arrow.source)
        names.setdefault(arrow.dest)
    return Graph(name, title, tuple(names), tuple(table))


def saga_graph() -> Graph:
    """Return the saga's machine."""
    return graph_of("saga", "The saga's state machine", SagaState, SAGA_TRANSITIONS)


def step_graph() -> Graph:
    """Return the step's machine."""
    return graph_of("step", "A step's state machine", StepState, STEP_TRANSITIONS)
