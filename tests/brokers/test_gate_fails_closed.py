"""What the gate cannot judge does not pass it; and nobody slips through while another waits."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import anyio
import pytest

from brokers.risk import RiskGate, RiskLimits
from saga.amounts import PositiveAmount
from saga.directive import Directive, directive_kind
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from saga.participant import Attempt
from tests.engine.trading_desk import batch, buy

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@directive_kind
class Swap(Directive):
    """Trades, and is no order."""

    kind: Literal["gate_test_swap"] = "gate_test_swap"
    notional: PositiveAmount

    @property
    def amount(self) -> Decimal:
        return self.notional

    @property
    def direction(self) -> int:
        return 1


def attempt_of(order: Directive, of: Batch) -> Attempt:
    return Attempt(f"{of.batch_id[4:]}-0F1", of.batch_id, 0, Purpose.FORWARD, 1, order)


@pytest.mark.requirement("S13")
async def test_what_trades_and_is_no_order_passes_no_limit() -> None:
    swap = Swap(directive_id="EXE_1", notional=Decimal(1_000_000))
    of = Batch(directives=(swap,), execution_mode=ExecutionMode.ATOMIC)
    limited = RiskGate(RiskLimits(max_order_quantity=Decimal(10)))

    at_the_door = await limited.judge_batch(of, NOW)
    before_the_send = await limited.judge(attempt_of(swap, of), of, NOW)
    reducing = await RiskGate(RiskLimits()).lowers_exposure(attempt_of(swap, of), of)

    assert at_the_door is not None
    assert before_the_send is not None
    assert "of kind 'gate_test_swap'" in before_the_send.sentence
    assert reducing is not None
    assert await RiskGate(RiskLimits()).judge(attempt_of(swap, of), of, NOW) is None


@pytest.mark.scenario("H8")
@pytest.mark.requirement("S13")
async def test_of_two_equal_orders_that_wait_their_turn_one_passes() -> None:
    gate = RiskGate(
        RiskLimits(duplicate_window_seconds=60.0, max_orders_per_second=1, max_wait_seconds=2.0)
    )
    first, second, third = (batch(buy(symbol)) for symbol in ("IBM", "AAPL", "AAPL"))
    assert await gate.judge(attempt_of(first.directives[0], first), first, NOW) is None
    passed: list[bool] = []

    async def judge(of: Batch) -> None:
        passed.append(await gate.judge(attempt_of(of.directives[0], of), of, NOW) is None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge, second)
        tasks.start_soon(judge, third)

    assert sorted(passed) == [False, True]
