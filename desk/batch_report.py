"""One batch, shown: where it stands, what it changed, what is in place, what to do now.

As data (`as_json`) and for people (`show`), made of the same facts. What is told of the batch
itself comes from one reading of its journal: it belongs to one instant, however fast it goes on.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.text import Text

from desk.blocking import blocker_of, waiting_words
from desk.carrier import Carrier
from desk.closing import CLOSING_COLUMNS, Closing, closing_of
from desk.exposure import CashEffect, InPlace, cash_effect, in_place, residual
from desk.foremost import foremost, more
from desk.next_step import past_budget, what_now
from desk.orders_told import HELD, ORDER_COLUMNS, ToldOrder, orders_of
from desk.output import Column, Money, Screen, Value, instant, money
from desk.telling import Teller, by_this_saga
from saga.alerts import in_sentence, late_in_words
from saga.events import CompensationStarted
from saga.exact import plain, plus, total
from saga.fold import saga_of
from saga.history import History
from saga.ids import Purpose
from saga.ledger import Incident, Saga
from saga.machine import SAGA_AT_REST, SAGA_ENDS, SagaState
from saga.store.protocol import JournalRecord
from saga.views import BatchRow, TradeRow, TradeStatus, batch_row, trade_rows

_TOOK_EFFECT = (TradeStatus.SUCCESS, TradeStatus.PARTIAL)
_NOT_UNDONE = "not undone"
_LOOKED_AT_FIRST = (
    *(TradeStatus.STUCK, TradeStatus.UNKNOWN, TradeStatus.ERROR, TradeStatus.PARTIAL),
    *(_NOT_UNDONE, TradeStatus.UNDOING, TradeStatus.RUNNING),
)
"""What a trade's status may be that a person has to see, the gravest first."""

MAX_INCIDENTS_SHOWN = 5
"""Most open incidents that are shown: the last ones."""

TRADE_COLUMNS = (
    Column("number", "#", right=True),
    Column("what", "trade"),
    Column("status", "status"),
    Column("asked", "asked", right=True, spare=1),
    Column("done", "done", right=True),
    Column("undone", "undone", right=True),
    Column("value", "value", right=True, spare=2),
    Column("time_in_force", "in force", spare=4),
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
class UndoBegan:
    """When what took effect began to be undone, and why; why that stopped is another thing."""

    at: datetime
    reason: str

    @classmethod
    def of(cls, records: Iterable[JournalRecord]) -> "UndoBegan | None":
        """Return it as the journal tells it; None if nothing was to be undone."""
        for record in records:
            if isinstance(record.event, CompensationStarted):
                return cls(record.at, record.event.reason)
        return None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told of one batch."""

    row: BatchRow
    trades: tuple[TradeRow, ...]
    saga: Saga
    in_place: tuple[InPlace, ...]
    residual: tuple[InPlace, ...]
    cash: CashEffect
    orders: tuple[ToldOrder, ...]
    closing: Closing | None
    stopped: Mapping[str, str]
    """By client order id, why the saga itself had cancelled the order."""
    carrier: Carrier | None
    blocker: BatchRow | None
    """The batch that has the exclusion key this one waits for."""
    undo_began: UndoBegan | None

    def error(self, trade: TradeRow) -> str | None:
        """Return why a trade failed, in words that name who cancelled it."""
        last = self.saga.steps[trade.position].forward[-1:]
        why = next((self.stopped[a.key] for a in last if a.key in self.stopped), None)
        if trade.error is None or why is None:
            return trade.error
        return by_this_saga(trade.error, why)


async def read_report(history: History, batch_id: str, carrier: Carrier | None = None) -> Report:
    """Read what is told of a batch.

    Args:
        history: where it is read.
        batch_id: the batch.
        carrier: who carries on what is unfinished; None if nobody looked.

    Raises:
        NoSuchBatch: there is none with this id.
        Quarantined: its journal cannot be read.
    """
    records = await history.journal(batch_id)
    saga = saga_of(records)
    row = batch_row(saga)
    teller = Teller()
    for record in records:
        teller.tell(record)
    left = residual(saga)
    return Report(
        row=row,
        trades=trade_rows(saga),
        saga=saga,
        in_place=in_place(saga),
        residual=left,
        cash=cash_effect(saga),
        orders=orders_of(
            saga,
            records,
            teller.stopped,
            is_carried_on=None if carrier is None else carrier.pid is not None,
        ),
        closing=closing_of(saga, left),
        stopped=teller.stopped,
        carrier=carrier,
        blocker=await blocker_of(history, row),
        undo_began=UndoBegan.of(records),
    )


def batch_as_json(row: BatchRow) -> dict[str, Any]:
    """Return a batch's row as JSON has it."""
    data = asdict(row)
    data["residual"] = None if row.residual is None else json.loads(row.residual)
    data["closed_by_hand"] = closed_by_hand(row)
    return data


def closed_by_hand(row: BatchRow) -> bool:
    """Tell whether an operator closed it: only such a batch is over with something left.

    Of one of which nothing was left by then only its journal tells.
    """
    return row.residual is not None and row.state in SAGA_ENDS


def status_word(row: BatchRow, *, is_closed_by_hand: bool | None = None) -> str:
    """Return a batch's status as people see it.

    Args:
        row: the batch.
        is_closed_by_hand: an operator closed it, as its journal tells; None goes by the row.
    """
    if row.paused and row.state not in SAGA_AT_REST:
        return "paused"
    closed = closed_by_hand(row) if is_closed_by_hand is None else is_closed_by_hand
    word = f"{row.status}, closed by hand" if closed else row.status
    if row.incidents:
        word += f", {row.incidents} incident{'s' if row.incidents > 1 else ''}"
    return word


def trade_word(saga: Saga, trade: TradeRow) -> str:
    """Return a trade's status as people see it: what a rollback left standing is no success."""
    step = saga.steps[trade.position]
    gave_up = saga.undoes and (saga.state is SagaState.STALE or saga.resolved is not None)
    if gave_up and trade.status in _TOOK_EFFECT and step.rolls_back and step.left_to_undo:
        return _NOT_UNDONE
    return trade.status


def _rank(trade: TradeRow, report: Report) -> int:
    """Return how soon a person has to see a trade and its orders, the lowest first."""
    word = trade_word(report.saga, trade)
    if word in _LOOKED_AT_FIRST:
        return _LOOKED_AT_FIRST.index(word)
    return len(_LOOKED_AT_FIRST) + (0 if trade.error else 1)


def trade_as_json(trade: TradeRow, report: Report) -> dict[str, Any]:
    """Return a trade's row as JSON has it."""
    data = asdict(trade)
    data["error"] = report.error(trade)
    data["time_in_force"] = time_in_force(report.saga, trade)
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
        "open": list(each.open),
        "certainty": each.certainty,
    }


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it."""
    submitted = report.saga.submitted
    return {
        "batch": {
            **batch_as_json(report.row),
            "closed_by_hand": report.closing is not None,
        },
        "account": "PAPER",
        "blocked_by": None if report.blocker is None else report.blocker.batch_id,
        "submitted_by": submitted.by,
        "on_failure": None if submitted.policy.on_failure is None else submitted.policy.on_failure,
        "undo_budget": report.saga.undo_budget,
        "undo_budget_spent": report.saga.undo_cost if report.saga.undo_began else None,
        "past_undo_budget": past_budget(report.saga),
        "carried_on_by": None if report.carrier is None else report.carrier.pid,
        "stopped_because": stopped_because(report.saga),
        "undo_began_because": None if report.undo_began is None else report.undo_began.reason,
        "resolved": None if report.closing is None else report.closing.as_json(),
        "metadata": submitted.batch.model_dump(mode="json")["metadata"],
        "cash_change": report.cash.cash,
        "fees": report.cash.fees,
        "cash_by_hand": cash_by_hand(report.saga),
        "in_place": [exposure_as_json(each) for each in report.in_place],
        "residual": [exposure_as_json(each) for each in report.residual],
        "incidents": [incident_as_json(report.saga, each) for each in report.saga.incidents],
        "trades": [trade_as_json(trade, report) for trade in report.trades],
        "orders": [each.as_json() for each in report.orders],
    }


def show(report: Report, screen: Screen) -> None:
    """Show the report to a person."""
    row = report.row
    word = status_word(row, is_closed_by_hand=report.closing is not None)
    heading = Text.assemble((row.batch_id, "bold"), "  ", screen.cell(word))
    screen.text(heading + Text(f"  {row.state}  PAPER"))
    screen.pairs(_facts(report))
    screen.text()
    shown, left_out = foremost(report.trades, lambda trade: _rank(trade, report))
    screen.table(TRADE_COLUMNS, [trade_line(trade, report) for trade in shown])
    if left_out:
        kinds = more(trade_word(report.saga, trade) for trade in left_out)
        screen.text(f"{kinds}: `saga show {row.batch_id} --output csv` has them all")
    for trade in shown:
        if trade.error:
            what = report.saga.steps[trade.position].directive.describe()
            screen.text(f"{trade.position + 1}. {what}: {report.error(trade)}")
    _show_orders(report, screen)
    _show_closing(report, screen)
    _show_exposure(report, screen)
    screen.text(f"Now: {what_now(row, report.saga, report.closing, report.carrier)}")


def _show_orders(report: Report, screen: Screen) -> None:
    if not report.orders:
        return
    ranks = [_rank(trade, report) for trade in report.trades]
    shown, left_out = foremost(report.orders, lambda order: ranks[order.step])
    screen.text()
    screen.text(Text("Orders: what was sent to the broker, or withheld", style="bold"))
    screen.table(ORDER_COLUMNS, [each.line() for each in shown])
    if left_out:
        kinds = more(order.status for order in left_out)
        screen.text(f"{kinds}: `saga show {report.row.batch_id} --json` has them all")
    for each in shown:
        if each.reason:
            screen.text(f"{each.client_order_id}: {each.reason}")


def _show_closing(report: Report, screen: Screen) -> None:
    if report.closing is not None and report.closing.settled:
        screen.text()
        screen.text(Text("Closed by hand: what was left, and what was done", style="bold"))
        screen.table(CLOSING_COLUMNS, report.closing.lines())


def _facts(report: Report) -> list[tuple[str, Value]]:
    row, saga = report.row, report.saga
    progress = f"{row.processed_trades} of {row.total_trades} over, {row.failed_trades} failed"
    if row.undone_trades:
        progress += f", {row.undone_trades} undone"
    if not_sent := sum(trade.status == TradeStatus.NOT_SENT for trade in report.trades):
        progress += f", {not_sent} not sent"
    policy = saga.submitted.policy.on_failure
    facts: list[tuple[str, Value]] = report.closing.facts() if report.closing else []
    facts += [
        ("trades", progress),
        ("mode", f"{row.mode}, on failure: {policy or 'undo'}, priority {row.priority}"),
        ("accepted", f"{row.created_at:%Y-%m-%d %H:%M:%S}Z by {saga.submitted.by}"),
    ]
    if row.exclusion_key:
        facts.append(("alone on", row.exclusion_key))
    if row.deadline and row.completed_at is None:
        facts.append(("deadline", _deadline(row.deadline)))
    if row.completed_at:
        facts.append(("at rest", row.completed_at))
    if row.parent_id:
        facts.append(("tries again", row.parent_id))
    began = report.undo_began
    because = stopped_because(saga)
    if began is not None and began.reason != because:
        facts.append(("undo began", f"{instant(began.at)}: {began.reason}"))
    if because:
        facts.append(("because", because))
    facts += [("INCIDENT", in_sentence(saga, each)) for each in _shown_incidents(saga)]
    if late := late_in_words(saga):
        facts.append(("differs", f"holdings differ from what its end says by {late}"))
    waiting = waiting_words(row, report.blocker)
    if waiting:
        facts.append(("at present", waiting))
    if row.state not in SAGA_AT_REST and report.carrier is not None:
        facts.append(("process", report.carrier.sentence_of((row,))))
    if report.cash.cash or any(trade.direction for trade in report.trades):
        facts.append(
            (
                "cash",
                f"{_signed(report.cash.cash)} USD by known fills, fees {money(report.cash.fees)}",
            )
        )
    if saga.by_hand:
        by_hand = cash_by_hand(saga)
        facts.append(("cash by hand", f"{_signed(by_hand)} USD, {_who_said(saga)}"))
        facts.append(("cash in all", f"{_signed(plus(report.cash.cash, by_hand))} USD"))
    if row.undo_cost is not None:
        known = "known" if _undo_is_over(saga) else "as far as is known by now"
        apart = "; trades by hand not counted" if report.closing or saga.by_hand else ""
        facts.append(("undo cost", f"{money(row.undo_cost)} USD ({known}{apart})"))
    if saga.undo_budget is not None:
        past = " (past it)" if past_budget(saga) else ""
        facts.append(
            ("undo budget", f"{money(saga.undo_budget)} USD, spent {money(saga.undo_cost)}{past}")
        )
    return facts


def cash_by_hand(saga: Saga) -> Decimal:
    """Return the change of cash that operators booked by hand and that stands, signed.

    What gave way to a fill that was told of after all is in what the fills changed (S9).
    """
    return total(each.cash for each in saga.by_hand)


def _who_said(saga: Saga) -> str:
    """Return who booked by hand, and that what he did does not all stand."""
    events = dict.fromkeys([saga.resolved, *(each.closed for each in saga.incidents)])
    said = [each for each in events if each is not None and each.adjustments]
    names = dict.fromkeys(each.by for each in said)
    stands = len(saga.by_hand) == sum(len(each.adjustments) for each in said)
    less = "" if stands else ", less what gave way to fills that were told of later"
    return f"as {' and '.join(names)} said{less}"


def _undo_is_over(saga: Saga) -> bool:
    """Tell whether nothing more can come of the undo that is known to be wanted."""
    if saga.state is SagaState.COMPENSATING:
        return False
    return not any(attempt.purpose is Purpose.COMPENSATION for attempt in saga.lost.values())


def _shown_incidents(saga: Saga) -> list[Incident]:
    return saga.open_incidents[-MAX_INCIDENTS_SHOWN:]


def incident_as_json(saga: Saga, incident: Incident) -> dict[str, Any]:
    """Return late truth, and what became of it, as JSON has it."""
    truth, closed = incident.truth, incident.closed
    return {
        "record": incident.number,
        "at": incident.at,
        "sentence": in_sentence(saga, incident),
        "client_order_id": saga.key(truth.step, truth.purpose, truth.number),
        "found_by": truth.by,
        "closed_by": None if closed is None else closed.by,
        "closed_because": None if closed is None else closed.reason,
        "closed_by_action": None if closed is None else closed.action,
    }


def _deadline(deadline: datetime) -> str:
    left = int((deadline - datetime.now(UTC)).total_seconds())
    if left < 0:
        return f"{instant(deadline)}, past by {_span(-left)}"
    return f"{instant(deadline)}, {_span(left)} left"


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3_600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def stopped_because(saga: Saga) -> str | None:
    """Return why a batch stopped, was rolled back or is stale; None if it did not."""
    if saga.reason is not None:
        return saga.reason
    if saga.tally.failed == 0 and saga.next_unsent == len(saga.steps):
        return None
    if saga.cancel is not None:
        return f"cancelled by {saga.cancel.by}: {saga.cancel.reason}"
    if saga.deadline_passed and saga.submitted.deadline is not None:
        return f"the deadline {instant(saga.submitted.deadline)} passed"
    return None


def time_in_force(saga: Saga, trade: TradeRow) -> str | None:
    """Return how long a leg stays open at the broker; None where that means nothing."""
    found: str | None = getattr(saga.steps[trade.position].directive, "time_in_force", None)
    return found


def _signed(amount: Any) -> str:
    return ("+" if amount > 0 else "") + money(amount)


def trade_line(trade: TradeRow, report: Report) -> dict[str, Value]:
    """Return a trade as a table shows it."""
    return {
        "number": trade.position + 1,
        "what": report.saga.steps[trade.position].directive.describe(),
        "status": trade_word(report.saga, trade),
        "asked": trade.amount,
        "done": trade.done,
        "undone": trade.undone if trade.rollback else None,
        "value": Money(trade.value) if trade.value else None,
        "time_in_force": time_in_force(report.saga, trade),
        "tries": trade.attempts,
    }


def exposure_line(each: InPlace) -> dict[str, Value]:
    """Return what is in place of a symbol as a table shows it."""
    low, high = each.value(each.low), each.value(each.high)
    if each.is_known:
        quantity = plain(each.low)
        value = None if low is None else money(low)
    else:
        quantity = f"{plain(each.low)} to {plain(each.high)}"
        value = None if low is None or high is None else f"{money(low)} to {money(high)}"
    return {
        "symbol": each.symbol,
        "quantity": quantity,
        "value": value,
        "price": each.price,
        "certainty": each.certainty,
    }


def _show_exposure(report: Report, screen: Screen) -> None:
    left = report.residual if report.saga.state is SagaState.STALE else report.in_place
    screen.text()
    if not left and report.closing is not None:
        screen.text("In place: nothing, with what was done by hand (as the operator said).")
        return
    if not left:
        screen.text("In place: nothing; this batch changes no holding as things stand (known).")
        return
    if report.saga.state is SagaState.STALE:
        screen.text(Text("LEFT OVER: what could not be undone or found out", style="bold red"))
    else:
        screen.text(Text("In place: what this batch has changed of the holdings", style="bold"))
    screen.table(EXPOSURE_COLUMNS, [exposure_line(each) for each in left])
    keys = {key for each in left for key in each.unproven if key not in each.open}
    asked = [
        each
        for each in report.orders
        if each.client_order_id in keys and each.status != HELD  # soon it is not out at all
    ]
    if asked:
        screen.text(f"Ask the broker about: {'; '.join(map(_question, asked))}")


def _question(order: ToldOrder) -> str:
    its_id = f", broker's id {order.broker_order_id}" if order.broker_order_id else ""
    return f"{order.words}, {plain(order.filled)} known filled ({order.client_order_id}{its_id})"
