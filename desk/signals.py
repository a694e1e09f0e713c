"""SIGINT and SIGTERM: the first one lets the work leave cleanly, the second one stops it at once.

Stopping at once is safe, because everything that matters is durable before anything depends on it;
leaving cleanly only spares the next owner some look-ups.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from desk.exit_codes import ExitCode

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal came, and the work has left cleanly."""


async def until_signal(
    work: Callable[[], Awaitable[ExitCode]], on_first: Callable[[], None]
) -> ExitCode:
    """Run the work; the first signal cancels it, the second ends the process.

    Args:
        work: what is done; when it is cancelled, it leaves cleanly.
        on_first: tells the user that the signal was heard.

    Raises:
        Interrupted: a signal came before the work was over.
    """
    result: ExitCode | None = None
    failed: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(*SIGNALS) as received:

            async def listen() -> None:
                heard = 0
                async for _ in received:
                    heard += 1
                    if heard > 1:
                        sys.stderr.flush()
                        os._exit(ExitCode.INTERRUPTED)
                    scope.cancel()
                    on_first()

            with anyio.CancelScope() as scope:
                tasks.start_soon(listen)
                try:
                    result = await work()
                except Exception as error:
                    failed = error
            tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed
    if result is None:
        raise Interrupted
    return result
