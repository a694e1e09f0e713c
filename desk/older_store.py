"""Takes the tables of a store that an older program made to this program's version.

Who is about to become the store's owner does this first, before he reads anything of it: what only
reads refuses tables of another version. The engine's tables and the books' are migrated at once.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from anyio import to_thread

from desk.session import Session
from desk.wiring import exchange_of
from portfolio import PortfolioProjection
from portfolio.schema import MIGRATIONS, PROJECTION
from saga.errors import StoreError
from saga.store import database, schema
from saga.store.migration import pending
from saga.store.sqlite import SqliteStore


async def migrate_older(session: Session) -> None:
    """Migrate the store if it has tables of an older version; else do nothing.

    What is wrong with it in any other way, those say who open it next.

    Raises:
        StoreHeld: the program that made them still owns the store.
        StoreUnusable: it cannot be migrated, or was not made by this command.
    """
    path = session.configured.home.store
    if not path.exists() or not await to_thread.run_sync(_is_older, path):
        return
    exchange = exchange_of(session.configured)  # refuses the store of another program
    books = PortfolioProjection(session.configured.settings.allowance(exchange.settings))
    async with SqliteStore(path, projections=[books]):
        session.screen.say("The store was made by an older version; its tables are migrated now.")


def _is_older(path: Path) -> bool:
    try:
        with closing(database.connect_reader(path)) as connection:
            return bool(
                pending(connection, schema.COMPONENT, schema.MIGRATIONS)
                or pending(connection, PROJECTION, MIGRATIONS)
            )
    except (StoreError, sqlite3.Error):
        return False
