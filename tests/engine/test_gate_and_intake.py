"""What a gate may refuse, and what it may never unsay: batches that were taken in before."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from brokers.risk import RiskGate, RiskLimits
from saga.directive import Directive
from saga.errors import (
    AccountUnknown,
    AdmissionRefused,
    BatchConflict,
    InvalidInput,
    NotAllowed,
    NotServed,
    SagaError,
)
from saga.gate import Refusal
from saga.limits import Limits
from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.outcome import Report
from saga.participant import Attempt
from saga.policy import FailurePolicy
from saga.store.sqlite import SqliteStore
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on

PATIENCE = 20.0


def engine(folder: Path, venue: LyingVenue, gate: RiskGate, **more: Limits) -> Orchestrator:
    return Orchestrator(SqliteStore(folder / "saga.db"), [venue], gate=gate, **more)  # type: ignore[arg-type]


@pytest.mark.requirement("S16")
@pytest.mark.parametrize("at_rest", [False, True])
async def test_a_batch_that_was_taken_in_is_never_said_to_be_refused(
    tmp_path: Path, at_rest: bool
) -> None:
    venue = LyingVenue()

    async def stays_open(attempt: Attempt) -> Report:
        return Report(False)

    if not at_rest:
        venue.on_send["AAPL"] = venue.on_look_up["AAPL"] = stays_open
    gate = RiskGate(RiskLimits(max_order_quantity=Decimal(10)))
    order = batch(buy("AAPL"))
    async with engine(tmp_path, venue, gate) as it:
        batch_id = await it.submit(order)
        if at_rest:
            await it.wait(batch_id, timeout=PATIENCE)
        gate.terms = RiskLimits(max_order_quantity=Decimal(1))
        assert await it.submit(order) == batch_id
        with pytest.raises(AdmissionRefused):
            await it.submit(batch(buy("AAPL")))
        with pytest.raises(BatchConflict):
            await it.submit(batch(buy("AAPL", 11), batch_id=batch_id))
        if not at_rest:
            venue.on_look_up.clear()
            await it.cancel(batch_id, by="ann", reason="enough")


@pytest.mark.requirement("S16")
async def test_a_batch_that_was_taken_in_is_known_although_no_more_are_queued(
    tmp_path: Path,
) -> None:
    order = batch(buy("AAPL"))
    gate = RiskGate(RiskLimits())
    async with engine(tmp_path, LyingVenue(), gate) as it:
        await it.run(order, timeout=PATIENCE)
    async with engine(tmp_path, LyingVenue(), gate, limits=Limits(max_queued=0)) as it:
        assert await it.submit(order) == order.batch_id
        with pytest.raises(AdmissionRefused, match="max_queued"):
            await it.submit(batch(buy("AAPL")))


class RefusesAll(LyingVenue):
    """A venue that has learnt since that it can carry nothing out."""

    def check(self, directive: Directive) -> None:
        raise InvalidInput("symbol: AAPL is not listed any more")


class NotLoggedIn(LyingVenue):
    """A venue that cannot say in which account it acts."""

    @property
    def account_fingerprint(self) -> str | None:
        raise RuntimeError("not logged in")


class ServesOthers(LyingVenue):
    """A venue for other kinds of directive."""

    kinds = frozenset({"sell"})


@pytest.mark.requirement("S16")
@pytest.mark.parametrize("running", [False, True], ids=["at rest", "running"])
@pytest.mark.parametrize(
    ("venue", "limits", "refusal"),
    [
        (RefusesAll(), Limits(), InvalidInput),
        (NotLoggedIn(), Limits(), AccountUnknown),
        (ServesOthers(), Limits(), NotServed),
        (LyingVenue(), Limits(max_directives=1), AdmissionRefused),
    ],
    ids=["checked", "account", "served", "max_directives"],
)
async def test_a_batch_that_was_taken_in_is_known_although_it_would_be_refused_now(
    tmp_path: Path, venue: LyingVenue, limits: Limits, refusal: type[SagaError], *, running: bool
) -> None:
    async def stays_open(attempt: Attempt) -> Report:
        return Report(False)

    order, first = batch(buy("AAPL"), buy("KO")), LyingVenue()
    if running:
        first.on_send["AAPL"] = first.on_look_up["AAPL"] = stays_open
    async with engine_on(tmp_path, first) as it:
        batch_id = await it.submit(order)
        if not running:
            await it.wait(batch_id, timeout=PATIENCE)
    async with engine_on(tmp_path, venue, limits=limits) as it:
        assert await it.submit(order) == batch_id
        with pytest.raises(BatchConflict):
            await it.submit(batch(buy("AAPL"), buy("KO", 11), batch_id=batch_id))
        with pytest.raises(BatchConflict):
            await it.submit(order, policy=FailurePolicy(undo_budget=Decimal(1)))
        with pytest.raises(refusal):
            await it.submit(batch(buy("AAPL"), buy("KO")))


class ThinksLong(RiskGate):
    """A gate that judges a batch only once it is let go."""

    def __init__(self) -> None:
        super().__init__(RiskLimits())
        self.asked, self.let_go = anyio.Event(), anyio.Event()

    async def judge_batch(self, batch: Batch, now: datetime) -> Refusal | None:
        self.asked.set()
        await self.let_go.wait()
        return await super().judge_batch(batch, now)


@pytest.mark.requirement("S16")
async def test_a_batch_that_was_judged_until_the_engine_was_left_is_not_taken_in(
    tmp_path: Path,
) -> None:
    gate = ThinksLong()
    async with engine(tmp_path, LyingVenue(), gate) as it:
        submitting = asyncio.ensure_future(it.submit(batch(buy("AAPL"))))
        await gate.asked.wait()
    gate.let_go.set()
    with pytest.raises(NotAllowed, match="the orchestrator is not running"):
        await submitting


async def test_batches_that_were_judged_at_once_are_held_to_the_bound_of_those_that_wait(
    tmp_path: Path,
) -> None:
    gate = ThinksLong()
    orders = [batch(buy("AAPL")) for _ in range(3)]
    async with engine(tmp_path, LyingVenue(), gate, limits=Limits(max_queued=2)) as it:
        submitting = [asyncio.ensure_future(it.submit(order)) for order in orders]
        await gate.asked.wait()
        await anyio.wait_all_tasks_blocked()
        gate.let_go.set()
        answers = await asyncio.gather(*submitting, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, AdmissionRefused)]
    assert len(refused) == 1
    assert "max_queued 2" in str(refused[0])


@pytest.mark.requirement("S18", "S13")
async def test_an_intent_that_cannot_be_read_stops_no_engine_and_counts_as_an_order(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()
    limits = RiskLimits(max_orders_per_day=2)
    async with engine(tmp_path, venue, RiskGate(limits)) as it:
        await it.run(batch(buy("AAPL")), timeout=PATIENCE)
    with closing(sqlite3.connect(tmp_path / "saga.db", isolation_level=None)) as file:
        file.execute("DROP TRIGGER journal_is_never_changed")
        file.execute("UPDATE journal SET data = '{}' WHERE kind = 'intended'")
    async with engine(tmp_path, venue, RiskGate(limits)) as it:
        row = await it.run(batch(buy("MSFT"), buy("IBM")), timeout=PATIENCE)
        trades = await it.trades(row.batch_id)
    assert row.state == "ROLLED_BACK"
    assert trades[1].error is not None
    assert trades[1].error.startswith("max_orders_per_day: 2 went out")
