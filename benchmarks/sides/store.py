"""The checkpoint store alone: records that were made beforehand, appended by many at once."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.sides.engine import PRICE, Instant, batch_of
from saga import SqliteStore
from saga.appending import append_of
from saga.events import Completed, Event, Intended, Reported, Started, Submitted, encode
from saga.fold import apply, begin
from saga.ids import Purpose
from saga.ledger import Saga
from saga.outcome import Fill
from saga.policy import FailurePolicy, OnFailure
from saga.store.protocol import Append

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


def records(folder: Path, *, waiting: int, legs: int) -> dict[str, Any]:
    """Append the records of so many sagas one by one, so that as many always wait."""
    return asyncio.run(_records(folder, waiting, legs))


async def _records(folder: Path, waiting: int, legs: int) -> dict[str, Any]:
    lives = [list(_life(legs)) for _ in range(waiting)]
    async with SqliteStore(folder / "saga.db") as store:
        await store.acquire()

        async def write(appends: list[Append]) -> None:
            for append in appends:
                await store.append(append)

        begun = time.perf_counter()
        await asyncio.gather(*(write(life) for life in lives))
        seconds = time.perf_counter() - begun
    return {"rate": sum(len(life) for life in lives) / seconds}


def bytes_a_record(legs: int) -> int:
    """Return how many bytes of JSON a record of such a saga has on average."""
    sizes = [len(encode(event)) for event in events_of_life(legs)]
    return sum(sizes) // len(sizes)


def events_of_life(legs: int) -> Iterator[Event]:
    """Return the events of a saga of so many legs, each of which is filled at once."""
    return (append.changes[0].event for append in _life(legs))


def _life(legs: int) -> Iterator[Append]:
    batch = batch_of(legs)
    kinds = {directive.kind: Instant.capabilities for directive in batch.directives}
    policy = FailurePolicy(on_failure=OnFailure.UNDO)
    submitted = Submitted(batch, policy, kinds, None, program="benchmark", by="benchmark")
    saga = begin(submitted, START)
    yield append_of(saga, [submitted], START)
    for event in _events(saga, legs):
        at = START + timedelta(milliseconds=saga.number)
        apply(saga, saga.number + 1, at, event)
        yield append_of(saga, [event], at)


def _events(saga: Saga, legs: int) -> Iterator[Event]:
    yield Started()
    for leg in range(legs):
        amount = saga.steps[leg].directive.amount
        yield Intended(leg, Purpose.FORWARD, 1, amount)
        fill = Fill(saga.key(leg, Purpose.FORWARD, 1), amount, PRICE)
        yield Reported(leg, Purpose.FORWARD, 1, final=True, fills=(fill,))
    yield Completed(None)
