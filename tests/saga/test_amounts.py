"""Quantities at the door: exact, plain, bounded, or refused with the reason."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from saga.amounts import MAX_NUMBER_BITS, Amount, NonNegativeAmount, PositiveAmount
from saga.exact import MAX_DECIMAL_PLACES, MAX_DIGITS

AMOUNT: TypeAdapter[Any] = TypeAdapter(Amount)
POSITIVE: TypeAdapter[Any] = TypeAdapter(PositiveAmount)
NON_NEGATIVE: TypeAdapter[Any] = TypeAdapter(NonNegativeAmount)


def refusal(adapter: TypeAdapter[Any], value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    (complaint,) = caught.value.errors()
    return str(complaint["msg"])


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0, "0 is not positive; give a number above 0"),
        ("0.00", "0.00 is not positive; give a number above 0"),
        ("-0", "-0 is not positive; give a number above 0"),
        ("-5", "-5 is not positive; give a number above 0"),
        (Decimal("-5.5"), "-5.5 is not positive; give a number above 0"),
        (Decimal("NaN"), "NaN is not finite; give a number"),
        (Decimal("sNaN"), "sNaN is not finite; give a number"),
        (Decimal("-Infinity"), "-Infinity is not finite; give a number"),
        (0.1, "0.1 is a float, which is not exact; write it as a string, like '0.1'"),
        (1.0, "1.0 is a float, which is not exact; write it as a string, like '0.1'"),
        (float("nan"), "nan is a float, which is not exact; write it as a string, like '0.1'"),
        (float("inf"), "inf is a float, which is not exact; write it as a string, like '0.1'"),
        (True, "True is not a number; write it as a string of digits, like '0.1'"),
        (None, "None is not a number; write it as a string of digits, like '0.1'"),
        ([1], "[1] is not a number; write it as a string of digits, like '0.1'"),
        (
            Decimal("0.0000000000001"),
            "1E-13 has more than 12 digits behind the point; round it to the instrument's step",
        ),
        (10**28, "1" + "0" * 28 + " has more than 28 digits; round it to the instrument's step"),
    ],
)
def test_what_is_no_positive_amount_is_refused_with_value_rule_and_remedy(
    value: object, sentence: str
) -> None:
    assert refusal(POSITIVE, value) == sentence


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    "text",
    # Full-width, spaces, underscores, exponents, names, commas, hex, Arabic digits, a line break.
    [
        *("\uff11", " 1", "1 ", "1_000", "1e30", "1E-5", "NaN", "Infinity", "inf", "", "."),
        *("1,000", "1,5", "0x10", "\u0661", "1\n", "1\x00", "+-1", "--1", "1.2.3", "\u22121", "$5"),
    ],
)
def test_text_that_is_not_plain_digits_is_refused(text: str) -> None:
    assert refusal(POSITIVE, text) == (
        f"{text!r} is not a plain number; use ASCII digits and one point, like '1250.5'"
    )


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    "value",
    [
        *("1" * 29, "0." + "1" * 29, "9" * 10_000_000, "0" * 65, Decimal("1E+28")),
        *(Decimal("1E+999999"), Decimal("0E+100"), 10**5_000, -(10**28)),
        Decimal(12345678901234567890123456789),
    ],
    ids=lambda value: type(value).__name__,
)
def test_more_than_28_digits_are_refused_in_a_short_sentence_at_once(value: object) -> None:
    sentence = refusal(AMOUNT, value)
    assert "has more than 28 digits; round it to the instrument's step" in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize("text", ["1e30", "1e-30", "1E30"])
def test_an_exponent_in_text_is_no_plain_number(text: str) -> None:
    assert "is not a plain number" in refusal(AMOUNT, text)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (7, "7"),
        ("7", "7"),
        ("+7.50", "7.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        (Decimal("1E+27"), "1E+27"),
        ("9999999999999999.999999999999", "9999999999999999.999999999999"),
        (10**28 - 1, "9" * 28),
        ("0.000000000001", "1E-12"),
    ],
)
def test_exact_amounts_are_taken_as_they_are(value: object, amount: str) -> None:
    assert POSITIVE.validate_python(value) == Decimal(amount)


def test_no_integer_of_28_digits_has_more_bits_than_the_bound() -> None:
    assert (10**MAX_DIGITS - 1).bit_length() <= MAX_NUMBER_BITS
    assert 2**MAX_NUMBER_BITS >= 10**MAX_DIGITS


@given(st.integers(-(10**MAX_DIGITS) + 1, 10**MAX_DIGITS - 1), st.integers(0, MAX_DECIMAL_PLACES))
def test_every_permitted_amount_survives_its_json_text(unscaled: int, places: int) -> None:
    amount = Decimal(unscaled).scaleb(-places)
    encoded = AMOUNT.dump_json(amount)
    assert AMOUNT.validate_json(encoded) == amount
    assert Fraction(AMOUNT.validate_json(encoded)) == Fraction(unscaled, 10**places)


def test_zero_is_not_negative() -> None:
    assert NON_NEGATIVE.validate_python("0") == 0
    assert refusal(NON_NEGATIVE, "-0.01") == "-0.01 is negative; give 0 or a number above it"


@pytest.mark.requirement("E10")
def test_the_schema_of_an_amount_admits_no_json_float() -> None:
    kinds = {option["type"] for option in AMOUNT.json_schema()["anyOf"]}
    assert kinds == {"integer", "string"}
