"""The store's file as a judge reads it: by its own SQL, over its own connection, believing nobody.

Nothing here imports how the engine reads a journal; the file's format is what both agree on.
"""

import re
import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from tests.written_form import whole_record

_KEY: Final = re.compile(r"^(\d{8}_\d{6}_[0-9a-z]{5,8})-(\d+)([FC])(\d+)$")
_PURPOSE: Final = {"F": "forward", "C": "compensation"}

_WRITTEN_TO: Final = "(SELECT batch_id FROM journal WHERE sequence > ?)"

AT_REST: Final = frozenset({"COMPLETED", "ROLLED_BACK", "STALE"})


@dataclass(frozen=True, slots=True)
class Key:
    """What a client order id says."""

    batch_id: str
    step: int
    purpose: str
    number: int


@lru_cache(maxsize=64)
def parsed(key: str | None) -> Key | None:
    """Return what a client order id says; None if it is not one of the engine's."""
    match = _KEY.fullmatch(key or "")
    if match is None:
        return None
    stem, step, letter, number = match.groups()
    return Key(f"BAT_{stem}", int(step), _PURPOSE[letter], int(number))


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a journal."""

    sequence: int
    number: int
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class Told:
    """What a journal tells of one attempt.

    Attributes:
        amount: how much was asked.
        fills: by their ids: quantity, price, fee.
        late: ids of fills that were learnt only after the saga had come to rest for good.
        reversed: ids of fills that the venue has taken back, and the journal knows of it.
    """

    amount: Decimal = Decimal(0)
    fills: dict[str, tuple[Decimal, Decimal, Decimal]] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    final: bool = False
    absent: bool = False
    lost: bool = False


@dataclass(slots=True)
class Story:
    """One saga in the file."""

    batch_id: str
    lines: list[Line]
    row: dict[str, Any]
    trades: list[dict[str, Any]]
    attempts: dict[Key, Told] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The batch as it was accepted."""
        body: dict[str, Any] = self.lines[0].data["batch"]
        return body

    @property
    def state(self) -> str:
        """The state that its row shows."""
        return str(self.row["state"])

    def kinds(self) -> list[str]:
        """The kinds of its records, in order."""
        return [line.kind for line in self.lines]


def owner_epoch(connection: sqlite3.Connection) -> int:
    """Return the epoch of whoever owns the store."""
    row = connection.execute("SELECT epoch FROM owner").fetchone()
    return 0 if row is None else int(row[0])


def records_of(connection: sqlite3.Connection, uid: str, *kinds: str) -> list[dict[str, Any]]:
    """Return the content of a saga's records of some kinds, in order."""
    places = ", ".join("?" * len(kinds))
    rows = connection.execute(
        "SELECT j.kind, j.data FROM journal j JOIN batches b ON b.id = j.batch_id"
        f" WHERE b.batch_uid = ? AND j.kind IN ({places}) ORDER BY j.number",
        (uid, *kinds),
    )
    return [whole_record(kind, data) for kind, data in rows]


def state_of(connection: sqlite3.Connection, uid: str) -> str | None:
    """Return the state of a saga; None if there is none."""
    row = connection.execute("SELECT state FROM batches WHERE batch_uid = ?", (uid,)).fetchone()
    return None if row is None else str(row[0])


def last_sequence(connection: sqlite3.Connection) -> int:
    """Return the number of the last record of all."""
    (sequence,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()
    return int(sequence)


def owner_and_last(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the epoch of whoever owns the store, and the number of the last record of all."""
    epoch, sequence = connection.execute(
        "SELECT coalesce((SELECT epoch FROM owner), 0),"
        " coalesce((SELECT max(sequence) FROM journal), 0)"
    ).fetchone()
    return int(epoch), int(sequence)


def unfinished(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the sagas that are not at rest, with their states."""
    rows = connection.execute(
        "SELECT batch_uid, state FROM batches"
        " WHERE state NOT IN ('COMPLETED', 'ROLLED_BACK', 'STALE') ORDER BY id"
    )
    return dict(rows.fetchall())


def quarantined(connection: sqlite3.Connection) -> set[str]:
    """Return the sagas that are set aside."""
    return {uid for (uid,) in connection.execute("SELECT batch_uid FROM quarantine")}


def stories(connection: sqlite3.Connection, after: int) -> list[Story]:
    """Return every saga whose first record is behind a global sequence number."""
    lines: dict[int, list[Line]] = {}
    for batch, sequence, number, kind, data in connection.execute(
        "SELECT batch_id, sequence, number, kind, data FROM journal"
        " WHERE sequence > ? ORDER BY sequence",
        (after,),
    ):
        lines.setdefault(batch, []).append(Line(sequence, number, kind, whole_record(kind, data)))
    trades: dict[int, list[dict[str, Any]]] = {}
    for trade in _dicts(
        connection,
        f"SELECT * FROM trades WHERE batch_id IN {_WRITTEN_TO} ORDER BY batch_id, position",
        after,
    ):
        trades.setdefault(trade["batch_id"], []).append(trade)
    rows = _dicts(connection, f"SELECT * FROM batches WHERE id IN {_WRITTEN_TO} ORDER BY id", after)
    found = [
        Story(row["batch_uid"], lines[row["id"]], row, trades.get(row["id"], [])) for row in rows
    ]
    for story in found:
        hear(story)
    return found


def _dicts(connection: sqlite3.Connection, sql: str, after: int) -> list[dict[str, Any]]:
    cursor = connection.execute(sql, (after,))
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def hear(story: Story) -> None:
    """Gather what each attempt did, by the journal."""
    for line in story.lines:
        data = line.data
        if line.kind == "retried":  # what was late for one end is known before the next
            for each in story.attempts.values():
                each.late.clear()
        if "purpose" not in data:
            continue
        key = Key(story.batch_id, data["step"], data["purpose"], data["number"])
        told = story.attempts.setdefault(key, Told())
        if line.kind == "intended":
            told.amount = Decimal(data["amount"])
        elif line.kind in ("reported", "late_truth"):
            told.final = told.final or data.get("final", False)
            told.absent = told.absent and not data.get("fills")
            told.reversed |= set(data.get("reversed", ()))
            told.lost = told.lost and not data.get("final", False)
            if line.kind == "late_truth":
                told.late |= {fill["fill_id"] for fill in data.get("fills", ())}
            for fill in data.get("fills", ()):
                told.fills[fill["fill_id"]] = (
                    Decimal(fill["quantity"]),
                    Decimal(fill["price"]),
                    Decimal(fill["fee"]),
                )
        elif line.kind == "proven_absent":
            told.absent = True
        elif line.kind == "gave_up":
            told.lost = True
