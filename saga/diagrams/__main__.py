"""`python -m saga.diagrams [--check] [FOLDER]`: writes the pictures, or tells which are old.

Exit status: 0, everything is as the code has it (now); 1, `--check` found a difference; 2, usage.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from saga.diagrams.committed import DEFAULT_FOLDER, differing, write_all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m saga.diagrams",
        description="Draw both state machines from their tables.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file differs")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=DEFAULT_FOLDER, help="diagrams by default"
    )
    options = parser.parse_args(arguments)
    if options.check:
        paths = differing(options.folder)
        for path in paths:
            sys.stdout.write(f"{path} differs from the code; run python -m saga.diagrams\n")
        return 1 if paths else 0
    for path in write_all(options.folder):
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
