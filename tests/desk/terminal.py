"""The command as its users run it: a real process, with real streams and real signals."""

import fcntl
import json
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pytest

from desk.command.app import run_app

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
SAGA = (sys.executable, "-m", "desk")
LOOK_SECONDS = 0.02
LONGEST_SECONDS = 60.0
"""Nothing here takes so long; a test that would is broken."""


@dataclass(frozen=True)
class Done:
    """What a finished command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without settings of the person who runs the tests."""
    not_ours = ("SAGA_", "NO_COLOR", "COLUMNS", "LINES")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(not_ours)}
    kept |= {"PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1", "USER": "tester", **(more or {})}
    return kept


@dataclass(frozen=True)
class Desk:
    """One desk's folder, and how to run the command on it."""

    home: Path

    def run(
        self,
        *arguments: str | Path,
        text: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Run the command to its end."""
        done = subprocess.run(
            [*SAGA, *map(str, arguments)],
            input=text.encode() if isinstance(text, str) else text,
            capture_output=True,
            env=environment({"SAGA_HOME": str(self.home), **(env or {})}),
            cwd=cwd,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> "Running":
        """Start the command, and do not wait for it."""
        process = subprocess.Popen(
            [*SAGA, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment({"SAGA_HOME": str(self.home), **(env or {})}),
        )
        return Running(process, self)

    def batches(self) -> list[dict[str, Any]]:
        """Return the trading batches as they are stored, the latest first."""
        if not (self.home / "saga.db").exists():
            return []
        columns = ("batch_id", "state", "status", "processed_trades")
        store = sqlite3.connect(f"file:{quote(str(self.home / 'saga.db'))}?mode=ro", uri=True)
        try:
            rows = store.execute(
                "SELECT batch_uid, state, status, processed_trades FROM batches "
                "WHERE exclusion_key = 'portfolio:main' ORDER BY id DESC"
            ).fetchall()
        except sqlite3.OperationalError:  # it is being made
            return []
        finally:
            store.close()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def on_terminal(
        self,
        *arguments: str | Path,
        width: int,
        typed: str = "",
        interrupted_at: tuple[str, signal.Signals] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run the command on a pseudo-terminal; return its status and what the screen got.

        Args:
            arguments: of the command.
            width: of the terminal, in characters.
            typed: what the user types.
            interrupted_at: words, and the signal that it gets once it has said them.
            env: more of the environment.
        """
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        process = subprocess.Popen(
            [*SAGA, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment({"SAGA_HOME": str(self.home), "TERM": "xterm-256color", **(env or {})}),
            start_new_session=True,
        )
        os.close(slave)
        if typed:
            os.write(master, typed.encode())
        seen = b""
        while True:
            try:
                part = os.read(master, 65_536)
            except OSError:  # the last one has left
                break
            if not part:
                break
            seen += part
            if interrupted_at is not None and interrupted_at[0].encode() in seen:
                process.send_signal(interrupted_at[1])
                interrupted_at = None
        os.close(master)
        return process.wait(LONGEST_SECONDS), seen.decode()


def _hears_signals(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether the process has a handler of its own for SIGTERM."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@dataclass(frozen=True)
class Running:
    """A command that runs."""

    process: "subprocess.Popen[bytes]"
    desk: Desk

    def until(self, is_so: Callable[[list[dict[str, Any]]], bool]) -> dict[str, Any]:
        """Wait until something can be said of the listed batches; return the latest one."""
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            batches = self.desk.batches()
            if batches and is_so(batches):
                return batches[0]
            assert self.process.poll() is None, self.finish()
            time.sleep(LOOK_SECONDS)
        raise AssertionError(f"it never came to that: {self.desk.batches()}")

    def until_it_hears(self) -> None:
        """Wait until the interpreter is up and the command has begun."""
        while not _hears_signals(self.process):
            assert self.process.poll() is None
            time.sleep(0.002)

    def until_said(self, words: str) -> str:
        """Wait until the words stand on stderr, and return what stood there."""
        stream: IO[bytes] | None = self.process.stderr
        assert stream is not None
        said = b""
        while words.encode() not in said:
            line = stream.readline()
            assert line, f"it ended without saying {words!r}: {said.decode()}"
            said += line
        return said.decode()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def finish(self) -> Done:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=LONGEST_SECONDS)
        return Done(self.process.returncode, out.decode(), err.decode())


def call(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> Done:
    """Run the command in this process: quick, for what needs neither signals nor a pipe."""
    for name in [name for name in os.environ if name.startswith("SAGA_")]:
        if name not in SET_BY_TESTS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("SAGA_HOME", str(home))
    monkeypatch.setattr(sys, "argv", ["saga", *words])
    code = int(run_app())
    captured = capsys.readouterr()
    return Done(code, captured.out, captured.err)


SET_BY_TESTS = ("SAGA_PAPER__CASH", "SAGA_PAPR__CASH")
"""Settings in the environment that a test has made itself."""


def orders_csv(path: Path, *orders: tuple[str, str, int]) -> Path:
    """Write a CSV file of symbol, side and quantity."""
    lines = ["symbol,side,quantity", *(f"{s},{side},{q}" for s, side, q in orders)]
    path.write_text("\n".join(lines) + "\n")
    return path
