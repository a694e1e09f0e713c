"""How fast the engine is, beside the disk and beside a peer: `python -m benchmarks --quick`.

Nothing here is a test: times are taken, never asserted. A goal is a ratio of two *sides* that do
the same work, taken in one go: each run of a side is a process of its own, the runs of both sides
alternate, and what counts is the median of several runs.
"""
