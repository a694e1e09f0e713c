"""Each side at its smallest: what it tells fits what it did.

A clock that goes on by a second at each look stands in for the real one where a side looks at it;
where it does not, only what the figures have to do with one another is judged.
"""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks.measuring import Side
from benchmarks.sides import disk, engine, history, limits, profile, start, store
from benchmarks.sides.latencies import spread_of
from saga.model import ExecutionMode
from tests.speed.conftest import Clock

PAGE_BYTES = 4_096
ALWAYS_LATE = {"median": 0.499, "p99": 0.989, "longest": 0.999}
"""Of a loop that stands still all the time, for a second each, but for the pause of who listens."""
_HOW_IT_RAN = "SELECT mode, state, processed_trades FROM batches"
THE_CALL = profile.OF_OURS["saga/calls.py"]
STORE_AND_FOLD = (profile.OF_OURS["saga/store/"], profile.OF_OURS["saga/fold.py"])


@pytest.fixture(autouse=True)
def a_second_a_look(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """A clock of which every look is one second after the last, and no long wait beside it."""
    monkeypatch.setattr(engine, "UNTIL_STOPPING_SECONDS", 0.05)


def records_of_a_saga(legs: int) -> int:
    """Submitted, started, completed; and of each leg its intent and its report."""
    return 3 + 2 * legs


def test_latencies_are_told_by_their_middle_their_99th_percentile_and_the_longest() -> None:
    assert spread_of(range(100, -1, -1)) == {"median": 50, "p99": 99, "longest": 100}


def test_steps_are_counted_by_sagas_and_legs(tmp_path: Path) -> None:
    told = engine.steps(tmp_path, concurrent=1, sagas=3, legs=4)
    seconds = 1 + 2 * 3  # two looks at each saga, and one at the end
    assert told["rate"] == pytest.approx(3 * 4 / seconds)
    assert told["seconds_a_step"] == pytest.approx(seconds / (3 * 4))
    assert (told["median"], told["p99"], told["longest"]) == (1, 1, 1)
    assert 0 < told["records_read"] <= 3 * records_of_a_saga(4)


def test_an_undo_is_timed_from_the_refusal_to_the_first_order(tmp_path: Path) -> None:
    assert engine.undo(tmp_path, times=2) == {"seconds": 1}


def test_every_saga_that_was_left_half_way_is_taken_up_and_counted(tmp_path: Path) -> None:
    told = engine.resume(tmp_path, sagas=3, legs=2)
    assert told["rate"] * told["seconds"] == pytest.approx(3)
    assert told["seconds_a_saga"] * 3 == pytest.approx(told["seconds"])
    assert 0 < told["open"] <= told["seconds"]


def test_a_step_on_disk_is_a_share_of_whole_pages(tmp_path: Path) -> None:
    whole = engine.size(tmp_path, sagas=5, legs=4)["bytes"] * 5 * 4
    assert whole > 0
    assert whole % PAGE_BYTES == pytest.approx(0)


def test_a_saga_in_memory_is_a_share_of_whole_pages(tmp_path: Path) -> None:
    whole = engine.memory(tmp_path, sagas=3)["bytes"] * 3
    assert whole % PAGE_BYTES == pytest.approx(0)


def test_a_late_timer_is_late_by_what_is_beyond_its_pause(tmp_path: Path) -> None:
    assert engine.stall(tmp_path, sagas=2, legs=2) == pytest.approx(ALWAYS_LATE)


def test_a_late_timer_is_heard_while_a_long_batch_is_taken_in(tmp_path: Path) -> None:
    assert engine.taking_in(tmp_path, legs=300) == pytest.approx(ALWAYS_LATE)


def test_a_late_timer_is_heard_while_a_long_batch_is_carried_out(tmp_path: Path) -> None:
    assert engine.carrying_out(tmp_path, legs=300) == pytest.approx(ALWAYS_LATE)
    with closing(sqlite3.connect(tmp_path / "saga.db")) as connection:
        (saga,) = connection.execute(_HOW_IT_RAN).fetchall()
    assert saga == (ExecutionMode.PARALLEL, "COMPLETED", 300)


def test_an_urgent_batch_waits_for_commits_that_are_counted(tmp_path: Path) -> None:
    assert engine.overtaking(tmp_path, low=20)["commits"] in range(1, 20)


def test_every_question_to_the_history_is_asked_and_told(tmp_path: Path) -> None:
    told = history.answers(tmp_path, batches=150, trades=2, times=1)
    assert (told["median"], told["p99"], told["longest"]) == (1, 1, 1)
    assert {"active", "one batch, its progress"} < told["questions"].keys()
    assert set(told["questions"].values()) == {1}
    assert told["bytes_a_batch"] * 150 % PAGE_BYTES == pytest.approx(0)


def test_what_a_peer_can_be_asked_as_well_is_asked_as_a_user_asks_it(tmp_path: Path) -> None:
    told = history.shared_answers(tmp_path, batches=150, trades=2, times=2)
    assert (told["median"], told["p99"], told["longest"]) == (1, 1, 1)


def test_records_are_counted_by_the_sagas_that_wait(tmp_path: Path) -> None:
    told = store.records(tmp_path, waiting=3, legs=2)
    assert told["rate"] == 3 * records_of_a_saga(2)


def test_a_record_is_as_long_as_its_events_are_when_written() -> None:
    assert store.bytes_a_record(legs=2) > store.bytes_a_record(legs=20)  # the longest is one a saga


def test_the_disk_alone_is_counted_by_commits_and_by_rows(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    assert disk.single_commits(tmp_path, count=5) == {"seconds": 1 / 5, "rate": 5}
    assert disk.rows(tmp_path / "rows", count=20, a_commit=10, size=3) == {"rate": 20}


def test_both_programs_that_are_timed_from_their_start_come_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run_here(program: str, path: Path) -> float:  # in a process of its own it would compile all
        monkeypatch.setattr("sys.argv", ["-c", str(path)])
        exec(program, {})
        ran.append(program)
        return float(len(ran))

    monkeypatch.setattr(start, "_timed", run_here)
    assert start.engine(tmp_path) == {"seconds": 2}
    assert (tmp_path / "saga.db").exists()
    assert start.libraries(tmp_path) == {"seconds": 4}
    assert ran == [start._ENGINE] * 2 + [start._LIBRARIES] * 2


def test_a_program_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    assert start._timed("pass", tmp_path / "saga.db") > 0


def test_the_shares_of_a_step_are_of_a_whole(tmp_path: Path) -> None:
    told = profile.shares(tmp_path, concurrent=4, sagas=40, legs=10)
    assert told["microseconds"] > 0
    assert sum(told["shares"].values()) == pytest.approx(1)
    assert sum(share > 0 for share in told["shares"].values()) > 2


def frame_of(*files: str) -> FrameType:
    """Return the frame of the last of these files, each of which was called by the one before."""
    found: list[FrameType] = []

    def here() -> None:
        found.append(sys._getframe(1))

    called: Callable[[], None] = here
    for file in reversed(files):
        called = partial(exec, compile("called()", file, "exec"), {"called": called})
    called()
    return found[0]


def test_a_frame_serves_the_part_of_its_file_or_of_its_caller() -> None:
    def of(*files: str) -> FrameType:
        return frame_of(*(f"{profile.ROOT}{file}" for file in files))

    assert profile.part_of(of("saga/store/rows.py")) == STORE_AND_FOLD[0]
    assert profile.part_of(of("saga/runner.py")) == profile.OF_OURS["saga/"]
    assert profile.part_of(of("benchmarks/sides/engine.py")) == THE_CALL
    for file in ("saga/exact.py", "saga/amounts.py", "saga/quick_dataclass.py"):
        assert profile.part_of(of("saga/store/rows.py", file)) == STORE_AND_FOLD[0]
    assert profile.part_of(frame_of("/somewhere/asyncio/events.py")) == profile.LOOP
    called_by_the_loop = frame_of("<string>")  # which calls this test
    assert profile.part_of(called_by_the_loop) == profile.LOOP
    assert profile.part_of(None) == profile.LOOP


def test_each_part_alone_takes_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = limits.alone(tmp_path, times=4)
    assert set(told) == {"commit", "hop", "task", "validation", "trigger", "fold", "record"}
    a_look = 1e6 / 4  # the clock of this test goes on by a second from the first look to the last
    assert told["task"] == told["validation"] == told["record"] == told["commit"] == a_look
    assert told["trigger"] == a_look / 2
    assert told["fold"] == a_look / records_of_a_saga(limits.LEGS)


PEER: list[Side] = [
    Side("peer steps", {"concurrent": 1, "sagas": 2, "legs": 3}),
    Side("peer resume", {"sagas": 2, "legs": 6}),
    Side("peer history", {"batches": 60, "trades": 2, "times": 2}),
]
if find_spec("dbos") is not None:  # an extra, which only the benchmark needs

    @pytest.mark.parametrize("side", PEER, ids=lambda side: side.name)
    def test_the_peer_is_counted_as_we_are(side: Side) -> None:
        told: dict[str, Any] = side.run()
        if "seconds_a_step" in told:
            assert told["rate"] * told["seconds_a_step"] == pytest.approx(1)
            assert told["median"] <= told["p99"] <= told["longest"]
        elif "rate" in told:
            assert told["rate"] * told["seconds"] == pytest.approx(2)
            assert told["rate"] * told["seconds_a_saga"] == pytest.approx(1)
            assert told["steps"] == 2 * 3  # from the middle on
        else:
            assert 0 < told["median"] <= told["p99"] <= told["longest"]
