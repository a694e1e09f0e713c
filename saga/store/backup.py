"""Copies a store while it is in use: whole, as of one instant, and checked before it has its name.

SQLite's own backup reads through the locks and the write-ahead log; `cp` does neither. The copy has
no high-water mark: whoever puts it back has to accept, explicitly, what happened since.
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from saga.errors import StoreUnusable
from saga.store.database import check_pages, connect_reader, located
from saga.store.folder import sync_folder


def back_up(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a store, which may be in use, to a file that is not there yet; return where it is.

    Args:
        path: the store's file.
        target: the copy's file; readable by the user alone.

    Raises:
        StoreUnusable: there is no store, the copy cannot be written, or it is not sound.
    """
    place, copy = located(path), Path(target).absolute()
    if not place.exists():
        raise StoreUnusable(f"the store {place} does not exist; name the file of a store")
    if copy.exists():
        raise StoreUnusable(f"the backup {copy} is there already; name a file that is not")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{copy.name}.", suffix=".new", dir=copy.parent)
        os.close(handle)
        draft = Path(name)
        try:
            _copy(place, draft)
            os.link(draft, copy)  # Unlike a rename, it never takes the place of another file.
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(copy.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(
            f"the store {place} cannot be copied to {copy}: {error}; the store is as it was"
        ) from error
    return copy


def _copy(place: Path, draft: Path) -> None:
    with closing(connect_reader(place)) as source, closing(sqlite3.connect(draft)) as target:
        # All pages in one step: the copy is of one instant, and writers do not begin it anew.
        source.backup(target)
        check_pages(target, place)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
