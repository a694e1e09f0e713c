"""The exchange as a process of its own: the paper exchange, and its durable books, behind a socket.

It outlives the engine's kills, and is itself killed now and then: its books are a file. A call that
it is scripted not to answer is really not answered: the caller waits for its own time-out, or finds
the connection closed. It notes which process placed each order, which is how a zombie is seen.
"""

import asyncio
import json
import os
import socket
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from brokers.errors import OrderRefused, OutcomeUnknown
from brokers.paper import PaperExchange
from brokers.paper.running import Inline
from saga.errors import SagaError
from saga.participant import KeyTaken
from tests.crash.wire import ASKED, MAX_LINE_BYTES, Answered, Asked, answered_line

BOOKS: Final = "books.db"
SOCKET: Final = "exchange.sock"
ARRIVALS: Final = "arrivals.jsonl"
_PEER: Final = "3i"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order that came in, and from which process."""

    pid: int
    key: str


def arrivals(folder: Path) -> list[Arrival]:
    """Return every call to place an order that ever came in."""
    log = folder / ARRIVALS
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [Arrival(**json.loads(line)) for line in lines if line.endswith("}")]


def keep_exchange(folder: Path, say: Connection) -> None:
    """Serve until killed; runs in a process of its own."""
    asyncio.run(_serve(folder, say))


async def _serve(folder: Path, say: Connection) -> None:
    # A kill of the process loses nothing of what was written, synced or not, and only power would.
    exchange = PaperExchange(folder / BOOKS, runner=Inline(), durable=False)
    log = os.open(folder / ARRIVALS, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    place = folder / SOCKET
    place.unlink(missing_ok=True)

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):
                await _answer(exchange, ASKED.validate_json(line), reader, writer, log)
        except (OSError, ValueError):
            pass  # The caller is gone, or talks nonsense; nobody is owed an answer.
        finally:
            writer.close()

    server = await asyncio.start_unix_server(on_connection, path=str(place), limit=MAX_LINE_BYTES)
    say.send("ready")
    async with server:
        await server.serve_forever()


async def _answer(
    exchange: PaperExchange,
    asked: Asked,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    log: int,
) -> None:
    if asked.request is not None:
        arrival = {"pid": _peer(writer), "key": asked.request.client_order_id}
        os.write(log, json.dumps(arrival).encode() + b"\n")
    try:
        answered = await _ask(exchange, asked)
    except OutcomeUnknown as error:
        if "in time" in str(error):
            await reader.read()  # silence, until the caller gives up
        return
    writer.write(answered_line(answered))
    await writer.drain()


async def _ask(exchange: PaperExchange, asked: Asked) -> Answered:
    try:
        if asked.request is not None:
            return Answered(order=await exchange.place_order(asked.request))
        match asked.call:
            case "cancel":
                await exchange.cancel_order(asked.key)
                return Answered()
            case "find":
                return Answered(order=await exchange.find_order(asked.key))
            case "open_orders":
                return Answered(orders=await exchange.open_orders())
            case "positions":
                return Answered(positions=await exchange.positions())
            case "account":
                return Answered(account=await exchange.account())
            case "trades":
                return Answered(trades=await exchange.trades(asked.after))
            case _:
                raise SagaError(f"call {asked.call!r} is not one of the venue's")
    except OrderRefused as refusal:
        return Answered(refused=str(refusal))
    except KeyTaken as error:
        return Answered(key_taken=str(error))


def _peer(writer: asyncio.StreamWriter) -> int:
    peer: socket.socket = writer.get_extra_info("socket")
    told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_PEER))
    return int(struct.unpack(_PEER, told)[0])
