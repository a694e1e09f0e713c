"""`saga demo` as a process of its own: what it prints, what it leaves, how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from desk.demo.command import run
from desk.home import Home
from saga.history import History
from saga.store.process import Process, SystemProcesses

LONGEST_SECONDS = 60
"""Far more than the demo takes, on however slow a machine."""
SEEDS = (1, 20)


@dataclass(frozen=True)
class Played:
    """A demo that was played to its end."""

    status: int
    out: str
    err: str
    home: Home
    temporary: Path

    @property
    def report(self) -> Any:
        """The JSON object."""
        return json.loads(self.out)


def started(*arguments: str, temporary: Path) -> subprocess.Popen[str]:
    """Start a demo whose temporary folders are made in a folder of the test's own."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [sys.executable, "-m", "desk.demo", "--fast", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Played]:
    """Two demos with different seeds, played side by side: the first is kept, the second is not."""
    folders = [tmp_path_factory.mktemp(f"demo{seed}") for seed in SEEDS]
    kept = folders[0] / "my demo"
    processes = [
        started("--json", "--seed", str(SEEDS[0]), "--keep", str(kept), temporary=folders[0]),
        started("--json", "--seed", str(SEEDS[1]), temporary=folders[1]),
    ]
    try:
        told = [process.communicate(timeout=LONGEST_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {
        seed: Played(process.returncode, out, err, Home(kept), folder)
        for seed, process, (out, err), folder in zip(SEEDS, processes, told, folders, strict=True)
    }


@pytest.mark.requirement("O9", "D6", "D7", "E11")
@pytest.mark.parametrize("seed", SEEDS)
def test_all_five_scenes_end_as_they_should(played: dict[int, Played], seed: int) -> None:
    demo = played[seed]
    assert demo.status == 0, demo.err
    report = demo.report
    assert report["ok"] is True
    assert report["wrong"] == []
    assert 0 < report["seconds"] < 30
    ways = {scene["name"]: scene["way"] for scene in report["scenes"]}
    assert ways == {
        "initialise": ["PENDING", "RUNNING", "COMPLETED"],
        "rebalance_undone": ["PENDING", "RUNNING", "COMPENSATING", "ROLLED_BACK"],
        "exit_killed": ["PENDING", "RUNNING", "COMPLETED"],
        "stuck_rollback": ["PENDING", "RUNNING", "COMPENSATING", "STALE", "ROLLED_BACK"],
        "record": [],
    }
    for scene in report["scenes"][:4]:
        assert re.fullmatch(r"BAT_\d{8}_\d{6}_[0-9a-z]{8}", scene["batch_id"])
        assert scene["state"] == scene["way"][-1]
    outcomes = [scene["outcome"] for scene in report["scenes"]]
    assert outcomes == ["SUCCESS", "FAILED", "SUCCESS", "FAILED", None]


@pytest.mark.requirement("D6")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_exchanges_books_have_every_order_once(played: dict[int, Played], seed: int) -> None:
    report = played[seed].report
    books = report["books"]
    assert {name: books[name] for name in ("duplicates", "missing", "unexplained")} == {
        "duplicates": 0,
        "missing": 0,
        "unexplained": 0,
    }
    by_hand = 2
    assert books["orders"] == report["scenes"][-1]["orders"] + by_hand


def test_json_is_one_object_last_on_stdout_and_nothing_else_there(
    played: dict[int, Played],
) -> None:
    for demo in played.values():
        assert demo.out.count("\n") == 1
        assert set(demo.report) >= {"ok", "seconds", "scenes", "books"}
        assert "1 of 5  Initialise" in demo.err


def test_off_a_terminal_there_are_plain_lines_without_control_codes(
    played: dict[int, Played],
) -> None:
    for demo in played.values():
        assert "\x1b" not in demo.err
        assert "PAPER" in demo.err


@pytest.mark.requirement("O10", "O11")
def test_the_screen_tells_what_is_left_what_it_is_worth_and_who_refuses(
    played: dict[int, Played],
) -> None:
    for demo in played.values():
        assert re.search(r"[+-][\d,]+ shares, known; -?[\d,.]+ USD at the last price", demo.err)
        assert "(try 3)" in demo.err
        assert "portfolio.buy raises PortfolioStale: portfolio 'main' is stale" in demo.err
        assert "it trades again" in demo.err


@pytest.mark.requirement("D5")
def test_the_screen_tells_each_inverse_its_price_and_what_the_undo_cost(
    played: dict[int, Played],
) -> None:
    for demo in played.values():
        scene = demo.err.partition("2 of 5")[2].partition("3 of 5")[0]
        inverses = re.findall(r"(?:sold|bought) back [\d,]+ [A-Z]+ at [\d.]+, cost [\d.]+", scene)
        assert len(inverses) >= 5
        assert re.search(r"it cost +[\d,.]+ USD to undo", scene)


def test_without_keep_nothing_is_left(played: dict[int, Played]) -> None:
    assert list(played[SEEDS[1]].temporary.iterdir()) == []
    assert "Nothing is left" in played[SEEDS[1]].err


@pytest.mark.requirement("B11")
async def test_what_is_kept_is_a_desk_that_others_can_read(played: dict[int, Played]) -> None:
    demo = played[SEEDS[0]]
    assert demo.report["kept"] == str(demo.home.folder)
    async with History(demo.home.store) as history:
        batches = await history.recent()
        assert {each["batch_id"] for each in demo.report["scenes"][:4]} < {
            row.batch_id for row in batches
        }
    pictures = {path.stem for path in demo.home.diagrams.glob("*.svg")}
    assert pictures == {row.batch_id for row in batches}
    assert demo.home.exchange.is_file()
    assert f"saga list --home '{demo.home.folder}'" in demo.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"seed": "seven"}, "--seed must be a whole number from 0 to 4294967295, not 'seven'"),
        ({"seed": "-1"}, "--seed must be a whole number from 0 to 4294967295, not '-1'"),
        ({"seed": "4294967296"}, "--seed must be a whole number"),
        ({"seed": "٣"}, "--seed must be a whole number"),
        ({"keep": "a-file"}, "is a file; name a folder that is new or empty"),
        ({"keep": "full"}, "is not empty; name a folder that is new or empty"),
        ({"keep": "a-file/below"}, "a-file/below"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_leaves_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    complaint: str,
) -> None:
    (tmp_path / "a-file").write_text("mine", "utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs").write_text("", "utf-8")
    before = sorted(tmp_path.rglob("*"))
    keep = str(tmp_path / options["keep"]) if "keep" in options else None
    status = run(as_json=True, seed=options.get("seed", "1"), keep=keep, fast=True)
    told = capsys.readouterr()
    assert status == 2
    assert told.out == ""
    assert complaint in told.err
    assert told.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.requirement("D6")
def test_a_signal_ends_the_demo_its_process_and_its_folder(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    processes = [started(temporary=tmp_path) for _ in numbers]
    with ThreadPoolExecutor(len(numbers)) as side_by_side:
        list(side_by_side.map(_interrupt_while_its_process_sells, processes, numbers))
    assert list(tmp_path.iterdir()) == []


def _interrupt_while_its_process_sells(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    with process.stderr as err:
        for line in err:
            if line.startswith("3 of 5"):
                break
        child = _child_of(process)
        process.send_signal(number)
        rest = err.read()
    assert process.wait(timeout=LONGEST_SECONDS) == 130, rest
    assert process.stdout is not None
    assert process.stdout.read() == ""
    process.stdout.close()
    assert rest.splitlines()[-1].startswith("saga: the demo was interrupted")
    assert "Traceback" not in rest
    assert not SystemProcesses().is_alive(child)


def _child_of(process: subprocess.Popen[str]) -> Process:
    """Return the process that the demo has started, by the kernel's own account.

    It lives for some tenths of a second at least: it has everything to load first.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for pid in children.read_text("ascii").split():
            return replace(SystemProcesses().current(), pid=int(pid), token=None)
    raise AssertionError("the demo ended before it was interrupted")
