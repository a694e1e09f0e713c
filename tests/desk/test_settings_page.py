"""The page of the settings: its example can be used, and names every limit."""

import re
import tomllib
from datetime import date
from decimal import Decimal

import pytest

from desk.settings import EnginePart, PaperPart, ReservePart, RiskPart, configure
from saga.limits import Limits
from tests.desk.conftest import Invoke
from tests.desk.terminal import REPOSITORY, Desk

PAGE = REPOSITORY / "docs" / "settings.md"


def _example() -> str:
    return PAGE.read_text().partition("```toml\n")[2].partition("```")[0]


def test_the_example_names_every_limit_and_says_what_each_is() -> None:
    example = tomllib.loads(_example())

    assert set(example["risk"]) == set(RiskPart.model_fields)
    for name, part in (("engine", EnginePart), ("reserve", ReservePart), ("paper", PaperPart)):
        assert set(example[name]) == set(part.model_fields)
    assert all("#" in line for line in _example().splitlines() if "=" in line)


@pytest.mark.requirement("S13")
def test_the_example_is_taken_as_it_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGA_CONFIG", raising=False)
    desk.home.mkdir()
    (desk.home / "saga.toml").write_text(_example())

    settings = configure(desk.home, None).settings

    assert settings.risk.limits().price_collar == Decimal("0.05")
    assert settings.risk.symbols == frozenset({"AAPL", "KO"})
    assert settings.risk.drift() is not None


def test_what_the_page_says_holds_if_a_limit_is_left_out_does() -> None:
    left_out = RiskPart()

    assert left_out.max_reference_age_seconds == 60
    assert left_out.max_wait_seconds == 2
    assert left_out.duplicate_window_seconds == 0


def test_the_page_says_what_a_class_of_priority_is_worth_and_that_turns_go_by_arrival() -> None:
    page = " ".join(PAGE.read_text().split())

    assert f"one class is worth {Limits().ageing_seconds:g} seconds of waiting" in page
    assert "the turns at the limits per second go by arrival" in page


def test_the_value_that_the_page_gives_for_a_setting_left_out_is_the_default() -> None:
    told = dict(re.findall(r"^(\w+) = .*\(([\d.-]+) if left out\)$", _example(), re.MULTILINE))
    parts = (RiskPart(), EnginePart(), ReservePart(), PaperPart())
    defaults = {name: getattr(part, name) for part in parts for name in type(part).model_fields}

    assert len(told) == 15
    for name, value in told.items():
        is_day = isinstance(defaults[name], date)
        assert (date.fromisoformat(value) if is_day else Decimal(value)) == defaults[name], name


def test_the_page_is_named_where_people_look_for_it(invoke: Invoke) -> None:
    assert "(docs/settings.md)" in (REPOSITORY / "README.md").read_text()
    assert "docs/settings.md" in invoke("config", "--help").out


def test_a_list_is_shown_as_a_list(invoke: Invoke, desk: Desk) -> None:
    desk.home.mkdir()
    (desk.home / "saga.toml").write_text('[risk]\nsymbols = ["KO", "AAPL"]\n')

    rows = invoke("config", "show", "--json").data["settings"]

    assert {"AAPL, KO"} == {row["value"] for row in rows if row["name"] == "risk.symbols"}
