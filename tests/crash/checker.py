"""Compares what clients were told, what the store says, and what the exchange's books say.

Nothing of the engine's own judgement goes in: journals are read as rows and JSON, sums are made of
the exchange's executions, and what an end means is written out here from the rules. The chain of
hashes is `verify`'s, the arithmetic of the books is `conservation_errors`'.
"""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from brokers.orders import Side
from brokers.paper import BookedOrder, Books, conservation_errors, read_books
from brokers.paper.rows import standing
from saga.store.verification import verify
from tests.written_form import whole_record

_KEY: Final = re.compile(r"^(\d{8}_\d{6}_[0-9a-z]{5,8})-(\d+)([FC])(\d+)$", re.ASCII)
_REST: Final = frozenset({"COMPLETED", "ROLLED_BACK", "STALE"})
_PORTFOLIO: Final = "portfolio:"
_ZERO: Final = Decimal(0)


class Wrong(StrEnum):
    """What sort of thing is wrong."""

    LOST = "lost"
    """Something that was acknowledged, or traded, is not there."""
    DOUBLED = "doubled"
    """An order came twice, or a leg traded for more than it may."""
    UNEXPLAINED = "unexplained"
    """Anything else that does not fit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    sort: Wrong
    sentence: str


@dataclass(slots=True)
class Told:
    """What clients asked and were told, over all lives.

    Attributes:
        asked: the content of each batch, as JSON.
        acknowledged: ids of those that were accepted.
        refused: why the others were not.
        cancelled: ids of those whose cancellation was acknowledged.
    """

    asked: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)

    @property
    def unanswered(self) -> list[str]:
        """The content of the batches of which the clients know nothing."""
        known = self.acknowledged | self.refused.keys()
        return [content for batch_id, content in self.asked.items() if batch_id not in known]

    def hear(self, diary: Path) -> None:
        """Take in what the clients of one life wrote down."""
        for line in diary.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            batch_id = entry["batch"]
            match entry["what"]:
                case "asked":
                    self.asked.setdefault(batch_id, entry["content"])
                case "acknowledged":
                    self.acknowledged.add(batch_id)
                case "refused":
                    self.refused[batch_id] = entry["why"]
                case "cancel acknowledged":
                    self.cancelled.add(batch_id)


@dataclass(slots=True)
class Leg:
    """One leg of a batch: what was wanted, what was intended, and what the exchange has."""

    symbol: str
    sign: int
    target: Decimal
    limit: str | None
    intents: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    orders: dict[tuple[str, int], list[BookedOrder]] = field(default_factory=dict)

    def filled(self, purpose: str) -> Decimal:
        """What the exchange filled for a purpose."""
        return sum((o.filled for o in self._of(purpose)), _ZERO)

    def bound(self, purpose: str) -> Decimal:
        """What the exchange filled, and may still fill, for a purpose."""
        still = (o.remaining for o in self._of(purpose) if not o.status.is_final)
        return self.filled(purpose) + sum(still, _ZERO)

    @property
    def net(self) -> Decimal:
        """The signed rest: what was traded forward less what was traded back."""
        return self.sign * (self.filled("F") - self.filled("C"))

    @property
    def is_open(self) -> bool:
        """An order of it may still fill."""
        return any(not o.status.is_final for same in self.orders.values() for o in same)

    def _of(self, purpose: str) -> Iterable[BookedOrder]:
        return (o for key, same in self.orders.items() if key[0] == purpose for o in same)


@dataclass(slots=True)
class Case:
    """One batch as the store tells of it."""

    batch_id: str
    state: str
    content: Any
    legs: list[Leg]
    is_trade: bool
    residual: list[dict[str, Any]]
    reason: str | None
    rows: list[tuple[str, str, str | None]]
    """Of each leg, what the view says was done and undone, and why it ended."""
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found.

    Attributes:
        batches: how many were acknowledged.
        orders: how many are in the exchange's books.
        findings: everything that is wrong.
    """

    batches: int
    orders: int
    findings: tuple[Finding, ...]


def judge(store: Path, books_file: Path, told: Told) -> Verdict:
    """Compare the three; everything is to be at rest, and nobody at work."""
    books = read_books(books_file)
    findings = [Finding(Wrong.UNEXPLAINED, error) for error in conservation_errors(books)]
    findings += [Finding(Wrong.LOST, f"store: {each.sentence}") for each in verify(store)]
    with closing(sqlite3.connect(f"file:{quote(str(store))}?mode=ro", uri=True)) as connection:
        cases = _cases(connection)
        findings += _intake(cases, told)
        findings += _match_orders(cases, books)
        for case in cases.values():
            findings += _end_of(case) if case.is_trade else []
        findings += _portfolios(connection, cases, books)
        findings += _tables(connection)
    return Verdict(len(told.acknowledged), len(books.orders), tuple(findings))


def _cases(connection: sqlite3.Connection) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    by_row: dict[int, Case] = {}
    rows = connection.execute("SELECT id, batch_uid, state, residual, reason FROM batches")
    for row, batch_id, state, residual, reason in rows.fetchall():
        trades = connection.execute(
            "SELECT done, undone, error FROM trades WHERE batch_id = ? ORDER BY position", (row,)
        ).fetchall()
        left = json.loads(residual) if residual else []
        case = Case(batch_id, state, None, [], False, left, reason, trades)
        cases[batch_id] = by_row[row] = case
    records = connection.execute("SELECT batch_id, kind, data FROM journal ORDER BY sequence")
    for row, kind, data in records.fetchall():
        case = by_row[row]
        if kind == "submitted":
            case.content = whole_record(kind, data)["batch"]
            directives = case.content["directives"]
            case.is_trade = all(each["kind"] in ("buy", "sell") for each in directives)
            case.legs = [_leg(each) for each in directives if case.is_trade]
        elif kind == "intended" and case.is_trade:
            event = json.loads(data)
            key = (event["purpose"][0].upper(), int(event["number"]))
            case.legs[event["step"]].intents[key] = Decimal(event["amount"])
        elif kind == "cancel_requested":
            case.cancel_requested = True
    return cases


def _leg(directive: dict[str, Any]) -> Leg:
    return Leg(
        directive["symbol"],
        1 if directive["kind"] == "buy" else -1,
        Decimal(directive["quantity"]),
        directive["limit_price"],
    )


def _intake(cases: dict[str, Case], told: Told) -> Iterable[Finding]:
    """S1: what was acknowledged is there, with equal content; what was refused is not."""
    for batch_id in told.acknowledged:
        case = cases.get(batch_id)
        if case is None:
            yield Finding(Wrong.LOST, f"{batch_id} was acknowledged, and is not in the store")
        elif case.content != json.loads(told.asked[batch_id]):
            yield Finding(Wrong.LOST, f"{batch_id} is in the store with other content")
    for batch_id in told.refused.keys() - told.acknowledged:
        if batch_id in cases:
            yield Finding(Wrong.UNEXPLAINED, f"{batch_id} was refused, and is in the store")
    for batch_id in told.cancelled:
        case = cases.get(batch_id)
        if case is not None and not case.cancel_requested:
            yield Finding(Wrong.LOST, f"the acknowledged wish to cancel {batch_id} is lost")
    for batch_id in cases.keys() - told.asked.keys():
        yield Finding(Wrong.UNEXPLAINED, f"{batch_id} is in the store, and nobody asked for it")


def _match_orders(cases: dict[str, Case], books: Books) -> Iterable[Finding]:
    """S2 and S3: every order has its intent, and no key came twice."""
    for order in books.orders:
        parts = _KEY.fullmatch(order.client_order_id or "")
        case = cases.get(f"BAT_{parts[1]}") if parts else None
        if parts is None or case is None or int(parts[2]) >= len(case.legs):
            yield Finding(
                Wrong.UNEXPLAINED, f"order {order.client_order_id} is nobody's in the store"
            )
            continue
        leg, key = case.legs[int(parts[2])], (parts[3], int(parts[4]))
        same = leg.orders.setdefault(key, [])
        same.append(order)
        if len(same) > 1:
            yield Finding(Wrong.DOUBLED, f"order {order.client_order_id} came {len(same)} times")
        amount = leg.intents.get(key)
        if amount is None:
            yield Finding(
                Wrong.UNEXPLAINED, f"order {order.client_order_id} was sent without an intent"
            )
            continue
        sign = leg.sign if key[0] == "F" else -leg.sign
        limit = leg.limit if key[0] == "F" else None
        wanted = (leg.symbol, sign, amount, None if limit is None else Decimal(limit))
        side = 1 if order.side is Side.BUY else -1
        if wanted != (order.symbol, side, order.quantity, order.limit_price):
            yield Finding(
                Wrong.UNEXPLAINED, f"order {order.client_order_id} is not what was intended"
            )


def _end_of(case: Case) -> Iterable[Finding]:
    """S4 to S7: no leg traded too much, and what the end says is what the exchange says."""
    for number, leg in enumerate(case.legs):
        where = f"leg {number} of {case.batch_id} ({leg.symbol}, {case.state})"
        if leg.bound("F") > leg.target:
            yield Finding(Wrong.DOUBLED, f"{where} is ordered for {leg.bound('F')} of {leg.target}")
        if leg.bound("C") > leg.filled("F"):
            yield Finding(Wrong.DOUBLED, f"{where} is undone for more than was filled")
    if case.state not in _REST:
        yield Finding(Wrong.UNEXPLAINED, f"{case.batch_id} is {case.state}, and not at rest")
    elif case.state == "STALE":
        yield from _stale(case)
    else:
        yield from _over(case)


def _over(case: Case) -> Iterable[Finding]:
    rolls_back = bool(case.content["rollback_on_failure"])
    for number, (leg, row) in enumerate(zip(case.legs, case.rows, strict=True)):
        where = f"leg {number} of {case.batch_id} ({leg.symbol}, {case.state})"
        if leg.is_open:
            yield Finding(Wrong.UNEXPLAINED, f"{where} still has an open order")
        done, undone, error = row
        told = leg.sign * (Decimal(done) - Decimal(undone))
        if told != leg.net:
            yield Finding(Wrong.LOST, f"{where} holds {leg.net}, and its view says {told}")
        if case.state == "ROLLED_BACK" and leg.net != 0:
            yield Finding(Wrong.UNEXPLAINED, f"{where} still holds {leg.net}")
        whole = leg.net == leg.sign * leg.target
        if case.state == "COMPLETED" and not whole:
            if rolls_back:
                yield Finding(Wrong.UNEXPLAINED, f"{where} holds {leg.net} of {leg.target}")
            elif error is None and leg.intents:
                yield Finding(Wrong.UNEXPLAINED, f"{where} is not whole, and nobody says why")


def _stale(case: Case) -> Iterable[Finding]:
    if not case.residual:
        yield Finding(Wrong.UNEXPLAINED, f"{case.batch_id} is STALE without a residual")
    everything = bool(case.content["rollback_on_failure"])
    holds: dict[str, Decimal] = defaultdict(lambda: _ZERO)
    for leg in case.legs:
        holds[leg.symbol] += leg.net
    told: set[str] = set()
    for exposure in case.residual:
        symbol, unproven = exposure["subject"], exposure["unproven"]
        low, high = Decimal(exposure["low"]), Decimal(exposure["high"])
        told.add(symbol)
        held = holds[symbol] if everything else _held_by(case, unproven)
        where = f"{case.batch_id} is STALE with [{low}, {high}] {symbol}"
        if not low <= held <= high:
            yield Finding(Wrong.UNEXPLAINED, f"{where}, and holds {held}")
        if not unproven and low != high:
            yield Finding(Wrong.UNEXPLAINED, f"{where}, but nothing of it is unproven")
    if everything:
        for symbol, held in holds.items():
            if symbol not in told and held != 0:
                yield Finding(
                    Wrong.UNEXPLAINED,
                    f"{case.batch_id} is STALE, holds {held} {symbol}, and does not say so",
                )


def _held_by(case: Case, keys: Sequence[str]) -> Decimal:
    steps = {int(parts[2]) for parts in map(_KEY.fullmatch, keys) if parts}
    return sum((case.legs[step].net for step in steps), _ZERO)


def _portfolios(
    connection: sqlite3.Connection, cases: dict[str, Case], books: Books
) -> Iterable[Finding]:
    """S10: each portfolio holds what its batches traded, and the cash that was left."""
    cash: dict[str, Decimal] = defaultdict(lambda: _ZERO)
    held: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
    unsure: set[str] = set()
    for case in cases.values():
        key = case.content["exclusion_key"] or ""
        if any(each["unproven"] for each in case.residual):
            unsure.add(key.removeprefix(_PORTFOLIO))
        for directive in () if case.is_trade else case.content["directives"]:
            cash[directive["portfolio"]] += Decimal(directive["cash"])
    for trade in standing(books.executions):
        parts = _KEY.fullmatch(trade.client_order_id or "")
        owner = cases.get(f"BAT_{parts[1]}") if parts else None
        key = (owner.content["exclusion_key"] if owner else None) or ""
        if not key.startswith(_PORTFOLIO):
            continue
        name, sign = key.removeprefix(_PORTFOLIO), 1 if trade.side is Side.BUY else -1
        held[name, trade.symbol] += sign * trade.quantity
        cash[name] -= sign * trade.quantity * trade.price + trade.fee
    for name, told in connection.execute("SELECT name, cash FROM portfolio_books").fetchall():
        if name not in unsure and Decimal(told) != cash[name]:
            yield Finding(
                Wrong.UNEXPLAINED, f"portfolio {name} says {told} cash, its trades {cash[name]}"
            )
    rows = connection.execute("SELECT portfolio, symbol, quantity FROM portfolio_holdings")
    kept = {(name, symbol): Decimal(quantity) for name, symbol, quantity in rows.fetchall()}
    for name, symbol in held.keys() | kept.keys():
        there, ours = held[name, symbol], kept.get((name, symbol), _ZERO)
        if name not in unsure and there != ours:
            yield Finding(
                Wrong.UNEXPLAINED,
                f"portfolio {name} says it holds {ours} {symbol}, its trades say {there}",
            )


def _tables(connection: sqlite3.Connection) -> Iterable[Finding]:
    """D14: after a kill in a migration, each step of it was taken whole or not at all."""
    noted = {
        f"witness_{number}"
        for (number,) in connection.execute(
            "SELECT number FROM migrations WHERE component = 'witness'"
        )
    }
    there = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'witness_*'"
        )
    }
    for name in noted ^ there:
        yield Finding(Wrong.UNEXPLAINED, f"table {name} is half migrated")
