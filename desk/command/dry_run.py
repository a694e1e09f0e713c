"""`saga run FILE --dry-run`: the plan, and what a death after each leg would leave and cost."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_UP, Context, Decimal
from pathlib import Path

from rich.text import Text

from brokers.paper import PaperExchange
from desk.blocking import wait_foreseen
from desk.exit_codes import ExitCode
from desk.exit_status import of_error
from desk.foresight import Foreseen, foresee
from desk.home import EXCHANGE_FILE
from desk.intake import priced, unpriced_symbols
from desk.output import Column, Value, money
from desk.plan import BatchPlan, PlannedLeg, plan_batch, totals
from desk.refusal import refusal_of
from desk.session import Session
from desk.settings import Configured
from portfolio import CashDesk
from saga.errors import SagaError
from saga.exact import plain
from saga.intake import check_submission
from saga.model import Batch, ExecutionMode
from saga.participant import by_kind
from saga.policy import FailurePolicy, OnFailure
from saga.turns import leg_by_leg

PLAN_COLUMNS = (
    Column("number", "#", right=True),
    Column("what", "leg"),
    Column("price", "price", right=True),
    Column("inverse", "undone by"),
    Column("exposure", "batch's change after it"),
    Column("exposure_value", "worth", right=True),
    Column("undo_cost", "worst undo", right=True),
)
_SYMBOLS_SHOWN = 2
_CENT = Decimal("0.01")
_WIDE = Context(prec=100)
"""Wide enough for every amount that a batch can bear."""


async def dry_run_of(session: Session, batch: Batch, policy: FailurePolicy) -> ExitCode:
    """Check the batch as a run would check it, show its plan, and say if it would be refused."""
    settings = session.configured.settings
    with _exchange(session.configured) as exchange:
        venue, market, day = exchange.settings, exchange.market, await exchange.day()
        symbols = [each for each in unpriced_symbols(batch) if each in market.symbols]
        batch = priced(batch, {symbol: market.close(symbol, day) for symbol in symbols})
        served = by_kind((exchange, CashDesk()))
        try:
            resolved = await leg_by_leg(
                check_submission(batch, policy, served, settings.engine.limits())
            )
        except SagaError as error:
            return _refused_at_the_door(session, error)
        account = await exchange.account()
        on_failure = resolved.policy.on_failure or OnFailure.UNDO
        foreseen = await foresee(
            session.configured, exchange, batch, undoes=on_failure is not OnFailure.KEEP
        )
    plan = plan_batch(batch, on_failure, settings.allowance(venue))
    refusal = foreseen.refusal or await refusal_of(
        session.configured, batch, lambda: plan.need, account.cash, account.currency
    )
    wait = None if refusal else await wait_foreseen(session.configured.home, batch)
    reserve = settings.reserve
    rule = (
        f"a market order fills {plain(reserve.price_basis_points)} basis points worse than the "
        f"close of {day}, a limit order at its limit; each undo another "
        f"{plain(reserve.undo_basis_points)} worse than that close; fees "
        f"{plain(venue.fee_per_unit)} a share and {plain(venue.fee_minimum)} an order, both ways"
    )
    if session.screen.is_for_people:
        _show(session, batch, plan, on_failure, rule)
        _show_foreseen(session, foreseen)
        if wait:
            session.screen.text(wait)
    else:
        session.screen.json(
            {
                **_as_json(batch, plan, on_failure, rule),
                "would_be_refused": _words(refusal),
                "would_wait": wait,
                "judged_by_what_went_out": list(foreseen.judged),
                "not_judged": list(foreseen.not_judged),
            }
        )
    return _verdict(session, refusal)


def _refused_at_the_door(session: Session, error: SagaError) -> ExitCode:
    """Say so where not even a plan can be made."""
    if not session.screen.is_for_people:
        session.screen.json(
            {"dry_run": True, "account": "PAPER", "legs": [], "would_be_refused": str(error)}
        )
    return _verdict(session, error)


def _verdict(session: Session, refusal: SagaError | None) -> ExitCode:
    if refusal is None:
        return ExitCode.DONE
    session.screen.complain(f"It would be refused: {refusal}")
    return of_error(refusal)


def _words(error: SagaError | None) -> str | None:
    return None if error is None else str(error)


@contextmanager
def _exchange(configured: Configured) -> Iterator[PaperExchange]:
    """Give the desk's exchange; where there is none as yet, one that is gone afterwards."""
    if configured.home.exchange.exists():
        yield PaperExchange(configured.home.exchange)
        return
    paper = configured.settings.paper
    with tempfile.TemporaryDirectory() as folder:
        yield PaperExchange.create(
            Path(folder) / EXCHANGE_FILE, day=paper.day, cash=paper.cash, settings=paper.exchange()
        )


def _show(
    session: Session, batch: Batch, plan: BatchPlan, on_failure: OnFailure, rule: str
) -> None:
    screen = session.screen
    paid, received = totals(plan.legs)
    heading = f"DRY RUN on PAPER: nothing is stored, nothing is sent. {batch.execution_mode}, "
    screen.text(Text(f"{heading}on failure: {on_failure}.", style="bold"))
    screen.text()
    screen.table(PLAN_COLUMNS, [_line(leg) for leg in plan.legs])
    screen.text()
    screen.text(
        f"Pays about {_cents(paid)} USD and receives about {_cents(received)} USD (estimated)."
    )
    screen.text(f"Reserves {_cents(plan.need.cash)} USD of cash, its undo included (estimated).")
    if not plan.undoes:
        screen.text("What fills stays: nothing is undone on failure, so no undo costs anything.")
    else:
        screen.text(
            "The batch's change (not the position): known, if legs fill whole in this "
            f"order{_in_any_order(batch)}. If the process dies after a leg, that stands until a "
            "saga process takes the batch up again."
        )
        screen.text(
            f"Worst undo: {_cents(plan.worst_undo)} USD, an estimate and no bound. It supposes "
            f"that {rule}. A gap in the market costs more than that."
        )


def _show_foreseen(session: Session, foreseen: Foreseen) -> None:
    for heading, sentences in (
        ("Judged as the store is now", foreseen.judged),
        ("Only a run can tell", foreseen.not_judged),
    ):
        for sentence in sentences:
            session.screen.text(f"{heading}: {sentence}.")


def _in_any_order(batch: Batch) -> str:
    if batch.execution_mode is ExecutionMode.PARALLEL or batch.width > 1:
        return "; several are in the air at once, so that any of them may be in place"
    return ""


def _cents(amount: Decimal) -> str:
    """Return an estimate to the cent, away from zero, so that no cost is shown too small."""
    return money(amount.quantize(_CENT, ROUND_UP, _WIDE))


def _line(leg: PlannedLeg) -> dict[str, Value]:
    parts = [f"{plain(quantity)} {symbol}" for symbol, quantity in leg.exposure.items()]
    more = f", {len(parts) - _SYMBOLS_SHOWN} more" if len(parts) > _SYMBOLS_SHOWN else ""
    return {
        "number": leg.number,
        "what": leg.what,
        "price": leg.price,
        "inverse": leg.inverse,
        "exposure": ", ".join(parts[-_SYMBOLS_SHOWN:]) + more,
        "exposure_value": _cents(leg.exposure_value),
        "undo_cost": _cents(leg.undo_cost),
    }


def _as_json(batch: Batch, plan: BatchPlan, on_failure: OnFailure, rule: str) -> dict[str, object]:
    paid, received = totals(plan.legs)
    return {
        "dry_run": True,
        "account": "PAPER",
        "mode": batch.execution_mode,
        "on_failure": on_failure,
        "pays": paid,
        "receives": received,
        "reserves_cash": plan.need.cash,
        "reserves_shares": plan.need.shares,
        "worst_undo": plan.worst_undo,
        "worst_undo_supposes": rule,
        "legs": [
            {
                "number": leg.number,
                "leg": leg.what,
                "inverse": leg.inverse,
                "price": leg.price,
                "price_is_limit": leg.price_is_limit,
                "after": {
                    "exposure": leg.exposure,
                    "exposure_known": True,
                    "exposure_value": leg.exposure_value,
                    "worst_undo": leg.undo_cost,
                    "worst_undo_known": False,
                },
            }
            for leg in plan.legs
        ],
    }
