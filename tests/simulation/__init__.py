"""Deterministic simulation: the real engine, on virtual time, against a venue that owns the truth.

`python -m tests.simulation --seeds 10000` runs it; `docs/reliability.md` says what it shows.
"""
