"""What the engine's process and the exchange's process say to each other: lines of JSON.

One connection carries one call and its answer. Numbers go as the text of exact decimals. There is
no line for "it timed out": a call whose answer is lost is a call that nobody answers.
"""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from brokers.venue import Account, OrderRequest, OrderState, Position, Trade

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer line ends the connection."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of the venue.

    Attributes:
        call: `place`, `cancel`, `find`, `open_orders`, `positions`, `account` or `trades`.
        key: the client order id, for `cancel` and `find`.
        request: the order, for `place`.
        after: the sequence number, for `trades`.
    """

    call: str
    key: str = ""
    request: OrderRequest | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """The venue's answer: what is said, or why it is refused.

    Attributes:
        refused: the order was provably not accepted, for this reason.
        key_taken: the key names another order.
    """

    refused: str | None = None
    key_taken: str | None = None
    order: OrderState | None = None
    orders: tuple[OrderState, ...] = ()
    positions: tuple[Position, ...] = ()
    trades: tuple[Trade, ...] = ()
    account: Account | None = None


ASKED: Final = TypeAdapter(Asked)
ANSWERED: Final = TypeAdapter(Answered)


def asked_line(asked: Asked) -> bytes:
    """Return a call as a line."""
    return ASKED.dump_json(asked) + b"\n"


def answered_line(answered: Answered) -> bytes:
    """Return an answer as a line."""
    return ANSWERED.dump_json(answered) + b"\n"
