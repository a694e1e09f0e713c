"""Copies of the program with a bug in each; the checkout is never touched.

A copy holds what a harness needs to run, and is a folder of its own that is gone afterwards. Its
processes import the copy, because it is their working folder and the first place on their path.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.planted.bug import Bug, planted

CHECKOUT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("saga", "brokers", "portfolio", "desk", "tests")
FILES: Final = ("pyproject.toml",)


@contextmanager
def copy_with(bug: Bug, program: Path = CHECKOUT) -> Iterator[Path]:
    """Yield a folder with the whole program, and this bug in it.

    Raises:
        Inapplicable: the program has changed where the bug is planted.
    """
    changed: dict[str, str] = {}
    for edit in bug.edits:
        source = changed.get(edit.file) or (program / edit.file).read_text(encoding="utf-8")
        changed[edit.file] = planted(source, bug, edit)
    with TemporaryDirectory(prefix="trade-saga-planted-") as name:
        folder = Path(name)
        for package in PACKAGES:  # with what is compiled already: only the edited file is not
            shutil.copytree(program / package, folder / package)
        for file in FILES:
            shutil.copy2(program / file, folder / file)
        for file, text in changed.items():
            (folder / file).unlink()
            (folder / file).write_text(text, encoding="utf-8")
        yield folder


def run_in(
    folder: Path, arguments: Sequence[str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
