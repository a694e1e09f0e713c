"""The kill drill, small: every kind of strike once, and two planted bugs that it has to see.

`make kill N=200` deals many more. What is judged here is judged by the exchange's books and by what
the clients were told, never by the engine.
"""

import json

import pytest

from tests.crash.checker import Wrong
from tests.crash.drill import drill, main, never_dealt
from tests.crash.planted import ack_before_commit, blind_resend
from tests.crash.strikes import BY_NAME, EVERY_KIND_FROM, EXPECTS_REFUSAL, KINDS

SEED = 20_261_121
PARTS = 4
"""The strikes are dealt in so many tests, which can run side by side."""
PLANTED_KILLS = 3


@pytest.mark.requirement("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S10", "S12", "D6", "D7")
@pytest.mark.scenario("A14", "B-9", "D4", "D5", "D7", "D10", "D14", "F11")
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_is_killed_frozen_filled_or_taken_away_nothing_is_lost_or_sent_twice(
    part: int,
) -> None:
    kinds = KINDS[part::PARTS]
    result = drill(len(kinds), seed=SEED + part, kinds=kinds)
    assert result.progress.findings == []
    assert set(result.progress.points) == {kind.name for kind in kinds}
    assert result.progress.batches > len(kinds)
    harmed = [kind for kind in kinds if kind.name in EXPECTS_REFUSAL]
    assert result.progress.refused_starts == len(harmed)


@pytest.mark.requirement("S3")
def test_the_drill_sees_an_engine_that_sends_again_without_asking() -> None:
    result = drill(PLANTED_KILLS, seed=SEED, kinds=[BY_NAME["K5"]], plant=blind_resend)
    assert result.count(Wrong.DOUBLED) > 0
    assert not result.is_good


@pytest.mark.requirement("S1")
def test_the_drill_sees_an_engine_that_acknowledges_before_it_is_durable() -> None:
    result = drill(PLANTED_KILLS, seed=SEED, kinds=[BY_NAME["K0"]], plant=ack_before_commit)
    assert result.count(Wrong.LOST) > 0
    assert not result.is_good


def test_a_long_drill_that_never_dealt_some_kind_of_strike_fails() -> None:
    all_but_one = {kind.name: 3 for kind in KINDS if kind.name != "K13"}
    assert never_dealt(EVERY_KIND_FROM, all_but_one) == ("K13",)
    assert never_dealt(EVERY_KIND_FROM - 1, all_but_one) == ()


def test_the_crash_points_of_the_fault_grid_are_all_there() -> None:
    assert {f"K{number}" for number in range(26)} <= {kind.name for kind in KINDS}


def test_the_command_tells_what_came_of_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kills", "1", "--only", "K10", "--jobs", "1", "--seed", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kills"], told["points"]["K10"]) == (1, 1)
    assert (told["lost"], told["doubled"], told["unexplained"]) == (0, 0, 0)
    assert told["orders"] > 0


def test_no_kind_of_strike_stands_there_twice() -> None:
    assert len(BY_NAME) == len(KINDS)


@pytest.mark.parametrize("kills", ["0", "-1"])
def test_a_drill_without_a_strike_is_refused(
    kills: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--kills", kills]) == 2
    assert f"--kills must be 1 or more, not {kills}" in capsys.readouterr().err
