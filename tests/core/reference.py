"""A second, naive model of a saga, written from the rules alone; the engine is compared with it.

It knows neither time nor journals nor state machines. It is told facts, one by one (an order was
sent, so much of it was filled, it is over, it never arrived, it can never be found out, somebody
cancelled), keeps them as a plain list of orders, and answers two questions by looking at all of
them again: what may be sent now, and how must the saga have ended if nothing is left to be done.
It must never import the engine, and is kept simple where it could be fast.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

ENOUGH_LOOK_UPS = 3
"""Fewer look-ups that find nothing prove nothing."""
ENOUGH_ABSENCES = 3
"""So many orders in a row that never arrived: the leg never gets through."""


class Fate(StrEnum):
    """What is known of an order."""

    IN_THE_AIR = "in the air"
    OVER = "over"
    ABSENT = "proven never to have arrived"
    LOST = "never to be found out"


class Failing(StrEnum):
    """What the batch does when it fails."""

    UNDO = "undo"
    KEEP = "keep"


@dataclass
class Order:
    """One order: leg, purpose `F` or `C`, its number, how much was asked and how much was filled.

    `in_vain` counts the look-ups that did not find it since it was last sent; `proof` says that the
    last of them came after the participant's visibility window.
    """

    leg: int
    purpose: str
    number: int
    asked: int
    filled: int = 0
    fate: Fate = Fate.IN_THE_AIR
    heard_of: bool = False
    in_vain: int = 0
    proof: bool = False
    asked_once_more: bool = False


@dataclass(frozen=True)
class Leg:
    """What was asked of one leg; `tries` bounds its forward orders, `in_scope` its undo."""

    wanted: int
    tries: int = 1
    undo_tries: int = 3
    in_scope: bool = True


@dataclass(frozen=True)
class Verdict:
    """How a saga must have ended: state, outcome, and for each leg what was done and undone.

    `low` and `high` bound what is left of each leg, in the direction of the leg.
    """

    state: str
    outcome: str | None
    done: tuple[int, ...]
    undone: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]


Send = tuple[int, str, int, int]
"""Leg, purpose, number, amount."""


class RuleBroken(AssertionError):
    """The engine did what no rule allows."""


@dataclass
class ReferenceSaga:
    """The rules, applied to a list of facts."""

    mode: str
    width: int
    legs: tuple[Leg, ...]
    failing: Failing
    orders: list[Order] = field(default_factory=list)
    effects: list[int] = field(default_factory=list)
    """Legs in the order in which their forward effect grew; the last one is the newest."""
    undo_from: dict[int, int] = field(default_factory=dict)
    """How many undo orders of a leg do not count against its tries any more."""
    cancelled: bool = False
    late: bool = False
    paused: bool = False
    started: bool = False
    undoing: bool = False
    """The undo has begun; there is no way back from it, whatever comes to light."""

    def copy(self) -> "ReferenceSaga":
        return replace(
            self,
            orders=[replace(order) for order in self.orders],
            effects=list(self.effects),
            undo_from=dict(self.undo_from),
        )

    # --- facts -----------------------------------------------------------------------------------

    def order(self, leg: int, purpose: str, number: int) -> Order:
        for order in self.orders:
            if (order.leg, order.purpose, order.number) == (leg, purpose, number):
                return order
        raise RuleBroken(f"order {number} of leg {leg} ({purpose}) was never sent")

    def sent(self, send: Send) -> None:
        """An order leaves. Rule 2 (one key for one attempt), S4, S5 and the modes are judged."""
        if send not in self.permitted():
            raise RuleBroken(f"sent {send}, but only {sorted(self.permitted())} may be sent")
        self.orders.append(Order(*send))

    def sent_again(self, leg: int, purpose: str, number: int) -> None:
        """The same order leaves once more, which only proof of its absence may justify."""
        order = self.order(leg, purpose, number)
        if not self.is_proven_absent(order):
            raise RuleBroken(f"{order} was sent again although it may have arrived")
        if self.paused or (purpose == "F" and self.stopped()):
            raise RuleBroken(f"{order} was sent again although nothing may be sent")
        order.in_vain, order.proof = 0, False

    def heard(self, leg: int, purpose: str, number: int, filled: int, *, over: bool) -> None:
        """The outside world told how much is filled by now, and whether that is the end of it."""
        order = self.order(leg, purpose, number)
        if order.fate is Fate.ABSENT and over and filled == 0:
            order.asked_once_more = True
            return
        order.heard_of = True
        if filled > order.filled:
            if purpose == "F":
                self.effects.append(leg)
                self.undo_from[leg] = len(self.of(leg, "C"))
            order.filled = filled
        order.fate = Fate.OVER if over else Fate.IN_THE_AIR

    def not_found(self, leg: int, purpose: str, number: int, *, window_over: bool) -> None:
        order = self.order(leg, purpose, number)
        if order.fate is Fate.ABSENT:
            order.asked_once_more = True
        order.in_vain += 1
        order.proof = window_over

    def absent(self, leg: int, purpose: str, number: int) -> None:
        order = self.order(leg, purpose, number)
        if not self.is_proven_absent(order):
            raise RuleBroken(f"{order} was called absent without proof")
        order.fate = Fate.ABSENT

    def lost(self, leg: int, purpose: str, number: int) -> None:
        order = self.order(leg, purpose, number)
        if order.fate is not Fate.IN_THE_AIR:
            raise RuleBroken(f"{order} was given up although its fate is known")
        order.fate = Fate.LOST

    def undo_begun(self) -> None:
        if not self.is_troubled() or self.failing is Failing.KEEP:
            raise RuleBroken("the undo began without a reason")
        self.undoing = True

    def retried(self) -> None:
        """The operator has the rollback tried again: every leg gets a new round of tries."""
        for order in self.orders:
            if order.fate is Fate.LOST:
                order.fate, order.in_vain, order.proof = Fate.IN_THE_AIR, 0, False
        self.undo_from = {leg: len(self.of(leg, "C")) for leg in range(len(self.legs))}

    # --- what the facts say ----------------------------------------------------------------------

    def is_proven_absent(self, order: Order) -> bool:
        return (
            order.fate is Fate.IN_THE_AIR
            and not order.heard_of
            and order.in_vain >= ENOUGH_LOOK_UPS
            and order.proof
        )

    def of(self, leg: int, purpose: str) -> list[Order]:
        return [o for o in self.orders if o.leg == leg and o.purpose == purpose]

    def filled(self, leg: int, purpose: str) -> int:
        return sum(o.filled for o in self.of(leg, purpose))

    def in_the_air(self, purpose: str) -> list[Order]:
        return [o for o in self.orders if o.purpose == purpose and o.fate is Fate.IN_THE_AIR]

    def is_lost(self, leg: int, purpose: str) -> bool:
        return any(o.fate is Fate.LOST for o in self.of(leg, purpose))

    def is_flying(self, leg: int, purpose: str) -> bool:
        return any(o.fate is Fate.IN_THE_AIR for o in self.of(leg, purpose))

    def has_tries_left(self, orders: list[Order], tries: int) -> bool:
        """Orders that never arrived are no tries, but too many of them in a row are the end."""
        fates = [order.fate for order in orders]
        never_through = fates[-ENOUGH_ABSENCES:] == [Fate.ABSENT] * ENOUGH_ABSENCES
        return not never_through and sum(fate is not Fate.ABSENT for fate in fates) < tries

    def may_try(self, leg: int) -> bool:
        """The leg's own policy allows a (further) forward order, and nothing is in its way."""
        return (
            not self.is_flying(leg, "F")
            and not self.is_lost(leg, "F")
            and self.filled(leg, "F") < self.legs[leg].wanted
            and self.has_tries_left(self.of(leg, "F"), self.legs[leg].tries)
        )

    def has_failed(self, leg: int) -> bool:
        """It was tried, is over, and is not what the mode calls done."""
        if self.is_lost(leg, "F"):
            return True
        if not self.of(leg, "F") or self.is_flying(leg, "F") or self.may_try(leg):
            return False
        if self.mode == "ATOMIC":
            return self.filled(leg, "F") != self.legs[leg].wanted
        return self.filled(leg, "F") == 0

    def any_failed(self) -> bool:
        return any(self.has_failed(leg) for leg in range(len(self.legs)))

    def stopped(self) -> bool:
        """No forward order may leave any more."""
        if self.cancelled or self.late or self.undoing:
            return True
        return self.mode != "PARALLEL" and self.any_failed()

    def is_troubled(self) -> bool:
        return self.cancelled or self.late or self.undoing or self.any_failed()

    def forward_is_over(self) -> bool:
        """Nothing of the forward path is in the air or still to come."""
        if self.in_the_air("F"):
            return False
        return self.stopped() or not any(self.may_try(leg) for leg in range(len(self.legs)))

    def undoes(self) -> bool:
        return self.is_troubled() and self.failing is Failing.UNDO and self.forward_is_over()

    def to_undo(self, leg: int) -> int:
        return self.filled(leg, "F") - self.filled(leg, "C")

    def may_undo(self, leg: int) -> bool:
        tried = self.of(leg, "C")[self.undo_from.get(leg, 0) :]
        return (
            self.legs[leg].in_scope
            and self.to_undo(leg) > 0
            and not self.is_lost(leg, "F")  # nothing is compensated on a guess
            and not self.is_lost(leg, "C")
            and not self.is_flying(leg, "C")
            and self.has_tries_left(tried, self.legs[leg].undo_tries)
        )

    def newest_first(self) -> list[int]:
        order: list[int] = []
        for leg in reversed(self.effects):
            if leg not in order:
                order.append(leg)
        return order

    def permitted(self) -> set[Send]:
        """Every order that may leave now."""
        if self.paused or not self.started:
            return set()
        if self.undoes():
            return self._next_undo()
        if self.stopped():
            return set()
        free = self.width - len(self.in_the_air("F"))
        eligible = [leg for leg in range(len(self.legs)) if self.may_try(leg)]
        return {
            (leg, "F", len(self.of(leg, "F")) + 1, self.legs[leg].wanted - self.filled(leg, "F"))
            for leg in eligible[: max(0, free)]
        }

    def _next_undo(self) -> set[Send]:
        if self.in_the_air("C"):
            return set()  # one after the other
        for leg in self.newest_first():
            if self.may_undo(leg):
                return {(leg, "C", len(self.of(leg, "C")) + 1, self.to_undo(leg))}
        return set()

    # --- how it must end -------------------------------------------------------------------------

    def verdict(self) -> Verdict | None:
        """How the saga must have ended by now; None while it must go on."""
        if not self.started:
            if self.cancelled or self.late:
                return self._ended("ROLLED_BACK", "CANCELLED" if self.cancelled else "FAILED")
            return None
        if not self.forward_is_over() or self.in_the_air("C"):
            return None
        legs = range(len(self.legs))
        if self.is_troubled() and self.failing is Failing.UNDO:
            if any(self.may_undo(leg) for leg in legs):
                return None
            lost = any(self.is_lost(leg, purpose) for leg in legs for purpose in "FC")
            if lost or any(self.legs[leg].in_scope and self.to_undo(leg) != 0 for leg in legs):
                return self._ended("STALE", None)
            return self._well("ROLLED_BACK", "CANCELLED" if self.cancelled else "FAILED")
        if any(self.is_lost(leg, "F") for leg in legs):
            return self._ended("STALE", None)
        return self._well("COMPLETED", self._outcome_of_what_was_done())

    def _outcome_of_what_was_done(self) -> str:
        done = [self.filled(leg, "F") for leg in range(len(self.legs))]
        if done == [leg.wanted for leg in self.legs]:
            return "SUCCESS"
        if any(done):
            return "PARTIAL_SUCCESS"
        return "CANCELLED" if self.cancelled else "FAILED"

    def _well(self, state: str, outcome: str) -> Verdict | None:
        """An end that says that all is well is reached only after everything that seemed never to
        have arrived was asked for once more."""
        if any(o.fate is Fate.ABSENT and not o.asked_once_more for o in self.orders):
            return None
        return self._ended(state, outcome)

    def _ended(self, state: str, outcome: str | None) -> Verdict:
        legs = range(len(self.legs))

        def unproven(leg: int, purpose: str) -> int:
            return sum(
                max(o.asked - o.filled, 0)
                for o in self.of(leg, purpose)
                if o.fate in (Fate.LOST, Fate.IN_THE_AIR)
            )

        return Verdict(
            state,
            outcome,
            done=tuple(self.filled(leg, "F") for leg in legs),
            undone=tuple(self.filled(leg, "C") for leg in legs),
            low=tuple(self.to_undo(leg) - unproven(leg, "C") for leg in legs),
            high=tuple(self.to_undo(leg) + unproven(leg, "F") for leg in legs),
        )
