"""Starts the processes of a drill, and sees to it that none outlives it.

They are forked from a server that has the modules loaded, so that a start costs a few hundredths of
a second. What is killed here is what was started here, by its process id.
"""

import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import process
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

SPAWN: Final = multiprocessing.get_context("forkserver")
PRELOADED: Final = (
    "tests.crash.engine_process",
    "tests.crash.exchange_process",
    "tests.crash.planted",
    "anyio._backends._asyncio",
    "aiosqlite",
)
PATIENCE_SECONDS: Final = 60.0
"""Far longer than anything that is waited for takes."""
_STOPPED: Final = "T"
_NOBODY_LISTENS: Final = 99


_starting: Final = threading.Lock()


def _run_with_parent(target: Callable[..., None], *arguments: Any) -> None:
    """Run, in the new process, until whoever started it is gone."""
    say: Connection = arguments[-1]
    threading.Thread(target=_leave_with_listener, args=(say.fileno(),), daemon=True).start()
    target(*arguments)


def _leave_with_listener(pipe: int) -> None:
    # Nothing is asked for, so that only the end of whoever listens wakes this.
    listener = select.poll()
    listener.register(pipe, 0)
    listener.poll()
    os._exit(_NOBODY_LISTENS)


class Child:
    """One process, and what it says.

    Args:
        target: what it runs; its last argument is where it says things.
        arguments: the others.
    """

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        hear, say = SPAWN.Pipe(duplex=False)
        self._hear = hear
        self._process: Any = SPAWN.Process(
            target=_run_with_parent, args=(target, *arguments, say), daemon=True
        )
        with _starting:
            self._process.start()
            # A start in another thread would ask after this one as well, and take its exit code.
            process._children.discard(self._process)  # type: ignore[attr-defined]
        say.close()
        self.said: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    @property
    def code(self) -> int | None:
        """Its exit code; minus the signal that ended it; None while it lives."""
        code = self._process.exitcode
        return None if code is None else int(code)

    def hears(self, seconds: float = PATIENCE_SECONDS) -> str | None:
        """Return the next thing that it says; None if it says nothing (any more) in that time."""
        with suppress(EOFError, OSError):
            if self._hear.poll(seconds):
                self.said.append(str(self._hear.recv()))
                return self.said[-1]
        return None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int | None:
        """Wait until it has ended, and return its exit code; None if it has not by then."""
        self._process.join(seconds)
        if self.code is not None:
            while self.hears(0.0) is not None:
                pass
        return self.code

    def wait_until_stopped(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until it is stopped by SIGSTOP; False if it ends, or is not by then."""
        until = time.monotonic() + seconds
        while self.code is None and time.monotonic() < until:
            if _state(self.pid) == _STOPPED:
                return True
            self._process.join(0.005)
        return False

    def end(self) -> None:
        """Kill it if it still lives, and take it out of the table of processes."""
        self.signal(signal.SIGKILL)
        self._process.join()
        self._hear.close()


def _state(pid: int) -> str | None:
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return told.rpartition(")")[2].split()[0]
    except OSError:
        return None


def preload() -> None:
    """Have the modules loaded once, before the first start."""
    SPAWN.set_forkserver_preload(list(PRELOADED))
