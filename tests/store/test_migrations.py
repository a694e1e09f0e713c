"""The tables go from version to version, up and down, and a newer version is refused."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import pytest

from saga.errors import StoreHeld, StoreUnusable
from saga.machine import SagaState, StepState
from saga.model import ExecutionMode, Priority
from saga.store import schema
from saga.store.database import connect_writer, create_if_missing
from saga.store.migration import migrate, pending, version
from saga.store.protocol import Append, Migration
from saga.store.rows import BATCH_COLUMNS, TRADE_COLUMNS
from saga.store.sqlite import SqliteStore
from saga.views import BatchStatus, SagaOutcome, TradeStatus
from tests.store.contract import ME, NEIGHBOUR, FakeProcesses, Refuser
from tests.store.sample_appends import NOON, batch_id, first, submitted, whole_life

NEWEST = len(schema.MIGRATIONS)


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    create_if_missing(path)
    with closing(connect_writer(path)) as connection:
        yield connection


def tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    ).fetchall()


def _of_one_directive(number: int) -> Append:
    append = first(number)
    batch = append.batch.model_copy(update={"directives": append.batch.directives[:1]})
    change = replace(append.changes[0], event=submitted(batch))
    return replace(append, changes=(change,))


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}


@pytest.mark.requirement("T2")
def test_each_migration_can_be_taken_back_and_taken_again(connection: sqlite3.Connection) -> None:
    states = []
    for number in range(NEWEST + 1):
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=number)
        states.append(tables(connection))
        assert connection.execute("PRAGMA user_version").fetchone() == (number,)
        assert version(connection, schema.COMPONENT) == number
    for number in reversed(range(NEWEST + 1)):
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=number)
        assert tables(connection) == states[number]
        assert connection.execute("PRAGMA user_version").fetchone() == (number,)
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
    assert tables(connection) == states[NEWEST]


@pytest.mark.requirement("T2")
async def test_a_store_with_sagas_can_be_taken_all_the_way_down_and_up(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for append in whole_life():
            await store.append(append)
    with closing(connect_writer(path)) as connection:
        for number in (NEWEST - 1, NEWEST, 0, NEWEST):
            migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=number)
    # The records went with their table, and that is not passed over in silence.
    with pytest.raises(
        StoreUnusable, match="rolled back: its journal ends at record 0, but record 7"
    ):
        await SqliteStore(path).__aenter__()
    async with SqliteStore(path, accept_rollback=True) as store:
        assert await store.last_sequence() == 0


@pytest.mark.requirement("T2", "S1")
async def test_tables_do_not_go_back_under_a_batch_that_an_older_program_cannot_read(
    path: Path,
) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for append in (*whole_life(1), first(2)):
            await store.append(append)
        await store.append(_of_one_directive(3))  # which is written as it always was
    with closing(connect_writer(path)) as connection:
        before = tables(connection)
        with pytest.raises(
            StoreUnusable, match=r"back behind version 7: 1 unfinished batches .* let this program"
        ):
            migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=6)
        assert tables(connection) == before
        assert version(connection, schema.COMPONENT) == NEWEST
        connection.execute("UPDATE batches SET state = 'ROLLED_BACK' WHERE id = 2")
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=6)
        assert version(connection, schema.COMPONENT) == 6


@pytest.mark.requirement("T1")
def test_the_tables_have_the_columns_that_were_asked_for(connection: sqlite3.Connection) -> None:
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
    asked = {"id", "batch_uid", "status", "total_trades", "processed_trades", "failed_trades"}
    assert columns(connection, "batches") >= asked | {"created_at", "updated_at"}
    assert columns(connection, "batches") >= set(BATCH_COLUMNS)
    assert columns(connection, "trades") >= {"id", "batch_id", "status"} | set(TRADE_COLUMNS)
    keys = connection.execute("PRAGMA foreign_key_list(trades)").fetchall()
    assert [(key[2], key[3], key[4]) for key in keys] == [("batches", "batch_id", "id")]


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT 1 FROM trades WHERE batch_id = 1 ORDER BY position", "(batch_id=?)"),
        *(
            (f"SELECT 1 FROM trades WHERE status = '{status}'", "trades_by_status")
            for status in sorted(set(TradeStatus) - {"pending", "running", "success"})
        ),
        ("SELECT 1 FROM batches WHERE status = 'running'", "batches_by_status"),
        ("SELECT 1 FROM journal WHERE batch_id = 1 ORDER BY number", "(batch_id=?)"),
    ],
)
def test_batch_id_and_status_are_indexed(
    connection: sqlite3.Connection, query: str, index: str
) -> None:
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "SEARCH" in plan
    assert index in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("batches", SagaState),
        ("batches", SagaOutcome),
        ("batches", BatchStatus),
        ("batches", ExecutionMode),
        ("batches", Priority),
        ("trades", TradeStatus),
        ("trades", StepState),
    ],
)
def test_the_tables_know_every_word_of_the_program(
    connection: sqlite3.Connection, table: str, words: type[StrEnum]
) -> None:
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
    ((sql,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    checks = re.findall(r"\bCHECK\s*\(((?:[^()]|\([^)]*\))*)\)", sql)
    listed = [set(re.findall(r"'(\w+)'", check)) for check in checks]
    assert set(words) in listed


@pytest.mark.requirement("T2")
async def test_a_table_that_is_made_anew_keeps_its_rows(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for append in whole_life():
            await store.append(append)
    with closing(connect_writer(path)) as connection:
        rows = connection.execute("SELECT * FROM trades ORDER BY id").fetchall()
        assert len(rows) == 2
        for number in (6, NEWEST):
            migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=number)
            assert connection.execute("SELECT * FROM trades ORDER BY id").fetchall() == rows
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_no_word_that_the_program_does_not_know_is_written(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(whole_life()[0])
    with closing(connect_writer(path)) as connection:
        for table, column in (
            *(("trades", each) for each in ("status", "state", "rollback", "direction")),
            *(("batches", each) for each in ("status", "state", "outcome", "mode", "priority")),
        ):
            word = 9 if column in ("rollback", "direction") else "'invented'"
            with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
                connection.execute(f"UPDATE {table} SET {column} = {word}")


@pytest.mark.requirement("S8")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET data = '{}' WHERE sequence = 1",
        "DELETE FROM journal WHERE sequence = 1",
        "DELETE FROM journal",
    ],
)
async def test_the_journal_takes_no_change_and_no_removal(path: Path, statement: str) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(first())
    with (
        closing(connect_writer(path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)


async def test_a_newer_store_is_refused_and_left_alone(path: Path) -> None:
    async with SqliteStore(path):
        pass
    with closing(connect_writer(path)) as connection:
        newer = Migration(NEWEST + 1, "from the future", ("CREATE TABLE future (a)",), ())
        migrate(connection, schema.COMPONENT, (*schema.MIGRATIONS, newer), now=NOON)
        before = tables(connection)
    with pytest.raises(StoreUnusable, match=f"version {NEWEST + 1}, but this program knows") as it:
        async with SqliteStore(path):
            pass
    assert str(path) in str(it.value)
    with closing(connect_writer(path)) as connection:
        assert tables(connection) == before


async def test_a_projection_brings_its_own_tables_and_version(path: Path) -> None:
    projection = Refuser()
    async with SqliteStore(path, projections=[projection]) as store:
        await store.acquire()
        await store.append(first())
        notes = await store.read(
            lambda connection: connection.execute("SELECT * FROM refuser_notes").fetchall()
        )
    assert notes == [(batch_id(1), 1)]
    with closing(connect_writer(path)) as connection:
        assert version(connection, "refuser") == 1
        migrate(connection, "refuser", projection.migrations, now=NOON, to=0)
        assert columns(connection, "refuser_notes") == set()
        assert version(connection, schema.COMPONENT) == NEWEST


async def test_tables_that_are_older_wait_while_those_of_a_projection_are_newer(path: Path) -> None:
    projection = Refuser()
    async with SqliteStore(path, projections=[projection]):
        pass
    with closing(connect_writer(path)) as connection:
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=3)
        newer = Migration(2, "from the future", (), ())
        migrate(connection, "refuser", (*projection.migrations, newer), now=NOON)
    with pytest.raises(StoreUnusable, match="'refuser' have version 2, but this program knows"):
        await SqliteStore(path, projections=[projection]).__aenter__()
    with closing(connect_writer(path)) as connection:
        assert version(connection, schema.COMPONENT) == 3


@pytest.mark.requirement("S8")
def test_a_migration_that_fails_changes_nothing(connection: sqlite3.Connection) -> None:
    broken = Migration(1, "half", ("CREATE TABLE half (a)", "CREATE TABLE half (a)"), ())
    before = tables(connection)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "broken", (broken,), now=NOON)
    assert tables(connection) == before
    assert not connection.in_transaction
    assert len(pending(connection, "broken", (broken,))) == 1


@pytest.mark.requirement("S8")
def test_one_that_fails_leaves_nothing_of_those_before_it_either(
    connection: sqlite3.Connection,
) -> None:
    whole = Migration(1, "whole", ("CREATE TABLE whole (a)",), ())
    broken = Migration(2, "half", ("CREATE TABLE half (a)", "CREATE TABLE half (a)"), ())
    before = tables(connection)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "broken", (whole, broken), now=NOON)
    assert tables(connection) == before
    assert not connection.in_transaction
    assert version(connection, "broken") == 0


@pytest.mark.requirement("S8")
def test_all_that_is_pending_is_taken_in_one_commit(connection: sqlite3.Connection) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
    migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON)
    assert statements.count("COMMIT") == 1


def test_wrong_numbers_are_refused(connection: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        migrate(connection, "odd", (Migration(2, "second", (), ()),), now=NOON)
    with pytest.raises(ValueError, match="versions 0 to"):
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=99)


async def test_a_store_is_not_migrated_under_a_living_owner(path: Path) -> None:
    async with SqliteStore(path, processes=FakeProcesses(NEIGHBOUR)) as store:
        await store.acquire()
    with closing(connect_writer(path)) as connection:
        migrate(connection, schema.COMPONENT, schema.MIGRATIONS, now=NOON, to=3)
    with pytest.raises(StoreHeld, match="process 200 on here"):
        async with SqliteStore(path, processes=FakeProcesses(ME)):
            pass
    with closing(connect_writer(path)) as connection:
        assert version(connection, schema.COMPONENT) == 3
    async with SqliteStore(path, processes=FakeProcesses(ME, [NEIGHBOUR])) as store:
        await store.acquire()
