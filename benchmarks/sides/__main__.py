"""Runs one side in this process, in a folder of its own, and prints what it tells."""

import json
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import SIDES


def main(name: str, arguments: str) -> None:
    """Run a side."""
    module, function = SIDES[name]
    side = getattr(import_module(f"benchmarks.sides.{module}"), function)
    # Not in the system's folder for temporary files, which may lie in memory.
    with TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as folder:
        told = side(Path(folder), **json.loads(arguments))
    sys.stdout.write(json.dumps(told) + "\n")


main(*sys.argv[1:])
