"""The records that this process wrote last, for those who read as fast as it writes.

Only the owner has them: nobody else can write between two of its commits, so that what stands here
follows on one another without a gap, and is what the file holds.
"""

from collections.abc import Sequence
from typing import Final

from saga.store.protocol import JournalRecord

MAX_RECENT: Final = 1_024
"""At least so many records are remembered, and at most twice as many."""


class Recent:
    """The last records that were made durable, in their order."""

    def __init__(self) -> None:
        self._records: list[JournalRecord] = []

    def add(self, records: Sequence[JournalRecord]) -> None:
        """Remember what a commit has made durable."""
        self._records.extend(records)
        if len(self._records) > 2 * MAX_RECENT:
            del self._records[:-MAX_RECENT]

    def behind(self, after: int, batch_id: str | None) -> list[JournalRecord] | None:
        """Return the records behind a sequence number, of all batches or of one.

        Returns:
            All of them, or None where some may be older than what is remembered.
        """
        if not self._records or after + 1 < self._records[0].sequence:
            return None
        found = self._records[after + 1 - self._records[0].sequence :]
        if batch_id is None:
            return found
        return [record for record in found if record.batch_id == batch_id]
