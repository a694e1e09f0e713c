"""Who owns the store, and the fence that keeps everybody else from writing.

Every owner gets an epoch, one higher than the last. Each write looks, inside its own transaction,
whether its epoch still stands; a process that was taken for dead and comes back writes nothing.

Plain functions over a plain connection. Those that say so are to be called inside a transaction.
"""

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from saga.errors import OwnershipLost, StoreHeld
from saga.store.process import Process, Processes
from saga.store.protocol import Owner
from saga.store.rows import instant, microseconds
from saga.store.transaction import writing

LEASE_SECONDS: Final = 60.0
"""An owner on another machine that has not been heard of for so long is taken for dead."""


def read_owner(connection: sqlite3.Connection) -> Owner | None:
    """Return who owns the store, or owned it last; None if nobody ever did."""
    found = _read(connection)
    return None if found is None else found[0]


def _read(connection: sqlite3.Connection) -> tuple[Owner, Process] | None:
    row = connection.execute(
        "SELECT epoch, pid, host, acquired_at, heartbeat_at, released, token FROM owner"
    ).fetchone()
    if row is None:
        return None
    epoch, pid, host, acquired_at, heartbeat_at, released, token = row
    owner = Owner(
        epoch, pid, host, instant(acquired_at), instant(heartbeat_at), released=bool(released)
    )
    return owner, Process(pid, host, token)


def refuse_while_held(connection: sqlite3.Connection, processes: Processes, now: datetime) -> None:
    """Make sure that no other owner lives.

    Raises:
        StoreHeld: one does; the sentence names its process and machine.
    """
    found = _read(connection)
    if found is None:
        return
    owner, process = found
    if not owner.released and _seems_alive(owner, process, processes, now):
        raise StoreHeld(
            f"the store is held by process {owner.pid} on {owner.host} since "
            f"{owner.acquired_at:%Y-%m-%d %H:%M:%S} UTC (last heard of at "
            f"{owner.heartbeat_at:%H:%M:%S} UTC); end that process first, or, if it is certain "
            "that it must not go on, take the store over, after which it can write nothing more"
        )


def _seems_alive(owner: Owner, process: Process, processes: Processes, now: datetime) -> bool:
    current = processes.current()
    if process == current:
        # One process opens a store only once, so the owner was an earlier opening, and is closed.
        return False
    if process.host == current.host:
        return processes.is_alive(process)
    return now - owner.heartbeat_at < timedelta(seconds=LEASE_SECONDS)


def acquire(
    connection: sqlite3.Connection,
    processes: Processes,
    now: datetime,
    *,
    take_over: bool,
    beyond: int = 0,
) -> Owner:
    """Become the owner, with a new epoch; a transaction of its own.

    Args:
        connection: the connection that writes.
        processes: tells who this is, and whether another owner lives.
        now: UTC.
        take_over: do so even when another owner seems to live.
        beyond: an epoch that was given out before, of which an older copy knows nothing.

    Raises:
        StoreHeld: another owner lives, and `take_over` is not set.
    """
    current = processes.current()
    with writing(connection):
        if not take_over:
            refuse_while_held(connection, processes, now)
        last = read_owner(connection)
        epoch = max(beyond, 0 if last is None else last.epoch) + 1
        connection.execute(
            "INSERT OR REPLACE INTO owner"
            " (id, epoch, pid, token, host, acquired_at, heartbeat_at, released)"
            " VALUES (1, ?, ?, ?, ?, ?, ?, 0)",
            (
                *(epoch, current.pid, current.token, current.host),
                *(microseconds(now), microseconds(now)),
            ),
        )
    return Owner(epoch, current.pid, current.host, now, now, released=False)


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


def heartbeat(connection: sqlite3.Connection, epoch: int | None, now: datetime) -> None:
    """Say that the owner lives; a transaction of its own.

    Raises:
        OwnershipLost: it is not the owner any more.
    """
    with writing(connection):
        check_epoch(connection, epoch)
        connection.execute("UPDATE owner SET heartbeat_at = ?", (microseconds(now),))


def release(connection: sqlite3.Connection, epoch: int) -> None:
    """Give the store up, unless somebody else has it by now; a transaction of its own."""
    with writing(connection):
        connection.execute("UPDATE owner SET released = 1 WHERE epoch = ?", (epoch,))
