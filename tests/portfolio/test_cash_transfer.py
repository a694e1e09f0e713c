"""Cash in and out, as a directive and its participant."""

from decimal import Decimal

import pytest

from brokers.orders import Buy
from portfolio import CashDesk, CashTransfer
from portfolio.transfer import Way
from saga.errors import NotServed
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode, parse_batch
from saga.outcome import Fill, Outcome
from saga.participant import Attempt

DEPOSIT = CashTransfer(
    directive_id="EXE_1", portfolio="main", way=Way.DEPOSIT, cash=Decimal("12.5"), currency="USD"
)
ATTEMPT = Attempt("key-1", "BAT_20261121_093000_k3v9x", 0, Purpose.FORWARD, 1, DEPOSIT)


@pytest.mark.requirement("D5")
def test_the_inverse_takes_out_exactly_what_was_booked() -> None:
    inverse = DEPOSIT.inverse(Outcome((Fill("f", Decimal("12.5")),)))
    assert (inverse.way, inverse.cash, inverse.rollback) == (Way.WITHDRAWAL, Decimal("12.5"), True)
    assert inverse.inverse(Outcome((Fill("f", Decimal("12.5")),))).way is Way.DEPOSIT


@pytest.mark.requirement("S9")
async def test_the_desk_answers_at_once_and_the_same_whenever_it_is_asked() -> None:
    desk = CashDesk()
    report = await desk.send(ATTEMPT)
    assert report.final
    assert report.fills == (Fill("key-1", Decimal("12.5")),)
    assert await desk.look_up(ATTEMPT) == report


def test_the_desk_carries_out_nothing_else() -> None:
    with pytest.raises(NotServed, match="kind 'buy' of directive EXE_1"):
        CashDesk().check(Buy(directive_id="EXE_1", symbol="KO", quantity=1))


@pytest.mark.requirement("E8")
def test_a_batch_of_transfers_survives_a_round_trip() -> None:
    batch = Batch(directives=(DEPOSIT,), execution_mode=ExecutionMode.SEQUENTIAL)
    assert parse_batch(batch.model_dump_json()) == batch
