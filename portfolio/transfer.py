"""Cash that comes into a portfolio or leaves it, as a directive like any other.

Everything that changes the books stands in the journal, so depositing and withdrawing are sagas as
well. No order is made: the directive says that the money has been moved (or is moved) outside, and
the cash desk answers at once. Asked again after a crash it gives the same answer.
"""

from collections.abc import Set
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from saga.amounts import PositiveAmount
from saga.directive import Directive, directive_kind
from saga.errors import NotServed
from saga.exact import plain
from saga.outcome import Fill, Outcome, Report
from saga.participant import Attempt
from saga.policy import Capabilities

KIND: Final = "cash_transfer"


class Way(StrEnum):
    """Which way cash moves."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


@directive_kind
class CashTransfer(Directive):
    """Book cash that came into a portfolio, or left it.

    Attributes:
        portfolio: the name of the portfolio; its books are opened by its first deposit.
        way: deposit or withdrawal.
        cash: how much, positive, in `currency`.
        currency: ISO 4217 code; the same for the whole life of a portfolio.
    """

    kind: Literal["cash_transfer"] = "cash_transfer"
    portfolio: Annotated[str, Field(min_length=1, max_length=64)]
    way: Way
    cash: PositiveAmount
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"

    @property
    def amount(self) -> Decimal:
        """How much cash."""
        return self.cash

    @property
    def can_be_undone(self) -> bool:
        """True: the same amount goes the other way."""
        return True

    @property
    def signed(self) -> int:
        """+1 for a deposit, -1 for a withdrawal."""
        return 1 if self.way is Way.DEPOSIT else -1

    def inverse(self, outcome: Outcome) -> "CashTransfer":
        """Return the transfer of exactly what was moved, the other way."""
        other = Way.WITHDRAWAL if self.way is Way.DEPOSIT else Way.DEPOSIT
        return CashTransfer(
            directive_id=self.directive_id,
            batch_id=self.batch_id,
            rollback=True,
            portfolio=self.portfolio,
            way=other,
            cash=outcome.done,
            currency=self.currency,
        )

    def describe(self) -> str:
        """Return the transfer in a few words."""
        return f"{self.way} of {plain(self.cash)} {self.currency}"


class CashDesk:
    """The participant that carries out cash transfers: by saying that they are done."""

    @property
    def name(self) -> str:
        """A name for people."""
        return "cash desk"

    @property
    def kinds(self) -> Set[str]:
        """Cash transfers."""
        return frozenset({KIND})

    @property
    def capabilities(self) -> Capabilities:
        """It knows everything about every key at once, and nothing of it is ever open."""
        return Capabilities(cancel=False, visibility_seconds=0.0)

    def check(self, directive: Directive) -> None:
        """Refuse what is no cash transfer.

        Raises:
            NotServed: it is none.
        """
        if not isinstance(directive, CashTransfer):
            raise NotServed(
                f"kind {directive.kind!r} of directive {directive.directive_id} is not one that "
                f"the cash desk carries out; it carries out {KIND}"
            )

    async def send(self, attempt: Attempt) -> Report:
        """Answer that the cash was moved."""
        self.check(attempt.directive)
        # The effect is the record of it, so the key of the attempt is the id of the movement.
        fill = Fill(fill_id=attempt.key, quantity=attempt.directive.amount)
        return Report(final=True, fills=(fill,), reference=attempt.key)

    async def look_up(self, attempt: Attempt) -> Report | None:
        """Give the same answer as to `send`."""
        return await self.send(attempt)

    async def withdraw(self, attempt: Attempt) -> None:
        """Nothing is ever open."""
