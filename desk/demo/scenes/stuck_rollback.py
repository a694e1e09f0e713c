"""Scene 4: the exchange refuses to undo; the saga is STALE until an operator has dealt with it."""

from decimal import Decimal
from fractions import Fraction
from typing import Final

from brokers.orders import Side
from brokers.paper import Fault, FaultRule
from desk.demo.follow import books_agree, follow, orders_of, report_of, show_standing
from desk.demo.progress import count
from desk.demo.report import Checks, SceneReport
from desk.demo.screen import Show, dollars
from desk.demo.stage import House, Stage, open_house
from portfolio import Plan, PortfolioStale
from saga.events import Adjustment
from saga.exact import minus, plain, plus, times, total
from saga.ids import Purpose
from saga.ledger import Saga, Step
from saga.machine import SagaState
from saga.outcome import Exposure
from saga.policy import MIN_COMPENSATION_ATTEMPTS

NAMES: Final = 6
"""The rebalance keeps so many of the stocks that are still held."""
SMALL: Final = Decimal(10)
"""Shares of the buy that shows that the portfolio trades again."""


async def play(stage: Stage, show: Show) -> SceneReport:
    """Get stuck, and get out of it."""
    checks = Checks()
    async with open_house(stage.home) as house:
        main = house.main
        holdings, cash = await main.holdings(), await main.cash()
        kept = sorted(stage.chance.sample(sorted(holdings), NAMES))
        weights = {symbol: Fraction(1, 2 * NAMES) for symbol in kept}
        plan = await main.plan_rebalance(weights)
        refused = len(plan.trades) - 1
        stuck = _drawn(stage, plan)
        names = " and ".join(plan.trades[place].symbol for place in stuck)
        show.heading(
            4,
            "A rollback that fails",
            f"PAPER. A rebalance into {NAMES} stocks loses its last leg, so it is to be undone. "
            f"But trading in {names} is halted by now: the exchange refuses each try.",
        )
        halted = "trading is halted"
        await house.exchange.script(
            FaultRule(fault=Fault.REFUSES, step=refused, purpose=Purpose.FORWARD, reason=halted),
            *(
                FaultRule(
                    fault=Fault.REFUSES,
                    step=place,
                    purpose=Purpose.COMPENSATION,
                    times=None,
                    reason=halted,
                )
                for place in stuck
            ),
        )
        batch_id = await main.rebalance(weights, stage.terms)
        saga = await follow(house, show, batch_id)
        checks.that(saga.state is SagaState.STALE, "the batch was STALE")
        checks.that(
            all(len(saga.steps[p].undo) >= MIN_COMPENSATION_ATTEMPTS for p in stuck),
            f"each undo that failed was tried at least {MIN_COMPENSATION_ATTEMPTS} times",
        )
        left = await _changed(house, holdings)
        told = {each.subject: each.low for each in saga.residual if each.low == each.high}
        checks.that(
            bool(told) and told == left,
            "the residual exposure is what holdings differ by, share for share",
        )
        _show_residual(saga.residual, show)
        await _show_refusal(house, batch_id, checks, show)
        await house.exchange.script()
        show.line()
        show.line(
            "The halt is lifted. An operator trades at the exchange's own screen, and closes the "
            "batch with the tickets as evidence."
        )
        show.line()
        by_hand = await _resolve(house, saga, show)
        cost = minus(saga.undo_cost, plus(by_hand, total(_paid(saga.steps[p]) for p in stuck)))
        stage.played[batch_id] = "4"
        show.fact(
            "it cost",
            f"{dollars(saga.undo_cost)} by the saga, "
            f"{dollars(minus(cost, saga.undo_cost))} by hand",
        )
        await show_standing(house, show)
        checks.that(await main.holdings() == holdings, "every holding is exactly what it was")
        checks.that(
            minus(cash, await main.cash()) == cost,
            f"cash is exactly {dollars(cost)} less than it was: what undoing it cost, by the saga "
            "and by hand",
        )
        checks.that(await books_agree(house), "holdings and cash are what the exchange's books say")
        again = await _trades_again(house, kept[0], stage, checks)
        report = await report_of(house, "stuck_rollback", batch_id, checks, show)
        show.event("success", f"and it trades again: bought {plain(SMALL)} {kept[0]}, {again}")
        return report


def _drawn(stage: Stage, plan: Plan) -> tuple[int, ...]:
    """Draw a sell and a buy, both before the last leg, that cannot be undone."""
    before = list(enumerate(plan.trades[:-1]))
    sells = [place for place, trade in before if trade.side is Side.SELL]
    buys = [place for place, trade in before if trade.side is Side.BUY]
    return tuple(stage.chance.choice(places) for places in (sells, buys) if places)


async def _changed(house: House, before: dict[str, Decimal]) -> dict[str, Decimal]:
    """Return by how much each holding differs from what it was."""
    after = await house.main.holdings()
    zero = Decimal(0)
    changes = {
        symbol: minus(after.get(symbol, zero), before.get(symbol, zero))
        for symbol in before.keys() | after.keys()
    }
    return {symbol: change for symbol, change in changes.items() if change}


def _show_residual(residual: tuple[Exposure, ...], show: Show) -> None:
    show.event("stale", "the residual exposure, against what was held before the batch:")
    for each in residual:
        show.fact(each.subject, _in_words(each))


def _in_words(each: Exposure) -> str:
    if each.low != each.high:
        return f"{count(each.low)} to {count(each.high)} shares: an interval, NOT known"
    sign = "+" if each.low > 0 else ""
    shares = f"{sign}{count(each.low)} shares, known"
    if each.price is None:
        return shares
    worth = dollars(times(each.low, each.price))
    return f"{shares}; {worth} at the last price, {plain(each.price)}"


async def _show_refusal(house: House, batch_id: str, checks: Checks, show: Show) -> None:
    """Try to buy, and show what the portfolio says to that."""
    orders = len((await house.exchange.books()).orders)
    try:
        await house.main.buy(house.exchange.market.stocks[0], SMALL)
    except PortfolioStale as refusal:
        show.event("error", f"portfolio.buy raises PortfolioStale: {refusal}")
        named = refusal.batch_id == batch_id
    else:
        named = False
    same = len((await house.exchange.books()).orders) == orders
    checks.that(named and same, "the stale portfolio refused to buy, and sent no order")


async def _resolve(house: House, saga: Saga, show: Show) -> Decimal:
    """Trade the residual exposure away by hand, and close the batch; return the cash it changed."""
    adjustments, tickets = [], []
    for each in saga.residual:
        side = Side.SELL if each.low > 0 else Side.BUY
        order = await house.exchange.trade_by_hand(side, abs(each.low), each.subject)
        for fill in order.fills:
            shares = fill.quantity if side is Side.BUY else minus(Decimal(0), fill.quantity)
            paid = minus(minus(Decimal(0), times(shares, fill.price)), fill.fee)
            adjustments.append(Adjustment(each.subject, shares, paid, fill.fill_id))
            tickets.append(fill.fill_id)
            show.event(
                "undone",
                f"by hand: {side} {count(fill.quantity)} {each.subject} at {plain(fill.price)}, "
                f"trade {fill.fill_id}",
            )
    await house.engine.resolve(
        saga.batch_id,
        by="operator",
        reason="the rest was traded by hand when the halt was lifted",
        action="traded the residual exposure at the exchange's own screen",
        evidence=f"trades {', '.join(tickets)}",
        adjustments=tuple(adjustments),
    )
    await house.main.wait(saga.batch_id)
    return total(each.cash for each in adjustments)


def _paid(step: Step) -> Decimal:
    """Return the signed change of cash by a leg that was not undone, fees included."""
    sign = Decimal(-step.directive.direction)
    return minus(times(sign, step.value), total(fill.fee for fill in step.effects))


async def _trades_again(house: House, symbol: str, stage: Stage, checks: Checks) -> str:
    batch_id = await house.main.buy(symbol, SMALL, terms=stage.terms)
    row = await house.main.wait(batch_id)
    stage.played[batch_id] = "4"
    checks.that(row.state == SagaState.COMPLETED, "the portfolio trades again")
    orders = await orders_of(house.exchange, [batch_id])
    return f"{row.state}, {orders} order, {batch_id}"
