"""The checkout, the wheel built from it, and an environment that steers no child process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

STEERING = re.compile(r"PYTHON|MAKE|MFLAGS|COV_|COVERAGE|VIRTUAL_ENV|UV_|PIP_")


@pytest.fixture(scope="session")
def checkout() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """The environment without what would steer a Python, pip or make that a test starts."""
    return {name: value for name, value in os.environ.items() if not STEERING.match(name)}


@pytest.fixture(scope="session")
def wheel(
    checkout: Path, plain_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The wheel, built from the checkout by the build backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True, env=plain_environment)
    (built,) = folder.glob("*.whl")
    return built
