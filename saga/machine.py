"""The two state machines. Everything that may change a state lives in this file, and nowhere else.

Theory of operation
-------------------
A saga has one of six states, a step one of ten. A state changes only when a *trigger* is fired,
and a trigger is allowed only along an arrow of the tables below. The tables are data: the
documentation's diagrams are drawn from them, and the tests walk them.

`SagaLife` and `StepLife` hold a state; a saga is the one, a step the other. Their one method that
changes it is `fire`; a trigger that has no arrow from the present state raises `IllegalTransition`,
and nothing has changed.

Both tables run on `transitions`, with one shared `Machine` for each: a machine for each saga would
cost kilobytes and hundreds of microseconds, and would say nothing more.

This file does not know why a trigger is fired: `core` decides, and `fold` fires.
"""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from operator import attrgetter
from typing import Any, ClassVar, Final

from transitions import Event, Machine, MachineError

from saga.errors import IllegalTransition
from saga.quick_dataclass import dataclass


class SagaState(StrEnum):
    """The whole truth of where a saga stands."""

    PENDING = "PENDING"
    """Durable, and waiting for admission; nothing was sent."""
    RUNNING = "RUNNING"
    """Directives are being carried out."""
    COMPENSATING = "COMPENSATING"
    """What took effect is being undone."""
    COMPLETED = "COMPLETED"
    """Every outcome is known, and nothing is to be undone."""
    ROLLED_BACK = "ROLLED_BACK"
    """Everything that took effect has been undone, by the engine or by an operator."""
    STALE = "STALE"
    """Something is left that the engine could not undo or find out; a person has to act."""


class SagaTrigger(StrEnum):
    """What moves a saga."""

    START = "start"
    COMPLETE = "complete"
    COMPENSATE = "compensate"
    ROLL_BACK = "roll_back"
    ABANDON = "abandon"
    LOSE_TRACK = "lose_track"
    WITHDRAW = "withdraw"
    RETRY = "retry"
    RESOLVE = "resolve"


class StepState(StrEnum):
    """Where one directive of a saga stands."""

    PENDING = "PENDING"
    """Not sent."""
    SENDING = "SENDING"
    """The intent is durable; the participant may or may not have it."""
    WORKING = "WORKING"
    """The participant has it, and it is not over."""
    DONE = "DONE"
    """It took its whole effect."""
    PARTIAL = "PARTIAL"
    """It is over, and a part took effect."""
    REFUSED = "REFUSED"
    """It is over, and nothing took effect."""
    UNKNOWN = "UNKNOWN"
    """What happened is not known; it is being looked up."""
    COMPENSATING = "COMPENSATING"
    """What took effect is being undone."""
    COMPENSATED = "COMPENSATED"
    """What took effect has been undone."""
    STUCK = "STUCK"
    """Undoing it has failed, and is not tried again without an operator."""


class StepTrigger(StrEnum):
    """What moves a step."""

    SEND = "send"
    SEND_AGAIN = "send_again"
    ACCEPT = "accept"
    FINISH = "finish"
    FINISH_PARTLY = "finish_partly"
    REFUSE = "refuse"
    LOSE = "lose"
    ADOPT = "adopt"
    COMPENSATE = "compensate"
    CONFIRM = "confirm"
    STICK = "stick"
    UNSTICK = "unstick"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow: `trigger` moves from `source` to `dest`; `when` says so in words."""

    trigger: str
    source: str
    dest: str
    when: str


def _arrows(
    trigger: StrEnum, sources: tuple[StrEnum, ...], dest: StrEnum, when: str
) -> tuple[Transition, ...]:
    return tuple(Transition(trigger.value, s.value, dest.value, when) for s in sources)


_S, _ST = SagaState, SagaTrigger

SAGA_TRANSITIONS: Final = (
    *_arrows(_ST.START, (_S.PENDING,), _S.RUNNING, "admitted"),
    *_arrows(_ST.WITHDRAW, (_S.PENDING,), _S.ROLLED_BACK, "ended before anything was sent"),
    *_arrows(_ST.COMPLETE, (_S.RUNNING,), _S.COMPLETED, "every outcome known, nothing to undo"),
    *_arrows(
        _ST.COMPENSATE, (_S.RUNNING,), _S.COMPENSATING, "failure, deadline or cancel, and it undoes"
    ),
    *_arrows(
        _ST.LOSE_TRACK, (_S.RUNNING,), _S.STALE, "an outcome cannot be found out, nothing is undone"
    ),
    *_arrows(_ST.ROLL_BACK, (_S.COMPENSATING,), _S.ROLLED_BACK, "all that took effect is undone"),
    *_arrows(
        _ST.ABANDON, (_S.COMPENSATING,), _S.STALE, "an undo is out of attempts, or not to be known"
    ),
    *_arrows(_ST.RETRY, (_S.STALE,), _S.COMPENSATING, "the rollback is tried again"),
    *_arrows(_ST.RESOLVE, (_S.STALE,), _S.ROLLED_BACK, "an operator dealt with what was left"),
)

_P, _PT = StepState, StepTrigger
_OPEN = (_P.SENDING, _P.WORKING, _P.UNKNOWN)

STEP_TRANSITIONS: Final = (
    *_arrows(_PT.SEND, (_P.PENDING,), _P.SENDING, "the intent is durable"),
    *_arrows(
        _PT.SEND_AGAIN,
        (_P.REFUSED, _P.PARTIAL, _P.UNKNOWN),
        _P.SENDING,
        "over or proven absent, and tried again for what is left",
    ),
    *_arrows(_PT.ACCEPT, (_P.SENDING, _P.UNKNOWN), _P.WORKING, "the participant has it"),
    *_arrows(_PT.FINISH, _OPEN, _P.DONE, "all of it took effect"),
    *_arrows(_PT.FINISH_PARTLY, _OPEN, _P.PARTIAL, "over, a part took effect"),
    *_arrows(_PT.REFUSE, _OPEN, _P.REFUSED, "over, nothing took effect"),
    *_arrows(_PT.LOSE, (_P.SENDING, _P.WORKING), _P.UNKNOWN, "no answer, or none that proves"),
    *_arrows(
        _PT.ADOPT,
        (_P.REFUSED, _P.PARTIAL, _P.DONE),
        _P.UNKNOWN,
        "late truth: less, or more, took effect",
    ),
    *_arrows(_PT.COMPENSATE, (_P.DONE, _P.PARTIAL), _P.COMPENSATING, "the undo begins"),
    *_arrows(_PT.CONFIRM, (_P.COMPENSATING,), _P.COMPENSATED, "undone in full"),
    *_arrows(_PT.STICK, (_P.COMPENSATING,), _P.STUCK, "out of attempts, or not to be known"),
    *_arrows(_PT.UNSTICK, (_P.STUCK,), _P.COMPENSATING, "the rollback is tried again"),
    *_arrows(_PT.REOPEN, (_P.COMPENSATED,), _P.COMPENSATING, "late truth: less, or more"),
)

SAGA_ENDS: Final = frozenset({SagaState.COMPLETED, SagaState.ROLLED_BACK})
"""The saga is over for ever."""

SAGA_AT_REST: Final = SAGA_ENDS | {SagaState.STALE}
"""The engine does nothing more by itself."""

SAGA_UNDER_WAY: Final = frozenset({SagaState.RUNNING, SagaState.COMPENSATING})
"""Attempts are made, and asked about."""

STEP_IN_FLIGHT: Final = frozenset(_OPEN)
"""It was sent, and what became of it is not (all) known."""

STEP_SENT_AND_OVER: Final = frozenset({StepState.DONE, StepState.PARTIAL, StepState.REFUSED})
"""It was sent, it is over, and its undo has not begun."""


class _Trigger(Event):
    """One trigger of a table: follows its arrow from the present state.

    The tables have neither conditions nor callbacks, so that nothing else is to be done. What the
    library does for those, and writes to its log, costs many times what the move does.
    """

    def trigger(self, model: Any, *_: Any, **__: Any) -> bool:
        arrows = self.transitions.get(model.state)
        if not arrows:
            raise MachineError(self.name)  # `fire` says the rest
        setattr(model, self.machine.model_attribute, self.machine.members[arrows[0].dest])
        return True


class _Table(Machine):
    """A machine whose triggers follow their arrows, and do nothing else."""

    event_cls = _Trigger
    members: Mapping[str | None, StrEnum]
    """The states, by their names; an arrow that led nowhere would find none."""


def _machine(states: type[StrEnum], table: tuple[Transition, ...]) -> Machine:
    made = _Table(
        model=None,
        states=states,
        initial=states["PENDING"],
        transitions=[
            {"trigger": arrow.trigger, "source": arrow.source, "dest": arrow.dest}
            for arrow in table
        ],
        auto_transitions=False,
        model_attribute="_state",
    )
    made.members = {state.name: state for state in states}
    return made


_SAGA_MACHINE: Final = _machine(SagaState, SAGA_TRANSITIONS)
_STEP_MACHINE: Final = _machine(StepState, STEP_TRANSITIONS)


def _illegal(what: str, state: StrEnum, trigger: StrEnum) -> IllegalTransition:
    return IllegalTransition(
        f"{what} cannot {trigger.value} from {state.value}; nothing was changed"
    )


def _read_only(name: str) -> Any:
    """Return a property that reads an attribute without a call of ours, and cannot be written."""
    return property(attrgetter(name))


@dataclass(slots=True, eq=False)
class SagaLife:
    """A saga's state; begins as PENDING and changes only by `fire`."""

    _state: SagaState = field(default=SagaState.PENDING, init=False)
    state: ClassVar[SagaState] = _read_only("_state")
    """The present state."""

    def fire(self, trigger: SagaTrigger) -> None:
        """Follow the arrow of `trigger` from the present state.

        Raises:
            IllegalTransition: there is no such arrow; nothing has changed.
        """
        try:
            _SAGA_MACHINE.events[trigger].trigger(self)
        except MachineError:
            raise _illegal("a saga", self.state, trigger) from None


@dataclass(slots=True, eq=False)
class StepLife:
    """A step's state; begins as PENDING and changes only by `fire`."""

    _state: StepState = field(default=StepState.PENDING, init=False)
    state: ClassVar[StepState] = _read_only("_state")
    """The present state."""

    def fire(self, trigger: StepTrigger) -> None:
        """Follow the arrow of `trigger` from the present state.

        Raises:
            IllegalTransition: there is no such arrow; nothing has changed.
        """
        try:
            _STEP_MACHINE.events[trigger].trigger(self)
        except MachineError:
            raise _illegal("a step", self.state, trigger) from None
