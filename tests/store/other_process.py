"""A program that runs beside a test in a process of its own, and takes its turns by lines."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running_beside(
    program: str, path: Path, *, until: str, inside: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run a program with a path as its argument, from the line `until` on; kill it at the end.

    It is run by the command `inside`, if there is one.
    """
    child = subprocess.Popen(
        [*inside, sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == f"{until}\n"
        yield child
    finally:
        child.kill()
        child.communicate()
