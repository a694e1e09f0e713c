"""C. Broker behaviours on a healthy engine, one test for each scenario."""

import ssl
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from brokers.errors import OutcomeUnknown
from brokers.orders import Side
from brokers.paper import Fault, FaultRule
from brokers.paper.faults import Garbage, Operation
from brokers.venue import OrderRequest, OrderStatus
from saga.errors import AccountUnknown, NotAllowed, Quarantined
from saga.events import Abandoned, AnswerLost, GaveUp, LostTrack, Reported
from saga.ids import generate_batch_id
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.policy import Capabilities
from tests.engine.lying_venue import LyingVenue
from tests.scenarios.stage import ExecutionMode, Stage, batch, buy, events_of, kinds, sell

ROOT = Path(__file__).resolve().parents[2]
FIND, LIST, PLACE = Operation.FIND, Operation.LIST, Operation.PLACE
CAPABLE = Capabilities(visibility_seconds=5.0, poll_seconds=5.0)


def rule(fault: Fault, **more: object) -> FaultRule:
    return FaultRule.model_validate({"fault": fault, **more})


@pytest.mark.scenario("C2")
def test_c2_a_fill_that_comes_before_the_acknowledgement_is_not_lost(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(rule(Fault.REORDERS, on=PLACE))
        order = batch(buy("KO"))
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "COMPLETED"
            told = [e for e in await events_of(engine, order) if isinstance(e, Reported)]
        assert (told[0].final, len(told[0].fills)) == (False, 1)
        assert (told[1].final, len(told[1].fills)) == (True, 0)
        assert await stage.held() == {"KO": 10}

    stage.play(scenario)


@pytest.mark.scenario("C3")
def test_c3_a_fill_that_comes_by_stream_and_by_poll_is_one(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(
            rule(Fault.PARTIAL_THEN_FULL, delay_seconds=20.0),
            rule(Fault.DUPLICATES, on=FIND, times=None),
        )
        order = batch(buy("KO"))
        async with stage.engine() as engine:
            await engine.submit(order)
            for _ in range(60):  # the stream says again and again that there is news
                await stage.sleep(0.5)
                for placed in await stage.orders():
                    engine.notify(placed.client_order_id or "")
            assert (await engine.wait(order.batch_id)).state == "COMPLETED"
            fills = [
                fill.fill_id
                for event in await events_of(engine, order)
                if isinstance(event, Reported)
                for fill in event.fills
            ]
        assert len(fills) == len(set(fills)) == 2

    stage.play(scenario)


@pytest.mark.scenario("C4")
def test_c4_a_filled_quantity_that_goes_down_without_a_bust_is_no_answer(stage: Stage) -> None:
    venue = LyingVenue(CAPABLE)
    four, three = Fill("a", Decimal(4), Decimal(10)), Fill("b", Decimal(3), Decimal(10))
    answers = [Report(False, (four, three)), *[Report(False, (four,))] * 4]

    async def works(_: Attempt) -> Report:
        return Report(False, (four,))

    async def told(_: Attempt) -> Report:
        return answers.pop(0) if answers else Report(True, (four, three), "cancelled")

    async def scenario() -> None:
        venue.on_send["KO"], venue.on_look_up["KO"] = works, told
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine(venue) as engine:
            await engine.submit(order)
            await stage.until(lambda: len(answers) == 2)
            (row,) = engine.active()
            assert "missing" in (row.waits_for or "")  # held, and it says why
            assert [trade.done for trade in await engine.trades(order.batch_id)] == [7, 0]
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"

    stage.play(scenario)


@pytest.mark.scenario("C6")
def test_c6_an_answer_about_another_account_is_no_answer(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(
            rule(Fault.PARTIAL_THEN_FULL, quantity="0", delay_seconds=60.0),
            rule(Fault.GARBAGE, on=FIND, garbage=Garbage.WRONG_ACCOUNT, times=6),
        )
        order = batch(buy("KO"))
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "COMPLETED"
            assert "no_answer" in kinds(await events_of(engine, order))
        assert len(await stage.orders()) == 1

    stage.play(scenario)


@pytest.mark.scenario("C6", "C18")
def test_c6_c18_an_order_that_has_become_another_instrument_is_held_as_unprovable(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(
            rule(Fault.PARTIAL_THEN_SILENCE, quantity="0"),
            rule(Fault.GARBAGE, on=FIND, garbage=Garbage.WRONG_SYMBOL, times=None),
        )
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine() as engine:
            row = await engine.run(order)
            events = await events_of(engine, order)
        assert row.state == "STALE"
        (abandoned,) = [event for event in events if isinstance(event, Abandoned)]
        (left,) = abandoned.residual
        assert (left.subject, left.low, left.high) == ("KO", Decimal(0), Decimal(10))
        assert len(left.unproven) == 1
        assert [key for _, key, _ in stage.exchange.calls if key.endswith("1F1")] == []

    stage.play(scenario)


@pytest.mark.scenario("C7")
def test_c7_a_filled_order_that_vanishes_from_lists_stays_what_the_journal_says(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(
            rule(Fault.FORGETS_CLOSED, times=None), rule(Fault.LISTS_ARE_STALE, times=None)
        )
        order = batch(buy("KO"), buy("PG", limit_price="1"))
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(60)
        async with stage.engine() as engine:
            await stage.sleep(60)
            first, _ = await engine.trades(order.batch_id)
            assert (first.state, first.done) == ("DONE", Decimal(10))
            assert (await engine.batch(order.batch_id)).state == "RUNNING"
        assert stage.exchange.placed() == ["0F1", "1F1"]

    stage.play(scenario)


@pytest.mark.scenario("C8")
def test_c8_a_list_that_is_empty_by_a_fault_cancels_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(
            rule(Fault.LISTS_ARE_STALE, times=None),
            rule(Fault.PARTIAL_THEN_FULL, delay_seconds=100.0, times=None),
        )
        order = batch(*(buy(s) for s in ("KO", "PG", "MSFT")), mode=ExecutionMode.PARALLEL)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(50)
            assert await stage.exchange.open_orders() == ()
            states = {trade.state for trade in await engine.trades(order.batch_id)}
            assert states == {"WORKING"}
            assert (await engine.wait(order.batch_id)).status == "success"

    stage.play(scenario)


@pytest.mark.scenario("C9")
def test_c9_a_rate_limit_on_a_submit_is_unknown_and_the_same_intent_goes_out_later(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(rule(Fault.RATE_LIMITS))
        order = batch(buy("KO"))
        async with stage.engine() as engine:
            assert (await engine.run(order)).state == "COMPLETED"
            told = kinds(await events_of(engine, order))
        assert [told.count(kind) for kind in ("intended", "answer_lost", "sent_again")] == [1, 1, 1]
        assert len(await stage.orders()) == 1

    stage.play(scenario)


@pytest.mark.scenario("C10")
def test_c10_a_rate_limit_on_recovery_backs_off_and_sends_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(rule(Fault.PARTIAL_THEN_FULL, delay_seconds=3.0))
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(1)
        limit = rule(Fault.RATE_LIMITS, on=FIND, times=8)
        await stage.exchange.script(limit)
        stage.exchange.calls.clear()
        async with stage.engine() as engine:
            await stage.until(lambda: len(stage.exchange.calls) == 7)
            (row,) = engine.active()
            assert "429" in (row.waits_for or "")
            assert stage.exchange.placed() == []
            assert (await engine.wait(order.batch_id)).state == "COMPLETED"
        asked = [at for call, _, at in stage.exchange.calls if call == "find"]
        waits = [(b - a).total_seconds() for a, b in pairwise(asked)][:8]
        assert waits == sorted(waits)
        assert waits[-1] >= 25

    stage.play(scenario)


@pytest.mark.scenario("C11")
def test_c11_a_key_that_is_revoked_storms_nobody_and_calls_a_person_in_the_end(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        words = "401: the key was revoked"
        await stage.exchange.script(
            rule(Fault.PARTIAL_THEN_SILENCE),
            rule(Fault.DISCONNECTS, on=FIND, delay_seconds=80_000.0, reason=words),
        )
        order = batch(buy("KO"), buy("PG"), mode=ExecutionMode.SEQUENTIAL)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(60)
            (row,) = engine.active()
            assert words in (row.waits_for or "")
            assert (await engine.wait(order.batch_id)).state == "STALE"
            (lost,) = [e for e in await events_of(engine, order) if isinstance(e, LostTrack)]
        assert words in lost.reason
        assert [(e.low, e.high) for e in lost.residual] == [(Decimal(5), Decimal(10))]
        assert stage.exchange.placed() == ["0F1"]
        assert len(stage.exchange.calls) < 130
        assert stage.loop.time() > 3000

    stage.play(scenario)


@pytest.mark.scenario("C12")
def test_c12_words_decide_nothing_only_what_the_venue_means_by_them(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.exchange.script(
            rule(Fault.REFUSES, symbol="KO", reason="order accepted, thank you"),
            rule(Fault.RATE_LIMITS, symbol="PG", reason="order rejected: insufficient funds"),
        )
        order = batch(buy("KO"), buy("PG"), mode=ExecutionMode.PARALLEL)
        async with stage.engine() as engine:
            row = await engine.run(order)
            states = [trade.state for trade in await engine.trades(order.batch_id)]
        assert (row.state, states) == ("COMPLETED", ["REFUSED", "DONE"])
        assert await stage.held() == {"PG": 10}

    stage.play(scenario)


@pytest.mark.scenario("C13")
def test_c13_the_legs_that_were_not_answered_are_unknown_and_the_others_are_not(
    stage: Stage,
) -> None:
    symbols = ("AAPL", "KO", "MSFT", "PG", "XOM")

    async def scenario() -> None:
        await stage.exchange.script(
            *(rule(Fault.TIMES_OUT_ACCEPTED, symbol=symbol) for symbol in ("KO", "XOM"))
        )
        order = batch(*(buy(s) for s in symbols), mode=ExecutionMode.PARALLEL)
        async with stage.engine() as engine:
            assert (await engine.run(order)).status == "success"
            events = await events_of(engine, order)
        assert {e.step for e in events if isinstance(e, AnswerLost)} == {1, 4}
        assert len(await stage.orders()) == 5

    stage.play(scenario)


@pytest.mark.scenario("C14")
def test_c14_an_order_id_that_the_broker_gives_out_twice_is_no_identity(stage: Stage) -> None:
    venue = LyingVenue(CAPABLE)

    async def same_id(attempt: Attempt) -> Report:
        told = venue.fill(attempt)
        return Report(True, told.fills, None, "ORD-1")

    async def scenario() -> None:
        venue.on_send["KO"] = venue.on_send["PG"] = same_id
        order = batch(buy("KO"), buy("PG", 3))
        async with stage.engine(venue) as engine:
            assert (await engine.run(order)).state == "COMPLETED"
            assert [t.done for t in await engine.trades(order.batch_id)] == [10, 3]
        assert venue.held() == {"KO": 10, "PG": 3}

    stage.play(scenario)


@pytest.mark.scenario("C16")
def test_c16_a_key_that_an_older_installation_used_is_never_matched_to_our_order(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        order = batch(buy("KO"), buy("PG"), batch_id=generate_batch_id(stage.clock.now()))
        key = f"{order.batch_id.removeprefix('BAT_')}-0F1"
        await stage.exchange.place_order(OrderRequest(key, "KO", Side.BUY, Decimal(7)))
        async with stage.engine() as engine:
            row = await engine.run(order)
            events = await events_of(engine, order)
        assert row.state == "STALE"
        (gave_up,) = [event for event in events if isinstance(event, GaveUp)]
        assert "its key names another order" in gave_up.reason
        assert not [event for event in events if isinstance(event, Reported)]
        assert await stage.held() == {"KO": 7}

    stage.play(scenario)


@pytest.mark.scenario("C17")
def test_c17_an_order_that_waits_for_the_market_runs_until_the_deadline_decides(
    stage: Stage,
) -> None:
    async def scenario() -> None:
        await stage.exchange.script(rule(Fault.PARTIAL_THEN_SILENCE, quantity="0"))
        order = batch(buy("KO"), timeout_seconds=600)
        async with stage.engine() as engine:
            await engine.submit(order)
            await stage.sleep(590)
            assert (await engine.batch(order.batch_id)).state == "RUNNING"
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
        assert [o.status for o in await stage.orders()] == [OrderStatus.CANCELLED]

    stage.play(scenario)


@pytest.mark.scenario("C21")
def test_c21_a_certificate_that_is_not_right_lets_nothing_out(stage: Stage) -> None:
    venue = LyingVenue(CAPABLE)

    async def wrong(_: Attempt) -> Report:
        raise ssl.SSLCertVerificationError("certificate has expired")

    async def scenario() -> None:
        venue.on_send["KO"] = venue.on_look_up["KO"] = wrong
        order = batch(buy("KO"))
        async with stage.engine(venue) as engine:
            await engine.submit(order)
            await stage.sleep(600)
            (row,) = engine.active()
            assert "certificate has expired" in (row.waits_for or "")
            assert len(venue.sent) == 1  # the one that was refused; nothing is tried again blindly
            assert venue.held() == {}

    stage.play(scenario)


@pytest.mark.scenario("C21")
def test_c21_no_code_of_ours_leaves_a_certificate_unchecked() -> None:
    forbidden = ("verify=" + "False", "CERT_" + "NONE", "check_hostname = " + "False")
    for package in ("saga", "brokers", "portfolio", "desk"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not [word for word in forbidden if word in text], file


class _Elsewhere(LyingVenue):
    """The same kinds of order, in an account of its own."""

    def __init__(self, account: str) -> None:
        super().__init__(CAPABLE)
        self.account_fingerprint = account


@pytest.mark.scenario("C22")
def test_c22_a_saga_of_one_account_is_not_taken_up_in_another(stage: Stage) -> None:
    paper, live = _Elsewhere("PAPER-1"), _Elsewhere("LIVE-7")

    async def works(_: Attempt) -> Report:
        return Report(False)

    async def asked(_: Attempt) -> Report:
        raise OutcomeUnknown("nobody should have asked")

    async def scenario() -> None:
        paper.on_send["KO"] = paper.on_look_up["KO"] = works
        live.on_look_up["KO"] = asked
        order = batch(buy("KO"), buy("PG"))
        async with stage.engine(paper) as engine:
            await engine.submit(order)
            await stage.until(lambda: len(paper.sent) == 1)
            first = (await events_of(engine, order))[0]
            assert getattr(first, "accounts", None) == {"buy": "PAPER-1", "sell": "PAPER-1"}
        async with stage.engine(live) as engine:
            await stage.sleep(60)
            with pytest.raises(Quarantined, match=r"'PAPER-1'.*'LIVE-7'"):
                await engine.wait(order.batch_id, timeout=1)
            with pytest.raises(NotAllowed, match="'LIVE-7'"):
                await engine.cancel(order.batch_id, by="alice", reason="enough")
            assert live.sent == []
        paper.on_look_up.clear()
        paper.told[paper.sent[0]] = Report(True, reason="it ended meanwhile")
        async with stage.engine(paper) as engine:  # with the right account it goes on
            assert (await engine.wait(order.batch_id)).state == "ROLLED_BACK"
            assert await engine.store.quarantined() == {}
        assert len(paper.sent) == 1

    stage.play(scenario)


class _Connecting(LyingVenue):
    """Knows its account once it is connected."""

    is_connected = True

    @property
    def account_fingerprint(self) -> str:
        if not self.is_connected:
            raise RuntimeError("not connected yet")
        return "PAPER-1"


@pytest.mark.requirement("S18", "L2")
def test_who_cannot_say_its_account_yet_holds_up_its_own_sagas_alone_and_until_then(
    stage: Stage,
) -> None:
    venue, other = _Connecting(CAPABLE), LyingVenue(CAPABLE)
    venue.kinds, other.kinds = frozenset({"buy"}), frozenset({"sell"})

    async def works(_: Attempt) -> Report:
        return Report(False)

    async def scenario() -> None:
        venue.on_send["KO"] = venue.on_look_up["KO"] = works
        other.on_send["PG"] = other.on_look_up["PG"] = works
        held_up = batch(buy("KO"), mode=ExecutionMode.PARALLEL)
        goes_on = batch(sell("PG"), mode=ExecutionMode.PARALLEL)
        async with stage.engine(venue, other) as engine:
            await engine.submit(held_up)
            await engine.submit(goes_on)
            await stage.until(lambda: bool(venue.sent and other.sent))
        venue.is_connected = False
        other.told[other.sent[0]] = Report(True, reason="it ended meanwhile")
        other.on_look_up.clear()
        async with stage.engine(venue, other) as engine:
            assert (await engine.wait(goes_on.batch_id)).state == "COMPLETED"
            await stage.sleep(60)
            assert list(await engine.store.quarantined()) == [held_up.batch_id]
            with pytest.raises(AccountUnknown, match="not connected yet"):
                await engine.cancel(held_up.batch_id, by="alice", reason="enough")
            with pytest.raises(AccountUnknown, match="not connected yet"):
                await engine.submit(batch(buy("AAPL"), mode=ExecutionMode.PARALLEL))
            venue.told[venue.sent[0]] = Report(True, reason="it ended meanwhile")
            venue.on_look_up.clear()
            venue.is_connected = True
            await stage.sleep(60)  # nobody touches it: it is taken up by itself
            assert (await engine.batch(held_up.batch_id)).state == "COMPLETED"
            assert await engine.store.quarantined() == {}

    stage.play(scenario)
