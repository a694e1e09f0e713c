"""What a batch left over, what an operator did about it by hand, and what difference remains.

Read from the journal alone. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from desk.exposure import InPlace
from desk.output import Column, Value, instant
from saga.events import Resolved
from saga.exact import ZERO, plain, plus, total
from saga.ledger import Saga

CLOSING_COLUMNS = (
    Column("symbol", "symbol"),
    Column("left", "left over", right=True),
    Column("adjusted", "adjusted by hand", right=True),
    Column("remains", "remaining difference", right=True),
)


@dataclass(frozen=True, slots=True)
class Settled:
    """What was left of one symbol, and what was done about it.

    Attributes:
        low: least signed quantity that was left.
        high: most of it.
        adjusted: signed change that was made by hand.
        is_named: somebody said by how much it was changed, be it by nothing.
    """

    symbol: str
    low: Decimal
    high: Decimal
    adjusted: Decimal
    is_named: bool = True

    @property
    def remains(self) -> tuple[Decimal, Decimal]:
        """Least and most of what is left after the change by hand."""
        return plus(self.low, self.adjusted), plus(self.high, self.adjusted)


@dataclass(frozen=True, slots=True)
class Closing:
    """How a batch was closed by hand.

    Attributes:
        event: what the operator said.
        at: when, UTC.
        settled: symbol by symbol.
        keeps: the batch keeps what it did, so that only what nobody could say is a difference.
    """

    event: Resolved
    at: datetime
    settled: tuple[Settled, ...]
    keeps: bool = False

    @property
    def cash(self) -> Decimal:
        """The signed change of cash that was made by hand."""
        return total(each.cash for each in self.event.adjustments)

    @property
    def has_difference(self) -> bool:
        """Something is left that no change by hand accounts for."""
        if self.keeps:
            return any(each.low != each.high and not each.is_named for each in self.settled)
        return any(end for each in self.settled for end in each.remains)

    def facts(self) -> list[tuple[str, Value]]:
        """Return what is told of it beside the table."""
        said = self.event
        return [
            ("closed", f"by hand by {said.by} at {instant(self.at)}: {said.reason}"),
            ("action", said.action),
            ("evidence", said.evidence),
        ]

    def lines(self) -> list[dict[str, Value]]:
        """Return the rows of the table."""
        return [
            {
                "symbol": each.symbol,
                "left": interval(each.low, each.high),
                "adjusted": signed(each.adjusted),
                "remains": interval(*each.remains),
            }
            for each in self.settled
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        said = self.event
        return {
            "by": said.by,
            "at": self.at,
            "reason": said.reason,
            "action": said.action,
            "evidence": said.evidence,
            "cash": self.cash,
            "adjustments": [
                {
                    "symbol": each.subject,
                    "quantity": each.quantity,
                    "cash": each.cash,
                    "reference": each.reference,
                }
                for each in said.adjustments
            ],
            "symbols": [
                {
                    "symbol": each.symbol,
                    "left_low": each.low,
                    "left_high": each.high,
                    "adjusted": each.adjusted,
                    "remains_low": each.remains[0],
                    "remains_high": each.remains[1],
                }
                for each in self.settled
            ],
        }


def closing_of(saga: Saga, left: Sequence[InPlace]) -> Closing | None:
    """Return how a saga was closed by hand; None if it was not.

    Args:
        saga: what its journal tells.
        left: what was left over.
    """
    if saga.resolved is None or saga.rested_at is None:
        return None
    changed: dict[str, Decimal] = {each.symbol: ZERO for each in left}
    for adjustment in saga.resolved.adjustments:
        before = changed.get(adjustment.subject, ZERO)
        changed[adjustment.subject] = plus(before, adjustment.quantity)
    ends = {each.symbol: (each.low, each.high) for each in left}
    named = {each.subject for each in saga.resolved.adjustments}
    settled = (
        Settled(symbol, *ends.get(symbol, (ZERO, ZERO)), change, symbol in named)
        for symbol, change in changed.items()
    )
    # It rests since then: whatever was told later does not move that.
    return Closing(saga.resolved, saga.rested_at, tuple(settled), keeps=not saga.undoes)


def interval(low: Decimal, high: Decimal) -> str:
    """Return a signed quantity, or the two it lies between."""
    return signed(low) if low == high else f"{signed(low)} to {signed(high)}"


def signed(amount: Decimal) -> str:
    """Return a quantity with its sign, as a change is written."""
    return f"+{plain(amount)}" if amount > 0 else plain(amount)
