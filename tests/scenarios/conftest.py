"""The fixtures of the named scenarios."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grid.players import FAST
from tests.grid.theatre import Theatre
from tests.scenarios.stage import Stage


@pytest.fixture(scope="session")
def theatre() -> Iterator[Theatre]:
    """Where a cell of the fault grid is played."""
    folder = Path(tempfile.mkdtemp(prefix="scenarios-", dir=FAST if FAST.is_dir() else None))
    try:
        yield Theatre(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An engine on virtual time, and a venue that misbehaves."""
    return Stage(tmp_path)
