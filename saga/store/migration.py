"""Takes a store's tables from one version to another, up or down, in one transaction.

A store has one list of migrations for the engine and one for each projection, each counted by
itself. A process that dies in the middle leaves the version before or the version after, never
anything between.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from saga.errors import StoreUnusable
from saga.store import schema
from saga.store.protocol import Migration
from saga.store.rows import microseconds
from saga.store.transaction import writing

_MIGRATIONS_TABLE = """
CREATE TABLE migrations (
    component TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    PRIMARY KEY (component, number)
) STRICT, WITHOUT ROWID
"""


def lay_foundation(connection: sqlite3.Connection) -> None:
    """Make an empty database a store without tables of its own, ready to be migrated."""
    with writing(connection):
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(_MIGRATIONS_TABLE)


def version(connection: sqlite3.Connection, component: str) -> int:
    """Return the number of the last migration that a component's tables have taken; 0 for none."""
    (number,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM migrations WHERE component = ?", (component,)
    ).fetchone()
    return int(number)


def pending(
    connection: sqlite3.Connection, component: str, migrations: Sequence[Migration]
) -> tuple[Migration, ...]:
    """Return the migrations that a component's tables have still to take.

    Raises:
        StoreUnusable: the tables are newer than the program.
        ValueError: the migrations are not numbered from 1 without gaps.
    """
    numbers = [migration.number for migration in migrations]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"migrations of {component!r} must be numbered from 1, not {numbers}")
    known, present = len(migrations), version(connection, component)
    if present > known:
        raise StoreUnusable(
            f"the tables of {component!r} have version {present}, but this program knows versions "
            f"up to {known}; use the newer program that wrote them, or have it migrate them down"
        )
    return tuple(migrations[present:])


def migrate(
    connection: sqlite3.Connection,
    component: str,
    migrations: Sequence[Migration],
    *,
    now: datetime,
    to: int | None = None,
) -> None:
    """Take a component's tables up or down to a version.

    Args:
        connection: the connection that writes; not in a transaction.
        component: `schema.COMPONENT`, or a projection's name.
        migrations: all migrations of the component, numbered from 1 without gaps.
        now: what is noted as the time of each.
        to: the version to reach; None is the newest.

    Raises:
        StoreUnusable: the tables are newer than the program, or hold what an older one could not
            carry on; nothing was changed.
        ValueError: the numbers have gaps, or `to` is not among them.
    """
    newest = len(migrations)
    target = newest if to is None else to
    if not 0 <= target <= newest:
        raise ValueError(f"{component!r} has versions 0 to {newest}, not {target}")
    pending(connection, component, migrations)
    if version(connection, component) == target:
        return
    with writing(connection):
        while (present := version(connection, component)) < target:
            _step_up(connection, component, migrations[present], now)
        while (present := version(connection, component)) > target:
            _step_down(connection, component, migrations[present - 1])


def _step_up(
    connection: sqlite3.Connection, component: str, migration: Migration, now: datetime
) -> None:
    for statement in migration.up:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO migrations (component, number, name, applied_at) VALUES (?, ?, ?, ?)",
        (component, migration.number, migration.name, microseconds(now)),
    )
    _note_version(connection, component)


def _step_down(connection: sqlite3.Connection, component: str, migration: Migration) -> None:
    if migration.in_the_way is not None:
        _refuse_what_is_in_the_way(connection, component, migration.number, *migration.in_the_way)
    for statement in migration.down:
        connection.execute(statement)
    connection.execute(
        "DELETE FROM migrations WHERE component = ? AND number = ?",
        (component, migration.number),
    )
    _note_version(connection, component)


def _refuse_what_is_in_the_way(
    connection: sqlite3.Connection, component: str, number: int, query: str, words: str
) -> None:
    (count,) = connection.execute(query).fetchone()
    if count:
        raise StoreUnusable(
            f"the tables of {component!r} cannot go back behind version {number}: {count} {words}, "
            "which an older program cannot read, and would set aside; let this program finish "
            "them, or resolve them, and then take the tables back"
        )


def _note_version(connection: sqlite3.Connection, component: str) -> None:
    if component == schema.COMPONENT:
        connection.execute(f"PRAGMA user_version = {version(connection, component)}")
