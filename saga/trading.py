"""May orders go out now, and which? The trading state, the kill switch, and the way to the gate.

Whatever halts, halts at once: a flag in memory and a file beside the store are set before anything
is written down, so that a store that fails cannot keep orders flowing. Whatever lets trading go on
is durable first. In doubt the answer is no.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import lru_cache, partial
from typing import Final

import anyio

from saga.calls import answer_of, in_words
from saga.clock import Clock
from saga.complaints import Complaints
from saga.errors import NotAllowed, SagaError, StoreError
from saga.gate import Gate, Refusal
from saga.ids import Purpose
from saga.logbook import EngineStarted, LimitsSet, TradingState, TradingStateSet
from saga.model import Batch
from saga.participant import Attempt
from saga.store.halt_file import BY_HAND, HaltOrder
from saga.store.protocol import CheckpointStore, Owner

_LOG = Complaints("saga.trading")

JUDGEMENT_SECONDS: Final = 5.0
"""A gate that takes longer lets nothing pass."""
CRASH_WINDOW: Final = timedelta(minutes=1)
"""Unclean starts within this time are counted by the crash-loop brake."""
MAX_STARTS: Final = 1_000
"""So many of the last starts are looked at by the brake, clean ones among them."""
BRAKE: Final = "crash-loop brake"
"""Who halts when the engine restarts too often."""


class Trading:
    """Which orders may go out.

    Args:
        store: keeps the logbook; open, and owned, from `begin` on.
        clock: where time comes from.
        gate: judges single orders; None lets all pass that the trading state does.
        program: what is noted as the program that started.
        max_crashes: so many unclean starts within a minute halt; None never does.
        on_change: called when the state has changed.
    """

    def __init__(
        self,
        store: CheckpointStore,
        clock: Clock,
        *,
        gate: Gate | None,
        program: str,
        max_crashes: int | None,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._program = program
        self._max_crashes = max_crashes
        self._tell = on_change
        self._file = store.halt_file
        self._last = TradingStateSet(TradingState.ACTIVE, "the engine", "nobody has said otherwise")
        self._saw_file = False
        """The halt file was there when it was looked for last; no send goes by this."""
        self._noted_digest: str | None = None
        self._halts = 0
        self._easing = anyio.Lock()

    @property
    def state(self) -> TradingState:
        """The present state; HALTED whenever the halt file is there."""
        return TradingState.HALTED if self.is_halted else self._last.state

    @property
    def said(self) -> TradingStateSet:
        """Who said so, and why."""
        if self._last.state is TradingState.HALTED or not self.is_halted:
            return self._last
        order = self._ordered() or HaltOrder(BY_HAND, "the halt file was there a moment ago")
        return TradingStateSet(TradingState.HALTED, order.by, order.reason, order.automatic)

    @property
    def said_last(self) -> TradingStateSet:
        """The last word in a call or in the logbook, whatever the halt file says."""
        return self._last

    @property
    def is_halted(self) -> bool:
        """No forward order may go out; looks for the halt file."""
        if self._last.state is TradingState.HALTED:
            return True
        self._saw_file = self._file is not None and self._file.is_there()
        return self._saw_file

    @property
    def is_known_to_be_halted(self) -> bool:
        """No forward order may go out, as far as was seen: whoever asks sends nothing by it."""
        return self._saw_file or self._last.state is TradingState.HALTED

    @property
    def limits_digest(self) -> str | None:
        """The name of the limits in force; None without a gate, or if it cannot say them now."""
        if self._gate is None:
            return None
        limits = self._limits_of(self._gate)
        return None if isinstance(limits, Refusal) else _digest_of(limits)

    # --- changes ----------------------------------------------------------------------------------

    async def begin(self, owner: Owner, *, clean: bool) -> None:
        """Learn how things stand, note that this engine started, and brake a loop of crashes.

        Args:
            owner: who the store is owned by from now on.
            clean: the owner before had left in good order, or there was none.
        """
        await self.learn()
        await self._store.note(
            EngineStarted(self._program, owner.epoch, owner.pid, owner.host, clean)
        )
        if self._last.state is not TradingState.HALTED:
            if self.is_halted:
                await self.adopt()
            elif await self._crashes_too_often():
                reason = (
                    f"{self._max_crashes} starts after a crash within "
                    f"{CRASH_WINDOW.total_seconds():g} s; find out why before trading goes on"
                )
                await self.halt(by=BRAKE, reason=reason, automatic=True)
        if self._gate is None:
            return
        limits = self._limits_of(self._gate)
        if not isinstance(limits, Refusal):  # else no forward order goes out until it can say them
            await self._note_limits(limits)
        if self._gate.memory:
            since = self._clock.now() - self._gate.memory
            async for past in self._store.intents(since=since):
                self._gate.recall(past)

    async def learn(self) -> None:
        """Read what was said last."""
        for record in await self._store.log_entries(TradingStateSet.kind, 1):
            assert isinstance(record.entry, TradingStateSet)
            self._last = record.entry

    async def _crashes_too_often(self) -> bool:
        if self._max_crashes is None:
            return False
        now = self._clock.now()
        starts = await self._store.log_entries(
            EngineStarted.kind, MAX_STARTS, since=now - CRASH_WINDOW
        )
        recent = [
            record
            for record in starts
            if isinstance(record.entry, EngineStarted)
            and not record.entry.clean
            and abs(now - record.at) <= CRASH_WINDOW
        ]
        return len(recent) >= self._max_crashes

    async def halt(self, *, by: str, reason: str, automatic: bool = False) -> None:
        """Let no forward order out from now on.

        Args:
            by: who says so.
            reason: why.
            automatic: that is no person.

        Raises:
            StoreError: it could not be noted; no order goes out all the same.
        """
        said = TradingStateSet(TradingState.HALTED, by, reason, automatic)
        self._last = said
        self._halts += 1
        self._tell()
        if self._file is not None:
            try:
                self._file.put(HaltOrder(by, reason, automatic))
            except StoreError as error:
                _LOG.error("%s (trading is halted in memory, and that is noted next)", error)
        await self._store.note(said)

    async def ease(
        self, state: TradingState, *, by: str, reason: str, automatic: bool = False
    ) -> None:
        """Let orders go out again, all or only those that lower an exposure.

        Args:
            state: which orders.
            by: who says so.
            reason: why.
            automatic: that is no person.

        Raises:
            NotAllowed: the state is that already.
            StoreError: it could not be noted, or the halt file not removed; nothing has changed.
        """
        async with self._easing:
            before = self.said
            if state is before.state:
                raise NotAllowed(f"trading is {state} already; nothing was changed")
            seen = self._halts_seen()
            said = TradingStateSet(state, by, reason, automatic)
            await self._store.note(said)
            if self._halts_seen() != seen:  # a halt that came meanwhile stands
                last = self._last
                order = self._ordered() or HaltOrder(last.by, last.reason, last.automatic)
                await self._stay_halted(
                    TradingStateSet(TradingState.HALTED, order.by, order.reason, order.automatic)
                )
                raise NotAllowed(
                    f"trading was halted meanwhile (by {order.by}: {order.reason}), and stays so; "
                    "look at that, and say it again"
                )
            try:
                if self._file is not None:
                    self._file.remove()
            except StoreError:
                await self._stay_halted(before)
                raise
            self._last, self._saw_file = said, False
        self._tell()

    def _halts_seen(self) -> tuple[int, object]:
        """Return what differs once anybody has halted, by a call or by the file."""
        return self._halts, None if self._file is None else self._file.mark()

    async def _stay_halted(self, said: TradingStateSet) -> None:
        self._last = said
        await self._store.note(said)

    def _ordered(self) -> HaltOrder | None:
        """Return what the halt file says; None if it is not there."""
        return self._file.read() if self._file is not None and self._file.is_there() else None

    async def adopt(self) -> None:
        """Note a halt that somebody ordered by the file; harmless where there is none.

        Raises:
            StoreError: it could not be noted; no order goes out all the same.
        """
        if self._last.state is TradingState.HALTED or not self.is_halted:
            return
        self._last = self.said
        self._tell()
        await self._store.note(self._last)

    @staticmethod
    def _limits_of(gate: Gate) -> str | Refusal:
        """Return the limits in force; where the gate cannot say them, nothing forward goes out."""
        try:
            limits = gate.limits
            _digest_of(limits)
        except Exception as error:
            why = in_words(error)
            _LOG.error("the gate cannot say which limits are in force: %s", why)
            return Refusal(
                "gate",
                f"the gate cannot say which limits are in force, so the order was not sent: {why}; "
                "mend the gate, and send it again",
            )
        return limits

    async def _note_limits(self, limits: str) -> None:
        digest = _digest_of(limits)
        if digest == self._noted_digest:
            return
        last = [
            record.entry.digest
            for record in await self._store.log_entries(LimitsSet.kind, 1)
            if isinstance(record.entry, LimitsSet)
        ]
        if last != [digest]:
            await self._store.note(LimitsSet(digest, limits))
        self._noted_digest = digest

    # --- judgement --------------------------------------------------------------------------------

    async def judge_batch(self, batch: Batch) -> Refusal | None:
        """Judge a batch at the door; what is let in now may still be held back later."""
        gate = self._gate
        if gate is None:
            return None
        return await self._answer(partial(gate.judge_batch, batch, self._clock.now()))

    async def judge(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        """Judge an attempt whose intent is durable; None lets it pass, until `withhold`."""
        refusal = await self._judge(attempt, batch)
        if refusal is not None:
            self.withhold(attempt)
        return refusal

    def withhold(self, attempt: Attempt) -> None:
        """Tell the gate that nothing is sent of an attempt that it may have let pass."""
        if self._gate is None:
            return
        try:
            self._gate.withheld(attempt)
        except Exception as error:  # it may count too much then, and never too little
            _LOG.error(
                "the gate did not hear that %s is not sent: %s", attempt.key, in_words(error)
            )

    async def _judge(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        gate = self._gate
        if gate is not None and (held := self.standing_refusal(attempt)) is not None:
            return held  # nobody is asked
        forward = attempt.purpose is Purpose.FORWARD
        reducing = forward and self._last.state is TradingState.REDUCING
        if reducing and (held := await self._grows_exposure(attempt, batch)) is not None:
            return held
        if gate is not None:
            limits = self._limits_of(gate)
            if not isinstance(limits, Refusal):
                try:
                    await self._note_limits(limits)
                except SagaError as error:
                    return Refusal("gate", f"the limits in force could not be noted: {error}")
            elif forward:  # an undo goes on: what is held must not wait for a name
                return limits
            refusal = await self._answer(partial(gate.judge, attempt, batch, self._clock.now()))
            if refusal is not None:
                return refusal
        # While the gate judged, or let the order wait its turn, somebody may have said less.
        if not reducing and (held := await self.judge_again(attempt, batch)) is not None:
            return held
        return self.standing_refusal(attempt)

    async def judge_again(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        """Judge an attempt that passed by what was said since; no limit counts it once more."""
        if attempt.purpose is Purpose.FORWARD and self._last.state is TradingState.REDUCING:
            return await self._grows_exposure(attempt, batch)
        return None

    async def _grows_exposure(self, attempt: Attempt, batch: Batch) -> Refusal | None:
        if self._gate is None:
            return Refusal(
                "trading_state",
                f"trading is REDUCING (by {self._last.by}: {self._last.reason}), and without "
                "a gate nobody can say that this order lowers an exposure; an operator may "
                "activate trading",
            )
        return await self._answer(partial(self._gate.lowers_exposure, attempt, batch))

    def standing_refusal(self, attempt: Attempt) -> Refusal | None:
        """Refuse a forward attempt while trading is halted; asks nobody, right before the send."""
        if attempt.purpose is not Purpose.FORWARD or not self.is_halted:
            return None
        said = self.said
        return Refusal(
            "trading_state",
            f"trading is HALTED (by {said.by}: {said.reason}); an operator may activate it",
        )

    async def _answer(self, ask: Callable[[], Awaitable[object]]) -> Refusal | None:
        answer = await answer_of(ask, JUDGEMENT_SECONDS, lambda: "the gate")
        if answer is None or isinstance(answer, Refusal):
            return answer
        why = in_words(answer) if isinstance(answer, BaseException) else f"it said {answer!r}"
        _LOG.error("the gate gives no answer, so nothing passes: %s", why)
        if isinstance(answer, TimeoutError):
            return Refusal(
                "gate",
                f"the gate gave no answer within {JUDGEMENT_SECONDS:g} s, so the order was not "
                "sent; look whether the broker answers, and send it again",
            )
        return Refusal(
            "gate",
            f"the gate gave no answer, so the order was not sent: {why}; mend the gate, and send "
            "it again",
        )


@lru_cache(maxsize=1)
def _digest_of(limits: str) -> str:
    return hashlib.sha256(limits.encode()).hexdigest()[:12]
