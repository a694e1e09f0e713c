"""Tells a person of what nobody can account for, once it has lasted, while its batch still runs.

The engine's own alerts are of what is at rest: a STALE batch, an incident, a halt. An order whose
fate is unknown may stay so for long before its batch is STALE. This runs beside the owner of the
store and says so after `unaccounted.PATIENCE_SECONDS`, as `saga check` does, each once in a
process. It holds nobody up: of a batch that goes on as it should nothing but its row is read.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Final

import anyio

from desk.unaccounted import Waiting, may_be_overdue, waiting_of
from saga.clock import utc_now
from saga.errors import SagaError
from saga.history import History
from saga.turns import aside

_LOG: Final = logging.getLogger("desk.unknown_watch")

LOOK_SECONDS: Final = 10.0
"""How often it is looked for."""
MAX_LOOKED_AT: Final = 100
"""Most journals that are read each time, those of the oldest batches first."""

_Told = tuple[str, str | None, datetime]


class UnknownWatch:
    """Looks for what has been unknown for too long.

    Args:
        history: of the store that this process owns.
        tell: told a sentence of each.
        now: the present instant.
    """

    def __init__(
        self,
        history: History,
        tell: Callable[[str], None],
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._history = history
        self._tell = tell
        self._now = now
        self._told: set[_Told] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except SagaError as error:
                _LOG.warning("what is unknown is looked for again: %s", error)

    async def look(self) -> None:
        """Tell of what is overdue, and was not told of before."""
        standing: set[_Told] = set()
        now = self._now()
        doubtful = [row for row in await self._history.active() if may_be_overdue(row, now)]
        for row in doubtful[:MAX_LOOKED_AT]:
            try:
                records = await self._history.journal(row.batch_id)
            except SagaError as error:  # of this one nobody can tell; the others are told of
                _LOG.warning("what %s waits for cannot be read: %s", row.batch_id, error)
                continue
            waiting = partial(waiting_of, records, now, is_carried_on=True)
            standing |= self._tell_new(await aside(len(records), waiting))
        self._told = standing

    def _tell_new(self, waiting: Iterable[Waiting]) -> set[_Told]:
        overdue = {(w.batch_id, w.client_order_id, w.since): w for w in waiting if w.is_overdue}
        for told, each in overdue.items():
            if told not in self._told:
                sentence = f"{each.sentence}. To do: {each.what_to_do}"
                _LOG.error("alert: %s", sentence)
                self._tell(sentence)
        return set(overdue)
