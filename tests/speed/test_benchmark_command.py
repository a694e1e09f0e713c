"""What `python -m benchmarks` says, with sides that tell what a test wants: nothing is timed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import command, kept_runs, page
from benchmarks.command import main
from benchmarks.goals import GOALS
from benchmarks.kept_runs import KeptRuns
from benchmarks.machine import described
from benchmarks.measuring import SIDES, RunFailed, Side, Spread
from benchmarks.plots import draw
from benchmarks.sweeps import SWEEPS, Sweep
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
        seconds = ("seconds", "seconds_a_step", "seconds_a_saga", "p99", "median", "longest")
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


def test_how_long_the_loop_stands_still_at_the_longest_is_told_beside_the_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Side, "run", lambda _: {"p99": 0.004, "longest": 0.3})
    assert main(["8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["goals"]
    assert len(told) == 3
    for goal in told:
        assert (goal["ratio"], goal["met"]) == (4, True)
        assert goal["figures"] == {"ms late": 4, "ms late at the longest": 300}


def test_a_goal_that_is_not_met_is_said_to_be_not_met(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seeds"]) == 0
    assert ran == ["simulation seeds"] * 5
    said = capsys.readouterr().out
    assert "10 (10 to 10), wanted at least 150: NOT met" in said
    assert "one coarse run" not in said
    assert main(["seeds", "--quick"]) == 0
    assert "10 (one coarse run), wanted at least 150: NOT met" in capsys.readouterr().out


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
        ("10,000 legs beside 100", "legs", 10_000, 100),
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
    assert main(["--keep"]) == 130
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


def test_the_sides_of_a_plot_run_in_turn_place_by_place_and_their_middle_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, many, peers_few = Side("engine few"), Side("engine many"), Side("peer few")
    figures = {"": ("rate", 10.0), "at worst": ("longest", 1.0)}
    sweep = Sweep("steps", "", "", "", figures, {"we": {64: many, 1: few}, "they": {1: peers_few}})
    ran: list[str] = []
    rates = iter((1.0, 5.0, 3.0, 7.0, 2.0, 6.0, 8.0, 0.0, 9.0))

    def run(side: Side) -> dict[str, Any]:
        ran.append(side.name)
        return {"rate": next(rates), "longest": 4.0}

    monkeypatch.setattr(Side, "run", run)
    runs = KeptRuns(None, lambda: None, {})
    lines = sweep.measure(runs)
    assert ran == ["engine few", "peer few"] * 3 + ["engine many"] * 3
    assert sweep.runs == len(ran)
    assert lines == {
        "we": [[1, 20.0], [64, 80.0]],
        "we, at worst": [[1, 4.0], [64, 4.0]],
        "they": [[1, 60.0]],
        "they, at worst": [[1, 4.0]],
    }
    ran.clear()
    assert sweep.measure(runs) == lines
    assert ran == []  # they are there already


def test_a_goal_that_is_kept_by_its_name_has_its_row_renewed_and_no_other(
    ran: list[str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = kept / "figures" / "performance.json"
    assert main(["--keep"]) == 0
    before = json.loads(figures.read_text(encoding="utf-8"))
    ran.clear()
    monkeypatch.setattr(Side, "run", lambda _: {"p99": 0.004})
    monkeypatch.setattr(page, "commit_at_hand", lambda: "0123456789ab")
    assert main(["--keep", "7"]) == 0
    after = json.loads(figures.read_text(encoding="utf-8"))
    changed = [goal for goal in after["goals"] if goal not in before["goals"]]
    assert [(goal["id"], goal["ratio"], goal["commit"]) for goal in changed] == [
        (7, 1, "0123456789ab")
    ]
    assert {**after, "goals": before["goals"]} == before
    written = (kept / "performance.md").read_text(encoding="utf-8")
    (row,) = [line for line in written.splitlines() if "at commit `0123456789ab`" in line]
    assert row.startswith("| 7 | history")


def test_a_goal_whose_side_fails_keeps_the_row_that_it_had(
    ran: list[str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--keep"]) == 0
    before = (kept / "performance.md").read_text(encoding="utf-8")

    def fails(side: Side) -> dict[str, Any]:
        raise RunFailed(f"{side.name} ended with status 1: the disk is full")

    monkeypatch.setattr(Side, "run", fails)
    assert main(["--keep", "7"]) == 3
    assert (kept / "performance.md").read_text(encoding="utf-8") == before


def test_a_row_is_not_put_among_coarse_ones_or_those_of_another_machine(
    ran: list[str],
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "no whole run is kept yet" in refusal(["--keep", "7"], capsys)
    assert main(["--keep", "--quick"]) == 0
    assert "no whole run is kept yet" in refusal(["--keep", "7"], capsys)
    assert main(["--keep"]) == 0
    ran.clear()
    monkeypatch.setattr(command, "described", lambda: {**described(), "processor": "another"})
    assert "measured on another machine" in refusal(["--keep", "7"], capsys)
    assert ran == []


def test_who_cannot_draw_is_told_so_before_anything_is_measured(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert "make setup ARGS=--plots" in refusal(["--keep"], capsys)
    assert ran == []


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
        assert main(["64 sagas", "--resume", str(file)]) == 130
    assert f"go on with --resume {file}" in capsys.readouterr().err
    ran.clear()
    assert main(["64 sagas", "--resume", str(file), "--json"]) == 0
    # The turn that was broken off is taken again: its two sides are of one hour.
    assert ran == ["engine steps", "peer steps"] * 4
    said = capsys.readouterr()
    (goal,) = json.loads(said.out)["goals"]
    assert (goal["lowest"], goal["highest"]) == (1, 100)  # 50 beside 50, and 1,000 beside 10
    assert f"runs are taken from {file}, begun" in said.err
    ran.clear()
    assert main(["64 sagas", "--resume", str(file)]) == 0
    assert ran == []


def test_what_was_run_at_another_size_is_run_again(ran: list[str], tmp_path: Path) -> None:
    resumed = ["64 sagas", "--resume", str(tmp_path / "runs.json")]
    assert main([*resumed, "--quick"]) == 0
    assert main(resumed) == 0
    assert ran == ["engine steps", "peer steps"] * 6


def test_a_run_of_another_size_is_not_taken_for_one_of_this(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Side, "run", lambda side: {"rate": float(side.arguments["sagas"])})
    resumed = ["64 sagas", "--json", "--resume", str(tmp_path / "runs.json")]
    assert main([*resumed, "--quick"]) == 0
    capsys.readouterr()
    assert main(resumed) == 0
    (goal,) = json.loads(capsys.readouterr().out)["goals"]
    assert goal["figures"] == {"steps/s": 640.0, "steps/s of DBOS": 128.0}


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_runs_of_another_program_or_machine_are_left_alone(
    ran: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "runs.json"
    resumed = ["64 sagas", "--resume", str(file)]
    assert main(resumed) == 0
    before = file.read_text(encoding="utf-8")
    with monkeypatch.context() as other:
        other.setattr(kept_runs, "program", lambda: "another")
        assert "holds runs of other sources; name another file" in refusal(resumed, capsys)
    machine = {**described(), "processor": "a faster one"}
    monkeypatch.setattr(command, "described", lambda: machine)
    assert "holds runs of another machine" in refusal(resumed, capsys)
    assert file.read_text(encoding="utf-8") == before


def test_a_machine_that_is_busier_now_is_the_same(
    ran: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resumed = ["64 sagas", "--resume", str(tmp_path / "runs.json")]
    assert main(resumed) == 0
    busy = {**described(), "load_before": 99.0}
    monkeypatch.setattr(command, "described", lambda: busy)
    ran.clear()
    assert main(resumed) == 0
    assert ran == []
    assert "This machine is busy (load 99.0)" in capsys.readouterr().err


_RUN = {"side": "engine steps", "arguments": {}, "told": {"rate": 1.0}}


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        '{"program": "", "runs": [1]}',
        *(
            json.dumps({"program": "", "machine": {}, "begun": "", "runs": {"steps": [run]}})
            for run in ({}, {**_RUN, "told": {}}, {**_RUN, "told": [1]}, {**_RUN, "side": 1})
        ),
    ],
)
def test_runs_are_not_gone_on_with_from_what_holds_none(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.json"
    file.write_text(content, encoding="utf-8")
    assert "does not hold runs; name another file" in refusal(
        ["64 sagas", "--resume", str(file)], capsys
    )
    assert file.read_text(encoding="utf-8") == content


def test_a_file_that_cannot_be_written_is_told_of_before_anything_is_measured(
    ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refusal(["64 sagas", "--resume", str(tmp_path)], capsys)
    assert f"{tmp_path}: Is a directory; name another file" in told
    assert ran == []


def test_a_side_that_does_not_come_to_its_end_says_why() -> None:
    with pytest.raises(RunFailed, match="status 1: TypeError"):
        Side("disk rows", {"count": "many", "a_commit": 1, "size": 1}).run()


def test_a_side_runs_in_a_process_of_its_own_and_tells_its_figures() -> None:
    assert Side("disk rows", {"count": 20, "a_commit": 10, "size": 10}).run()["rate"] > 0


@pytest.mark.parametrize(
    "arguments", [["no such goal"], ["1", "nonsense"], ["11"], [""], ["--keep", "--quick", "1"]]
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(arguments, capsys)


def test_a_run_that_is_ended_leaves_no_folder_and_no_process_behind(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    measuring = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "bytes a step"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".benchmark-*/*")) and time.monotonic() < end:
        time.sleep(0.05)
    measuring.terminate()
    _, said = measuring.communicate(timeout=60)
    assert measuring.returncode == 130
    assert "Interrupted. Nothing was kept" in said
    assert list(tmp_path.iterdir()) == []


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
    machine = {
        "cores": 2,
        "processor": "P",
        "system": "S",
        "python": "3.11",
        "sqlite": "3.40",
        "load_before": 0.1,
    }
    kept = {
        "commit": "c",
        "begun": "one",
        "ended": "two",
        "runs": 5,
        "quick": False,
        "machine": machine,
        "lines": {},
        "parts": None,
    }
    text = page.PAGE.path.read_text(encoding="utf-8")
    written = page.page_with_figures(text, {**kept, "goals": [goal, failed]})
    assert "| 1 | steps (1,000 steps/s) | at least 60 | 6.5 | 6 to 7 | **not met** |" in written
    assert "not measured | | it did not end |" in written
    assert "At commit `c`, one to two, on 2 cores of P (load 0.1 before)" in written
    assert "the middle of 5 runs each" in written
    coarse = page.page_with_figures(text, {**kept, "goals": [goal], "runs": 1, "quick": True})
    assert "goals that are not here were not measured" in coarse
    assert "| 6.5 | one run | **not met** |" in coarse
    assert written.startswith(text.partition(page.PAGE.begin)[0])
    assert written.endswith(text.partition(END)[2])
    with pytest.raises(ValueError, match="lost one of its marks"):
        page.page_with_figures("# Performance", {**kept, "goals": []})
