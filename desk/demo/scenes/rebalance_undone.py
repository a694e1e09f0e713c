"""Scene 2: months later a rebalance is half done when a late leg is refused; it is undone."""

from brokers.orders import Side
from brokers.paper import Fault, FaultRule
from desk.demo.follow import books_agree, follow, report_of, show_standing
from desk.demo.report import Checks, SceneReport
from desk.demo.screen import Show, dollars
from desk.demo.stage import Stage, open_house
from saga.exact import ZERO, minus, total
from saga.ids import Purpose
from saga.ledger import Saga
from saga.machine import SagaState

_LAST_LEGS = 3
"""The leg that is refused is drawn from so many at the end."""


async def play(stage: Stage, show: Show) -> SceneReport:
    """Rebalance, and see it undone."""
    checks = Checks()
    async with open_house(stage.home) as house:
        main = house.main
        holdings, cash = await main.holdings(), await main.cash()
        day = stage.drift_day(house, holdings, cash)
        await house.exchange.advance(day)
        plan = await main.plan_rebalance(stage.weights)
        refused = len(plan.trades) - 1 - stage.chance.randrange(_LAST_LEGS)
        sells = sum(trade.side is Side.SELL for trade in plan.trades)
        buys = len(plan.trades) - sells
        leg = plan.trades[refused]
        show.heading(
            2,
            "Rebalance, undone",
            f"PAPER, closes of {day}. Prices have drifted: back to 5 % each takes {sells} sells, "
            f"then {buys} buys. The exchange will refuse leg {refused + 1}, {leg.symbol}. What was "
            "filled before it is then undone, newest first.",
        )
        await house.exchange.script(
            FaultRule(
                fault=Fault.REFUSES,
                step=refused,
                purpose=Purpose.FORWARD,
                reason=f"{leg.symbol} is not open for buying today",
            )
        )
        batch_id = await main.rebalance(stage.weights, stage.terms)
        saga = await follow(house, show, batch_id)
        await house.exchange.script()
        stage.played[batch_id] = "2"
        undone = [step for step in saga.steps if step.undo]
        cost = total(step.undo_cost for step in undone)
        lost = minus(cash, await main.cash())
        show.fact(
            "it cost",
            f"{dollars(cost)} to undo {len(undone)} legs: fees both ways, and 2 basis points of "
            "slippage each way",
        )
        await show_standing(house, show)
        checks.that(saga.state is SagaState.ROLLED_BACK, "the batch is ROLLED_BACK")
        checks.that(len(undone) == refused, f"all {refused} filled legs were undone, and no other")
        checks.that(_newest_first(saga), "they were undone newest first")
        checks.that(await main.holdings() == holdings, "every holding is exactly what it was")
        checks.that(
            lost == cost == saga.undo_cost > ZERO,
            f"cash is exactly {dollars(cost)} less than it was, which is what the undo cost",
        )
        checks.that(await books_agree(house), "holdings and cash are what the exchange's books say")
        return await report_of(house, "rebalance_undone", batch_id, checks, show)


def _newest_first(saga: Saga) -> bool:
    """Tell whether each inverse filled before those of older legs, by the exchange's own clock."""
    filled = [
        (fill.at, step.effect_number)
        for step in saga.steps
        for attempt in step.undo
        for fill in attempt.fills
        if fill.at is not None
    ]
    order = [effect for _, effect in sorted(filled)]
    return bool(order) and order == sorted(order, reverse=True)
