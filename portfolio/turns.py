"""Whose turn it is to plan for a portfolio: who reads its books and then submits does so alone.

A plan made from books that another plan is about to change invests the same cash twice. One
engine at a time owns a store, so that a lock beside the engine is enough, however many `Portfolio`
objects there are of one name. Nothing durable hangs on it: what a batch may need is checked again
in the transaction that takes it in.
"""

from typing import Final
from weakref import WeakKeyDictionary

import anyio

from saga.orchestrator import Orchestrator

_TURNS: Final[WeakKeyDictionary[Orchestrator, dict[str, anyio.Lock]]] = WeakKeyDictionary()


def turn_of(engine: Orchestrator, name: str) -> anyio.Lock:
    """Return the lock that is held from reading a portfolio's books to submitting what was planned.

    Args:
        engine: runs its batches.
        name: the portfolio's.
    """
    return _TURNS.setdefault(engine, {}).setdefault(name, anyio.Lock())
