"""The adapter in the engine's process: an exchange that is reached over a socket, or not.

Each call is a connection of its own, with a time-out of its own. Whatever is no whole answer (no
connection, a broken one, silence, half a line) proves nothing: `OutcomeUnknown`. It tells a striker
where in a call it is, so that a kill can hit between the bytes and the reply.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

from brokers.broker import Broker
from brokers.errors import OrderRefused, OutcomeUnknown
from brokers.paper import PaperSettings
from brokers.venue import (
    Account,
    BrokerCapabilities,
    OrderRequest,
    OrderState,
    OrderStatus,
    Position,
    Trade,
)
from saga.participant import KeyTaken
from tests.crash.wire import ANSWERED, MAX_LINE_BYTES, Answered, Asked, asked_line

Reached = Callable[[str], None]
"""Hears at which place of a call the adapter is."""

ANSWER_SECONDS: Final = 0.25
"""So long the adapter waits for an answer."""


def _nowhere(place: str) -> None:
    del place


class FarExchange(Broker):
    """The paper exchange of another process.

    Args:
        place: its socket.
        settings: what it is known to do.
        reached: hears where in a call it is.
    """

    def __init__(
        self, place: Path, settings: PaperSettings, *, reached: Reached = _nowhere
    ) -> None:
        self._place = place
        self._settings = settings
        self._reached = reached

    @property
    def name(self) -> str:
        """`far`, and the account."""
        return f"far:{self._settings.account}"

    @property
    def venue(self) -> BrokerCapabilities:
        """What the settings promise."""
        return self._settings.capabilities()

    @property
    def account_fingerprint(self) -> str:
        """The account of the settings."""
        return self._settings.account

    async def place_order(self, request: OrderRequest) -> OrderState:
        """Place an order."""
        purpose = _purpose_of(request.client_order_id)
        answered = await self._ask(Asked("place", request=request), f"{{}}/{purpose}")
        if answered.refused is not None:
            raise OrderRefused(answered.refused)
        if answered.order is None:
            raise OutcomeUnknown("the exchange did not say what became of the order")
        self._tell_of_part(answered.order, purpose)
        return answered.order

    async def cancel_order(self, client_order_id: str) -> None:
        """Cancel what is open of an order."""
        await self._ask(Asked("cancel", client_order_id), "cancel {}")

    async def find_order(self, client_order_id: str) -> OrderState | None:
        """Return one order; None if it is not there."""
        purpose = _purpose_of(client_order_id)
        answered = await self._ask(Asked("find", client_order_id), f"find {{}}/{purpose}")
        if answered.order is not None:
            self._tell_of_part(answered.order, purpose)
            self._reached(f"found/{purpose}")
        return answered.order

    async def open_orders(self) -> tuple[OrderState, ...]:
        """Return the open orders."""
        return (await self._ask(Asked("open_orders"))).orders

    async def positions(self) -> tuple[Position, ...]:
        """Return what is held."""
        return (await self._ask(Asked("positions"))).positions

    async def account(self) -> Account:
        """Return the account."""
        account = (await self._ask(Asked("account"))).account
        if account is None:
            raise OutcomeUnknown("the exchange did not tell of the account")
        return account

    async def trades(self, after: int = 0) -> tuple[Trade, ...]:
        """Return the executions behind a number."""
        return (await self._ask(Asked("trades", after=after))).trades

    def _tell_of_part(self, order: OrderState, purpose: str) -> None:
        if order.status is OrderStatus.PARTIALLY_FILLED:
            self._reached(f"partial/{purpose}")

    async def _ask(self, asked: Asked, place: str = "list {}") -> Answered:
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                line = await self._exchange_lines(asked, place)
            answered = ANSWERED.validate_json(line)
        except (OSError, ValueError) as error:
            raise OutcomeUnknown(f"no usable answer to {asked.call}: {error!r}") from error
        self._reached(place.format("answered"))
        if answered.key_taken is not None:
            raise KeyTaken(answered.key_taken)
        return answered

    async def _exchange_lines(self, asked: Asked, place: str) -> bytes:
        begun = time.monotonic()
        reader, writer = await asyncio.open_unix_connection(self._place, limit=MAX_LINE_BYTES)
        try:
            self._reached(place.format("sending"))
            # A time-out is heard of by the event loop alone. A process that was frozen here would
            # write first and hear afterwards, so the time is looked at once more, and nothing is
            # awaited between this look and the write.
            if time.monotonic() - begun > ANSWER_SECONDS:
                raise OutcomeUnknown(f"it is too late to send {asked.call}")
            writer.write(asked_line(asked))
            self._reached(place.format("sent"))
            return await reader.readline()
        finally:
            writer.close()


def _purpose_of(key: str) -> str:
    """Return F or C, as the end of the key says."""
    return "C" if "C" in key.rpartition("-")[2] else "F"


def read_settings(folder: Path) -> PaperSettings:
    """Return the settings that lie beside the exchange's books."""
    return PaperSettings.model_validate_json((folder / "settings.json").read_bytes())
