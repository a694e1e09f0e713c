"""What each harness said, when, at which commit, on what machine: one JSON file each."""

import json
import os
import platform
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from tests.reliability.harness import Harness
from tests.reliability.written_page import FIGURES, ROOT, commit_at_hand, git, instant_at_hand


def run_and_keep(harness: Harness, *, quick: bool) -> bool:
    """Run a harness, keep its figures unless it is quick, and tell whether it was content."""
    arguments = harness.quick if quick else harness.arguments
    command = [sys.executable, "-m", harness.module, *arguments, "--json"]
    begun = datetime.now(UTC)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    seconds = (datetime.now(UTC) - begun).total_seconds()
    if not quick and done.stdout:
        _keep(harness, json.loads(done.stdout), content=done.returncode == 0, seconds=seconds)
    print(  # noqa: T201
        f"{harness.title}: {'as it should be' if done.returncode == 0 else 'NOT as it should be'}, "
        f"{seconds:.0f} s",
        file=sys.stderr,
    )
    return done.returncode == 0


def _keep(harness: Harness, told: dict[str, Any], *, content: bool, seconds: float) -> None:
    FIGURES.mkdir(exist_ok=True)
    kept = {
        "commit": commit_at_hand(),
        "changed_since": bool(git("status", "--porcelain", "--", "*.py")),
        "at": instant_at_hand(),
        "command": harness.command,
        "content": content,
        "seconds": round(seconds),
        "machine": _machine(),
        "told": told,
    }
    path = FIGURES / f"{harness.name}.json"
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def kept_figures(harness: Harness) -> dict[str, Any] | None:
    """Return what was kept of a harness; None if it was never run at its full size."""
    path = FIGURES / f"{harness.name}.json"
    if not path.exists():
        return None
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept
