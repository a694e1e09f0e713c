"""A reader that leaves and a disk that is full: the batch goes on, and its status is its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.desk.conftest import SLOW
from tests.desk.terminal import SAGA, Desk, environment, orders_csv


def _run_into(desk: Desk, out: int, err: int, *arguments: str | Path, slow: bool = True) -> int:
    more = {"SAGA_HOME": str(desk.home), **(SLOW if slow else {})}
    return subprocess.run(
        [*SAGA, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env=environment(more),
        timeout=60,
        check=False,
    ).returncode


def _pipe_without_a_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.scenario("G10")
@pytest.mark.requirement("B1", "B8")
def test_a_reader_that_leaves_stops_no_run_and_does_not_make_its_status(
    desk: Desk, orders: Path
) -> None:
    pipe = _pipe_without_a_reader()

    code = _run_into(desk, pipe, pipe, "run", orders)

    os.close(pipe)
    assert code == 0
    assert desk.batches()[0]["state"] == "COMPLETED"


@pytest.mark.requirement("B1", "B8")
def test_a_refusal_keeps_its_status_when_nobody_reads_it(desk: Desk, tmp_path: Path) -> None:
    pipe = _pipe_without_a_reader()

    file = orders_csv(tmp_path / "sell.csv", ("KO", "sell", 5))
    code = _run_into(desk, pipe, pipe, "run", file, slow=False)

    os.close(pipe)
    assert code == 6


@pytest.mark.requirement("B1", "B8")
def test_a_full_disk_behind_stdout_costs_the_output_alone(
    desk: Desk, orders: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said.txt"
    with Path("/dev/full").open("wb") as full, said.open("wb") as err:
        code = _run_into(desk, full.fileno(), err.fileno(), "run", orders, slow=False)
        listed = _run_into(desk, full.fileno(), err.fileno(), "list", slow=False)
        copy = tmp_path / "copy.db"
        kept = _run_into(desk, full.fileno(), err.fileno(), "backup", copy, slow=False)

    assert (code, kept) == (0, 0)
    assert copy.exists()
    assert desk.batches()[0]["state"] == "COMPLETED"
    lines = said.read_text().splitlines()
    assert [line for line in lines if "only the output failed" in line] == [
        "saga: the output could not be written: No space left on device; only the output failed; "
        "the exit status is that of what was done",
        "saga: the output could not be written: No space left on device; only the output failed",
        "saga: the output could not be written: No space left on device; only the output failed; "
        "the exit status is that of what was done",
    ]
    assert listed == 1, "a list that was not shown was not listed"
