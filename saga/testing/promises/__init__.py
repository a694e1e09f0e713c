"""The contract of a participant, promise by promise; each is tried on a venue of its own."""

from saga.testing.promises import amounts, calls, door, endings, keys, orders
from saga.testing.promises.promise import Promise

PROMISES: tuple[Promise, ...] = (
    *door.PROMISES,
    *orders.PROMISES,
    *amounts.PROMISES,
    *keys.PROMISES,
    *endings.PROMISES,
    *calls.PROMISES,
)
"""All of them, in the order in which a new adapter best keeps them."""

__all__ = ["PROMISES", "Promise"]
