"""How fast DBOS answers, from a store that was filled beforehand, what both are asked of the past.

The store holds one workflow that it ran itself, so many times, under other ids, instants and ends.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from dbos import DBOS, WorkflowHandleAsync

from benchmarks.sides.history import START, asked, month_in_the_middle
from benchmarks.sides.peer import at_once, batch_of, configured
from saga.query import PAGE_ROWS

_TABLES: Final = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")
_ENDS: Final = ("SUCCESS", "ERROR", "CANCELLED")
_WEIGHTS: Final = (80, 15, 5)

Question = Callable[[], Awaitable[object]]


def answers(folder: Path, *, batches: int, trades: int, times: int) -> dict[str, Any]:
    """Ask each question so many times of a store of so many workflows with so many steps each."""
    return asyncio.run(_answers(folder, batches, trades, times))


async def _answers(folder: Path, batches: int, trades: int, times: int) -> dict[str, Any]:
    place = configured(folder)
    work = batch_of(at_once)
    DBOS.launch()
    handle: WorkflowHandleAsync[None] = await DBOS.start_workflow_async(work, trades)
    await handle.get_result()
    with closing(sqlite3.connect(place)) as connection:
        _fill(connection, handle.workflow_id, batches)
    told = await asked(_questions(batches), times)
    DBOS.destroy()
    return told


def _fill(connection: sqlite3.Connection, pattern: str, batches: int) -> None:
    with connection:
        for table in _TABLES:
            found = connection.execute(
                f"SELECT * FROM {table} WHERE workflow_uuid = ?",  # noqa: S608 - named above
                (pattern,),
            )
            columns = [column for column, *_ in found.description]
            places = ", ".join(f":{column}" for column in columns)
            for row in found.fetchall():
                connection.executemany(
                    f"INSERT INTO {table} VALUES ({places})",  # noqa: S608 - as above
                    _copies(dict(zip(columns, row, strict=True)), batches),
                )


def _copies(row: Mapping[str, Any], batches: int) -> Iterator[dict[str, Any]]:
    random = Random(1)  # noqa: S311 - the same store each time
    for number in range(1, batches + 1):
        instant = int((START + timedelta(hours=number)).timestamp() * 1_000)
        at = {column: instant for column in row if column in ("created_at", "updated_at")}
        status = {
            column: random.choices(_ENDS, _WEIGHTS)[0] for column in row if column == "status"
        }
        yield {**row, "workflow_uuid": _id(number), **at, **status}


def _id(number: int) -> str:
    return f"workflow-{number:08d}"


def _questions(count: int) -> dict[str, Question]:
    random = Random(3)  # noqa: S311 - the same questions each time
    begin, end = (instant.isoformat() for instant in month_in_the_middle(count))
    newest = partial(DBOS.list_workflows_async, limit=PAGE_ROWS, sort_desc=True)

    def one() -> str:
        return _id(random.randrange(1, count + 1))

    return {
        "all": newest,
        "failed": lambda: newest(status="ERROR"),
        "a month of creation": lambda: newest(start_time=begin, end_time=end),
        "one batch": lambda: DBOS.list_workflows_async(workflow_ids=[one()]),
        "its trades": lambda: DBOS.list_workflow_steps_async(one()),
    }
