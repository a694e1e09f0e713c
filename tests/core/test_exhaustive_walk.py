"""Everything that can happen to a batch of up to two legs, compared with the naive reference.

A depth-first search over the real `fold` and `decide`: every answer of the venue, every order of
answers, a cancel, a pause, the deadline, a retry by the operator, and a crash after every event.
A crash folds the journal anew from its written form. States that are equal but for the clock are
walked once; a state that comes back on its own way would be a saga that never ends (L1), and fails.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product

import pytest

import saga.core as core
from saga.core import Ask, Decision, Question, decide
from saga.events import (
    CancelRequested,
    CompensationStarted,
    DeadlinePassed,
    Event,
    GaveUp,
    Intended,
    NotFound,
    Paused,
    ProvenAbsent,
    Reported,
    Resumed,
    Retried,
    SentAgain,
    Started,
    Unpaused,
    decode,
    encode,
)
from saga.fold import apply, fold
from saga.ids import Purpose
from saga.ledger import AttemptRecord, AttemptState, Saga
from saga.machine import (
    SAGA_AT_REST,
    SAGA_TRANSITIONS,
    STEP_TRANSITIONS,
    SagaState,
    StepState,
)
from saga.model import Batch, ExecutionMode
from saga.policy import Capabilities, OnFailure, RetryPolicy
from saga.views import batch_row, saga_outcome
from tests.core.reference import Failing, Leg, ReferenceSaga, Verdict
from tests.core.telling import (
    NOON,
    batch_of,
    copied,
    dump,
    judge_views,
    submitted,
    trade_rows,
)
from tests.core.venue import (
    Answer,
    Held,
    Place,
    answers_to_a_question,
    answers_to_a_send,
    late_truth,
    left_by_a_crash,
)

LONGEST_JOURNAL = 120
"""No way through a batch of two legs makes more records than this."""
LONG_AGO = timedelta(seconds=-30)
"""Beyond every wait that the walk's policies and capabilities ask for."""
SILENCES_IN_THE_WALK = 2
ONE_DAY = timedelta(days=1)
USUAL = Capabilities(visibility_seconds=2.0)

Record = tuple[int, datetime, Event]


@dataclass(frozen=True)
class Scene:
    """What is walked: a batch, what was agreed for it, and how many faults may come together."""

    name: str
    mode: ExecutionMode
    quantities: tuple[int, ...]
    faults: int
    on_failure: OnFailure = OnFailure.UNDO
    width: int | None = None
    attempts: int = 1
    rolls_back_only: tuple[int, ...] | None = None
    capabilities: Capabilities = USUAL
    retried: bool = False

    @property
    def batch(self) -> Batch:
        only = self.rolls_back_only
        return batch_of(
            *self.quantities,
            mode=self.mode,
            retry=RetryPolicy(attempts=self.attempts, undo_patience_seconds=0.0),
            rollback_on_failure=self.on_failure is not OnFailure.KEEP,
            max_parallel=self.width,
            rollback_only=only and tuple(f"EXE_{position}" for position in only),
        )

    @property
    def reference(self) -> ReferenceSaga:
        only = self.rolls_back_only
        return ReferenceSaga(
            mode=self.mode.value,
            width=self.batch.width,
            legs=tuple(
                Leg(quantity, tries=self.attempts, in_scope=only is None or position in only)
                for position, quantity in enumerate(self.quantities)
            ),
            failing=Failing.KEEP if self.on_failure is OnFailure.KEEP else Failing.UNDO,
        )


@dataclass
class Node:
    """One moment: what the engine knows, what the venue holds, and what the reference was told."""

    saga: Saga
    journal: tuple[Record, ...]
    now: datetime
    held: dict[str, Held]
    calls: tuple[str, ...]
    reference: ReferenceSaga
    faults: int
    may_cancel: bool = True
    may_pause: bool = True
    may_retry: bool = False
    operator_called: bool = False
    trespass: bool = False
    """The venue did what it must not: filled too much, or what had been proven absent."""

    def child(self, *, faults: int = 0, seconds: float = 0.0) -> "Node":
        assert self.faults >= faults
        return replace(
            self,
            saga=copied(self.saga),
            now=self.now + timedelta(seconds=seconds),
            held=dict(self.held),
            reference=self.reference.copy(),
            faults=self.faults - faults,
        )


_WRITTEN: dict[int, tuple[Event, Event]] = {}


def from_the_file(event: Event) -> Event:
    """Return the event as it is read back; remembered by identity, as not every one is hashable."""
    known = _WRITTEN.get(id(event))
    if known is None:
        known = _WRITTEN[id(event)] = (event, decode(event.kind, encode(event)))
        assert known[0] == known[1]
    return known[1]


def replay(journal: tuple[Record, ...]) -> Saga:
    return fold((number, at, from_the_file(event)) for number, at, event in journal)


LEGAL_SAGA = {(a.source, a.dest) for a in SAGA_TRANSITIONS}
LEGAL_STEP = {(a.source, a.dest) for a in STEP_TRANSITIONS}


class Walk:
    """The search itself."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.first = submitted(
            scene.batch,
            on_failure=scene.on_failure,
            capabilities=scene.capabilities,
            deadline=NOON + ONE_DAY,
        )
        self.window = timedelta(seconds=scene.capabilities.visibility_seconds)
        self.paths: dict[object, int | None] = {}
        self.ends: dict[str, int] = {}

    def run(self) -> int:
        """Walk everything; return how many ways there are from the beginning to an end."""
        journal: tuple[Record, ...] = ((1, NOON, self.first),)
        return self.walk(
            Node(
                saga=replay(journal),
                journal=journal,
                now=NOON,
                held={},
                calls=(),
                reference=self.scene.reference,
                faults=self.scene.faults,
                may_retry=self.scene.retried,
            )
        )

    def walk(self, node: Node) -> int:
        """Return how many ways there are from here to an end, having judged each of them."""
        key = self.key(node)
        if key in self.paths:
            known = self.paths[key]
            assert known is not None, f"the saga goes in circles:\n{story(node)}"  # L1
            return known
        self.paths[key] = None
        try:
            self.judge(node)
            children = self.moves(node)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{story(node)}") from error
        found = sum(self.walk(child) for child in children) if children else 1
        self.paths[key] = found
        return found

    # --- what can come next ----------------------------------------------------------------------

    def moves(self, node: Node) -> list[Node]:
        saga = node.saga
        if saga.state in SAGA_AT_REST:
            return self.moves_of_the_operator_at_rest(node)
        decision = decide(saga, node.now)
        assert decision == decide(saga, node.now)
        if decision.events:
            return self.recorded(node, decision.events)
        moves = [*self.moves_of_calls(node), *self.moves_of_the_operator(node)]
        due = [ask for ask in decision.asks if ask.not_before <= node.now]
        moves.extend(self.moves_of_questions(node, due))
        moves.extend(self.moves_of_crashes(node))
        if not due and not node.calls:
            moves.extend(self.moves_of_time(node, decision))
        if (
            node.faults
            and not saga.deadline_passed
            and saga.state
            in (
                SagaState.PENDING,
                SagaState.RUNNING,
            )
        ):
            late = node.child(faults=1)
            late.now = NOON + ONE_DAY
            moves.append(late)
        for attempt in saga.unconfirmed.values():  # a hint that there is news
            if node.held[attempt.key].place is Place.LATE:
                moves.extend(
                    self.answered(node, attempt, answer)
                    for answer in late_truth(attempt, node.held[attempt.key])
                )
        return moves

    def recorded(self, node: Node, events: tuple[Event, ...]) -> list[Node]:
        """What the core decides is recorded in one piece, or only its beginning, then a crash."""
        whole = node.child()
        self.tell(whole, *events)
        moves = [whole]
        if node.faults and len(events) > 1:
            for length in range(1, len(events)):
                torn = node.child(faults=1)
                self.tell(torn, *events[:length])
                moves.extend(self.crashed(torn))
        return moves

    def moves_of_calls(self, node: Node) -> list[Node]:
        moves = []
        for key in node.calls:
            attempt = node.saga.live[key]
            hides = not self.scene.capabilities.tombstone
            for answer in answers_to_a_send(attempt, node.held[key], hides=hides):
                if answer.faults <= node.faults:
                    child = self.answered(node, attempt, answer)
                    child.calls = tuple(call for call in child.calls if call != key)
                    moves.append(child)
        return moves

    def moves_of_questions(self, node: Node, asks: list[Ask]) -> list[Node]:
        moves: list[Node] = []
        for ask in asks:
            held = node.held[ask.attempt.key]
            tombstone = ask.question is Question.WITHDRAW and self.scene.capabilities.tombstone
            self.judge_question(node, ask)
            answers = answers_to_a_question(
                ask, held, tombstone=tombstone, operator_called=node.operator_called
            )
            moves.extend(
                self.answered(node, ask.attempt, answer)
                for answer in answers
                if answer.faults <= node.faults and answer.events
            )
        return moves

    def answered(self, node: Node, attempt: AttemptRecord, answer: Answer) -> Node:
        child = node.child(faults=answer.faults)
        child.held[attempt.key] = answer.held
        late = node.held[attempt.key].place is Place.LATE
        child.trespass |= late or answer.held.filled > answer.held.asked
        self.tell(child, *answer.events)
        return child

    def moves_of_the_operator(self, node: Node) -> list[Node]:
        moves = []
        state = node.saga.state
        if state is SagaState.PENDING:
            begun = node.child()
            self.tell(begun, Started())
            moves.append(begun)
        if node.saga.paused:
            resumed = node.child()
            self.tell(resumed, Unpaused("ann", "back"))
            moves.append(resumed)
        elif node.may_pause and node.faults:
            paused = node.child(faults=1)
            paused.may_pause = False
            self.tell(paused, Paused("ann", "lunch"))
            moves.append(paused)
        if node.may_cancel and node.faults and state is not SagaState.COMPENSATING:
            cancelled = node.child(faults=1)
            cancelled.may_cancel = False
            self.tell(cancelled, CancelRequested("ann", "mind changed"))
            moves.append(cancelled)
        return moves

    def moves_of_the_operator_at_rest(self, node: Node) -> list[Node]:
        if node.saga.state is not SagaState.STALE or not node.may_retry:
            return []
        again = node.child()
        again.may_retry, again.operator_called = False, True
        self.tell(again, Retried("ann", "the venue is back"))
        return [again]

    def moves_of_crashes(self, node: Node) -> list[Node]:
        sending = any(a.state is AttemptState.SENDING for a in node.saga.live.values())
        if not sending:
            (same,) = self.crashed(node.child())
            assert self.key(same) == self.key(node)  # a crash without a call loses nothing
            return []
        return self.crashed(node.child(faults=1)) if node.faults else []

    def crashed(self, node: Node) -> list[Node]:
        """The engine dies, and whatever was being sent has arrived or has not."""
        moves = []
        for left in product(*(left_by_a_crash(node.held[key]) for key in node.calls)):
            child = node.child()
            child.saga = replay(node.journal)
            child.held.update(zip(node.calls, left, strict=True))
            child.calls = ()
            self.tell(child, Resumed("after a crash"))
            moves.append(child)
        return moves

    def moves_of_time(self, node: Node, decision: Decision) -> list[Node]:
        ahead = [ask.not_before for ask in decision.asks]
        if decision.wake_at is not None and decision.wake_at != NOON + ONE_DAY:
            ahead.append(decision.wake_at)
        if not ahead:
            waits = node.saga.paused or node.saga.state is SagaState.PENDING
            assert waits, "nothing is under way, and nothing will be"  # L1
            return []
        later = node.child()
        later.now = min(ahead)
        assert later.now > node.now
        return [later]

    # --- telling everybody -----------------------------------------------------------------------

    def tell(self, node: Node, *events: Event) -> None:
        for event in events:
            before = node.saga.state, [step.state for step in node.saga.steps]
            rows = trade_rows(node.saga)
            apply(node.saga, node.saga.number + 1, node.now, event)
            node.journal += ((node.saga.number, node.now, event),)
            self.judge_transitions(node, *before)
            judge_views(node.saga, event, rows)
            self.inform(node, event)
        assert len(node.journal) <= LONGEST_JOURNAL  # L1, L3

    def inform(self, node: Node, event: Event) -> None:
        """Tell the reference, in its own words, and put what was intended into the air."""
        reference = node.reference
        if isinstance(event, Started):
            reference.started = True
        elif isinstance(event, CancelRequested):
            reference.cancelled = True
        elif isinstance(event, DeadlinePassed):
            reference.late = True
        elif isinstance(event, Paused | Unpaused):
            reference.paused = isinstance(event, Paused)
        elif isinstance(event, CompensationStarted):
            reference.undo_begun()
        elif isinstance(event, Retried):
            reference.retried()
        elif isinstance(event, Intended):
            reference.sent((*where(event), int(event.amount)))
            key = node.saga.key(event.step, event.purpose, event.number)
            node.held[key] = Held(int(event.amount))
            node.calls += (key,)
        elif isinstance(event, SentAgain):
            reference.sent_again(*where(event))
            node.calls += (node.saga.key(event.step, event.purpose, event.number),)
        elif isinstance(event, Reported):
            attempt = attempt_of(node.saga, event)
            reference.heard(*where(event), int(attempt.done), over=event.final)
        elif isinstance(event, NotFound):
            attempt = attempt_of(node.saga, event)
            reference.not_found(*where(event), window_over=node.now >= attempt.since + self.window)
        elif isinstance(event, ProvenAbsent):
            reference.absent(*where(event))
        elif isinstance(event, GaveUp):
            reference.lost(*where(event))

    # --- judging ---------------------------------------------------------------------------------

    def judge(self, node: Node) -> None:
        """Everything that must hold at every moment."""
        saga = node.saga
        # S11. Between these moments it follows: the same events are added to equal sagas.
        if node.calls or saga.state in SAGA_AT_REST:
            assert dump(saga) == dump(replay(node.journal))
        self.judge_commitments(node)
        row = batch_row(saga)
        assert row.processed_trades >= row.failed_trades
        verdict = node.reference.verdict()
        if saga.state in SAGA_AT_REST:
            self.judge_end(node, verdict)
        elif not decide(saga, node.now).events:
            assert verdict is None, f"it should have ended: {verdict}"

    def judge_transitions(self, node: Node, before: SagaState, steps: list[StepState]) -> None:
        """S8, D4: every change is an arrow of the published machines (or two at once)."""
        after = node.saga.state
        assert after is before or (before, after) in LEGAL_SAGA, f"{before} -> {after}"
        for old, step in zip(steps, node.saga.steps, strict=True):
            new = step.state
            via = any((old, m) in LEGAL_STEP and (m, new) in LEGAL_STEP for _, m in LEGAL_STEP)
            assert new is old or (old, new) in LEGAL_STEP or via, f"{old} -> {new}"

    def judge_question(self, node: Node, ask: Ask) -> None:
        """Withdrawn is what is not wanted any more or has to be buried, and nothing else."""
        forward = ask.attempt.purpose is Purpose.FORWARD
        if forward and ask.attempt.state is AttemptState.WORKING and node.reference.stopped():
            assert ask.question is Question.WITHDRAW
        if ask.question is not Question.WITHDRAW:
            return
        unknown = ask.attempt.state is AttemptState.UNKNOWN
        compensation = ask.attempt.purpose is Purpose.COMPENSATION
        buried = unknown and self.scene.capabilities.tombstone
        assert buried or compensation or node.reference.stopped()

    def judge_commitments(self, node: Node) -> None:
        """S4 and S5, by the venue's own books."""
        if node.trespass:
            return
        for position, wanted in enumerate(self.scene.quantities):
            sides = {}
            for side in Purpose:
                records = node.saga.steps[position].attempts(side)
                books = [node.held[record.key] for record in records]
                on_call = sum(
                    node.held[r.key].asked
                    for r in records
                    if r.key in node.calls and node.held[r.key].place is Place.NOWHERE
                )
                sides[side] = sum(h.filled + h.open_amount for h in books) + on_call
            assert sides[Purpose.FORWARD] <= wanted, "more in the air than was asked"  # S4
            confirmed = node.saga.steps[position].done
            assert sides[Purpose.COMPENSATION] <= confirmed, "more undone than done"  # S5

    def judge_end(self, node: Node, verdict: Verdict | None) -> None:
        saga = node.saga
        assert verdict is not None, f"it ended as {saga.state} and should go on"
        outcome = saga_outcome(saga)
        rests = [step.possible_rest() for step in saga.steps]
        ended = Verdict(
            saga.state.value,
            outcome.value if outcome else None,
            done=tuple(int(step.done) for step in saga.steps),
            undone=tuple(int(step.undone) for step in saga.steps),
            low=tuple(int(low) for low, _ in rests),
            high=tuple(int(high) for _, high in rests),
        )
        assert ended == verdict
        self.ends[ended.state] = self.ends.get(ended.state, 0) + 1
        self.judge_truth(node)

    def judge_truth(self, node: Node) -> None:
        """S6 and S7: what the saga says it holds is what the venue says it holds."""
        saga = node.saga
        residual = {exposure.subject: exposure for exposure in saga.residual}
        for step in saga.steps:
            records = step.every_attempt
            if any(node.held[r.key].place is Place.LATE for r in records):
                assert saga.state is SagaState.STALE  # hidden from everybody, and not called well
                continue
            forward = sum(node.held[r.key].filled for r in step.forward)
            truth = forward - sum(node.held[r.key].filled for r in step.undo)
            if saga.state is not SagaState.STALE:
                assert not any(node.held[r.key].open_amount for r in records)
                assert truth == step.left_to_undo
                if saga.is_atomic:
                    whole = saga.state is SagaState.COMPLETED
                    assert truth == (step.directive.amount if whole else 0)
                elif saga.state is SagaState.ROLLED_BACK and step.rolls_back:
                    assert truth == 0
                continue
            assert step.directive.subject is not None
            exposure = residual.get(step.directive.subject)
            if exposure is not None:
                assert exposure.low <= truth <= exposure.high
                assert bool(exposure.unproven) or exposure.low == exposure.high
            elif step.rolls_back and self.scene.on_failure is not OnFailure.KEEP:
                assert truth == 0
            else:
                assert truth == step.left_to_undo

    # --- equal but for the clock -----------------------------------------------------------------

    def key(self, node: Node) -> object:
        saga, now, reference = node.saga, node.now, node.reference

        def ago(instant: datetime | None) -> timedelta | None:
            return None if instant is None else max(LONG_AGO, instant - now)

        def of(a: AttemptRecord, *, last: bool) -> tuple[object, ...]:
            over = a.state is AttemptState.OVER
            times = (ago(a.since) if last or not over else None, None if over else ago(a.asked_at))
            known = (a.amount, a.done, a.sends, a.acknowledged, a.absent, a.tombstone)
            return (a.state, *known, a.not_found, a.silences, *times)

        return (
            (node.faults, node.may_cancel, node.may_pause, node.may_retry, node.operator_called),
            (saga.state, saga.paused, saga.deadline_passed, saga.cancel is None, saga.next_unsent),
            (tuple(saga.live), tuple(saga.lost), tuple(saga.failed), tuple(saga.to_undo)),
            (tuple(saga.stuck), tuple(saga.unconfirmed)),
            tuple((position, ago(due)) for position, due in saga.retrying.items()),
            tuple(
                (
                    (step.state, step.undo_base, step.done, step.undone),
                    tuple(of(a, last=False) for a in step.forward),
                    tuple(of(a, last=a is step.undo[-1]) for a in step.undo),
                )
                for step in saga.steps
            ),
            (tuple(node.held.items()), node.calls, node.trespass),
            tuple(
                (
                    (o.leg, o.purpose, o.number, o.asked, o.filled, o.fate, o.heard_of),
                    (min(o.in_vain, 3), o.proof, o.asked_once_more),
                )
                for o in reference.orders
            ),
            (tuple(reference.newest_first()), tuple(reference.undo_from.items())),
            (reference.cancelled, reference.late, reference.undoing),
        )


def where(
    event: Intended | SentAgain | Reported | NotFound | ProvenAbsent | GaveUp,
) -> tuple[int, str, int]:
    return event.step, "F" if event.purpose is Purpose.FORWARD else "C", event.number


def attempt_of(saga: Saga, event: Reported | NotFound) -> AttemptRecord:
    return saga.steps[event.step].attempts(event.purpose)[event.number - 1]


def story(node: Node) -> str:
    """The way to a node, for whoever has to understand a failure."""
    lines = [f"  {(at - NOON).total_seconds():9.3f} {event}" for _, at, event in node.journal[1:]]
    return "\n".join([*lines, f"  venue: {node.held}", f"  calls under way: {node.calls}"])


SEQUENTIAL, PARALLEL, ATOMIC = ExecutionMode
KEEP = OnFailure.KEEP
TOMBSTONE = Capabilities(visibility_seconds=2.0, tombstone=True)
BLIND = Capabilities(visibility_seconds=2.0, look_up=False)

SCENES = (
    (1_800, Scene("atomic, one leg, two faults", ATOMIC, (1,), 2)),
    (400, Scene("atomic, one leg, tried again by the operator", ATOMIC, (1,), 1, retried=True)),
    (4_000, Scene("atomic, tombstones", ATOMIC, (1,), 2, capabilities=TOMBSTONE, retried=True)),
    (2_500, Scene("atomic, no look-up", ATOMIC, (1,), 2, capabilities=BLIND, retried=True)),
    (600, Scene("atomic, a divisible leg", ATOMIC, (2,), 1)),
    (1_100, Scene("atomic, two legs", ATOMIC, (1, 1), 1)),
    (2_800, Scene("atomic, two legs at once", ATOMIC, (1, 1), 1, width=2)),
    (2_000, Scene("atomic, two divisible legs", ATOMIC, (2, 2), 1)),
    (1_000, Scene("atomic, two legs, tombstones", ATOMIC, (1, 1), 1, capabilities=TOMBSTONE)),
    (400, Scene("atomic, two tries", ATOMIC, (1,), 1, attempts=2)),
    (530, Scene("sequential, one leg, two faults", SEQUENTIAL, (1,), 2, on_failure=KEEP)),
    (210, Scene("sequential", SEQUENTIAL, (1, 1), 1, on_failure=KEEP)),
    (350, Scene("sequential, a divisible leg", SEQUENTIAL, (2, 1), 1, on_failure=KEEP)),
    (390, Scene("sequential, two tries", SEQUENTIAL, (2,), 1, on_failure=KEEP, attempts=2)),
    (900, Scene("sequential, rolled back", SEQUENTIAL, (1, 1), 1)),
    (750, Scene("sequential, one leg rolled back", SEQUENTIAL, (1, 1), 1, rolls_back_only=(0,))),
    (550, Scene("parallel", PARALLEL, (1, 1), 1, on_failure=KEEP)),
    (820, Scene("parallel, a divisible leg", PARALLEL, (2, 1), 1, on_failure=KEEP)),
    (1_900, Scene("parallel, rolled back", PARALLEL, (1, 1), 1)),
    (1_200, Scene("parallel, one leg rolled back", PARALLEL, (1, 1), 1, rolls_back_only=(1,))),
)
"""Each with the least number of different states that it must reach: no walk shrinks in silence."""


@pytest.mark.requirement("D4", "D5", "D6", "E3", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S11")
@pytest.mark.requirement("L1")
@pytest.mark.parametrize(("least_states", "scene"), SCENES, ids=[scene.name for _, scene in SCENES])
def test_the_core_ends_as_the_rules_say_whatever_happens(
    least_states: int, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "MAX_SILENCES", SILENCES_IN_THE_WALK)
    walk = Walk(scene)

    paths = walk.run()

    assert paths > len(walk.paths) / 2
    assert len(walk.paths) >= least_states
    rolls_back = scene.on_failure is not KEEP
    assert walk.ends.keys() == {"COMPLETED", "ROLLED_BACK", "STALE"}
    assert (walk.ends["ROLLED_BACK"] > walk.ends["COMPLETED"]) is rolls_back
