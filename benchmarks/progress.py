"""How far a measurement is, for whoever watches it."""

import shutil
import sys
from typing import Final

_BAR: Final = 24


class Progress:
    """How many of the runs are over, on one line of a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0
        self._name = ""
        self._shows = sys.stderr.isatty()

    def begin(self, name: str) -> None:
        """Say what is measured now."""
        self._name = name
        self._show()

    def step(self) -> None:
        """One more run is over."""
        self._over += 1
        self._show()

    def end(self) -> None:
        """Leave the line, for something else to be written there."""
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _show(self) -> None:
        if self._shows:
            full = _BAR * self._over // max(1, self._total)
            bar = "#" * full + "." * (_BAR - full)
            line = f"[{bar}] {self._over}/{self._total} {self._name}"
            width = shutil.get_terminal_size().columns - 1  # a full line would begin the next one
            sys.stderr.write(f"\r\x1b[K{line[:width]}")
            sys.stderr.flush()
