"""Where a step's time goes, and what its parts cost by themselves, as two tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from benchmarks.measuring import Run, Side, Spread, in_turn

PROFILE: Final = Side("engine profile", {"concurrent": 64, "sagas": 320, "legs": 10})
ALONE: Final = Side("parts alone", {"times": 2_000})

_PARTS_ALONE: Final[Mapping[str, tuple[str, str]]] = {
    "commit": ("one synced commit of one row, by sqlite3", "one for all records that wait"),
    "hop": ("to the database's thread and back", "one a commit"),
    "task": ("a task is begun, runs and is waited for", "one a call of the participant"),
    "validation": ("an order is made and validated", "one a leg, at submission"),
    "trigger": ("a trigger of the state machine", "two"),
    "fold": ("an event is folded into its saga, triggers included", "two"),
    "record": ("an event becomes JSON, and its digest is taken", "two"),
}
"""What each figure of `ALONE` is, and how often a step has it."""


def runs_of_parts(times: int) -> int:
    """Return how many processes `measured_parts` takes."""
    return 2 * times


def measured_parts(run: Run, times: int) -> dict[str, Any]:
    """Measure both in turn, so many times; return the middle of each figure."""
    profiles, alone = in_turn((PROFILE, ALONE), times, run)
    shares = [profile["shares"] for profile in profiles]
    return {
        "microseconds": _middle(profile["microseconds"] for profile in profiles),
        "shares": {part: _middle(each[part] for each in shares) for part in shares[0]},
        "alone": {part: _middle(each[part] for each in alone) for part in _PARTS_ALONE},
    }


def tables(parts: Mapping[str, Any]) -> Sequence[str]:
    """Return the lines of both tables, for the page."""
    whole = parts["microseconds"]
    by_share = sorted(parts["shares"].items(), key=lambda each: -each[1])
    return [
        f"The processor's time of a step with 64 sagas at once, {whole:.0f} microseconds in one "
        "thread, by a look at each tick of the system's clock:",
        "",
        "| part | share | microseconds |",
        "| --- | ---: | ---: |",
        *(f"| {part} | {share:.0%} | {share * whole:.0f} |" for part, share in by_share),
        "",
        "What the things that it is made of cost by themselves:",
        "",
        "| part | microseconds | a step has |",
        "| --- | ---: | --- |",
        *(
            f"| {what} | {parts['alone'][name]:.1f} | {often} |"
            for name, (what, often) in _PARTS_ALONE.items()
        ),
    ]


def _middle(figures: Iterable[float]) -> float:
    return Spread.of(list(figures)).median
