"""Alerts: what a person has to know, told until it was heard (H10).

An alert is derived from durable truth: a STALE saga, an open incident, a halt that nobody asked
for. It is told to every registered hook, again and again until each has taken it, through restarts;
that it was told is durable in the logbook. An engine that dies between the two tells it once more.

Each hook has a line of its own, in which it is called with one alert after the other: one that
hangs, fails or is slow makes no other hook wait.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import BoundedSemaphore
from typing import Final

import anyio

from saga.calls import answer_of, in_words
from saga.clock import Clock
from saga.complaints import Complaints
from saga.errors import OwnershipLost, SagaError, StoreError, StorePoisoned
from saga.exact import plain
from saga.hooks import call_apart
from saga.ledger import Incident, Saga
from saga.logbook import AlertTold, TradingState, TradingStateSet
from saga.machine import SagaState
from saga.outcome import Exposure
from saga.quick_dataclass import dataclass
from saga.store.protocol import CheckpointStore

_LOG = Complaints("saga.alerts")

MAX_PENDING: Final = 10_000
"""Most alerts that wait to be told; one more waits for the next start, and is logged."""
MAX_TOLD_READ: Final = 100_000
"""So many of the last deliveries are read at a start; an older one may be told again."""
MAX_THREADS: Final = 4
"""Most threads that the calls of one hook which do not end may hold."""
FIRST_WAIT: Final = timedelta(seconds=1)
LONGEST_WAIT: Final = timedelta(minutes=5)
_MAX_NAMED: Final = 3


class AlertKind(StrEnum):
    """What an alert is about."""

    STALE = "stale"
    """Something is left that the engine could not undo or find out."""
    INCIDENT = "incident"
    """Something was told about a saga that was at rest."""
    HALT = "halt"
    """The engine has halted trading by itself."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person has to know.

    Attributes:
        id: the same for the same thing, whenever it is told.
        batch_id: the batch; None where it is about the engine.
        sentence: what it is, and what to do.
        at: since when, UTC.
    """

    id: str
    batch_id: str | None
    kind: AlertKind
    sentence: str
    at: datetime


AlertHook = Callable[[Alert], Awaitable[None] | None]


def alerts_of(saga: Saga) -> Iterator[Alert]:
    """Yield what a person has to know of a saga; nothing if all is well."""
    batch_id = saga.batch_id
    if saga.state is SagaState.STALE:
        left = _shown(saga.residual) or "nothing that is known"
        then = "retry or resolve it" if saga.undoes else "resolve it"
        yield Alert(
            f"stale:{batch_id}:{saga.rested_number}",
            batch_id,
            AlertKind.STALE,
            f"{batch_id} is STALE ({saga.reason}); it may have left {left}; ask the broker, "
            f"then {then}",
            saga.rested_at or saga.updated_at,
        )
    late = late_in_words(saga)
    otherwise = f"holdings differ from its end by {late} in all; " if late else ""
    for incident in saga.open_incidents:
        yield Alert(
            f"incident:{batch_id}:{incident.number}",
            batch_id,
            AlertKind.INCIDENT,
            f"{in_sentence(saga, incident)}; the books have it; {otherwise}set right what has to "
            "be, then close the incident",
            incident.at,
        )


def in_sentence(saga: Saga, incident: Incident) -> str:
    """Return what late truth said, in words."""
    truth = incident.truth
    step = saga.steps[truth.step]
    key = saga.key(truth.step, truth.purpose, truth.number)
    parts = [f"{plain(fill.quantity)} filled at {plain(fill.price)}" for fill in truth.fills]
    if truth.reversed:
        parts.append(f"fill {', '.join(truth.reversed)} taken back")
    if not parts:
        parts.append("over, without more" if truth.final else "still open")
    told = ", ".join(parts)
    return (
        f"{saga.batch_id} was {saga.state} when late truth was told of {step.directive.describe()} "
        f"({key}): {told}"
    )


def late_in_words(saga: Saga) -> str:
    """Return by what holdings differ from what a saga said at its end; empty if they do not."""
    return _shown(saga.late_exposures())


def _shown(exposures: Iterable[Exposure]) -> str:
    words = [
        f"{plain(each.low)} {each.subject}"
        if each.low == each.high
        else f"{plain(each.low)} to {plain(each.high)} {each.subject}"
        for each in exposures
    ]
    more = f" and {len(words) - _MAX_NAMED} more" if len(words) > _MAX_NAMED else ""
    return ", ".join(words[:_MAX_NAMED]) + more


@dataclass(slots=True)
class _Try:
    """When a hook is called again with an alert, and how much later after one more failure."""

    due: datetime
    wait: timedelta


@dataclass(slots=True)
class _Pending:
    """An alert that is not known to have been told.

    Attributes:
        taken: which hooks have taken it, in this process.
        closer: the hook that was the last to take it, whose line notes that it was told.
        tries: by hook, when it is its turn again, where it failed.
    """

    alert: Alert
    taken: set[int] = field(default_factory=set)
    closer: int | None = None
    tries: dict[int, _Try] = field(default_factory=dict)

    def concerns(self, number: int) -> bool:
        """Tell whether the line of a hook has something to do about it."""
        return number not in self.taken or number == self.closer

    def is_due(self, number: int, now: datetime) -> bool:
        """Tell whether that is to be done now."""
        again = self.tries.get(number)
        # Further ahead than any wait: the clock was put back.
        return again is None or not now < again.due <= now + again.wait

    def put_off(self, number: int, now: datetime) -> None:
        """Leave it to be done later, because it failed."""
        before = self.tries.get(number)
        wait = FIRST_WAIT if before is None else before.wait
        self.tries[number] = _Try(now + wait, min(wait * 2, LONGEST_WAIT))


class _Line:
    """The calls of one hook, one after the other.

    Args:
        number: the hook's place among all.
        hook: who is called.
    """

    def __init__(self, number: int, hook: AlertHook) -> None:
        self.number = number
        self.hook = hook
        self.threads = BoundedSemaphore(MAX_THREADS)
        self.woken = anyio.Event()
        self.nap = anyio.CancelScope()

    def wake(self) -> None:
        """Let it look at what waits."""
        self.woken.set()
        self.nap.cancel()


class Alerts:
    """Tells alerts to the registered hooks until each has taken them.

    Args:
        store: open, and owned, from `run` on.
        load: reads a saga.
        clock: where time comes from.
        seconds: how long one call of a hook may take.
    """

    def __init__(
        self,
        store: CheckpointStore,
        load: Callable[[str], Awaitable[Saga]],
        clock: Clock,
        *,
        seconds: float,
    ) -> None:
        self._store = store
        self._load = load
        self._clock = clock
        self._seconds = seconds
        self._lines: list[_Line] = []
        self._joined = anyio.Event()
        self._pending: dict[str, _Pending] = {}
        self._holding: dict[str, object] = {}
        """Which alerts of a batch hold, by id; or who is reading that. Until its next commit."""
        self._told: set[str] = set()

    def add(self, hook: AlertHook) -> None:
        """Register a hook; it is told all that waits as well."""
        self._lines.append(_Line(len(self._lines), hook))
        self._joined.set()

    def forget(self, batch_id: str) -> None:
        """Read anew what holds of a batch: its journal has gone on."""
        self._holding.pop(batch_id, None)

    def look_at(self, saga: Saga) -> None:
        """See whether a saga needs a person."""
        for alert in alerts_of(saga):
            self._put(alert)

    def _put(self, alert: Alert) -> None:
        if alert.id in self._told or alert.id in self._pending:
            return
        if len(self._pending) >= MAX_PENDING:
            _LOG.error("%s alerts wait already; not told: %s", MAX_PENDING, alert.sentence)
            return
        _LOG.error("alert: %s", alert.sentence)
        self._pending[alert.id] = _Pending(alert)
        for line in self._lines:
            line.wake()

    async def run(self) -> None:
        """Tell until cancelled."""
        await self._survey()
        running = 0
        async with anyio.create_task_group() as tasks:
            while True:
                self._joined = anyio.Event()
                for line in self._lines[running:]:
                    tasks.start_soon(self._run_line, line)
                running = len(self._lines)
                await self._joined.wait()

    async def _run_line(self, line: _Line) -> None:
        """Call one hook with everything that waits for it, until cancelled."""
        while True:
            line.woken = anyio.Event()
            now = self._clock.now()
            for pending in list(self._pending.values()):
                if pending.concerns(line.number) and pending.is_due(line.number, now):
                    await self._tell(line, pending)
            if line.woken.is_set():
                continue
            dues = [each.tries[line.number].due for each in self._waiting_for(line.number)]
            if not dues:
                await line.woken.wait()
                continue
            with anyio.CancelScope() as line.nap:
                await self._clock.sleep_until(min(dues))

    def _waiting_for(self, number: int) -> Iterator[_Pending]:
        """Yield what is to be tried again in the line of a hook."""
        for pending in self._pending.values():
            if pending.concerns(number) and number in pending.tries:
                yield pending

    async def _survey(self) -> None:
        """Find out what was not told before this start."""
        wait = FIRST_WAIT
        while True:
            try:
                halts, alerting = await self._halts(), await self._store.alerting()
                if halts or alerting:  # what begins to alert later was never told
                    await self._read_told()
                for alert in halts:
                    self._put(alert)
                for batch_id in alerting:
                    await self._survey_one(batch_id)
            except (OwnershipLost, StorePoisoned):
                raise
            except StoreError as error:
                _LOG.warning("alerts are looked for again: %s", error)
                await self._clock.sleep_until(self._clock.now() + wait)
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                return

    async def _read_told(self) -> None:
        for record in await self._store.log_entries(AlertTold.kind, MAX_TOLD_READ):
            if isinstance(record.entry, AlertTold):
                self._told.add(record.entry.alert_id)
                self._pending.pop(record.entry.alert_id, None)  # put while this was read

    async def _survey_one(self, batch_id: str) -> None:
        try:
            self.look_at(await self._load(batch_id))
        except StoreError:
            raise
        except SagaError as error:
            _LOG.error("whether %s needs a person cannot be read: %s", batch_id, error)

    async def _halts(self) -> list[Alert]:
        found = []
        for record in await self._store.log_entries(TradingStateSet.kind, 1):
            said = record.entry
            if (
                isinstance(said, TradingStateSet)
                and said.state is TradingState.HALTED
                and said.automatic
            ):
                sentence = f"trading was halted by the {said.by}: {said.reason}"
                found.append(
                    Alert(f"halt:{record.number}", None, AlertKind.HALT, sentence, record.at)
                )
        return found

    async def _still_holds(self, alert: Alert) -> bool:
        """Tell whether there is still something that a person has to know; in doubt, there is."""
        batch_id = alert.batch_id
        if batch_id is None:
            return True
        holding = self._holding.get(batch_id)
        if not isinstance(holding, frozenset):
            mine = object()
            self._holding.setdefault(batch_id, mine)  # the others read for themselves meanwhile
            try:
                holding = frozenset(each.id for each in alerts_of(await self._load(batch_id)))
            except SagaError as error:
                _LOG.warning("%s is told of without another look at it: %s", batch_id, error)
                self._holding.pop(batch_id, None)
                return True
            if self._holding.get(batch_id) is mine:
                self._holding[batch_id] = holding
        return alert.id in holding

    async def _tell(self, line: _Line, pending: _Pending) -> None:
        """Call one hook with an alert; note that it was told once all hooks have taken it."""
        alert = pending.alert
        if not await self._still_holds(alert):
            _LOG.info("alert %s is settled, and told no more", alert.id)
            self._settle(alert)
            return
        taken = line.number in pending.taken or await self._is_taken(line, pending)
        if not taken or not await self._is_closed(line, pending):
            pending.put_off(line.number, self._clock.now())

    async def _is_taken(self, line: _Line, pending: _Pending) -> bool:
        """Call one hook with an alert; tell whether it took it."""
        alert = pending.alert
        answer = await answer_of(
            lambda: call_apart(line.hook, alert, line.threads),
            self._seconds,
            lambda: f"a hook for alert {alert.id}",
        )
        if isinstance(answer, Exception):
            _LOG.error("alert %s was not taken: %s", alert.id, in_words(answer))
            return False
        pending.taken.add(line.number)
        return True

    async def _is_closed(self, line: _Line, pending: _Pending) -> bool:
        """Note that an alert was told, if this hook was the last one; tell whether no note fails.

        A hook that was registered meanwhile has to take it as well, and its line notes it then.
        """
        alert = pending.alert
        pending.closer = None
        if self._pending.get(alert.id) is not pending or not self._is_taken_by_all(pending):
            return True
        pending.closer = line.number
        if not await self._noted(alert):
            return False
        if self._is_taken_by_all(pending):
            self._told.add(alert.id)
            self._settle(alert)
        else:
            pending.closer = None
        return True

    def _is_taken_by_all(self, pending: _Pending) -> bool:
        return len(pending.taken) == len(self._lines)

    def _settle(self, alert: Alert) -> None:
        self._pending.pop(alert.id, None)
        if not self._pending:
            self._holding.clear()

    async def _noted(self, alert: Alert) -> bool:
        try:
            await self._store.note(AlertTold(alert.id))
        except (OwnershipLost, StorePoisoned):
            raise
        except StoreError as error:
            _LOG.warning("that alert %s was told is noted later: %s", alert.id, error)
            return False
        return True
