"""Trying again: failed trades for what is not in place (S4), an undo for what is left (S5)."""

from decimal import Decimal
from pathlib import Path

import pytest

from saga.errors import NotAllowed
from saga.events import Adjustment, IncidentClosed, LateTruth
from saga.machine import SagaState
from saga.model import ExecutionMode
from saga.orchestrator import Orchestrator
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.remedy import failed_trades_again, refuse_to_undo_twice
from saga.views import BatchRow
from tests.core.telling import FORWARD, NOON, UNDO, Telling, batch_of, fill, started
from tests.core.test_told_after_the_end import learn, rolled_back
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on

BY = {"by": "ann", "reason": "again"}


async def rolled_back_with_a_leg_in_place(
    engine: Orchestrator, venue: LyingVenue, filled: int = 10
) -> BatchRow:
    """Leg 1 of 2 was called absent, and late truth tells of so much of its 10 that was filled."""

    async def lost(attempt: Attempt) -> Report:
        report = Report(True, (Fill(attempt.key, Decimal(filled), Decimal(10)),), "no more")
        venue.told[attempt.key] = report
        venue.books.append((attempt.key, "AAPL", Decimal(filled)))
        raise ConnectionError("lost")

    async def nothing(_: Attempt) -> None:
        return None

    async def refused(_: Attempt) -> Report:
        return Report(True, reason="refused")

    venue.on_send = {"AAPL": lost, "MSFT": refused}
    venue.on_look_up = {"AAPL": nothing}
    row = await engine.run(batch(buy("AAPL"), buy("MSFT"), max_parallel=2), timeout=20)
    assert row.state == SagaState.ROLLED_BACK
    venue.on_send, venue.on_look_up = {}, {}
    assert await engine.look_again(row.batch_id, by="ann")
    return await engine.batch(row.batch_id)


@pytest.mark.requirement("S4", "B9")
@pytest.mark.parametrize("filled", [4, 10])
async def test_what_late_truth_put_in_place_is_not_bought_once_more(
    tmp_path: Path, filled: int
) -> None:
    venue = LyingVenue()
    async with engine_on(tmp_path, venue) as engine:
        row = await rolled_back_with_a_leg_in_place(engine, venue, filled)
        seen = len(await engine.store.journal(row.batch_id))
        await engine.close_incidents(row.batch_id, by="ann", reason="seen", seen=seen)
        child = await engine.retry_failed(row.batch_id, **BY)
        assert (await engine.wait(child, timeout=20)).status == "success"
    assert venue.held() == {"AAPL": Decimal(10), "MSFT": Decimal(10)}


@pytest.mark.requirement("S4")
async def test_while_an_incident_is_open_nothing_is_sent_again(tmp_path: Path) -> None:
    venue = LyingVenue()
    async with engine_on(tmp_path, venue) as engine:
        row = await rolled_back_with_a_leg_in_place(engine, venue)
        with pytest.raises(NotAllowed, match=r"incidents: 1 of .* are open .* close them"):
            await engine.retry_failed(row.batch_id, **BY)
    assert venue.held() == {"AAPL": Decimal(10)}


def told_late() -> Telling:
    """A saga that was rolled back, of whose second leg, of 5, 2 are in place after all."""
    telling = rolled_back()
    learn(telling, (1, FORWARD, 1), Report(True, (fill("late", 2),), "no more"))
    return telling


def closed(telling: Telling, action: str = "", *changes: Adjustment) -> Telling:
    """The same, once somebody has dealt with it."""
    seen = telling.saga.number
    return telling.tell(IncidentClosed("ann", "seen", seen, action, tuple(changes)))


def amounts_again(telling: Telling) -> list[tuple[str, Decimal]]:
    again = failed_trades_again(telling.saga, "again", NOON)
    return [(each.directive_id, each.amount) for each in again.directives]


@pytest.mark.requirement("S4")
def test_what_is_in_place_is_taken_from_what_was_asked() -> None:
    assert amounts_again(closed(told_late())) == [("EXE_0", Decimal(5)), ("EXE_1", Decimal(3))]


@pytest.mark.requirement("S4")
def test_an_undo_that_was_taken_back_leaves_its_leg_in_place() -> None:
    telling = rolled_back()
    learn(telling, (0, UNDO, 1), Report(True, reversed=("c",)))
    assert amounts_again(closed(telling)) == [("EXE_1", Decimal(5))]


@pytest.mark.requirement("S4")
def test_where_more_was_undone_than_done_no_more_than_was_asked_is_sent() -> None:
    telling = rolled_back()
    learn(telling, (0, FORWARD, 1), Report(True, reversed=("a",)))
    assert amounts_again(closed(telling)) == [("EXE_0", Decimal(5)), ("EXE_1", Decimal(5))]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    "by_hand", [("sold 2", ()), ("", (Adjustment("BBB", Decimal(-2), Decimal(20)),))]
)
def test_what_was_set_right_by_hand_is_not_sent_again(
    by_hand: tuple[str, tuple[Adjustment, ...]],
) -> None:
    action, changes = by_hand
    with pytest.raises(NotAllowed, match="set right by hand by ann"):
        amounts_again(closed(told_late(), action, *changes))


@pytest.mark.requirement("S4")
def test_while_an_order_may_still_fill_its_leg_is_not_sent_again() -> None:
    telling = rolled_back()
    learn(telling, (1, FORWARD, 1), Report(False))
    with pytest.raises(NotAllowed, match=r"BBB .* is in place: 0 to 5"):
        amounts_again(closed(telling))


@pytest.mark.requirement("S4")
def test_a_batch_that_keeps_what_it_did_is_sent_again_for_its_rest() -> None:
    kept = batch_of(5, 5, mode=ExecutionMode.PARALLEL)
    telling = started(kept).report(0, fills=[fill("a", 2)], reason="no more").refused(1)
    telling.go_on()
    assert telling.state() is SagaState.COMPLETED
    assert amounts_again(telling) == [("EXE_0", Decimal(3)), ("EXE_1", Decimal(5))]


def stale_with_late_truth() -> Telling:
    """A saga with 5 AAA stuck, BBB undone, and 1 CCC of which it was told once it was STALE."""
    telling = started(batch_of(5, 5, 1)).filled(5).filled(5, 1).refused(2).filled(5, 1, UNDO)
    for _ in range(3):
        telling.refused(0, UNDO).later(100).go_on()
    assert telling.state() is SagaState.STALE
    return telling.tell(LateTruth(2, FORWARD, 1, True, "a look", fills=(fill("L1", 1),)))


def done_by_hand(telling: Telling, *changes: Adjustment) -> Telling:
    return telling.tell(IncidentClosed("ann", "seen", telling.saga.number, "dealt with", changes))


@pytest.mark.requirement("S5", "B9")
@pytest.mark.parametrize(("symbol", "quantity"), [("AAA", -5), ("AAA", 1), ("CCC", -1)])
def test_an_undo_is_not_tried_again_where_somebody_has_begun_to_deal_with_it_by_hand(
    symbol: str, quantity: int
) -> None:
    change = Adjustment(symbol, Decimal(quantity), Decimal(0), "T-1")

    with pytest.raises(NotAllowed, match=f"^{quantity} {symbol} was booked by hand for"):
        refuse_to_undo_twice(done_by_hand(stale_with_late_truth(), change).saga)


@pytest.mark.requirement("S5", "B9")
def test_an_undo_is_tried_again_where_nothing_of_what_it_sends_was_booked_by_hand() -> None:
    undone_already = Adjustment("BBB", Decimal(-1), Decimal(10), "T-1")
    fee = Adjustment("AAA", Decimal(0), Decimal(-2), "T-2")
    booked = Adjustment("CCC", Decimal(1), Decimal(-10), "L2")
    elsewhere = done_by_hand(stale_with_late_truth(), undone_already, fee)
    gave_way = done_by_hand(stale_with_late_truth(), booked)
    gave_way.tell(LateTruth(2, FORWARD, 1, True, "a look", fills=(fill("L2", 1),)))

    for telling in (stale_with_late_truth(), elsewhere, gave_way):
        refuse_to_undo_twice(telling.saga)
