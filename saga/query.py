"""The question that the history answers: which batches, in which order, and from where on.

Pages are found by key, never by counting rows: a cursor names the last row that was looked at, by
what the rows are sorted by and then by id, so that the thousandth page costs what the first did.

Knows nothing of the store that answers. Whatever is wrong with a question is said here, at once.
"""

import base64
import binascii
import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, TypeVar

from saga.errors import InvalidInput
from saga.machine import SagaState
from saga.model import ExecutionMode, Priority
from saga.views import BatchStatus
from saga.wording import shown

PAGE_ROWS: Final = 50
"""Rows of a page where nothing else is asked for."""

MAX_PAGE_ROWS: Final = 1_000
"""Most rows of one page."""

MAX_FILTER_LENGTH: Final = 200
"""Most characters of a text that is filtered by."""

MAX_CURSOR_LENGTH: Final = 400
"""Most characters of a cursor; ours are shorter."""

_MAX_IN_KEY: Final = 2**62
_FINGERPRINT_DIGITS: Final = 16

Key = tuple[int, ...]
"""A row's place in an order: what it is sorted by, then its id."""

_E = TypeVar("_E", bound=StrEnum)


class BatchSort(StrEnum):
    """What batches are sorted by; rows that are alike in it, by the order of acceptance."""

    CREATED = "created"
    """When they were accepted."""
    UPDATED = "updated"
    """When they last changed. A batch that changes while pages are read may move between them."""
    STATUS = "status"
    """The status in the order of a life (pending, running, success ...), then when accepted."""
    SIZE = "size"
    """How many trades they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuery:
    """Which batches, in which order; every filter that is given must hold.

    A filter with several values holds for any one of them, and one without values for all batches.
    Words (`"failed"`) are taken for the enums' members.

    Attributes:
        statuses: the status is one of these.
        states: the state is one of these.
        modes: the execution mode is one of these.
        priorities: the priority is one of these.
        exclusion_key: it runs alone on this key, such as a portfolio.
        parent_id: it tries the failed trades of this batch again.
        symbol: one of its trades acts on this.
        directive_id: one of its trades carries out the directive of this id.
        created_from: accepted then or later.
        created_to: accepted before then.
        completed_from: came to rest then or later.
        completed_to: came to rest before then.
        reason_contains: the batch's reason has this in it; case does not matter in ASCII.
        sort: what the rows are sorted by.
        descending: the greatest, latest first.
        limit: most rows of the page, 1 to `MAX_PAGE_ROWS`.
        cursor: `Page.next_cursor` of the page before; None for the first page.

    Raises:
        InvalidInput: one of them breaks a rule; the sentence names field, value, rule and what to
            do.
    """

    statuses: tuple[BatchStatus, ...] = ()
    states: tuple[SagaState, ...] = ()
    modes: tuple[ExecutionMode, ...] = ()
    priorities: tuple[Priority, ...] = ()
    exclusion_key: str | None = None
    parent_id: str | None = None
    symbol: str | None = None
    directive_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    completed_from: datetime | None = None
    completed_to: datetime | None = None
    reason_contains: str | None = None
    sort: BatchSort = BatchSort.CREATED
    descending: bool = True
    limit: int = PAGE_ROWS
    cursor: str | None = None

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            object.__setattr__(self, name, _members(name, kind, getattr(self, name)))
        object.__setattr__(self, "sort", _member("sort", BatchSort, self.sort))
        for name in _TEXTS:
            _check_text(name, getattr(self, name))
        for name in ("created", "completed"):
            start, end = f"{name}_from", f"{name}_to"
            for end_name in (start, end):
                object.__setattr__(self, end_name, _in_utc(end_name, getattr(self, end_name)))
            _check_range(name, getattr(self, start), getattr(self, end))
        if not isinstance(self.descending, bool):
            raise InvalidInput(f"descending must be True or False, not {shown(self.descending)}")
        checked_limit(self.limit)
        self.position()

    def position(self) -> Key | None:
        """Return the key that the cursor names: the page is what follows it; None is the start.

        Raises:
            InvalidInput: the cursor is none of ours, or was made for another query.
        """
        if self.cursor is None:
            return None
        fingerprint, sort, descending, key = _read_cursor(self.cursor)
        if (sort, descending) != (self.sort.value, self.descending):
            raise InvalidInput(
                f"cursor was made for a list sorted by {_order(sort, descending)}, not by "
                f"{_order(self.sort, self.descending)}; ask for the first page, without a cursor"
            )
        if fingerprint != self._fingerprint() or len(key) != self.key_length:
            raise InvalidInput(
                "cursor was made for a list with other filters; "
                "keep the filters, or ask for the first page, without a cursor"
            )
        return key

    def cursor_after(self, key: Key) -> str:
        """Return the cursor for the page that follows a key."""
        content = json.dumps(
            [self._fingerprint(), self.sort.value, self.descending, list(key)],
            separators=(",", ":"),
        )
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")

    @property
    def key_length(self) -> int:
        """How many numbers make up a key of this order."""
        return 3 if self.sort is BatchSort.STATUS else 2

    def _fingerprint(self) -> str:
        filters = [
            (field.name, str(getattr(self, field.name)))
            for field in fields(self)
            if field.name not in _NO_FILTERS
        ]
        return sha256(repr(filters).encode()).hexdigest()[:_FINGERPRINT_DIGITS]


_CHOICES: Final[dict[str, type[StrEnum]]] = {
    "statuses": BatchStatus,
    "states": SagaState,
    "modes": ExecutionMode,
    "priorities": Priority,
}
_TEXTS: Final = ("exclusion_key", "parent_id", "symbol", "directive_id", "reason_contains")
_NO_FILTERS: Final = frozenset({"sort", "descending", "limit", "cursor"})


def checked_limit(limit: object, *, name: str = "limit", most: int = MAX_PAGE_ROWS) -> int:
    """Return how many rows were asked for.

    Raises:
        InvalidInput: it is not a whole number from 1 to `most`.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise InvalidInput(
            f"{name} must be a whole number from 1 to {most}, not {shown(limit)}; "
            "ask for less, and follow the pages"
        )
    return limit


def _members(name: str, kind: type[_E], values: object) -> tuple[_E, ...]:
    if not isinstance(values, (tuple, list, set, frozenset)):
        raise InvalidInput(
            f"{name} must be a tuple of values, not {shown(values)}; put even one into a tuple"
        )
    # In the enum's order: the same question, asked in another order, has the same cursors.
    given = {_member(name, kind, value) for value in values}
    return tuple(member for member in kind if member in given)


def _member(name: str, kind: type[_E], value: Any) -> _E:
    try:
        return kind(value)
    except ValueError:
        raise InvalidInput(
            f"{name} must be one of {', '.join(member.value for member in kind)}, "
            f"not {shown(value)}; choose one of them"
        ) from None


def _check_text(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_FILTER_LENGTH:
        raise InvalidInput(
            f"{name} must be a text of 1 to {MAX_FILTER_LENGTH} characters, not {shown(value)}; "
            "leave it out to see all"
        )
    if "\0" in value or not _is_encodable(value):
        raise InvalidInput(
            f"{name} must be plain Unicode text, not {shown(value)}; correct its characters"
        )


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_utc(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} must be an instant, not {shown(value)}; give a datetime in UTC")
    if value.utcoffset() is None:
        raise InvalidInput(
            f"{name} must be timezone-aware, not the naive {value.isoformat()}; "
            "give it the timezone UTC"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(
            f"{name} must lie between the years 1 and 9999 in UTC, not at {value.isoformat()}; "
            "leave it out for no bound"
        ) from None


def _check_range(name: str, start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and start > end:
        raise InvalidInput(
            f"{name}_from must not be after {name}_to, but {start.isoformat()} is after "
            f"{end.isoformat()}; swap them"
        )


def _order(sort: str, descending: object) -> str:
    return f"{sort}, {'descending' if descending else 'ascending'}"


def _read_cursor(cursor: object) -> tuple[str, str, bool, Key]:
    unknown = InvalidInput(
        f"cursor must be the next_cursor of a page, not {shown(cursor)}; "
        "pass it on as it is, or ask for the first page, without a cursor"
    )
    if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR_LENGTH:
        raise unknown
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeError, binascii.Error, ValueError, RecursionError):
        raise unknown from None
    match content:
        case [str(fingerprint), str(sort), bool(descending), [*key]] if all(map(_fits, key)):
            return fingerprint, sort, descending, tuple(key)
    raise unknown


def _fits(number: object) -> bool:
    return type(number) is int and abs(number) <= _MAX_IN_KEY
