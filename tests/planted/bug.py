"""What a planted bug is: a few words of the program exchanged for others that are wrong.

The words to be exchanged must stand in their file exactly once. A change of the program that moves
them makes the bug inapplicable, which fails loudly: whoever changed the program plants it anew.
"""

from dataclasses import dataclass
from typing import Final

SIMULATION: Final = "simulation"
"""The harness that finds most of them: tests/simulation, one seed at a time."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One exchange of words in one file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug.

    Attributes:
        name: what it is called in the record of what was found.
        story: how somebody could have come to write it, or what it does.
        edits: what is exchanged.
        harness: what has to find it: `simulation`, or the command of another harness, which ends
            with another status than 0 where it sees the bug.
        why: why the simulation cannot see it; empty for one that it sees.
    """

    name: str
    story: str
    edits: tuple[Edit, ...]
    harness: str = SIMULATION
    why: str = ""


class Inapplicable(ValueError):
    """The words that a bug exchanges do not stand in the program, or stand there twice."""


def planted(source: str, bug: Bug, edit: Edit) -> str:
    """Return a file's text with one edit of a bug.

    Raises:
        Inapplicable: what is to be exchanged does not stand there exactly once.
    """
    count = source.count(edit.old)
    if count != 1:
        raise Inapplicable(
            f"bug {bug.name!r} exchanges words that stand {count} times in {edit.file}, and must "
            f"stand there once; the program has changed, so plant the bug anew: {edit.old!r}"
        )
    return source.replace(edit.old, edit.new)
