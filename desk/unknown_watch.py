"""Tells a person of what nobody can account for, once it has lasted, while its batch still runs.

The engine's own alerts are of what is at rest: a STALE batch, an incident, a halt. An order whose
fate is unknown may stay so for long before its batch is STALE. This runs beside the owner of the
store and says so after `waiting.PATIENCE_SECONDS`, as `saga check` does, each once in a process.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import anyio

from desk.waiting import Waiting, waiting_of
from saga.clock import utc_now
from saga.errors import SagaError
from saga.history import History

_LOG: Final = logging.getLogger("desk.unknown_watch")

LOOK_SECONDS: Final = 10.0
"""How often it is looked for."""
MAX_LOOKED_AT: Final = 100
"""Most batches that are looked at each time, the oldest first."""

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
        for row in (await self._history.active())[:MAX_LOOKED_AT]:
            records = await self._history.journal(row.batch_id)
            standing |= self._tell_new(waiting_of(records, self._now(), is_carried_on=True))
        self._told = standing

    def _tell_new(self, waiting: Iterable[Waiting]) -> set[_Told]:
        overdue = {(w.batch_id, w.client_order_id, w.since): w for w in waiting if w.is_overdue}
        for told, each in overdue.items():
            if told not in self._told:
                sentence = f"{each.sentence}. To do: {each.what_to_do}"
                _LOG.error("alert: %s", sentence)
                self._tell(sentence)
        return set(overdue)
