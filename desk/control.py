"""The control channel: how another process hands its wish to the owner of the store.

The owner serves a Unix domain socket, open to its own user alone. A client sends one JSON request
a line and gets one JSON answer a line. Requests are bounded in size, clients in number, and both in
time. Whoever owns the store may remove a socket that was left behind: its maker is dead.

What is wished is `desk.wishes`' business; here it is only carried from one process to another.
"""

import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import ByteReceiveStream, SocketStream
from pydantic import TypeAdapter, ValidationError

import brokers.errors
import portfolio.errors
import saga.errors
from desk import wishes
from desk.home import Home
from desk.wishes import (
    REQUEST,
    Look,
    Request,
    SetTrading,
    Submit,
    Wish,
    grant,
    grant_trading,
)
from saga.errors import InvalidInput, NotAllowed, SagaError, StoreHeld
from saga.model import MAX_BATCH_BYTES
from saga.orchestrator import Orchestrator
from saga.views import BatchRow
from saga.wording import explain

MAX_PATH_BYTES: Final = 100
"""Longest path of a socket; the system's own bound is 103 to 107 bytes."""
MAX_REQUEST_BYTES: Final = MAX_BATCH_BYTES + 64 * 1024
MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_CLIENTS: Final = 16
"""Most clients that are served at the same time; further ones wait."""
REQUEST_SECONDS: Final = 30.0
"""How long a client may take to send its request."""
ANSWER_SECONDS: Final = 60.0
"""How long a client waits for the answer; a wish is granted in milliseconds."""

_LOG = logging.getLogger("desk.control")
_ROW: Final = TypeAdapter(BatchRow)
_CHUNK: Final = 65_536


def socket_path(home: Home) -> Path:
    """Return where the owner of a store is heard: beside it, or in /tmp if that is too long."""
    if len(os.fsencode(home.socket)) <= MAX_PATH_BYTES:
        return home.socket
    digest = hashlib.sha256(os.fsencode(home.folder.resolve())).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"trade-saga-{os.getuid()}" / f"{digest}.sock"


class NoOwner(SagaError):
    """Nobody listens: no process owns the store, or it has no control channel."""


# --- the owner's side ----------------------------------------------------------------------------


@asynccontextmanager
async def serving(
    home: Home, engine: Orchestrator, on_submit: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hear other processes' wishes for as long as the block runs.

    Args:
        home: the desk's folder, whose store this process owns.
        engine: grants the wishes.
        on_submit: called with the id of each batch that was handed in.
    """
    path = socket_path(home)
    _make_room(path)
    listener = await anyio.create_unix_listener(path, mode=0o600)
    made = path.stat().st_ino
    slots = anyio.CapacityLimiter(MAX_CLIENTS)

    async def serve_one(client: SocketStream) -> None:
        async with client, slots:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await _serve(client, engine, on_submit)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve_one)
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # What the block raised shall reach its caller as it is.
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
        with suppress(OSError):
            if path.stat().st_ino == made:
                path.unlink()


def _make_room(path: Path) -> None:
    """Remove what a dead owner left; refuse to remove anything that is no socket of ours."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise NotAllowed(
            f"folder {path.parent} belongs to another user; set TMPDIR to one of yours"
        )
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise NotAllowed(f"{path} is in the way of the control channel; move it away")
        path.unlink()
    except FileNotFoundError:
        pass


async def _serve(
    client: SocketStream, engine: Orchestrator, on_submit: Callable[[str], None]
) -> None:
    try:
        with anyio.fail_after(REQUEST_SECONDS):
            line = await _read_line(client, MAX_REQUEST_BYTES)
    except TimeoutError:
        return
    try:
        answer = {"ok": True, "pid": os.getpid(), "row": await _granted(line, engine, on_submit)}
    except SagaError as error:
        answer = {
            "ok": False,
            "pid": os.getpid(),
            "error": type(error).__name__,
            "sentence": str(error),
        }
    except Exception as error:
        # One client's wish must not end the engine that everybody else's batches run on.
        _LOG.exception("a wish could not be granted")
        answer = {"ok": False, "pid": os.getpid(), "error": "", "sentence": f"{error!r}"}
    await client.send(json.dumps(answer).encode() + b"\n")


async def _granted(line: bytes, engine: Orchestrator, on_submit: Callable[[str], None]) -> object:
    """Do what is wanted, and return the row of the batch that it is about, if it is about one."""
    wish = _parsed(line)
    if isinstance(wish, SetTrading):
        with anyio.CancelScope(shield=True):
            await grant_trading(engine, wish)
        return None
    if isinstance(wish, Look):
        batch_id = wish.batch_id
    else:
        # A client that goes away does not take its wish back: it may be durable already.
        with anyio.CancelScope(shield=True):
            batch_id = await grant(engine, wish)
        if isinstance(wish, Submit) or batch_id != wish.batch_id:
            on_submit(batch_id)
    return _ROW.dump_python(await engine.batch(batch_id), mode="json")


def _parsed(line: bytes) -> Request:
    try:
        return REQUEST.validate_json(line)
    except ValidationError as error:
        raise InvalidInput(f"request: {explain(error)}") from None


async def _read_line(stream: ByteReceiveStream, max_bytes: int) -> bytes:
    """Return one line, or all there is before the end."""
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = await stream.receive(_CHUNK)
        except anyio.EndOfStream:
            break
        line, newline, _ = part.partition(b"\n")
        parts.append(line)
        size += len(line)
        if size > max_bytes:
            raise anyio.BrokenResourceError
        if newline:
            break
    return b"".join(parts)


# --- the other side ------------------------------------------------------------------------------


async def ask(home: Home, request: Wish | Look) -> tuple[int, BatchRow]:
    """Hand a request to the owner, and return its process id and the batch's row as it is now.

    Raises:
        NoOwner: nobody listens.
        StoreHeld: somebody does, but does not answer; whether the wish was granted is not known.
        SagaError: the owner refused; nothing was changed.
    """
    answer = await _answer_of(home, request)
    return answer["pid"], _ROW.validate_python(answer["row"])


async def ask_for_trading(home: Home, wish: SetTrading) -> int:
    """Let the owner set which orders may go out, and return its process id; see `ask`."""
    pid: int = (await _answer_of(home, wish))["pid"]
    return pid


async def _answer_of(home: Home, request: Request) -> dict[str, Any]:
    try:
        client = await anyio.connect_unix(socket_path(home))
    except OSError as error:
        raise NoOwner(f"no process answers at {socket_path(home)}: {error.strerror}") from None
    async with client:
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                await client.send(request.model_dump_json().encode() + b"\n")
                line = await _read_line(client, MAX_ANSWER_BYTES)
        except (TimeoutError, anyio.BrokenResourceError):
            line = b""
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:  # half of it: the owner died while it wrote
        answer = {}
    if not answer:
        raise StoreHeld(_NO_WORD)
    if answer["ok"]:
        return answer
    raise _error(answer["error"], answer["sentence"])


_NO_WORD: Final = (
    "the owner of the store went away or did not answer; whether it heard the wish is not known: "
    "look at the batch (`saga show ID`), and say it again if it did not"
)


def _error(name: str, sentence: str) -> SagaError:
    """Return the owner's error as one of the same kind, so that it has the same exit status."""
    for module in (saga.errors, portfolio.errors, brokers.errors, wishes):
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, SagaError):
            return kind(sentence)
    return SagaError(sentence)
