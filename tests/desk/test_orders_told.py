"""What held an order back is told as what it was: a limit, the trading state, or a broken part."""

import re
from pathlib import Path

import pytest

import saga
from desk.orders_told import orders_of, withheld_by
from desk.telling import told
from saga.events import Withheld
from saga.ids import Purpose
from saga.store.protocol import JournalRecord
from tests.core.telling import BATCH_ID, batch_of, started


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("max_order_quantity", "withheld by your own limit"),
        ("trading_state", "withheld by the trading state"),
        ("gate", "withheld as the gate could not judge it"),
        ("kind", "withheld as the gate cannot judge its kind"),
        ("fence", "withheld as the store did not confirm its owner in time"),
        ("engine_left", "withheld as its process ended before its turn came"),
    ],
)
def test_what_held_an_order_back_is_said_in_the_table_and_in_the_journal(
    limit: str, words: str
) -> None:
    event = Withheld(0, Purpose.FORWARD, 1, limit, "so")
    telling = started(batch_of(5)).tell(event)
    records = [
        JournalRecord(number, BATCH_ID, number, at, each, b"")
        for number, at, each in telling.journal
    ]

    (order,) = orders_of(telling.saga, records, {})

    assert order.status == f"{words}; never sent"
    assert told(event) == f"step 1: not sent, {words}: so"


@pytest.mark.requirement("S13")
def test_nothing_that_the_engine_itself_holds_back_is_called_a_limit_of_yours() -> None:
    sources = [file.read_text(encoding="utf-8") for file in Path(saga.__file__).parent.glob("*.py")]
    named = {name for text in sources for name in re.findall(r'Refusal\(\s*"(\w+)"', text)}

    assert {"trading_state", "fence", "too_late"} <= named
    assert [name for name in sorted(named) if "limit" in withheld_by(name)] == []
