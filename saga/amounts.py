"""The types of quantities, prices and money at the door: `Decimal`, exact, and of bounded size.

A float is refused rather than converted: by the time a float arrives, the number that somebody
meant is gone. The text form is plain ASCII digits, so that ` 1`, `1_000` or full-width digits,
which `Decimal` would accept, do not pass for numbers.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from saga.exact import MAX_DECIMAL_PLACES, MAX_DIGITS, exponent_of, plain
from saga.wording import shown

_NUMBER_PATTERN = r"^[+-]?(\d+(\.\d*)?|\.\d+)$"
_NUMBER = re.compile(_NUMBER_PATTERN, re.ASCII)

MAX_NUMBER_LENGTH = 64
"""Most characters of a number as text: the digits, a sign, a point, and some leading zeros."""
MAX_NUMBER_BITS = 94
"""Integers of more bits than this have more than `MAX_DIGITS` digits."""


_TOO_LONG = f"has more than {MAX_DIGITS} digits; round it to the instrument's step"


def _refuse(value: object, rule: str) -> PydanticCustomError:
    return PydanticCustomError("amount", "{text}", {"text": f"{shown(value)} {rule}"})


def to_decimal(value: object) -> Decimal:
    """Return the exact decimal that `value` writes down.

    Args:
        value: a `Decimal`, an `int`, or a string of plain digits with an optional point.

    Raises:
        PydanticCustomError: it is a float, NaN, infinite, over-precise, or no number at all.
    """
    # Asked before anything is converted: converting a number of a million digits takes minutes.
    if isinstance(value, str):
        if len(value) > MAX_NUMBER_LENGTH:
            raise _refuse(value, _TOO_LONG)
        # fullmatch, because `$` would let a trailing newline through.
        if not _NUMBER.fullmatch(value):
            raise _refuse(
                value, "is not a plain number; use ASCII digits and one point, like '1250.5'"
            )
        amount = Decimal(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > MAX_NUMBER_BITS:
            raise _refuse(value, _TOO_LONG)
        amount = Decimal(value)
    elif isinstance(value, Decimal):
        amount = Decimal(value)  # of a subclass as well
    elif isinstance(value, float):
        raise _refuse(value, "is a float, which is not exact; write it as a string, like '0.1'")
    else:
        raise _refuse(value, "is not a number; write it as a string of digits, like '0.1'")
    if not amount.is_finite():
        raise _refuse(value, "is not finite; give a number")
    exponent = exponent_of(amount)
    if amount.adjusted() + 1 - min(exponent, 0) > MAX_DIGITS:
        raise _refuse(value, _TOO_LONG)
    if -exponent > MAX_DECIMAL_PLACES:
        raise _refuse(
            value,
            f"has more than {MAX_DECIMAL_PLACES} digits behind the point; "
            "round it to the instrument's step",
        )
    return amount


def _above_zero(value: Decimal) -> Decimal:
    if value > 0:
        return value
    raise _refuse(value, "is not positive; give a number above 0")


def _not_below_zero(value: Decimal) -> Decimal:
    if value >= 0:
        return value
    raise _refuse(value, "is negative; give 0 or a number above it")


Amount = Annotated[
    Decimal,
    BeforeValidator(to_decimal),
    PlainSerializer(plain, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _NUMBER_PATTERN}]}
    ),
]
"""Any exact decimal of permitted size."""

PositiveAmount = Annotated[Amount, AfterValidator(_above_zero)]
"""An exact decimal above zero: a quantity, a price, a step."""

NonNegativeAmount = Annotated[Amount, AfterValidator(_not_below_zero)]
"""An exact decimal of zero or more: a fee, a budget."""
