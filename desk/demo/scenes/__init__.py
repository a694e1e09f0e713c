"""The five scenes, in their order."""

from collections.abc import Awaitable, Callable
from typing import Final

from desk.demo.report import SceneReport
from desk.demo.scenes import exit_killed, initialise, rebalance_undone, record, stuck_rollback
from desk.demo.screen import Show
from desk.demo.stage import Stage

Scene = Callable[[Stage, Show], Awaitable[SceneReport]]

IN_ORDER: Final[tuple[Scene, ...]] = (
    initialise.play,
    rebalance_undone.play,
    exit_killed.play,
    stuck_rollback.play,
    record.play,
)
