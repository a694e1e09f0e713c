"""What operators booked by hand under the id of a fill, and when it gives way to that fill.

While the journal does not have a fill, an operator may book it by an adjustment that names it. Once
the fill is told of after all, one of the two has to go (S9): the adjustment is taken back by one of
the opposite amount under the same id.
"""

from collections.abc import Collection
from decimal import Decimal

from saga.exact import ZERO, times, total


def stands_for(booked: Collection[Decimal], shares: Decimal) -> bool:
    """Tell whether what was booked under a fill's id is just that fill, in one piece or in some.

    Many venues number the fills of each order from one, and what an operator did about a fill may
    bear its id as well. So all that was booked under the id has to be in the fill's direction, and
    as much; anything else is left to the report of breaks. Cash alone, like a fee, is part of it.

    Args:
        booked: signed changes of the holding, all that bear the id, what was taken back as well.
        shares: the signed change that the fill makes.
    """
    return all(times(each, shares) >= ZERO for each in booked) and total(booked) == shares != ZERO
