"""Identities: of batches (made once, at random) and of orders (derived, never random).

Rule 2: one key for one attempt. The key of an attempt is a function of batch, step, purpose and
attempt number alone, so that a process that starts after a crash derives the same key, and can
ask the outside world about it instead of guessing.
"""

import re
import secrets
import string
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from saga.clock import utc_now
from saga.errors import InvalidInput
from saga.wording import shown

BATCH_ID_PATTERN = r"^BAT_\d{8}_\d{6}_[0-9a-z]{5,8}$"
DIRECTIVE_ID_PATTERN = r"^EXE_[0-9A-Za-z_-]{1,60}$"
MAX_KEY_LENGTH = 36
"""Longest client order id that an attempt can get; the shortest limit among common venues."""


def _matching(field: str, pattern: str, example: str) -> BeforeValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: object) -> str:
        # fullmatch, because `$` would let a trailing newline through.
        if isinstance(value, str) and compiled.fullmatch(value):
            return value
        text = f"{field} must match pattern {pattern}, not {shown(value)}; for example {example}"
        raise PydanticCustomError("id", "{text}", {"text": text})

    return BeforeValidator(check)


BatchId = Annotated[
    str,
    _matching("batch_id", BATCH_ID_PATTERN, "BAT_20261121_093000_k3v9x"),
    WithJsonSchema({"type": "string", "pattern": BATCH_ID_PATTERN}),
]
DirectiveId = Annotated[
    str,
    _matching("directive_id", DIRECTIVE_ID_PATTERN, "EXE_0001"),
    WithJsonSchema({"type": "string", "pattern": DIRECTIVE_ID_PATTERN}),
]

_SUFFIX_ALPHABET = string.digits + string.ascii_lowercase
_SUFFIX_LENGTH = 8
_KEY = re.compile(r"^(\d{8}_\d{6}_[0-9a-z]{5,8})-(\d+)([FC])(\d+)$", re.ASCII)


class Purpose(StrEnum):
    """Why an attempt is made."""

    FORWARD = "forward"
    """To carry the directive out."""
    COMPENSATION = "compensation"
    """To undo what the directive really did."""


_LETTERS: Final = {purpose: purpose[0].upper() for purpose in Purpose}


def generate_batch_id(now: datetime | None = None) -> str:
    """Return a new id `BAT_YYYYMMDD_HHMMSS_xxxxxxxx`, in UTC, with a random suffix.

    Raises:
        InvalidInput: `now` is naive.
    """
    instant = now or utc_now()
    if instant.utcoffset() is None:
        raise InvalidInput(
            f"now must be timezone-aware, not the naive {instant.isoformat()}; give it a timezone"
        )
    instant = instant.astimezone(UTC)
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    return f"BAT_{instant:%Y%m%d_%H%M%S}_{suffix}"


def attempt_key(batch_id: str, step: int, purpose: Purpose, number: int) -> str:
    """Return the client order id of one attempt, for example `20261121_073000_k3v9x-12F1`.

    Args:
        batch_id: the batch's id.
        step: the step's place in the batch, from 0.
        purpose: forward or compensation.
        number: the attempt's number for that purpose, from 1.
    """
    key = f"{batch_id.removeprefix('BAT_')}-{step}{_LETTERS[purpose]}{number}"
    assert len(key) <= MAX_KEY_LENGTH, f"key {key} is longer than {MAX_KEY_LENGTH}"
    return key


def batch_of_key(key: str) -> str | None:
    """Return the batch id that a client order id was derived from; None if it is not ours."""
    # fullmatch, because `$` would let a trailing newline through.
    match = _KEY.fullmatch(key)
    return f"BAT_{match.group(1)}" if match else None
