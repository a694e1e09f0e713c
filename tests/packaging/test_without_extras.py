"""The engine alone: it imports and works where none of the extras is installed."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RunPython = Callable[[str], "subprocess.CompletedProcess[str]"]

EXTRAS = (
    "typer",
    "rich",
    "pydantic_settings",
    "click",
    "fastapi",
    "uvicorn",
    "hypothesis",
    "pytest",
)

IMPORT_EVERYTHING_BUT_THE_DESK = """
import importlib, json, pkgutil, sys
names = []
for package in ("saga", "brokers", "portfolio"):
    root = importlib.import_module(package)
    names += [package, *(m.name for m in pkgutil.walk_packages(root.__path__, package + "."))]
for name in names:
    if not name.endswith("__main__") and not name.startswith("saga.testing"):
        importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""

IMPORT_THE_KIT = """
try:
    import saga.testing
except ModuleNotFoundError as error:
    print(error)
"""

CALL_THE_COMMAND = "import sys; from desk.__main__ import main; sys.exit(main())"


def _needed_by(requirements: list[str]) -> dict[str, Distribution]:
    """The installed distributions that these ask for, and what those ask for in turn."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            found[name] = distribution(name)
            waiting += [Requirement(text) for text in found[name].requires or []]
    return found


@pytest.fixture(scope="session")
def engine_only(
    wheel: Path, plain_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> RunPython:
    """Run code where the wheel and its dependencies are installed, but none of the extras."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (unpacked,) = site.glob("*.dist-info")
    requires = Distribution.at(unpacked).requires or []
    for needed in _needed_by(requires).values():
        for name in {file.parts[0] for file in needed.files or []} - {"..", "__pycache__"}:
            (site / name).symlink_to(Path(str(needed.locate_file(name))))

    def run(code: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-S", "-c", code],  # -S: what is installed for this run stays unseen
            cwd=site,
            env=plain_environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.requirement("D2")
def test_import_saga_loads_none_of_the_extras(engine_only: RunPython) -> None:
    done = engine_only("import json, sys, saga; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    assert [name for name in EXTRAS if name in json.loads(done.stdout)] == []


@pytest.mark.requirement("D2")
def test_every_module_below_the_desk_imports_with_the_four_packages_alone(
    engine_only: RunPython,
) -> None:
    done = engine_only(IMPORT_EVERYTHING_BUT_THE_DESK)
    assert done.returncode == 0, done.stderr
    assert {"saga.machine", "brokers", "portfolio"} <= set(json.loads(done.stdout))


def test_the_kit_without_pytest_says_in_one_sentence_what_to_install(
    engine_only: RunPython,
) -> None:
    done = engine_only(IMPORT_THE_KIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "saga.testing needs pytest, which is not installed; "
        "install it with: pip install 'trade-saga[testing]'"
    ]


def test_the_command_without_its_extra_says_in_one_line_what_to_install(
    engine_only: RunPython,
) -> None:
    done = engine_only(CALL_THE_COMMAND)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'trade-saga[desk]'" in done.stderr
