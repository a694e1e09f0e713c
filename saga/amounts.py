"""The types of quantities, prices and money at the door: `Decimal`, exact, and of bounded size.

A float is refused rather than converted: by the time a float arrives, the number that somebody
meant is gone. The text form is plain ASCII digits, so that ` 1`, `1_000` or full-width digits, which
`Decimal` would accept, do not pass for numbers.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from saga.exact import MAX_DECIMAL_PLACES, MAX_DIGITS, plain

_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)$", re.ASCII)
_MAX_SHOWN = 40


def _refuse(value: object, rule: str) -> PydanticCustomError:
    shown = repr(value)
    if len(shown) > _MAX_SHOWN:
        shown = shown[:_MAX_SHOWN] + "..."
    return PydanticCustomError("amount", "{shown} {rule}", {"shown": shown, "rule": rule})


def to_decimal(value: object) -> Decimal:
    """Return the exact decimal that `value` writes down.

    Args:
        value: a `Decimal`, an `int`, or a string of plain digits with an optional point.

    Raises:
        PydanticCustomError: it is a float, NaN, infinite, over-precise, or no number at all.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        if isinstance(value, float):
            raise _refuse(value, "is a float, which is not exact; write it as a string, like '0.1'")
        raise _refuse(value, "is not a number; write it as a string of digits, like '0.1'")
    if isinstance(value, str) and not _NUMBER.match(value):
        raise _refuse(value, "is not a plain number; use ASCII digits and one point, like '1250.5'")
    amount = Decimal(value)
    if not amount.is_finite():
        raise _refuse(value, "is not finite; give a number")
    _, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) + max(exponent, 0) > MAX_DIGITS:
        raise _refuse(value, f"has more than {MAX_DIGITS} digits; round it to the instrument's step")
    if -exponent > MAX_DECIMAL_PLACES:
        raise _refuse(
            value,
            f"has more than {MAX_DECIMAL_PLACES} digits behind the point; "
            "round it to the instrument's step",
        )
    return amount


Amount = Annotated[
    Decimal, BeforeValidator(to_decimal), PlainSerializer(plain, return_type=str, when_used="json")
]
"""Any exact decimal of permitted size."""

PositiveAmount = Annotated[Amount, Field(gt=0)]
"""An exact decimal above zero: a quantity, a price, a step."""

NonNegativeAmount = Annotated[Amount, Field(ge=0)]
"""An exact decimal of zero or more: a fee, a budget."""
