"""Which process this is, and whether another one on this machine still lives.

A process id alone does not say who somebody is: ids are given out again, and a reboot begins anew.
So a process is known by a token as well, made of the machine's boot and the process's start.
Nor does an id mean the same everywhere on a machine: each PID namespace (a container's, say) has
ids of its own, and of a process in another one nothing can be told by its id.
"""

import os
import socket
from pathlib import Path
from typing import Final, Protocol

from saga.quick_dataclass import dataclass

_PROC: Final = Path("/proc")
_STATE, _START_TICKS = 0, 19  # Places in /proc/PID/stat behind the command's closing bracket.
_DEAD_STATES: Final = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a machine.

    Attributes:
        pid: its number there.
        host: the machine's name.
        token: tells it from any other process that ever had this number; None where the system
            does not say (it has no `/proc`).
        namespace: in which its number counts; None where the system does not say.
    """

    pid: int
    host: str
    token: str | None
    namespace: int | None = None

    def is_beside(self, other: "Process") -> bool:
        """Tell whether a process id means the same to both."""
        return (self.host, self.namespace) == (other.host, other.namespace)

    def shares_kernel(self, other: "Process") -> bool:
        """Tell whether both run, or ran, under one boot of one machine, whatever its names."""
        if self.token is None or other.token is None:
            return False
        return self.token.partition("/")[0] == other.token.partition("/")[0]


class Processes(Protocol):
    """What an owner needs to know about processes; a simulation brings its own."""

    def current(self) -> Process:
        """Return the process that asks."""
        ...

    def is_alive(self, process: Process) -> bool:
        """Tell whether a process beside this one still runs."""
        ...


class SystemProcesses:
    """The processes of this machine."""

    def current(self) -> Process:
        """Return the process that asks."""
        pid = os.getpid()
        return Process(pid, socket.gethostname(), _token(pid), _namespace())

    def is_alive(self, process: Process) -> bool:
        """Tell whether a process beside this one still runs; a dead one that waits does not."""
        token = _token(process.pid)
        if token is not None and process.token is not None:
            return token == process.token
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not _is_zombie(process.pid)


def _namespace() -> int | None:
    try:
        return (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return None


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _is_zombie(pid: int) -> bool:
    stat = _stat(pid)
    return stat is not None and stat[_STATE] in _DEAD_STATES


def _token(pid: int) -> str | None:
    """Return the boot and the start of a living process; None if it is dead or cannot be seen."""
    stat = _stat(pid)
    if stat is None or stat[_STATE] in _DEAD_STATES:
        return None
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return f"{boot}/{stat[_START_TICKS]}"
