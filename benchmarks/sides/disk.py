"""What the disk and the drivers can do by themselves, with the settings that we ship."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

import aiosqlite

_SETTINGS: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
_TABLE: Final = "CREATE TABLE rows (id INTEGER PRIMARY KEY, data TEXT NOT NULL)"
_INSERT: Final = "INSERT INTO rows (data) VALUES (?)"


def single_commits(folder: Path, *, count: int) -> dict[str, Any]:
    """Commit one row after the other through aiosqlite."""
    return asyncio.run(_single_commits(folder / "disk.db", count))


async def _single_commits(path: Path, count: int) -> dict[str, Any]:
    data = "x" * 300
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        for setting in (*_SETTINGS, _TABLE):
            await connection.execute(setting)
        begun = time.perf_counter()
        for _ in range(count):
            await connection.execute(_INSERT, (data,))
        seconds = time.perf_counter() - begun
    return {"seconds": seconds / count, "rate": count / seconds}


def rows(folder: Path, *, count: int, a_commit: int, size: int) -> dict[str, Any]:
    """Write rows of so many bytes, so many a commit, with sqlite3 alone."""
    connection = sqlite3.connect(folder / "disk.db", isolation_level=None)
    for setting in (*_SETTINGS, _TABLE):
        connection.execute(setting).fetchall()
    block = [("x" * size,)] * a_commit
    begun = time.perf_counter()
    for _ in range(count // a_commit):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, block)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - begun
    connection.close()
    return {"rate": count / seconds}
