"""The desk's folder: which files it holds, and what they are called.

Whoever lays a folder out like this (the demo keeps one) can be looked at with `saga --home DIR`.
This module makes no file and opens none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

STORE_FILE: Final = "saga.db"
"""The checkpoint store: every batch, and the portfolios' books."""
EXCHANGE_FILE: Final = "exchange.db"
"""The paper exchange's own books, which the engine never reads."""
SETTINGS_FILE: Final = "saga.toml"
"""The settings, where nothing else is named."""
SOCKET_FILE: Final = "saga.sock"
"""Where the owner of the store hears what other processes wish."""
LOG_FILE: Final = "saga.log"
"""What the engine logs, and every unexpected error."""
DIAGRAM_FOLDER: Final = "diagrams"
"""Where pictures go that nobody gave a name."""
PORTFOLIO: Final = "main"
"""The portfolio that trades where no other is named."""


@dataclass(frozen=True, slots=True)
class Home:
    """The files of one desk."""

    folder: Path

    @property
    def store(self) -> Path:
        """The checkpoint store."""
        return self.folder / STORE_FILE

    @property
    def exchange(self) -> Path:
        """The paper exchange's books."""
        return self.folder / EXCHANGE_FILE

    @property
    def settings(self) -> Path:
        """The settings."""
        return self.folder / SETTINGS_FILE

    @property
    def socket(self) -> Path:
        """The owner's socket, where its path is short enough (`desk.control`)."""
        return self.folder / SOCKET_FILE

    @property
    def log(self) -> Path:
        """The log."""
        return self.folder / LOG_FILE

    @property
    def diagrams(self) -> Path:
        """The folder of pictures."""
        return self.folder / DIAGRAM_FOLDER
