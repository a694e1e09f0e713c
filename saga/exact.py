"""Exact arithmetic on `Decimal`: what would have to be rounded is an error, never a surprise.

Python's default context rounds every sum and product to 28 digits in silence. Quantities, prices
and amounts are added and multiplied only through the functions here, whose context holds any
result that inputs of the permitted size can give. Rounding happens at one place, explicitly, by
an instrument's own step: `floor_to_step`.
"""

from collections.abc import Iterable
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Final

MAX_DIGITS = 28
"""Most significant digits of a quantity, price or amount that comes from outside."""

MAX_DECIMAL_PLACES = 12
"""Most digits behind the point of a quantity, price or amount that comes from outside."""

EXACT = Context(prec=200, traps=[Clamped, DivisionByZero, Inexact, InvalidOperation, Overflow])

_WIDEST = Context(prec=1, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
"""Traps nothing: zero times any finite number is zero, and the number's exponent."""

ZERO = Decimal(0)
ONE = Decimal(1)


plus: Final = EXACT.add
"""Returns the exact sum of two numbers."""

minus: Final = EXACT.subtract
"""Returns the exact difference of two numbers."""

times: Final = EXACT.multiply
"""Returns the exact product of two numbers."""

# A context takes longer to look a method of its own up than to reckon: bound once for all.
_remainder: Final = EXACT.remainder
_written: Final = EXACT.to_sci_string
_widely_times: Final = _WIDEST.multiply


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum of all amounts; zero when there are none."""
    result = ZERO
    for amount in amounts:
        result = plus(result, amount)
    return result


def exponent_of(number: Decimal) -> int:
    """Return the exponent of a finite number, without writing out its digits first."""
    return _widely_times(number, ZERO).adjusted()


def steps_in(amount: Decimal, step: Decimal) -> int:
    """Return how many whole steps fit into a non-negative amount."""
    _check_step(step)
    # Cross-multiplying as integers keeps the division exact whatever the exponents are.
    numerator, denominator = amount.as_integer_ratio()
    step_numerator, step_denominator = step.as_integer_ratio()
    return (numerator * step_denominator) // (denominator * step_numerator)


def floor_to_step(amount: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `amount`."""
    return times(Decimal(steps_in(amount, step)), step)


def is_multiple(amount: Decimal, step: Decimal) -> bool:
    """Tell whether `amount` is a whole number of steps."""
    _check_step(step)
    return _remainder(amount, step) == 0


def _check_step(step: Decimal) -> None:
    if step <= 0:
        raise ValueError(f"step must be positive, not {step}")


def plain(amount: Decimal) -> str:
    """Return the amount as digits without exponent or trailing zeros: `1200`, `0.25`, `-3`."""
    text = _written(amount)
    if "E" in text:  # rare, and writing it without costs three times as much
        text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
