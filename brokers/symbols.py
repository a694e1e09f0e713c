"""The strict text forms under which instruments and orders are named."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from saga.wording import broken_rule, shown

SYMBOL_PATTERN = r"^[A-Z0-9][A-Z0-9.\-]{0,23}$"
"""Long enough for option symbols such as `AAPL-20221216-C150`."""

CLIENT_ORDER_ID_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z_.:\-]{0,35}$"
"""The alphabet and the length that common venues accept (saga.ids.MAX_KEY_LENGTH)."""


def _matching(field: str, pattern: str, hint: str) -> BeforeValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: object) -> str:
        # fullmatch, because `$` would let a trailing newline through.
        if isinstance(value, str) and compiled.fullmatch(value):
            return value
        raise broken_rule(f"{field} must match pattern {pattern}, not {shown(value)}; {hint}")

    return BeforeValidator(check)


Symbol = Annotated[
    str,
    _matching("symbol", SYMBOL_PATTERN, "for example AAPL or BRK.B"),
    WithJsonSchema({"type": "string", "pattern": SYMBOL_PATTERN}),
]
"""The name of an instrument."""

ClientOrderId = Annotated[
    str,
    _matching(
        "client_order_id", CLIENT_ORDER_ID_PATTERN, "take it from the order that is to be cancelled"
    ),
    WithJsonSchema({"type": "string", "pattern": CLIENT_ORDER_ID_PATTERN}),
]
"""The key that an order was placed with."""
