"""The orchestrator: takes batches in, runs them as sagas, and answers for them after a crash.

    async with Orchestrator(SqliteStore("desk.db"), [broker]) as engine:
        batch_id = await engine.submit(batch)
        row = await engine.wait(batch_id)

Entering opens the store, becomes its one owner, and takes up everything that is unfinished. Leaving
stops at a point from which the next owner can take it up again; no task outlives it. Enter and
leave it in the same task.

This module is the door: what may be asked of an engine from outside. Who is driven, and when, is
`supervision`'s business; what a saga does is `runner`'s; what it means is `core`'s.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Sized
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup
from pydantic_core import PydanticCustomError

from saga.aftermath import Aftermath, KnownFills
from saga.alerts import AlertHook, Alerts
from saga.amounts import to_decimal
from saga.appending import begun
from saga.clock import Clock, SystemClock
from saga.complaints import Complaints
from saga.errors import (
    AdmissionRefused,
    BatchConflict,
    InvalidInput,
    NoSuchBatch,
    NotAllowed,
    OwnershipLost,
    Quarantined,
    SagaError,
    StoreBusy,
    StoreError,
    StorePoisoned,
)
from saga.events import (
    Adjustment,
    CancelRequested,
    Event,
    IncidentClosed,
    LateTruth,
    Paused,
    Resolved,
    Retried,
    Submitted,
    Unpaused,
)
from saga.gate import Gate
from saga.hooks import Hook
from saga.ids import batch_of_key
from saga.intake import (
    Accepted,
    check_submission,
    checked_again,
    policy_checked_again,
    resolved_policy,
)
from saga.ledger import Saga
from saga.limits import Limits
from saga.logbook import TradingState, TradingStateSet
from saga.machine import SAGA_AT_REST
from saga.model import Batch, Priority
from saga.participant import Participant, by_kind
from saga.policy import FailurePolicy
from saga.pulse import Pulses
from saga.remedy import failed_trades_again, refuse_to_undo_twice, refuse_what_is_booked
from saga.runner import SagaRunner
from saga.steady_clock import DOUBT_SECONDS, SteadyClock
from saga.store.protocol import CheckpointStore, JournalRecord
from saga.supervision import Supervision, fatal_in
from saga.trading import Trading
from saga.turns import LEGS_OF_A_BATCH, Turnstile, aside, leg_by_leg
from saga.version import VERSION
from saga.views import BatchRow, BatchStatus, TradeRow, batch_row, trade_rows
from saga.wording import shown

_LOG = Complaints("saga.orchestrator")

PROGRAM: Final = f"trade-saga {VERSION}"
"""Kept with every saga, so that one can tell which version started it."""


WAIT_AGAIN_SECONDS: Final = 0.02
"""A batch that nobody drives at the moment is looked at again so much later."""
HALT_WATCH_SECONDS: Final = 1.0
"""How often the halt file is looked for; a send looks for it as well."""
STALL_SECONDS: Final = 5.0
"""An event loop that comes back so much too late is reported."""


class _Keep(Enum):
    KEEP = "keep"


KEEP: Final = _Keep.KEEP
"""The undo's budget stays what it was."""


class Orchestrator:
    """Runs batches as sagas over one checkpoint store.

    Args:
        store: where everything is kept; opened on entering, closed on leaving.
        participants: who carries out which kinds of directive.
        limits: the engine's bounds.
        clock: where time comes from.
        gate: judges every order between its intent and its send; None has no limits.
        take_over: become the store's owner even if another one seems to live; it is fenced.

    Raises:
        InvalidInput: two participants carry out the same kind, or one declares what cannot be.
    """

    def __init__(
        self,
        store: CheckpointStore,
        participants: Iterable[Participant],
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        gate: Gate | None = None,
        take_over: bool = False,
    ) -> None:
        self.store = store
        self._participants = by_kind(participants)
        self._limits = limits or Limits()
        self._clock = SteadyClock(
            clock or SystemClock(),
            # No proof of absence may be cut short by a jump of the wall.
            doubt_seconds=max(
                DOUBT_SECONDS, *map(_longest_window, self._participants.values()), 0.0
            ),
        )
        self._take_over = take_over
        self._trading = Trading(
            store,
            self._clock,
            gate=gate,
            program=PROGRAM,
            max_crashes=self._limits.max_crashes_per_minute,
            on_change=self._trading_changed,
        )
        self._alerts = Alerts(
            store,
            lambda batch_id: self._sagas.load(batch_id),
            self._clock,
            seconds=self._limits.hook_seconds,
        )
        self._pulses = Pulses()
        self._sagas = Supervision(
            store,
            self._participants,
            limits=self._limits,
            clock=self._clock,
            trading=self._trading,
            program=PROGRAM,
            on_commit=self._committed,
            on_alert=self._alerts.look_at,
            on_unheard=self._hear_late,
        )
        self._aftermath = Aftermath(self._sagas, self._participants, self._clock)
        self._door = Turnstile()
        self._submitting = 0
        self._none_submitting = anyio.Event()
        self._entered = False
        self._open = False
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the store, own it, and begin to take up what is unfinished.

        Raises:
            StoreUnusable: the store cannot be opened safely.
            StoreHeld: another living owner holds it.
            NotAllowed: it was entered before.
        """
        if self._entered:
            raise NotAllowed("an orchestrator is entered once; make a new one to run again")
        self._entered = True
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.store)
            last = await self.store.owner()
            owner = await self.store.acquire(take_over=self._take_over)
            stack.push_async_callback(self._release)
            await self._trading.begin(owner, clean=last is None or last.released)
            await self._sagas.survey(taken_over=owner.last_may_live)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._tasks.start_soon(self._beat)
            self._tasks.start_soon(self._watch_for_halt)
            self._tasks.start_soon(self._aftermath.run)
            self._tasks.start_soon(self._alerts.run)
            self._sagas.begin(self._tasks)
            self._open = True
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every saga where it can be taken up again, give the store up, and close it."""
        self._open = False
        try:
            await self._sagas.stop()
            await self._submitted()
        finally:  # a guest's loop may cancel even this wait (asyncio's own way): leave all the same
            self._pulses.beat_all()
            self._tasks.cancel_scope.cancel()
            try:
                await self._stack.__aexit__(kind, error, trace)
            except BaseExceptionGroup as group:
                raise _first_of(group) from None

    async def _submitted(self) -> None:
        """Wait for what is being taken in: it is still ours to write, and to answer for."""
        with anyio.CancelScope(shield=True):
            while self._submitting:
                self._none_submitting = anyio.Event()
                await self._none_submitting.wait()

    async def _release(self) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self.store.release()
        except (OwnershipLost, StorePoisoned):
            _LOG.warning("the store could not be given up in good order; the next owner will see")

    async def _beat(self) -> None:
        while True:
            pause = timedelta(seconds=self._limits.heartbeat_seconds)
            await self._clock.sleep_until(self._clock.now() + pause)
            try:
                await self.store.heartbeat()
            except StoreBusy as error:  # nobody else can have written either
                _LOG.warning("a heartbeat is left out: %s", error)

    async def _watch_for_halt(self) -> None:
        """Notice a halt file that was put there from outside."""
        while True:
            await self._pause_and_tell_of_stalls(HALT_WATCH_SECONDS)
            try:
                await self._trading.adopt()
            except StoreBusy as error:  # no order goes out all the same
                _LOG.warning("the halt file is not noted in the logbook: %s", error)
            self._sagas.admit_who_was_held_back()

    async def _pause_and_tell_of_stalls(self, seconds: float) -> None:
        """Pause; whoever is woken much later than he wished has met an event loop that stood."""
        before = self._clock.elapsed()
        await anyio.sleep(seconds)
        late = self._clock.elapsed() - before - seconds
        if late > STALL_SECONDS:
            _LOG.error(
                "the event loop stood still for %.1f s; nothing was sent, heard or timed out "
                "meanwhile: find what keeps it, and put it onto a thread",
                late,
            )

    def _committed(self, batch_id: str) -> None:
        self._alerts.forget(batch_id)
        self._pulses.beat(batch_id)

    def _trading_changed(self) -> None:
        self._sagas.look_again_at_trading()

    def _require_open(self) -> None:
        if not self._open:
            raise NotAllowed("the orchestrator is not running; use it inside its `async with`")

    # --- intake -----------------------------------------------------------------------------------

    async def submit(
        self, batch: Batch, *, policy: FailurePolicy | None = None, by: str = "owner"
    ) -> str:
        """Take a batch in; it is durable when this returns, and runs in the background.

        The same id with the same content (whatever its `created_at`) gives the same saga, also
        where the batch would be refused by now.

        Args:
            batch: what is to be done.
            policy: what is to happen when it fails; by default what its mode says.
            by: who hands it in.

        Returns:
            The batch's id.

        Raises:
            InvalidInput: it breaks a rule; nothing was stored or sent.
            BatchConflict: its id is taken by a batch with other content.
            AdmissionRefused: a bound of the engine, or a limit of the gate, is reached.
            AccountUnknown: a participant cannot say now in which account it acts.
        """
        self._require_open()
        await self._door.enter(_legs_of(batch) + LEGS_OF_A_BATCH, _priority_of(batch))
        batch = await aside(_legs_of(batch), checked_again, batch)
        policy = policy_checked_again(policy or FailurePolicy())
        by = _said(by, "by")
        try:
            accepted = await leg_by_leg(
                check_submission(batch, policy, self._participants, self._limits)
            )
        except SagaError as refusal:
            asked = resolved_policy(batch, policy)
            async with self._sagas.alone_with(batch.batch_id):
                return await self._taken_in_before(batch, asked, refusal)
        async with self._sagas.alone_with(batch.batch_id):
            return await self._take_in(batch, accepted, by=by)

    async def _taken_in_before(
        self, batch: Batch, policy: FailurePolicy, refusal: SagaError
    ) -> str:
        """Return the id of a batch that is refused now, but was taken in before.

        S16: it is never answered as if it had not been.

        Raises:
            BatchConflict: its id is taken by a batch with other content.
            SagaError: the refusal; the batch was not taken in before.
        """
        known = self._sagas.find(batch.batch_id)
        try:
            saga = known.saga if known is not None else await self._sagas.load(batch.batch_id)
        except NoSuchBatch:
            raise refusal from None
        return _same_or_conflict(saga.submitted, batch, policy)

    async def _take_in(self, batch: Batch, accepted: Accepted, *, by: str) -> str:
        known = self._sagas.find(batch.batch_id)
        if known is not None:
            return _same_or_conflict(known.saga.submitted, batch, accepted.policy)
        refusal = await self._refusal_at_the_door(batch)
        if refusal is not None:
            return await self._taken_in_before(batch, accepted.policy, AdmissionRefused(refusal))
        now = self._clock.now()
        timeout = batch.timeout_seconds
        event = Submitted(
            batch=batch,
            policy=accepted.policy,
            capabilities=accepted.capabilities,
            deadline=None if timeout is None else now + timedelta(seconds=timeout),
            program=PROGRAM,
            by=by,
            accounts=accepted.accounts,
        )
        self._require_open()  # again: it may have been left while the batch was judged
        self._submitting += 1
        try:
            saga, append = await aside(len(batch.directives), begun, event, now)
            await self.store.append(append)
        except BatchConflict:
            stored = await self._sagas.load(batch.batch_id)
            return _same_or_conflict(stored.submitted, batch, accepted.policy)
        finally:
            self._submitting -= 1
            if not self._submitting:
                self._none_submitting.set()
        self._pulses.beat(batch.batch_id)
        if self._open:  # otherwise it is durable, and the next owner takes it up
            self._sagas.start(saga, resumed=False)
        return batch.batch_id

    async def _refusal_at_the_door(self, batch: Batch) -> str | None:
        refusal = await self._trading.judge_batch(batch)
        if refusal is not None:
            return f"{batch.batch_id} was not taken in: {refusal.sentence}"
        # Behind the judgement: others may have been taken in meanwhile.
        if self._sagas.queued + self._submitting >= self._limits.max_queued:
            return (
                f"{self._sagas.queued} batches wait already, which is the bound max_queued "
                f"{self._limits.max_queued}; submit it again later"
            )
        return None

    async def run(
        self,
        batch: Batch,
        *,
        policy: FailurePolicy | None = None,
        by: str = "owner",
        timeout: float | None = None,
    ) -> BatchRow:
        """Take a batch in and wait until it comes to rest; see `submit` and `wait`."""
        return await self.wait(await self.submit(batch, policy=policy, by=by), timeout=timeout)

    async def wait(self, batch_id: str, *, timeout: float | None = None) -> BatchRow:
        """Return the batch's view once it is COMPLETED, ROLLED_BACK or STALE.

        Args:
            batch_id: the batch.
            timeout: most seconds to wait; None waits for ever. The saga goes on either way.

        Raises:
            TimeoutError: it did not come to rest in time.
            NoSuchBatch: there is no such batch.
            Quarantined: it was set aside.
            OwnershipLost: another owner has taken the store over, and drives it.
        """
        with anyio.fail_after(timeout):
            while True:
                row = await self._sagas.settled(batch_id) or await self.batch(batch_id)
                if row.state in SAGA_AT_REST:
                    return row
                self._require_open()
                aside = await self.store.quarantined()
                if batch_id in aside:
                    raise Quarantined(aside[batch_id])
                # Nobody here drives it: it is about to be, or somebody else owns the store by now.
                await self.store.verify_owner()
                await anyio.sleep(WAIT_AGAIN_SECONDS)

    # --- what operators do ------------------------------------------------------------------------

    async def cancel(self, batch_id: str, *, by: str, reason: str) -> BatchRow:
        """Stop a batch and undo it as its mode says; the wish is durable when this returns.

        Cancelling twice is the same as once.

        Raises:
            NotAllowed: it is already being undone, or over.
            NoSuchBatch: there is no such batch.
        """
        event = CancelRequested(_said(by, "by"), _said(reason, "reason"))
        runner = await self._runner_of(batch_id)
        try:
            await runner.request(event)
        except NotAllowed:
            # The earlier wish is asked for last: what the runner refuses by is durable by now.
            if runner.saga.cancel is None:
                raise
        return runner.view()

    async def pause(self, batch_id: str, *, by: str, reason: str) -> BatchRow:
        """Send nothing new for a batch; its deadline goes on, and what is open stays watched.

        Raises:
            NotAllowed: it is paused already, or at rest.
            NoSuchBatch: there is no such batch.
        """
        event = Paused(_said(by, "by"), _said(reason, "reason"))
        return await self._change(await self._runner_of(batch_id), event)

    async def unpause(self, batch_id: str, *, by: str, reason: str) -> BatchRow:
        """Let a paused batch go on.

        Raises:
            NotAllowed: it is not paused.
            NoSuchBatch: there is no such batch.
        """
        event = Unpaused(_said(by, "by"), _said(reason, "reason"))
        return await self._change(await self._runner_of(batch_id), event)

    async def retry(
        self,
        batch_id: str,
        *,
        by: str,
        reason: str,
        undo_budget: Decimal | _Keep | None = KEEP,
        seen: int | None = None,
    ) -> BatchRow:
        """Try the rollback of a STALE batch again, with a fresh count of attempts.

        Args:
            batch_id: the batch.
            by: who wants it.
            reason: why it may succeed now.
            undo_budget: a new bound on the undo's whole cost; None is no bound.
            seen: the last record of the batch's journal that he had seen; None does not look.

        Raises:
            NotAllowed: it is not STALE, its budget is spent and no new one is given, its journal
                has gone on since `seen`, or something of what it would undo was dealt with by hand.
            NoSuchBatch: there is no such batch.
        """
        if isinstance(undo_budget, _Keep):
            wanted = None
        else:
            wanted = policy_checked_again(FailurePolicy.model_construct(undo_budget=undo_budget))
        runner = await self._runner_of(batch_id)
        budget = runner.saga.undo_budget if wanted is None else wanted.undo_budget
        if budget is not None and runner.saga.undo_cost > budget:
            raise NotAllowed(
                f"the undo of {batch_id} has cost {runner.saga.undo_cost}, past its undo_budget of "
                f"{budget}; give a higher one, or resolve it by hand"
            )
        event = Retried(_said(by, "by"), _said(reason, "reason"), budget, seen)
        return await self._change(runner, event, refuse_to_undo_twice)

    async def retry_failed(self, batch_id: str, *, by: str, reason: str) -> str:
        """Submit what of a finished batch is not in place as a new batch that names its parent.

        What became known after its end counts. The new id is derived from the parent's, so that
        asking twice gives one batch.

        Returns:
            The new batch's id.

        Raises:
            NotAllowed: the batch is not over, has open incidents, was set right by hand, or
                carried everything out.
            NoSuchBatch: there is no such batch.
        """
        self._require_open()
        saga = await self._sagas.load(batch_id)
        batch = failed_trades_again(saga, _said(reason, "reason"), self._clock.now())
        policy = saga.submitted.policy
        try:
            return await self.submit(batch, policy=policy, by=by)
        except BatchConflict:
            return batch.batch_id

    async def resolve(
        self,
        batch_id: str,
        *,
        by: str,
        reason: str,
        action: str,
        evidence: str,
        adjustments: tuple[Adjustment, ...] = (),
        seen: int | None = None,
    ) -> BatchRow:
        """Close a STALE batch whose residual exposure an operator has dealt with by hand.

        Args:
            batch_id: the batch.
            by: who did it.
            reason: why it is right to close it.
            action: what was done.
            evidence: where that can be seen.
            adjustments: how holdings and cash changed by it.
            seen: the last record of the batch's journal that he had seen; None does not look. What
                is left may be another since, by a retry or by late truth.

        Raises:
            NotAllowed: it is not STALE, its journal has gone on since `seen`, or an adjustment
                names a fill that the journal has.
            NoSuchBatch: there is no such batch.
        """
        event = Resolved(
            by=_said(by, "by"),
            reason=_said(reason, "reason"),
            action=_said(action, "action"),
            evidence=_said(evidence, "evidence"),
            adjustments=_exact(adjustments),
            seen=seen,
        )
        return await self._book_by_hand(batch_id, event)

    # --- which orders may go out ------------------------------------------------------------------

    @property
    def trading_state(self) -> TradingState:
        """Which orders may go out."""
        return self._trading.state

    @property
    def trading_said(self) -> TradingStateSet:
        """Who said last which orders may go out, and why."""
        return self._trading.said

    async def halt(self, *, by: str, reason: str) -> None:
        """Let no forward order out, from now on and through restarts, until somebody activates.

        What runs is cancelled, and undone as its mode says; what waits goes on waiting. It holds
        from the moment of the call, in memory and by a file beside the store, even if this raises.

        Raises:
            StoreError: it could not be noted.
        """
        await self._trading.halt(by=_said(by, "by"), reason=_said(reason, "reason"))

    async def reduce(self, *, by: str, reason: str, automatic: bool = False) -> None:
        """Let only such forward orders out as make an exposure smaller.

        Args:
            by: who says so.
            reason: why.
            automatic: that is no person, but a program that watches.

        Raises:
            NotAllowed: that is so already.
        """
        self._require_open()
        await self._trading.ease(
            TradingState.REDUCING,
            by=_said(by, "by"),
            reason=_said(reason, "reason"),
            automatic=automatic,
        )

    async def activate(self, *, by: str, reason: str) -> None:
        """Let all orders out that pass the limits.

        Raises:
            NotAllowed: that is so already.
        """
        self._require_open()
        await self._trading.ease(
            TradingState.ACTIVE, by=_said(by, "by"), reason=_said(reason, "reason")
        )

    # --- after the end ----------------------------------------------------------------------------

    def notify(self, key: str) -> None:
        """Hear that there may be news about an attempt, by its key: it is looked up now.

        Of a saga at rest it is looked up in the background; what is new is an incident.
        """
        runner = self._sagas.find(batch_of_key(key) or "")
        if runner is not None and runner.saga.state not in SAGA_AT_REST:
            runner.notify(key)
        else:
            self._hear_late(key)

    def _hear_late(self, key: str) -> None:
        if self._open:
            self._aftermath.hear(key)

    async def look_again(
        self,
        batch_id: str,
        *,
        by: str,
        keys: Iterable[str] | None = None,
        unanswered: set[str] | None = None,
    ) -> tuple[LateTruth, ...]:
        """Ask again about the attempts of a batch at rest, and record what is new as incidents.

        Its state and its outcome stay; its attempts, the residual of a STALE one, and the books
        follow the truth. Of a batch that is not at rest nothing is asked now.

        Args:
            batch_id: the batch.
            by: who looks.
            keys: only these attempts; None is all.
            unanswered: where the keys of attempts are put that were asked about, and of which no
                answer came that can be used.

        Returns:
            What was new.

        Raises:
            NoSuchBatch: there is no such batch.
            Quarantined: its journal cannot be read.
        """
        self._require_open()
        chosen = None if keys is None else frozenset(keys)
        return await self._aftermath.look(
            batch_id,
            by=_said(by, "by"),
            keys=chosen,
            unanswered=set() if unanswered is None else unanswered,
        )

    async def known_fills(self, batch_id: str) -> KnownFills:
        """Return which fills of a batch its journal knows, to compare them with a list of trades.

        Raises:
            NoSuchBatch: there is no such batch.
            Quarantined: its journal cannot be read.
        """
        self._require_open()
        return await self._aftermath.known_fills(batch_id)

    async def close_incidents(
        self,
        batch_id: str,
        *,
        by: str,
        reason: str,
        seen: int,
        action: str = "",
        adjustments: tuple[Adjustment, ...] = (),
    ) -> BatchRow:
        """Close the open incidents of a batch, once somebody has dealt with the late truth.

        Args:
            batch_id: the batch.
            by: who did.
            reason: why it is right to close them.
            seen: the last record of the batch's journal that he had seen; incidents behind it stay
                open.
            action: what was done; empty where nothing had to be.
            adjustments: how holdings and cash changed by that.

        Raises:
            NotAllowed: there is no open incident up to that record, or an adjustment names a fill
                that the journal has.
            NoSuchBatch: there is no such batch.
        """
        event = IncidentClosed(
            by=_said(by, "by"),
            reason=_said(reason, "reason"),
            seen=seen,
            action=_said(action, "action") if action else "",
            adjustments=_exact(adjustments),
        )
        return await self._book_by_hand(batch_id, event)

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the engine until it is left, such as a watcher of trades.

        What it raises is logged, and ends nothing else.
        """
        self._require_open()
        self._tasks.start_soon(self._run_beside, work)

    @staticmethod
    async def _run_beside(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            _LOG.exception("what ran beside the engine has ended")

    def on_alert(self, hook: AlertHook) -> None:
        """Call `hook` with every alert, again and again until it takes one without an error.

        What was told is durable; what was not is told after the next start. Alerts are: a STALE
        batch, an open incident, a halt that the engine has made by itself.
        """
        self._alerts.add(hook)

    async def _runner_of(self, batch_id: str) -> SagaRunner:
        self._require_open()
        return await self._sagas.runner_of(batch_id)

    async def _change(
        self, runner: SagaRunner, event: Event, forbid: Callable[[Saga], None] | None = None
    ) -> BatchRow:
        await runner.request(event, forbid=forbid)
        return runner.view()

    async def _book_by_hand(self, batch_id: str, event: Resolved | IncidentClosed) -> BatchRow:
        """Record what an operator did; refuse to book what the journal has by then."""
        forbid = partial(refuse_what_is_booked, adjustments=event.adjustments)
        return await self._change(await self._runner_of(batch_id), event, forbid)

    # --- looking ----------------------------------------------------------------------------------

    async def batch(self, batch_id: str) -> BatchRow:
        """Return a batch's view as of its last durable record.

        Raises:
            NoSuchBatch: there is no such batch.
            Quarantined: its journal cannot be read.
        """
        runner = self._sagas.find(batch_id)
        return runner.view() if runner else batch_row(await self._sagas.load(batch_id))

    async def trades(self, batch_id: str) -> tuple[TradeRow, ...]:
        """Return the views of a batch's trades, in list order; see `batch`."""
        saga = await self._sagas.load(batch_id)
        return await aside(len(saga.steps), trade_rows, saga)

    def active(self) -> tuple[BatchRow, ...]:
        """Return the view of every saga that this engine drives, and what each waits for."""
        return self._sagas.rows()

    async def events(
        self, *, after: int = 0, batch_id: str | None = None
    ) -> AsyncGenerator[JournalRecord, None]:
        """Yield every durable record behind a sequence number, without gaps, as they come.

        Ends when the engine is left. Take it up again with the last sequence number that was seen.
        A record that cannot be read is passed over, and logged, when all sagas are asked for.

        Raises:
            Quarantined: a record of the one saga that is asked for cannot be read.
        """
        pulse = self._pulses.of(batch_id)
        while True:
            seen = pulse.beats
            try:
                async for record in self.store.records(after=after, batch_id=batch_id):
                    after = record.sequence
                    yield record
            except Quarantined as error:
                if batch_id is not None or error.sequence is None:
                    raise
                _LOG.error("passed over: %s", error)  # S18: one saga's record stops no other's
                after = error.sequence
                continue
            except StoreError:
                if self._open:
                    raise
            if not self._open:
                return
            await pulse.behind(seen)

    def on_outcome(self, hook: Hook, *, statuses: Container[BatchStatus] | None = None) -> None:
        """Call `hook` with the batch's view whenever one comes to rest with one of the statuses."""
        self._sagas.add_hook(hook, statuses)


def _longest_window(participant: Participant) -> float:
    """How long an attempt may be looked for at this participant before it is called absent."""
    can = participant.capabilities
    return can.visibility_seconds + can.call_timeout_seconds


def _legs_of(batch: Batch) -> int:
    """Return how many legs a batch has that no rule may have seen yet."""
    legs: object = getattr(batch, "directives", None)
    return len(legs) if isinstance(legs, Sized) else 0


def _priority_of(batch: Batch) -> Priority:
    """Return the priority of a batch that no rule may have seen yet."""
    priority: object = getattr(batch, "priority", None)
    return priority if isinstance(priority, Priority) else Priority.LOW


def _same_or_conflict(stored: Submitted, batch: Batch, policy: FailurePolicy) -> str:
    same_age = batch.model_copy(update={"created_at": stored.batch.created_at})
    if same_age == stored.batch and policy == stored.policy:
        return batch.batch_id
    raise BatchConflict(
        f"batch_id: {batch.batch_id!r} is taken by a batch with other content; nothing was "
        "changed; make a new id with generate_batch_id()"
    )


def _said(text: str, field: str) -> str:
    told: object = text
    if not isinstance(told, str) or any("\ud800" <= char <= "\udfff" for char in told):
        raise InvalidInput(f"{field}: must be text, not {shown(told)}; it is kept in the journal")
    if not text.strip():
        raise InvalidInput(f"{field}: must say something, not {text!r}; it is kept in the journal")
    return text


def _exact(adjustments: tuple[Adjustment, ...]) -> tuple[Adjustment, ...]:
    try:
        return tuple(
            Adjustment(
                subject=_said(each.subject, "adjustments.subject"),
                quantity=to_decimal(each.quantity),
                cash=to_decimal(each.cash),
                reference=None
                if each.reference is None
                else _said(each.reference, "adjustments.reference"),
            )
            for each in adjustments
        )
    except PydanticCustomError as error:
        raise InvalidInput(f"adjustments: {error.message()}") from None


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    fatal = fatal_in(group)
    if fatal is not None:
        return fatal
    return group.exceptions[0] if len(group.exceptions) == 1 else group
