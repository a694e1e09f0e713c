"""What many latencies come to."""

from collections.abc import Iterable, Sequence
from itertools import accumulate


def spread_of(latencies: Iterable[float]) -> dict[str, float]:
    """Return the middle, the 99th percentile and the longest."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "median": ordered[last // 2],
        "p99": ordered[last * 99 // 100],
        "longest": ordered[last],
    }


def lateness_of(late: Sequence[float], seconds: float) -> dict[str, float]:
    """Return how late a timer rings that is due at any instant: half of the time, 99% of it, ever.

    A loop that stands still is late for as long as it does so: whoever is due meanwhile waits for
    the rest of it. One long stall weighs what it lasts here; among the timers that rang it would be
    one of many, and the 99th percentile of these would not see it.

    Args:
        late: by how much the loop was late, each time that it was looked at.
        seconds: how long it was looked at in all.
    """
    return {
        "median": _late_for(0.5 * seconds, late),
        "p99": _late_for(0.01 * seconds, late),
        "longest": max(late),
    }


def _late_for(seconds: float, late: Sequence[float]) -> float:
    """Return what the loop is later than for so many seconds in all.

    A stall is later than x for what it lasts beyond x: x is where that comes to `seconds`.
    """
    longest_first = accumulate(sorted(late, reverse=True))
    return max(0.0, *((lost - seconds) / stalls for stalls, lost in enumerate(longest_first, 1)))
