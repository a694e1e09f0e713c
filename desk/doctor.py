"""Is this machine fit to run the desk? Looks at it, and changes nothing."""

import os
import platform
import shutil
import sqlite3
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from desk.carrier import lives_here
from desk.control import NoOwner, ask, socket_path
from desk.home import Home
from desk.old_copy import old_copy_of
from desk.settings import Configured
from desk.trading_state import standing_of
from desk.wishes import Look
from saga.errors import SagaError
from saga.store.database import OLDEST_SQLITE
from saga.store.file_system import UNFIT, mounted_as
from saga.store.ownership import read_owner
from saga.store.protocol import Owner
from saga.store.sqlite_reader import SqliteReader

WAL_RESET_FIXED: Final = (3, 51, 3)
"""Older versions can damage a file in WAL mode that two connections write to."""
LEAST_FREE_BYTES: Final = 200 * 1024 * 1024
OLDEST_PYTHON: Final = (3, 11)
_OLDEST_CLOCK: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Verdict(StrEnum):
    """What is thought of one point."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Point:
    """One point that was looked at."""

    name: str
    verdict: Verdict
    sentence: str


async def examine(configured: Configured) -> tuple[Point, ...]:
    """Return what was found, point by point."""
    home = configured.home
    return (
        _python(),
        _sqlite(),
        _disk(home),
        _file_system(home),
        *_modes(home),
        Point("settings", Verdict.GOOD, f"{len(configured.origins)} settings, all known"),
        await _owner(home),
        await _trading(home),
        _clock(),
    )


def _python() -> Point:
    version = platform.python_version()
    good = sys.version_info >= OLDEST_PYTHON
    return Point(
        "python",
        Verdict.GOOD if good else Verdict.BAD,
        f"{version}" if good else f"{version} is too old; 3.11 or newer is needed",
    )


def _sqlite() -> Point:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        return Point("sqlite", Verdict.BAD, f"{version} is too old; {oldest} or newer is needed")
    if sqlite3.sqlite_version_info < WAL_RESET_FIXED:
        return Point(
            "sqlite",
            Verdict.NOTE,
            f"{version} has the WAL-reset bug (mended in 3.51.3), which can damage a file that two "
            "connections write to; the store has one that writes, so let no other program write",
        )
    return Point("sqlite", Verdict.GOOD, version)


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _disk(home: Home) -> Point:
    free = shutil.disk_usage(_existing(home.folder)).free
    megabytes = free // (1024 * 1024)
    if free < LEAST_FREE_BYTES:
        return Point("disk", Verdict.BAD, f"only {megabytes} MB are free at {home.folder}")
    return Point("disk", Verdict.GOOD, f"{megabytes:,} MB free at {home.folder}")


def _file_system(home: Home) -> Point:
    kind = mounted_as(_existing(home.folder).resolve())
    if kind in UNFIT:
        return Point(
            "file system",
            Verdict.BAD,
            f"{home.folder} is on {kind}; a write-ahead log needs a local disk",
        )
    return Point("file system", Verdict.GOOD, kind or "local, as far as can be told")


def _modes(home: Home) -> list[Point]:
    if not home.folder.exists():
        return [Point("files", Verdict.NOTE, f"{home.folder} is not there; the first run makes it")]
    points = []
    for path in (home.store, home.exchange, home.log):
        if not path.exists():
            continue
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            points.append(
                Point(
                    "files",
                    Verdict.BAD,
                    f"{path.name} has mode {mode:04o}; others can read it: chmod 600 {path}",
                )
            )
        elif found.st_uid != os.geteuid():
            points.append(
                Point("files", Verdict.BAD, f"{path.name} belongs to user {found.st_uid}")
            )
    return points or [Point("files", Verdict.GOOD, "readable by their owner alone")]


async def _owner(home: Home) -> Point:
    try:
        if (older := await old_copy_of(home)) is not None:
            return Point("store", Verdict.BAD, older)
        if not home.store.exists():
            return Point("store", Verdict.NOTE, "none as yet; the first `saga run FILE` makes it")
        async with SqliteReader(home.store) as reader:
            owner = await reader.read(read_owner)
    except SagaError as error:
        return Point("store", Verdict.BAD, str(error))
    if owner is None or owner.released:
        return Point("store", Verdict.GOOD, f"{home.store}, owned by nobody")
    return await _living(home, owner)


async def _living(home: Home, owner: Owner) -> Point:
    who = f"process {owner.pid} on {owner.host}, since {owner.acquired_at:%Y-%m-%d %H:%M:%S}Z"
    if lives_here(owner) is False:
        return Point(
            "store",
            Verdict.NOTE,
            f"its last owner, {who}, is dead; `saga run` without a file takes up what it left",
        )
    try:
        await ask(home, Look(batch_id="-"))
    except NoOwner:
        listens = f"it does not listen at {socket_path(home)}"
    except SagaError:
        listens = "it hears `saga cancel` and the like"
    else:
        listens = "it hears `saga cancel` and the like"
    return Point("store", Verdict.GOOD, f"owned by {who}; {listens}")


async def _trading(home: Home) -> Point:
    if not home.store.exists():
        return Point("trading", Verdict.NOTE, "there is no store yet")
    try:
        standing = await standing_of(home)
    except SagaError as error:
        return Point("trading", Verdict.BAD, f"which orders may go out cannot be read: {error}")
    return Point("trading", Verdict.GOOD if standing.is_active else Verdict.NOTE, standing.sentence)


def _clock() -> Point:
    now = datetime.now(UTC)
    if now < _OLDEST_CLOCK:
        return Point(
            "clock", Verdict.BAD, f"{now:%Y-%m-%d %H:%M:%S}Z is in the past; set the clock"
        )
    return Point("clock", Verdict.GOOD, f"{now:%Y-%m-%d %H:%M:%S}Z; deadlines follow it")
