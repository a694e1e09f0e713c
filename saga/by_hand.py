"""What operators booked by hand under the id of a fill, and when it gives way to that fill.

While the journal does not have a fill, an operator may book it by an adjustment that names it. Once
the fill is told of after all, one of the two has to go (S9).
"""

from collections.abc import Collection
from decimal import Decimal

from saga.exact import ZERO, times, total


def stands_for(booked: Collection[Decimal], shares: Decimal) -> bool:
    """Tell whether what was booked under a fill's id is just that fill, in one piece or in some.

    Many venues number the fills of each order from one, and what an operator did about a fill may
    bear its id as well. So all that was booked under the id has to be in the fill's direction, and
    as much; anything else is left to the report of breaks.

    Args:
        booked: signed changes of the holding, all that bear the id.
        shares: the signed change that the fill makes.
    """
    same = all(times(each, shares) > ZERO for each in booked)
    return same and bool(booked) and total(booked) == shares
