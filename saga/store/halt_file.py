"""The kill switch that works when nothing else does: a file beside the store.

While `<store>.halt` is there, no forward order goes out, whether or not the store can be written.
Anybody who may write to the folder can put it there, by `touch` if need be; its text says why.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

from saga.errors import StoreError

MAX_REASON: Final = 500
"""No more of the file than this is read, in characters."""


class HaltFile:
    """The file that halts the engine of one store.

    Args:
        store: the store's file.
    """

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(f"{store.name}.halt")

    def is_there(self) -> bool:
        """Tell whether it is there; where that cannot be told, it is taken to be."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def reason(self) -> str:
        """Return what it says, in one line."""
        with suppress(OSError, ValueError):
            with self.path.open(encoding="utf-8", errors="replace") as file:
                text = " ".join(file.read(MAX_REASON).split())
            if text:
                return "".join(char if char.isprintable() else "?" for char in text)
        return f"the file {self.path} is there"

    def put(self, text: str) -> None:
        """Put it there, with a text that says who and why.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            self.path.touch(mode=0o600)
            self.path.write_text(f"{text}\n", encoding="utf-8", errors="replace")
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
