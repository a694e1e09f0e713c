"""`batch_rollback` says True only where nothing of the batch is left, whatever its state says."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.engine_register import EngineRegister, undo_batch_id
from saga import core
from saga.events import Adjustment
from saga.ids import Purpose, attempt_key
from saga.orchestrator import Orchestrator
from saga.outcome import Fill, Report
from saga.participant import Attempt
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on

TEN = Decimal(10)


class Hiding(LyingVenue):
    """Fills AAPL, loses the answer, and denies the order until it is `found`; refuses MSFT."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False
        self.silent = False

        async def lost(attempt: Attempt) -> Report:
            self.fill(attempt)
            raise ConnectionError("the line is dead")

        async def denied(attempt: Attempt) -> Report | None:
            if self.silent:
                raise ConnectionError("the line is dead")
            return self.told.get(attempt.key) if self.found else None

        async def refused(_: Attempt) -> Report:
            return Report(final=True, reason="refused")

        self.on_send = {"AAPL": lost, "MSFT": refused}
        self.on_look_up = {"AAPL": denied}


@pytest.fixture
def venue() -> Hiding:
    return Hiding()


@pytest.fixture
async def engine(tmp_path: Path, venue: Hiding) -> AsyncIterator[Orchestrator]:
    async with engine_on(tmp_path, venue) as engine:
        yield engine


async def resolved(engine: Orchestrator, batch_id: str, *adjustments: Adjustment) -> None:
    await engine.resolve(
        batch_id,
        by="ann",
        reason="looked into",
        action="as the adjustments say",
        evidence="ticket 17",
        adjustments=adjustments,
    )


async def lost(engine: Orchestrator, venue: Hiding, monkeypatch: pytest.MonkeyPatch) -> str:
    """A STALE batch whose order for 10 AAPL was filled, and is found from now on."""
    monkeypatch.setattr(core, "MAX_SILENCES", 1)
    venue.silent = True
    row = await engine.run(batch(buy("AAPL")))
    assert row.state == "STALE"
    venue.silent, venue.found = False, True
    return row.batch_id


@pytest.mark.requirement("O6", "O7")
async def test_what_late_truth_left_behind_a_rollback_is_not_called_undone(
    engine: Orchestrator, venue: Hiding
) -> None:
    row = await engine.run(batch(buy("AAPL"), buy("MSFT"), max_parallel=2))
    assert row.state == "ROLLED_BACK"
    assert await EngineRegister(engine).undo(row.batch_id) is True, "as far as anybody knows"
    venue.found = True
    await engine.look_again(row.batch_id, by="ann")
    orders = len(venue.sent)
    assert await EngineRegister(engine).undo(row.batch_id) is False
    assert len(venue.sent) == orders, "a person decides what becomes of it"
    (truth,) = (await engine.store.journal(row.batch_id))[-1:]
    sold = Adjustment("AAPL", -TEN, Decimal(100), "T-hand")
    await engine.close_incidents(
        row.batch_id, by="ann", reason="sold", seen=truth.number, adjustments=(sold,)
    )
    assert await EngineRegister(engine).undo(row.batch_id) is True


@pytest.mark.requirement("O6", "O7", "O10")
async def test_a_batch_that_was_resolved_by_hand_is_undone_only_if_that_made_it_flat(
    engine: Orchestrator, venue: Hiding, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await lost(engine, venue, monkeypatch)
    await engine.look_again(kept, by="ann")
    await resolved(engine, kept)
    assert await EngineRegister(engine).undo(kept) is False

    sold = await lost(engine, venue, monkeypatch)
    await engine.look_again(sold, by="ann")
    await resolved(engine, sold, Adjustment("AAPL", -TEN, Decimal(100), "T-hand"))
    assert await EngineRegister(engine).undo(sold) is True


@pytest.mark.requirement("O6", "S9")
async def test_what_an_operator_named_and_late_truth_told_as_well_is_counted_once(
    engine: Orchestrator, venue: Hiding, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await lost(engine, venue, monkeypatch)
    bought = Adjustment("AAPL", TEN, Decimal(-100), attempt_key(batch_id, 0, Purpose.FORWARD, 1))
    sold = Adjustment("AAPL", -TEN, Decimal(100), "T-hand")
    await resolved(engine, batch_id, bought, sold)
    assert await EngineRegister(engine).undo(batch_id) is False, "it may still be in place"
    await engine.look_again(batch_id, by="ann")
    assert await EngineRegister(engine).undo(batch_id) is True


@pytest.mark.requirement("O6", "O7")
async def test_what_comes_to_light_after_a_completed_batch_was_undone_is_not_called_undone(
    engine: Orchestrator, venue: Hiding
) -> None:
    row = await engine.run(batch(buy("KO")))
    assert await EngineRegister(engine).undo(row.batch_id) is True
    assert await EngineRegister(engine).undo(row.batch_id) is True
    key = attempt_key(row.batch_id, 0, Purpose.FORWARD, 1)
    more = Fill("T-more", Decimal(1), TEN)
    venue.told[key] = Report(True, (*venue.told[key].fills, more), None, key)
    await engine.look_again(row.batch_id, by="ann")
    assert await EngineRegister(engine).undo(row.batch_id) is False
    undo = await engine.batch(undo_batch_id(row.batch_id, 1))
    assert undo.state == "COMPLETED"


@pytest.mark.requirement("O6", "O7", "S5")
async def test_an_undo_that_was_closed_by_hand_is_not_made_a_second_time(
    engine: Orchestrator, venue: Hiding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "MAX_SILENCES", 1)
    first, second = [await engine.run(batch(buy("KO"))) for _ in range(2)]

    async def lost_too(attempt: Attempt) -> Report:
        venue.fill(attempt)
        raise ConnectionError("the line is dead")

    async def silent(_: Attempt) -> Report | None:
        raise ConnectionError("the line is dead")

    with monkeypatch.context() as away:
        away.setitem(venue.on_send, "KO", lost_too)
        away.setitem(venue.on_look_up, "KO", silent)
        assert await EngineRegister(engine).undo(first.batch_id) is False
    undo_id = undo_batch_id(first.batch_id, 1)
    assert (await engine.batch(undo_id)).state == "STALE"
    sold = attempt_key(undo_id, 0, Purpose.FORWARD, 1)
    await resolved(engine, undo_id, Adjustment("KO", -TEN, Decimal(100), sold))

    assert await EngineRegister(engine).undo(first.batch_id) is False, "nobody has told of it"
    await engine.look_again(undo_id, by="ann")
    assert await EngineRegister(engine).undo(first.batch_id) is True
    assert venue.held() == {"KO": TEN}, "which are those of the other batch"
    assert second.state == "COMPLETED"
