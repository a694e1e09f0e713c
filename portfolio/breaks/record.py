"""What a break is: a kind, whose it is, what each of the three says, and what a person does.

Pure words and numbers; nothing here compares or reads.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from saga.exact import ZERO, minus, plain


class Kind(StrEnum):
    """What is wrong, or, for the last few, what explains a difference."""

    MISSING_AT_BROKER = "missing at broker"
    """The journal knows it, and the broker does not."""
    MISSING_IN_JOURNAL = "missing in journal"
    """The broker or the books have it, and no record of ours says why."""
    LATE = "late"
    """The broker tells of a fill for which its saga waits no more."""
    TAKEN_BACK = "taken back"
    """The broker has reversed a fill that the journal counts."""
    SENT_TWICE = "sent twice"
    """The broker took more than one order under one key."""
    OVERDONE = "overdone"
    """A leg traded more than it asked for, or was undone for more than was done."""
    ORPHAN_ORDER = "orphan order"
    """An order is at the broker, and its saga waits for it no more."""
    ORDER_DIFFERS = "order differs"
    """The broker's order asks for something else than the journal's."""
    QUANTITY_DIFFERS = "quantity differs"
    CASH_DIFFERS = "cash differs"
    NOT_BOOKED = "fill not booked"
    """The journal has it, and the portfolio's ledger does not."""
    BOOKED_TWICE = "booked twice"
    UNPROVEN_ADJUSTMENT = "adjustment unproven"
    """An operator booked something by hand, and no trade at the broker bears it out."""
    RESERVATION_DIFFERS = "reservation differs"
    """What the portfolio holds open, or stale, is not what the journal says is."""
    UNREADABLE = "unreadable"
    """The journal of its saga cannot be read, so that nothing of it can be compared."""
    OPEN_INCIDENT = "open incident"
    """Late truth was booked, and no operator has closed the incident."""
    EXTERNAL = "external"
    """No saga made it, and no operator has named it."""
    IN_FLIGHT = "in flight"
    """Explained: its saga is under way, and is about to hear of it."""
    RESIDUAL = "residual"
    """Explained: its saga is STALE, and says itself that it does not know."""
    RESOLVED = "resolved"
    """Explained: an operator booked it by hand."""
    NO_PORTFOLIO = "no portfolio"
    """Explained: its batch trades for no portfolio, so that it is in no books."""


@dataclass(frozen=True, slots=True)
class Says:
    """What one of the three says: signed, in shares or contracts, and in the account's currency.

    Attributes:
        quantity: change of what is held, or what is held; None where it says nothing of that.
        cash: change of the cash, fees included, or the cash; None where it says nothing of that.
    """

    quantity: Decimal | None
    cash: Decimal | None = None

    @property
    def words(self) -> str:
        """It in a few words."""
        parts = [] if self.quantity is None else [plain(self.quantity)]
        if self.cash is not None:
            parts.append(f"{money(self.cash)} cash")
        return ", ".join(parts)


def money(amount: Decimal) -> str:
    """Return an amount of money exactly, with at least two places."""
    whole, _, places = plain(amount).partition(".")
    return f"{whole}.{places.ljust(2, '0')}"


@dataclass(frozen=True, slots=True)
class Break:
    """One difference, or one that is explained.

    Attributes:
        batch_id: the saga that owns it; None if it is external.
        symbol: the symbol; None for cash and for what concerns none.
        sentence: what is wrong.
        journal: what the journal says; None if it knows nothing of it.
        broker: what the broker says.
        portfolio: what the portfolio's books say.
        since: when it came about, as far as that can be told, UTC.
        client_order_id: of the order that it concerns.
        trade_id: the broker's id of the trade that it concerns.
        gap: broker less portfolio, so far as this break makes it.
        explained: why it is no break; None if it is one.
    """

    kind: Kind
    batch_id: str | None
    symbol: str | None
    sentence: str
    journal: Says | None = None
    broker: Says | None = None
    portfolio: Says | None = None
    since: datetime | None = None
    client_order_id: str | None = None
    trade_id: str | None = None
    gap: Says = Says(ZERO, ZERO)
    explained: str | None = None

    @property
    def owner(self) -> str:
        """The saga's id, or `external`."""
        return self.batch_id or "external"

    @property
    def what_to_do(self) -> str:
        """What a person does about it."""
        return _WHAT_TO_DO.get(self.kind, _SHOW).replace("ID", self.batch_id or "ID")


@dataclass(frozen=True, slots=True)
class SymbolTotal:
    """What is held of a symbol, or the cash, in all.

    Attributes:
        symbol: the symbol; None for cash.
        portfolio: what all portfolios' books say.
        broker: what the broker says.
        explained: how much of the difference is explained.
        by_breaks: how much of it the listed breaks make.
    """

    symbol: str | None
    portfolio: Decimal
    broker: Decimal
    explained: Decimal
    by_breaks: Decimal

    @property
    def difference(self) -> Decimal:
        """Broker less portfolio."""
        return minus(self.broker, self.portfolio)

    @property
    def unexplained(self) -> Decimal:
        """What neither explains."""
        return minus(minus(self.difference, self.explained), self.by_breaks)


@dataclass(frozen=True, slots=True)
class BreakReport:
    """What a comparison found.

    Attributes:
        breaks: what is wrong.
        explained: differences that work under way, a STALE residual or an operator explains.
        totals: by symbol, and cash last; empty where the broker told no positions.
        sagas: how many sagas were compared.
        orders: how many orders of ours the broker told of; None without a broker.
        fills: how many fills of the journal were compared.
    """

    breaks: tuple[Break, ...]
    explained: tuple[Break, ...]
    totals: tuple[SymbolTotal, ...]
    sagas: int
    orders: int | None
    fills: int

    @property
    def needs_a_person(self) -> bool:
        """Nothing is broken, but something is explained only by what waits for a person."""
        return any(each.kind is Kind.RESIDUAL for each in self.explained)


_SHOW: Final = "`saga show ID` and `saga events ID`; ask the broker about it before anything else"
_STOP: Final = (
    "send nothing more from this store, keep a copy of its folder, and report it with "
    "`saga events ID`"
)
_WHAT_TO_DO: Final = {
    Kind.MISSING_AT_BROKER: "ask the broker for the order and its trades; `saga events ID` has "
    "what it told before",
    Kind.MISSING_IN_JOURNAL: _STOP,
    Kind.LATE: "`saga incident look ID` asks the broker again and books what it says",
    Kind.TAKEN_BACK: "`saga incident look ID` asks the broker again and books what it says; ask it "
    "why",
    Kind.SENT_TWICE: _STOP,
    Kind.OVERDONE: _STOP,
    Kind.ORPHAN_ORDER: "cancel it at the broker if it is open; `saga events ID` shows why nobody "
    "waits for it",
    Kind.ORDER_DIFFERS: _STOP,
    Kind.QUANTITY_DIFFERS: "compare with the broker's statement; trade nothing in the symbol until "
    "it is explained",
    Kind.CASH_DIFFERS: "compare with the broker's statement: a fee, a dividend, a transfer that "
    "was not booked, or a price that was corrected",
    Kind.NOT_BOOKED: _STOP,
    Kind.BOOKED_TWICE: _STOP,
    Kind.UNPROVEN_ADJUSTMENT: "ask who resolved ID for the trade id that it names, or does not",
    Kind.RESERVATION_DIFFERS: _STOP,
    Kind.UNREADABLE: "`saga events ID` shows how far it came; settle its orders with the broker by "
    "hand",
    Kind.OPEN_INCIDENT: "`saga show ID` says what came late; deal with it, then `saga incident "
    "close ID --reason ...`",
    Kind.EXTERNAL: "find out who did it at the broker; if it dealt with what a STALE batch left "
    "over, `saga resolve ID --adjust SYMBOL,QUANTITY,CASH,TRADE_ID` books it",
    Kind.IN_FLIGHT: "nothing, while a saga process runs; if none does, `saga run` without a file "
    "carries it on",
    Kind.RESIDUAL: "`saga show ID`, then `saga retry` or `saga resolve`",
    Kind.RESOLVED: "nothing",
    Kind.NO_PORTFOLIO: "nothing",
}
