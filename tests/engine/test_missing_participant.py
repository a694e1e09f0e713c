"""A saga of whose orders nobody can be asked any more says so, for as long as it is so."""

from pathlib import Path

from saga.ids import Purpose
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import Capabilities
from tests.engine.lying_venue import LyingVenue, batch, buy
from tests.scenarios.stage import Stage

NOBODY = "a participant that carries out kind 'buy'; none was handed in"


class SellsSlowly(LyingVenue):
    """What is sold to undo a purchase stays open."""

    kinds = frozenset({"sell"})
    selling = False

    async def send(self, attempt: Attempt) -> Report:
        assert attempt.purpose is Purpose.COMPENSATION
        self.selling = True
        return Report(False)

    async def look_up(self, attempt: Attempt) -> Report:
        return Report(False)


def test_who_is_missing_is_told_until_the_saga_waits_for_something_else(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    venue = LyingVenue(Capabilities(tombstone=True, visibility_seconds=0.0))
    lost: list[str] = []
    told: list[str | None] = []

    async def never_arrives(attempt: Attempt) -> Report:
        lost.append(attempt.key)
        del venue.on_send["KO"]
        raise ConnectionError("reset")

    async def cannot_confirm_that(attempt: Attempt) -> Report | None:
        if len(venue.sent) == 3:  # both legs are filled, and the lost order is asked for once more
            lost.append(attempt.key)
            raise ConnectionError("reset again")
        return venue.told.get(attempt.key)

    venue.on_send["KO"], venue.on_look_up["KO"] = never_arrives, cannot_confirm_that

    async def scenario() -> None:
        order = batch(buy("KO"), buy("AAPL"))
        async with stage.engine(venue) as engine:
            await engine.submit(order)
            await stage.until(lambda: len(lost) == 2)
        seller = SellsSlowly()
        async with stage.engine(seller) as engine:
            await stage.until(lambda: bool(engine.active()))
            await stage.sleep(1)
            told.extend(row.waits_for for row in engine.active())
            await engine.cancel(order.batch_id, by="ann", reason="nobody buys here")
            await stage.until(lambda: seller.selling)
            await stage.sleep(1)
            told.extend(row.waits_for for row in engine.active())

    stage.play(scenario)
    assert lost[0] == lost[1]
    assert told[0] == NOBODY
    assert told[1] is not None
    assert told[1].startswith("sell 10 AAPL to fill")
