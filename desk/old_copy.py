"""Is the store an older copy of itself? Told by the mark beside it; changes nothing.

Whoever only reads shows what such a copy says, and says beside it that it may be of yesterday.
"""

import sqlite3
from datetime import datetime
from typing import Final

from desk.home import Home
from saga.errors import StoreUnusable
from saga.logbook import TradingStateSet
from saga.store import logbook
from saga.store.database import located
from saga.store.mark import read_mark, refuse_without_store, rollback_found
from saga.store.sqlite_reader import SqliteReader

COPY_ACCEPTED: Final = "an older copy of the store was accepted"
"""So begins the reason of the halt that comes with accepting one, and of the pauses."""
MAX_HALTS_READ: Final = 10_000
"""So many of the last changes of the trading state are looked at for one."""


def copy_accepted_at(connection: sqlite3.Connection) -> datetime | None:
    """Return when an operator last accepted an older copy of the store; None if nobody did."""
    for record in logbook.read_last(connection, TradingStateSet.kind, MAX_HALTS_READ):
        said = record.entry
        if isinstance(said, TradingStateSet) and said.reason.startswith(COPY_ACCEPTED):
            return record.at
    return None


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
