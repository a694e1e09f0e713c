"""An order that a venue could never take is refused before it is stored, in a sentence."""

from decimal import Decimal
from pathlib import Path

import pytest

from brokers import Buy, TimeInForce
from brokers.door import why_never
from brokers.orders import Order
from brokers.paper import PaperSettings
from brokers.venue import BrokerCapabilities
from saga.errors import InvalidInput
from tests.brokers.samples import new_exchange


def order(**more: object) -> Order:
    return Buy.model_validate(
        {"directive_id": "EXE_1", "symbol": "KO", "quantity": Decimal(10), **more}
    )


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("venue", "asked", "words"),
    [
        (
            {"times_in_force": frozenset({TimeInForce.DAY})},
            order(time_in_force="GTC"),
            "time_in_force GTC of directive EXE_1 is not taken by here; it takes DAY",
        ),
        (
            {"limit_orders": False},
            order(limit_price=Decimal(5)),
            "here takes no limit orders; leave it out for a market order",
        ),
        (
            {"lot": Decimal(100)},
            order(),
            "quantity 10 of directive EXE_1 must be a multiple of the lot of here, 100",
        ),
        (
            {"tick": Decimal("0.05")},
            order(limit_price=Decimal("5.01")),
            "limit_price 5.01 of directive EXE_1 must be a multiple of the tick of here, 0.05",
        ),
    ],
)
def test_what_a_venue_never_takes_is_refused_with_what_it_takes(
    venue: dict[str, object], asked: Order, words: str
) -> None:
    assert why_never(asked, BrokerCapabilities(), "here") is None

    why = why_never(asked, BrokerCapabilities.model_validate(venue), "here")

    assert why is not None
    assert words in why


@pytest.mark.requirement("E9")
@pytest.mark.scenario("C15")
@pytest.mark.parametrize(
    ("venue", "words"),
    [
        ({"key_length": 20}, "takes at most 20 characters, and ours have up to 36"),
        ({"key_pattern": "[0-9]*"}, "takes ids of the form [0-9]*, and ours look like 2026"),
        ({"key_pattern": "[0-9a-z_-]*"}, "no order can be sent there safely"),
    ],
)
def test_a_venue_whose_ids_are_too_short_or_of_another_alphabet_gets_no_order(
    venue: dict[str, object], words: str
) -> None:
    why = why_never(order(), BrokerCapabilities.model_validate(venue), "here")

    assert why is not None
    assert words in why


def test_an_undo_of_what_really_filled_is_the_venues_to_judge() -> None:
    odd = order(quantity=Decimal(7), rollback=True, lot=Decimal(100))

    assert why_never(odd, BrokerCapabilities(lot=Decimal(100)), "here") is None


async def test_the_paper_exchange_refuses_odd_lots_and_prices_between_ticks(tmp_path: Path) -> None:
    exchange = new_exchange(tmp_path, settings=PaperSettings(lot=Decimal(10)))

    exchange.check(order())
    for asked in (order(quantity=Decimal(7)), order(limit_price=Decimal("5.00001"))):
        with pytest.raises(InvalidInput, match="must be a multiple of the"):
            exchange.check(asked)
