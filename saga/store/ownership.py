"""Who owns the store, and the fence that keeps everybody else from writing.

Every owner gets an epoch, one higher than the last. Each write looks, inside its own transaction,
whether its epoch still stands; a process that was taken for dead and comes back writes nothing.

Plain functions over a plain connection. Those that say so are to be called inside a transaction.
"""

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from saga.errors import OwnershipLost, StoreHeld
from saga.store.file_lock import FileLock
from saga.store.process import Process, Processes
from saga.store.protocol import Owner
from saga.store.rows import instant, microseconds
from saga.store.transaction import writing

LEASE_SECONDS: Final = 60.0
"""An owner that cannot be seen from here and has not been heard of for so long is given up."""


@dataclass(frozen=True, slots=True)
class _Last:
    """Who owned the store last, as it says of itself.

    Attributes:
        locked: it held the kernel's lock on the file when it was last heard of.
    """

    owner: Owner
    process: Process
    locked: bool


def read_owner(connection: sqlite3.Connection) -> Owner | None:
    """Return who owns the store, or owned it last; None if nobody ever did."""
    last = _read(connection)
    return None if last is None else last.owner


def _read(connection: sqlite3.Connection) -> _Last | None:
    row = connection.execute("SELECT * FROM owner").fetchone()
    if row is None:
        return None
    _, epoch, pid, token, host, acquired_at, heartbeat_at, released, *since_10 = row
    namespace, locked = since_10 or (None, 0)  # it is asked of a table yet to be migrated, too
    owner = Owner(
        *(epoch, pid, host, instant(acquired_at), instant(heartbeat_at)),
        released=bool(released),
        namespace=namespace,
    )
    return _Last(owner, Process(pid, host, token, namespace), bool(locked))


def refuse_while_held(
    connection: sqlite3.Connection, processes: Processes, now: datetime, locked: bool | None
) -> bool:
    """Make sure that no other owner lives, and return whether the last one may live all the same.

    Args:
        connection: any connection to the store.
        processes: tells who this is, and whether another owner lives.
        now: UTC.
        locked: whether this process has the kernel's lock on the file; None where that is not told.

    Raises:
        StoreHeld: one does; the sentence names its process and machine.
    """
    last = _read(connection)
    if last is None or last.owner.released:
        life = _Life.DEAD
    else:
        life = _life(last, processes, now, locked)
    if last is not None and (life is _Life.HOLDS or (life is _Life.SILENT and locked is False)):
        owner = last.owner
        raise StoreHeld(
            f"the store is held by process {owner.pid} on {owner.host} since "
            f"{owner.acquired_at:%Y-%m-%d %H:%M:%S} UTC (last heard of at "
            f"{owner.heartbeat_at:%H:%M:%S} UTC); end that process first, or, if it is certain "
            "that it must not go on, take the store over, after which it can write nothing more"
        )
    if locked is False:
        raise StoreHeld(
            "the store's file is locked by a process that its tables do not name as the owner: "
            "one that comes or goes at this moment, that was fenced and has not ended, or that has "
            "the same file open under another name, as where the file alone is mounted into a "
            "container; try again in a moment, or find that process (`lslocks`) and end it"
        )
    return life is _Life.SILENT


class _Life(Enum):
    HOLDS = auto()
    SILENT = auto()
    """It cannot be seen from here, and was not heard of for a whole lease; it may be frozen."""
    DEAD = auto()


def _life(last: _Last, processes: Processes, now: datetime, locked: bool | None) -> _Life:
    current = processes.current()
    if last.process == current:
        # One process opens a store only once, so the owner was an earlier opening, and is closed.
        return _Life.DEAD
    if last.process.is_beside(current):
        return _Life.HOLDS if processes.is_alive(last.process) else _Life.DEAD
    if locked and last.locked and last.process.shares_kernel(current):
        return _Life.DEAD  # the kernel has let go the lock that it held, as it does at a death
    if now - last.owner.heartbeat_at < timedelta(seconds=LEASE_SECONDS):
        return _Life.HOLDS
    return _Life.SILENT


def acquire(
    connection: sqlite3.Connection,
    processes: Processes,
    now: datetime,
    *,
    take_over: bool,
    beyond: int = 0,
    lock: FileLock | None = None,
) -> Owner:
    """Become the owner, with a new epoch; a transaction of its own.

    Args:
        connection: the connection that writes.
        processes: tells who this is, and whether another owner lives.
        now: UTC.
        take_over: do so even when another owner seems to live.
        beyond: an epoch that was given out before, of which an older copy knows nothing.
        lock: of the kernel, on the file; None where the processes are not the kernel's.

    Raises:
        StoreHeld: another owner lives, and `take_over` is not set.
    """
    locked = None if lock is None else lock.take()
    try:
        with writing(connection):
            last_may_live = take_over or refuse_while_held(connection, processes, now, locked)
            owner = _begin(connection, processes.current(), now, beyond, locked is True)
    except BaseException:
        if lock is not None:
            lock.let_go()
        raise
    return replace(owner, last_may_live=last_may_live)


def _begin(
    connection: sqlite3.Connection, current: Process, now: datetime, beyond: int, locked: bool
) -> Owner:
    last = read_owner(connection)
    epoch = max(beyond, 0 if last is None else last.epoch) + 1
    connection.execute(
        "INSERT OR REPLACE INTO owner"
        " (id, epoch, pid, token, host, acquired_at, heartbeat_at, released, namespace, locked)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        (
            *(epoch, current.pid, current.token, current.host),
            *(microseconds(now), microseconds(now), current.namespace, int(locked)),
        ),
    )
    return Owner(
        epoch, current.pid, current.host, now, now, released=False, namespace=current.namespace
    )


def check_epoch(connection: sqlite3.Connection, epoch: int | None) -> None:
    """Make sure, inside a transaction or out of one, that an epoch still stands.

    Raises:
        OwnershipLost: it does not, or the store was never acquired.
    """
    if epoch is None:
        raise OwnershipLost("this process does not own the store; acquire it before writing")
    if connection.execute("SELECT epoch, released FROM owner").fetchone() != (epoch, 0):
        raise _lost(read_owner(connection), epoch)


def _lost(owner: Owner | None, epoch: int) -> OwnershipLost:
    by = "nobody" if owner is None else f"process {owner.pid} on {owner.host}"
    since = "" if owner is None else f" at {owner.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
    return OwnershipLost(
        f"the store was taken over by {by}{since}; this process (epoch {epoch}) can write and "
        "send nothing more: end it"
    )


def heartbeat(
    connection: sqlite3.Connection,
    epoch: int | None,
    now: datetime,
    lock: FileLock | None = None,
) -> None:
    """Say that the owner lives; a transaction of its own.

    An owner that took the store over from one that is frozen gets the lock once that one ends.

    Raises:
        OwnershipLost: it is not the owner any more.
    """
    with writing(connection):
        check_epoch(connection, epoch)
        locked = lock is not None and lock.take() is True
        connection.execute(
            "UPDATE owner SET heartbeat_at = ?, locked = ?", (microseconds(now), int(locked))
        )


def release(connection: sqlite3.Connection, epoch: int, lock: FileLock | None = None) -> None:
    """Give the store up, unless somebody else has it by now; a transaction of its own."""
    with writing(connection):
        connection.execute("UPDATE owner SET released = 1 WHERE epoch = ?", (epoch,))
    if lock is not None:
        lock.let_go()
