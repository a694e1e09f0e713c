"""The engine as a process that is hit: the real start-up path, real files, and its clients.

The clients live in it, and write down what they ask and what they are answered: the answer only
after the call has returned. What is written is in the kernel's hands, and a kill of the process
loses none of it. How a life ends is its exit code, or the signal that ended it.
"""

import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Final

import anyio

from portfolio import Allowance, CashDesk, PortfolioProjection
from saga.errors import (
    NotAllowed,
    OwnershipLost,
    SagaError,
    StoreError,
    StoreHeld,
    StorePoisoned,
    StoreUnusable,
)
from saga.limits import Limits
from saga.model import Batch
from saga.orchestrator import Orchestrator
from tests.crash.exchange_process import SOCKET
from tests.crash.far_exchange import FarExchange, read_settings
from tests.crash.strikes import Strike
from tests.crash.striking import Striker, StrikingStore

STORE: Final = "saga.db"
HITS: Final = "hits.log"
HISTORY: Final = "history-{:04d}.jsonl"
LOG: Final = "engine-{:04d}.log"
REST_SECONDS: Final = 45.0
"""Far longer than anything here needs to come to rest."""
ALLOWANCE: Final = Allowance(fee_per_order=1)  # type: ignore[arg-type]

NO_BRAKE: Final = Limits(max_crashes_per_minute=None)
"""A drill is a crash loop; the brake on those is tested elsewhere."""


class End(IntEnum):
    """How a life ends that ends by itself."""

    OVER = 0
    """Everything is at rest, or it was asked to leave; the store was given up."""
    REFUSED = 10
    """The store was not opened."""
    POISONED = 11
    FENCED = 12
    """Another owner has taken the store."""
    RESTLESS = 13
    """Something did not come to rest."""
    BROKEN = 14
    """Anything else; the log says what."""
    STOPPED = 15
    """The second signal ended it at once."""


@dataclass(frozen=True)
class Life:
    """What one process of the engine is to do.

    Attributes:
        folder: where the exchange is.
        stores: where the store is; a folder of its own.
        number: of this life, from 0.
        batches: to be submitted, each as JSON; by clients that do not wait for one another.
        cancels: ids of those of them that are cancelled once they are acknowledged.
        strikes: the hits that it deals itself.
        generation: how often the witness's tables have grown.
        take_over: fence whoever holds the store.
        only_open: open the store and own it, and send nothing.
        plant: puts a bug into this process, to see whether it is found.
        seed: of what it draws.
    """

    folder: Path
    stores: Path
    number: int
    batches: tuple[str, ...] = ()
    cancels: frozenset[str] = frozenset()
    strikes: tuple[Strike, ...] = ()
    generation: int = 0
    take_over: bool = False
    only_open: bool = False
    plant: Callable[[], None] | None = None
    seed: int = 0


class Diary:
    """What the clients of one life ask and hear, line by line.

    Args:
        path: a file of this life alone.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, what: str, batch_id: str, **more: object) -> None:
        """Note one thing."""
        line = json.dumps({"what": what, "batch": batch_id, **more}) + "\n"
        os.write(self._file, line.encode())


def live(life: Life, say: Connection) -> None:
    """Live one life; runs in a process of its own."""
    logging.raiseExceptions = False
    logging.basicConfig(filename=life.folder / LOG.format(life.number), force=True)
    if life.plant is not None:
        life.plant()
    try:
        code = anyio.run(_live, life, say)
    except BaseException as error:
        logging.exception("this life ended with an error")
        end, cause = _end_of(error)
        code = end
        say.send(f"{type(cause).__name__}: {cause}")
    logging.shutdown()
    os._exit(code)  # the forkserver's child has nothing else to leave in order


def _end_of(error: BaseException) -> tuple[End, BaseException]:
    """Return what an error, or the worst in a group of errors, means for this life."""
    if isinstance(error, BaseExceptionGroup):
        return min((_end_of(each) for each in error.exceptions), key=lambda found: found[0])
    for kind, end in _ENDS.items():
        if isinstance(error, kind):
            return end, error
    return End.BROKEN, error


_ENDS: Final[dict[type[BaseException], End]] = {
    StoreUnusable: End.REFUSED,
    StoreHeld: End.REFUSED,
    OwnershipLost: End.FENCED,
    StorePoisoned: End.POISONED,
}


async def _live(life: Life, say: Connection) -> End:
    striker = Striker(
        life.strikes,
        store=life.stores / STORE,
        log=life.folder / HITS,
        chance=Random(life.seed),
    )
    store = StrikingStore(
        life.stores / STORE,
        striker,
        generation=life.generation,
        projections=[PortfolioProjection(ALLOWANCE)],
    )
    if life.only_open:
        async with store:
            await store.acquire()
        return End.OVER
    broker = FarExchange(life.folder / SOCKET, read_settings(life.folder), reached=striker.reached)
    engine = Orchestrator(store, [broker, CashDesk()], limits=NO_BRAKE, take_over=life.take_over)
    end = End.OVER
    failed: Exception | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:

            async def listen() -> None:
                heard = 0
                async for _ in signals:
                    heard += 1
                    if heard > 1:
                        os._exit(End.STOPPED)
                    scope.cancel()

            with anyio.CancelScope() as scope:
                tasks.start_soon(listen)
                try:
                    async with engine:
                        say.send("entered")
                        end = await _play(life, engine, striker)
                except Exception as error:
                    failed = error
            tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return end


async def _play(life: Life, engine: Orchestrator, striker: Striker) -> End:
    diary = Diary(life.folder / HISTORY.format(life.number))
    async with anyio.create_task_group() as clients:
        for text in life.batches:
            clients.start_soon(_client, life, engine, striker, diary, text)
    try:
        with anyio.fail_after(REST_SECONDS):
            for batch_id in await engine.store.unfinished():
                await engine.wait(batch_id)
    except TimeoutError:
        for row in engine.active():
            logging.exception("%s is %s and waits for %s", row.batch_id, row.state, row.waits_for)
        return End.RESTLESS
    return End.OVER


async def _client(
    life: Life, engine: Orchestrator, striker: Striker, diary: Diary, text: str
) -> None:
    batch = Batch.model_validate_json(text)
    diary.write("asked", batch.batch_id, content=text)
    try:
        await engine.submit(batch)
    except (StoreError, OwnershipLost) as error:
        diary.write("unknown", batch.batch_id, why=str(error))
        return
    except SagaError as error:
        diary.write("refused", batch.batch_id, why=str(error))
        return
    diary.write("acknowledged", batch.batch_id)
    striker.reached("acknowledged")
    if batch.batch_id not in life.cancels:
        return
    diary.write("cancel asked", batch.batch_id)
    try:
        await engine.cancel(batch.batch_id, by="client", reason="changed my mind")
    except NotAllowed as error:
        diary.write("cancel refused", batch.batch_id, why=str(error))
    except SagaError as error:
        diary.write("cancel unknown", batch.batch_id, why=str(error))
    else:
        diary.write("cancel acknowledged", batch.batch_id)
