"""Makes durable which files a folder holds: a file that is synced can still lose its name."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder holds.

    Raises:
        OSError: it cannot be opened, or not be synced.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
