"""The engine's bounds: every queue, loop and wait of the orchestrator has one, with a name."""

from saga.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one orchestrator takes on at most.

    Attributes:
        max_directives: most directives in one batch.
        max_running: most sagas that run at the same time.
        max_queued: most sagas that wait for admission; one more is refused.
        ageing_seconds: a waiting batch overtakes newer ones of the next higher priority after so
            long, so that a LOW batch waits at most twice this behind newer HIGH ones.
        grace_seconds: how long calls under way may take to finish when the engine is left.
        heartbeat_seconds: how often the owner says that it lives.
        hook_seconds: how long one outcome hook may take before it is given up.
        max_hooks: most hooks that run at the same time.
        max_crashes_per_minute: so many starts after a crash within a minute open the engine
            HALTED, until somebody activates trading; None never does.
    """

    max_directives: int = 20_000
    max_running: int = 1_000
    max_queued: int = 10_000
    ageing_seconds: float = 30.0
    grace_seconds: float = 5.0
    heartbeat_seconds: float = 10.0
    hook_seconds: float = 30.0
    max_hooks: int = 32
    max_crashes_per_minute: int | None = 5
