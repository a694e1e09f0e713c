"""The `saga` command. Whatever happens in it ends in an exit status and at most one sentence.

This module is made to be light: nothing is loaded before it is certain that an interruption, at any
moment, is heard as one.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Final, NoReturn

_INTERRUPTED: Final = 130
"""`desk.exit_codes.ExitCode.INTERRUPTED`, which is not loaded yet."""


def run() -> int:
    """Run the command with the process's arguments, and return its exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from desk.command.app import run_app

        code = int(run_app())
    except KeyboardInterrupt:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        # An interruption inside of `exec`, which some imports use, stays noted in the interpreter
        # and would change the exit status at its end.
        os._exit(_INTERRUPTED)
    # The exit status is known: nothing that comes now may change it.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    return code


def _interrupt(*_: object) -> NoReturn:
    """Do what SIGINT does, for as long as no event loop hears the signals."""
    raise KeyboardInterrupt
