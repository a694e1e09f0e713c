"""One batch, shown: where it stands, what it changed, what is in place, what to do now.

As data (`as_json`) and for people (`show`), made of the same facts, read from the journal.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter
from rich.text import Text

from desk.exposure import CashEffect, InPlace, cash_effect, in_place
from desk.output import Column, Screen, Value, money
from saga.exact import plain
from saga.fold import fold
from saga.history import History
from saga.ledger import Saga
from saga.machine import SagaState
from saga.views import BatchRow, TradeResult, TradeRow

_RESULT = TypeAdapter(TradeResult)

MAX_TRADES_SHOWN = 200
"""Most trades of a batch that a person is shown at once."""

TRADE_COLUMNS = (
    Column("number", "#", right=True),
    Column("what", "trade"),
    Column("status", "status"),
    Column("asked", "asked", right=True, spare=1),
    Column("done", "done", right=True),
    Column("undone", "undone", right=True),
    Column("value", "value", right=True, spare=2),
    Column("tries", "tries", right=True, spare=3),
)
EXPOSURE_COLUMNS = (
    Column("symbol", "symbol"),
    Column("quantity", "in place", right=True),
    Column("value", "worth", right=True),
    Column("price", "at last price", right=True, spare=1),
    Column("certainty", "how sure"),
)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told of one batch."""

    row: BatchRow
    trades: tuple[TradeRow, ...]
    saga: Saga
    in_place: tuple[InPlace, ...]
    residual: tuple[InPlace, ...]
    cash: CashEffect


async def read_report(history: History, batch_id: str) -> Report:
    """Read what is told of a batch.

    Raises:
        NoSuchBatch: there is none with this id.
        Quarantined: its journal cannot be read.
    """
    row = await history.batch(batch_id)
    trades = await history.trades(batch_id)
    records = await history.journal(batch_id)
    saga = fold((record.number, record.at, record.event) for record in records)
    results = [
        (trade.direction, _RESULT.validate_json(trade.result))
        for trade in trades
        if trade.result is not None and trade.direction
    ]
    residual = tuple(InPlace.of(each) for each in saga.residual)
    return Report(row, trades, saga, in_place(saga), residual, cash_effect(results))


def batch_as_json(row: BatchRow) -> dict[str, Any]:
    """Return a batch's row as JSON has it."""
    data = asdict(row)
    data["residual"] = None if row.residual is None else json.loads(row.residual)
    return data


def trade_as_json(trade: TradeRow) -> dict[str, Any]:
    """Return a trade's row as JSON has it."""
    data = asdict(trade)
    data["result"] = None if trade.result is None else json.loads(trade.result)
    return data


def exposure_as_json(each: InPlace) -> dict[str, Any]:
    """Return what is in place of a symbol as JSON has it."""
    return {
        "symbol": each.symbol,
        "low": each.low,
        "high": each.high,
        "known": each.is_known,
        "last_price": each.price,
        "value_low": each.value(each.low),
        "value_high": each.value(each.high),
        "unproven": list(each.unproven),
    }


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it."""
    submitted = report.saga.submitted
    return {
        "batch": batch_as_json(report.row),
        "account": "PAPER",
        "submitted_by": submitted.by,
        "on_failure": None if submitted.policy.on_failure is None else submitted.policy.on_failure,
        "undo_budget": report.saga.undo_budget,
        "metadata": submitted.batch.model_dump(mode="json")["metadata"],
        "cash_change": report.cash.cash,
        "fees": report.cash.fees,
        "in_place": [exposure_as_json(each) for each in report.in_place],
        "residual": [exposure_as_json(each) for each in report.residual],
        "trades": [trade_as_json(trade) for trade in report.trades],
    }


def show(report: Report, screen: Screen) -> None:
    """Show the report to a person."""
    row = report.row
    heading = Text.assemble((row.batch_id, "bold"), "  ", screen.cell(row.status))
    screen.text(heading + Text(f"  {row.state}{', paused' if row.paused else ''}  PAPER"))
    screen.pairs(_facts(report))
    screen.text()
    shown = report.trades[:MAX_TRADES_SHOWN]
    screen.table(TRADE_COLUMNS, [trade_line(trade, report) for trade in shown])
    if len(report.trades) > len(shown):
        more = len(report.trades) - len(shown)
        screen.text(f"and {more} more: `saga show {row.batch_id} --output csv` has them all")
    for trade in shown:
        if trade.error:
            what = report.saga.steps[trade.position].directive.describe()
            screen.text(f"{trade.position + 1}. {what}: {trade.error}")
    _show_exposure(report, screen)
    screen.text(f"Now: {what_now(row)}")


def _facts(report: Report) -> list[tuple[str, Value]]:
    row, saga = report.row, report.saga
    progress = f"{row.processed_trades} of {row.total_trades} over, {row.failed_trades} failed"
    if row.undone_trades:
        progress += f", {row.undone_trades} undone"
    policy = saga.submitted.policy.on_failure
    facts: list[tuple[str, Value]] = [
        ("trades", progress),
        ("mode", f"{row.mode}, on failure: {policy or 'keep'}, priority {row.priority}"),
        ("accepted", f"{row.created_at:%Y-%m-%d %H:%M:%S}Z by {saga.submitted.by}"),
    ]
    if row.exclusion_key:
        facts.append(("alone on", row.exclusion_key))
    if row.deadline and row.completed_at is None:
        facts.append(("deadline", row.deadline))
    if row.completed_at:
        facts.append(("at rest", row.completed_at))
    if row.parent_id:
        facts.append(("tries again", row.parent_id))
    if row.reason:
        facts.append(("because", row.reason))
    if row.waits_for:
        facts.append(("waits for", row.waits_for))
    if any(trade.direction for trade in report.trades):
        facts.append(
            (
                "cash",
                f"{_signed(report.cash.cash)} USD by known fills, fees {money(report.cash.fees)}",
            )
        )
    if row.undo_cost is not None:
        facts.append(("undo cost", f"{money(row.undo_cost)} USD (known)"))
    return facts


def _signed(amount: Any) -> str:
    return ("+" if amount > 0 else "") + money(amount)


def trade_line(trade: TradeRow, report: Report) -> dict[str, Value]:
    """Return a trade as a table shows it."""
    return {
        "number": trade.position + 1,
        "what": report.saga.steps[trade.position].directive.describe(),
        "status": trade.status,
        "asked": trade.amount,
        "done": trade.done,
        "undone": trade.undone if trade.rollback else None,
        "value": money(trade.value) if trade.value else None,
        "tries": trade.attempts,
    }


def exposure_line(each: InPlace) -> dict[str, Value]:
    """Return what is in place of a symbol as a table shows it."""
    low, high = each.value(each.low), each.value(each.high)
    if each.is_known:
        quantity, certainty = plain(each.low), "known"
        value = None if low is None else money(low)
    else:
        quantity = f"{plain(each.low)} to {plain(each.high)}"
        certainty = f"a guess: {len(each.unproven)} order(s) unproven"
        value = None if low is None or high is None else f"{money(low)} to {money(high)}"
    return {
        "symbol": each.symbol,
        "quantity": quantity,
        "value": value,
        "price": each.price,
        "certainty": certainty,
    }


def _show_exposure(report: Report, screen: Screen) -> None:
    left = report.residual if report.saga.state is SagaState.STALE else report.in_place
    screen.text()
    if not left:
        screen.text("In place: nothing; this batch changes no holding as things stand (known).")
        return
    if report.saga.state is SagaState.STALE:
        screen.text(Text("LEFT OVER: what could not be undone or found out", style="bold red"))
    else:
        screen.text(Text("In place: what this batch has changed of the holdings", style="bold"))
    screen.table(EXPOSURE_COLUMNS, [exposure_line(each) for each in left])
    keys: Sequence[str] = [key for each in left for key in each.unproven]
    if keys:
        screen.text(f"Ask the broker about: {', '.join(keys)}")


def what_now(row: BatchRow) -> str:
    """Return what a person can do about a batch."""
    batch_id = row.batch_id
    if row.state == SagaState.STALE:
        return (
            f"a person has to act: `saga retry {batch_id} --reason ...` tries the rollback again; "
            f"`saga resolve {batch_id} --reason ... --action ... --evidence ...` closes it once "
            "it was dealt with by hand. Its portfolio trades nothing until then."
        )
    if row.status in ("failed", "cancelled", "partial_success"):
        return (
            f"it is over. `saga retry {batch_id} --reason ...` sends what was left undone as a new "
            f"batch; `saga diagram {batch_id}` draws its way."
        )
    if row.state == SagaState.COMPLETED:
        return f"nothing; it is done. `saga diagram {batch_id}` draws its way."
    if row.state == SagaState.ROLLED_BACK:
        return "nothing; all of it was undone."
    if row.paused:
        return f"it is paused: `saga unpause {batch_id} --reason ...` lets it go on."
    return (
        f"it is under way while a saga process runs; `saga run` without a file carries it on, "
        f"`saga cancel {batch_id} --reason ...` stops it."
    )
