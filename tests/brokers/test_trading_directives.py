"""Buy, sell, cancel: what is checked, and what undoes what."""

import re
from decimal import Decimal

import pytest

from brokers import Buy, CancelOrder, Sell, TimeInForce
from brokers.orders import Order
from saga.errors import InvalidInput
from saga.ids import DIRECTIVE_ID_PATTERN
from saga.model import Batch, ExecutionMode, parse_batch
from saga.outcome import Fill, Outcome
from saga.policy import RetryPolicy
from tests.brokers.samples import BATCH_ID, buy, limited, sell


def _filled(*quantities: str, price: str = "150.25") -> Outcome:
    return Outcome(
        tuple(Fill(f"F{n}", Decimal(q), Decimal(price)) for n, q in enumerate(quantities))
    )


def _complaint(**fields: object) -> str:
    document = {"kind": "buy", "directive_id": "EXE_1", "symbol": "AAPL", "quantity": "10"}
    with pytest.raises(InvalidInput) as refused:
        parse_batch({"execution_mode": "ATOMIC", "directives": [document | fields]})
    return str(refused.value)


@pytest.mark.requirement("O5")
def test_buying_is_undone_by_selling_exactly_what_was_filled() -> None:
    order = buy(100)

    inverse = order.inverse(_filled("30", "7"))

    assert isinstance(inverse, Sell)
    assert (inverse.symbol, inverse.quantity) == ("AAPL", Decimal(37))
    assert inverse.limit_price is None
    assert inverse.reference_price == Decimal("150.25")


@pytest.mark.requirement("O5")
def test_selling_is_undone_by_buying_exactly_what_was_filled() -> None:
    inverse = sell(100).inverse(_filled("100"))

    assert isinstance(inverse, Buy)
    assert inverse.quantity == Decimal(100)


@pytest.mark.requirement("O8")
def test_only_an_inverse_is_marked_as_rollback() -> None:
    assert buy().rollback is False
    assert sell().rollback is False
    assert buy().inverse(_filled("1")).rollback is True


@pytest.mark.requirement("O1", "O2")
def test_an_order_stands_alone_or_carries_the_id_of_its_batch() -> None:
    alone = buy()
    member = alone.model_copy(update={"batch_id": BATCH_ID})

    assert alone.batch_id is None
    assert member.inverse(_filled("1")).batch_id == BATCH_ID


@pytest.mark.requirement("O1")
def test_an_order_of_another_batch_is_refused() -> None:
    member = buy().model_copy(update={"batch_id": BATCH_ID})

    with pytest.raises(ValueError, match="BAT_20261120_120000_00001"):
        Batch(directives=(member,), execution_mode=ExecutionMode.ATOMIC)


def test_an_inverse_may_be_an_odd_lot_because_that_is_what_was_filled() -> None:
    order = Buy(directive_id="EXE_1", symbol="AAPL", quantity=Decimal(100), lot=Decimal(10))

    inverse = order.inverse(_filled("37"))

    assert (inverse.quantity, inverse.lot) == (Decimal(37), Decimal(10))


def test_the_rest_of_an_order_may_be_an_odd_lot() -> None:
    order = Buy(directive_id="EXE_1", symbol="AAPL", quantity=Decimal(100), lot=Decimal(10))

    rest = order.for_amount(Decimal(63))

    assert rest.quantity == Decimal(63)
    assert rest.model_copy(update={"quantity": order.quantity}) == order


def test_the_whole_of_an_order_is_the_order_itself() -> None:
    order = buy(100)

    assert order.for_amount(Decimal("100.0")) is order


@pytest.mark.parametrize("rest", ["0", "-1", "NaN"])
def test_the_rest_of_an_order_is_positive(rest: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        buy().for_amount(Decimal(rest))


def test_orders_are_described_in_a_few_words() -> None:
    assert buy(5).describe() == "buy 5 AAPL"
    assert limited(sell("20.0"), "150.50").describe() == "sell 20 AAPL at 150.5 or better"
    cancel = CancelOrder(directive_id="EXE_1", client_order_id="DESK-1")
    assert cancel.describe() == "cancel order DESK-1"


def test_an_inverse_keeps_the_retry_policy() -> None:
    policy = RetryPolicy(compensation_attempts=7)
    order = buy().model_copy(update={"retry": policy})

    assert order.inverse(_filled("1")).retry == policy


def test_an_order_that_took_no_effect_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="took no effect"):
        buy().inverse(Outcome(()))


def test_an_inverse_of_shares_that_cost_nothing_has_no_reference_price() -> None:
    assert sell().inverse(_filled("1", price="0")).model_dump()["reference_price"] is None


@pytest.mark.parametrize("length", [1, 54, 55, 56, 60])
def test_the_id_of_an_inverse_keeps_to_the_pattern(length: int) -> None:
    order = buy().model_copy(update={"directive_id": "EXE_" + "x" * length})
    other = buy().model_copy(update={"directive_id": "EXE_" + "x" * (length - 1) + "y"})

    inverse_id = order.inverse(_filled("1")).directive_id

    assert re.fullmatch(DIRECTIVE_ID_PATTERN, inverse_id)
    assert inverse_id.endswith("-undo")
    assert inverse_id != other.inverse(_filled("1")).directive_id


def test_an_order_tells_the_engine_how_much_of_what_and_which_way() -> None:
    assert (buy(5).amount, buy().subject, buy().direction) == (Decimal(5), "AAPL", 1)
    assert (sell(5).amount, sell().subject, sell().direction) == (Decimal(5), "AAPL", -1)
    assert buy().can_be_undone
    assert sell().can_be_undone


@pytest.mark.parametrize("order", [buy(), sell()], ids=lambda order: order.kind)
def test_an_order_says_beforehand_what_kind_undoes_it(order: Order) -> None:
    assert order.kind_of_undo == order.inverse(_filled("1")).kind


def test_a_cancel_is_indivisible_and_cannot_be_undone() -> None:
    cancel = CancelOrder(directive_id="EXE_1", client_order_id="20261120_120000_00001-0F1")

    assert (cancel.amount, cancel.direction, cancel.subject) == (Decimal(1), 0, None)
    assert not cancel.can_be_undone
    with pytest.raises(NotImplementedError):
        cancel.inverse(_filled("1"))


def test_orders_survive_a_round_trip_through_json() -> None:
    batch = Batch(
        directives=(
            Buy(
                directive_id="EXE_1",
                symbol="BRK.B",
                quantity=Decimal("0.5"),
                lot=Decimal("0.1"),
                limit_price=Decimal("300.05"),
                tick=Decimal("0.05"),
                time_in_force=TimeInForce.GTC,
            ),
            sell(3, number=2).inverse(_filled("2.5")),
            CancelOrder(directive_id="EXE_3", client_order_id="DESK-1", symbol="AAPL"),
        ),
        execution_mode=ExecutionMode.PARALLEL,
    )

    assert parse_batch(batch.model_dump_json()) == batch


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quantity": "105", "lot": "10"}, ("quantity 105", "lot 10", "round")),
        ({"limit_price": "1.03", "tick": "0.05"}, ("limit_price 1.03", "tick 0.05", "round")),
        ({"quantity": "0"}, ("quantity", "0")),
        ({"quantity": "-1"}, ("quantity", "-1")),
        ({"quantity": 0.5}, ("quantity", "0.5", "float")),
        ({"quantity": "NaN"}, ("quantity", "NaN")),
        ({"limit_price": "0"}, ("limit_price", "0")),
        ({"lot": "0"}, ("lot", "0")),
        ({"symbol": "aapl"}, ("symbol", "aapl", "pattern")),
        ({"symbol": "../../x"}, ("symbol", "../../x")),
        ({"symbol": "AAPL\n"}, ("symbol", "pattern")),
        ({"symbol": "\uff21"}, ("symbol", "pattern")),
        ({"time_in_force": "FOK"}, ("time_in_force", "FOK")),
        ({"quanity": "1"}, ("quanity",)),
        ({"kind": "cancel_order", "client_order_id": "a b"}, ("client_order_id", "a b")),
        ({"kind": "cancel_order", "client_order_id": "x" * 37}, ("client_order_id", "xxx")),
    ],
)
def test_bad_fields_are_refused_by_name_value_and_rule(
    fields: dict[str, object], said: tuple[str, ...]
) -> None:
    if fields.get("kind") == "cancel_order":
        fields = fields | {"symbol": "AAPL"}
        with pytest.raises(InvalidInput) as refused:
            parse_batch(
                {"execution_mode": "PARALLEL", "directives": [{"directive_id": "EXE_1"} | fields]}
            )
        complaint = str(refused.value)
    else:
        complaint = _complaint(**fields)

    for part in said:
        assert part in complaint
    assert "\n" not in complaint
