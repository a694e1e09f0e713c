"""What a step took when it was recorded last, and how far from it anything may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.counted_work.counted import Work

RECORD: Final = Path(__file__).with_name("work_a_step.json")
TOO_MUCH: Final = 1.2
"""More than so many times what is recorded fails."""
TOO_LITTLE: Final = 0.8
"""Less than so many times what is recorded fails too.

Either nothing is counted any more, or a step became cheaper: recorded, that cannot be lost unseen.
"""


def unlike_recorded(found: Work, recorded: Mapping[str, float]) -> list[str]:
    """Return of what a step takes too much, or so little that it has to be looked at."""
    return [
        name
        for name, count in found.as_json().items()
        if not recorded[name] * TOO_LITTLE <= count <= recorded[name] * TOO_MUCH
    ]
