"""What operators booked by hand under the id of a fill, and when it gives way to that fill.

While the journal does not have a fill, an operator may book it by an adjustment that names it. Once
the fill is told of after all, one of the two has to go (S9): the adjustment is taken back by one of
the opposite amount under the same id.
"""

from collections.abc import Iterable
from decimal import Decimal

from saga.events import Adjustment
from saga.exact import ZERO, minus, times, total


def taken_back(
    booked: Iterable[Adjustment], subject: str | None, fill_id: str, shares: Decimal
) -> Adjustment | None:
    """Return what takes back all that was booked under a fill's id; None where nothing gives way.

    It gives way if it is just the fill, in one piece or in some. Many venues number the fills of
    each order from one, and what an operator did about a fill may bear its id as well. So all that
    was booked under the id has to be in the fill's direction, and as much; anything else is left to
    the report of breaks. Cash alone, like a fee, is part of it.

    Args:
        booked: what operators booked for the batch, and what of it was taken back.
        subject: of the fill; None if it changes no holding.
        fill_id: the outside world's id of it.
        shares: the signed change of the holding that it makes.
    """
    named = [each for each in booked if each.names(subject, fill_id)]
    one_way = all(times(each.quantity, shares) >= ZERO for each in named)
    as_much = shares != ZERO and total(each.quantity for each in named) == shares
    if subject is None or not (one_way and as_much):
        return None
    cash = minus(ZERO, total(each.cash for each in named))
    return Adjustment(subject, minus(ZERO, shares), cash, fill_id)
