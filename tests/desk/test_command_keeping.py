"""`saga backup` and `saga accept-copy`: a copy is whole, and going back to one is said aloud."""

import shutil
from pathlib import Path

import pytest

from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk


@pytest.mark.requirement("S1", "S13")
def test_a_backup_put_back_is_refused_until_it_is_accepted_and_then_trading_is_halted(
    traded: Desk, invoke: Invoke, orders: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "monday.db"
    assert invoke("backup", copy).code == 0
    assert invoke("run", orders, "-y").code == 0
    shutil.copy(copy, traded.home / "saga.db")
    refused = invoke("run", orders, "-y")
    assert refused.code == 5
    assert "was rolled back" in refused.err
    assert "saga accept-copy" in refused.err
    accepted = invoke("accept-copy", "--reason", "disk died", "--yes")
    assert accepted.code == 0, accepted.err
    assert "was rolled back" in accepted.err
    assert "Trading is HALTED" in accepted.out
    halted = invoke("run", orders, "-y")
    assert halted.code == 6
    assert "an older copy of the store was accepted (disk died)" in halted.err.replace("\n", " ")
    assert invoke("activate", "--reason", "compared", "-y").code == 0


def test_a_backup_is_told_as_json_and_never_takes_the_place_of_a_file(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    copy = tmp_path / "monday.db"
    done = invoke("backup", copy, "--json")
    assert done.data == {"file": str(copy), "bytes": copy.stat().st_size}
    content = copy.read_bytes()
    again = invoke("backup", copy)
    assert again.code == 5
    assert "is there already" in again.err
    assert copy.read_bytes() == content


def test_there_is_nothing_to_accept_in_the_newest_copy(traded: Desk, invoke: Invoke) -> None:
    done = invoke("accept-copy", "--reason", "why not", "--yes")
    assert done.code == 6
    assert "is the newest copy of itself" in done.err
