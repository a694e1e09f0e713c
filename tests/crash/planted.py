"""Two bugs, each put into one process of the engine alone, to see whether the drill finds them.

They change the program that runs, never the program that is kept.
"""

import asyncio

from saga import core
from saga.events import Event, SentAgain, Submitted
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.store.protocol import Append
from tests.crash.striking import StrikingStore

BLIND_SENDS = 2
"""The bug sends so often in all; for ever would only make the run long."""


def blind_resend() -> None:
    """Send what a restart left open again at once, without asking whether it arrived."""
    honest = core._rule_on

    def rule_on(saga: Saga, attempt: AttemptRecord) -> Event | None:
        if attempt.state is AttemptState.UNKNOWN and attempt.sends < BLIND_SENDS:
            return SentAgain(attempt.step, attempt.purpose, attempt.number)
        return honest(saga, attempt)

    core._rule_on = rule_on


def ack_before_commit() -> None:
    """Tell the client that its batch is accepted, and make it durable a little later."""
    honest = StrikingStore.append
    later: set[asyncio.Task[int]] = set()

    async def append(self: StrikingStore, append: Append) -> int:
        if not isinstance(append.changes[0].event, Submitted):
            await asyncio.gather(*later)
            return await honest(self, append)
        task = asyncio.ensure_future(honest(self, append))
        later.add(task)
        task.add_done_callback(later.discard)
        return 0

    StrikingStore.append = append  # type: ignore[method-assign]
