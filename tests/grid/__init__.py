"""The fault grid: every crash point with every misbehaviour of a venue and every kind of loss.

`python -m tests.grid` runs it; `docs/reliability.md` says what it shows.
"""
