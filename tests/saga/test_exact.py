"""Exact arithmetic, compared with fractions, which never round."""

from decimal import Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from saga.exact import (
    MAX_DECIMAL_PLACES,
    MAX_DIGITS,
    ZERO,
    exponent_of,
    floor_to_step,
    is_multiple,
    minus,
    plain,
    plus,
    steps_in,
    times,
    total,
)

LARGEST = 10**MAX_DIGITS - 1

amounts = st.builds(
    lambda unscaled, places: Decimal(unscaled).scaleb(-places),
    st.integers(-LARGEST, LARGEST),
    st.integers(0, MAX_DECIMAL_PLACES),
) | st.sampled_from([ZERO, Decimal("-0"), Decimal("1E+27"), Decimal("1E-12"), Decimal("-0.10")])
positive = amounts.filter(lambda amount: amount > 0)


@pytest.mark.requirement("S10")
@given(amounts, amounts)
def test_sums_differences_and_products_are_exact(left: Decimal, right: Decimal) -> None:
    assert Fraction(plus(left, right)) == Fraction(left) + Fraction(right)
    assert Fraction(minus(left, right)) == Fraction(left) - Fraction(right)
    assert Fraction(times(left, right)) == Fraction(left) * Fraction(right)


@pytest.mark.requirement("S10")
@given(amounts, amounts)
def test_the_ambient_context_changes_nothing(left: Decimal, right: Decimal) -> None:
    with localcontext() as context:
        context.prec = 3
        assert Fraction(times(left, right)) == Fraction(left) * Fraction(right)
        assert Fraction(plus(left, right)) == Fraction(left) + Fraction(right)
        assert Fraction(plain(left)) == Fraction(left)


@pytest.mark.requirement("S10")
@given(st.lists(amounts))
def test_a_total_is_exact_in_any_order(many: list[Decimal]) -> None:
    assert Fraction(total(many)) == sum(map(Fraction, many), Fraction(0))
    assert total(many) == total(reversed(many))


def test_a_total_of_nothing_is_zero() -> None:
    assert total([]) == ZERO


def test_a_result_that_would_have_to_be_rounded_is_an_error() -> None:
    too_wide = Decimal("1E-150")
    with pytest.raises(Inexact):
        plus(Decimal("1E+100"), too_wide)


@given(amounts, positive)
def test_the_floor_is_the_largest_multiple_of_the_step_not_above(
    amount: Decimal, step: Decimal
) -> None:
    floor = floor_to_step(amount, step)
    assert Fraction(floor) == Fraction(step) * (Fraction(amount) // Fraction(step))
    assert floor <= amount < plus(floor, step)
    assert is_multiple(floor, step)
    assert floor_to_step(floor, step) == floor


@given(amounts, positive)
def test_an_amount_is_a_multiple_exactly_when_the_division_leaves_nothing(
    amount: Decimal, step: Decimal
) -> None:
    assert is_multiple(amount, step) == (Fraction(amount) % Fraction(step) == 0)


@pytest.mark.parametrize("step", ["0", "-1"])
def test_a_step_that_is_not_positive_is_refused(step: str) -> None:
    with pytest.raises(ValueError, match=f"step must be positive, not {step}"):
        steps_in(Decimal(1), Decimal(step))


@given(amounts)
def test_plain_text_is_digits_only_and_comes_back_equal(amount: Decimal) -> None:
    text = plain(amount)
    assert Decimal(text) == amount
    assert set(text) <= set("-.0123456789")
    assert plain(Decimal(text)) == text
    assert text != "-0"


@given(amounts, amounts)
def test_equal_amounts_have_one_plain_text(left: Decimal, right: Decimal) -> None:
    assume(left != right)
    assert plain(left) != plain(right)
    assert plain(left) == plain(times(left, Decimal("1.00")))


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1.2E+3", "1200"), ("0.250", "0.25"), ("-3.0", "-3"), ("-0.00", "0"), ("100", "100")],
)
def test_plain_text_of_known_amounts(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text
    with localcontext(capitals=0):
        assert plain(Decimal(amount)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False) | amounts)
def test_the_exponent_is_that_of_the_digits_as_they_are_written(number: Decimal) -> None:
    assert exponent_of(number) == number.as_tuple().exponent


@pytest.mark.parametrize(
    "text", ["0", "-0", "0.000", "-0E-7", "0E5", "1E+999999999999", "1E-999999999999", "1.50"]
)
def test_no_exponent_is_too_far_out_to_be_told(text: str) -> None:
    with localcontext(prec=1):
        assert exponent_of(Decimal(text)) == Decimal(text).as_tuple().exponent
