"""What a venue could never take: its terms, its steps, and our keys. Pure."""

import re
from typing import Final

from brokers.orders import Order
from brokers.venue import BrokerCapabilities
from saga.exact import is_multiple, plain
from saga.ids import MAX_KEY_LENGTH, Purpose, attempt_key

_SAMPLES: Final = tuple(
    attempt_key("BAT_20261121_093000_a0z9k3vx", 128, purpose, 64) for purpose in Purpose
)
"""Keys with every sort of character that a key of ours can have."""


def why_never(order: Order, venue: BrokerCapabilities, name: str) -> str | None:
    """Return why a venue could never take an order, and what to do; None if it could.

    What undoes another order is whatever really filled: the venue says itself what it takes of it.
    """
    of = f"of directive {order.directive_id}"
    key = _why_no_key(venue, name)
    if key is not None:
        return key
    if order.time_in_force not in venue.times_in_force:
        taken = ", ".join(sorted(venue.times_in_force)) or "none"
        return f"time_in_force {order.time_in_force} {of} is not taken by {name}; it takes {taken}"
    if order.limit_price is not None and not venue.limit_orders:
        return (
            f"limit_price {plain(order.limit_price)} {of}: {name} takes no limit orders; leave it "
            "out for a market order"
        )
    if order.rollback:
        return None
    if venue.lot is not None and not is_multiple(order.quantity, venue.lot):
        return (
            f"quantity {plain(order.quantity)} {of} must be a multiple of the lot of {name}, "
            f"{plain(venue.lot)}; round it down to whole lots"
        )
    if (
        venue.tick is not None
        and order.limit_price is not None
        and not is_multiple(order.limit_price, venue.tick)
    ):
        return (
            f"limit_price {plain(order.limit_price)} {of} must be a multiple of the tick of "
            f"{name}, {plain(venue.tick)}; round it to whole ticks"
        )
    return None


def _why_no_key(venue: BrokerCapabilities, name: str) -> str | None:
    """A key that the venue cuts or refuses would make the order unfindable."""
    if venue.key_length < MAX_KEY_LENGTH:
        return (
            f"client order id: {name} takes at most {venue.key_length} characters, and ours have "
            f"up to {MAX_KEY_LENGTH}; no order can be sent there safely"
        )
    for key in _SAMPLES:
        if not re.fullmatch(venue.key_pattern, key, re.ASCII):
            return (
                f"client order id: {name} takes ids of the form {venue.key_pattern}, and ours look "
                f"like {key}; no order can be sent there safely"
            )
    return None
