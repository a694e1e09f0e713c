"""What `python -m benchmarks` says, with sides that tell what a test wants: nothing is timed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import command, kept_runs, page
from benchmarks.command import main
from benchmarks.goals import GOALS
from benchmarks.measuring import SIDES, RunFailed, Side, Spread
from benchmarks.plots import draw
from benchmarks.sweeps import SWEEPS
from tests.reliability import written_page
from tests.reliability.written_page import END

Told = Callable[[Side], dict[str, Any]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sides that ran; ours are a hundred times as fast as all others."""
    names: list[str] = []

    def run(side: Side) -> dict[str, Any]:
        names.append(side.name)
        ours = side.name.startswith(("engine", "store"))
        rate = 1_000.0 if ours else 10.0
        seconds = ("seconds", "seconds_a_step", "seconds_a_saga", "p99", "median")
        alone = ("commit", "hop", "task", "validation", "trigger", "fold", "record")
        return {
            "rate": rate,
            "bytes": 100,
            "commits": 1,
            "microseconds": 200.0,
            "shares": {"folding": 0.25, "SQL": 0.75},
            **dict.fromkeys(seconds, 1 / rate),
            **dict.fromkeys(alone, 1.5),
        }

    monkeypatch.setattr(Side, "run", run)
    return names


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the figures are kept: a folder of the test's own, in which nothing is drawn."""
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    shutil.copy(page.PAGE.path, tmp_path / "docs")
    figures = tmp_path / "docs" / "figures"
    monkeypatch.setattr(written_page, "ROOT", tmp_path)
    monkeypatch.setattr(page, "FIGURES", figures)
    monkeypatch.setattr(page, "KEPT", figures / "performance.json")
    monkeypatch.setattr(command, "FIGURES", figures)
    monkeypatch.setattr(command, "find_spec", lambda name: name)

    monkeypatch.setattr(command, "draw", lambda *_: [])
    return tmp_path / "docs"


def test_every_goal_has_a_measure() -> None:
    assert {goal.number for goal in GOALS} == set(range(1, 11))


def test_what_is_quick_has_a_ratio_for_what_was_promised() -> None:
    assert {goal.number for goal in GOALS if goal.is_quick} == {1, 2, 3, 5}


def test_every_side_that_is_asked_for_is_there() -> None:
    modules = {module for module, _ in SIDES.values()}
    assert modules == {
        *("disk", "engine", "history", "limits", "peer", "peer_history", "profile"),
        *("simulation", "start", "store"),
    }
    for sweep in SWEEPS:
        for sides in sweep.points.values():
            assert {side.name for side in sides.values()} <= SIDES.keys()


def test_the_sides_of_a_goal_run_in_turn(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["64 sagas", "--json"]) == 0
    assert ran == ["engine steps", "peer steps"] * 5
    told = json.loads(capsys.readouterr().out)
    (goal,) = told["goals"]
    assert (goal["id"], goal["ratio"], goal["goal"], goal["met"]) == (1, 100.0, 60, True)
    assert goal["figures"]["steps/s"] == 1_000.0
    assert told["machine"]["python"]


def test_a_number_names_the_goals_of_that_number_and_no_others(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["4", "--json"]) == 0
    assert {goal["id"] for goal in json.loads(capsys.readouterr().out)["goals"]} == {4}


def test_a_goal_that_is_not_met_is_said_to_be_not_met(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seeds"]) == 0
    assert ran == ["simulation seeds"] * 5
    assert "10 (10 to 10), wanted at least 150: NOT met" in capsys.readouterr().out


def test_whoever_is_a_hundred_times_as_fast_meets_every_goal_beside_another(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)["goals"]
    assert len(told) == len(GOALS)
    assert [goal["name"] for goal in told if not goal["met"]] == [
        "seeds of the simulation a second and core"  # no faster here than any other side
    ]


def test_whoever_is_a_hundred_times_as_slow_meets_no_goal_beside_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(side: Side) -> dict[str, Any]:
        seconds = 10.0 if side.name.startswith(("engine", "store", "start engine")) else 0.1
        times = ("seconds", "seconds_a_step", "seconds_a_saga")
        return {"rate": 1 / seconds, "bytes": 100, **dict.fromkeys(times, seconds)}

    monkeypatch.setattr(Side, "run", run)
    assert main(["beside dbos", "beside a bare", "beside sqlite3", "libraries", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["goals"]
    assert len(told) == 7
    assert [goal["name"] for goal in told if goal["met"]] == []


@pytest.mark.parametrize(
    ("name", "argument", "many", "few"),
    [
        ("many beside few", "sagas", 10_000, 1_000),
        ("1 M batches beside 10 k", "batches", 1_000_000, 10_000),
        ("10,000 sagas at once beside 10", "concurrent", 10_000, 10),
        ("10,000 legs beside 2", "legs", 10_000, 2),
    ],
)
def test_what_is_to_stay_as_fast_is_measured_with_many_and_then_with_few(
    name: str,
    argument: str,
    many: int,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes: list[int] = []

    def run(side: Side) -> dict[str, Any]:
        sizes.append(side.arguments[argument])
        seconds = side.arguments[argument] / 1_000
        return dict.fromkeys(("p99", "seconds_a_step", "seconds_a_saga"), seconds)

    monkeypatch.setattr(Side, "run", run)
    assert main([name, "--json"]) == 0
    (goal,) = json.loads(capsys.readouterr().out)["goals"]
    assert sizes == [many, few] * 5
    assert goal["ratio"] == many / few
    assert list(goal["figures"].values()) == [many, few]  # ms


def test_a_plot_whose_side_fails_costs_neither_the_goals_nor_the_other_plots(
    ran: list[str],
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Side.run

    def no_history(side: Side) -> dict[str, Any]:
        if side.name == "history shared answers" and side.arguments["batches"] == 100_000:
            raise RunFailed("history answers did not end in 1800 s")
        return run(side)

    monkeypatch.setattr(Side, "run", no_history)
    assert main(["--keep"]) == 3
    figures = json.loads((kept / "figures" / "performance.json").read_text(encoding="utf-8"))
    assert len(figures["goals"]) == len(GOALS)
    assert set(figures["lines"]) == {sweep.name for sweep in SWEEPS} - {"history"}
    assert "did not end in 1800 s" in capsys.readouterr().out
    written = (kept / "performance.md").read_text(encoding="utf-8")
    assert "figures/throughput.svg" in written
    assert "figures/history.svg" not in written


def test_the_goals_are_kept_before_the_plots_are_measured(
    ran: list[str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["--keep"])
    figures = json.loads((kept / "figures" / "performance.json").read_text(encoding="utf-8"))
    assert len(figures["goals"]) == len(GOALS)
    assert figures["lines"] == {}


def test_the_parts_of_a_step_are_on_the_page_the_largest_first(
    ran: list[str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--keep", "--quick"]) == 0
    assert ran[-2:] == ["engine profile", "parts alone"]
    written = (kept / "performance.md").read_text(encoding="utf-8")
    assert "| SQL | 75% | 150 |\n| folding | 25% | 50 |" in written
    assert "| a trigger of the state machine | 1.5 | two |" in written
    run = Side.run

    def no_profile(side: Side) -> dict[str, Any]:
        if side.name == "engine profile":
            raise RunFailed("engine profile ended with status 1: no such signal")
        return run(side)

    monkeypatch.setattr(Side, "run", no_profile)
    assert main(["--keep", "--quick"]) == 3
    assert "| a trigger of" not in (kept / "performance.md").read_text(encoding="utf-8")


def test_a_plot_without_lines_is_not_drawn(tmp_path: Path) -> None:
    assert draw({}, tmp_path) == []


def test_a_side_that_fails_is_told_of_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ran: list[str]
) -> None:
    run = Side.run

    def no_peer(side: Side) -> dict[str, Any]:
        if side.name.startswith("peer"):
            raise RunFailed("peer steps ended with status 1: No module named 'dbos'")
        return run(side)

    monkeypatch.setattr(Side, "run", no_peer)
    assert main(["--quick", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)["goals"]
    failed = [goal for goal in told if goal["ratio"] is None]
    assert {goal["id"] for goal in failed} == {1, 2, 5}
    assert all("No module named" in goal["error"] for goal in failed)
    assert any(goal["ratio"] is not None for goal in told)


def test_what_was_run_before_is_not_run_again(
    ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new folder" / "runs.json"
    half = iter(range(3))
    run = Side.run

    def broken_off(side: Side) -> dict[str, Any]:
        if next(half, None) is None:
            raise KeyboardInterrupt
        return {**run(side), "rate": 50.0}

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Side, "run", broken_off)
        with pytest.raises(KeyboardInterrupt):
            main(["64 sagas", "--resume", str(file)])
    ran.clear()
    assert main(["64 sagas", "--resume", str(file), "--json"]) == 0
    assert ran == ["peer steps", *["engine steps", "peer steps"] * 3]
    (goal,) = json.loads(capsys.readouterr().out)["goals"]
    assert (goal["lowest"], goal["highest"]) == (1, 100)  # 50 beside 50, and 1,000 beside 10
    ran.clear()
    assert main(["64 sagas", "--resume", str(file)]) == 0
    assert ran == []


def test_what_was_run_at_another_size_or_by_another_program_is_run_again(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = ["64 sagas", "--resume", str(tmp_path / "runs.json")]
    assert main([*resumed, "--quick"]) == 0
    assert main(resumed) == 0
    assert ran == ["engine steps", "peer steps"] * 6
    monkeypatch.setattr(kept_runs, "program", lambda: "another")
    assert main([*resumed, "--quick"]) == 0
    assert len(ran) == 14


def test_runs_are_not_gone_on_with_from_what_holds_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.json"
    file.write_text('{"program": "", "runs": [1]}', encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["64 sagas", "--resume", str(file)])
    assert left.value.code == 2
    assert "does not hold runs" in capsys.readouterr().err


def test_a_side_that_does_not_come_to_its_end_says_why() -> None:
    with pytest.raises(RunFailed, match="status 1: TypeError"):
        Side("disk rows", {"count": "many", "a_commit": 1, "size": 1}).run()


def test_a_side_runs_in_a_process_of_its_own_and_tells_its_figures() -> None:
    assert Side("disk rows", {"count": 20, "a_commit": 10, "size": 10}).run()["rate"] > 0


@pytest.mark.parametrize("arguments", [["no such goal"], ["--keep", "1"]])
def test_what_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err


def test_a_spread_is_the_middle_and_both_ends() -> None:
    assert Spread.of([3, 1, 10]) == Spread(3, 1, 10)


def test_the_page_holds_what_was_kept_and_its_own_words() -> None:
    goal = {
        "id": 1,
        "name": "steps",
        "goal": 60,
        "at_least": True,
        "met": False,
        "ratio": 6.5,
        "lowest": 6.0,
        "highest": 7.0,
        "figures": {"steps/s": 1_000.0},
    }
    failed = {**goal, "ratio": None, "error": "it did not end"}
    machine = {"cores": 2, "processor": "P", "system": "S", "python": "3.11", "sqlite": "3.40"}
    kept = {"commit": "c", "at": "now", "runs": 5, "machine": machine, "lines": {}, "parts": None}
    text = page.PAGE.path.read_text(encoding="utf-8")
    written = page.page_with_figures(text, {**kept, "goals": [goal, failed]})
    assert "| 1 | steps (1,000 steps/s) | at least 60 | 6.5 | 6 to 7 | **not met** |" in written
    assert "not measured | | it did not end |" in written
    assert written.startswith(text.partition(page.PAGE.begin)[0])
    assert written.endswith(text.partition(END)[2])
    with pytest.raises(ValueError, match="lost one of its marks"):
        page.page_with_figures("# Performance", {**kept, "goals": []})
