"""Reading sagas of which one may be unreadable: that one is named, and hides no other (S18)."""

from collections.abc import Awaitable, Callable, Sequence

from saga.errors import SagaError, StoreError
from saga.fold import saga_of
from saga.ledger import Saga
from saga.store.protocol import JournalRecord


async def read_or_why(
    journal: Callable[[str], Awaitable[Sequence[JournalRecord]]], batch_id: str
) -> tuple[Saga, Sequence[JournalRecord]] | str:
    """Return a saga and its journal; or why nobody can tell what it has done, a sentence.

    Raises:
        StoreError: the store itself cannot be read.
    """
    try:
        records = await journal(batch_id)
        return saga_of(records), records
    except StoreError:
        raise
    except SagaError as error:
        return str(error)
