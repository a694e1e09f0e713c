"""What `pip install .` gives: four dependencies, the data, the types, the licences."""

import hashlib
import zipfile
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import saga

ENGINE_DEPENDENCIES = {"aiosqlite", "anyio", "pydantic", "transitions"}
DAILY_CLOSES = "brokers/paper/data/sp500-20-stocks-daily.csv.gz"
DAILY_CLOSES_SHA256 = "ee21cac28befb1d0a739a9ceb22184f995394726aa0cfde9a21941d1ac04ac0d"


@pytest.fixture
def installed(wheel: Path) -> Distribution:
    """What the wheel says of itself."""
    root = zipfile.Path(wheel)
    (info,) = (entry for entry in root.iterdir() if entry.name.endswith(".dist-info"))
    return PathDistribution(info)


def _names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _required_without_extras(installed: Distribution) -> list[Requirement]:
    requirements = [Requirement(text) for text in installed.requires or []]
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]


@pytest.mark.requirement("D2")
def test_the_engine_needs_exactly_the_four_packages_of_the_design_card(
    installed: Distribution,
) -> None:
    assert {r.name for r in _required_without_extras(installed)} == ENGINE_DEPENDENCIES


@pytest.mark.requirement("D2")
def test_the_tests_run_on_pytest_and_anyios_own_plugin(installed: Distribution) -> None:
    requirements = [Requirement(text) for text in installed.requires or []]
    development = {r.name for r in requirements if r.marker and r.marker.evaluate({"extra": "dev"})}
    assert {"pytest", "pytest-anyio"} <= development


def test_the_kit_for_adapters_needs_pytest_and_nothing_else(installed: Distribution) -> None:
    requirements = [Requirement(text) for text in installed.requires or []]
    extra = {r.name for r in requirements if r.marker and r.marker.evaluate({"extra": "testing"})}
    assert extra - ENGINE_DEPENDENCIES == {"pytest"}


@pytest.mark.requirement("D3")
def test_the_top_level_is_that_of_the_design_card(checkout: Path) -> None:
    named = ("pyproject.toml", "saga", "brokers", "portfolio", "tests", "diagrams", "README.md")
    assert [name for name in named if not (checkout / name).exists()] == []


@pytest.mark.requirement("D3")
def test_the_wheel_holds_the_four_packages_and_no_tests(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in _names_in(wheel)}
    packages = {name for name in top if not name.endswith(".dist-info")}
    assert packages == {"saga", "brokers", "portfolio", "desk"}


@pytest.mark.parametrize("package", ["saga", "brokers", "portfolio", "desk"])
def test_each_package_tells_type_checkers_that_it_is_typed(wheel: Path, package: str) -> None:
    assert f"{package}/py.typed" in _names_in(wheel)


def test_every_python_file_of_the_checkout_is_in_the_wheel(wheel: Path, checkout: Path) -> None:
    packages = ("saga", "brokers", "portfolio", "desk")
    files = {
        str(p.relative_to(checkout)) for name in packages for p in checkout.glob(f"{name}/**/*.py")
    }
    assert files - _names_in(wheel) == set()


def test_the_wheel_holds_the_daily_closes_unaltered(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert hashlib.sha256(archive.read(DAILY_CLOSES)).hexdigest() == DAILY_CLOSES_SHA256


def test_the_wheel_holds_both_licences_and_neither_is_empty(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.partition(".dist-info/licenses/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/licenses/" in name
        }
    assert "Apache License" in texts["LICENSE"]
    assert texts["brokers/paper/data/LICENSE.md"].strip()


def test_the_version_of_the_wheel_is_the_one_the_engine_knows(installed: Distribution) -> None:
    assert installed.version == saga.__version__


def test_the_saga_command_is_the_desks_front_door(installed: Distribution) -> None:
    commands = {entry.name: entry.value for entry in installed.entry_points}
    assert commands == {"saga": "desk.__main__:main"}
