"""The strikes: at which places of a life a process is hit, and with what.

The crash points K0 to K25 of the fault grid are each a *place* that the process passes; it is told
beforehand at which passing to hit itself, so that the hit is exact. The other strikes come from
outside, or from the machine.

Places are named for where the code is. `before`, `inside` and `behind` are about the commit of a
record of that kind (F is forward, C a compensation); `sending`, `sent` and `answered` are about a
call of the venue.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Blow(StrEnum):
    """What happens to the process when it comes to the place."""

    KILL = "kill"
    FREEZE = "freeze"
    """SIGSTOP; it goes on from there when it is thawed."""
    TERM = "term"
    """SIGTERM: it leaves in good order."""
    TERM_TWICE = "term twice"
    FILL_DISK = "fill disk"
    """No file may grow from here on."""
    CHECKPOINT = "checkpoint"
    """The log is written back into the file, and the kill comes while that goes on."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One hit that a process deals itself.

    Attributes:
        place: where; see the module.
        nth: at which passing of the place.
        blow: what happens there.
    """

    place: str
    nth: int = 1
    blow: Blow = Blow.KILL


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of round.

    Attributes:
        name: the point, as it is counted.
        places: one of these is the place; none for what comes from outside.
        needs: the recipe of a batch without which the place is not passed.
        most: the place is passed at least so often, so that the hit can come at any of them.
        blow: what happens there.
        prelude: where the process before is killed, to leave something to take up.
        then: where the kill comes that follows on a SIGTERM.
    """

    name: str
    places: tuple[str, ...] = ()
    needs: str = "calm"
    most: int = 1
    blow: Blow = Blow.KILL
    prelude: str | None = None
    then: str | None = None


def _at(name: str, *places: str, needs: str = "calm", most: int = 1) -> Kind:
    return Kind(name, places, needs=needs, most=most)


POINTS: Final = (
    _at("K0", "inside submitted", "before submitted", most=3),
    _at("K1", "behind submitted", most=3),
    _at("K2", "acknowledged", most=3),
    _at("K3", "inside intended/F", "before intended/F", most=3),
    _at("K4", "behind intended/F", "sending/F", most=3),
    _at("K5", "sent/F", most=3),
    _at("K6", "answered/F", most=3),
    _at("K7", "found/F", "partial/F", needs="slow"),
    _at("K8", "behind reported/F", most=3),
    _at("K9", "inside completed"),
    _at("K10", "behind completed"),
    _at("K11", "inside compensation_started", needs="refused"),
    _at("K12", "behind compensation_started", needs="open"),
    _at("K13", "cancel sent", needs="open"),
    _at("K14", "inside intended/C", "before intended/C", needs="refused", most=2),
    _at("K15", "behind intended/C", "sending/C", needs="refused", most=2),
    _at("K16", "sent/C", needs="refused", most=2),
    _at("K17", "partial/C", needs="half"),
    _at("K18", "inside rolled_back", "before rolled_back", needs="refused"),
    _at("K19", "inside abandoned", "before abandoned", needs="stuck"),
    _at("K20", "behind abandoned", needs="stuck"),
    Kind("K21", ("reading journal", "inside resumed", "behind resumed"), prelude="sent/F"),
    Kind("K22", ("behind intended/F",), blow=Blow.CHECKPOINT, most=3),
    Kind("K23", ("migrating",), most=3),
    Kind("K24", ("acknowledged",), blow=Blow.TERM, then="releasing"),
    Kind("K25", ("find sent/F", "find answered/F"), prelude="sent/F"),
    Kind("acquire", ("acquiring", "inside acquire"), prelude="behind intended/F"),
)
"""Where the process kills itself: the crash points of the fault grid, and the acquisition."""

OUTER: Final = (
    Kind("random", needs="slow"),
    Kind("sigterm", ("acknowledged", "sent/F"), blow=Blow.TERM, most=2),
    Kind("sigterm twice", ("acknowledged", "sent/F"), blow=Blow.TERM_TWICE, most=2),
    Kind("frozen long", ("behind intended/F", "sending/F"), blow=Blow.FREEZE, most=3),
    Kind("frozen briefly", ("behind intended/F", "sent/F"), blow=Blow.FREEZE, most=3),
    Kind("disk full", ("before intended/F", "before reported/F"), blow=Blow.FILL_DISK, most=3),
    Kind("read-only", ("behind intended/F",)),
    Kind("log removed", ("behind reported/F",)),
    Kind("old copy", ("behind reported/F",)),
    Kind("exchange killed", needs="slow"),
)
"""Strikes from outside and from the machine."""

KINDS: Final = (*POINTS, *OUTER)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
EXPECTS_REFUSAL: Final = frozenset({"read-only", "log removed", "old copy"})
"""After these a start must be refused, until the file is put right."""
EVERY_KIND_FROM: Final = 100
"""A drill with so many kills must have hit every kind."""
