"""The JSON schema and its examples, and the batches in `examples/`."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokers import Order, Side, TimeInForce
from brokers.paper import PaperExchange
from saga.model import Batch, ExecutionMode, parse_batch
from tests.brokers.samples import attempt, new_exchange, request

EXAMPLES = Path(__file__).parents[2] / "examples"

HELD = {
    "AAPL": 120,
    "MSFT": 45,
    "JPM": 80,
    "XOM": 200,
    "UNH": 15,
    "CVX": 25,
    "LLY": 12,
    "AMD": 100,
    "AAPL-20221216-C150": 10,
    "AAPL-20221216-P130": 10,
}


def _batch(name: str) -> Batch:
    return parse_batch((EXAMPLES / f"{name}.json").read_bytes())


def _schema_examples() -> list[dict[str, Any]]:
    examples = Batch.model_json_schema()["examples"]
    assert isinstance(examples, list)
    return examples


@pytest.fixture
async def exchange(tmp_path: Path) -> PaperExchange:
    """An exchange whose account holds what the examples need."""
    exchange = new_exchange(tmp_path)
    for symbol, quantity in HELD.items():
        await exchange.trade_by_hand(Side.BUY, Decimal(quantity), symbol)
    return exchange


@pytest.mark.requirement("E10")
def test_the_schema_knows_every_registered_kind() -> None:
    schema = Batch.model_json_schema()

    shapes = schema["properties"]["directives"]["items"]
    kinds = {shape["properties"]["kind"]["const"] for shape in shapes["oneOf"]}
    assert schema["title"] == "ExecutionDirectiveBatch"
    assert {"buy", "sell", "cancel_order"} <= kinds


@pytest.mark.requirement("E10")
def test_the_three_examples_of_the_schema_are_batches() -> None:
    emergency, cancel, hedge = (parse_batch(json.dumps(e)) for e in _schema_examples())

    assert (emergency.execution_mode, len(emergency.directives)) == (ExecutionMode.ATOMIC, 3)
    assert emergency.timeout_seconds == 30
    assert emergency.metadata is not None
    assert emergency.metadata["reason"] == "FLASH_CRASH"
    assert (cancel.execution_mode, len(cancel.directives)) == (ExecutionMode.PARALLEL, 20)
    assert cancel.timeout_seconds == 10
    assert {directive.kind for directive in cancel.directives} == {"cancel_order"}
    assert (hedge.execution_mode, len(hedge.directives)) == (ExecutionMode.SEQUENTIAL, 2)


@pytest.mark.requirement("E11")
@pytest.mark.parametrize(
    ("name", "mode", "legs"),
    [
        ("emergency_exit", ExecutionMode.ATOMIC, 5),
        ("rebalance", ExecutionMode.ATOMIC, 10),
        ("hedge", ExecutionMode.SEQUENTIAL, 2),
        ("options_spread", ExecutionMode.ATOMIC, 4),
    ],
)
async def test_an_example_is_a_batch_that_the_exchange_fills(
    exchange: PaperExchange, name: str, mode: ExecutionMode, legs: int
) -> None:
    batch = _batch(name)

    assert (batch.execution_mode, len(batch.directives)) == (mode, legs)
    for step, directive in enumerate(batch.directives):
        exchange.check(directive)
        report = await exchange.send(attempt(directive, step))
        assert report.final, directive.describe()
        assert sum(fill.quantity for fill in report.fills) == directive.amount


@pytest.mark.requirement("E11")
async def test_twenty_open_orders_are_cancelled_by_the_example(exchange: PaperExchange) -> None:
    for number in range(1, 21):
        await exchange.place_order(
            request(f"DESK-ORDER-{number:02}", Side.BUY, 1, "KO", "1.00", TimeInForce.GTC)
        )
    batch = _batch("bulk_cancel")

    reports = [await exchange.send(attempt(d, step)) for step, d in enumerate(batch.directives)]

    assert len(reports) == 20
    assert all(report.fills for report in reports)
    assert await exchange.open_orders() == ()


@pytest.mark.requirement("E11")
def test_a_rebalance_sells_before_it_buys() -> None:
    sides = [order.side for order in _batch("rebalance").directives if isinstance(order, Order)]

    assert sides == sorted(sides, key=[Side.SELL, Side.BUY].index)
