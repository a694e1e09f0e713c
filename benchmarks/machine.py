"""On what the figures were taken."""

import os
import platform
import sqlite3
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_PASSING: Final = "load_before"
_LIBRARIES: Final = ("pydantic", "transitions", "anyio", "aiosqlite", "dbos", "uvloop")


def described() -> dict[str, Any]:
    """Return what may matter to a reader of figures."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
        _PASSING: round(os.getloadavg()[0], 2),
    }


def lasting(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a machine that is the same for all figures that are compared."""
    return {name: each for name, each in machine.items() if name != _PASSING}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
