"""Seed 1061, once more: a cancel was granted by a process that could not write it down.

Two operators cancelled the same batch at once, at an engine that had just lost its store. The first
wish was folded in, so that the second was refused as the same; then the commit of both failed. The
refusal was kept, `Orchestrator.cancel` took it for "it is cancelled already", and the second
operator was told so. The file had no word of it (S14). Now neither is told anything but that.
"""

import asyncio
from pathlib import Path

import pytest

from saga.errors import StoreError, StorePoisoned
from saga.outcome import Report
from saga.participant import Attempt
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on


@pytest.mark.requirement("S14")
async def test_of_two_cancels_that_could_not_be_written_none_is_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = LyingVenue()
    under_way = asyncio.Event()

    async def hangs(_: Attempt) -> Report:
        under_way.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def broken(_: object) -> int:
        raise StorePoisoned("the disk is gone")

    venue.on_send["AAPL"] = hangs
    engine = engine_on(tmp_path, venue)
    wishes: list[asyncio.Future[object]] = []

    async def live() -> None:
        async with engine:
            batch_id = await engine.submit(batch(buy("AAPL")))
            await under_way.wait()
            monkeypatch.setattr(engine.store, "append", broken)
            for name in ("ann", "bob"):
                wish = engine.cancel(batch_id, by=name, reason="enough")
                wishes.append(asyncio.ensure_future(wish))
            await asyncio.wait(wishes)

    with pytest.raises(StorePoisoned):
        await live()

    told = await asyncio.gather(*wishes, return_exceptions=True)
    assert all(isinstance(each, StoreError) for each in told), told
