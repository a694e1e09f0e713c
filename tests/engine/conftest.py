"""The fixtures of the engine's tests."""

from pathlib import Path

import pytest

from tests.engine.trading_desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk whose exchange answers at once."""
    return Desk(tmp_path)
