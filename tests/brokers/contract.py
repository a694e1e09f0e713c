"""What every broker must do beside being a participant, written for the abstract class.

What it owes the engine as a participant is tried by `saga.testing`, once for all adapters. Here are
the calls that only a broker has: lists, positions, cash, trades, cancels as directives.

A subclass gives the fixture `broker`, a connection to an empty account with cash, at a venue that
trades `symbol` and fills a market order at once.
"""

from abc import ABC, abstractmethod
from decimal import Decimal

import pytest

from brokers import (
    Broker,
    Buy,
    CancelOrder,
    NoRegister,
    Order,
    OrderRefused,
    OrderStatus,
    Side,
    TimeInForce,
)
from saga.errors import NotServed
from saga.participant import Participant
from saga.policy import Capabilities
from tests.brokers.samples import attempt, buy, limited, request, sell
from tests.store.sample_appends import Sample

FAR_BELOW = "0.01"
"""A limit price at which no buy ever fills."""


def _resting(quantity: int = 10) -> Order:
    return limited(buy(quantity), FAR_BELOW, TimeInForce.GTC)


class BrokerContract(ABC):
    """The contract; collected where it is subclassed."""

    @pytest.fixture
    @abstractmethod
    def broker(self) -> Broker:
        """A connection to an empty account with cash."""

    def test_it_is_a_participant_for_orders_and_cancels(self, broker: Broker) -> None:
        participant: Participant = broker

        assert participant.name
        assert participant.kinds == {"buy", "sell", "cancel_order"}
        assert type(participant.capabilities) is Capabilities

    def test_it_refuses_kinds_that_it_does_not_carry_out(self, broker: Broker) -> None:
        with pytest.raises(NotServed, match="store_sample"):
            broker.check(Sample(directive_id="EXE_1"))

    async def test_fills_carry_an_id_a_price_and_an_instant(self, broker: Broker) -> None:
        (fill,) = (await broker.send(attempt(buy(10)))).fills

        assert fill.fill_id
        assert fill.price > 0
        assert fill.at is not None
        assert fill.at.utcoffset() is not None

    async def test_an_order_that_was_never_sent_is_not_found(self, broker: Broker) -> None:
        assert await broker.find_order("never-sent") is None

    async def test_the_venue_call_says_that_it_refused(self, broker: Broker) -> None:
        with pytest.raises(OrderRefused):
            await broker.place_order(request("short", Side.SELL))

    async def test_an_open_order_is_listed_until_it_is_withdrawn(self, broker: Broker) -> None:
        resting = attempt(_resting())

        sent = await broker.send(resting)
        listed = await broker.open_orders()
        await broker.withdraw(resting)
        found = await broker.look_up(resting)

        assert not sent.final
        assert [state.client_order_id for state in listed] == [resting.key]
        assert await broker.open_orders() == ()
        assert found is not None
        assert found.final
        assert found.fills == ()
        assert found.reason

    async def test_positions_and_cash_follow_the_fills(self, broker: Broker) -> None:
        before = await broker.account()
        (fill,) = (await broker.send(attempt(buy(10)))).fills
        after = await broker.account()

        assert [(p.symbol, p.quantity) for p in await broker.positions()] == [("AAPL", Decimal(10))]
        assert before.cash - after.cash == fill.quantity * fill.price + fill.fee
        assert (after.currency, after.fingerprint) == (before.currency, before.fingerprint)

    async def test_trades_are_told_in_order_and_can_be_taken_up(self, broker: Broker) -> None:
        await broker.send(attempt(buy(10)))
        await broker.send(attempt(sell(4), step=1))

        first, second = await broker.trades()

        assert (first.side, first.quantity) == (Side.BUY, Decimal(10))
        assert (second.side, second.quantity) == (Side.SELL, Decimal(4))
        assert first.client_order_id == attempt(buy(10)).key
        assert await broker.trades(first.sequence) == (second,)
        assert await broker.trades(second.sequence) == ()

    async def test_a_cancel_takes_effect_on_an_open_order(self, broker: Broker) -> None:
        resting = attempt(_resting())
        await broker.send(resting)
        cancel = attempt(CancelOrder(directive_id="EXE_2", client_order_id=resting.key), step=1)

        before = await broker.look_up(cancel)
        report = await broker.send(cancel)
        again = await broker.send(cancel)

        assert before is None
        assert report.final
        assert [(fill.fill_id, fill.quantity) for fill in report.fills] == [
            (cancel.key, Decimal(1))
        ]
        assert again == report
        assert await broker.look_up(cancel) == report
        state = await broker.find_order(resting.key)
        assert state is not None
        assert state.status is OrderStatus.CANCELLED

    async def test_a_cancel_of_a_filled_order_is_refused(self, broker: Broker) -> None:
        target = attempt(buy(10))
        await broker.send(target)
        cancel = attempt(CancelOrder(directive_id="EXE_2", client_order_id=target.key), step=1)

        report = await broker.send(cancel)

        assert report.final
        assert report.fills == ()
        assert report.reason is not None
        assert "filled" in report.reason
        assert await broker.look_up(cancel) == report

    async def test_a_cancel_of_an_unknown_order_is_refused(self, broker: Broker) -> None:
        cancel = attempt(CancelOrder(directive_id="EXE_2", client_order_id="nobody-s"))

        report = await broker.send(cancel)

        assert report.final
        assert report.fills == ()
        assert report.reason is not None
        assert "nobody-s" in report.reason
        assert await broker.look_up(cancel) is None

    async def test_the_reference_price_is_never_sent(self, broker: Broker) -> None:
        plain = buy(10)
        informed = Buy.model_validate({**plain.model_dump(), "reference_price": "0.01"})

        report = await broker.send(attempt(informed))

        assert report.final
        assert sum(fill.quantity for fill in report.fills) == 10

    async def test_questions_about_batches_need_a_register(self, broker: Broker) -> None:
        with pytest.raises(NoRegister, match=r"attach\(\)"):
            await broker.batch_operations("BAT_20261120_120000_00001")
        with pytest.raises(NoRegister, match=r"attach\(\)"):
            await broker.batch_rollback("BAT_20261120_120000_00001")
