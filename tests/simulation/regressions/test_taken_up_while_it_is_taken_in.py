"""Seed 4395: a batch that was cancelled in the instant of its acceptance had two drivers.

Its first record was durable, and the client's `submit` about to begin a runner. An operator, who
had been waiting at a frozen process, cancelled it first: the batch was found in the store, nobody
drove it, so a runner was begun for it. Then `submit` began another one, and both wrote the same
journal; in the end the engine fell over its own books (S18). Now whoever takes a saga in, or up, is
alone with it.
"""

import asyncio
from pathlib import Path

import pytest

from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy

TURNS = 200
"""More than enough for a cancel to come as far as it can."""


class SlowToReturn(SqliteStore):
    """The first record is durable, and much happens before its writer hears of it."""

    async def append(self, append: Append) -> int:
        sequence = await super().append(append)
        if append.changes[0].number == 1:
            for _ in range(TURNS):
                await asyncio.sleep(0)
        return sequence


@pytest.mark.requirement("S18", "S8")
@pytest.mark.parametrize("also_submits", [False, True])
async def test_a_batch_that_is_cancelled_in_the_instant_of_its_acceptance_has_one_driver(
    tmp_path: Path, also_submits: bool
) -> None:
    venue = LyingVenue()
    order: Batch = batch(buy("AAPL"), buy("MSFT"))
    async with Orchestrator(SlowToReturn(tmp_path / "saga.db"), [venue]) as engine:
        submitting = asyncio.ensure_future(engine.submit(order))
        again = asyncio.ensure_future(engine.submit(order)) if also_submits else None
        while not await engine.store.journal(order.batch_id):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await engine.cancel(order.batch_id, by="ann", reason="wrong")
        assert await submitting == order.batch_id
        assert again is None or await again == order.batch_id
        row = await engine.wait(order.batch_id, timeout=20)
        numbers = [record.number for record in await engine.store.journal(order.batch_id)]
        assert await engine.store.quarantined() == {}
    assert row.outcome == "CANCELLED"
    assert numbers == list(range(1, len(numbers) + 1))
