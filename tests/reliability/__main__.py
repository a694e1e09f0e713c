"""`python -m tests.reliability [NAME ...]`: run the harnesses, and write `docs/reliability.md`.

Each harness's figures are kept in `docs/figures/`, with the commit that gave them. The page's table
is made of those files and of nothing else.
"""

import argparse
import sys

from tests.reliability.figures import run_and_keep
from tests.reliability.harness import FIRST, HARNESSES, SEEDS
from tests.reliability.page import write_page


def main() -> int:
    """Run what is named, or everything; return 0 if every harness was content."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    names = [each.name for each in HARNESSES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="small sizes; keeps no figures")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page anew")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the simulation")
    parser.add_argument("--from", type=int, default=FIRST, dest="first", help="the first of them")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(names))
    if unknown:
        parser.error(f"there is no harness {unknown[0]!r}; there are {', '.join(names)}")
    content = True
    for harness in HARNESSES:
        if not given.page and harness.name in (given.names or names):
            sized = harness.with_seeds(given.seeds, given.first)
            print(f"{sized.title}: {sized.command}", file=sys.stderr)  # noqa: T201
            content = run_and_keep(sized, quick=given.quick) and content
    if not given.quick:
        write_page()
    return 0 if content else 1


if __name__ == "__main__":
    sys.exit(main())
