"""Fixtures for the tests of the SQLite store."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a test's store is to be made."""
    return tmp_path / "saga.db"
