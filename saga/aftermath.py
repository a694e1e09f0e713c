"""What is learnt about a saga after its end: asks again, and writes late truth into its journal.

A saga at rest decides nothing and sends nothing. But its participants can be asked what they know
of its attempts, and what is new is an incident: recorded, booked, told to a person (rule 4). The
one thing that is done besides asking is to withdraw an order that is found open although nobody
counts on it any more.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio

from saga.calls import answer_of, in_words, named, told_by
from saga.clock import Clock
from saga.complaints import Complaints
from saga.core import observe_late
from saga.errors import NoSuchBatch, NotAllowed, OwnershipLost, SagaError, StorePoisoned
from saga.events import LateTruth
from saga.ids import batch_of_key
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.machine import SAGA_AT_REST
from saga.outcome import Report
from saga.participant import Attempt, Participant
from saga.quick_dataclass import dataclass
from saga.supervision import Supervision

_LOG = Complaints("saga.aftermath")

MAX_ASKED_AT_ONCE: Final = 8
"""Most questions about one saga at rest that are under way at the same time (L3)."""
MAX_HEARD: Final = 10_000
"""Most keys with late news that wait to be looked up; one more is left to the watcher."""
RECORD_SECONDS: Final = 1.0
"""What is new is recorded after so long, although more attempts are still to be asked about."""
MAX_TRIES: Final = 3
"""So often a record is tried again because somebody else was faster."""
MAX_LOOKS: Final = 8
"""So often a key that was heard of is looked up in vain; then it is left to the watcher."""
FIRST_WAIT: Final = timedelta(seconds=1)
"""How long after the first look in vain the next one comes; each wait is twice the last."""
LONGEST_WAIT: Final = timedelta(minutes=5)
NOTIFIED: Final = "a notification"
"""Who looks, where the participant said that there may be news."""


@dataclass(frozen=True, slots=True)
class KnownFills:
    """Which fills of a batch its journal knows, each with its attempt's key.

    Attributes:
        at_rest: the batch is at rest, and asks nothing by itself.
        told: every fill that was ever told of.
        taken_back: those of them that were reversed.
    """

    at_rest: bool
    told: frozenset[tuple[str, str]]
    taken_back: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A key that was looked up in vain.

    Attributes:
        looks: how often.
        due: when it is looked up again.
    """

    looks: int
    due: datetime


class Aftermath:
    """Looks again at sagas that are at rest.

    Args:
        sagas: where they are found, and by whom their journals are written.
        participants: who carries out which kind of directive.
        clock: where time comes from.
    """

    def __init__(
        self, sagas: Supervision, participants: Mapping[str, Participant], clock: Clock
    ) -> None:
        self._sagas = sagas
        self._participants = participants
        self._clock = clock
        self._heard: dict[str, dict[str, int]] = {}
        """Keys, by batch, and how often each was looked up in vain."""
        self._heard_keys = 0
        self._waiting: dict[str, _Waiting] = {}
        self._news = anyio.Event()
        self._nap = anyio.CancelScope()

    def hear(self, key: str) -> None:
        """Hear that there may be late news about an attempt; it is looked up in the background."""
        batch_id = batch_of_key(key)
        if batch_id is None or key in self._heard.get(batch_id, ()):
            return
        self._waiting.pop(key, None)
        if self._heard_keys + len(self._waiting) >= MAX_HEARD:
            _LOG.error("late news about %s is passed over: %s keys wait already", key, MAX_HEARD)
            return
        self._note(key, 0)
        self._news.set()
        self._nap.cancel()

    def _note(self, key: str, looks: int) -> None:
        of_batch = self._heard.setdefault(batch_of_key(key) or "", {})
        if key not in of_batch:
            of_batch[key] = looks
            self._heard_keys += 1

    async def run(self) -> None:
        """Look up what was heard of, until cancelled."""
        while True:
            self._news = anyio.Event()
            self._take_up_what_is_due()
            while self._heard:
                batch_id = next(iter(self._heard))
                looks = self._heard.pop(batch_id)
                self._heard_keys -= len(looks)
                await self._look_quietly(batch_id, looks)
            if self._news.is_set():
                continue
            if not self._waiting:
                await self._news.wait()
                continue
            with anyio.CancelScope() as self._nap:
                await self._clock.sleep_until(min(each.due for each in self._waiting.values()))

    def _take_up_what_is_due(self) -> None:
        now = self._clock.now()
        for key, waiting in list(self._waiting.items()):
            # Further ahead than any wait: the clock was put back.
            if not now < waiting.due <= now + LONGEST_WAIT:
                del self._waiting[key]
                self._note(key, waiting.looks)

    async def _look_quietly(self, batch_id: str, looks: Mapping[str, int]) -> None:
        in_vain: set[str] = set()
        try:
            await self.look(batch_id, by=NOTIFIED, keys=set(looks), unanswered=in_vain)
        except (OwnershipLost, StorePoisoned):
            raise
        except NoSuchBatch as error:
            _LOG.warning("late news about %s is passed over: %s", batch_id, error)
        except SagaError as error:
            _LOG.warning("late news about %s could not be looked up: %s", batch_id, error)
            in_vain = set(looks)
        for key in in_vain:
            self._look_again_later(key, looks[key] + 1)

    def _look_again_later(self, key: str, looks: int) -> None:
        if key in self._heard.get(batch_of_key(key) or "", ()):
            return  # there is newer news
        if looks >= MAX_LOOKS:
            _LOG.error("late news about %s was looked up in vain %s times", key, looks)
            return
        wait = min(FIRST_WAIT * 2 ** (looks - 1), LONGEST_WAIT)
        self._waiting[key] = _Waiting(looks, self._clock.now() + wait)

    async def look(
        self, batch_id: str, *, by: str, unanswered: set[str], keys: Collection[str] | None = None
    ) -> tuple[LateTruth, ...]:
        """Ask about a saga's attempts, and record what is new.

        Of a saga that is not at rest nothing is asked now; its runner hears that there may be news.

        Args:
            batch_id: the batch.
            by: who looks.
            unanswered: where the keys of attempts are put about which nothing could be learnt.
            keys: only these attempts; None is all.

        Raises:
            NoSuchBatch: there is no such batch.
            Quarantined: its journal cannot be read.
        """
        saga = await self._sagas.load(batch_id)
        attempts = [
            attempt
            for step in saga.steps
            for attempt in step.every_attempt
            if (keys is None or attempt.key in keys) and _may_tell_more(saga, attempt)
        ]
        if saga.state not in SAGA_AT_REST:
            if (runner := self._sagas.find(batch_id)) is not None:
                for attempt in attempts:
                    runner.notify(attempt.key)
            return ()
        told: list[LateTruth] = []
        reports: dict[str, Report] = {}
        recorded_at = self._clock.elapsed()
        for first in range(0, len(attempts), MAX_ASKED_AT_ONCE):
            async with anyio.create_task_group() as calls:
                for attempt in attempts[first : first + MAX_ASKED_AT_ONCE]:
                    calls.start_soon(self._ask, saga, attempt, reports, unanswered)
            # Each driver reads the whole journal; but what is known must not wait for who is slow.
            if self._clock.elapsed() - recorded_at >= RECORD_SECONDS:
                told += await self._record(batch_id, attempts, reports, by)
                reports, recorded_at = {}, self._clock.elapsed()
        return (*told, *await self._record(batch_id, attempts, reports, by))

    async def known_fills(self, batch_id: str) -> KnownFills:
        """Return which fills of a batch its journal knows.

        Raises:
            NoSuchBatch: there is no such batch.
            Quarantined: its journal cannot be read.
        """
        saga = await self._sagas.load(batch_id)
        attempts = [a for step in saga.steps for a in step.every_attempt]
        told = {(a.key, fill_id) for a in attempts for fill_id in a.fill_ids}
        standing = {(a.key, fill.fill_id) for a in attempts for fill in a.fills}
        return KnownFills(saga.state in SAGA_AT_REST, frozenset(told), frozenset(told - standing))

    async def _ask(
        self, saga: Saga, record: AttemptRecord, reports: dict[str, Report], unanswered: set[str]
    ) -> None:
        attempt = saga.attempt(record)
        participant = self._participants.get(attempt.directive.kind)
        capabilities = saga.capabilities(record)
        if participant is None:
            _LOG.warning(
                "%s is not looked up: nobody serves %s", record.key, attempt.directive.kind
            )
            return
        seconds = capabilities.call_timeout_seconds
        report = await self._look_up(participant, attempt, seconds)
        if isinstance(report, Exception):
            unanswered.add(record.key)
            return
        unwanted = saga.undoes or record.absent
        if report is not None and not report.final and capabilities.cancel and unwanted:
            whose = partial(named, participant, attempt)
            refused = await answer_of(
                lambda: participant.withdraw(attempt), seconds, whose, hosts_task=True
            )
            if isinstance(refused, Exception):
                _LOG.warning("%s: the withdrawal failed: %s", whose(), in_words(refused))
            again = await self._look_up(participant, attempt, seconds)
            report = again if isinstance(again, Report) else report
        if report is None:
            return
        try:
            news = observe_late(record, report, by=NOTIFIED)
        except ValueError as error:
            _LOG.warning("what is told of %s is not believed: %s", record.key, error)
            unanswered.add(record.key)
            return
        if news is not None:
            reports[record.key] = report

    async def _look_up(
        self, participant: Participant, attempt: Attempt, seconds: float
    ) -> Report | Exception | None:
        """Return what is told of an attempt, or why nothing is that can be used."""
        whose = partial(named, participant, attempt)
        told = told_by(
            await answer_of(lambda: participant.look_up(attempt), seconds, whose, hosts_task=True)
        )
        if isinstance(told, Exception):
            _LOG.warning("%s gave no answer that can be used: %s", whose(), in_words(told))
        return told

    async def _record(
        self,
        batch_id: str,
        asked: Sequence[AttemptRecord],
        reports: Mapping[str, Report],
        by: str,
    ) -> tuple[LateTruth, ...]:
        """Record what is new, all of it by one driver, which reads the journal once.

        Args:
            batch_id: the batch.
            asked: the attempts that were asked about.
            reports: what told anything new of them, by key.
            by: who looked.
        """
        told: list[LateTruth] = []
        new = {each.key: each for each in asked if each.key in reports}
        for _ in range(MAX_TRIES):
            if not new:
                break
            runner = await self._sagas.runner_of(batch_id)
            saga = runner.saga
            if saga.state not in SAGA_AT_REST:  # it was tried again meanwhile
                for key in new:
                    runner.notify(key)
                break
            truths: dict[str, LateTruth] = {}
            for key, each in new.items():
                attempt = saga.steps[each.step].attempts(each.purpose)[each.number - 1]
                truth = _news_in(attempt, reports[key], by)
                if truth is not None:
                    truths[key] = truth
            refused = await runner.request_all(tuple(truths.values()))
            for (key, truth), error in zip(truths.items(), refused, strict=True):
                if error is None:
                    _LOG.warning("late truth about %s, attempt %s", batch_id, key)
                    told.append(truth)
                elif isinstance(error, NotAllowed):
                    # Somebody else was faster, or it cannot be reckoned with.
                    _LOG.info("late truth about %s is looked at again: %s", key, error)
                else:
                    raise error
            new = {
                key: new[key]
                for key, error in zip(truths, refused, strict=True)
                if error is not None
            }
        return tuple(told)


def _news_in(attempt: AttemptRecord, report: Report, by: str) -> LateTruth | None:
    """Return what a report tells of an attempt that was not known, if it can be believed."""
    try:
        return observe_late(attempt, report, by=by)
    except ValueError as error:
        _LOG.warning("what is told of %s is not believed: %s", attempt.key, error)
        return None


def _may_tell_more(saga: Saga, attempt: AttemptRecord) -> bool:
    """Tell whether asking about an attempt can bring anything to light."""
    was_withheld = (
        attempt.state is AttemptState.OVER and not attempt.acknowledged and not attempt.absent
    )
    return saga.capabilities(attempt).look_up and not was_withheld
