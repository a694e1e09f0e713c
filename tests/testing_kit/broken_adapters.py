"""Adapters that each do one thing wrong that adapters do: what the kit has to find.

All are the adapter of examples/own_broker.py, with one difference.
"""

import asyncio
import itertools
import socket
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio

from brokers import Order, Sell
from examples.own_broker import PRICE, Corner, CornerBroker, CornerHarness, Ticket
from saga import Attempt, Capabilities, Directive, Fill, KeyTaken, Report
from saga.clock import Clock
from saga.testing import Harness, KeyScope, ParticipantContract, VenueOrder


class RetriesUnderANewId(CornerBroker):
    """The naive one: nothing came back in time, so the order is sent again."""

    async def send(self, attempt: Attempt) -> Report:
        try:
            return await super().send(attempt)
        except TimeoutError:
            again = await self._venue.place(f"retry-{attempt.key}", self._order(attempt))
            assert isinstance(again, Ticket)
            return self._report(again)


class TakesATimeoutForARefusal(CornerBroker):
    async def send(self, attempt: Attempt) -> Report:
        try:
            return await super().send(attempt)
        except TimeoutError:
            return Report(final=True, reason="timed out")


class RetriesUnderTheSameKey(CornerBroker):
    """As the retry policy of an HTTP library does it; the venue takes the key again."""

    async def send(self, attempt: Attempt) -> Report:
        try:
            return await super().send(attempt)
        except TimeoutError:
            return await super().send(attempt)


class RemembersInMemory(CornerBroker):
    def __init__(self, venue: Corner) -> None:
        super().__init__(venue)
        self._sent: dict[str, Report] = {}

    async def send(self, attempt: Attempt) -> Report:
        self._sent[attempt.key] = await super().send(attempt)
        return self._sent[attempt.key]

    async def look_up(self, attempt: Attempt) -> Report | None:
        return self._sent.get(attempt.key)


class FindsOpenOrdersOnly(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        report = await super().look_up(attempt)
        return None if report is None or report.final else report


class InventsFillIds(CornerBroker):
    _numbers = itertools.count(1)

    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        fills = tuple(
            Fill(f"fill-{next(self._numbers)}", fill.quantity, fill.price) for fill in told.fills
        )
        return Report(told.final, fills, told.reason)


class CountsFillsFromOne(CornerBroker):
    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        fills = tuple(
            Fill(str(number), fill.quantity, fill.price)
            for number, fill in enumerate(told.fills, start=1)
        )
        return Report(told.final, fills, told.reason)


class TakesSilenceForNo(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        try:
            return await super().look_up(attempt)
        except TimeoutError:
            return None


class ReadsTheFirstPage(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        told = await super().look_up(attempt)
        newest = [ticket.key for ticket in self._venue.tickets[-20:]]
        return told if attempt.key in newest else None


class ForgetsParts(CornerBroker):
    """An order has filled whole or not at all, it believes."""

    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        is_whole = ticket.filled == ticket.order.quantity
        return Report(told.final, told.fills if is_whole else (), told.reason)


class TellsASum(CornerBroker):
    """One fill for each order, whose quantity grows; an open one is told short."""

    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        if not told.fills:
            return told
        so_far = ticket.filled - 1 if ticket.is_open else ticket.filled
        return Report(told.final, (Fill(f"X{ticket.number}", so_far, PRICE),), told.reason)


class PricesInCents(CornerBroker):
    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        return replace(told, fills=tuple(replace(f, price=f.price * 100) for f in told.fills))


class TakesFeesForRebates(CornerBroker):
    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        return replace(told, fills=tuple(replace(f, fee=-f.fee) for f in told.fills))


class SendsAnotherLimit(CornerBroker):
    async def send(self, attempt: Attempt) -> Report:
        order = self._order(attempt)
        if order.limit_price is not None:
            order = order.model_copy(update={"limit_price": order.limit_price / 10})
        ticket = await self._venue.place(attempt.key, order)
        return Report(True, reason=ticket) if isinstance(ticket, str) else self._report(ticket)


class WholeNumbers(CornerBroker):
    def _order(self, attempt: Attempt) -> Order:
        order = super()._order(attempt)
        return order.model_copy(update={"quantity": Decimal(int(order.quantity))})


class Floats(CornerBroker):
    def _order(self, attempt: Attempt) -> Order:
        order = super()._order(attempt)
        return order.model_copy(update={"quantity": Decimal(str(float(order.quantity)))})


class CallsAnOpenOrderFinal(CornerBroker):
    def _report(self, ticket: Ticket) -> Report:
        told = super()._report(ticket)
        return Report(True, told.fills, told.reason)


class NeverFinal(CornerBroker):
    def _report(self, ticket: Ticket) -> Report:
        return Report(False, super()._report(ticket).fills)


class AdoptsAnything(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        ticket = await self._venue.find(attempt.key)
        return None if ticket is None else self._report(ticket)


class CutsKeys(CornerBroker):
    async def send(self, attempt: Attempt) -> Report:
        ticket = await self._venue.place(attempt.key[:26], self._order(attempt))
        return Report(True, reason=ticket) if isinstance(ticket, str) else self._report(ticket)


class PretendsTombstones(CornerBroker):
    capabilities = CornerBroker.capabilities.model_copy(update={"tombstone": True})


class SeesLaterThanItSays(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        first_asked = asyncio.get_running_loop().time()
        placed = _PLACED.setdefault(attempt.key, first_asked)
        return None if first_asked < placed + 2 else await super().look_up(attempt)

    async def send(self, attempt: Attempt) -> Report:
        _PLACED[attempt.key] = asyncio.get_running_loop().time()
        return await super().send(attempt)


_PLACED: dict[str, float] = {}


class CannotBeCancelled(CornerBroker):
    async def send(self, attempt: Attempt) -> Report:
        end = asyncio.get_running_loop().time() + 20
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        return await super().send(attempt)


class PretendsToCancel(CornerBroker):
    async def withdraw(self, attempt: Attempt) -> None:
        _WITHDRAWN.add(attempt.key)

    async def look_up(self, attempt: Attempt) -> Report | None:
        told = await super().look_up(attempt)
        if told is None or attempt.key not in _WITHDRAWN:
            return told
        return Report(True, told.fills, "cancelled")


_WITHDRAWN: set[str] = set()


class RefusesToWithdrawTwice(CornerBroker):
    async def withdraw(self, attempt: Attempt) -> None:
        ticket = await self._venue.find(attempt.key)
        if ticket is None or not ticket.is_open:
            raise LookupError("unknown order")
        await super().withdraw(attempt)


class AsksAtTheDoor(CornerBroker):
    def check(self, directive: Directive) -> None:
        super().check(directive)
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", 9))


class LetsAnythingIn(CornerBroker):
    def check(self, directive: Directive) -> None:
        pass


class KnowsNoSales(CornerBroker):
    kinds = frozenset({"buy"})


class MakesUpAnswers(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        return await super().look_up(attempt) or Report(final=True, reason="unknown order")


class PlacesWithdrawnOrders(CornerBroker):
    async def withdraw(self, attempt: Attempt) -> None:
        await self._venue.place(attempt.key, self._order(attempt))


class RefusesWithoutAWord(CornerBroker):
    async def send(self, attempt: Attempt) -> Report:
        told = await super().send(attempt)
        return Report(told.final, told.fills)


class MixesAnswersUp(CornerBroker):
    """One connection, one slot for the request that is under way."""

    _under_way: str

    async def send(self, attempt: Attempt) -> Report:
        self._under_way = attempt.key
        await anyio.sleep(0.001)
        ticket = await self._venue.place(self._under_way, self._order(attempt))
        return Report(True, reason=ticket) if isinstance(ticket, str) else self._report(ticket)


class Nameless(CornerBroker):
    name = " "


class SellsOneLess(CornerBroker):
    def _order(self, attempt: Attempt) -> Order:
        order = super()._order(attempt)
        return order.for_amount(order.quantity - 1) if isinstance(order, Sell) else order


class ReopensWhatItWithdraws(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        told = await super().look_up(attempt)
        if told is None or attempt.key not in _PENDING_CANCEL:
            return told
        return Report(False, told.fills, "pending cancel")

    async def withdraw(self, attempt: Attempt) -> None:
        _PENDING_CANCEL.add(attempt.key)
        await super().withdraw(attempt)


_PENDING_CANCEL: set[str] = set()


class SuspectsEverything(CornerBroker):
    async def look_up(self, attempt: Attempt) -> Report | None:
        raise KeyTaken(f"{attempt.key} may be somebody else's")


class CannotBeAsked(CornerBroker):
    """Not broken: an honest adapter of a venue that cannot be asked about an order."""

    capabilities = Capabilities(look_up=False, call_timeout_seconds=1.0)

    async def look_up(self, attempt: Attempt) -> Report | None:
        raise NotImplementedError


class ForgetfulCorner(Corner):
    """A venue that takes a client order id as often as it comes."""

    async def place(self, key: str, order: object) -> Ticket | str:
        kept, self.tickets = self.tickets, []
        try:
            placed = await super().place(key, order)  # type: ignore[arg-type]
        finally:
            self.tickets = [*kept, *self.tickets]
        return placed


class CornerWith(CornerHarness):
    """The example's harness, for another adapter."""

    def __init__(
        self,
        adapter: type[CornerBroker],
        venue: Corner | None = None,
        *,
        filled_twice: bool = False,
    ) -> None:
        super().__init__()
        self._adapter = adapter
        self.venue = venue or Corner()
        self._filled_twice = filled_twice
        if venue is not None:
            self.key_scope = KeyScope.NONE

    async def connect(self) -> CornerBroker:
        return self._adapter(self.venue)

    async def books(self) -> Sequence[VenueOrder]:
        booked = await super().books()
        if not self._filled_twice:
            return booked
        return [
            VenueOrder(
                o.order_id, o.key, o.subject, o.direction, o.quantity * 2, o.filled * 2, False
            )
            for o in booked
        ]


def contract_of(
    adapter: type[CornerBroker], *, forgetful: bool = False, filled_twice: bool = False
) -> ParticipantContract:
    """The pytest class of an adapter, as its author would have written it."""

    class TestBroken(ParticipantContract):
        virtual_time = True

        def harness(self, folder: Path, clock: Clock) -> Harness:
            del folder, clock
            venue = ForgetfulCorner() if forgetful else None
            return CornerWith(adapter, venue, filled_twice=filled_twice)

    return TestBroken()
