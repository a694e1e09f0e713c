"""Seed 12: a leg that was never sent said nowhere why.

A PARALLEL batch that keeps what it did, two legs at a time: its deadline passed while the first
two were out, so that the third was never sent. The batch came to COMPLETED, with a leg that is
`not_sent`, and neither the leg nor the batch told why (S7). Now the record that ends it does.
"""

from pathlib import Path

import pytest

from saga.model import ExecutionMode
from saga.outcome import Report
from saga.participant import Attempt
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


@pytest.mark.requirement("S7")
async def test_a_batch_that_was_cancelled_before_its_last_leg_says_so(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with engine_on(tmp_path, venue) as engine:

        async def cancelled_meanwhile(attempt: Attempt) -> Report:
            await engine.cancel(attempt.batch_id, by="ann", reason="enough")
            return venue.fill(attempt)

        venue.on_send["AAPL"] = cancelled_meanwhile
        row = await engine.run(
            batch(buy("AAPL"), buy("MSFT"), mode=ExecutionMode.SEQUENTIAL), timeout=20
        )

        assert row.state == "COMPLETED"
        assert row.reason == "cancelled by ann: enough"
        assert [each.status for each in await engine.trades(row.batch_id)] == [
            "success",
            "not_sent",
        ]
