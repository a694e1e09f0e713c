"""The SQLite store keeps the contract, on aiosqlite's thread and in the caller."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from saga.store.bridge import Bridge, InlineBridge, ThreadBridge
from saga.store.process import Process
from saga.store.protocol import Projection
from saga.store.sqlite import SqliteStore
from tests.manual_clock import ManualClock
from tests.store.contract import ME, FakeProcesses, StoreContract
from tests.store.sample_appends import NOON


class SqlitePlace:
    """One file, on which stores are opened."""

    def __init__(self, path: Path, bridge: Callable[[], Bridge]) -> None:
        self.clock = ManualClock(NOON)
        self._path = path
        self._bridge = bridge

    def store(
        self,
        *,
        process: Process = ME,
        dead: Sequence[Process] = (),
        projections: Sequence[Projection] = (),
    ) -> SqliteStore:
        return SqliteStore(
            self._path,
            clock=self.clock,
            projections=projections,
            bridge=self._bridge,
            processes=FakeProcesses(process, dead),
        )

    async def usurp(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("UPDATE owner SET epoch = epoch + 1, pid = 200")
        connection.close()


class TestOnAThread(StoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SqlitePlace:
        return SqlitePlace(tmp_path / "saga.db", ThreadBridge)


class TestInTheCaller(StoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SqlitePlace:
        return SqlitePlace(tmp_path / "saga.db", InlineBridge)
