"""The simulation in `make test`: 2,000 seeds that are always the same, and 200 that never are.

`make simulate SEEDS=10000` runs more of them, and tells the story of the first that fails.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.clock import VirtualClock
from tests.simulation.command import main, run_all, run_seeds, verdict
from tests.simulation.disk import scratch
from tests.simulation.evidence import Violation
from tests.simulation.kept import load, save, sources
from tests.simulation.loop import virtual_loop
from tests.simulation.run import run_seed
from tests.simulation.story import shrink, told
from tests.simulation.sum import ENOUGH_SEEDS, FAULTS, Sum
from tests.simulation.template import template

CHUNK: Final = 50
FIXED: Final = range(0, 2_000, CHUNK)
FRESH: Final = range(0, 200, CHUNK)
ROOT: Final = Path(__file__).resolve().parents[2]
SAME_TWICE: Final = (3, 17, 63, 224)
"""Seeds with crashes, two owners, a clock that jumps and many tasks that are cancelled at once."""

every_invariant = pytest.mark.requirement(
    *("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S14"),
    *("S15", "S16", "S18", "L1", "L2", "L3", "L5", "L6"),
)


def _judge(violations: list[Violation]) -> None:
    if violations:
        first = violations[0]
        result, without = shrink(first.seed, first.invariant, scratch())
        seeds = sorted({each.seed for each in violations})
        pytest.fail(f"seeds {seeds} break an invariant.\n{told(result, without)}", pytrace=False)


@every_invariant
@pytest.mark.parametrize("first", FIXED)
def test_no_invariant_breaks_in_the_seeds_that_are_always_the_same(first: int) -> None:
    _judge(run_seeds(range(first, first + CHUNK)).violations)


@every_invariant
@pytest.mark.parametrize("chunk", FRESH)
def test_no_invariant_breaks_in_seeds_that_nobody_has_seen(
    chunk: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # The day and the second, so that the number is short enough to be told on the telephone.
    first = 1_000_000 + int(time.time()) % 100_000_000 * 200 + chunk
    with capsys.disabled():
        sys.stderr.write(f"\nsimulation: fresh seeds {first} to {first + CHUNK - 1}\n")
    _judge(run_seeds(range(first, first + CHUNK)).violations)


@pytest.mark.requirement("L5")
def test_the_same_seed_gives_the_same_trace_whatever_the_hash_seed_of_the_process() -> None:
    hashes = Counter(_hashes(hash_seed) for hash_seed in ("0", "1", "random"))

    assert len(hashes) == 1, hashes


def _hashes(hash_seed: str) -> str:
    code = (
        "from tests.simulation.run import run_seed\n"
        "from tests.simulation.disk import scratch\n"
        f"folder = scratch()\nfor seed in {SAME_TWICE}:\n"
        "    print(run_seed(seed, folder).trace_hash)\nfolder.rmdir()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_a_jump_of_the_wall_is_seen_at_the_instant_at_which_it_was_asked_already() -> None:
    with virtual_loop(None) as loop:
        clock = VirtualClock(loop)
        before = clock.now()
        clock.jump(timedelta(days=-1))

        assert clock.now() - before == timedelta(days=-1)


def test_time_passes_on_the_wall_as_on_the_loop() -> None:
    with virtual_loop(None) as loop:
        clock = VirtualClock(loop)
        before = clock.now()
        loop.run_until_complete(asyncio.sleep(2.5))

        assert clock.now() - before == timedelta(seconds=loop.time())
        assert loop.time() >= 2.5


def test_timers_ring_by_their_instants_and_a_cancelled_one_never() -> None:
    rung: list[str] = []
    with virtual_loop(None) as loop:
        loop.call_later(2.0, rung.append, "second")
        loop.call_later(1.0, rung.append, "first")
        loop.call_later(1.5, rung.append, "cancelled").cancel()
        loop.call_at(2.0, rung.append, "second")
        loop.run_until_complete(asyncio.sleep(3.0))

    assert rung == ["first", "second", "second"]


def test_a_generator_that_nobody_ends_is_ended_by_the_loop() -> None:
    ended: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append(True)

    async def look_at_one() -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(0.01)

    with virtual_loop(None) as loop:
        loop.run_until_complete(look_at_one())

    assert ended == [True]


def test_every_fault_is_known_by_name_to_the_run_that_has_to_have_seen_it() -> None:
    found = run_seeds(range(40))

    assert set(found.faults) <= {*FAULTS, "crash at an instant"}


@pytest.mark.parametrize("words", [("--seeds", "0"), ("--seeds", "-3"), ("--jobs", "0")])
def test_a_run_of_nothing_is_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"{words[0]} must be 1 or more, not {words[1]}" in capsys.readouterr().err


def test_a_run_ends_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("--seeds", "3")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "every promise was kept in 3 seeds"

    broken = [Violation(seed, "S3", "sent twice", 0.0) for seed in (4, 4, 7)]
    assert verdict(Sum(seeds=9, violations=broken)) == "2 of 9 seeds break a promise"
    assert verdict(Sum(seeds=9, violations=broken[:1])) == "1 of 9 seeds breaks a promise"
    assert verdict(Sum(seeds=ENOUGH_SEEDS)).endswith("but not every fault struck: no success")


def test_a_seed_that_hangs_within_one_round_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spin(*_: object) -> None:
        while True:
            pass

    template()  # which every seed shares, and which nobody watches
    monkeypatch.setattr("saga.steady_clock.SteadyClock.sleep_until", spin)
    monkeypatch.setattr("tests.simulation.run.LONGEST_SECONDS", 0.3)
    first = run_seed(1, tmp_path).violations[0]
    assert first.invariant == "L5"
    assert "within one round" in first.sentence
    assert "test_simulation.py" in first.sentence
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_run_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "new folder" / "run.json"
    half = run_all(7, CHUNK // 2, 1, progress=False, kept=kept)
    assert load(kept, 7).as_json() == half.as_json()
    whole = run_all(7, CHUNK, 1, progress=False, kept=kept)
    at_once = run_seeds(range(7, 7 + CHUNK))
    assert (whole.seeds, whole.orders, whole.crashes) == (
        *(at_once.seeds, at_once.orders, at_once.crashes),
    )
    assert +whole.faults == +at_once.faults
    assert whole.seconds > half.seconds


def test_what_another_program_has_played_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "run.json"
    save(kept, 0, Sum(seeds=10, violations=[Violation(3, "S1", "it broke", 1.5)]))
    assert load(kept, 0).violations == [Violation(3, "S1", "it broke", 1.5)]
    monkeypatch.setattr("tests.simulation.kept.program", lambda: "another")
    assert load(kept, 0) == Sum()


def test_every_source_that_has_a_part_in_a_seed_tells_one_program_from_another() -> None:
    code = (
        "import sys\nimport tests.simulation.command\n"
        "print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {Path(file) for file in done.stdout.split() if file.startswith(f"{ROOT}/")}
    playing = {file for file in ours if file.name != "__init__.py" and ".venv" not in file.parts}
    assert len(playing) > 50
    assert playing <= set(sources())


def test_a_run_is_not_gone_on_with_from_what_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "run.json"
    save(kept, 5, Sum(seeds=10))
    assert main(["--seeds", "1", "--resume", str(kept)]) == 2
    assert "from seed 5, not 0" in capsys.readouterr().err
    kept.write_text("{}", encoding="utf-8")
    assert main(["--seeds", "1", "--resume", str(kept)]) == 2
    assert "does not hold a run" in capsys.readouterr().err


def test_an_element_that_a_seed_does_not_have_cannot_be_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--trace", "7", "--without", "B99"]) == 2
    assert "seed 7 has no element 'B99'" in capsys.readouterr().err
