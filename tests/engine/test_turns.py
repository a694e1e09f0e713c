"""Work that grows with a batch: whoever waits on the same loop has turns meanwhile."""

import asyncio
import threading
from collections import Counter
from collections.abc import Generator
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from brokers.risk import RiskGate, RiskLimits
from saga.core import MAX_INTENTS_AT_ONCE, Decision, decide
from saga.errors import AdmissionRefused, BatchConflict, InvalidInput
from saga.ledger import Saga
from saga.model import Batch, ExecutionMode, Priority
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import Capabilities
from saga.runner import FEW, MAX_ANSWERS_AT_ONCE, MAX_EVENTS_PER_COMMIT
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from saga.turns import LEGS_OF_A_BATCH, LEGS_PER_TURN, Turnstile, aside, leg_by_leg
from tests.engine.lying_venue import LyingVenue
from tests.engine.test_gate_and_intake import engine as guarded
from tests.engine.trading_desk import Desk, batch, buy

PATIENCE = 20.0
SYMBOLS = ("AAPL", "MSFT", "PG")


@pytest.fixture
def long_from_two_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are long from the second leg on."""
    monkeypatch.setattr("saga.turns.LEGS_PER_TURN", 1)


def legs(count: int) -> Generator[None, None, int]:
    for _ in range(count):
        yield
    return count


async def test_what_is_short_is_done_at_once_and_what_is_long_lets_the_loop_go_on() -> None:
    here = threading.get_ident()
    assert await aside(LEGS_PER_TURN, threading.get_ident) == here

    heard = threading.Event()

    async def tell() -> None:
        heard.set()

    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        assert await aside(LEGS_PER_TURN + 1, heard.wait, PATIENCE)  # only the loop can end this


async def test_what_is_long_waits_for_none_of_the_hosts_own_threads() -> None:
    hosts = anyio.to_thread.current_default_thread_limiter()
    let_go = threading.Event()
    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for _ in range(int(hosts.total_tokens)):
                    group.start_soon(anyio.to_thread.run_sync, let_go.wait, PATIENCE)
                while hosts.available_tokens:
                    await anyio.lowlevel.checkpoint()
                assert await aside(LEGS_PER_TURN + 1, lambda: "done") == "done"
                assert not hosts.available_tokens
                let_go.set()
    finally:
        let_go.set()


async def test_what_the_work_raises_comes_out_short_or_long() -> None:
    def fail() -> None:
        raise InvalidInput("no")

    for count in (1, LEGS_PER_TURN + 1):
        with pytest.raises(InvalidInput, match="no"):
            await aside(count, fail)


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_others_have_a_turn_behind_each_few_legs(turns: int) -> None:
    had = 0
    over = False

    async def others() -> None:
        nonlocal had
        while not over:
            had += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await anyio.lowlevel.checkpoint()
        before, count = had, turns * LEGS_PER_TURN + 1
        assert await leg_by_leg(legs(count)) == count
        assert had - before == turns
        over = True


@pytest.mark.requirement("T16")
@pytest.mark.usefixtures("long_from_two_legs")
async def test_a_long_batch_is_taken_in_carried_out_and_shown_as_a_short_one(desk: Desk) -> None:
    order = batch(*map(buy, SYMBOLS))
    async with desk.engine() as engine:
        assert await engine.submit(order) == await engine.submit(order) == order.batch_id
        assert (await engine.wait(order.batch_id)).status == "success"
        assert [row.symbol for row in await engine.trades(order.batch_id)] == [*SYMBOLS]
        with pytest.raises(BatchConflict):
            await engine.submit(batch(*map(buy, SYMBOLS[:2]), batch_id=order.batch_id))
    assert await desk.held() == dict.fromkeys(SYMBOLS, Decimal(10))


@pytest.mark.usefixtures("long_from_two_legs")
async def test_a_long_batch_is_refused_whole_as_a_short_one(desk: Desk) -> None:
    unchecked: list[dict[str, Any]] = [{}, {"directives": (1, 2)}, {"directives": 3}]
    broken = [
        batch(buy("AAPL"), buy("MSFT"), buy("ZZZZ")),
        batch(buy("AAPL"), buy("MSFT")).model_copy(update={"timeout_seconds": -1}),
        *(Batch.model_construct(**each) for each in unchecked),
    ]
    async with desk.engine() as engine:
        for each in broken:
            with pytest.raises(InvalidInput):
                await engine.submit(each)
        assert await engine.store.last_sequence() == 0
    assert await desk.sent_keys() == []


@pytest.mark.usefixtures("long_from_two_legs")
async def test_the_gate_judges_every_leg_of_a_long_batch(tmp_path: Path) -> None:
    gate = RiskGate(RiskLimits(max_order_quantity=Decimal(10)))
    async with guarded(tmp_path, LyingVenue(), gate) as engine:
        with pytest.raises(AdmissionRefused, match="max_order_quantity"):
            await engine.submit(batch(buy("AAPL"), buy("MSFT"), buy("PG", 11)))


class Rounds:
    """Counts the rounds of the loop, in which a turnstile lets in what the test sends."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.entered: list[tuple[int, int]] = []
        self.now = 0

    async def enter(self, number: int, legs: int, priority: Priority = Priority.NORMAL) -> None:
        await self.turnstile.enter(legs, priority)
        self.entered.append((self.now, number))

    async def until_all(self, calls: list[asyncio.Task[None]]) -> list[list[int]]:
        """Return who entered in each round, but for those in which nobody did."""
        while not all(call.done() for call in calls):
            await asyncio.sleep(0)
            self.now += 1
        return [[who for _, who in group] for _, group in groupby(self.entered, itemgetter(0))]


async def test_what_comes_in_one_round_begins_a_turn_at_a_time_and_in_its_order() -> None:
    rounds = Rounds()
    half = LEGS_PER_TURN // 2
    calls = [asyncio.create_task(rounds.enter(number, half)) for number in range(7)]
    assert await rounds.until_all(calls) == [[0, 1], [2, 3], [4, 5], [6]]
    again = [asyncio.create_task(rounds.enter(number, half)) for number in (7, 8, 9)]
    assert (await rounds.until_all(again))[4:] == [[7, 8], [9]]


async def test_what_is_longer_than_a_turn_begins_and_who_is_cancelled_takes_nobodys_turn() -> None:
    rounds = Rounds()
    calls = [asyncio.create_task(rounds.enter(n, 3 * LEGS_PER_TURN)) for n in range(4)]
    await asyncio.sleep(0)
    calls[1].cancel()
    assert await rounds.until_all(calls) == [[0], [2], [3]]


async def test_what_is_urgent_begins_first_and_what_is_not_begins_all_the_same() -> None:
    rounds = Rounds()
    half = LEGS_PER_TURN // 2
    come = [
        *((number, Priority.LOW) for number in range(5)),
        *((number, Priority.HIGH) for number in range(10, 14)),
    ]
    calls = [asyncio.create_task(rounds.enter(number, half, each)) for number, each in come]
    # Two find the door open; then every other goes by age.
    assert await rounds.until_all(calls) == [[0, 1], [10, 2], [11, 3], [12, 4], [13]]


async def test_what_is_not_urgent_begins_however_long_the_work_of_the_urgent_is() -> None:
    rounds = Rounds()
    long = 3 * LEGS_PER_TURN
    come = [(0, Priority.HIGH), (1, Priority.LOW), *((n, Priority.HIGH) for n in range(2, 9))]
    calls = [asyncio.create_task(rounds.enter(number, long, each)) for number, each in come]
    entered = [who for group in await rounds.until_all(calls) for who in group]
    assert entered.index(1) == 2


async def test_many_submissions_at_once_let_others_have_turns(tmp_path: Path) -> None:
    now = 0
    taken_in: list[tuple[int, str]] = []

    async def count() -> None:
        nonlocal now
        while True:
            await asyncio.sleep(0)
            now += 1

    class NotingStore(SqliteStore):
        async def append(self, append: Append) -> int:
            if append.changes[0].number == 1:
                taken_in.append((now, append.batch.batch_id))
            return await super().append(append)

    async with Orchestrator(NotingStore(tmp_path / "saga.db"), [LyingVenue()]) as engine:
        counting = asyncio.create_task(count())
        plain = (batch(buy("AAPL"), priority="LOW") for _ in range(49))
        urgent = batch(buy("AAPL"), priority="HIGH")
        await asyncio.gather(*map(engine.submit, (*plain, urgent)))
        counting.cancel()
    a_turn = LEGS_PER_TURN // (1 + LEGS_OF_A_BATCH) + 1
    assert len(taken_in) == 50
    assert max(Counter(at for at, _ in taken_in).values()) <= a_turn
    assert [each for _, each in taken_in].index(urgent.batch_id) <= 2 * a_turn


class CommitsOf(SqliteStore):
    """Remembers how many records each commit of a saga had."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []

    async def append(self, append: Append) -> int:
        self.sizes.append(len(append.changes))
        return await super().append(append)


def wide_batch(legs: int) -> Batch:
    """So many orders, all of which may be under way at the same time."""
    orders = (buy("AAPL", directive_id=f"EXE_{leg}") for leg in range(legs))
    return batch(*orders, mode=ExecutionMode.PARALLEL)


class AnsweringTogether(LyingVenue):
    """Fills each order of a wide batch at once, and tells of all together, once it is let."""

    def __init__(self, legs: int) -> None:
        super().__init__(Capabilities(visibility_seconds=0.0, call_timeout_seconds=PATIENCE))
        self.all_sent, self.answers = anyio.Event(), anyio.Event()
        self.wide = wide_batch(legs)
        self.on_send["AAPL"] = self._together

    async def _together(self, attempt: Attempt) -> Report:
        report = self.fill(attempt)
        if len(self.books) == len(self.wide.directives):
            self.all_sent.set()
        await self.answers.wait()
        return report


async def test_a_wide_batch_is_sent_and_answered_in_commits_between_which_others_have_turns(
    tmp_path: Path,
) -> None:
    legs = 5 * MAX_ANSWERS_AT_ONCE
    venue, store = AnsweringTogether(legs), CommitsOf(tmp_path / "saga.db")
    async with Orchestrator(store, [venue]) as engine:
        await engine.submit(venue.wide)
        await venue.all_sent.wait()
        venue.answers.set()
        row = await engine.wait(venue.wide.batch_id, timeout=PATIENCE)
    assert row.status == "success"
    # Submitted; started; an intent and an outcome of each leg; completed.
    assert sum(store.sizes) == 1 + 1 + 2 * legs + 1
    assert max(store.sizes) < MAX_EVENTS_PER_COMMIT + MAX_INTENTS_AT_ONCE


@pytest.mark.requirement("B9", "L3")
async def test_an_operator_waits_for_none_of_the_answers_that_came_before_him(
    tmp_path: Path,
) -> None:
    legs = 3 * MAX_ANSWERS_AT_ONCE
    venue = AnsweringTogether(legs)
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        await engine.submit(venue.wide)
        await venue.all_sent.wait()
        cancelling = asyncio.create_task(
            engine.cancel(venue.wide.batch_id, by="ann", reason="enough")
        )
        venue.answers.set()
        await cancelling
        await engine.wait(venue.wide.batch_id, timeout=PATIENCE)
        journal = await engine.store.journal(venue.wide.batch_id)
    kinds = [record.event.kind for record in journal]
    assert kinds.count("reported") == legs
    assert kinds.index("cancel_requested") < kinds.index("reported") + MAX_ANSWERS_AT_ONCE


async def test_many_open_orders_are_not_looked_through_for_each_answer_that_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs = 8 * FEW
    venue = LyingVenue(Capabilities(visibility_seconds=0.0, poll_seconds=0.001))
    decided: list[int] = []
    open_orders = 0

    async def open_it(_: Attempt) -> Report:
        nonlocal open_orders
        open_orders += 1
        return Report(False)

    looked: Counter[str] = Counter()
    each_twice = anyio.Event()

    async def still_open(attempt: Attempt) -> Report:
        looked[attempt.key] += 1
        await anyio.lowlevel.checkpoint()
        if len(looked) == legs and min(looked.values()) >= 2:
            each_twice.set()
        return Report(False)

    def counted(saga: Saga, now: datetime, *, in_doubt: bool) -> Decision:
        if open_orders == legs:
            decided.append(len(saga.live))
        return decide(saga, now, in_doubt=in_doubt)

    monkeypatch.setattr("saga.runner.decide", counted)
    venue.on_send["AAPL"], venue.on_look_up["AAPL"] = open_it, still_open
    wide = wide_batch(legs)
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        await engine.submit(wide)
        with anyio.fail_after(PATIENCE):
            await each_twice.wait()
        assert decided.count(legs) < looked.total() / FEW * 2
        assert set(looked) == set(venue.sent)


@pytest.mark.requirement("S18", "L3")
async def test_nobody_is_asked_again_before_his_last_answer_is_heard(tmp_path: Path) -> None:
    """The third look-up of a late leg is answered while the others are being asked again."""
    legs, late = 4 * FEW, f"{3 * FEW}F1"
    venue = LyingVenue(Capabilities(visibility_seconds=0.0, poll_seconds=0.1))
    looks: list[str] = []
    third, answered = anyio.Event(), anyio.Event()
    sent_again = anyio.Event()

    async def send(attempt: Attempt) -> Report:
        if not attempt.key.endswith(f"-{late}"):
            return Report(False)
        if venue.sent.count(attempt.key) == 1:
            raise ConnectionError
        sent_again.set()
        await anyio.wait_all_tasks_blocked()
        return venue.fill(attempt)

    async def look_up(attempt: Attempt) -> Report | None:
        if not attempt.key.endswith(f"-{late}"):
            if third.is_set():
                answered.set()
            return Report(False)
        looks.append(attempt.key)
        if len(looks) == 3:
            third.set()
            await answered.wait()
        return None

    venue.on_send["AAPL"], venue.on_look_up["AAPL"] = send, look_up
    wide = wide_batch(legs)
    async with Orchestrator(SqliteStore(tmp_path / "saga.db"), [venue]) as engine:
        await engine.submit(wide)
        with anyio.fail_after(PATIENCE):
            await sent_again.wait()
            while (await engine.batch(wide.batch_id)).processed_trades < 1:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert len(looks) == 3
        assert await engine.store.quarantined() == {}
