"""A failing seed, made small and told so that a person can read it.

It is made small by leaving out one drawn element after the other (batches, legs, crashes, deeds,
behaviours) as long as the same invariant still breaks.
"""

from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any, Final

from tests.simulation.plan import Plan
from tests.simulation.run import Result, run_seed

MAX_RUNS: Final = 250
"""So many runs of the seed are spent on making it small."""
MAX_LINES: Final = 120
"""The trace is told up to so many lines before the break."""

_LEFT_OUT: Final = frozenset({"record", "commit", "end"})
_WORDS: Final[dict[str, Callable[..., str]]] = {
    "send": lambda life, key: f"process {life} sends {key}",
    "venue takes": lambda key, side, symbol, quantity: (
        f"the venue takes {key}: {side} {quantity} {symbol}"
    ),
    "venue trades": lambda key, quantity, price, status: (
        f"the venue trades {quantity} of {key} at {price}; it is {status}"
    ),
    "venue closes": lambda key, status: f"the venue closes {key}: {status}",
    "venue busts": lambda key, fill: f"the venue takes the execution {fill} of {key} back",
    "CRASH": lambda loss, life, phase, where: (
        f"*** process {life} ends here ({loss}) in its phase {phase!r}, at {where}"
    ),
    "disk": lambda words: f"    on the disk {words}",
    "start": lambda life, take_over: (
        f"process {life} starts" + (", and takes the store over" if take_over else "")
    ),
    "up": lambda life: f"process {life} is up",
    "gone": lambda life: f"process {life} is gone",
    "ended": lambda life, error: f"process {life} ends with {error}",
    "accepted": lambda uid: f"a client hears that {uid} is accepted",
    "refused": lambda uid, error: f"a client hears that {uid} is refused: {error}",
    "saw": lambda uid, state: f"a client is shown that {uid} is {state}",
    "deed": lambda what: f"somebody: {what}",
    "quiet": lambda: "--- faults stop here ---",
    "VIOLATION": lambda invariant, sentence: f"!!! {invariant} breaks: {sentence}",
}


def shrink(seed: int, invariant: str, folder: Path) -> tuple[Result, Set[str]]:
    """Return the smallest run that was found in which the invariant still breaks.

    Args:
        seed: one in which it breaks.
        invariant: its name, such as `S4`.
        folder: an empty one.
    """
    without: frozenset[str] = frozenset()
    result = run_seed(seed, folder)
    runs = 1
    shrunk = True
    while shrunk and runs < MAX_RUNS:
        shrunk = False
        for name in result.plan.elements():
            if runs >= MAX_RUNS:
                break
            runs += 1
            smaller = run_seed(seed, folder, without | {name})
            if any(each.invariant == invariant for each in smaller.violations):
                result, without, shrunk = smaller, without | {name}, True
    return result, without


def told(result: Result, without: Set[str]) -> str:
    """Return the story of a run in which something broke."""
    first = result.violations[0]
    left_out = ",".join(sorted(without))
    option = f' --without "{left_out}"' if left_out else ""
    return "\n".join(
        (
            f"Seed {first.seed} breaks {first.invariant} after {first.at} s: {first.sentence}",
            "",
            *_world(result.plan),
            "",
            "What happened:",
            *_happenings(result, first.invariant),
            "",
            "What the journal says in the end:",
            *_journal(result),
            "",
            f"Replay: python -m tests.simulation --trace {first.seed}{option}",
        )
    )


def _world(plan: Plan) -> Iterator[str]:
    venue = plan.venue
    yield (
        f"The venue: look-up {_yes(venue.look_up)}, cancel {_yes(venue.cancel)}, tombstone "
        f"{_yes(venue.tombstone)}, keeps a key {venue.idempotent.value}, visible after "
        f"{venue.visibility_seconds} s, a call may take {venue.call_timeout_seconds} s"
    )
    strikes = ", ".join(f"{name} at {strength:g}" for name, strength in plan.strength.items())
    yield f"It misbehaves: {strikes or 'not at all'}"
    for batch in plan.batches:
        yield f"{batch.name} at {batch.at:.3f} s: {_shown(batch.fields)} {_shown(batch.policy)}"
        for leg in batch.legs:
            yield f"  {leg.name}: {leg.kind} {_shown(leg.fields)}"
    for crash in plan.crashes:
        when = f"{crash.at:.3f} s" if crash.at is not None else f"the {crash.nth}. {crash.point}"
        yield f"{crash.name}: {crash.loss} at {when} ({crash.phase})"
    for deed in plan.deeds:
        yield f"{deed.name} at {deed.at:.3f} s: {deed.what} ({deed.amount:g})"


def _journal(result: Result) -> Iterator[str]:
    for _, what, *more in result.trace:
        if what == "record":
            _, uid, number, kind, data = more
            told = {name: value for name, value in data.items() if value not in (None, [], "")}
            yield f"  {uid} {number:3} {kind} {told or ''}"[:200]
        elif what == "end":
            yield f"  {more[0]} is {more[1]}"


def _yes(there: bool) -> str:
    return "yes" if there else "no"


def _shown(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)


def _happenings(result: Result, invariant: str) -> list[str]:
    lines: list[str] = []
    for at, what, *more in result.trace:
        if what in _LEFT_OUT:
            continue
        words = _WORDS.get(what)
        text = words(*more) if words is not None else f"{what} {' '.join(map(str, more))}"
        lines.append(f"{at:10.3f}  {text}")
        if what == "VIOLATION" and more[0] == invariant:
            break
    cut = len(lines) - MAX_LINES
    return [f"  ({cut} earlier lines are left out)", *lines[cut:]] if cut > 0 else lines
