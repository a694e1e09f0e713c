"""What many latencies come to."""

from collections.abc import Iterable


def spread_of(latencies: Iterable[float]) -> dict[str, float]:
    """Return the middle, the 99th percentile and the longest."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "median": ordered[last // 2],
        "p99": ordered[last * 99 // 100],
        "longest": ordered[last],
    }
