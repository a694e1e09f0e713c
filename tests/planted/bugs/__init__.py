"""All planted bugs, by where they are."""

from typing import Final

from tests.planted.bug import Bug
from tests.planted.bugs import guarding, keeping, running, sending, undoing, unknown

BUGS: Final[tuple[Bug, ...]] = (
    *sending.BUGS,
    *unknown.BUGS,
    *undoing.BUGS,
    *running.BUGS,
    *keeping.BUGS,
    *guarding.BUGS,
)
