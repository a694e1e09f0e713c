"""The runners of an orchestrator: who is driven, who waits, who was left behind, who is set aside.

Begins a runner for every saga that is taken in or taken up, lets it run when it is its turn, and
keeps what goes wrong with one away from all the others. What may be asked of an engine from outside
is `orchestrator`'s business; what a saga does is `runner`'s.
"""

from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from saga.admission import Admission
from saga.alarms import Alarms
from saga.calls import in_words
from saga.complaints import Complaints
from saga.errors import (
    AccountUnknown,
    NoSuchBatch,
    NotAllowed,
    OwnershipLost,
    SagaError,
    StoreError,
    StorePoisoned,
)
from saga.events import Submitted
from saga.fold import apply, saga_of
from saga.hooks import Hook, Hooks
from saga.ledger import Saga
from saga.limits import Limits
from saga.machine import SAGA_AT_REST, SAGA_ENDS, SagaState
from saga.participant import Participant, account_of
from saga.runner import SagaRunner, Surroundings
from saga.steady_clock import SteadyClock
from saga.store.protocol import CheckpointStore, JournalRecord
from saga.trading import Trading
from saga.turns import aside
from saga.views import BatchRow, BatchStatus

_LOG = Complaints("saga.supervision")

FIRST_RESUME_WAIT: Final = timedelta(milliseconds=200)
LONGEST_RESUME_WAIT: Final = timedelta(seconds=30)
MAX_RESUMED_AT_ONCE: Final = 100
"""Most sagas whose journals are asked for at once while they are taken up."""
RECORDS_PER_TURN: Final = 100
"""So many records of a journal are folded before everybody else has a turn."""

_NEEDS_NO_KEY: Final = frozenset({SagaState.PENDING, *SAGA_ENDS})
"""In any other state a saga that is left, or set aside, lets nobody else run on its key."""


class Supervision:
    """Drives every saga of one store that is not at rest.

    Args:
        store: open, and owned, from `begin` on.
        participants: who carries out which kind of directive.
        limits: the engine's bounds.
        clock: where time comes from.
        trading: which orders may go out.
        program: what is noted as the program that resumed a saga.
        on_commit: called with a saga's id after each of its commits.
        on_alert: called with a saga that needs a person, after each of its commits.
        on_unheard: called with each key of a saga at rest of which there may be late news.
    """

    def __init__(
        self,
        store: CheckpointStore,
        participants: Mapping[str, Participant],
        *,
        limits: Limits,
        clock: SteadyClock,
        trading: Trading,
        program: str,
        on_commit: Callable[[str], None],
        on_alert: Callable[[Saga], None],
        on_unheard: Callable[[str], None],
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._trading = trading
        self._tell = on_commit
        self._alert = on_alert
        self._hear_late = on_unheard
        self._alarms = Alarms(clock)
        self._hooks = Hooks(seconds=limits.hook_seconds, at_once=limits.max_hooks)
        self._admission = Admission(
            max_running=limits.max_running,
            ageing=timedelta(seconds=limits.ageing_seconds),
        )
        self._around = Surroundings(
            store=store,
            participants=participants,
            clock=clock,
            alarms=self._alarms,
            trading=trading,
            program=program,
            taken_over=False,
            on_commit=self._on_commit,
        )
        self._runners: dict[str, SagaRunner] = {}
        self._to_resume: dict[str, anyio.Event] = {}
        self._handled: dict[str, anyio.Event] = {}
        self._aside: set[str] = set()
        self._held_up: set[str] = set()
        """Set aside until a participant can say in which account it acts."""
        self._held_back = False
        """Nobody was admitted when it was tried last, because trading was halted."""
        self._stopping = False
        self._tasks: TaskGroup

    @property
    def queued(self) -> int:
        """How many batches wait for admission."""
        return self._admission.queued

    async def survey(self, *, taken_over: bool) -> None:
        """Learn what is unfinished, before anything is admitted or submitted.

        Args:
            taken_over: the last owner may still live.
        """
        self._around = replace(self._around, taken_over=taken_over)
        for batch_id, key in (await self._store.unfinished()).items():
            self._to_resume[batch_id] = anyio.Event()
            self._admission.block(batch_id, key)  # kept even if its journal cannot be read
        self._aside = set(await self._store.quarantined())

    def begin(self, tasks: TaskGroup) -> None:
        """Take up what is unfinished, in the background."""
        self._tasks = tasks
        tasks.start_soon(self._alarms.run)
        tasks.start_soon(self._resume_all)

    def look_again_at_trading(self) -> None:
        """The trading state has changed: whoever runs looks at it, and whoever waits may run."""
        for runner in self._runners.values():
            runner.wake()
        self._admit()

    def admit_who_was_held_back(self) -> None:
        """Look at the halt file again: one that is gone before it was noted is told by nobody."""
        if self._held_back:
            self._admit()

    async def stop(self) -> None:
        """Stop every saga where it can be taken up again, and wait for that a bounded time."""
        self._stopping = True
        runners = list(self._runners.values())
        for runner in runners:
            runner.stop()
        with anyio.move_on_after(self._limits.grace_seconds, shield=True):
            for runner in runners:
                await runner.end.behind(0)
            await self._hooks.drain()

    def add_hook(self, hook: Hook, statuses: Container[BatchStatus] | None) -> None:
        """Call `hook` whenever a batch comes to rest with one of the statuses."""
        self._hooks.add(hook, statuses)

    # --- who is driven ----------------------------------------------------------------------------

    def find(self, batch_id: str) -> SagaRunner | None:
        """Return the saga's runner, whether or not it hears requests; None if it is not driven."""
        return self._runners.get(batch_id)

    def rows(self) -> tuple[BatchRow, ...]:
        """Return the view of every saga that is driven, and what each waits for."""
        return tuple(runner.view() for runner in self._runners.values())

    @asynccontextmanager
    async def alone_with(self, batch_id: str) -> AsyncIterator[None]:
        """Keep everybody else from taking a saga in, or up, meanwhile: it gets one driver."""
        while (other := self._handled.get(batch_id)) is not None:
            await other.wait()
        self._handled[batch_id] = anyio.Event()
        try:
            yield
        finally:
            self._handled.pop(batch_id).set()

    def start(self, saga: Saga, *, resumed: bool) -> SagaRunner:
        """Begin to drive a saga; it runs once it is its turn."""
        assert saga.batch_id not in self._runners, "a saga has one runner, or two write its journal"
        runner = SagaRunner(saga, self._around, resumed=resumed)
        key = saga.batch.exclusion_key
        self._runners[saga.batch_id] = runner
        if saga.state is SagaState.PENDING:
            self._admission.leave(saga.batch_id, key)  # it was blocked as unfinished: it waits
            self._admission.enter(saga.batch_id, saga.batch.priority, key, saga.submitted_at)
            if saga.paused:
                self._admission.hold(saga.batch_id)
        else:
            self._admission.occupy(saga.batch_id, key)
        if self._stopping:  # taken up meanwhile: what came of it is recorded, and nothing begun
            runner.stop()
        self._tasks.start_soon(self._supervise, runner)
        self._admit()
        return runner

    async def runner_of(self, batch_id: str) -> SagaRunner:
        """Return the saga's runner; a saga at rest gets one, to hear what is wanted of it.

        Raises:
            NoSuchBatch: there is no such batch.
            NotAllowed: the engine is being left.
        """
        loading = self._to_resume.get(batch_id)
        if loading is not None:
            self._to_resume = {batch_id: loading} | self._to_resume  # it is taken up next
            await loading.wait()
        async with self.alone_with(batch_id):  # what is read still stands when it starts
            return self._driving(batch_id) or await self._take_up(batch_id)

    async def settled(self, batch_id: str) -> BatchRow | None:
        """Wait while the saga is driven; return its view as of the last commit, if it was."""
        runner = self._runners.get(batch_id)
        loading = self._to_resume.get(batch_id)
        if runner is not None:
            await runner.end.behind(0)
            return runner.row
        if loading is not None:
            await loading.wait()
        return None

    async def load(self, batch_id: str) -> Saga:
        """Return a saga as its journal tells it.

        Raises:
            NoSuchBatch: there is no such batch.
            Quarantined: its journal cannot be read.
        """
        return await _folded(batch_id, await self._store.journal(batch_id))

    def _driving(self, batch_id: str) -> SagaRunner | None:
        runner = self._runners.get(batch_id)
        return None if runner is None or runner.closed else runner

    async def _take_up(self, batch_id: str) -> SagaRunner:
        if (leaving := self._runners.get(batch_id)) is not None:
            await leaving.end.behind(0)
        saga = await self.load(batch_id)
        other_account = self._other_account(saga)
        if other_account is not None:
            raise NotAllowed(other_account)
        await self._take_back(batch_id)
        if self._stopping:
            raise NotAllowed("the orchestrator is not running; use it inside its `async with`")
        # One that was set aside may have left a call behind, of which nothing is known.
        return self.start(saga, resumed=True)

    def _admit(self) -> None:
        # Until all that is unfinished is taken up, nobody knows how much runs, or what goes first.
        if self._stopping or self._to_resume:
            return
        self._held_back = self._trading.is_halted
        if not self._held_back:
            for batch_id in self._admission.admit():
                self._runners[batch_id].admit()

    async def _supervise(self, runner: SagaRunner) -> None:
        try:
            await runner.run()
        except (OwnershipLost, StorePoisoned):
            raise
        except Exception as error:
            fatal = fatal_in(error)
            if fatal is not None:
                raise fatal from None
            # S18: whatever is wrong with this saga is not allowed to touch another.
            _LOG.exception("saga %s is set aside", runner.batch_id)
            await self._set_aside(runner.batch_id, _cause_in_words(error))
        finally:
            del self._runners[runner.batch_id]
            self._admission.leave(
                runner.batch_id,
                runner.saga.batch.exclusion_key,
                keep_key=runner.row.state not in _NEEDS_NO_KEY,
            )
            runner.end.beat()
            self._admit()
            if runner.row.state in SAGA_AT_REST and not self._stopping:
                for key in runner.unheard:
                    self._hear_late(key)

    def _on_commit(self, runner: SagaRunner) -> None:
        self._tell(runner.batch_id)
        if runner.row.state == SagaState.STALE or runner.row.incidents:
            self._alert(runner.saga)
        if runner.row.state in SAGA_AT_REST:
            if runner.came_to_rest:  # late truth is an alert, and no outcome
                self._hooks.call(runner.row, self._tasks)
        elif runner.row.state == SagaState.PENDING:
            if runner.row.paused:
                self._admission.hold(runner.batch_id)
            else:
                self._admission.let_go(runner.batch_id)
                self._admit()

    def _other_account(self, saga: Saga) -> str | None:
        """Return why the saga cannot go on with these participants; None if it can.

        Its orders are in one account; to look for them in another would prove them absent.

        Raises:
            AccountUnknown: a participant cannot say now which account is its own.
        """
        for kind, then in saga.submitted.accounts.items():
            now = account_of(self._around.participants.get(kind))
            if now is not None and now != then:
                return (
                    f"{saga.batch_id} was accepted for account {then!r}, but kind {kind!r} is "
                    f"carried out in account {now!r} now; nothing is asked or sent: start the "
                    "engine with the participant of that account"
                )
        return None

    async def _set_aside(self, batch_id: str, reason: str) -> None:
        self._aside.add(batch_id)
        await self._store.quarantine(batch_id, reason)

    async def _take_back(self, batch_id: str) -> None:
        if batch_id in self._aside:
            await self._store.lift_quarantine(batch_id)
            self._aside.discard(batch_id)

    # --- resume -----------------------------------------------------------------------------------

    async def _resume_all(self) -> None:
        """Take up what is unfinished. A loop, not an event: a store that is away is tried again."""
        wait = FIRST_RESUME_WAIT
        while self._to_resume:
            batch_ids = tuple(islice(self._to_resume, MAX_RESUMED_AT_ONCE))
            try:
                journals = await self._store.journals(batch_ids)
                for batch_id, journal in zip(batch_ids, journals, strict=False):
                    await self._resume(batch_id, journal)
                    self._to_resume.pop(batch_id).set()
                    await anyio.lowlevel.checkpoint()
            except (OwnershipLost, StorePoisoned):
                raise
            except StoreError as error:
                _LOG.warning("resuming goes on in %s s: %s", wait.total_seconds(), error)
                await self._clock.sleep_until(self._clock.now() + wait)
                wait = min(wait * 2, LONGEST_RESUME_WAIT)
        self._admit()
        await self._resume_held_up()

    async def _resume_held_up(self) -> None:
        """Try again what waits for a participant alone; all others run meanwhile (S18, L2)."""
        wait = FIRST_RESUME_WAIT
        while self._held_up:
            await self._clock.sleep_until(self._clock.now() + wait)
            wait = min(wait * 2, LONGEST_RESUME_WAIT)
            for batch_id in sorted(self._held_up):
                try:
                    await self._take_up_held_up(batch_id)
                except (OwnershipLost, StorePoisoned):
                    raise
                except (AccountUnknown, StoreError) as error:
                    _LOG.warning("saga %s is still held up: %s", batch_id, error)

    async def _take_up_held_up(self, batch_id: str) -> None:
        try:
            await self.runner_of(batch_id)
        except (AccountUnknown, StoreError):
            raise
        except Exception as error:
            if self._stopping:
                return
            _LOG.error("saga %s stays set aside: %s", batch_id, in_words(error))
            await self._set_aside(batch_id, in_words(error))
        self._held_up.discard(batch_id)

    async def _resume(self, batch_id: str, journal: tuple[JournalRecord, ...] | Exception) -> None:
        try:
            saga = await _folded(batch_id, journal)
        except StoreError:
            raise
        except Exception as error:
            _LOG.exception("saga %s is set aside", batch_id)
            words = str(error) if isinstance(error, SagaError) else in_words(error)
            await self._set_aside(batch_id, words)
            return
        try:
            why_not = self._other_account(saga)
        except AccountUnknown as error:
            self._held_up.add(batch_id)
            why_not = f"{error}; it is tried again until then"
        if why_not is not None:
            _LOG.error("saga %s is set aside: %s", batch_id, why_not)
            await self._set_aside(batch_id, why_not)
            return
        await self._take_back(batch_id)
        if saga.state not in SAGA_AT_REST:
            self.start(saga, resumed=True)


async def _folded(batch_id: str, records: Sequence[JournalRecord] | Exception) -> Saga:
    """Return the saga that a whole journal tells; while a long one is folded, others get turns.

    Raises:
        NoSuchBatch: there is no record.
        Exception: the one that stands in the journal's place, or one of the fold.
    """
    if isinstance(records, Exception):
        raise records
    if not records:
        raise NoSuchBatch(f"batch_id: there is no batch {batch_id!r}; list the batches to see")
    first = records[0].event
    legs = len(first.batch.directives) if isinstance(first, Submitted) else 0
    saga = await aside(legs, saga_of, records[:RECORDS_PER_TURN])
    for begun in range(RECORDS_PER_TURN, len(records), RECORDS_PER_TURN):
        await anyio.lowlevel.checkpoint()
        for record in records[begun : begun + RECORDS_PER_TURN]:
            apply(saga, record.number, record.at, record.event)
    return saga


def fatal_in(error: BaseException) -> SagaError | None:
    """Return the error in a group that ends the whole engine; None if there is none."""
    if isinstance(error, OwnershipLost | StorePoisoned):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            fatal = fatal_in(inner)
            if fatal is not None:
                return fatal
    return None


def _cause_in_words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return in_words(error)
