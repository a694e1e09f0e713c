"""The limits of one account, as an operator sets them. None of them is on unless it is set."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from brokers.symbols import Symbol
from saga.amounts import PositiveAmount
from saga.policy import Seconds
from saga.wording import broken_rule, shown

_Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


def _at_most_all(fraction: Decimal) -> Decimal:
    if fraction > 1:
        raise broken_rule(
            f"must be a fraction of the price and at most 1, not {shown(fraction)}; 0.05 is 5 %"
        )
    return fraction


Fraction = Annotated[PositiveAmount, AfterValidator(_at_most_all)]
"""A share of a price: 0.05 is 5 %."""


class RiskLimits(BaseModel):
    """What may go out at most. All but the last two hold for forward orders.

    Attributes:
        symbols: the only symbols that may be traded.
        max_order_quantity: of one order, in shares or contracts.
        max_order_notional: of one order, in the account's currency.
        max_batch_notional: of all orders of a batch together, in the account's currency.
        price_collar: how far a limit price may be on the wrong side of the reference price, as a
            fraction of it: 0.05 lets a buy at most 5 % above it pass, a sale at most 5 % below it.
        max_reference_age_seconds: an older reference price is as good as none.
        max_orders_per_second: one more waits its turn; see `max_wait_seconds`.
        max_wait_seconds: an order that would wait longer is refused.
        max_orders_per_day: within any 24 hours, those before a restart included.
        duplicate_window_seconds: an order that repeats one of another batch within this is refused.
        max_compensations_per_second: as for orders; the budget that undoing has for itself.
        max_compensations_per_day: within any 24 hours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbols: frozenset[Symbol] | None = None
    max_order_quantity: PositiveAmount | None = None
    max_order_notional: PositiveAmount | None = None
    max_batch_notional: PositiveAmount | None = None
    price_collar: Fraction | None = None
    max_reference_age_seconds: Seconds = 60.0
    max_orders_per_second: _Count | None = None
    max_wait_seconds: Annotated[Seconds, Field(le=4)] = 2.0
    max_orders_per_day: _Count | None = None
    duplicate_window_seconds: Seconds = 0.0
    max_compensations_per_second: _Count | None = None
    max_compensations_per_day: _Count | None = None

    @property
    def needs_reference(self) -> bool:
        """Some limit cannot be judged without a reference price."""
        return not (self.max_order_notional is self.max_batch_notional is self.price_collar is None)
