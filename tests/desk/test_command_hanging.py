"""A batch whose orders nobody can account for: what is offered, refused and said beforehand."""

import json
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from brokers.paper import Fault, FaultRule, Operation, PaperExchange
from desk.unaccounted import Waiting, waiting_of
from desk.unknown_watch import UnknownWatch
from saga.history import History
from saga.ids import Purpose
from saga.store.protocol import JournalRecord
from tests.desk.conftest import Invoke
from tests.desk.terminal import LONGEST_SECONDS, Desk

ONCE = {"attempts": 1, "backoff_seconds": 0}
UNDO_HANGS = FaultRule(
    fault=Fault.PARTIAL_THEN_SILENCE, purpose=Purpose.COMPENSATION, quantity=Decimal(10)
)
LAST_STAYS_OPEN = FaultRule(fault=Fault.PARTIAL_THEN_SILENCE, symbol="PG", quantity=Decimal(10))
LAST_REFUSED = FaultRule(fault=Fault.REFUSES, symbol="PG")
LAST_LOST = FaultRule(fault=Fault.TIMES_OUT_ACCEPTED, symbol="PG")
SILENT = FaultRule(fault=Fault.TIMES_OUT_NOT_ACCEPTED, on=Operation.FIND, times=None)


Leave = Callable[..., str]


@pytest.fixture
def leave(traded: Desk, invoke: Invoke, tmp_path: Path) -> Leave:
    """Run a batch until an order of it is as it should be, kill its process, and give its id."""

    def leave(is_so: Callable[[dict[str, str]], bool], *rules: FaultRule) -> str:
        legs = [
            {"kind": kind, "directive_id": f"EXE_{s}", "symbol": s, "quantity": "40", "retry": ONCE}
            for kind, s in (("buy", "AAPL"), ("sell", "KO"), ("buy", "PG"))
        ]
        file = tmp_path / "batch.json"
        whole = {"execution_mode": "ATOMIC", "max_parallel": 1, "directives": legs}
        file.write_text(json.dumps(whole))

        async def script() -> None:
            await PaperExchange(traded.home / "exchange.db").script(*rules)

        anyio.run(script)
        running = traded.start("run", file)
        batch_id = str(running.until(lambda rows: len(rows) > 1)["batch_id"])
        end = time.monotonic() + LONGEST_SECONDS
        while not any(map(is_so, invoke("show", batch_id, "--json").data["orders"])):
            assert time.monotonic() < end
            time.sleep(0.05)
        running.process.kill()
        running.finish()
        return batch_id

    return leave


def _half_undone(order: dict[str, str]) -> bool:
    return order["purpose"] == "compensation" and order["filled"] == "10"


def _not_known(order: dict[str, str]) -> bool:
    return order["status"] == "not known"


def _part_filled(order: dict[str, str]) -> bool:
    return order["filled"] == "10"


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.requirement("B9", "O7")
def test_a_batch_that_is_being_undone_is_not_offered_a_cancel_and_refuses_it_without_asking(
    traded: Desk, invoke: Invoke, leave: Leave
) -> None:
    batch_id = leave(_half_undone, UNDO_HANGS, LAST_REFUSED)

    shown = _words(invoke("show", batch_id).out)
    code, asked = traded.on_terminal("cancel", batch_id, "--reason", "enough", width=100)
    paused = invoke("pause", batch_id, "--reason", "asking", "--json").code
    held = [_words(invoke(*words).out) for words in (("show", batch_id), ("check",))]
    told = _words(invoke("run").err)

    assert "saga cancel" not in shown
    assert "what filled is being undone, and that is not cancelled" in shown
    assert code == 6
    assert "it is being undone already" in _words(asked)
    assert "Do it?" not in asked
    assert paused == 0
    for text in (*held, told):
        assert "saga unpause" in text
        assert "saga cancel" not in text


@pytest.mark.requirement("B9", "O7")
def test_a_cancel_says_which_orders_undo_what_filled_and_what_did_if_it_is_not_known(
    traded: Desk, leave: Leave
) -> None:
    batch_id = leave(_not_known, LAST_LOST, SILENT)

    code, asked = traded.on_terminal(
        "cancel", batch_id, "--reason", "enough", width=200, typed="n\n"
    )

    words = _words(asked)
    assert code == 1, "he said no"
    assert re.search(
        r"What filled is undone at the market, newest first: buy 40 KO for about [\d,.]+ USD, "
        r"sell 40 AAPL for about [\d,.]+ USD\.",
        words,
    ), words
    assert re.search(r"Looked up first, as their fate is not known: buy 40 PG \(\S+-2F1\)", words)
    assert "What of the others did fill, or fills before it is over, is undone too: sell up to" in (
        words
    )


@pytest.mark.requirement("O10", "S10", "T11")
@pytest.mark.parametrize(
    ("is_so", "rules", "said", "less", "more"),
    [
        (_not_known, (LAST_LOST, SILENT), "waits for the fate of buy 40 PG", True, False),
        (_half_undone, (UNDO_HANGS, LAST_REFUSED), "to be undone", True, False),
    ],
)
def test_a_portfolio_is_not_in_order_while_nobody_can_account_for_an_order_of_it(
    invoke: Invoke,
    leave: Leave,
    is_so: Callable[[dict[str, str]], bool],
    rules: tuple[FaultRule, ...],
    said: str,
    less: bool,
    more: bool,
) -> None:
    batch_id = leave(is_so, *rules)

    books, data = invoke("portfolio"), invoke("portfolio", "--json").data

    assert books.code == 4
    assert "Portfolio main, PAPER, not all is known" in books.out
    assert said in _words(books.out)
    assert [each.startswith(f"{batch_id} waits for") for each in data["troubles"]] == [True]
    cash, least, most = (Decimal(data[f"cash{end}"]) for end in ("", "_at_least", "_at_most"))
    assert data["cash_is_known"] is False
    assert ((least < cash), (most > cash)) == (less, more)
    assert f"by known fills; about {least:,.2f}" in _words(books.out)


@pytest.mark.requirement("O10", "B9")
def test_what_stays_unknown_is_told_once_to_who_owns_the_store_before_its_batch_is_stale(
    traded: Desk, leave: Leave
) -> None:
    batch_id = leave(_not_known, LAST_LOST, SILENT)
    told: list[str] = []
    late = timedelta(0)

    async def work() -> list[int]:
        nonlocal late
        async with History(traded.home / "saga.db") as history:
            watch = UnknownWatch(history, told.append, now=lambda: datetime.now(UTC) + late)
            counts = []
            for seconds in (0, 61, 71):
                late = timedelta(seconds=seconds)
                await watch.look()
                counts.append(len(told))
            return counts

    counts = anyio.run(work)

    assert counts == [0, 1, 1]
    assert re.match(rf"{batch_id} waits for the fate of buy 40 PG \(\S+-2F1\), since", told[0])
    assert f"`saga show {batch_id}`, and ask the broker about" in told[0]


class _Read(History):
    """Notes which journals were read."""

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self.journals: list[str] = []

    async def journal(self, batch_id: str) -> tuple[JournalRecord, ...]:
        self.journals.append(batch_id)
        return await super().journal(batch_id)


@pytest.mark.requirement("O10", "T16")
@pytest.mark.parametrize(
    ("is_so", "rules", "read"),
    [
        (_part_filled, (LAST_STAYS_OPEN,), [0, 0]),
        (_half_undone, (UNDO_HANGS, LAST_REFUSED), [0, 1]),
        (_not_known, (LAST_LOST, SILENT), [1, 2]),
    ],
)
def test_only_the_journal_of_a_batch_that_may_hang_is_read_to_look_for_what_is_unknown(
    traded: Desk,
    leave: Leave,
    is_so: Callable[[dict[str, str]], bool],
    rules: tuple[FaultRule, ...],
    read: list[int],
) -> None:
    batch_id = leave(is_so, *rules)
    late = timedelta(0)

    async def work() -> list[int]:
        nonlocal late
        async with _Read(traded.home / "saga.db") as history:
            watch = UnknownWatch(history, lambda _: None, now=lambda: datetime.now(UTC) + late)
            counts = []
            for seconds in (0, 61):
                late = timedelta(seconds=seconds)
                await watch.look()
                counts.append(history.journals.count(batch_id))
            return counts

    assert anyio.run(work) == read


@pytest.mark.requirement("O10", "T16")
def test_a_long_journal_is_gone_through_on_a_thread_to_look_for_what_is_unknown(
    traded: Desk, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(_not_known, LAST_LOST, SILENT)
    threads: list[int] = []

    def noted(*words: Any, **more: Any) -> tuple[Waiting, ...]:
        threads.append(threading.get_ident())
        return waiting_of(*words, **more)

    monkeypatch.setattr("saga.turns.LEGS_PER_TURN", 1)
    monkeypatch.setattr("desk.unknown_watch.waiting_of", noted)

    async def work() -> None:
        async with History(traded.home / "saga.db") as history:
            await UnknownWatch(history, lambda _: None).look()

    anyio.run(work)

    assert len(threads) == 1
    assert threads != [threading.get_ident()]


@pytest.mark.requirement("O10", "S13")
def test_a_portfolio_says_that_trading_is_halted(traded: Desk, invoke: Invoke) -> None:
    well = invoke("portfolio")
    (traded.home / "saga.db.halt").write_text("ann: the market is mad")

    halted = invoke("portfolio")

    assert "Portfolio main, PAPER, in order" in well.out
    assert "Portfolio main, PAPER, trading is HALTED" in halted.out
    assert "Trading is HALTED, by halt file: ann: the market is mad" in _words(halted.out)
    assert (well.code, halted.code) == (0, 0), "`saga check` is what waits for a person then"


@pytest.mark.requirement("O7", "T11")
def test_an_undo_that_was_given_up_for_want_of_patience_is_not_explained_with_the_batchs_reason(
    traded: Desk, invoke: Invoke, tmp_path: Path
) -> None:
    retry = ONCE | {"undo_patience_seconds": 0.2}
    legs = [
        {"kind": "buy", "directive_id": f"EXE_{s}", "symbol": s, "quantity": "40", "retry": retry}
        for s in ("AAPL", "PG")
    ]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps({"execution_mode": "ATOMIC", "max_parallel": 1, "directives": legs}))
    anyio.run(PaperExchange(traded.home / "exchange.db").script, UNDO_HANGS, LAST_REFUSED)

    done = invoke("run", file, "--json")
    shown = _words(invoke("show", done.data["batch"]["batch_id"]).out)

    told = [(each["status"], each["filled"]) for each in done.data["orders"]]
    assert told == [
        ("filled", "40"),
        ("refused", "0"),
        ("cancelled, part filled", "10"),
        ("filled", "30"),
    ]
    why = done.data["orders"][2]["reason"]
    assert why.startswith("cancelled by this saga: the undo was not filled after 0.2 seconds")
    assert why in shown
    assert "cancelled by this saga: buy 40 PG failed" not in shown


@pytest.mark.requirement("T11")
def test_no_screen_names_the_class_of_an_error(invoke: Invoke, leave: Leave) -> None:
    batch_id = leave(_not_known, LAST_LOST, SILENT)

    screens = [invoke(*words).out for words in (("show", batch_id), ("events", batch_id))]

    for text in screens:
        assert "the exchange did not answer in time" in _words(text)
        assert "OutcomeUnknown" not in text
