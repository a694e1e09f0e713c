"""The two state machines: every arrow there is, and nothing else, and nobody else.

The arrows are written out by hand here, so that a change of a table is a change of two places.
"""

import ast
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from saga import machine
from saga.errors import IllegalTransition
from saga.machine import (
    SAGA_AT_REST,
    SAGA_ENDS,
    SAGA_TRANSITIONS,
    STEP_SENT_AND_OVER,
    STEP_TRANSITIONS,
    SagaLife,
    SagaState,
    SagaTrigger,
    StepLife,
    StepState,
    StepTrigger,
)

ROOT = Path(__file__).parents[2]

SAGA_ARROWS = {
    ("start", "PENDING", "RUNNING"),
    ("complete", "RUNNING", "COMPLETED"),
    ("compensate", "RUNNING", "COMPENSATING"),
    ("roll_back", "COMPENSATING", "ROLLED_BACK"),
    ("abandon", "COMPENSATING", "STALE"),
    ("lose_track", "RUNNING", "STALE"),
    ("withdraw", "PENDING", "ROLLED_BACK"),
    ("retry", "STALE", "COMPENSATING"),
    ("resolve", "STALE", "ROLLED_BACK"),
}

STEP_ARROWS = {
    ("send", "PENDING", "SENDING"),
    ("send_again", "REFUSED", "SENDING"),
    ("send_again", "PARTIAL", "SENDING"),
    ("send_again", "UNKNOWN", "SENDING"),
    ("accept", "SENDING", "WORKING"),
    ("accept", "UNKNOWN", "WORKING"),
    ("finish", "SENDING", "DONE"),
    ("finish", "WORKING", "DONE"),
    ("finish", "UNKNOWN", "DONE"),
    ("finish_partly", "SENDING", "PARTIAL"),
    ("finish_partly", "WORKING", "PARTIAL"),
    ("finish_partly", "UNKNOWN", "PARTIAL"),
    ("refuse", "SENDING", "REFUSED"),
    ("refuse", "WORKING", "REFUSED"),
    ("refuse", "UNKNOWN", "REFUSED"),
    ("lose", "SENDING", "UNKNOWN"),
    ("lose", "WORKING", "UNKNOWN"),
    ("adopt", "REFUSED", "UNKNOWN"),
    ("adopt", "DONE", "UNKNOWN"),
    ("adopt", "PARTIAL", "UNKNOWN"),
    ("compensate", "DONE", "COMPENSATING"),
    ("compensate", "PARTIAL", "COMPENSATING"),
    ("confirm", "COMPENSATING", "COMPENSATED"),
    ("stick", "COMPENSATING", "STUCK"),
    ("unstick", "STUCK", "COMPENSATING"),
    ("reopen", "COMPENSATED", "COMPENSATING"),
}

EVERY_SAGA_CASE = [(state, trigger) for state in SagaState for trigger in SagaTrigger]
EVERY_STEP_CASE = [(state, trigger) for state in StepState for trigger in StepTrigger]


def saga_in(state: SagaState) -> SagaLife:
    life = SagaLife()
    life._state = state
    return life


def step_in(state: StepState) -> StepLife:
    life = StepLife()
    life._state = state
    return life


@pytest.mark.requirement("D4")
def test_the_saga_has_exactly_the_arrows_of_the_design() -> None:
    table = [(arrow.trigger, arrow.source, arrow.dest) for arrow in SAGA_TRANSITIONS]
    assert set(table) == SAGA_ARROWS
    assert len(table) == len(SAGA_ARROWS), "an arrow stands twice"


@pytest.mark.requirement("D4", "D5")
def test_a_step_has_exactly_the_arrows_of_the_design() -> None:
    table = [(arrow.trigger, arrow.source, arrow.dest) for arrow in STEP_TRANSITIONS]
    assert set(table) == STEP_ARROWS
    assert len(table) == len(STEP_ARROWS), "an arrow stands twice"


@pytest.mark.requirement("D4", "S8")
@pytest.mark.parametrize(("state", "trigger"), EVERY_SAGA_CASE)
def test_a_saga_follows_its_arrows_and_refuses_all_else_unchanged(
    state: SagaState, trigger: SagaTrigger
) -> None:
    life = saga_in(state)
    dests = [dest for name, source, dest in SAGA_ARROWS if (name, source) == (trigger, state)]
    if dests:
        life.fire(trigger)
        assert [life.state] == dests
    else:
        with pytest.raises(IllegalTransition) as refusal:
            life.fire(trigger)
        assert life.state is state
        assert str(refusal.value) == (f"a saga cannot {trigger} from {state}; nothing was changed")
    assert type(life.state) is SagaState


@pytest.mark.requirement("D4", "D5", "S8")
@pytest.mark.parametrize(("state", "trigger"), EVERY_STEP_CASE)
def test_a_step_follows_its_arrows_and_refuses_all_else_unchanged(
    state: StepState, trigger: StepTrigger
) -> None:
    life = step_in(state)
    dests = [dest for name, source, dest in STEP_ARROWS if (name, source) == (trigger, state)]
    if dests:
        life.fire(trigger)
        assert [life.state] == dests
    else:
        with pytest.raises(IllegalTransition) as refusal:
            life.fire(trigger)
        assert life.state is state
        assert str(refusal.value) == (f"a step cannot {trigger} from {state}; nothing was changed")
    assert type(life.state) is StepState


@pytest.mark.requirement("D4")
def test_both_begin_as_pending_and_every_state_can_be_reached() -> None:
    assert SagaLife().state is SagaState.PENDING
    assert StepLife().state is StepState.PENDING
    assert reachable(SAGA_ARROWS) == set(SagaState)
    assert reachable(STEP_ARROWS) == set(StepState)


def reachable(arrows: set[tuple[str, str, str]]) -> set[str]:
    found = {"PENDING"}
    while more := {dest for _, source, dest in arrows if source in found} - found:
        found |= more
    return found


@pytest.mark.requirement("D4", "S8")
def test_no_arrow_leaves_an_end_and_only_a_person_leaves_rest() -> None:
    leaving = {source for _, source, _ in SAGA_ARROWS}
    assert set(SagaState) - leaving == SAGA_ENDS
    assert {name for name, source, _ in SAGA_ARROWS if source in SAGA_AT_REST} == {
        "retry",
        "resolve",
    }


@pytest.mark.requirement("D5")
def test_a_step_without_effect_can_never_be_compensated() -> None:
    sources = {source for name, source, _ in STEP_ARROWS if name == "compensate"}
    assert sources == {"DONE", "PARTIAL"}


def test_what_was_sent_and_is_over_is_what_a_late_answer_can_open_again() -> None:
    adopting = [arrow for arrow in STEP_TRANSITIONS if arrow.trigger == StepTrigger.ADOPT]
    assert {StepState[arrow.source] for arrow in adopting} == STEP_SENT_AND_OVER


@pytest.mark.parametrize("life", [SagaLife, StepLife])
def test_a_life_is_like_no_other_and_has_room_for_its_state_alone(
    life: type[SagaLife | StepLife],
) -> None:
    assert life() != life()
    assert len({life(), life()}) == 2
    assert not hasattr(life(), "__dict__")


def test_two_sagas_on_the_shared_machine_do_not_move_each_other() -> None:
    one, other = SagaLife(), SagaLife()
    one.fire(SagaTrigger.START)
    assert (one.state, other.state) == (SagaState.RUNNING, SagaState.PENDING)


def test_a_state_cannot_be_assigned_from_outside() -> None:
    with pytest.raises(AttributeError):
        SagaLife().state = SagaState.COMPLETED  # type: ignore[misc]
    with pytest.raises(AttributeError):
        StepLife().state = StepState.DONE  # type: ignore[misc]


def test_when_an_arrow_is_followed_is_said_in_the_words_of_the_published_table() -> None:
    cells = [
        tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
        for line in (ROOT / "diagrams/README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    published = [row for row in cells if row[0] in {*SagaTrigger, *StepTrigger}]
    tables = (*SAGA_TRANSITIONS, *STEP_TRANSITIONS)
    assert published == [(a.trigger, a.source, a.dest, a.when) for a in tables]


@pytest.mark.requirement("D4", "S8")
def test_there_is_no_way_to_move_around_the_tables() -> None:
    for shared, states, triggers in (
        (machine._SAGA_MACHINE, SagaState, SagaTrigger),
        (machine._STEP_MACHINE, StepState, StepTrigger),
    ):
        assert set(shared.events) == set(triggers), "each trigger has an arrow; nothing else moves"
        assert set(shared.states) == set(states)
        assert shared.models == [], "the machine holds no state; a life does"


def test_a_move_leaves_nothing_out_that_its_machine_asks_for() -> None:
    # Following an arrow runs no condition and no callback, so there must be none.
    for shared in (machine._SAGA_MACHINE, machine._STEP_MACHINE):
        arrows_of = [
            arrows for event in shared.events.values() for arrows in event.transitions.values()
        ]
        assert arrows_of
        assert {len(arrows) for arrows in arrows_of} == {1}, "no second arrow to fall back on"
        assert not any(
            (
                *(shared.prepare_event, shared.before_state_change, shared.after_state_change),
                *(shared.finalize_event, shared.on_exception, shared.on_final, shared.has_queue),
            )
        )
        for (arrow,) in arrows_of:
            assert not any((arrow.prepare, arrow.conditions, arrow.before, arrow.after))
        for state in shared.states.values():
            assert not any((state.on_enter, state.on_exit))


def test_an_arrow_can_be_neither_bent_nor_added_to() -> None:
    arrow = SAGA_TRANSITIONS[0]
    with pytest.raises(FrozenInstanceError):
        arrow.dest = "COMPLETED"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        object.__setattr__(arrow, "unless", "it rains")


def _writes_of_state(source: str) -> list[int]:
    """Return the lines that could change a `_state`: by assignment, setattr, or its machine."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        assigns = (
            isinstance(node, ast.Attribute)
            and node.attr == "_state"
            and not isinstance(node.ctx, ast.Load)
        )
        names = isinstance(node, ast.Constant) and node.value == "_state"
        reaches_in = isinstance(node, ast.Attribute) and node.attr in (
            *("set_state", "_SAGA_MACHINE", "_STEP_MACHINE"),
        )
        imports = isinstance(node, ast.ImportFrom) and any(
            alias.name in ("_SAGA_MACHINE", "_STEP_MACHINE", "_Trigger") for alias in node.names
        )
        if assigns or names or reaches_in or imports:
            lines.append(getattr(node, "lineno", 0))
    return lines


@pytest.mark.requirement("D4")
@pytest.mark.parametrize("life", [SagaLife(), StepLife()])
def test_a_state_that_is_read_cannot_be_written(life: SagaLife | StepLife) -> None:
    with pytest.raises(AttributeError):
        life.state = life.state  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del life.state
    assert life.state == "PENDING"


@pytest.mark.requirement("D4")
def test_nothing_but_the_machine_module_can_change_a_state() -> None:
    own = Path(machine.__file__).resolve()
    offenders = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in ("saga", "brokers", "portfolio", "desk")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.resolve() != own
        for line in _writes_of_state(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_the_search_for_writers_of_a_state_finds_each_way_to_do_it() -> None:
    ways = (
        "life._state = x",
        "life._state += x",
        "del life._state",
        "setattr(life, '_state', x)",
        "(life._state, y) = x, 1",
        "machine._SAGA_MACHINE.set_state(x, life)",
        "from saga.machine import _Trigger",
    )
    assert all(_writes_of_state(way) for way in ways)
    assert not _writes_of_state("print(life._state)")
    assert _writes_of_state(Path(machine.__file__).read_text(encoding="utf-8"))
