"""Which orders may go out of this desk: read beside the owner, and eased with or without one.

A halt needs nobody: a file beside the store (`saga.store.halt_file`) is enough, and whoever owns
the store obeys it at once.
To let orders out again is a record in the store, so it is the owner's to write, or ours where there
is no owner.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

import anyio

from desk.control import NoOwner, ask_for_trading
from desk.home import Home
from desk.session import Session
from desk.wishes import SetTrading
from saga.clock import SystemClock
from saga.errors import NotAllowed, StoreHeld
from saga.logbook import TradingState, TradingStateSet
from saga.store import logbook
from saga.store.halt_file import HaltFile
from saga.store.sqlite import SqliteStore
from saga.store.sqlite_reader import SqliteReader
from saga.trading import Trading
from saga.version import VERSION

PATIENCE_SECONDS = 5.0
"""How long an owner may be neither listening nor gone, while it comes or leaves."""
KNOCK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """Which orders may go out, who said so, and since when.

    Attributes:
        said: the state, by whom, and why.
        since: when it was noted; None where it stands in the halt file alone, or was never set.
    """

    said: TradingStateSet
    since: datetime | None

    @property
    def is_active(self) -> bool:
        """Nothing is held back but by the limits."""
        return self.said.state is TradingState.ACTIVE

    @property
    def sentence(self) -> str:
        """What a person is told of it."""
        said = self.said
        if self.is_active:
            return "trading is ACTIVE: orders go out"
        when = f" since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        what = "no new order goes out, only what undoes"
        if said.state is TradingState.REDUCING:
            what = "only orders go out that lower an exposure, and what undoes"
        return (
            f"trading is {said.state}{when}, by {said.by}: {said.reason}; {what}; "
            '`saga activate --reason "..."` lets orders out again'
        )

    def as_json(self) -> dict[str, str | datetime | None]:
        """Return what a program is told of it."""
        return {
            "trading_state": self.said.state.value,
            "by": self.said.by,
            "reason": self.said.reason,
            "since": self.since,
        }


def read_standing(connection: sqlite3.Connection, home: Home) -> Standing:
    """Return which orders may go out, from the logbook and the halt file."""
    last = logbook.read_last(connection, TradingStateSet.kind, 1)
    file = HaltFile(home.store)
    for record in last:
        assert isinstance(record.entry, TradingStateSet)
        if record.entry.state is TradingState.HALTED or not file.is_there():
            return Standing(record.entry, record.at)
    if file.is_there():
        order = file.read()
        return Standing(TradingStateSet(TradingState.HALTED, order.by, order.reason), None)
    return Standing(TradingStateSet(TradingState.ACTIVE, "", ""), None)


async def standing_of(home: Home) -> Standing:
    """Return which orders may go out of a desk.

    Raises:
        StoreUnusable: there is no store that can be read.
    """
    async with SqliteReader(home.store) as reader:
        return await reader.read(read_standing, home)


async def say_trading(session: Session) -> None:
    """Say that trading is halted or reduced; nothing while all orders go out."""
    home = session.configured.home
    if home.store.exists():
        standing = await standing_of(home)
        if not standing.is_active:
            words = f"{standing.sentence[0].upper()}{standing.sentence[1:]}."
            session.screen.say(words, style="bold red")


async def refuse_while_halted(home: Home) -> None:
    """Refuse to begin what could not go on.

    Raises:
        NotAllowed: trading is halted.
    """
    if home.store.exists():
        standing = await standing_of(home)
        if standing.said.state is TradingState.HALTED:
            raise NotAllowed(standing.sentence)


async def ease(home: Home, wish: SetTrading) -> int | None:
    """Let orders out again, all or only those that lower an exposure.

    Returns:
        The process id of the owner that noted it; None if this process did.

    Raises:
        NotAllowed: the state is that already, or somebody halts meanwhile.
        StoreHeld: another process owns the store and cannot be asked.
    """
    end = anyio.current_time() + PATIENCE_SECONDS
    while True:
        try:
            return await ask_for_trading(home, wish)
        except NoOwner:
            pass
        try:
            await _ease_alone(home, wish)
        except StoreHeld:
            if anyio.current_time() > end:
                raise
            await anyio.sleep(KNOCK_SECONDS)
        else:
            return None


async def _ease_alone(home: Home, wish: SetTrading) -> None:
    async with SqliteStore(home.store) as store:
        await store.acquire()
        try:
            trading = Trading(
                store,
                SystemClock(),
                gate=None,
                program=f"trade-saga {VERSION}",
                max_crashes=None,
                on_change=lambda: None,
            )
            await trading.learn()
            await trading.adopt()  # who halted by the file alone, and why, is noted before it goes
            await trading.ease(wish.state, by=wish.by, reason=wish.reason)
        finally:
            await store.release()
