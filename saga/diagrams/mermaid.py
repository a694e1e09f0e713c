"""The machines, and one saga's own way, as Mermaid text (`stateDiagram-v2`).

Mermaid ends a label at a colon and a line at a semicolon; so times are written without either.
"""

from collections.abc import Sequence
from datetime import datetime

from saga.diagrams.graph import Graph, saga_graph
from saga.diagrams.text import identifier, mermaid_text
from saga.diagrams.way import Passage, StepWay, filled, shown_moments, undone, way_of
from saga.machine import Transition
from saga.store.protocol import JournalRecord


def machine_mermaid(graph: Graph) -> str:
    """Return the machine as Mermaid; every arrow of the table stands on a line of its own."""
    lines = ["stateDiagram-v2", "    direction LR"]
    lines += [f"    state {_quoted(state)} as {identifier(state)}" for state in graph.states]
    lines.append(f"    [*] --> {identifier(graph.initial)}")
    lines += [_arrow(arrow, mermaid_text(arrow.trigger)) for arrow in graph.arrows]
    lines += [f"    {identifier(s)} --> [*]" for s in graph.states if s in graph.ends]
    return "\n".join(lines) + "\n"


def _arrow(arrow: Transition, label: str) -> str:
    return f"    {identifier(arrow.source)} --> {identifier(arrow.dest)} : {label}"


def _quoted(text: str) -> str:
    return f'"{mermaid_text(text)}"'


def saga_way_mermaid(records: Sequence[JournalRecord]) -> str:
    """Return one saga's own way as Mermaid: its machine, then a chain of states for every step.

    An arrow that was followed bears its number and time; one that was not says so.

    Args:
        records: the saga's journal, from its first record on.

    Raises:
        InvalidInput: there are no records, or the first is not the submission.
        NotAllowed: a record may not follow on those before it.
    """
    way = way_of(records)
    graph = saga_graph()
    followed = way.times_of()
    visited = {graph.initial, way.saga.state.value}
    visited |= {end for arrow in followed for end in (arrow.source, arrow.dest)}
    lines = ["stateDiagram-v2"]
    lines += [f"    state {_quoted(state)} as {identifier(state)}" for state in graph.states]
    lines.append(f"    [*] --> {identifier(graph.initial)}")
    for arrow in graph.arrows:
        label = mermaid_text(arrow.trigger) + _passed(followed.get(arrow, []))
        lines.append(_arrow(arrow, label))
    for step in way.steps:
        lines += _chain(step)
    if way.steps_hidden:
        lines.append(f'    state "and {way.steps_hidden} more steps" as hidden_steps')
    lines.append("    classDef lit stroke-width:4px,font-weight:bold")
    lines.append("    classDef dim stroke-dasharray:4 4")
    lines += [f"    class {identifier(s)} {'lit' if s in visited else 'dim'}" for s in graph.states]
    return "\n".join(lines) + "\n"


def _passed(passages: Sequence[Passage]) -> str:
    if not passages:
        return " (not followed)"
    return " = " + " and ".join(f"no. {p.number} at {_time(p.at)}" for p in passages[:3])


def _chain(way: StepWay) -> list[str]:
    step = way.step
    name = f"step_{step.position + 1}"
    about = f"{step.position + 1}. {step.directive.describe()}"
    if step.done:
        about += f", filled {filled(step)}"
    if step.undone:
        about += f", undone {undone(step)}"
    lines = [f'    state "{mermaid_text(about, 100)}" as {name} {{']
    first, hidden, last = shown_moments(way)
    texts = [f"{moment.what} {_time(moment.at)}" for moment in first]
    texts += [f"{hidden} more"] if hidden else []
    texts += [f"{moment.what} {_time(moment.at)}" for moment in last]
    for index, text in enumerate(texts or ["not sent"]):
        lines.append(f'        state "{mermaid_text(text)}" as {name}_{index}')
        if index:
            lines.append(f"        {name}_{index - 1} --> {name}_{index}")
    return [*lines, "    }"]


def _time(at: datetime) -> str:
    return f"{at:%H.%M.%S}.{at.microsecond // 1000:03d} UTC"
