"""Reads back what was handed over of late, for a gate that has to remember it through restarts.

The journal is the memory: nothing is written for this, and a restart forgets nothing.
"""

import sqlite3
from contextlib import suppress
from datetime import datetime
from typing import Final

from saga.directive import Directive
from saga.errors import InvalidInput, SagaError, StoreUnusable
from saga.events import Event, Intended, SentAgain, Withheld, decode
from saga.fold import saga_of
from saga.gate import PastIntent
from saga.ids import Purpose, attempt_key
from saga.store.journal import read_journal
from saga.store.rows import instant, microseconds

MAX_INTENTS: Final = 1_000_000
"""No more than this are remembered; a desk that sends more in a day has a limit that says so."""
MAX_OLDER: Final = 1_000
"""So many records from before the instant are looked behind: a wall clock may have been slow."""

_LATEST: Final = """
SELECT j.at, j.kind, j.data, b.batch_uid
FROM journal j JOIN batches b ON b.id = j.batch_id
WHERE j.kind IN ('intended', 'sent_again', 'withheld')
ORDER BY j.sequence DESC
"""


def read_since(connection: sqlite3.Connection, since: datetime) -> list[PastIntent]:
    """Return what was handed over since an instant, oldest first.

    The journal is read from its end, and until `MAX_OLDER` records are from before that instant: a
    wall clock that was slow for longer than that hides what lies behind. What was withheld never
    went. Of what belongs to a saga that cannot be read it is only told that it went, not what.
    """
    found: list[PastIntent] = []
    known: dict[str, dict[str, Directive]] = {}
    withheld: set[str] = set()
    bound, older = microseconds(since), 0
    for at, kind, data, uid in connection.execute(_LATEST):
        older += at < bound
        if older > MAX_OLDER or len(found) >= MAX_INTENTS:
            break
        event: Event | None = None
        with suppress(InvalidInput):
            event = decode(kind, data)
        if not isinstance(event, Intended | SentAgain | Withheld):
            # S18: one record that cannot be read stops no engine. It may have been an order.
            if at >= bound:
                found.append(PastIntent(_instant(at, since), uid, Purpose.FORWARD, None))
            continue
        key = attempt_key(uid, event.step, event.purpose, event.number)
        if isinstance(event, Withheld):
            withheld.add(key)
            continue
        if key in withheld:
            withheld.discard(key)  # it is this handing over that was withheld, and no earlier one
        elif at >= bound:
            if uid not in known:
                known[uid] = _directives(connection, uid)
            directive = known[uid].get(key)
            found.append(PastIntent(_instant(at, since), key, event.purpose, directive))
    found.reverse()
    return found


def _instant(stored: int, since: datetime) -> datetime:
    """Return a stored instant; the first that counts for one that was altered and is none."""
    try:
        return instant(stored)
    except StoreUnusable:
        return since


def _directives(connection: sqlite3.Connection, uid: str) -> dict[str, Directive]:
    """Return what each attempt of a saga carries out, by key."""
    try:
        records = read_journal(connection, uid)
        saga = saga_of(records)
    except (SagaError, ValueError, ArithmeticError):
        return {}
    return {
        attempt.key: saga.attempt(attempt).directive
        for step in saga.steps
        for attempt in step.every_attempt
    }
