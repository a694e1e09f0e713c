"""Runs one saga: decide, record, send, observe, until it comes to rest.

One task drives one saga, and is the only writer of its journal. Whatever wants to change the saga,
an operator as much as a participant's answer, leaves a message for the runner. The runner
folds messages and the decisions that follow on them into one commit, and acts only once that is
durable (rule 1): the outcome of one step and the intent of the next share it.

The runner decides nothing itself; `core` does. It knows nothing of other sagas.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel

from saga.alarms import Alarms
from saga.appending import append_of
from saga.calls import Unusable, answer_of, in_words, named, told_by
from saga.complaints import Complaints
from saga.core import Ask, Decision, Question, decide, observe, why_stopped
from saga.errors import NotAllowed, NotServed, SagaError, StoreBusy, StoreError
from saga.events import (
    AnswerLost,
    CancelRequested,
    Event,
    GaveUp,
    Intended,
    NoAnswer,
    NotFound,
    Resumed,
    SentAgain,
    Started,
    Withheld,
)
from saga.fold import AttemptEvent, apply
from saga.gate import Refusal
from saga.ids import Purpose
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.logbook import TradingStateSet
from saga.machine import SAGA_AT_REST, SagaState
from saga.outcome import Report
from saga.participant import Attempt, KeyTaken, Participant
from saga.policy import FENCE_CHECK_SECONDS
from saga.pulse import Pulse
from saga.quick_dataclass import dataclass
from saga.steady_clock import SteadyClock
from saga.store.protocol import Append, CheckpointStore
from saga.trading import Trading
from saga.under_way import CallsUnderWay
from saga.views import BatchRow, batch_row

_LOG = Complaints("saga.runner")

MAX_EVENTS_PER_COMMIT: Final = 64
"""Decisions are gathered into one commit up to about this many events: others want their turn."""
MAX_REQUESTS_AT_ONCE: Final = 64
"""So many wishes are folded in before a commit; only of late truth are there ever more."""
MAX_ANSWERS_AT_ONCE: Final = 64
"""So many answers are folded in before a commit, after which the next are."""
FEW: Final = 64
"""So many attempts in flight are looked through, for what is to be asked next, at each occasion."""
PACE: Final = timedelta(microseconds=100)
"""For each attempt beyond those, that much time lies between two times that all are looked through.

Else ten thousand open orders would be, for each answer that brings nothing new.
"""
MAX_UNHEARD: Final = 1_000
"""Most keys of which a runner notes that there was news nobody asked about any more."""
FENCE_ANSWER_SECONDS: Final = FENCE_CHECK_SECONDS
"""An answer about who owns the store that took longer is asked for again before a send."""
MAX_FENCE_LOOKS: Final = 10
"""So often the store is asked who owns it, where each answer comes too late to send by it."""
MAX_BUSY_TRIES: Final = 30
"""So often a record is tried while another program holds the store's lock (10 s each)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every runner of an orchestrator shares."""

    store: CheckpointStore
    participants: Mapping[str, Participant]
    clock: SteadyClock
    alarms: Alarms
    trading: Trading
    program: str
    taken_over: bool
    on_commit: Callable[["SagaRunner"], None]
    """Called after each commit."""


@dataclass(slots=True, eq=False)
class _Request:
    """An operator's wish, and the place where its maker waits for the answer."""

    event: Event
    forbid: Callable[[Saga], None] | None = None
    """Raises where the saga, as it is by then, does not allow it."""
    answered: anyio.Event = field(default_factory=anyio.Event)
    error: SagaError | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back from a participant about one attempt."""

    attempt: AttemptRecord
    question: Question | None
    """None for a send."""
    told: Report | Exception | None
    """What it told, or the exception that says why it told nothing."""
    buried: bool = False
    """The key was withdrawn before it was looked up."""
    withheld: Refusal | None = None
    """Why nothing was sent, and nobody was asked."""


class SagaRunner:
    """One saga's life in this process.

    Args:
        saga: what its journal tells.
        surroundings: what all runners share.
        resumed: the saga was taken up from its journal, and calls that it tells of may have been
            made by somebody who is gone.
    """

    def __init__(self, saga: Saga, surroundings: Surroundings, *, resumed: bool) -> None:
        self._saga = saga
        self._around = surroundings
        self._requests: list[_Request] = []
        self._answers: list[_Answer] = []
        self._heard: list[_Request] = []
        self._wake = Pulse()
        self._stirred = Pulse()
        """Beats whenever the runner is woken, and behind each of its commits."""
        self._admitted = False
        self._stopping = False
        self._calls = 0
        self._busy: set[str] = set()
        self._quiet: dict[tuple[str, Question], datetime] = {}
        self._looked_through = saga.updated_at
        """When it was decided last what is to be asked, and it was."""
        self._news: set[str] = set()
        self.unheard: dict[str, None] = {}
        """Keys of which there may be news, though nothing is asked about them while it runs."""
        self.came_to_rest = False
        """The last commit brought the saga to rest, or to another kind of rest."""
        self._missing: str | None = None
        self._is_resumed = resumed and saga.state not in (SagaState.PENDING, *SAGA_AT_REST)
        self.row: BatchRow = batch_row(saga)
        """The batch's view as of the last commit; nothing that is not durable shows in it."""
        self.closed = False
        """It hears no more requests; a new runner has to."""
        self.end = Pulse()
        """Beats once whoever drives it is done with it: at rest, stopped, or set aside."""

    @property
    def batch_id(self) -> str:
        """The saga's id."""
        return self._saga.batch_id

    @property
    def saga(self) -> Saga:
        """What is known of the saga; read-only for everybody else."""
        return self._saga

    def admit(self) -> None:
        """Let a waiting saga run."""
        self._admitted = True
        self.wake()

    def stop(self) -> None:
        """Begin nothing new; record what comes of the calls under way, then end."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """Look at what has come, and at the clock, again."""
        self._wake.beat()
        self._stirred.beat()

    def notify(self, key: str) -> None:
        """Hear that there may be news about an attempt: it is looked up now.

        Of an attempt that is over, or given up, it is looked up once the saga is at rest.
        """
        self._note_unheard(key)
        self._news.add(key)
        self.wake()

    def _note_unheard(self, key: str) -> None:
        if key not in self._saga.live and len(self.unheard) < MAX_UNHEARD:
            self.unheard[key] = None

    async def request(self, event: Event, *, forbid: Callable[[Saga], None] | None = None) -> None:
        """Record an operator's wish; durable when this returns.

        Args:
            event: the wish.
            forbid: raises NotAllowed where the saga, as it is by then, does not allow it.

        Raises:
            NotAllowed: the saga's state does not allow it; nothing was changed.
        """
        (error,) = await self._answers_to([_Request(event, forbid)])
        if error is not None:
            raise error

    async def request_all(self, events: Sequence[Event]) -> list[SagaError | None]:
        """Record several wishes; return why each was refused, or None where it is durable."""
        return await self._answers_to([_Request(event) for event in events])

    async def _answers_to(self, requests: list[_Request]) -> list[SagaError | None]:
        self._requests += requests
        self.wake()
        with anyio.CancelScope(shield=True):  # a cancelled caller still learns what became of it
            for request in requests:
                await request.answered.wait()
        return [request.error for request in requests]

    async def run(self) -> None:
        """Drive the saga until it comes to rest or the runner is stopped."""
        calls = CallsUnderWay(self.wake)
        try:
            try:
                await self._drive(calls)
            finally:
                await calls.end()  # look-ups, at most, where all is well: nothing is being sent
            calls.raise_failure()
        finally:
            self.closed = True
            self._turn_away([*self._heard, *self._requests])
            self._requests.clear()
            self._answers.clear()
            self._around.alarms.forget(self)

    def _turn_away(self, requests: list[_Request]) -> None:
        for request in requests:
            # A refusal as well: it was judged by what may never have become durable (S14).
            request.error = StoreError(
                f"{self.batch_id} is no longer driven by this engine, and whether "
                f"{request.event.kind!r} was recorded is not known; look at the saga again"
            )
            request.answered.set()

    async def _drive(self, calls: CallsUnderWay) -> None:
        while True:
            calls.raise_failure()
            woken = self._wake.beats
            # Before the commit, which checks the fence: a process may be frozen right behind it.
            now, fenced_from = self._around.clock.look()
            events, decision = self._settle(now)
            if events:
                await self._commit(events, now)
            for request in self._heard:
                request.answered.set()
            self._heard.clear()
            await anyio.lowlevel.checkpoint_if_cancelled()  # a commit is not to be interrupted
            for event in events:
                if isinstance(event, Intended | SentAgain) and not self._stopping:
                    self._send(event, calls, fenced_from)
            if self._requests or self._answers:
                if not events:  # nobody has had a turn since
                    await anyio.lowlevel.checkpoint()
                continue
            if self._saga.state in SAGA_AT_REST or (self._stopping and not self._calls):
                for key in self._busy:  # of whose answer nobody waits any more
                    self._note_unheard(key)
                self.closed = True
                return
            if len(events) >= MAX_EVENTS_PER_COMMIT:  # there may be more
                continue
            if decision is None:
                self._around.alarms.ring(self._looks_again_at(), self)
            else:
                if events and decision.asks:  # what is due may be, by the time of the commit
                    now = self._around.clock.now()
                await self._ask(decision, now, calls)
            if self._wake.beats == woken:
                await self._wake.behind(woken)

    # --- deciding and recording ------------------------------------------------------------------

    def _settle(self, now: datetime) -> tuple[list[Event], Decision | None]:
        """Fold in what has come, and decide until nothing more is to be recorded at once.

        Where nothing has changed, and it was decided a moment ago, there is no decision.
        """
        events: list[Event] = []
        if self._is_resumed:
            self._is_resumed = False
            self._apply(Resumed(self._around.program, self._around.taken_over), now, events)
        requests = self._requests[:MAX_REQUESTS_AT_ONCE]
        del self._requests[:MAX_REQUESTS_AT_ONCE]
        for request in requests:  # first: however many answers wait, a cancel does not
            self._heard.append(request)
            try:
                if request.forbid is not None:
                    request.forbid(self._saga)
                self._apply(request.event, now, events)
            except NotAllowed as error:
                request.error = error
        answers = self._answers[:MAX_ANSWERS_AT_ONCE]
        del self._answers[:MAX_ANSWERS_AT_ONCE]
        for answer in answers:
            self._take_answer(answer, now, events)
        if self._admitted and self._saga.state is SagaState.PENDING and not self._stopping:
            self._apply(Started(), now, events)
        self._heed_halt(now, events)
        if not events and (self._answers or self._was_looked_through(now)):
            return events, None
        decision = Decision()
        in_doubt = self._around.clock.in_doubt_until is not None
        while not self._stopping and len(events) < MAX_EVENTS_PER_COMMIT:
            decision = decide(self._saga, now, in_doubt=in_doubt)
            if not decision.events:
                break
            for event in decision.events:
                self._apply(self._under_limits(event), now, events)
        return events, decision

    def _was_looked_through(self, now: datetime) -> bool:
        """Tell whether so many are in flight that it is too early to decide about each again."""
        if self._stopping or len(self._saga.live) <= FEW:
            return False
        return self._looked_through <= now < self._looks_again_at()

    def _looks_again_at(self) -> datetime:
        return self._looked_through + PACE * (len(self._saga.live) - FEW)

    def _heed_halt(self, now: datetime, events: list[Event]) -> None:
        """While trading is halted, whatever runs is cancelled, and undone as its mode says.

        What is paused runs no more: it waits for its operator, and is cancelled once let go on.
        """
        saga, trading = self._saga, self._around.trading
        if (
            saga.state is SagaState.RUNNING
            and not saga.paused
            and saga.cancel is None
            and trading.is_known_to_be_halted
        ):
            said = trading.said
            self._apply(CancelRequested(said.by, f"trading is halted: {said.reason}"), now, events)

    def _under_limits(self, event: Event) -> Event:
        """An intent says by which limits it will be judged."""
        if not isinstance(event, Intended | SentAgain):
            return event
        digest = self._around.trading.limits_digest
        return event if digest is None else replace(event, limits=digest)

    def _apply(self, event: Event, now: datetime, events: list[Event]) -> None:
        apply(self._saga, self._saga.number + 1, now, event)
        events.append(event)

    async def _commit(self, events: list[Event], now: datetime) -> None:
        append = append_of(self._saga, events, now)
        await self._append(append)
        self.row = append.batch_row
        self.came_to_rest = self._saga.rested_number >= append.changes[0].number
        self._stirred.beat()
        self._around.on_commit(self)

    async def _append(self, append: Append) -> int:
        """Append; where another process holds the store's lock, nothing was written: try again."""
        for _ in range(MAX_BUSY_TRIES - 1):
            try:
                return await self._around.store.append(append)
            except StoreBusy as error:
                _LOG.warning("the next record of %s waits: %s", self.batch_id, error)
        return await self._around.store.append(append)

    def view(self) -> BatchRow:
        """Return the batch's view, with what is known only to this process of why it waits."""
        if self._missing is None or self.row.waits_for is None:
            return self.row
        return replace(self.row, waits_for=self._missing)

    # --- calls to participants -------------------------------------------------------------------

    def _send(self, event: Intended | SentAgain, calls: CallsUnderWay, fenced_from: float) -> None:
        record = self._saga.steps[event.step].attempts(event.purpose)[event.number - 1]
        attempt = self._saga.attempt(record)
        participant = self._around.participants.get(attempt.directive.kind)
        self._begin_call(record)
        if participant is None:
            self._end_call(_Answer(record, None, NotServed(_nobody_for(attempt))))
            return
        calls.begin(self._call_send, record, attempt, participant, fenced_from)

    async def _call_send(
        self,
        record: AttemptRecord,
        attempt: Attempt,
        participant: Participant,
        fenced_from: float,
    ) -> None:
        refusal = await self._judged(attempt, fenced_from)
        while refusal is None and self._is_held():
            self._around.trading.withhold(attempt)
            if await self._let_go_on(attempt):
                refusal = await self._judged(attempt, fenced_from)
            elif self._saga.capabilities(record).look_up:
                self._forget_call(record)  # as behind a crash: whoever takes it up looks for it
                return
            else:
                refusal = Refusal("engine_left", "not sent any more: the engine was left")
        if refusal is not None:
            self._end_call(_Answer(record, None, None, withheld=refusal))
            return
        seconds = self._call_seconds(record)
        answer = await answer_of(
            lambda: participant.send(attempt), seconds, partial(named, participant, attempt)
        )
        self._end_call(_Answer(record, None, told_by(answer)))

    async def _judged(self, attempt: Attempt, fenced_from: float) -> Refusal | None:
        """Return why an attempt may not be sent any more; where that is None, nothing came between.

        The gate may have let it wait its turn, in which the batch may have been stopped.
        """
        trading = self._around.trading
        judged_by = trading.said_last
        refusal = await trading.judge(attempt, self._saga.batch)
        if refusal is not None:
            return refusal
        _, elapsed = self._around.clock.look()
        if elapsed - fenced_from > FENCE_CHECK_SECONDS:
            try:
                refusal = await self._look_at_fence(attempt, judged_by)
            except BaseException:  # then nothing is sent
                trading.withhold(attempt)
                raise
        else:
            refusal = self._overtaken(attempt)
        if refusal is not None:
            trading.withhold(attempt)
        return refusal

    def _is_held(self) -> bool:
        """Nothing new may be sent for now: the batch is paused, or the wall is in doubt."""
        return self._saga.paused or self._around.clock.in_doubt_until is not None

    async def _let_go_on(self, attempt: Attempt) -> bool:
        """Wait while nothing may be sent, or until the attempt is not wanted any more.

        Return whether there is anything more to be done about it in this process.
        """
        self.wake()  # for an alarm at the end of a doubt
        while self._is_held() and not self._stopping and self._overtaken(attempt) is None:
            await self._stirred.behind(self._stirred.beats)
            self._around.clock.look()
        return not self._stopping

    async def _look_at_fence(self, attempt: Attempt, judged_by: TradingStateSet) -> Refusal | None:
        """Make sure that this process owns the store, by a look that is young when it is heard.

        So slow a look may be overtaken: by another word on trading than the attempt was judged by,
        and by the batch itself.
        """
        clock, trading = self._around.clock, self._around.trading
        for _ in range(MAX_FENCE_LOOKS):
            begun = clock.elapsed()
            await self._around.store.verify_owner()
            refusal: Refusal | None = None
            if trading.said_last is not judged_by:
                judged_by = trading.said_last
                refusal = await trading.judge_again(attempt, self._saga.batch)
            refusal = refusal or trading.standing_refusal(attempt) or self._overtaken(attempt)
            if refusal is not None:
                return refusal
            # The answer is as old as the question: the process may have been frozen behind it.
            if clock.elapsed() - begun <= FENCE_ANSWER_SECONDS:
                return None
        return Refusal(
            "fence",
            f"{MAX_FENCE_LOOKS} times in a row the store took more than {FENCE_ANSWER_SECONDS:g} s "
            "to say that this process still owns it, so the order was not sent; look at the disk, "
            "and send it again",
        )

    def _overtaken(self, attempt: Attempt) -> Refusal | None:
        """Refuse a forward attempt that its batch has stopped wanting since it was intended."""
        if attempt.purpose is not Purpose.FORWARD:
            return None
        clock, deadline = self._around.clock, self._saga.submitted.deadline
        why = why_stopped(self._saga)
        if why is None and deadline is not None and clock.now() >= deadline:
            why = None if clock.in_doubt_until else "its deadline passed"
        return None if why is None else Refusal("too_late", f"not sent any more: {why}")

    def _call_seconds(self, record: AttemptRecord) -> float:
        return self._saga.capabilities(record).call_timeout_seconds

    async def _ask(self, decision: Decision, now: datetime, calls: CallsUnderWay) -> None:
        """Ask what is due, and set an alarm for what is not."""
        wake_at = decision.wake_at
        self._looked_through = now
        self._missing = None
        for number, ask in enumerate(decision.asks, 1):
            if not number % FEW:
                await anyio.lowlevel.checkpoint()
            key = ask.attempt.key
            if key in self._busy or self._stopping:
                continue
            due = self._due(ask, now)
            if due <= now or key in self._news:
                self._news.discard(key)
                self._start_asking(ask, calls)
            elif wake_at is None or due < wake_at:
                wake_at = due
        until = self._around.clock.in_doubt_until
        if until is not None and (wake_at is None or until < wake_at):
            wake_at = until
        if wake_at is not None:
            self._around.alarms.ring(wake_at, self)

    def _due(self, ask: Ask, now: datetime) -> datetime:
        """Return when to ask.

        An answer that told nothing new is not journalled, so its time is remembered here. A time
        ahead of the clock is from before the clock was put back, and no reason to wait.
        """
        asked_at = ask.attempt.asked_at or ask.attempt.since
        due = ask.not_before if asked_at <= now else now
        quiet = self._quiet.get((ask.attempt.key, ask.question))
        if quiet is None or quiet > now:
            return due
        poll = self._saga.capabilities(ask.attempt).poll_seconds
        return max(due, quiet + timedelta(seconds=poll))

    def _start_asking(self, ask: Ask, calls: CallsUnderWay) -> None:
        attempt = self._saga.attempt(ask.attempt)
        participant = self._around.participants.get(attempt.directive.kind)
        if participant is None:
            self._missing = _nobody_for(attempt)
            return
        self._begin_call(ask.attempt)
        calls.begin(self._call_ask, ask, attempt, participant)

    async def _call_ask(self, ask: Ask, attempt: Attempt, participant: Participant) -> None:
        seconds = self._call_seconds(ask.attempt)
        whose = partial(named, participant, attempt)
        refused: object = None
        buried = False
        if ask.question is Question.WITHDRAW:
            refused = await answer_of(lambda: participant.withdraw(attempt), seconds, whose)
            entombs = self._saga.capabilities(ask.attempt).tombstone
            buried = entombs and not isinstance(refused, Exception)
        told = told_by(await answer_of(lambda: participant.look_up(attempt), seconds, whose))
        is_over = isinstance(told, Report) and told.final
        if isinstance(refused, Exception) and not is_over:
            told = refused  # a withdrawal may fail because the order is over; else it counts
        self._end_call(_Answer(ask.attempt, ask.question, told, buried))

    def _begin_call(self, attempt: AttemptRecord) -> None:
        self._busy.add(attempt.key)
        self._calls += 1

    def _end_call(self, answer: _Answer) -> None:
        """Let the answer be heard; until it is, nothing more is asked about the attempt."""
        self._answers.append(answer)
        self._calls -= 1
        self.wake()

    def _forget_call(self, attempt: AttemptRecord) -> None:
        self._busy.discard(attempt.key)
        self._calls -= 1
        self.wake()

    def _take_answer(self, answer: _Answer, now: datetime, events: list[Event]) -> None:
        """Turn a participant's answer into events; a lost or senseless one is never a no."""
        attempt = answer.attempt
        self._busy.discard(attempt.key)
        new = self._events_of(answer)
        if answer.question is not None and not new:
            self._quiet[attempt.key, answer.question] = now
        if attempt.state is AttemptState.LOST or self._saga.state in SAGA_AT_REST:
            if isinstance(answer.told, Report):  # it is looked up once more, after the end
                self._note_unheard(attempt.key)
            return
        for event in new:
            self._apply(event, now, events)

    def _events_of(self, answer: _Answer) -> tuple[AttemptEvent, ...]:
        attempt = answer.attempt
        where = (attempt.step, attempt.purpose, attempt.number)
        told, withheld = answer.told, answer.withheld
        if withheld is not None:
            return (Withheld(*where, withheld.limit, withheld.sentence),)
        if told is None and answer.question is not None:
            return (NotFound(*where, tombstone=answer.buried),)
        if isinstance(told, Report):
            try:
                return observe(attempt, told)
            except ValueError as error:
                told = error
        why = Unusable("the send returned nothing") if told is None else told
        reason = in_words(why)
        contradicted = attempt.state is not AttemptState.OVER or attempt.absent
        if isinstance(why, KeyTaken) and contradicted:
            return (GaveUp(*where, f"its key names another order: {reason}"),)
        if answer.question is None:
            return (AnswerLost(*where, reason),)
        return (NoAnswer(*where, reason),)


def _nobody_for(attempt: Attempt) -> str:
    return f"a participant that carries out kind {attempt.directive.kind!r}; none was handed in"
