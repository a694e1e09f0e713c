"""Which batches need a person: found by their own indexes, whatever else the store holds."""

from dataclasses import replace
from pathlib import Path

import pytest

from saga.events import Started
from saga.store import journal
from saga.store.sqlite import SqliteStore
from saga.views import BatchRow
from tests.store.sample_appends import batch_row, first, following, sample_batch


def _row(number: int, **changes: object) -> BatchRow:
    ended = batch_row(sample_batch(number), "COMPLETED", "success")
    return replace(ended, **changes)  # type: ignore[arg-type]


@pytest.mark.requirement("S6")
async def test_stale_batches_and_those_with_open_incidents_need_a_person(path: Path) -> None:
    stale = {"state": "STALE", "status": "stale", "outcome": None}
    rows = [
        _row(1),
        _row(2, incidents=2),
        _row(3, **stale),
        _row(4, **stale, incidents=1),
        _row(5, state="RUNNING", status="running", outcome=None),
    ]
    async with SqliteStore(path) as store:
        await store.acquire()
        for number, row in enumerate(rows, start=1):
            await store.append(first(number))
            await store.append(replace(following(number, 2, Started()), batch_row=row))
        assert await store.alerting() == tuple(row.batch_id for row in rows[1:4])
        plan = await store.read(
            lambda connection: connection.execute(
                f"EXPLAIN QUERY PLAN {journal._ALARMING}"
            ).fetchall()
        )
    looks = [step for *_, step in plan if "batches" in step]
    assert len(looks) == 2
    assert all("USING INDEX batches_" in step for step in looks)
