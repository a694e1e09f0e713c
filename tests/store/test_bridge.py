"""The thread that runs transactions: no outcome is lost, and no thread is left behind."""

import asyncio
import inspect
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from threading import Event

import aiosqlite
import aiosqlite.core
import pytest

from saga.errors import StoreUnusable
from saga.store.bridge import Bridge, Connect, InlineBridge, ThreadBridge
from saga.store.sqlite import SqliteStore
from tests.store.sample_appends import first


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def add(connection: sqlite3.Connection, left: int, right: int) -> int:
    (result,) = connection.execute("SELECT ? + ?", (left, right)).fetchone()
    return int(result)


@pytest.mark.parametrize("bridge", [ThreadBridge(), InlineBridge()])
async def test_it_runs_a_function_and_gives_back_its_result_or_its_error(bridge: Bridge) -> None:
    before = threads()
    await bridge.open(connect)
    assert await bridge.run(add, 1, 2) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        await bridge.run(lambda connection: int("x"))
    await bridge.close()
    await bridge.close()
    assert threads() == before
    with pytest.raises(ValueError, match="closed"):
        await bridge.run(add, 1, 2)


async def test_a_connection_that_fails_leaves_no_thread() -> None:
    before = threads()

    def fail() -> sqlite3.Connection:
        raise StoreUnusable("no")

    bridge = ThreadBridge()
    with pytest.raises(StoreUnusable, match="no"):
        await bridge.open(fail)
    assert threads() == before
    await bridge.close()


@pytest.mark.scenario("F2")
async def test_opening_that_is_cancelled_leaves_no_thread_and_no_connection(path: Path) -> None:
    before = threads()
    gate, opened = Event(), []

    class Slow(ThreadBridge):
        async def open(self, connect: Connect) -> None:
            def slowly() -> sqlite3.Connection:
                gate.wait()
                opened.append(connect())
                return opened[-1]

            await super().open(slowly)

    async def use() -> None:
        async with SqliteStore(path, bridge=Slow):
            await asyncio.sleep(0)

    task = asyncio.ensure_future(use())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads() == before
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            connection.execute("SELECT 1")
    async with SqliteStore(path):
        pass


async def test_closing_a_store_ends_its_threads(path: Path) -> None:
    before = threads()
    async with SqliteStore(path) as store:
        assert threads() > before
        await store.acquire()
        await store.append(first())
    assert threads() == before


async def test_a_store_that_is_refused_leaves_no_thread(path: Path) -> None:
    before = threads()
    path.write_bytes(b"x" * 1000)  # noqa: ASYNC240
    with pytest.raises(StoreUnusable):
        async with SqliteStore(path):
            pass
    assert threads() == before


_NEVER_CLOSES = """
import asyncio, sys
from saga.store.sqlite import SqliteStore

async def main():
    store = await SqliteStore(sys.argv[1]).__aenter__()
    await store.acquire()
    print("open", flush=True)
    sys.stdout.flush()
    globals()["kept"] = store

asyncio.run(main())
"""


@pytest.mark.scenario("F12")
def test_the_interpreter_exits_even_if_a_store_was_never_closed(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NEVER_CLOSES, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "open\n", done.stderr
    assert done.returncode == 0


def test_aiosqlite_still_has_the_parts_that_the_bridge_leans_on() -> None:
    """A new aiosqlite that fails here needs `_DatabaseThread` looked at, and nothing else."""
    connection = aiosqlite.Connection(connect, 64)
    assert isinstance(connection._thread, threading.Thread)
    assert not connection._thread.is_alive()
    source = inspect.getsource(aiosqlite.Connection._execute)
    for part in ("partial(fn, *args", "create_future()", "self._tx.put_nowait((future, function))"):
        assert part in source
    worker = inspect.getsource(aiosqlite.core._connection_worker_thread)
    for part in ("future, function = tx.get()", "call_soon_threadsafe(set_result, future, result)"):
        assert part in worker
    assert "if not fut.done()" in inspect.getsource(aiosqlite.core.set_result)
    assert "_STOP_RUNNING_SENTINEL" in inspect.getsource(aiosqlite.Connection.stop)
    assert "self.stop()" in inspect.getsource(aiosqlite.Connection._connect)
