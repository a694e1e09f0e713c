"""The machines' pictures: they show the table, the whole table, and are up to date."""

import os
import subprocess
import sys
from enum import StrEnum
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from saga.diagrams import (
    Graph,
    committed_files,
    differing,
    graph_of,
    machine_mermaid,
    machine_svg,
    overview_svg,
    saga_graph,
    step_graph,
    write_all,
)
from saga.diagrams.__main__ import main
from saga.diagrams.board import Rect, Routed
from saga.diagrams.layout import UNIT, Box, layout_of, placed_by_hand
from saga.diagrams.picture import routed_for
from saga.machine import (
    SAGA_TRANSITIONS,
    STEP_TRANSITIONS,
    SagaState,
    StepState,
    Transition,
)

FOLDER = Path(__file__).parents[2] / "diagrams"
SVG = "{http://www.w3.org/2000/svg}"


class NewStep(StrEnum):
    """The step's states, and two that nobody has made room for."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    WORKING = "WORKING"
    DONE = "DONE"
    PARTIAL = "PARTIAL"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    STUCK = "STUCK"
    SUSPENDED_BY_THE_VENUE = "SUSPENDED_BY_THE_VENUE"
    EXPIRED = "EXPIRED"


NEW_TABLE = (
    *STEP_TRANSITIONS,
    Transition("suspend", "WORKING", "SUSPENDED_BY_THE_VENUE", "the venue halts the symbol"),
    Transition("wake", "SUSPENDED_BY_THE_VENUE", "WORKING", "the halt is over"),
    Transition("expire", "SUSPENDED_BY_THE_VENUE", "EXPIRED", "the day is over"),
    Transition("expire", "WORKING", "EXPIRED", "the day is over"),
    Transition("poke", "EXPIRED", "EXPIRED", "nothing comes of it"),
)


def new_step_graph() -> Graph:
    return graph_of("step", "A step with two new states", NewStep, NEW_TABLE)


GRAPHS = [saga_graph(), step_graph(), new_step_graph()]
GRAPH_IDS = ["saga", "step", "step with new states"]


def svg_ids(svg: str) -> list[str]:
    return [e.attrib["id"] for e in ET.fromstring(svg).iter() if "id" in e.attrib]


def pixels(box: Box) -> Rect:
    wide, high = box.right - box.left, box.bottom - box.top
    return Rect(box.left * UNIT, box.top * UNIT, wide * UNIT, high * UNIT)


@pytest.mark.requirement("D7")
def test_the_committed_diagrams_are_what_the_code_draws(tmp_path: Path) -> None:
    write_all(tmp_path)
    for drawn in sorted(tmp_path.iterdir()):
        kept = FOLDER / drawn.name
        assert kept.is_file(), f"{kept} is missing; run python -m saga.diagrams"
        assert kept.read_bytes() == drawn.read_bytes(), (
            f"{kept} differs from the code; run python -m saga.diagrams and review the difference"
        )
    assert {path.name for path in FOLDER.iterdir()} == set(committed_files())


@pytest.mark.requirement("D7")
def test_the_check_finds_a_missing_and_an_altered_diagram(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "saga.svg").write_text("altered")
    (tmp_path / "step.mmd").unlink()
    capsys.readouterr()
    assert main(["--check", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "saga.svg" in told
    assert "step.mmd" in told
    assert {path.name for path in differing(tmp_path)} == {"saga.svg", "step.mmd"}
    assert main([str(tmp_path)]) == 0
    assert differing(tmp_path) == []


def test_every_run_of_the_program_draws_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-m", "saga.diagrams", str(tmp_path / seed)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=FOLDER.parent,
            stdout=subprocess.DEVNULL,
        )
    for drawn in (tmp_path / "1").iterdir():
        assert drawn.read_bytes() == (tmp_path / "2" / drawn.name).read_bytes(), drawn.name


@pytest.mark.requirement("D7")
@pytest.mark.parametrize("graph", GRAPHS, ids=GRAPH_IDS)
def test_every_state_and_every_arrow_of_the_table_is_drawn_once(graph: Graph) -> None:
    ids = svg_ids(machine_svg(graph))
    assert len(ids) == len(set(ids))
    for arrow in graph.arrows:
        assert f"{graph.name}-arrow-{arrow.trigger}-{arrow.source}-{arrow.dest}" in ids
    for state in graph.states:
        assert f"{graph.name}-state-{state}" in ids
    assert sum("-arrow-" in name for name in ids) == len(graph.arrows)
    assert sum("-state-" in name for name in ids) == len(graph.states)


@pytest.mark.requirement("D7")
@pytest.mark.parametrize("graph", GRAPHS, ids=GRAPH_IDS)
def test_mermaid_has_one_line_for_every_arrow(graph: Graph) -> None:
    lines = machine_mermaid(graph).splitlines()
    assert lines[0] == "stateDiagram-v2"
    arrows = [line.strip() for line in lines if "-->" in line and "[*]" not in line]
    assert arrows == [f"{a.source} --> {a.dest} : {a.trigger}" for a in graph.arrows]
    assert f"    [*] --> {graph.initial}" in lines


@pytest.mark.requirement("D4", "D7")
def test_both_tables_are_drawn_whole() -> None:
    assert saga_graph().arrows == SAGA_TRANSITIONS
    assert step_graph().arrows == STEP_TRANSITIONS
    assert saga_graph().states == tuple(SagaState)
    assert step_graph().states == tuple(StepState)


def test_no_two_triggers_of_the_saga_join_the_same_two_states() -> None:
    """A saga's own way is read from its states, so that each pair must name one arrow."""
    pairs = [(arrow.source, arrow.dest) for arrow in SAGA_TRANSITIONS]
    assert len(pairs) == len(set(pairs))


def test_no_place_is_kept_for_a_state_that_is_gone() -> None:
    assert placed_by_hand("saga") <= set(SagaState)
    assert placed_by_hand("step") <= set(StepState)


@pytest.mark.parametrize("graph", GRAPHS, ids=GRAPH_IDS)
def test_every_state_has_one_place_whether_made_by_hand_or_not(graph: Graph) -> None:
    assert set(layout_of(graph).boxes) == set(graph.states)


@pytest.mark.parametrize(
    ("graph", "tall"),
    [(saga_graph(), True), (step_graph(), False), (new_step_graph(), False)],
    ids=GRAPH_IDS,
)
def test_no_label_covers_a_box_or_another_label(graph: Graph, tall: bool) -> None:
    boxes = [pixels(box) for box in layout_of(graph).boxes.values()]
    labels = [label.rect for way in routed_for(graph, tall=tall) for label in way.labels]
    for one, other in combinations(labels, 2):
        assert not one.meets(other, 1), f"{one} and {other}"
    for label in labels:
        assert not any(label.meets(box, 1) for box in boxes), label
    for one, other in combinations(boxes, 2):
        assert not one.meets(other, UNIT), f"{one} and {other}"


@pytest.mark.parametrize("graph", GRAPHS, ids=GRAPH_IDS)
def test_no_line_runs_through_a_box_or_under_a_label_or_along_another(graph: Graph) -> None:
    ways = routed_for(graph, tall=graph.name == "saga")
    boxes = [pixels(box) for box in layout_of(graph).boxes.values()]
    for way in ways:
        points = {point for line in way.lines.values() for point in line[1:-1]}
        for point in points:
            assert not any(box.holds(point) for box in boxes), (way.bundle.arrows[0], point)
        for other in ways:
            if other is way:
                continue
            for label in other.labels:
                hidden = [point for point in points if label.rect.holds(point)]
                assert not hidden, f"{way.bundle.arrows[0]} under {other.bundle.arrows[0]}"
            assert not edges(way) & edges(other)


def edges(way: Routed) -> set[frozenset[tuple[int, int]]]:
    return {frozenset(pair) for line in way.lines.values() for pair in pairwise(line)}


@pytest.mark.parametrize("graph", GRAPHS, ids=GRAPH_IDS)
def test_every_line_leads_from_its_source_to_its_destination(graph: Graph) -> None:
    boxes = {name: pixels(box) for name, box in layout_of(graph).boxes.items()}
    for way in routed_for(graph, tall=graph.name == "saga"):
        for arrow, line in way.lines.items():
            assert boxes[arrow.source].holds(line[0], 1)
            assert boxes[arrow.dest].holds(line[-1], 1)
            for here, there in pairwise(line):
                assert abs(here[0] - there[0]) + abs(here[1] - there[1]) == 1


def test_a_machine_that_nobody_has_placed_is_drawn_all_the_same() -> None:
    class Light(StrEnum):
        RED = "RED"
        GREEN = "GREEN"

    table = (Transition("go", "RED", "GREEN", "x"), Transition("stop", "GREEN", "AMBER <&>", "y"))
    svg = machine_svg(graph_of("light", "A light", Light, table))
    assert "light-arrow-go-RED-GREEN" in svg_ids(svg)
    assert "AMBER &lt;&amp;&gt;" in svg


@pytest.mark.parametrize(
    "svg",
    [machine_svg(saga_graph(), with_when=True), machine_svg(step_graph()), overview_svg()],
    ids=["saga", "step", "overview"],
)
def test_a_picture_stands_alone_and_speaks_to_everybody(svg: str) -> None:
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    named = root.attrib["aria-labelledby"].split()
    assert [root[0].tag, root[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    assert [root[0].attrib["id"], root[1].attrib["id"]] == named
    assert root[0].text
    assert root[1].text
    assert "prefers-color-scheme:dark" in svg
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "g", "rect", "circle", "path", "text"}
    assert not any(word in svg for word in ("href", "url(", "@import", "<script", "onload"))
    ids = svg_ids(svg)
    assert len(ids) == len(set(ids))


def test_the_style_of_a_picture_touches_nothing_else_on_a_page() -> None:
    root = ET.fromstring(overview_svg())
    style = root.findtext(f"{SVG}style")
    assert style is not None
    rules = [line for line in style.strip().splitlines() if not line.startswith(("@media", "}"))]
    for rule in rules:
        assert all(selector.startswith(".trade-saga") for selector in rule.split("{")[0].split(","))
    assert "var(" not in style
