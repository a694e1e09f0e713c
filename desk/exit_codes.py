"""What the exit status of `saga` says. `saga --help` shows this table.

For a night job, `saga check`: DONE is that nothing is wrong (work under way is no break), FAILED
that there is a break or a finding, UNCERTAIN that there is none, but something waits for a person
(a halt does), was not compared, or has been unknown for over a minute (an order without an answer,
an undo that does not get through; at once if no saga process has it), STORE that the store or the
broker's books cannot be read.

What only shows is DONE whatever it shows, but for these: `saga list` and `portfolio` are UNCERTAIN
where the store is an older copy of itself, `portfolio` also where it waits for a person or has been
unknown for over a minute; `saga doctor` is FAILED where a point is bad. docs/runbook.md says what
to do about each status.
"""

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """The exit status."""

    DONE = 0
    """What was asked was done."""
    FAILED = 1
    """The saga failed, was rolled back or cancelled; or a check found something wrong."""
    USAGE = 2
    """The command line or the input breaks a rule; nothing was stored or sent."""
    PARTIAL = 3
    """A part of the batch took effect, and stays."""
    UNCERTAIN = 4
    """The batch is STALE, or not over yet, so that what it did is not certain; or a check found
    nothing wrong, but something waits for a person or could not be compared."""
    STORE = 5
    """The store is held by another process, or cannot be used."""
    NOT_ALLOWED = 6
    """There is no such batch, or its state does not allow what was asked."""
    UNEXPECTED = 70
    """An error of the program; the log says more."""
    INTERRUPTED = 130
    """Interrupted by SIGINT or SIGTERM; what was under way can be taken up again."""


MEANINGS: Final = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, rolled back or cancelled; or a check found something",
    ExitCode.USAGE: "bad usage or input: nothing was stored or sent",
    ExitCode.PARTIAL: "partly done, and that part stays",
    ExitCode.UNCERTAIN: "STALE, not over yet, or not certain: look at it",
    ExitCode.STORE: "the store is held or cannot be used",
    ExitCode.NOT_ALLOWED: "no such batch, or not allowed as things stand",
    ExitCode.UNEXPECTED: "an error of the program: see its log",
    ExitCode.INTERRUPTED: "interrupted; can be taken up again",
}
