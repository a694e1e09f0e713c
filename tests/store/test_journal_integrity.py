"""What was altered, removed or cut off in a journal is seen, and harms no other saga."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from saga.errors import Quarantined, StoreError, StoreUnusable
from saga.store.chain import beginning, digest_of, verified
from saga.store.journal import read_journal
from saga.store.rows import BATCH_COLUMNS, TRADE_COLUMNS, batch_row, trade_row
from saga.store.sqlite import SqliteStore
from saga.store.verification import Problem, verify
from tests.store import sample_appends
from tests.store.sample_appends import batch_id, whole_life

Tampering = tuple[str, str, str]

TAMPERINGS: list[Tampering] = [
    (
        "UPDATE journal SET data = replace(data, '\"step\":0', '\"step\":1') WHERE sequence = 3",
        "record 3 (sequence 3) was altered",
        "altered",
    ),
    ("UPDATE journal SET at = at + 1 WHERE sequence = 2", "record 2", "altered"),
    ("UPDATE journal SET kind = 'withdrawn' WHERE sequence = 2", "record 2", "altered"),
    ("UPDATE journal SET digest = zeroblob(32) WHERE sequence = 4", "record 4", "altered"),
    ("DELETE FROM journal WHERE sequence = 1", "record 1 is missing", "missing"),
    ("DELETE FROM journal WHERE sequence = 4", "record 4 is missing", "missing"),
    ("DELETE FROM journal WHERE sequence = 7", "it ends at record 6, not at 7", "tail"),
    ("DELETE FROM journal WHERE batch_id = 1", "it ends at record 0, not at 7", "all"),
    (
        "UPDATE batches SET head_digest = zeroblob(32) WHERE id = 1",
        "the batch's row does not fit its record 7",
        "head",
    ),
    (
        "UPDATE batches SET head_number = 6 WHERE id = 1",
        "the batch's row does not fit its record 7",
        "head",
    ),
    (
        "UPDATE journal SET data = CAST(X'FF' AS TEXT) WHERE sequence = 2",
        "record 2 (sequence 2) was altered",
        "no text",
    ),
]


async def two_sagas(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.acquire()
        for number in (1, 2):
            for append in whole_life(number):
                await store.append(append)


def tamper(path: Path, *statements: str) -> None:
    """Change a file as only somebody who goes around the program can."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER journal_is_never_changed")
        connection.execute("DROP TRIGGER journal_is_never_shortened")
        for statement in statements:
            connection.execute(statement)


@pytest.mark.requirement("S8", "S18")
@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering[0][:60])
async def test_a_journal_that_was_tampered_with_is_not_trusted(
    path: Path, tampering: Tampering
) -> None:
    statement, finding, _ = tampering
    await two_sagas(path)
    tamper(path, statement)
    async with SqliteStore(path) as store:
        with pytest.raises(Quarantined) as caught:
            await store.journal(batch_id(1))
        assert batch_id(1) in str(caught.value)
        assert finding in str(caught.value)
        assert len(await store.journal(batch_id(2))) == 7
        error, sound = await store.journals([batch_id(1), batch_id(2)])
        assert isinstance(error, Quarantined)
        assert str(error) == str(caught.value)
        assert sound == await store.journal(batch_id(2))


@pytest.mark.requirement("S8", "S18")
@pytest.mark.parametrize("instant", [2**63 - 1, -(2**63)])
async def test_a_record_of_no_instant_that_there_is_is_said_to_be_unreadable(
    path: Path, instant: int
) -> None:
    await two_sagas(path)
    tamper(path, f"UPDATE journal SET at = {instant} WHERE sequence = 3")
    async with SqliteStore(path) as store:
        with pytest.raises(Quarantined, match=r"record 3 .* is no instant of the years 1 to 9999"):
            async for _ in store.records():
                pass
        assert len([past async for past in store.intents(since=sample_appends.NOON)]) >= 3


class _Failing:
    """A connection whose reading of the journal fails."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self._connection = connection
        self._code = code

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if "FROM journal" not in sql:
            return self._connection.execute(sql, *values)
        error = sqlite3.OperationalError("as SQLite says it")
        error.sqlite_errorcode = self._code
        raise error


@pytest.mark.requirement("S18")
@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (sqlite3.SQLITE_IOERR_READ, StoreError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreError),
        (sqlite3.SQLITE_LOCKED, StoreError),
        (sqlite3.SQLITE_NOMEM, StoreError),
        (sqlite3.SQLITE_INTERRUPT, StoreError),
        (sqlite3.SQLITE_CANTOPEN, StoreError),
        (sqlite3.SQLITE_FULL, StoreError),
        (sqlite3.SQLITE_CORRUPT, Quarantined),
        (sqlite3.SQLITE_NOTADB, Quarantined),
    ],
)
async def test_a_failure_that_may_pass_says_nothing_against_a_journal(
    path: Path, code: int, raised: type[Exception]
) -> None:
    def reading(connection: sqlite3.Connection) -> object:
        return read_journal(cast("sqlite3.Connection", _Failing(connection, code)), batch_id(1))

    await two_sagas(path)
    async with SqliteStore(path) as store:
        with pytest.raises(raised, match="as SQLite says it"):
            await store.read(reading)


@pytest.mark.requirement("S8", "S18")
@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering[0][:60])
async def test_verification_finds_it_and_names_the_saga(path: Path, tampering: Tampering) -> None:
    statement, finding, _ = tampering
    await two_sagas(path)
    tamper(path, statement)
    problems = verify(path)
    assert [p.batch_id for p in problems if p.batch_id is not None] == [batch_id(1)]
    assert any(finding in problem.sentence for problem in problems)


async def test_so_many_journals_are_read_at_once_as_fill_a_page_and_one_in_any_case(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_sagas(path)
    both = [batch_id(1), batch_id(2)]
    async with SqliteStore(path) as store:
        for records, read in ((1, 1), (7, 1), (8, 2), (100, 2)):
            monkeypatch.setattr("saga.store.journal.RECORDS_PER_PAGE", records)
            alone = [await store.journal(each) for each in both[:read]]
            assert await store.journals(both) == alone


@pytest.mark.requirement("S18")
async def test_a_bug_in_reading_one_journal_is_told_in_its_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(uid: str, *arguments: Any) -> Any:
        if uid == batch_id(1):
            raise ArithmeticError("a directive of a plug-in")
        return verified(uid, *arguments)

    await two_sagas(path)
    monkeypatch.setattr("saga.store.journal.verified", read)
    async with SqliteStore(path) as store:
        error, sound = await store.journals([batch_id(1), batch_id(2)])
        assert isinstance(error, ArithmeticError)
        assert sound == await store.journal(batch_id(2))


@pytest.mark.requirement("S8")
async def test_a_sound_store_has_no_problem_even_while_it_is_open(path: Path) -> None:
    await two_sagas(path)
    assert verify(path) == []
    async with SqliteStore(path) as store:
        await store.acquire()
        assert verify(path) == []


@pytest.mark.requirement("S8")
async def test_a_gap_in_the_global_sequence_is_found(path: Path) -> None:
    await two_sagas(path)
    tamper(path, "DELETE FROM journal WHERE sequence = 3")
    sentence = "the global sequence goes from 2 to 4: records are missing"
    assert Problem(None, sentence) in verify(path)


async def test_missing_views_and_rows_without_a_batch_are_found(path: Path) -> None:
    await two_sagas(path)
    tamper(path, "DELETE FROM trades WHERE id = 1", "DELETE FROM batches WHERE id = 2")
    sentences = [problem.sentence for problem in verify(path)]
    assert f"batch {batch_id(1)} has 2 trades, but 1 rows of them" in sentences
    assert any("points to a row of batches that is missing" in each for each in sentences)


def test_verification_of_a_missing_store_is_refused(path: Path) -> None:
    with pytest.raises(StoreUnusable, match="does not exist"):
        verify(path)


def test_verification_of_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("not a database " * 100)
    with pytest.raises(StoreUnusable, match="cannot be read as a SQLite database"):
        verify(path)


def with_new_digests(path: Path, alter: Callable[[str], str]) -> None:
    """Alter the second record of the first saga, and mend the chain: only decoding can tell."""
    tamper(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = connection.execute(
            "SELECT sequence, number, at, kind, data FROM journal WHERE batch_id = 1"
        ).fetchall()
        digest = beginning(batch_id(1)).digest
        for sequence, number, at, kind, data in rows:
            kind = alter(kind) if number == 2 else kind
            digest = digest_of(digest, number, at, kind, data)
            connection.execute(
                "UPDATE journal SET kind = ?, digest = ? WHERE sequence = ?",
                (kind, digest, sequence),
            )
        connection.execute("UPDATE batches SET head_digest = ? WHERE id = 1", (digest,))


@pytest.mark.scenario("G11")
@pytest.mark.requirement("S18")
async def test_a_record_of_an_unknown_kind_stops_that_saga_alone(path: Path) -> None:
    await two_sagas(path)
    with_new_digests(path, lambda kind: "invented")
    async with SqliteStore(path) as store:
        with pytest.raises(Quarantined, match=r"record 2 of batch.*'invented' is unknown"):
            await store.journal(batch_id(1))
        assert len(await store.journal(batch_id(2))) == 7
        records = store.records()
        assert (await anext(records)).sequence == 1
        with pytest.raises(Quarantined):
            await anext(records)
        behind = [record.sequence async for record in store.records(after=2)]
        assert behind == list(range(3, 15))
    assert [problem.batch_id for problem in verify(path)] == [batch_id(1)]


@pytest.mark.requirement("B11", "T1")
async def test_views_come_back_as_they_were_written(path: Path) -> None:
    await two_sagas(path)
    last = whole_life(1)[-1]
    assert await stored_views(path, 1) == (last.batch_row, list(last.trade_rows))


async def stored_views(path: Path, number: int) -> tuple[object, list[object]]:
    with closing(sqlite3.connect(path)) as connection:
        batch = connection.execute(
            f"SELECT {', '.join(BATCH_COLUMNS)} FROM batches WHERE id = ?", (number,)
        ).fetchone()
        trades = connection.execute(
            f"SELECT {', '.join(TRADE_COLUMNS)} FROM trades WHERE batch_id = ? ORDER BY position",
            (number,),
        ).fetchall()
    return batch_row(batch), [trade_row(trade) for trade in trades]


async def test_a_trade_row_that_is_lost_is_made_anew_with_the_next_record(path: Path) -> None:
    appends = whole_life()
    async with SqliteStore(path) as store:
        await store.acquire()
        for append in appends[:-1]:
            await store.append(append)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM trades WHERE position = 1")
    async with SqliteStore(path) as store:
        await store.acquire()
        await store.append(appends[-1])
    assert await stored_views(path, 1) == (appends[-1].batch_row, list(appends[-1].trade_rows))


async def test_a_view_that_breaks_a_rule_of_the_tables_is_refused_alone(path: Path) -> None:
    append = sample_appends.first(1)
    wrong = replace(append, batch_row=replace(append.batch_row, failed_trades=3))
    async with SqliteStore(path) as store:
        await store.acquire()
        with pytest.raises(StoreError, match=r"the tables refuse .* CHECK constraint failed"):
            await store.append(wrong)
        assert await store.append(append) == 1


@pytest.mark.requirement("S1")
async def test_a_saga_that_is_missing_whole_refuses_the_store(path: Path) -> None:
    """Found with `cp` over a live store: nothing was left of some sagas, and the start was well."""
    await two_sagas(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TRIGGER journal_is_never_shortened; DELETE FROM journal WHERE batch_id = 1;"
            "DELETE FROM trades WHERE batch_id = 1; DELETE FROM batches WHERE id = 1;"
        )
    with pytest.raises(StoreUnusable, match="whole sagas are missing"):
        await SqliteStore(path).__aenter__()
