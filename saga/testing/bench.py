"""The bench on which single promises are tried: a harness, connections, attempts of its own."""

from collections.abc import Sequence
from typing import NoReturn

import anyio

from saga.calls import Unusable, believed, in_words
from saga.clock import Clock
from saga.directive import Directive
from saga.ids import Purpose, attempt_key, generate_batch_id
from saga.outcome import Report
from saga.participant import Attempt, Participant
from saga.policy import Capabilities
from saga.testing.chronicle import Breach, Chronicle, story
from saga.testing.fate import Fate
from saga.testing.harness import BrokenPromise, Harness, VenueOrder
from saga.testing.plots import checked
from saga.testing.wire import Disturbance, Wire

POLL_SECONDS = 0.05
"""How often the bench looks whether an order is over."""

_GARBAGE = (
    "The adapter passes on what the venue sent without looking at it. Amounts are Decimal and "
    "positive, instants have a time zone, an execution stands in a report once."
)
_NEVER_FINAL = (
    "`look_up` never says that an order is over, so that its saga waits for ever. Say `final` once "
    "the venue says filled, cancelled, expired or rejected."
)
_HEALTHY = (
    "Nothing was disturbed here: the adapter raises although its venue answers. Where a call needs "
    "an open connection, let `Harness.connect` return an adapter that has one."
)


class Bench:
    """One venue, and everything that is tried on it in one test.

    Attributes:
        promise: what is being tried, as a sentence.
    """

    def __init__(self, harness: Harness, clock: Clock, *, patience_seconds: float) -> None:
        self.harness = harness
        self.clock = clock
        self.promise = ""
        self._patience = patience_seconds
        self._chronicle = Chronicle(clock)
        self._batch_id = generate_batch_id(clock.now())
        self._known: frozenset[str] = frozenset()
        self._connections: list[Participant] = []
        self._steps = 0
        self.keys: set[str] = set()
        """The keys of every attempt that was made here."""

    async def set_up(self) -> None:
        """Remember what is in the books already."""
        self._known = frozenset(order.order_id for order in await self.harness.books())

    async def clear_away(self) -> None:
        """Drop every connection, and let the harness go."""
        for connection in self._connections:
            await self.harness.disconnect(connection)
        await self.harness.close()

    async def connect(self, disturbance: Disturbance | None = None) -> Wire:
        """Return a new connection that tells the chronicle of every call."""
        adapter = await self.harness.connect()
        self._connections.append(adapter)
        fate = Fate(None, self._chronicle.tell)
        return Wire(adapter, self.harness, fate, self._chronicle, disturbance=disturbance)

    async def capabilities(self) -> Capabilities:
        """Return what the adapter declares."""
        return (await self.connect()).capabilities

    def attempt(
        self,
        directive: Directive,
        *,
        step: int | None = None,
        number: int = 1,
        purpose: Purpose = Purpose.FORWARD,
    ) -> Attempt:
        """Return a new attempt, with a key that was not used before unless the step was."""
        if step is None:
            step, self._steps = self._steps, self._steps + 1
        key = attempt_key(self._batch_id, step, purpose, number)
        self.keys.add(key)
        return Attempt(key, self._batch_id, step, purpose, number, checked(directive))

    def will_fill(self, leg: int = 0) -> Attempt:
        """Return a new attempt that will fill."""
        return self.attempt(self.harness.will_fill(leg))

    async def books(self) -> tuple[VenueOrder, ...]:
        """Return what the venue accepted since the test began."""
        return tuple(o for o in await self.harness.books() if o.order_id not in self._known)

    async def orders(self, attempt: Attempt) -> tuple[VenueOrder, ...]:
        """Return the orders that the venue accepted with the attempt's key."""
        return tuple(order for order in await self.books() if order.key == attempt.key)

    async def send(self, wire: Wire, attempt: Attempt) -> Report:
        """Send where nothing is disturbed, and return what can be believed of the answer."""
        try:
            answer = believed(await wire.send(attempt))
        except Unusable as error:
            await self.broken(f"the answer to send cannot be believed: {error}", _GARBAGE)
        except Exception as error:
            await self.broken(f"send raised {in_words(error)}", _HEALTHY)
        if answer is None:
            await self.broken("send returned None instead of a report", _GARBAGE)
        return answer

    async def look_up(self, wire: Wire, attempt: Attempt) -> Report | None:
        """Look up where nothing is disturbed, and return what can be believed of the answer."""
        try:
            return believed(await wire.look_up(attempt))
        except Unusable as error:
            await self.broken(f"the answer to look_up cannot be believed: {error}", _GARBAGE)
        except Exception as error:
            await self.broken(f"look_up raised {in_words(error)}", _HEALTHY)

    async def withdraw(self, wire: Wire, attempt: Attempt) -> None:
        """Withdraw where nothing is disturbed."""
        try:
            await wire.withdraw(attempt)
        except Exception as error:
            await self.broken(
                f"withdraw raised {in_words(error)}",
                "`withdraw` must be harmless for an order that is over, was withdrawn before, or "
                "never arrived: the engine withdraws what it is not sure of. Pass over the "
                "venue's 'unknown order' and 'already done'.",
            )

    async def until_final(self, wire: Wire, attempt: Attempt) -> Report:
        """Look the attempt up until it is over, and return its last report."""
        report: Report | None = None
        with anyio.move_on_after(self._patience):
            while True:
                report = await self.look_up(wire, attempt)
                if report is not None and report.final:
                    return report
                await anyio.sleep(POLL_SECONDS)
        return await self.broken(
            f"{attempt.key} is not final after {self._patience} s of looking it up", _NEVER_FINAL
        )

    async def become_visible(self) -> None:
        """Wait for as long as the adapter declares that a look-up may miss what was sent."""
        await anyio.sleep((await self.capabilities()).visibility_seconds)

    def tell(self, what: str) -> None:
        """Add a line to the story."""
        self._chronicle.tell(what)

    async def broken(self, what: str, usually: str, orders: Sequence[VenueOrder] = ()) -> NoReturn:
        """Raise the story of a broken promise.

        Raises:
            BrokenPromise: always.
        """
        marked = frozenset(order.order_id for order in orders)
        names = [repr(each.name) for each in self._connections[:1]]
        raise BrokenPromise(
            story(
                names[0] if names else "the adapter",
                [Breach(self.promise, what, usually, marked)],
                setting="one call after the other, without an engine",
                chronicle=self._chronicle,
                books=await self.books(),
            )
        )
