"""stdout and stderr that never stop a run: a reader that leaves, or a full disk, costs words only.

A batch goes on whether or not anybody can read of it. A stream that cannot be written is pointed at
the null device from then on, and remembers why; what that means is its maker's to say.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast


class SturdyStream:
    """A text stream whose `write` and `flush` never fail for what is behind it.

    Everything else is the stream's own.

    Attributes:
        failure: why nothing more can be written; None while all is well.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> object:
        """Give what the stream itself has."""
        return getattr(self._stream, name)

    @property
    def was_cut_short(self) -> bool:
        """Something could not be written although somebody wanted it, as on a full disk."""
        return self.failure is not None and self.failure.errno != errno.EPIPE

    def write(self, text: str) -> int:
        """Write text, or lose it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Let what was written be seen, if it can be."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error
        # What is still in the buffer goes nowhere too, so that the interpreter's end is quiet.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)
        with suppress(OSError, ValueError):
            self._stream.flush()


@contextmanager
def sturdy_streams() -> Iterator[tuple[SturdyStream, SturdyStream]]:
    """Make stdout and stderr such streams for as long as the block runs; give both."""
    out, err = sys.stdout, sys.stderr
    sturdy = SturdyStream(out), SturdyStream(err)
    sys.stdout, sys.stderr = (cast(TextIO, each) for each in sturdy)
    try:
        yield sturdy
    finally:
        sys.stdout, sys.stderr = out, err
