"""How long it takes until an engine could be used, in a process that has imported nothing.

Both sides are timed the second time, when their bytecode is there, as it is for what is installed.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_LIBRARIES: Final = "import pydantic, transitions, anyio, aiosqlite"
_ENGINE: Final = """
import asyncio, sys
from saga import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]):
        pass
asyncio.run(main())
"""
_TIMED: Final = "import time; begun = time.perf_counter()\n{}\nprint(time.perf_counter() - begun)"


def libraries(folder: Path) -> dict[str, Any]:
    """Import the four libraries that the engine stands on."""
    path = folder / "saga.db"
    _timed(_LIBRARIES, path)  # compiles them
    return {"seconds": _timed(_LIBRARIES, path)}


def engine(folder: Path) -> dict[str, Any]:
    """Import the engine, and open a store that is empty."""
    path = folder / "saga.db"
    _timed(_ENGINE, path)  # makes it, and compiles the engine
    return {"seconds": _timed(_ENGINE, path)}


def _timed(program: str, path: Path) -> float:
    bytecode = {"PYTHONPYCACHEPREFIX": str(path.parent), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(  # noqa: S603 - this program again
        [sys.executable, "-c", _TIMED.format(program), str(path)],
        check=True,
        env={**os.environ, **bytecode},
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)
