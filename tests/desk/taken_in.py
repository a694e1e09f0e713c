"""Batches that were taken in as a test says, and that no engine has carried on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import anyio

from brokers.orders import Buy
from brokers.paper import PaperSettings
from desk.intake import for_portfolio
from portfolio.projection import PortfolioProjection
from saga.appending import append_of
from saga.events import Event, Submitted
from saga.fold import apply, begin
from saga.model import Batch, ExecutionMode
from saga.policy import FailurePolicy
from saga.store.protocol import Append, Change
from saga.store.sqlite import SqliteStore
from saga.views import batch_row


def a_batch(portfolio: str | None = None) -> Batch:
    batch = Batch(
        execution_mode=ExecutionMode.PARALLEL,
        directives=[Buy(directive_id="EXE_1", symbol="KO", quantity=Decimal(5))],
    )
    return batch if portfolio is None else for_portfolio(batch, portfolio, "main")


async def take_in(
    store: SqliteStore, batch: Batch, *events: Event, policy: FailurePolicy | None = None
) -> None:
    """Write a batch as the engine would; events that cannot be are written as a bug would."""
    submitted = Submitted(
        batch,
        policy or FailurePolicy(),
        {"buy": PaperSettings().capabilities().for_engine()},
        None,
        program="test",
        by="ann",
    )
    now = datetime.now(UTC)
    saga = begin(submitted, now)
    await store.append(append_of(saga, [submitted], now))
    for number, event in enumerate(events, start=2):
        try:
            apply(saga, number, now, event)
        except Exception:
            changes = (Change(number, now, event),)
            await store.append(Append(batch, changes, batch_row(saga), ()))
        else:
            await store.append(append_of(saga, [event], now))


def taken_in(
    home: Path,
    batches: Sequence[tuple[Batch, Sequence[Event]]],
    policy: FailurePolicy | None = None,
) -> None:
    async def work() -> None:
        async with SqliteStore(home / "saga.db", projections=[PortfolioProjection()]) as store:
            await store.acquire()
            for batch, events in batches:
                await take_in(store, batch, *events, policy=policy)
            await store.release()

    anyio.run(work)
