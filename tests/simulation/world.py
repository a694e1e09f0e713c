"""One seed's life: processes that start, run, die and start again over one file and one venue.

First everything that was drawn happens (the safety phase); then faults stop, and everything has to
come to rest (the liveness phase). What breaks is told to the evidence; nothing here judges.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

from brokers.orders import Buy, Sell
from brokers.venue import OrderRequest
from portfolio import CashDesk, CashTransfer, PortfolioProjection
from portfolio.errors import InsufficientCash, InsufficientShares, PortfolioStale
from portfolio.reconcile import BrokerBusy, reconcile
from saga.directive import Directive
from saga.errors import (
    BatchConflict,
    NoSuchBatch,
    NotAllowed,
    Quarantined,
    SagaError,
    StoreError,
)
from saga.limits import Limits
from saga.logbook import TradingState
from saga.model import Batch
from saga.orchestrator import Orchestrator
from saga.outcome import Fill
from saga.policy import FailurePolicy
from saga.store import database
from saga.store.bridge import Bridge
from saga.store.process import Process
from saga.store.protocol import Append
from saga.store.sqlite import SqliteStore
from tests.simulation import file, judges, policy_judges
from tests.simulation.clock import BEGINNING, VirtualClock
from tests.simulation.disk import Disk
from tests.simulation.evidence import Evidence
from tests.simulation.life import Life, NoAnswer, ProcessDied, is_guest, life_of, register
from tests.simulation.loop import VirtualLoop
from tests.simulation.model_exchange import ModelExchange, ModelOrder
from tests.simulation.plan import Crash, Deed, Plan, PlannedBatch
from tests.simulation.store import Busy, ReadingBridge, WritingBridge
from tests.simulation.streams import Streams, chance
from tests.simulation.venue_line import VenueLine

T = TypeVar("T")

ACCIDENTS: Final = (
    *("L1", "L2", "L3", "crash in start", "crash in leave", "shutdown", "two owners"),
    *("frozen owner", "store busy", "store poisoned", "slow commit", "clock forward", "clock back"),
    *("late beyond the window", "external trade", "tombstone", "submitted again"),
    *("same id, other body", "cancel", "cancel twice", "pause", "retry", "resolve", "again"),
    "notify",
    "halt",
)
"""What is counted besides the venue's behaviours."""
_KINDS: Final[dict[str, type[Directive]]] = {
    "buy": Buy,
    "sell": Sell,
    "cash_transfer": CashTransfer,
}
SUBSCRIBED_ONE_IN: Final = 3
"""One seed of so many has a subscriber to its events (S15)."""
MAX_TRIES: Final = 400
"""So often a client asks again before it gives up."""
LONGEST_WAIT: Final = 10.0
"""A client that is refused again and again asks at least so often."""
START_SECONDS: Final = 60.0
"""L2: an engine is up again so long after faults stopped."""
PATIENCE: Final = 20.0
"""A client that hears nothing for so long asks again."""
_COMMITS: Final = frozenset(
    {"commit_appends", "acquire", "heartbeat", "release", "note_entry", "_set_aside", "_take_back"}
)
_REFUSALS: Final = (PortfolioStale, InsufficientCash, InsufficientShares)
_AGAIN: Final = (NoAnswer, TimeoutError, NotAllowed, StoreError, Quarantined)


class World:
    """One seed."""

    def __init__(
        self, plan: Plan, streams: Streams, loop: VirtualLoop, disk: Disk, evidence: Evidence
    ) -> None:
        self.plan = plan
        self.first_sequence = disk.look(file.last_sequence)
        self.streams = streams
        self.loop = loop
        self.disk = disk
        self.evidence = evidence
        self.clock = VirtualClock(loop, jumps=plan.jumps)
        self.exchange = ModelExchange(
            plan, loop, streams.exchange, evidence.fired, self, evidence.tell
        )
        evidence.exchange = self.exchange
        loop.born = register
        self.lives: list[Life] = []
        self.engines: dict[int, Orchestrator] = {}
        self.lines: dict[int, VenueLine] = {}
        self.leaving: dict[int, asyncio.Event] = {}
        self.front: Life | None = None
        self.bridges: list[WritingBridge | ReadingBridge] = []
        self.downtime = 0.5
        self.quiet = False
        self.over = False
        self._spent: set[str] = set()
        self._seen_last = self.first_sequence
        self.halted: tuple[float, int] | None = None
        self._activations = 0
        self._seen: dict[str, int] = {}
        self._before: dict[str, bytes] | None = None
        self._busy = 0
        self._poison: str | None = None
        self._others: list[asyncio.Task[Any]] = []

    # --- what the engine's surroundings tell ------------------------------------------------------

    def arrived(self, order: ModelOrder) -> None:
        """Judge an order as it comes in."""
        self.evidence.orders += 1
        judges.s3_one_order_per_intent(self.evidence, order)
        judges.s4_no_over_commitment(self.evidence, order)
        judges.s4_one_attempt_at_a_time(self.evidence, order)
        judges.s5_compensation_bound(self.evidence, order)
        judges.s5_undo_after_the_end(self.evidence, order)

    def traded(self, order: ModelOrder, fill: Fill) -> None:
        """Judge an execution."""
        judges.s4_no_over_commitment(self.evidence, order)
        judges.s5_compensation_bound(self.evidence, order)

    def news(self, key: str) -> None:
        """Let the venue's stream tell whoever is there."""
        life = self.front
        if life is not None and life.alive and not life.frozen and life.number in self.engines:
            self.engines[life.number].notify(key)

    def is_over(self, key: str, fill_id: str) -> bool:
        """Tell whether the saga of an execution has ended, and knows it."""
        found = file.parsed(key)
        if found is None or self.disk.look(file.state_of, found.batch_id) not in file.AT_REST:
            return False
        reports = self.disk.look(file.records_of, found.batch_id, "reported")
        return any(fill["fill_id"] == fill_id for each in reports for fill in each["fills"])

    def sending(self, life: Life, request: OrderRequest) -> None:
        """Judge an order before its first byte leaves."""
        key = request.client_order_id
        self.evidence.tell("send", life.number, key)
        self.evidence.sends[key] += 1
        self._count_call(key)
        judges.s2_intent_before_effect(self.evidence, request)
        judges.s12_one_owner_sends(self.evidence, life, key)
        judges.s13_kill_switch(self.evidence, self.halted, life, key)

    def asking(self, life: Life, key: str) -> None:
        """Count a question."""
        self._count_call(key)

    def _count_call(self, key: str) -> None:
        found = file.parsed(key)
        if found is not None:
            self.evidence.calls[found.batch_id] += 1

    def point(self, life: Life, name: str) -> None:
        """Die here, if that was drawn.

        Raises:
            ProcessDied: it was.
        """
        for crash in self.plan.crashes:
            if crash.point == name and self._strikes(crash, life):
                self.crash(life, crash, name)
        life.require_alive()

    def _strikes(self, crash: Crash, life: Life) -> bool:
        if crash.name in self._spent or self.quiet or not life.alive:
            return False
        if crash.phase not in ("any", life.phase):
            return False
        self._seen[crash.name] = self._seen.get(crash.name, 0) + 1
        return self._seen[crash.name] == crash.nth

    def before_write(self, life: Life, name: str) -> None:
        """Be about to write: perhaps die, perhaps find the disk full or the lock taken."""
        self._before = None
        if name not in _COMMITS:
            return
        self.point(life, "commit.before")
        if self._busy and not self.quiet:
            self._busy -= 1
            self.evidence.fired["store busy"] += 1
            raise Busy
        if self._poison == "before" and name == "commit_appends":
            self._break_disk()
        for crash in self.plan.crashes:
            if (
                crash.point == "commit.inside"
                and crash.loss == "L3"
                and crash.name not in self._spent
                and self._seen.get(crash.name, 0) + 1 == crash.nth
            ):
                self._before = self.disk.side_files()

    def behind_write(self, life: Life, name: str) -> None:
        """Have written, and perhaps die before anybody hears of it."""
        if name not in _COMMITS:
            return
        epoch, last = self.disk.look(file.owner_and_last)
        if name == "acquire":
            life.epoch = epoch
        elif name != "release":
            judges.s12_one_owner_writes(self.evidence, life, epoch)
        self.evidence.tell("commit", life.number, name, last)
        self.point(life, "commit.inside")
        self._before = None
        self.point(life, "commit.behind")
        if self._poison == "behind" and name == "commit_appends":
            self._break_disk()

    def _break_disk(self) -> None:
        self._poison = None
        self.evidence.fired["store poisoned"] += 1
        error = sqlite3.OperationalError("disk I/O error (drawn)")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    def slowness(self) -> float:
        """Return how long the disk takes now."""
        if not self.plan.slow_commit or self.quiet or not chance(self.streams.disk, 0.15):
            return 0.0
        self.evidence.fired["slow commit"] += 1
        return self.streams.disk.random() * self.plan.slow_commit

    # --- processes --------------------------------------------------------------------------------

    def _start(self, *, take_over: bool) -> Life:
        life = Life(len(self.lives) + 1, self.loop)
        self.lives.append(life)
        self.front = life
        life.main = life.spawn(self._engine(life, take_over=take_over))
        return life

    async def _engine(self, life: Life, *, take_over: bool) -> None:
        leaving = self.leaving[life.number] = asyncio.Event()
        self.evidence.tell("start", life.number, take_over)
        try:
            store = self._store(life)
            line = self.lines[life.number] = VenueLine(
                self.plan, self.exchange, life, self.loop, self
            )
            engine = Orchestrator(
                store,
                [line, CashDesk()],
                limits=Limits(max_running=self.plan.max_running, max_crashes_per_minute=None),
                clock=self.clock,
                take_over=take_over,
            )
            async with engine:
                self.engines[life.number] = engine
                life.phase = "run"
                self.evidence.tell("up", life.number)
                if self.plan.seed % SUBSCRIBED_ONE_IN == 0:
                    life.spawn(self._subscribe(engine))
                await leaving.wait()
                life.phase = "leave"
        except ProcessDied:
            pass
        except asyncio.CancelledError:
            self.evidence.tell("cancelled", life.number)
        except StoreError as error:
            self.evidence.tell("ended", life.number, type(error).__name__)
        except BaseExceptionGroup as group:
            if life.alive and group.subgroup(lambda e: not isinstance(e, _EXPECTED)):
                self.evidence.blame("S18", f"process {life.number} ended with {group!r}")
        except Exception as error:
            if life.alive:
                self.evidence.blame("S18", f"process {life.number} ended with {error!r}")
        finally:
            self.engines.pop(life.number, None)
            try:
                await self._bury(life)
            except asyncio.CancelledError:  # held back by the leaving engine until it had left
                self.evidence.tell("cancelled", life.number)
                await self._bury(life)

    async def _subscribe(self, engine: Orchestrator) -> None:
        """Follow the stream of events, from where the last process left it."""
        with suppress(StoreError, ProcessDied):
            last = self._seen_last
            async for record in engine.events(after=last):
                judges.s15_stream_order(self.evidence, last, record.sequence)
                last = self._seen_last = record.sequence

    async def _bury(self, life: Life) -> None:
        """Make sure that nothing of a process that has left is still there (L5)."""
        if life.alive:
            for _ in range(20):
                left = [t for t in life.living_tasks() if t is not life.main and not is_guest(t)]
                if not left:
                    break
                await asyncio.sleep(0.01)
            else:
                self.evidence.blame("L5", f"process {life.number} left {left} behind")
        life.alive = False
        life.ended.set()
        self.evidence.tell("gone", life.number)

    def _store(self, life: Life) -> SqliteStore:
        first = True

        def bridge() -> Bridge:
            nonlocal first
            made = WritingBridge(life, self) if first else ReadingBridge(life)
            first = False
            self.bridges.append(made)
            return made

        # One real process stands for several: what this one has open is no matter of theirs.
        found = database.file_id(self.disk.store)
        assert found is not None, "the file is never away"
        database.unclaim(found)
        return _ObservedStore(
            self.disk.store,
            clock=self.clock,
            projections=[PortfolioProjection()],
            bridge=bridge,
            processes=_Processes(self, life),
            evidence=self.evidence,
        )

    async def _keep_running(self, life: Life) -> None:
        """Start a process again whenever the one in front has ended, as a service manager does."""
        while True:
            await life.ended.wait()
            if self._is_done_with(life):
                return
            if (other := self._who_lives()) is not None:
                self.front = life = other  # the take-over failed, and the first one goes on
                continue
            await asyncio.sleep(0.3 if self.quiet else self.downtime)
            self.downtime = 0.5
            if self._is_done_with(life):
                return
            life = self._start(take_over=False)

    def _who_lives(self) -> Life | None:
        return next(
            (each for each in self.lives if each.alive and each.number in self.engines), None
        )

    def _is_done_with(self, life: Life) -> bool:
        return self.over or self.front is not life

    def crash(self, life: Life, crash: Crash, where: str) -> None:
        """End a process, as the loss says."""
        self._spent.add(crash.name)
        self.evidence.crashes += 1
        fired = self.evidence.fired
        fired[crash.loss] += 1
        fired[f"crash at {where}"] += 1
        if life.phase != "run":
            fired[f"crash in {life.phase}"] += 1
        if life is self.front:
            self.downtime = crash.downtime
        self.evidence.tell("CRASH", crash.loss, life.number, life.phase, where)
        if crash.loss == "L1":
            if life.main is not None:
                life.main.cancel()
            return
        for each in self.lives if crash.loss == "L3" else [life]:
            if each.alive:
                each.die()
                each.ended.set()
        if not any(each.alive for each in self.lives):
            words = self.disk.go_on(power=crash.loss == "L3", before=self._before)
            self.evidence.tell("disk", words)

    # --- the run ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live through the whole seed."""
        self._others.append(self.loop.create_task(self._keep_running(self._start(take_over=False))))
        clients = []
        for batch in self.plan.batches:
            clients += [self.loop.create_task(each) for each in self._clients(batch)]
        deeds = [self.loop.create_task(self._do(deed)) for deed in self.plan.deeds]
        for crash in self.plan.crashes:
            if crash.at is not None:
                self._others.append(self.loop.create_task(self._crash_at(crash)))
        await asyncio.sleep(self.plan.quiet_at)
        self._fall_quiet()
        await self._live_on([*clients, *deeds])
        self.over = True
        for life in self.lives:
            if life.alive:
                self.leaving[life.number].set()
                await life.ended.wait()
        for task in self._others:
            task.cancel()
        for dead in self.lives:
            for _ in range(50):
                if not dead.living_tasks():
                    break
                await asyncio.sleep(0.05)

    def _fall_quiet(self) -> None:
        self.quiet = True
        self._poison = None  # a disk that was to fail at the next commit is sound from now on
        self.evidence.tell("quiet")
        self.loop.holds_back = None
        for life in self.lives:
            life.thaw()
        self.exchange.fall_quiet()

    async def _live_on(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until everything has come to rest; faults have stopped (L1, L2)."""
        began = self.loop.time()
        bound = self._bound()
        while True:
            front = self.front
            up = front is not None and front.number in self.engines
            if not up and self.loop.time() - began > START_SECONDS:
                self.evidence.blame("L2", f"no engine is up {START_SECONDS} s after faults stopped")
                return
            if up:
                await self._unpause_all()
                left = self.disk.look(file.unfinished)
                if left:
                    await self._make_way(left)
                if not left and all(task.done() for task in tasks):
                    break
                if self.loop.time() - began > bound:
                    if left:
                        self.evidence.blame(
                            "L1", f"{[*left]} not at rest {bound:.0f} s after faults stopped"
                        )
                    if not all(task.done() for task in tasks):
                        self.evidence.blame("L1", "a client still waits for its answer")
                    return
            await asyncio.sleep(1.0)
        await self._reconcile()

    def _bound(self) -> float:
        venue = self.plan.venue
        step = 2 * venue.call_timeout_seconds + 3 * venue.visibility_seconds + 40.0
        steps = sum(7 * len(batch.legs) for batch in self.plan.batches)
        return 2 * 60.0 + PATIENCE + step * steps

    async def _unpause_all(self) -> None:
        engine = self.engines.get(self.front.number) if self.front else None
        if engine is not None:
            if engine.trading_state is not TradingState.ACTIVE:
                await self._activate()  # a halt holds even where it could not be noted
            for row in engine.active():
                if row.paused:
                    await self._unpause(row.batch_id)

    async def _make_way(self, left: Mapping[str, str]) -> None:
        """Resolve what is STALE where others wait behind its key, as only an operator can."""
        if any(state != "PENDING" for state in left.values()):
            return
        for story in self.disk.look(file.stories, self.first_sequence):
            if story.state == "STALE":
                judges.s6_terminal_truth(self.evidence, story)
                await self._resolve(story.batch_id)

    async def _resolve(self, uid: str) -> bool:
        return await self._try(
            lambda e: e.resolve(
                uid, by="operator", reason="because", action="left as it is", evidence="ticket 1"
            )
        )

    async def _unpause(self, uid: str) -> None:
        await self._try(lambda e: e.unpause(uid, by="operator", reason="faults have stopped"))

    async def _reconcile(self) -> None:
        """Compare books and venue, as an operator does (L6)."""
        life = self.front
        assert life is not None
        engine, line = self.engines[life.number], self.lines[life.number]
        try:
            found = await life.call(lambda: reconcile(engine.store, line))  # type: ignore[arg-type]
        except (BrokerBusy, NoAnswer):
            return
        self.evidence.tell("reconciled", len(found.unbooked), len(found.differences))
        by_hand = [each for each in self.exchange.executions if each.client_order_id is None]
        told = {each.trade_id for each in found.external}
        for trade in by_hand:
            if trade.fill_id not in told:
                self.evidence.blame("L6", f"the trade {trade.fill_id} by hand is not reported")
        listed = {each.trade_id for each in found.unbooked}
        busted = [
            fill_id
            for orders in self.exchange.orders.values()
            for order in orders
            for fill_id in sorted(order.busted)
        ]
        known = self._known_to_be_busted() if busted else set()
        for fill_id in busted:
            backs = [each for each in self.exchange.executions if each.reverses == fill_id]
            if fill_id not in known and any(each.fill_id not in listed for each in backs):
                self.evidence.blame("L6", f"that {fill_id} was busted is not reported")

    def _known_to_be_busted(self) -> set[str]:
        return {
            fill_id
            for story in self.disk.look(file.stories, self.first_sequence)
            for told in story.attempts.values()
            for fill_id in told.reversed
        }

    async def _crash_at(self, crash: Crash) -> None:
        assert crash.at is not None
        await asyncio.sleep(crash.at)
        life = self.front
        if not self.quiet and life is not None and life.alive:
            self.crash(life, crash, "an instant")

    # --- clients ----------------------------------------------------------------------------------

    def _clients(self, planned: PlannedBatch) -> list[Any]:
        batch = self._batch(planned)
        self.evidence.handed_in[batch.batch_id] = batch
        policy = FailurePolicy(**planned.policy)
        found = [self._client(planned, batch, policy, watches=planned.watches)]
        found += [self._client(planned, batch, policy) for _ in range(planned.again)]
        if planned.other_body:
            other = batch.model_copy(update={"metadata": {"other": True}})
            found.append(self._client(planned, other, policy))
        if planned.again:
            self.evidence.fired["submitted again"] += planned.again
        return found

    def _batch(self, planned: PlannedBatch) -> Batch:
        legs = [_KINDS[leg.kind].model_validate(leg.fields) for leg in planned.legs]
        return Batch.model_validate(
            {
                "batch_id": f"BAT_20261121_093000_{self.plan.seed % 100_000:05d}{planned.number}",
                "directives": legs,
                "created_at": BEGINNING,
                **planned.fields,
            }
        )

    async def _client(
        self, planned: PlannedBatch, batch: Batch, policy: FailurePolicy, *, watches: bool = False
    ) -> None:
        await asyncio.sleep(planned.at)
        for attempt in range(MAX_TRIES):
            try:
                uid = await self._call(lambda e: e.submit(batch, policy=policy, by="client"))
            except _AGAIN as error:
                # That it is not running is to be asked again; what the books refuse is an answer.
                if not planned.patient or isinstance(error, _REFUSALS):
                    self.evidence.tell("refused", batch.batch_id, type(error).__name__)
                    return
                self.evidence.fired["submitted again"] += 1
                await asyncio.sleep(_wait_after(attempt))
                continue
            except BatchConflict:
                self.evidence.fired["same id, other body"] += 1
                if not planned.other_body:
                    self.evidence.blame("S16", f"{batch.batch_id} is refused as another's")
                return
            except SagaError as error:
                self.evidence.tell("refused", batch.batch_id, type(error).__name__)
                return
            self._accepted(uid, batch)
            if watches:
                await self._watch_end(uid)
            return

    def _accepted(self, uid: str, batch: Batch) -> None:
        self.evidence.tell("accepted", uid)
        bodies = self.evidence.accepted.setdefault(uid, [])
        if batch not in bodies:
            bodies.append(batch)
        if self.disk.look(file.state_of, uid) is None:
            self.evidence.blame("S14", f"{uid} was accepted, and is not in the file")

    async def _watch_end(self, uid: str) -> None:
        for attempt in range(MAX_TRIES):
            try:
                row = await self._call(lambda e: e.wait(uid, timeout=60.0))
            except _AGAIN:
                await asyncio.sleep(_wait_after(attempt))
                continue
            except NoSuchBatch:
                self.evidence.blame("S1", f"{uid} was accepted, and the engine knows it no more")
                return
            self.evidence.tell("saw", uid, row.state)
            judges.s14_shown_is_durable(self.evidence, uid, row.state)
            return

    async def _call(self, make: Callable[[Orchestrator], Awaitable[T]]) -> T:
        """Call the engine that is in front.

        Raises:
            NoAnswer: there is none, or it died first.
            TimeoutError: it did not answer.
        """
        life = self.front
        if life is None or life.number not in self.engines:
            raise NoAnswer
        engine = self.engines[life.number]
        async with asyncio.timeout(PATIENCE):
            return await life.call(lambda: make(engine))

    async def _try(self, make: Callable[[Orchestrator], Awaitable[object]]) -> bool:
        try:
            await self._call(make)
        except (*_AGAIN, SagaError):
            return False
        return True

    # --- operators and accidents ------------------------------------------------------------------

    async def _do(self, deed: Deed) -> None:
        await asyncio.sleep(deed.at)
        self.evidence.tell("deed", deed.what)
        if deed.what == "clock":
            self.clock.jump(timedelta(seconds=deed.amount))
            self.evidence.fired["clock forward" if deed.amount > 0 else "clock back"] += 1
        elif deed.what == "take over":
            await self._take_over(deed.amount)
        elif deed.what == "leave":
            await self._leave(deed.amount)
        elif deed.what == "busy":
            self._busy = int(deed.amount)
        elif deed.what.startswith("poison"):
            self._poison = None if self.quiet else deed.what.split()[1]
        elif deed.what == "external trade":
            self.exchange.trade_by_hand("IBM", Decimal(int(deed.amount)))
            self.evidence.fired["external trade"] += 1
        else:
            await self._operate(deed)

    async def _take_over(self, seconds: float) -> None:
        first = self.front
        if first is None or not first.alive or self.quiet:
            return
        if seconds:
            self.evidence.fired["frozen owner"] += 1
            first.freeze()
            self.loop.holds_back = self._hold_back
            await asyncio.sleep(seconds * 0.7)
        self.evidence.fired["two owners"] += 1
        second = self._start(take_over=True)
        self._others.append(self.loop.create_task(self._keep_running(second)))
        if seconds:
            await asyncio.sleep(seconds * 0.3)
            first.thaw()
            if not any(life.frozen for life in self.lives):
                self.loop.holds_back = None

    def _hold_back(self, handle: asyncio.Handle) -> bool:
        life = life_of(handle)
        if life is None or not life.frozen:
            return False
        life.held.append(handle)
        return True

    async def _leave(self, downtime: float) -> None:
        """End the process in front in good order, and let it start again."""
        life = self.front
        if life is not None and life.alive and not self.quiet:
            self.evidence.fired["shutdown"] += 1
            self.downtime = downtime
            self.leaving[life.number].set()

    async def _operate(self, deed: Deed) -> None:
        """Do what an operator does; that it is not allowed now is an answer like any other."""
        if not self.plan.batches:
            return
        planned = self.plan.batches[deed.batch % len(self.plan.batches)]
        uid = f"BAT_20261121_093000_{self.plan.seed % 100_000:05d}{planned.number}"
        what, said = deed.what, {"by": "operator", "reason": "because"}
        done = False
        if what == "cancel":
            done = await self._try(lambda e: e.cancel(uid, **said))
        elif what == "cancel twice":
            twice = [self._try(lambda e: e.cancel(uid, **said)) for _ in range(2)]
            done = any(await asyncio.gather(*twice))
        elif what == "pause":
            done = await self._try(lambda e: e.pause(uid, **said))
            await asyncio.sleep(deed.amount)
            await self._try(lambda e: e.unpause(uid, **said))
        elif what in ("retry", "resolve"):
            done = await self._when_stale(uid, what)
        elif what == "halt":
            done = await self._halt(deed.amount)
        elif what == "notify":
            key = f"{uid.removeprefix('BAT_')}-0F1"
            self.news(key)
            done = True
        elif what == "again":
            done = await self._try(lambda e: e.retry_failed(uid, **said))
        if done:
            self.evidence.fired[what] += 1
        if done and what in ("cancel", "cancel twice"):
            policy_judges.s14_granted_is_durable(self.evidence, uid)

    async def _halt(self, seconds: float) -> bool:
        """Pull the kill switch, and let trading go on later."""
        life, activations = self.front, self._activations
        if not await self._try(lambda e: e.halt(by="operator", reason="stop")) or life is None:
            return False
        if activations == self._activations:  # or else somebody let trading go on behind it
            self.halted = (self.loop.time(), life.number)
        await asyncio.sleep(seconds)
        await self._activate()
        return True

    async def _activate(self) -> None:
        self.halted = None
        self._activations += 1
        for _ in range(MAX_TRIES):
            try:
                await self._call(lambda e: e.activate(by="operator", reason="go on"))
            except (NoAnswer, TimeoutError, StoreError):
                await asyncio.sleep(0.5)
            except NotAllowed:  # somebody has, or the engine is leaving
                if self.front is not None and self.front.phase == "run":
                    return
                await asyncio.sleep(0.5)
            else:
                return

    async def _when_stale(self, uid: str, what: str) -> bool:
        """Deal with a saga once it is STALE, if it ever is."""
        said = {"by": "operator", "reason": "because"}
        while True:
            state = self.disk.look(file.state_of, uid)
            if self.quiet and (state is None or state in file.AT_REST):
                return False
            if state == "STALE":
                if what == "retry":
                    return await self._try(
                        lambda e: e.retry(uid, undo_budget=None, seen=None, **said)
                    )
                return await self._resolve(uid)
            await asyncio.sleep(1.0)

    def close(self) -> None:
        """Let go of every connection."""
        for bridge in self.bridges:
            bridge.let_go()


_EXPECTED = (StoreError, ProcessDied, asyncio.CancelledError)


class _Processes:
    """Which of the simulated processes live, as one of them sees it."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life

    def current(self) -> Process:
        """Return the process that asks."""
        return self._life.process

    def is_alive(self, process: Process) -> bool:
        """Tell whether another one lives."""
        return any(
            life.alive and not life.ended.is_set()
            for life in self._world.lives
            if life.process == process
        )


class _ObservedStore(SqliteStore):
    """The real store, which keeps what was live at each record where a seed wants that."""

    def __init__(self, path: Path, *, evidence: Evidence, **more: Any) -> None:
        super().__init__(path, **more)
        self._evidence = evidence

    async def append(self, append: Append) -> int:
        """Append, and keep the row that goes with the last record."""
        sequence = await super().append(append)
        rows = self._evidence.live_rows
        if rows is not None:
            number = append.changes[-1].number
            rows.append((append.batch.batch_id, number, append.batch_row))
        return sequence


@contextmanager
def silence() -> Iterator[None]:
    """Keep the log quiet meanwhile: what the engine says of drawn faults is known."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _wait_after(attempt: int) -> float:
    """Return how long a client waits after its attempt with this number, from 0."""
    return min(0.7 * 1.6 ** min(attempt, 10), LONGEST_WAIT)
