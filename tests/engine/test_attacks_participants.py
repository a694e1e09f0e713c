"""A participant is somebody else's program: whatever it answers, no order is lost or doubled."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from saga.errors import StoreError, StorePoisoned
from saga.gate import Refusal
from saga.outcome import Fill, Report
from saga.participant import Attempt
from saga.policy import Capabilities
from tests.engine.lying_venue import LyingVenue, batch, buy, engine_on

TEN = Decimal(10)
WHOLE = {"AAPL": TEN, "KO": TEN, "PG": TEN}


class _Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even its words are broken")


class _Panic(BaseException):
    pass


def _fill(attempt: Attempt, **changes: Any) -> Report:
    return Report(True, (replace(Fill(attempt.key, TEN, TEN), **changes),))


def _any(**changes: Any) -> dict[str, Any]:
    return changes


LIES: dict[str, Callable[[Attempt], Any]] = {
    "nothing": lambda _: None,
    "a dict": lambda _: {},
    "an exception that is returned": lambda _: ValueError("returned"),
    "no fills": lambda _: Report(True, None),  # type: ignore[arg-type]
    "a float": lambda a: _fill(a, quantity=10.0),
    "an int": lambda a: _fill(a, quantity=10),
    "a text": lambda a: _fill(a, quantity="10"),
    "NaN": lambda a: _fill(a, quantity=Decimal("NaN")),
    "a signalling NaN": lambda a: _fill(a, price=Decimal("sNaN")),
    "an infinite fee": lambda a: _fill(a, fee=Decimal("Infinity")),
    "a negative quantity": lambda a: _fill(a, quantity=Decimal(-10)),
    "a huge price": lambda a: _fill(a, price=Decimal("1e5000")),
    "too many digits": lambda a: _fill(a, quantity=Decimal("10." + "0" * 250 + "1")),
    "a numeric fill id": lambda a: _fill(a, fill_id=77),
    "an empty fill id": lambda a: _fill(a, fill_id=""),
    "a broken fill id": lambda a: _fill(a, fill_id="\ud800"),
    "a naive instant": lambda a: _fill(a, at=datetime(2026, 1, 1)),  # noqa: DTZ001
    "a refusal of the gate's own": lambda _: Refusal("venue", "no"),
    "a numeric reference": lambda a: replace(_fill(a), **_any(reference=12345)),
    "a numeric reason": lambda a: replace(_fill(a), **_any(reason=5)),
    "a broken reference": lambda a: replace(_fill(a), reference="\udc00"),
    "a word for final": lambda a: replace(_fill(a), **_any(final="FILLED")),
    "one fill id with two contents": lambda a: replace(
        _fill(a), fills=(Fill(a.key, Decimal(4), TEN), Fill(a.key, Decimal(6), TEN))
    ),
    "too many fills": lambda a: replace(
        _fill(a), fills=tuple(Fill(str(n), Decimal("0.001"), TEN) for n in range(10_001))
    ),
}

THROWN: dict[str, BaseException] = {
    "a cancellation of its own": asyncio.CancelledError("the connection was closed"),
    "a group": ExceptionGroup("g", [ValueError("x")]),
    "a panic": _Panic("p"),
    "an exception without words": _Wordless(),
    "broken words": RuntimeError("\ud800"),
    "a megabyte of words": RuntimeError("x" * 1_000_000),
    "a failure of a store of its own": StoreError("not ours"),
    "a poisoned store of its own": StorePoisoned("not ours"),
}


async def _is_survived(folder: Path, lie: Callable[[Attempt], Any]) -> None:
    venue = LyingVenue()

    async def lying(attempt: Attempt) -> Report | None:
        venue.fill(attempt)  # it takes effect, whatever is said of it
        told: Report | None = lie(attempt)
        return told

    venue.on_send["KO"] = lying
    order = batch(buy("AAPL"), buy("KO"), buy("PG"))
    async with engine_on(folder, venue) as engine:
        row = await engine.run(order, timeout=10)
        assert await engine.store.quarantined() == {}
        records = await engine.store.journal(order.batch_id)  # all of it can be read back
    assert (row.state, row.status) == ("COMPLETED", "success")
    assert venue.held() == WHOLE
    assert len(venue.sent) == 3
    assert max(len(getattr(record.event, "reason", "") or "") for record in records) < 1_000


@pytest.mark.scenario("C20")
@pytest.mark.requirement("S3", "S18")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_an_answer_that_cannot_be_true_is_looked_up_and_harms_nothing(
    tmp_path: Path, lie: Callable[[Attempt], Any]
) -> None:
    await _is_survived(tmp_path, lie)


@pytest.mark.requirement("S3", "S18")
@pytest.mark.parametrize("thrown", THROWN.values(), ids=THROWN.keys())
async def test_whatever_a_send_throws_is_looked_up_and_harms_nothing(
    tmp_path: Path, thrown: BaseException
) -> None:
    def throw(_: Attempt) -> Report:
        raise thrown

    await _is_survived(tmp_path, throw)


@pytest.mark.requirement("S3", "S18", "L1")
@pytest.mark.parametrize("awaits", [True, False])
@pytest.mark.parametrize("question", ["send", "look_up"])
async def test_a_call_under_which_its_own_task_is_cancelled_is_an_answer_lost(
    tmp_path: Path, question: str, awaits: bool
) -> None:
    venue = LyingVenue()
    cancelled: list[str] = []

    async def cancel_this_task() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        cancelled.append(question)
        if awaits:
            await asyncio.sleep(0)

    async def send(attempt: Attempt) -> Report | None:
        told = venue.fill(attempt)
        if question == "look_up":
            raise ConnectionError("so that it is looked up")
        await cancel_this_task()
        return told

    async def look_up(attempt: Attempt) -> Report | None:
        if question == "look_up" and not cancelled:
            await cancel_this_task()
        return venue.told.get(attempt.key)

    venue.on_send["KO"] = send
    venue.on_look_up["KO"] = look_up
    order = batch(buy("AAPL"), buy("KO"), buy("PG"))
    async with engine_on(tmp_path, venue) as engine:
        row = await engine.run(order, timeout=10)
        assert await engine.store.quarantined() == {}
    assert (row.state, row.status) == ("COMPLETED", "success")
    assert cancelled == [question]
    assert venue.held() == WHOLE
    assert len(venue.sent) == 3


async def test_a_cancel_that_loses_to_a_fill_is_heard_although_the_withdrawal_fails(
    tmp_path: Path,
) -> None:
    venue = LyingVenue()

    async def working(_: Attempt) -> Report:
        return Report(False)

    async def refuses(_: Attempt) -> Report:
        raise RuntimeError("the order is filled and cannot be cancelled")

    async def filled(attempt: Attempt) -> Report:
        return venue.told.get(attempt.key) or venue.fill(attempt)

    venue.on_send["KO"] = venue.on_look_up["KO"] = working
    venue.on_withdraw["KO"] = refuses
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        while not venue.sent:  # noqa: ASYNC110 - the venue's own books are watched
            await anyio.sleep(0.01)
        venue.on_look_up["KO"] = filled
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        row = await engine.wait(order.batch_id, timeout=5)
    assert row.state == "ROLLED_BACK"
    assert venue.held() == {}


async def test_an_open_order_whose_withdrawal_fails_is_counted_as_silence(tmp_path: Path) -> None:
    venue = LyingVenue()

    async def working(_: Attempt) -> Report:
        return Report(False)

    async def refuses(_: Attempt) -> Report:
        raise RuntimeError("not now")

    venue.on_send["KO"] = venue.on_look_up["KO"] = working
    venue.on_withdraw["KO"] = refuses
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        while not venue.sent:  # noqa: ASYNC110 - the venue's own books are watched
            await anyio.sleep(0.01)
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        async for record in engine.events(batch_id=order.batch_id):
            if record.event.kind == "no_answer":
                break
    assert "not now" in str(record.event)


@pytest.mark.requirement("S18")
async def test_garbage_and_a_cancel_in_one_breath_leave_nobody_waiting(tmp_path: Path) -> None:
    venue = LyingVenue(Capabilities(visibility_seconds=0.0, poll_seconds=0.02))
    told = anyio.Event()

    async def broken(_: Attempt) -> Report:
        await told.wait()
        return Report(True, "x")  # type: ignore[arg-type]

    venue.on_send["KO"] = broken
    order = batch(buy("KO"))
    async with engine_on(tmp_path, venue) as engine:
        await engine.submit(order)
        while not venue.sent:  # noqa: ASYNC110 - the venue's own books are watched
            await anyio.sleep(0.01)
        told.set()
        await engine.cancel(order.batch_id, by="alice", reason="enough")
        row = await engine.wait(order.batch_id, timeout=5)
    assert row.status == "cancelled"
