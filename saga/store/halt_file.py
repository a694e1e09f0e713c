"""The kill switch that works when nothing else does: a file beside the store.

While `<store>.halt` is there, no forward order goes out, whether or not the store can be written.
Anybody who may write to the folder can put it there, by `touch` if need be; whoever owns the store
notices it within a second, and notes it in the logbook.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from saga.errors import StoreError

MAX_TEXT: Final = 4_000
"""No more of the file than this is read, in characters."""
BY_HAND: Final = "halt file"
"""Who halted, where the file does not say."""


@dataclass(frozen=True, slots=True)
class HaltOrder:
    """What a halt file says: who wants it, why, and whether that is no person."""

    by: str
    reason: str
    automatic: bool = False


class HaltFile:
    """The file that halts the engine of one store.

    Args:
        store: the store's file.
    """

    def __init__(self, store: Path) -> None:
        place = store.resolve()  # as the engine finds the store, by whatever link
        self.path = place.with_name(f"{place.name}.halt")
        self._name = str(self.path)  # looked for before each send

    def is_there(self) -> bool:
        """Tell whether it is there; where that cannot be told, it is taken to be."""
        try:
            os.lstat(self._name)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def mark(self) -> tuple[int, int, int] | None:
        """Return what tells this file from any that is put there later; None if there is none."""
        try:
            found = os.lstat(self._name)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> HaltOrder:
        """Return what it says; any text will do, and so will none."""
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(MAX_TEXT)
        except (OSError, ValueError):
            text = ""
        try:
            told = json.loads(text)
            automatic = told.get("automatic") is True
            return HaltOrder(_line(str(told["by"])), _line(str(told["reason"])), automatic)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return HaltOrder(BY_HAND, _line(text) or f"the file {self.path} is there")

    def put(self, order: HaltOrder) -> None:
        """Put it there.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            self.path.touch(mode=0o600)
            told = {"by": order.by, "reason": order.reason}
            text = json.dumps({**told, "automatic": True} if order.automatic else told)
            self.path.write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"the halt file {self.path} cannot be written: {error}") from error

    def remove(self) -> None:
        """Take it away; harmless if it is not there.

        Raises:
            StoreError: it cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the halt file {self.path} cannot be removed: {error}") from error


def _line(text: str) -> str:
    """Return a text on one line, without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
