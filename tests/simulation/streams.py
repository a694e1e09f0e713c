"""One seed, several streams of chance, so that a new draw in one does not reshuffle the others.

Nothing in a simulation may draw from anywhere else: the same seed gives the same run.
"""

from collections.abc import Sequence
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")

NAMES: Final = ("schedule", "exchange", "disk", "workload", "faults")
"""The streams: order of tasks, the venue, crashes and writes, clients and operators, the swarm."""


class Streams:
    """The streams of one seed.

    Attributes:
        schedule: which of the tasks that are ready goes first.
        exchange: prices, fills, latencies, and which misbehaviour strikes when.
        disk: what a power loss leaves of the bytes that were not synced.
        workload: what clients and operators want, and when.
        faults: which faults exist in this seed, how strong they are, and when it crashes.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # A text seeds by its own bytes, whatever PYTHONHASHSEED says.
        self.schedule = Random(f"{seed}/schedule")
        self.exchange = Random(f"{seed}/exchange")
        self.disk = Random(f"{seed}/disk")
        self.workload = Random(f"{seed}/workload")
        self.faults = Random(f"{seed}/faults")


def chance(stream: Random, probability: float) -> bool:
    """Draw whether something happens; always one draw, so that strengths do not shift a stream."""
    return stream.random() < probability


def one_of(stream: Random, choices: Sequence[T]) -> T:
    """Draw one of several."""
    return choices[int(stream.random() * len(choices))]
