"""Runs the command."""

import signal
import sys
from typing import NoReturn

from benchmarks.command import main


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, _interrupt)  # else the side that runs would outlive it
sys.exit(main(sys.argv[1:]))
