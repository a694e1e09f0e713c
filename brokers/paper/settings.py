"""How a paper exchange works, as it is said when its books are made."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from brokers.symbols import Symbol
from brokers.venue import BrokerCapabilities, Idempotency
from saga.amounts import NonNegativeAmount, PositiveAmount
from saga.exact import ONE, ZERO
from saga.policy import Seconds


class PaperSettings(BaseModel):
    """How the exchange works; fixed when its books are made.

    Attributes:
        account: the fingerprint of its one account.
        currency: of cash, prices and fees.
        lot: quantities are whole numbers of these.
        tick: prices are whole numbers of these, in the currency.
        slippage_basis_points: how much worse than the close a market order fills.
        fee_per_unit: of each execution, per share or contract, in the currency.
        fee_minimum: least fee of one execution, in the currency.
        liquidity: most that one order fills in a day; None is no bound.
        listed: further symbols beside the 20 stocks, each with its fixed price.
        idempotent: how long the same client order id is not taken twice.
        tombstones: cancelling an unknown client order id makes it unusable for ever.
        visibility_seconds: how long after its acceptance an order is not found by look-ups.
        declared_visibility_seconds: what the exchange tells of that; None tells the truth. A venue
            that is slower than it says is a fault of its own.
        latency_seconds: how long each call takes, so that people can watch.
        call_timeout_seconds: how long the engine should wait for one call.
        poll_seconds: how often the engine should look an open order up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: Annotated[str, Field(min_length=1, max_length=64)] = "PAPER-1"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    lot: PositiveAmount = ONE
    tick: PositiveAmount = Decimal("0.001")
    slippage_basis_points: Annotated[NonNegativeAmount, Field(lt=10_000)] = ZERO
    fee_per_unit: NonNegativeAmount = ZERO
    fee_minimum: NonNegativeAmount = ZERO
    liquidity: PositiveAmount | None = None
    listed: dict[Symbol, PositiveAmount] = {}
    idempotent: Idempotency = Idempotency.FOREVER
    tombstones: bool = False
    visibility_seconds: Seconds = 0.0
    declared_visibility_seconds: Seconds | None = None
    latency_seconds: Seconds = 0.0
    call_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0

    def capabilities(self) -> BrokerCapabilities:
        """Return what the exchange says that it can do."""
        declared = self.declared_visibility_seconds
        return BrokerCapabilities(
            idempotent=self.idempotent,
            lot=self.lot,
            tick=self.tick,
            tombstone=self.tombstones,
            visibility_seconds=self.visibility_seconds if declared is None else declared,
            call_timeout_seconds=self.call_timeout_seconds,
            poll_seconds=self.poll_seconds,
        )
