"""A gate that cannot say its limits: nothing forward goes out, and every undo goes on."""

from pathlib import Path

import pytest

from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy
from tests.engine.test_overtaken_sends import CountingGate

PATIENCE = 20.0


class ForgetfulGate(CountingGate):
    """Its limits cannot be read at times."""

    is_lost = False

    @property
    def limits(self) -> str:  # type: ignore[override]
        if self.is_lost:
            raise ValueError("the file of the limits has vanished")
        return "{}"


@pytest.mark.requirement("S13", "S18")
async def test_an_undo_goes_on_though_the_gate_cannot_say_its_limits(tmp_path: Path) -> None:
    venue, gate = LyingVenue(), ForgetfulGate()

    async def refused(_: Attempt) -> Report:
        gate.is_lost = True
        return Report(True, reason="market closed")

    venue.on_send["KO"] = refused
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue], gate=gate) as engine:
        row = await engine.run(batch(buy("AAPL"), buy("KO")), timeout=PATIENCE)
        assert await engine.store.quarantined() == {}
    assert (row.state, len(venue.sent), venue.held()) == ("ROLLED_BACK", 3, {})


@pytest.mark.requirement("S13", "S18")
async def test_nothing_forward_is_sent_while_the_gate_cannot_say_its_limits(tmp_path: Path) -> None:
    venue, gate = LyingVenue(), ForgetfulGate()
    gate.is_lost = True
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue], gate=gate) as engine:
        row = await engine.run(batch(buy("AAPL")), timeout=PATIENCE)
        assert (row.status, venue.sent) == ("failed", [])
        assert "cannot say which limits are in force" in (row.reason or "")
        gate.is_lost = False
        row = await engine.run(batch(buy("AAPL")), timeout=PATIENCE)
    assert row.status == "success"
