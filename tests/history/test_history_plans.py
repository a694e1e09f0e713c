"""No question reads a table: SQLite's plan of every statement says so, and so does the work done.

Every statement that a query runs is recorded as it is run and explained. A plan is good if SQLite
SEARCHes each table: goes to a place in an index and reads on only while the entries hold. A SCAN of
a table or of an index is a failure, even one that a LIMIT would cut short.

A walk along an index may meet rows that are left out by a filter it is not led by. Plans do not
show how many, so the bounds on that are tested by counting what is examined.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import chain, combinations, islice
from pathlib import Path
from typing import Any, Final

import pytest

from saga.machine import SAGA_AT_REST
from saga.query import BatchQuery, BatchSort, Key
from saga.store import journal, sqlite_history
from saga.store.rows import microseconds
from saga.views import BatchRow
from tests.history.batch_samples import NOON, a_batch, a_trade, batch_id, drawn, write_store

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "status": {"statuses": ("success", "failed")},
    "state": {"states": ("COMPLETED",)},
    "mode": {"modes": ("ATOMIC",)},
    "priority": {"priorities": ("NORMAL",)},
    "key": {"exclusion_key": "growth"},
    "parent": {"parent_id": batch_id(1)},
    "symbol": {"symbol": "AAPL"},
    "directive": {"directive_id": "EXE_0"},
    "created": {"created_from": NOON, "created_to": NOON + timedelta(days=1)},
    "completed": {"completed_from": NOON, "completed_to": NOON + timedelta(days=1)},
    "reason": {"reason_contains": "refused"},
}
TABLES: Final = ("batches", "trades", "journal", "quarantine")


class Recording(sqlite3.Connection):
    """A connection that keeps each different statement, with the values of its first run."""

    ran: dict[str, Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ran = {}

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        self.ran.setdefault(sql, values)
        return super().execute(sql, values)

    def plan(self, sql: str) -> list[str]:
        rows = super().execute(f"EXPLAIN QUERY PLAN {sql}", self.ran[sql])
        return [row[3] for row in rows]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    # One batch that every filter holds for: each combination goes all its way, and quickly.
    row = a_batch(
        2,
        exclusion_key="growth",
        parent_id=batch_id(1),
        completed_at=NOON + timedelta(minutes=2),
        reason="leg 2 was refused",
    )
    path = write_store(tmp_path_factory.mktemp("plans") / "saga.db", [(row, (a_trade(),))])
    connection = sqlite3.connect(path, isolation_level=None, factory=Recording)
    yield connection
    connection.close()


def every_filter_combination() -> Iterator[dict[str, Any]]:
    for count in range(len(FILTERS) + 1):
        for names in combinations(FILTERS, count):
            yield {field: value for name in names for field, value in FILTERS[name].items()}


def key_before(sort: BatchSort, descending: bool) -> Key:
    """Return a key that differs from the one batch's in the id alone, and comes before it."""
    noon = microseconds(NOON + timedelta(minutes=2))
    value = {BatchSort.STATUS: (2, noon), BatchSort.SIZE: (1,)}.get(sort, (noon,))
    return (*value, 9 if descending else 0)


def reads_a_table(step: str) -> bool:
    return step.startswith("SCAN") and any(table in step.split() for table in TABLES)


@pytest.mark.requirement("B7", "T7", "T8")
@pytest.mark.parametrize("gathered_at_most", [sqlite_history.GATHERED_AT_MOST, -1])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", list(BatchSort))
def test_no_combination_of_filters_and_order_scans(
    connection: Recording,
    sort: BatchSort,
    descending: bool,
    gathered_at_most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite_history, "GATHERED_AT_MOST", gathered_at_most)
    connection.ran.clear()
    for filters in every_filter_combination():
        query = BatchQuery(**filters, sort=sort, descending=descending)
        followed = replace(query, cursor=query.cursor_after(key_before(sort, descending)))
        for each in (query, followed):
            found = sqlite_history.find_batches(connection, each)
            assert [row.batch_id for row in found.rows] == [batch_id(2)], each
    connection.ran = {sql: values for sql, values in connection.ran.items() if "SELECT" in sql}
    assert len(connection.ran) > 2**4
    for sql in connection.ran:
        plan = connection.plan(sql)
        assert any(step.startswith("SEARCH") for step in plan), (sql, plan)
        assert not [step for step in plan if reads_a_table(step)], (sql, plan)
        # What is ordered by the statement itself comes in the index's order, not sorted first.
        assert not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)


@pytest.mark.requirement("T8")
def test_no_count_scans_a_table(connection: Recording) -> None:
    connection.ran.clear()
    for filters in every_filter_combination():
        assert sqlite_history.count_batches(connection, BatchQuery(**filters)) == 1, filters
    for sql in [sql for sql in connection.ran if "SELECT" in sql]:
        plan = connection.plan(sql)
        assert not [step for step in plan if reads_a_table(step)], (sql, plan)


@pytest.mark.requirement("B7", "T7")
@pytest.mark.parametrize(
    "ask",
    [
        sqlite_history.active_batches,
        lambda connection: sqlite_history.find_batch(connection, batch_id(2)),
        lambda connection: sqlite_history.find_trades(connection, batch_id(2), -1, 10),
        lambda connection: sqlite_history.trades_with_results(connection, batch_id(2)),
        lambda connection: sqlite_history.trades_with_errors(connection, batch_id(2)),
        lambda connection: journal.read_page(connection, 0, batch_id(2)),
        lambda connection: journal.read_page(connection, 0, None),
    ],
    ids=["active", "one", "trades", "results", "errors", "records", "all records"],
)
def test_no_other_question_scans_a_table(
    connection: Recording, ask: Callable[[Recording], object]
) -> None:
    connection.ran.clear()
    ask(connection)
    for sql in [sql for sql in connection.ran if "SELECT" in sql]:
        plan = connection.plan(sql)
        assert not [step for step in plan if reads_a_table(step)], (sql, plan)


def test_the_eye_for_scans_sees_one(connection: Recording) -> None:
    connection.execute("SELECT * FROM batches WHERE reason = 'x'").fetchall()
    connection.execute("SELECT count(*) FROM trades").fetchall()
    for table, sql in (
        ("batches", "SELECT * FROM batches WHERE reason = 'x'"),
        ("trades", "SELECT count(*) FROM trades"),
    ):
        assert [step for step in connection.plan(sql) if reads_a_table(step)], table


class Looked:
    """Counts how many rows the walks of a page yield."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = 0
        walk = sqlite_history._walk

        def counted(*arguments: Any) -> Iterator[Any]:
            for entry in walk(*arguments):
                self.rows += 1
                yield entry

        monkeypatch.setattr(sqlite_history, "_walk", counted)


def pages_of(connection: sqlite3.Connection, query: BatchQuery) -> Iterator[sqlite_history.Found]:
    """Yield the pages of a query, each by the cursor of the one before."""
    while True:
        found = sqlite_history.find_batches(connection, query)
        yield found
        if found.more_after is None:
            return
        query = replace(query, cursor=query.cursor_after(found.more_after))


# What the walks of each order are led by. Two filters at most: their kinds, not their number, tell.
LEADING: Final = ("status", "state", "mode", "priority", "key")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("many") / "saga.db", drawn(300))


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("sort", list(BatchSort))
@pytest.mark.parametrize(
    "names", [names for count in (0, 1, 2) for names in combinations(LEADING, count)]
)
def test_a_page_by_what_leads_the_indexes_looks_at_no_row_that_it_does_not_show(
    many: Path, monkeypatch: pytest.MonkeyPatch, sort: BatchSort, names: tuple[str, ...]
) -> None:
    path = many
    filters = {field: value for name in names for field, value in FILTERS[name].items()}
    connection = sqlite3.connect(path, isolation_level=None)
    looked = Looked(monkeypatch)
    with sqlite3.connect(path) as groups:
        walks = len(sqlite_history._groups(groups, BatchQuery(**filters)))
    groups.close()
    found = sqlite_history.find_batches(connection, BatchQuery(**filters, sort=sort, limit=5))
    connection.close()
    # Each walk has one row at hand, and the row behind the page says whether there is another.
    assert 0 < len(found.rows) <= 5
    assert looked.rows <= len(found.rows) + walks + 1


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", list(BatchSort))
def test_a_filter_that_leaves_out_nearly_all_ends_the_page_at_its_bound_and_the_cursor_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: BatchSort, descending: bool
) -> None:
    monkeypatch.setattr(sqlite_history, "EXAMINED_AT_MOST", 20)
    monkeypatch.setattr(sqlite_history, "MILESTONE_EVERY", 1)
    made = [(row, trades) for row, trades in drawn(300) if row.reason is None]
    wanted = replace(made[50][0], reason="the one that is looked for")
    made[50] = (wanted, made[50][1])
    path = write_store(tmp_path / "saga.db", made)
    connection = sqlite3.connect(path, isolation_level=None)
    query = BatchQuery(reason_contains="THE ONE", sort=sort, descending=descending)
    looked = Looked(monkeypatch)
    with sqlite3.connect(path) as groups:
        walks = len(sqlite_history._groups(groups, query))
    groups.close()
    rows: list[BatchRow] = []
    pages = before = 0
    for found in islice(pages_of(connection, query), len(made)):
        assert looked.rows - before <= 20 + walks + 1
        before = looked.rows
        rows += found.rows
        pages += 1
    connection.close()
    assert rows == [wanted]
    # What is in flight is gathered, not walked.
    walked = [row for row, _ in made if row.state in SAGA_AT_REST or row is wanted]
    assert len(walked) > 60
    assert pages == -(-len(walked) // 20)


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", list(BatchSort))
def test_what_a_filter_leaves_out_is_passed_over_and_milestones_bound_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: BatchSort, descending: bool
) -> None:
    monkeypatch.setattr(sqlite_history, "GATHERED_AT_MOST", -1)
    monkeypatch.setattr(sqlite_history, "EXAMINED_AT_MOST", 1_000)
    later = NOON + timedelta(days=1)
    batches = [
        (a_batch(n, completed_at=NOON if n in (7, 2_500, 4_990) else later), ())
        for n in range(1, 5_001)
    ]
    path = write_store(tmp_path / "saga.db", batches)
    connection = sqlite3.connect(path, isolation_level=None)
    looked = Looked(monkeypatch)
    query = BatchQuery(completed_to=later, sort=sort, descending=descending)
    pages = [[row.batch_id for row in found.rows] for found in pages_of(connection, query)]
    connection.close()
    seen = list(chain.from_iterable(pages))
    assert seen == [batch_id(n) for n in sorted((7, 2_500, 4_990), reverse=descending)]
    assert looked.rows < 2 * 5_000 / sqlite_history.MILESTONE_EVERY
    assert len(pages) in {5, 6}


def test_regular_ids_meet_milestones_as_often_as_any() -> None:
    every = sqlite_history.MILESTONE_EVERY
    with closing(sqlite3.connect(":memory:")) as connection:
        for distance in (*range(1, 130), 250, 1_000, 1_024, 10_000):
            numbers = ((first + distance * n,) for first in (1, 70_001) for n in range(20 * every))
            connection.execute("CREATE TABLE taken (id INTEGER PRIMARY KEY)")
            connection.executemany("INSERT OR IGNORE INTO taken VALUES (?)", numbers)
            (ids, milestones) = connection.execute(
                f"SELECT count(*), sum({sqlite_history._milestone()}) FROM taken"
            ).fetchone()
            connection.execute("DROP TABLE taken")
            assert ids / every / 2 <= milestones <= ids / every * 2, distance


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("sort", list(BatchSort))
def test_spans_of_time_are_judged_in_the_index_alone(
    connection: Recording, monkeypatch: pytest.MonkeyPatch, sort: BatchSort, keyed: bool
) -> None:
    monkeypatch.setattr(sqlite_history, "GATHERED_AT_MOST", -1)
    connection.ran.clear()
    names = ("created", "completed", "key") if keyed else ("created", "completed")
    filters = {field: value for name in names for field, value in FILTERS[name].items()}
    sqlite_history.find_batches(connection, BatchQuery(**filters, sort=sort))
    walks = [sql for sql in connection.ran if "sorted_by" in sql and " >= ?" in sql]
    assert walks
    for sql in walks:
        (step,) = connection.plan(sql)
        assert "USING COVERING INDEX" in step, (sql, step)


class Steps:
    """Counts the steps of SQLite's machine: what a statement costs, whatever the clock says."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.taken = 0
        connection.set_progress_handler(self._count, 1)

    def _count(self) -> int:
        self.taken += 1
        return 0


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", list(BatchSort))
@pytest.mark.parametrize(
    "names", [names for count in (0, 1) for names in combinations((*LEADING, "symbol"), count)]
)
def test_a_page_of_a_store_ten_times_as_large_costs_the_same(
    tmp_path: Path, names: tuple[str, ...], sort: BatchSort, descending: bool
) -> None:
    filters = {field: value for name in names for field, value in FILTERS[name].items()}
    query = BatchQuery(**filters, sort=sort, descending=descending, limit=10)
    costs = []
    for size in (100, 1_000):
        batches = [
            (a_batch(n, exclusion_key="growth"), (a_trade(),) if n <= 20 else ())
            for n in range(1, size + 1)
        ]
        path = write_store(tmp_path / f"{size}.db", batches)
        connection = sqlite3.connect(path, isolation_level=None)
        steps = Steps(connection)
        assert len(sqlite_history.find_batches(connection, query).rows) == 10
        connection.close()
        costs.append(steps.taken)
    assert costs[1] <= costs[0] + 20, costs


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", list(BatchSort))
def test_the_last_page_costs_no_more_than_the_first_though_all_rows_are_alike(
    tmp_path: Path, sort: BatchSort, descending: bool
) -> None:
    alike = [(a_batch(n, created_at=NOON, updated_at=NOON), ()) for n in range(1, 2_001)]
    path = write_store(tmp_path / "saga.db", alike)
    connection = sqlite3.connect(path, isolation_level=None)
    steps = Steps(connection)
    costs, seen = [], []
    for found in pages_of(connection, BatchQuery(sort=sort, descending=descending, limit=200)):
        costs.append(steps.taken)
        steps.taken = 0
        seen += [row.batch_id for row in found.rows]
    connection.close()
    assert seen == [batch_id(n) for n in sorted(range(1, 2_001), reverse=descending)]
    assert len(costs) == 10
    # The first page has no row to go on from, and one statement less.
    assert max(costs[1:]) < costs[0] + 200, costs
