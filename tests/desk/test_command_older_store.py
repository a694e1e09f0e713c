"""A desk whose store an older version of the program made."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portfolio.schema import MIGRATIONS, PROJECTION
from saga.store import database, mark, schema
from saga.store.migration import migrate, version
from tests.desk.conftest import Invoke
from tests.desk.terminal import Desk

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LOGBOOK = 6
"""The version of the engine's tables that brought the logbook."""


def _made_older(desk: Desk, engine: int, books: int) -> Desk:
    with closing(database.connect_writer(desk.home / "saga.db")) as connection:
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOW, to=engine)
        migrate(connection, PROJECTION, MIGRATIONS, now=NOW, to=books)
        if engine < LOGBOOK:  # so old a program kept no mark; by a mark the logbook is missed
            connection.execute("DELETE FROM migrations WHERE component = ?", (mark.COMPONENT,))
            (desk.home / "saga.db.mark").unlink()
    return desk


def _versions(desk: Desk) -> tuple[int, int]:
    with closing(sqlite3.connect(desk.home / "saga.db")) as connection:
        return version(connection, schema.COMPONENT), version(connection, PROJECTION)


NEWEST = len(schema.MIGRATIONS), len(MIGRATIONS)


@pytest.mark.parametrize("older", [(4, 1), (5, 2), (4, 3), (6, 2)])
def test_carrying_on_migrates_all_tables_of_an_older_store(
    traded: Desk, invoke: Invoke, older: tuple[int, int]
) -> None:
    _made_older(traded, *older)

    done = invoke("run")

    assert done.code == 0, done.err
    assert "its tables are migrated now" in done.err
    assert _versions(traded) == NEWEST
    for words in (["list"], ["check"], ["portfolio"]):
        assert invoke(*words).code == 0


def test_a_new_batch_migrates_an_older_store_as_well(
    traded: Desk, invoke: Invoke, orders: Path
) -> None:
    _made_older(traded, 4, 1)

    done = invoke("run", orders, "-y")

    assert done.code == 0, done.err
    assert _versions(traded) == NEWEST


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["check"],
        ["portfolio"],
        ["reduce", "--reason", "older", "-y"],
        ["cancel", "BAT_20261121_093000_k3v9x", "--reason", "older", "-y"],
    ],
)
def test_what_cannot_read_an_older_store_names_the_command_that_migrates_it(
    traded: Desk, invoke: Invoke, words: list[str]
) -> None:
    _made_older(traded, 4, 1)

    done = invoke(*words)

    assert done.code == 5
    assert "`saga run` without a file does" in done.err + done.out
    assert _versions(traded) == (4, 1)


def test_a_store_of_this_version_is_not_spoken_of(traded: Desk, invoke: Invoke) -> None:
    assert "migrated" not in invoke("run").err
