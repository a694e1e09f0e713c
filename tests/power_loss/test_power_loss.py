"""No power failure loses what was acknowledged, and the harness would see it if one did.

Here at a seeded sample of the operations; `make power-loss` fails the power at every one.
"""

import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.power_loss.campaign import Tally, run
from tests.power_loss.disk import (
    Created,
    Cut,
    Disk,
    Fate,
    Operation,
    Placed,
    Removed,
    Synced,
    Written,
)
from tests.power_loss.workload import STORE, record

EVERY = 15


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Refusals are counted here, and not told one by one."""
    log = logging.getLogger("saga.store")
    before = log.level
    log.setLevel(logging.ERROR)
    yield
    log.setLevel(before)


@pytest.fixture(scope="module")
def full() -> Tally:
    return run("FULL", seed=1, every=EVERY)


@pytest.mark.scenario("D1", "D14")
@pytest.mark.requirement("S1", "S2", "S8")
def test_a_power_failure_loses_nothing_that_was_acknowledged_and_damages_nothing(
    full: Tally,
) -> None:
    assert full.stories == []
    assert (full.lost, full.corrupt, full.alarms) == (0, 0, 0)
    assert full.images == full.operations * len(Fate) > 400


def test_the_same_failures_lose_commits_where_they_are_not_synced() -> None:
    normal = run("NORMAL", seed=1, every=2 * EVERY)
    assert normal.lost > normal.images // 10
    assert normal.corrupt == 0
    # Where the mark outlived what it marks, the start-up path says so.
    assert 0 < normal.noticed < normal.lost


def test_the_workload_holds_what_it_has_to(tmp_path: Path) -> None:
    recorded = record(tmp_path)
    checkpoints = [each for each in recorded.operations if each == Synced(STORE)]
    assert len(checkpoints) >= 5
    under_way = {each.versions for each in recorded.acknowledged if len(each.versions) > 1}
    assert len(under_way) >= 3
    assert {each.epoch for each in recorded.acknowledged} == {0, 1, 2}
    shared = sorted(recorded.boundaries)
    assert max(b - a for a, b in pairwise(shared)) > 7


def shape(operation: Operation) -> tuple[object, ...]:
    """Return an operation without its bytes, in which the log has random salts."""
    where = (operation.offset, len(operation.data)) if isinstance(operation, Written) else ()
    return type(operation), operation.name, *where


def test_the_same_seed_does_the_same(tmp_path: Path) -> None:
    once, again = (tmp_path / "once", tmp_path / "again")
    for folder in (once, again):
        folder.mkdir()
    first, second = (record(folder, seed=3) for folder in (once, again))
    assert [shape(each) for each in first.operations] == [shape(e) for e in second.operations]
    assert first.acknowledged == second.acknowledged


@pytest.mark.parametrize("fate", list(Fate))
def test_what_was_synced_is_left_whatever_becomes_of_the_rest(fate: Fate) -> None:
    for seed in range(50):
        disk = Disk()
        disk.take(Created("a"))
        disk.take(Written("a", 0, b"x" * 1000))
        disk.take(Synced("a"))
        disk.take(Placed("mark", b"m"))
        disk.take(Written("a", 1000, b"y" * 1000))
        disk.take(Cut("mark", 0))
        disk.take(Created("b"))
        disk.take(Removed("b", synced=False))
        left = disk.after_power_loss(fate, Random(seed))
        assert left["a"][:1000] == b"x" * 1000
        assert set(left) <= {"a", "b", "mark"}
        assert left.get("b", b"") == b""
        if fate is Fate.DROPPED:
            assert left == {"a": b"x" * 1000, "mark": b"m"}
        if fate is Fate.KEPT:
            assert left == {"a": b"x" * 1000 + b"y" * 1000, "mark": b""}


def test_a_torn_write_leaves_whole_sectors() -> None:
    disk = Disk()
    disk.take(Placed("a", b"x" * 4096))
    disk.take(Written("a", 0, b"y" * 4096))
    seen = set()
    for seed in range(50):
        left = disk.after_power_loss(Fate.SECTORS, Random(seed))["a"]
        sectors = {left[at : at + 512] for at in range(0, 4096, 512)}
        assert sectors <= {b"x" * 512, b"y" * 512}
        seen.add(left)
    assert len(seen) > 20
