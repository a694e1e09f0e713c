"""What the clients of a drill want: batches by recipe, and an exchange on which they go every way.

How an order goes is in its symbol: an exchange's script has a rule for each, so that what a batch
meets does not depend on who is killed when.
"""

from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from string import ascii_lowercase, digits
from typing import Final

from brokers.orders import Buy, Sell
from brokers.paper import Fault, FaultRule, PaperExchange, PaperSettings
from brokers.paper.running import Inline
from brokers.venue import Idempotency
from portfolio import CashTransfer, exclusion_key
from saga.ids import Purpose
from saga.model import Batch, ExecutionMode
from saga.policy import RetryPolicy
from tests.crash.exchange_process import BOOKS

CASH: Final = Decimal(100_000_000)
PORTFOLIOS: Final = ("east", "west")
PORTFOLIO_CASH: Final = Decimal(10_000_000)
PRICES: Final = {
    "CALM": Decimal(100),
    "EVEN": Decimal(40),
    "SLOW": Decimal(20),
    "TORN": Decimal(30),
    "DEAF": Decimal(50),
    "VOID": Decimal(60),
    "NOPE": Decimal(70),
    "STUCK": Decimal(80),
    "HALF": Decimal(90),
}
"""What is listed beside the stocks, and at which price."""

SETTINGS: Final = PaperSettings(
    # It takes the same order twice: nothing but the engine's own care prevents that.
    idempotent=Idempotency.NONE,
    listed=PRICES,
    fee_minimum=Decimal(1),
    slippage_basis_points=Decimal(2),
    poll_seconds=0.02,
    call_timeout_seconds=0.5,
    # What a killed process has sent arrives a little later than its kill.
    declared_visibility_seconds=0.2,
)
SCRIPT: Final = (
    FaultRule(fault=Fault.PARTIAL_THEN_FULL, symbol="SLOW", times=None, delay_seconds=0.06),
    FaultRule(fault=Fault.PARTIAL_THEN_SILENCE, symbol="TORN", times=None),
    FaultRule(fault=Fault.TIMES_OUT_ACCEPTED, symbol="DEAF", times=None),
    FaultRule(fault=Fault.DISCONNECTS, symbol="VOID", times=None),
    FaultRule(fault=Fault.REFUSES, symbol="NOPE", times=None),
    FaultRule(fault=Fault.REFUSES, symbol="STUCK", purpose=Purpose.COMPENSATION, times=None),
    FaultRule(
        fault=Fault.PARTIAL_THEN_SILENCE,
        symbol="HALF",
        purpose=Purpose.COMPENSATION,
        attempt=1,
        times=None,
    ),
)
OPEN_SECONDS: Final = 0.4
"""What never fills by itself is given up after so long."""
_RETRY: Final = RetryPolicy(backoff_seconds=0.0, undo_patience_seconds=0.1)
_ATOMIC, _PARALLEL = ExecutionMode.ATOMIC, ExecutionMode.PARALLEL

RECIPES: Final[dict[str, tuple[ExecutionMode, bool, bool, tuple[str, ...]]]] = {
    "calm": (_ATOMIC, True, True, ("CALM", "EVEN", "CALM")),
    "wide": (_PARALLEL, False, True, ("CALM", "SLOW", "EVEN", "NOPE")),
    "slow": (_ATOMIC, True, True, ("SLOW", "CALM", "SLOW")),
    "deaf": (_ATOMIC, True, True, ("DEAF", "CALM")),
    "refused": (_ATOMIC, True, True, ("CALM", "EVEN", "CALM", "NOPE")),
    "half": (_ATOMIC, True, True, ("HALF", "NOPE")),
    "open": (_PARALLEL, True, False, ("TORN", "CALM", "NOPE")),
    "stuck": (_ATOMIC, True, False, ("CALM", "STUCK", "NOPE")),
    "void": (_PARALLEL, True, False, ("CALM", "VOID")),
    "sale": (ExecutionMode.SEQUENTIAL, False, True, ("CALM",)),
}
"""Mode, whether it rolls back, whether a portfolio's, and what is bought (or sold)."""
_OFTEN: Final = ("calm", "calm", "wide", "slow", "deaf", "refused", "refused", "half", "open")
_SELDOM: Final = ("stuck", "void", "sale")


def batch_of(recipe: str, chance: Random) -> Batch:
    """Return a new batch by a recipe."""
    mode, rolls_back, may_be_owned, symbols = RECIPES[recipe]
    suffix = "".join(chance.choices(digits + ascii_lowercase, k=8))
    owner = chance.choice((*PORTFOLIOS, None)) if may_be_owned else None
    side = Sell if recipe == "sale" else Buy
    return Batch(
        batch_id=f"BAT_20261121_093000_{suffix}",
        directives=[
            side(
                directive_id=f"EXE_{position:02d}",
                symbol=symbol,
                quantity=Decimal(chance.randrange(2, 40)),
                reference_price=PRICES[symbol],
                retry=_RETRY,
            )
            for position, symbol in enumerate(symbols)
        ],
        execution_mode=mode,
        timeout_seconds=OPEN_SECONDS if "TORN" in symbols else None,
        rollback_on_failure=rolls_back,
        exclusion_key=exclusion_key(owner or PORTFOLIOS[0]) if owner or recipe == "sale" else None,
        metadata={"recipe": recipe},
    )


def batches_for(recipe: str, chance: Random) -> list[Batch]:
    """Return what the clients want in one round: the recipe's batch, and others beside it."""
    others = [chance.choice(_OFTEN) for _ in range(chance.randrange(1, 4))]
    if chance.random() < 0.15:
        others.append(chance.choice(_SELDOM))
    recipes = [recipe, *others]
    chance.shuffle(recipes)
    return [batch_of(each, chance) for each in recipes]


def deposits() -> list[Batch]:
    """Return the batches that open the portfolios' books."""
    return [
        Batch(
            directives=[
                CashTransfer(
                    directive_id="EXE_DEPOSIT",
                    portfolio=name,
                    way="deposit",
                    cash=PORTFOLIO_CASH,
                    currency="USD",
                )
            ],
            execution_mode=ExecutionMode.SEQUENTIAL,
        )
        for name in PORTFOLIOS
    ]


async def open_books(folder: Path) -> None:
    """Make the exchange's books in a folder."""
    exchange = PaperExchange.create(
        folder / BOOKS,
        day=date(2020, 1, 2),
        cash=CASH,
        settings=SETTINGS,
        runner=Inline(),
        durable=False,
    )
    await exchange.script(*SCRIPT)
