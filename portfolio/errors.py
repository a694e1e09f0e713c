"""What a portfolio refuses, as errors of the engine's family.

    SagaError
    ├── NotAllowed
    │   ├── PortfolioStale        a rollback of it could not be finished; it trades nothing new
    │   ├── InsufficientCash      what a batch needs at worst is more than is free
    │   ├── InsufficientShares    a batch sells more of a symbol than is free
    │   ├── AlreadyInitialised    it holds something already
    │   └── TransferNotBooked     cash that came in or leaves was not booked
    └── InvalidInput
        ├── NoSuchPortfolio       no books were opened under that name
        ├── CannotReserve         what a directive needs at worst cannot be told
        └── CannotPlan            weights, prices or settings from which no plan can be made

All but `TransferNotBooked` are raised before anything is stored, and all before any order is made.
"""

from decimal import Decimal

from saga.errors import InvalidInput, NotAllowed


class PortfolioStale(NotAllowed):
    """The portfolio waits for an operator; nothing new is traded (rule 6).

    Attributes:
        batch_id: the batch that could not be undone.
    """

    def __init__(self, message: str, *, batch_id: str | None = None) -> None:
        super().__init__(message)
        self.batch_id = batch_id


class InsufficientCash(NotAllowed):
    """What the batch needs at worst, its undo included, is more than is free.

    Attributes:
        needed: what it needs, in the portfolio's currency.
        free: what is free, in the portfolio's currency.
    """

    def __init__(
        self, message: str, *, needed: Decimal | None = None, free: Decimal | None = None
    ) -> None:
        super().__init__(message)
        self.needed = needed
        self.free = free


class InsufficientShares(NotAllowed):
    """The batch sells more of a symbol than is free.

    Attributes:
        symbol: the symbol.
        needed: what it sells at worst, in shares.
        free: what is free, in shares.
    """

    def __init__(
        self,
        message: str,
        *,
        symbol: str | None = None,
        needed: Decimal | None = None,
        free: Decimal | None = None,
    ) -> None:
        super().__init__(message)
        self.symbol = symbol
        self.needed = needed
        self.free = free


class AlreadyInitialised(NotAllowed):
    """The portfolio holds something already; it is rebalanced, not initialised."""


class TransferNotBooked(NotAllowed):
    """A deposit or withdrawal was not carried out: the books are as they were.

    Attributes:
        batch_id: the batch that was to book it; None if none was made.
    """

    def __init__(self, message: str, *, batch_id: str | None = None) -> None:
        super().__init__(message)
        self.batch_id = batch_id


class NoSuchPortfolio(InvalidInput):
    """No books were opened under this name."""


class CannotReserve(InvalidInput):
    """What a directive needs at worst cannot be told, so that nothing can be reserved for it."""


class CannotPlan(InvalidInput):
    """Weights, prices or settings from which no plan can be made."""
