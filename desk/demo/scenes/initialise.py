"""Scene 1: a portfolio of 20 stocks is bought from cash, as one ATOMIC batch."""

from desk.demo.follow import books_agree, follow, report_of, show_standing
from desk.demo.report import Checks, SceneReport
from desk.demo.screen import Show, dollars
from desk.demo.stage import CASH, Stage, open_house
from saga.machine import SagaState


async def play(stage: Stage, show: Show) -> SceneReport:
    """Buy it."""
    show.heading(
        1,
        "Initialise",
        f"PAPER money, real closes of {stage.start}. One ATOMIC batch buys 20 stocks, 5 % each, "
        f"from {dollars(CASH)} of cash: all of them, or none.",
    )
    checks = Checks()
    async with open_house(stage.home) as house:
        main = house.main
        deposit = await main.deposit(CASH, by="demo")
        await main.wait(deposit)
        batch_id = await main.initialise(stage.weights, stage.terms)
        saga = await follow(house, show, batch_id)
        stage.played |= {deposit: "cash", batch_id: "1"}
        await show_standing(house, show)
        checks.that(saga.state is SagaState.COMPLETED, "the batch is COMPLETED")
        checks.that(set(await main.holdings()) == set(stage.weights), "all 20 stocks are held")
        checks.that(await books_agree(house), "holdings and cash are what the exchange's books say")
        return await report_of(house, "initialise", batch_id, checks, show)
