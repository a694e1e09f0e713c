"""The logbook in words: starts, trading states, limits, alerts told; read page by page."""

import json
import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from desk.output import Column, Value
from saga.errors import InvalidInput
from saga.logbook import (
    AlertTold,
    EngineStarted,
    LimitsSet,
    LogEntry,
    TradingStateSet,
    decode_entry,
)
from saga.store.rows import instant

LOGBOOK_COLUMNS: Final = (
    Column("number", "#", right=True),
    Column("at", "noted"),
    Column("kind", "what"),
    Column("words", "which"),
)
_LATEST: Final = "SELECT number, at, kind, data FROM logbook ORDER BY number DESC LIMIT :limit"
_BEFORE: Final = (
    "SELECT number, at, kind, data FROM logbook WHERE number < :before"
    " ORDER BY number DESC LIMIT :limit"
)
_KINDS: Final = {
    EngineStarted.kind: "start",
    TradingStateSet.kind: "trading",
    LimitsSet.kind: "limits",
    AlertTold.kind: "alert told",
}


@dataclass(frozen=True, slots=True)
class ToldEntry:
    """One entry.

    Attributes:
        number: its place in the logbook, from 1, without gaps.
        at: when it was noted, UTC.
        kind: its kind, as it is stored.
        entry: what happened; None where that cannot be read.
    """

    number: int
    at: datetime
    kind: str
    entry: LogEntry | None

    def line(self) -> dict[str, Value]:
        """Return it as a table shows it."""
        return {
            "number": self.number,
            "at": self.at,
            "kind": _KINDS.get(self.kind, self.kind),
            "words": _words(self.entry),
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "number": self.number,
            "at": self.at,
            "kind": self.kind,
            "words": _words(self.entry),
            "data": None if self.entry is None else asdict(self.entry),
        }


def read_page(
    connection: sqlite3.Connection, limit: int, before: int | None
) -> tuple[tuple[ToldEntry, ...], int | None]:
    """Return a page of entries, newest first, and where the next one begins; None if there is none.

    Args:
        connection: any connection to the store.
        limit: most entries.
        before: only those with a smaller number; None begins at the newest.
    """
    rows = connection.execute(
        _LATEST if before is None else _BEFORE, {"limit": limit + 1, "before": before}
    ).fetchall()
    page = tuple(_told(*row) for row in rows[:limit])
    return page, page[-1].number if len(rows) > limit else None


def _told(number: int, at: int, kind: str, data: str) -> ToldEntry:
    try:
        entry: LogEntry | None = decode_entry(kind, data)
    except InvalidInput:
        entry = None  # the others are told all the same
    return ToldEntry(number, instant(at), kind, entry)


def _words(entry: LogEntry | None) -> str:
    match entry:
        case EngineStarted(program=program, epoch=epoch, pid=pid, host=host, clean=clean):
            before = "" if clean else ", after an owner that did not leave in good order"
            return f"{program} began as process {pid} on {host}, owner number {epoch}{before}"
        case TradingStateSet(state=state, by=by, reason=reason, automatic=automatic):
            return f"{state} by {by}{', which is no person' if automatic else ''}: {reason}"
        case LimitsSet(digest=digest, limits=limits):
            return f"{digest}: {_limits(limits)}"
        case AlertTold(alert_id=alert_id):
            return f"{alert_id} was heard"
        case _:
            return "cannot be read; `saga check` says more"


def _limits(text: str) -> str:
    """Return limits in one line; a gate of one's own may have written whatever it likes."""
    try:
        limits = json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        return text
    if not isinstance(limits, dict):
        return text
    shown = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in limits.items()
    ]
    return "; ".join(shown) or "none"
