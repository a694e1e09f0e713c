"""The engine on uvloop: everything that waits, shields, cancels and calls back works there too."""

import asyncio
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
import uvloop

from saga.outcome import Report
from saga.participant import Attempt
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the tests of this file on uvloop."""
    return "asyncio", {"use_uvloop": True}


async def test_a_batch_is_run_undone_and_cancelled_on_uvloop(tmp_path: Path) -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    venue = LyingVenue()

    async def refuses(_: Attempt) -> Report:
        return Report(True, reason="no")

    async def hangs(_: Attempt) -> Report:
        await anyio.sleep_forever()
        raise AssertionError

    venue.on_send["KO"] = refuses
    async with engine_on(tmp_path, venue) as engine:
        whole = await engine.run(batch(buy("AAPL"), buy("PG")), timeout=10)
        undone = await engine.run(batch(buy("XOM"), buy("KO")), timeout=10)
        venue.on_send["WMT"] = hangs
        waits = batch(buy("WMT"))
        await engine.submit(waits)
        await engine.cancel(waits.batch_id, by="ann", reason="enough")
        cancelled = await engine.wait(waits.batch_id, timeout=10)
    assert (whole.state, undone.state, cancelled.state) == (
        "COMPLETED",
        "ROLLED_BACK",
        "ROLLED_BACK",
    )
    assert venue.held() == {"AAPL": Decimal(10), "PG": Decimal(10)}


@pytest.mark.requirement("S1", "L2")
async def test_what_was_left_half_way_on_uvloop_is_taken_up_there(tmp_path: Path) -> None:
    venue = LyingVenue()
    asked = anyio.Event()

    async def works(_: Attempt) -> Report:
        asked.set()
        return Report(False)

    venue.on_send["KO"] = venue.on_look_up["KO"] = works
    order = batch(buy("AAPL"), buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        with anyio.fail_after(10):
            await asked.wait()

    async def fills(attempt: Attempt) -> Report:
        return venue.told.get(attempt.key) or venue.fill(attempt)

    venue.on_look_up["KO"] = fills
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.wait(order.batch_id, timeout=10)
    assert row.state == "COMPLETED"
    assert venue.held() == {"AAPL": Decimal(10), "KO": Decimal(10)}
