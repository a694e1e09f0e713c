"""Of more than a person is shown at once: which are shown, and what the others are. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

MAX_ROWS_SHOWN: Final = 200
"""Most trades, and most orders, of a batch that a person is shown at once."""

MOST_NAMED: Final = 3
"""Most batches or orders that a sentence names, unless it is about nothing else."""

T = TypeVar("T")


def foremost(rows: Sequence[T], rank: Callable[[T], int]) -> tuple[Sequence[T], Sequence[T]]:
    """Return the rows that are shown, and those that are left out.

    Rows that all fit stay in their order. Of more than that those of the lowest rank come first,
    and what is alike stays in its order.
    """
    if len(rows) <= MAX_ROWS_SHOWN:
        return rows, ()
    ranked = sorted(rows, key=rank)
    return ranked[:MAX_ROWS_SHOWN], ranked[MAX_ROWS_SHOWN:]


def more(kinds: Iterable[str]) -> str:
    """Return how many rows are left out, and of what kinds, the most frequent one first."""
    counts = Counter(kinds)
    told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return f"and {counts.total()} more ({told})"


def few(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Return the first of these names, `most` at most, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
