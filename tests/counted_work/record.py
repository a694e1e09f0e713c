"""What a step took when it was recorded last, and how much more of anything is too much."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.counted_work.counted import Work

RECORD: Final = Path(__file__).with_name("work_a_step.json")
TOO_MUCH: Final = 1.2
"""So many times what is recorded fails."""


def more_than_recorded(found: Work, recorded: Mapping[str, float]) -> list[str]:
    """Return of what a step takes too much."""
    return [name for name, count in found.as_json().items() if count > recorded[name] * TOO_MUCH]
