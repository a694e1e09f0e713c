"""Is the store an older copy of itself? Told by the mark beside it; changes nothing.

Whoever only reads shows what such a copy says, and says beside it that it may be of yesterday.
"""

import sqlite3

from desk.home import Home
from saga.errors import StoreUnusable
from saga.store.database import located
from saga.store.mark import read_mark, refuse_without_store, rollback_found
from saga.store.sqlite_reader import SqliteReader


async def old_copy_of(home: Home) -> str | None:
    """Return why the store is refused as an older copy of itself, and what to do; None if not.

    Raises:
        StoreUnusable: there is a store, and it cannot be read.
    """
    gone = why_gone(home)
    if gone is not None or not home.store.exists():
        return gone
    place = located(home.store)
    try:
        noted = read_mark(place)  # First: a living owner only moves the journal further.
    except StoreUnusable as error:
        return str(error)

    def look(connection: sqlite3.Connection) -> str | None:
        return rollback_found(connection, place, noted)

    async with SqliteReader(place) as reader:
        return await reader.read(look)


def why_gone(home: Home) -> str | None:
    """Return that the store is missing though it held records; None if it is there or never was."""
    if home.store.exists():
        return None
    try:
        noted = read_mark(home.store)
        if noted is not None:
            refuse_without_store(home.store, noted)
    except StoreUnusable as error:
        return str(error)
    return None
