"""The one class that the author of an adapter derives from; pytest does the rest.

Each test makes its own harness and its own event loop, so that no plugin and no setting of the
author's project is needed. A test that fails shows a story, and no traceback of the kit.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from saga.clock import Clock
from saga.testing.bench import Bench
from saga.testing.crash_matrix import CrashMatrix
from saga.testing.harness import BrokenPromise, Harness, HarnessIncomplete
from saga.testing.plots import ONE_LEG, PART_FILLED, PLOTS, ROLLED_BACK, WITHDRAWN, Plot
from saga.testing.promises import PROMISES, Promise
from saga.testing.virtual_time import run
from saga.testing.wire import SEND, Disturbance, How

_LONGEST = (ROLLED_BACK, WITHDRAWN)
"""These have in them what the shorter plots have."""
_ANSWERS_LOST = Disturbance(How.ANSWER_LOST, SEND)


class ParticipantContract:
    """The contract suite and the crash matrix, for one adapter.

    Derive a class whose name begins with `Test`, and write `harness`.

    Attributes:
        virtual_time: the adapter waits on the event loop's timers only, and asks the clock that it
            is given for the time. The tests then wait for nothing.
        patience_seconds: how long one order may take to be over, or one saga to come to rest.
    """

    virtual_time: bool = False
    patience_seconds: float = 30.0

    def harness(self, folder: Path, clock: Clock) -> Harness:
        """Return a harness with a venue of its own, or with one that is shared.

        Called many times. An empty venue each time, in memory or in the folder, is best; on a
        shared one each test looks at its own orders only.

        Args:
            folder: empty, and this harness's own.
            clock: the time; virtual where `virtual_time` says so.
        """
        del folder, clock
        raise HarnessIncomplete(
            f"{type(self).__name__} has no harness; write `def harness(self, folder: Path, "
            "clock: Clock) -> Harness` and return one of your own"
        )

    @pytest.mark.parametrize("promise", PROMISES, ids=[promise.name for promise in PROMISES])
    def test_it_keeps_its_promise(self, promise: Promise, tmp_path: Path) -> None:
        """One rule of `saga.participant`, tried without an engine."""
        self._play(lambda clock: self._try(promise, tmp_path, clock))

    @pytest.mark.parametrize("plot", PLOTS, ids=[plot.name for plot in PLOTS])
    def test_killed_at_every_moment(self, plot: Plot, tmp_path: Path) -> None:
        """The engine dies before and after every commit and call, and at each wait in a call."""
        self._matrix(tmp_path, plot, lambda matrix: matrix.kill_everywhere(plot))

    @pytest.mark.parametrize("plot", _LONGEST, ids=[plot.name for plot in _LONGEST])
    def test_killed_at_every_moment_after_answers_were_lost(
        self, plot: Plot, tmp_path: Path
    ) -> None:
        """The same, where the answer to the first send of every attempt is lost."""
        self._matrix(tmp_path, plot, lambda matrix: matrix.kill_everywhere(plot, _ANSWERS_LOST))

    @pytest.mark.parametrize("plot", [ONE_LEG, ROLLED_BACK], ids=["one leg", "rolled back"])
    def test_killed_again_in_its_recovery(self, plot: Plot, tmp_path: Path) -> None:
        """The engine dies with an order on its way, and again at every moment of what follows."""
        self._matrix(tmp_path, plot, lambda matrix: matrix.kill_in_recovery(plot))

    @pytest.mark.parametrize("plot", PLOTS, ids=[plot.name for plot in PLOTS])
    def test_every_call_and_every_answer_disturbed(self, plot: Plot, tmp_path: Path) -> None:
        """Each call is lost, each answer is lost, late or doubled, inside the adapter as well."""
        self._matrix(tmp_path, plot, lambda matrix: matrix.disturb_everywhere(plot))

    # --- how a test runs --------------------------------------------------------------------------

    async def _try(self, promise: Promise, folder: Path, clock: Clock) -> None:
        bench = Bench(self._harness(folder, clock), clock, patience_seconds=self.patience_seconds)
        bench.promise = promise.sentence
        try:
            await bench.set_up()
            await promise.trial(bench)
        finally:
            await bench.clear_away()

    def _matrix(
        self, folder: Path, plot: Plot, play: Callable[[CrashMatrix], Awaitable[None]]
    ) -> None:
        async def main(clock: Clock) -> None:
            if plot in (WITHDRAWN, PART_FILLED):
                await self._require_an_order_to_withdraw(plot, folder, clock)
            matrix = CrashMatrix(
                self._harness, folder, clock, patience_seconds=self.patience_seconds
            )
            await play(matrix)

        self._play(main)

    async def _require_an_order_to_withdraw(self, plot: Plot, folder: Path, clock: Clock) -> None:
        place = folder / "asked"
        place.mkdir()
        harness = self._harness(place, clock)
        try:
            given = harness.will_rest() if plot is WITHDRAWN else harness.will_part_fill()
        finally:
            await harness.close()
        if given is None:
            method = "will_rest" if plot is WITHDRAWN else "will_part_fill"
            pytest.skip(f"Harness.{method} gives no directive, so that nothing can be withdrawn")

    def _harness(self, folder: Path, clock: Clock) -> Harness:
        try:
            harness: object = self.harness(folder, clock)
        except TypeError as error:
            if "abstract" not in str(error):
                raise
            raise HarnessIncomplete(f"{error}; write what is missing, see Harness") from None
        if not isinstance(harness, Harness):
            raise HarnessIncomplete(
                f"{type(self).__name__}.harness returned a {type(harness).__name__}; return a "
                "saga.testing.Harness"
            )
        return harness

    def _play(self, main: Callable[[Clock], Awaitable[None]]) -> None:
        __tracebackhide__ = True

        async def told(clock: Clock) -> str | None:
            try:
                await main(clock)
            except Exception as error:
                story = _story_in(error)
                if story is None:
                    raise
                return story
            return None

        story = run(told, virtual=self.virtual_time)
        if story is not None:
            pytest.fail(story, pytrace=False)


def _story_in(error: Exception) -> str | None:
    """Return the story that an exception, or one in a group, tells; None if it tells none."""
    if isinstance(error, BrokenPromise):
        return str(error)
    if isinstance(error, HarnessIncomplete):
        return f"The harness, not the adapter, is to be mended: {error}."
    if isinstance(error, ExceptionGroup):
        return next((story for each in error.exceptions if (story := _story_in(each))), None)
    return None
