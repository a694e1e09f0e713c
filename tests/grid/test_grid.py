"""Each crash point with each behaviour of the venue; `make grid` plays all 12,636 runs."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grid.__main__ import main
from tests.grid.cells import CRASH_POINTS, Cell, Mode, all_cells, every_pair, one_of_each
from tests.grid.expected import Expected, Leg, Unreached, expected
from tests.grid.players import FAST, result_of
from tests.grid.theatre import Theatre


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    folder = Path(tempfile.mkdtemp(prefix="grid-", dir=FAST if FAST.is_dir() else None))
    try:
        yield Theatre(folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.requirement("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11")
@pytest.mark.requirement("S14", "S16", "L1", "L2", "L3", "D6")
@pytest.mark.parametrize("crash", CRASH_POINTS)
def test_whatever_dies_and_whatever_the_venue_does_what_comes_out_is_what_the_rules_say(
    theatre: Theatre, crash: int
) -> None:
    results = [result_of(theatre, cell) for cell in every_pair() if cell.crash == crash]
    assert len(results) == 18
    stories = [result.story for result in results if result.wrong]
    assert not stories, "\n\n".join(stories)


def test_the_grid_has_as_many_runs_as_it_says() -> None:
    cells = list(all_cells())
    assert len(cells) == len(set(cells)) == 26 * 18 * 3 * 3 * 3
    assert len({cell.name for cell in cells}) == len(list(one_of_each())) == 1404


def test_the_sample_plays_every_behaviour_in_every_mode_with_every_number_of_legs() -> None:
    cells = list(every_pair())
    assert len({(cell.crash, cell.behaviour) for cell in cells}) == len(cells) == 26 * 18
    assert len({(cell.behaviour, cell.legs, cell.mode) for cell in cells}) == 18 * 3 * 3
    assert len({(cell.behaviour, cell.loss) for cell in cells}) == 18 * 3


def test_few_points_are_not_reached_and_each_says_why() -> None:
    results = [(cell, expected(cell)) for cell in all_cells()]
    unreached = [cell for cell, wanted in results if isinstance(wanted, Unreached)]
    assert len(unreached) == UNREACHED
    assert {cell.crash for cell in unreached} == {7, 8, 13, 18, 19, 20}


UNREACHED = 279
"""Runs, of 12,636, that cannot reach their crash point; `make grid` lists them by their reason."""


@pytest.mark.parametrize(
    ("name", "state", "legs"),
    [
        ("K5-B6-L2-2-ATOMIC", "COMPLETED", (Leg(1, 0, 10), Leg(1, 0, 10))),
        ("K5-B4-L2-2-ATOMIC", "ROLLED_BACK", (Leg(1, 1, 0), Leg(0, 0, 0))),
        ("K5-B4-L2-2-SEQUENTIAL", "COMPLETED", (Leg(1, 0, 10), Leg(0, 0, 0))),
        ("K16-B6-L2-2-ATOMIC", "ROLLED_BACK", (Leg(1, 1, 0), Leg(0, 0, 0))),
        ("K20-B5-L3-1-ATOMIC", "STALE", (Leg(1, 0, 5, interval=(5, 5)),)),
        ("K13-B12-L2-1-SEQUENTIAL", "STALE", (Leg(1, 0, 5, interval=(5, 10)),)),
    ],
)
def test_the_reference_model_says_what_a_person_reads_out_of_the_rules(
    name: str, state: str, legs: tuple[Leg, ...]
) -> None:
    assert expected(Cell.parse(name)) == Expected(state, legs)


@pytest.mark.parametrize("name", ["K26-B1-L1-1-ATOMIC", "K5-B6-L2-3-ATOMIC", "K05-B6-L2-4-ATOMIC"])
def test_a_cell_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        Cell.parse(name)


def test_each_mode_is_one_of_the_program() -> None:
    assert [mode.value for mode in Mode] == ["SEQUENTIAL", "PARALLEL", "ATOMIC"]


def test_one_cell_is_told_with_what_was_expected_and_whether_it_came_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--cell", "K5-B6-L2-2-ATOMIC"]) == 0
    told = capsys.readouterr().out
    assert "EXPECTED that the batch ends COMPLETED\n" in told
    assert "EXPECTED of leg 1: 1 order and 0 undos accepted, " in told
    assert "CAME the batch COMPLETED: as expected, and every rule kept\n" in told
