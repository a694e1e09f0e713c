"""The kill switch that works when nothing else does: a file beside the store.

While `<store>.halt` is there, no forward order goes out, whether or not the store can be written.
Anybody who may write to the folder can put it there, by `touch` if need be; whoever owns the store
notices it within a second, and notes it in the logbook.
"""

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from saga.errors import StoreError
from saga.quick_dataclass import dataclass
from saga.store.folder import sync_folder

MAX_TEXT: Final = 4_000
"""No more of the file than this is read, in characters."""
BY_HAND: Final = "halt file"
"""Who halted, where the file does not say."""


class HaltedAllTheSame(StoreError):
    """The halt file is there, and holds; who halted and why could not be kept in it for certain."""


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
        place = Path(os.path.realpath(store))  # as the engine finds the store, by whatever link
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
            # Whatever was put there must not hold the engine up, as a pipe would.
            handle = os.open(self._name, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
                is_text = stat.S_ISREG(os.fstat(handle).st_mode)
                text = file.read(MAX_TEXT) if is_text else ""
        except (OSError, ValueError):
            text = ""
        try:
            told = json.loads(text)
            automatic = told.get("automatic") is True
            return HaltOrder(_line(str(told["by"])), _line(str(told["reason"])), automatic)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return HaltOrder(BY_HAND, _line(text) or f"the file {self.path} is there")

    def put(self, order: HaltOrder) -> None:
        """Put it there, whole and durable: nobody ever reads half of it.

        Raises:
            HaltedAllTheSame: it is there, but does not say why, or may not outlast a power failure.
            StoreError: it is not there, and cannot be put there.
        """
        told = {"by": order.by, "reason": order.reason}
        text = json.dumps({**told, "automatic": True} if order.automatic else told)
        try:
            self._replace(f"{text}\n".encode())
        except OSError as error:
            self._touch(error)
            raise HaltedAllTheSame(
                f"the halt file {self.path} is there and holds, but the reason could not be kept "
                f"in it: {error}; write down elsewhere who halted, and why"
            ) from error
        try:
            sync_folder(self.path.parent)
        except OSError as error:
            raise HaltedAllTheSame(
                f"the halt file {self.path} is there and holds, but a power failure may take it "
                f"away: {error}; look whether it is there after the next start"
            ) from error

    def _replace(self, content: bytes) -> None:
        """Write a draft beside it, readable by its owner alone, and give it the file's name."""
        handle, draft = tempfile.mkstemp(
            prefix=f"{self.path.name}.", suffix=".draft", dir=self.path.parent
        )
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            Path(draft).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(draft).unlink()
            raise

    def _touch(self, why: OSError) -> None:
        """Put it there without a word in it, if it is not there yet.

        Raises:
            StoreError: not even that works.
        """
        try:
            self.path.touch(mode=0o600)
        except OSError as error:
            if self.mark() is None:
                raise StoreError(
                    f"the halt file {self.path} cannot be put there ({why}; then {error}); nothing "
                    "is halted by it: free the disk or mend the folder's rights, or stop the engine"
                ) from error
        with suppress(OSError):  # it holds for now all the same, and we are about to say so
            sync_folder(self.path.parent)

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
