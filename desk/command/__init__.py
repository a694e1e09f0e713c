"""The `saga` command. Whatever happens in it ends in an exit status and at most one sentence.

This module is made to be light: nothing is loaded before it is certain that an interruption, at any
moment, is heard as one.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Final, NoReturn

_INTERRUPTED: Final = 130
"""`desk.exit_codes.ExitCode.INTERRUPTED`, which is not loaded yet."""
_LAST_WAIT_SECONDS: Final = 0.5
"""A thread that has nothing left to do ends within this."""


def run() -> int:
    """Run the command with the process's arguments, and return its exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from desk.command.app import run_app

        code = int(run_app())
    except KeyboardInterrupt:
        code = _INTERRUPTED
    # The exit status is known: nothing that comes now may change it.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    # An interruption inside of `exec`, which some imports use, stays noted in the interpreter and
    # would change the exit status at its end.
    if code == _INTERRUPTED:
        _leave(code)
    if _a_thread_stays():  # one that asks a question, whose answer nobody wants any more
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _a_thread_stays() -> bool:
    """Tell whether the interpreter would go on waiting for a thread at its end."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    waited_for = [each for each in others if not each.daemon]
    for each in waited_for:
        each.join(_LAST_WAIT_SECONDS)
    return any(each.is_alive() for each in waited_for)


def _interrupt(*_: object) -> NoReturn:
    """Do what SIGINT does, for as long as no event loop hears the signals."""
    raise KeyboardInterrupt
