"""`python -m tests.power_loss`: the whole campaign, with FULL and with NORMAL.

The exit status is 0 only when FULL lost nothing and corrupted nothing, and NORMAL, by which the
harness shows that it can see, lost something.
"""

# ruff: noqa: T201  (a program for a terminal)

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict

from tests.power_loss.campaign import Tally, run

EVERY_SHOWN = 25


def _progress(tally: Tally) -> None:
    if sys.stderr.isatty() and tally.operations % EVERY_SHOWN == 0:
        print(
            f"\r{tally.synchronous}: power failed at {tally.operations} operations, "
            f"{tally.images} images, {tally.lost} lost, {tally.corrupt} corrupt",
            end="",
            file=sys.stderr,
            flush=True,
        )


def main() -> int:
    """Run the campaign and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.power_loss", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the workload and of what is torn")
    parser.add_argument("--every", type=int, default=1, help="fail at one operation of so many")
    parser.add_argument("--json", action="store_true", help="JSON on stdout and nothing else")
    given = parser.parse_args()
    logging.getLogger("saga.store").setLevel(logging.ERROR)  # Refusals are counted, not told.
    begun = time.monotonic()
    tallies = [
        run(synchronous, seed=given.seed, every=given.every, progress=_progress)
        for synchronous in ("FULL", "NORMAL")
    ]
    seconds = round(time.monotonic() - begun, 1)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    full, normal = tallies
    kept = not full.lost and not full.corrupt and not full.alarms
    ok = kept and not normal.corrupt and normal.lost > 0
    if given.json:
        results = {tally.synchronous: asdict(tally) for tally in tallies}
        print(json.dumps({"ok": ok, "seed": given.seed, "seconds": seconds, **results}, indent=2))
        return 0 if ok else 1
    for tally in tallies:
        print(
            f"{tally.synchronous:<7}{tally.operations} operations, {tally.images} images "
            f"({tally.opened} different): {tally.lost} lost something acknowledged "
            f"({tally.noticed} of them refused as rolled back), {tally.alarms} refused "
            f"for nothing, {tally.corrupt} corrupt"
        )
        for story in tally.stories if tally is full else ():
            print(f"  {story}")
    print(f"{'As it must be' if ok else 'NOT as it must be'}, in {seconds} seconds.")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
