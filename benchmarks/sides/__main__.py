"""Runs one side in this process, in the folder that it is given, and prints what it tells."""

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measuring import SIDES


def main(name: str, arguments: str, folder: str) -> None:
    """Run a side."""
    module, function = SIDES[name]
    side = getattr(import_module(f"benchmarks.sides.{module}"), function)
    told = side(Path(folder), **json.loads(arguments))
    sys.stdout.write(json.dumps(told) + "\n")


main(*sys.argv[1:])
