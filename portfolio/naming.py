"""Which portfolio a batch belongs to, told from the batch alone.

A trading batch belongs to the portfolio that its exclusion key names: `portfolio:main`. The same
key makes the engine run one batch of a portfolio at a time. A batch that moves cash in or out
names its portfolio in its directives, so that it need not wait for the portfolio's turn.
"""

import re
from typing import Final

from portfolio.errors import CannotPlan
from portfolio.transfer import CashTransfer
from saga.errors import InvalidInput
from saga.model import Batch
from saga.wording import shown

KEY_PREFIX: Final = "portfolio:"
"""An exclusion key that begins so names a portfolio."""
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$"
_NAME: Final = re.compile(NAME_PATTERN, re.ASCII)


def checked_name(name: str) -> str:
    """Return the name of a portfolio, if it is one.

    Raises:
        CannotPlan: it has another form.
    """
    if not _NAME.fullmatch(name):
        raise CannotPlan(
            f"portfolio name {shown(name)} must match pattern {NAME_PATTERN}; for example 'main'"
        )
    return name


def exclusion_key(name: str) -> str:
    """Return the exclusion key of the batches of a portfolio."""
    return KEY_PREFIX + checked_name(name)


def portfolio_of(batch: Batch) -> str | None:
    """Return the name of the portfolio that an accepted batch belongs to; None if to none.

    It is asked for every record, so that it looks at one directive only: `check_unmixed` has made
    sure, when the batch came in, that the others are of the same sort.
    """
    first = batch.directives[0]
    if isinstance(first, CashTransfer):
        return first.portfolio
    key = batch.exclusion_key
    return key.removeprefix(KEY_PREFIX) if key and key.startswith(KEY_PREFIX) else None


def check_unmixed(batch: Batch) -> None:
    """Refuse a batch that moves cash and does other things as well.

    Raises:
        InvalidInput: it does, or it moves cash in two portfolios, or under an exclusion key.
    """
    names = {each.portfolio for each in batch.directives if isinstance(each, CashTransfer)}
    if not names:
        return
    mixed = not all(isinstance(each, CashTransfer) for each in batch.directives)
    if mixed or len(names) > 1 or batch.exclusion_key:
        raise InvalidInput(
            f"directives: batch {batch.batch_id} mixes cash_transfer directives with others, "
            "names more than one portfolio, or has an exclusion key; "
            "give the transfers of one portfolio a batch of their own, without a key"
        )
