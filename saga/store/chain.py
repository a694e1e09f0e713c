"""The chain of hashes through a saga's journal, by which a lost or altered record is seen.

Each record's digest covers the digest before it and its own content; the first one begins from the
batch's id, so that a journal cannot pass for another saga's. The batch's row keeps the number and
the digest of the last record, so that a missing tail is seen as well.

Pure: no connection, no clock.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from saga.errors import InvalidInput, Quarantined, StoreUnusable
from saga.events import decode
from saga.store.protocol import JournalRecord
from saga.store.rows import instant


class Head(NamedTuple):
    """The end of a saga's journal.

    Attributes:
        number: of the last record; 0 for a saga that has none yet.
        digest: of the last record; what the first one begins from for a saga that has none yet.
    """

    number: int
    digest: bytes


class StoredRecord(NamedTuple):
    """A journal record as it is stored.

    Attributes:
        at: microseconds since 1970, UTC.
    """

    sequence: int
    number: int
    at: int
    kind: str
    data: str
    digest: bytes


def beginning(batch_uid: str) -> Head:
    """Return the head of a journal that has no record yet."""
    return Head(0, sha256(f"journal of {batch_uid}".encode()).digest())


def digest_of(previous: bytes, number: int, at: int, kind: str, data: str) -> bytes:
    """Return a record's digest.

    Args:
        previous: the digest of the record before it.
        number: its place in the saga's journal.
        at: microseconds since 1970, UTC.
        kind: the event's kind.
        data: the event's fields, encoded.
    """
    # The length of the kind keeps it apart from the data, whatever they hold.
    content = f"{number} {at} {len(kind)} {kind}{data}"
    return sha256(previous + content.encode("utf-8", "surrogatepass")).digest()


def as_record(batch_uid: str, stored: StoredRecord) -> JournalRecord:
    """Return a stored record with its event.

    Raises:
        Quarantined: it does not decode.
    """
    try:
        event, at = decode(stored.kind, stored.data), instant(stored.at)
    except (InvalidInput, StoreUnusable) as error:
        raise Quarantined(
            f"record {stored.number} of batch {batch_uid} (sequence {stored.sequence}) cannot be "
            f"read: {error}",
            stored.sequence,
        ) from error
    return JournalRecord(stored.sequence, batch_uid, stored.number, at, event, stored.digest)


def verified(
    batch_uid: str, head: Head, stored: Iterable[StoredRecord]
) -> tuple[JournalRecord, ...]:
    """Return a saga's records, once it is sure that they are what was written, and all of it.

    Raises:
        Quarantined: a record is missing, altered, or does not decode.
    """
    last = beginning(batch_uid)
    records: list[JournalRecord] = []
    for row in stored:
        if row.number != last.number + 1:
            raise _untrusted(batch_uid, f"record {last.number + 1} is missing")
        if row.digest != digest_of(last.digest, row.number, row.at, row.kind, row.data):
            raise _untrusted(
                batch_uid, f"record {row.number} (sequence {row.sequence}) was altered"
            )
        records.append(as_record(batch_uid, row))
        last = Head(row.number, row.digest)
    if last.number < head.number:
        raise _untrusted(batch_uid, f"it ends at record {last.number}, not at {head.number}")
    if last != head:
        raise _untrusted(batch_uid, f"the batch's row does not fit its record {last.number}")
    return tuple(records)


def _untrusted(batch_uid: str, finding: str) -> Quarantined:
    return Quarantined(
        f"the journal of batch {batch_uid} cannot be trusted: {finding}; "
        "compare the store with a backup"
    )
